//! The new process of an upgrade: takes the sockets of the old one, and reports when it can serve.
//!
//! `main` looks for an old process first ([`TakeOver::from_environment`]), gives its sockets to
//! `prepare::prepare` ([`TakeOver::inherited`]) and reports that all is prepared
//! ([`TakeOver::prepared`]); `lifecycle::run` does the rest.

use std::{
    env, fs, io,
    net::TcpStream,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream, process::parent_id},
    },
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::Socket;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    channel::{self, Channel, Decision, FORMAT, Offer, Ready, Report},
    hand_over::INTEREST_TIMEOUT,
    request::{may_ask, peer},
};
use crate::{
    VERSION,
    client::{self, Taken},
    protocol::{json_fault, route::RouteInfo},
    route::{Cluster, Sibling},
    server::{
        Server,
        inherited::Inherited,
        prepare::{Prepared, StartError},
        unix_socket::SocketFile,
    },
    telemetry::event::EventKind,
};

/// Tells the process that is started the id of the one that starts it.
pub(super) const VARIABLE: &str = "MIDGE_UPGRADE";

/// How long the old process may take for its offer, and for each of its decisions.
const OLD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the routes may take before this process serves without some.
const ROUTES_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is looked whether there is the route to the old process.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// The old process, and what it offers.
pub struct TakeOver {
    pid: u32,
    channel: Channel,
    offer: Offer,
    listeners: Vec<OwnedFd>,
    /// This process' end of the connection between the two.
    link: Option<OwnedFd>,
    sibling: Option<Sibling>,
    has_unix_socket: bool,
}

impl TakeOver {
    /// The process that has started this one so that it takes over; usually there is none.
    ///
    ///  # Errors
    ///
    /// It does not say what it should.
    pub fn from_environment() -> Result<Option<Self>, StartError> {
        let parent = parent_id();
        // The variable stays in the environment of what this process starts in turn.
        let is_for_us = env::var(VARIABLE).is_ok_and(|pid| pid.parse() == Ok(parent));
        match is_for_us {
            true => Self::receive(parent).map(Some).map_err(|error| StartError {
                what: format!("Error taking over from process {parent}"),
                error,
            }),
            false => Ok(None),
        }
    }

    fn receive(pid: u32) -> io::Result<Self> {
        let stream = UnixStream::from(take_stdin()?);
        let old = peer(&stream)?;
        if !may_ask(old.uid.as_raw()) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut channel = Channel::new(stream)?;
        let (offer, mut listeners) = channel.receive::<Offer>(Instant::now() + OLD_TIMEOUT)?;
        if offer.format != FORMAT || listeners.len() != offer.listeners.len() + 1 {
            return Err(io::Error::other(format!(
                "its version, {}, offers something else than this one, {VERSION}, can take; \
                 restart the broker instead",
                offer.version
            )));
        }
        let link = listeners.pop();
        Ok(Self {
            pid,
            channel,
            offer,
            listeners,
            link,
            sibling: None,
            has_unix_socket: false,
        })
    }

    /// The sockets, for the listeners of the configuration; those that it does not name are closed.
    ///
    ///  # Errors
    ///
    /// One of them is none.
    pub fn inherited(&mut self) -> Result<Inherited, StartError> {
        let mut inherited = Inherited::of_predecessor();
        for (name, socket) in self.offer.listeners.iter().zip(self.listeners.drain(..)) {
            let descriptor = socket.as_raw_fd();
            inherited.add(name.clone(), descriptor, socket)?;
        }
        Ok(inherited)
    }

    /// Tells the old process why this one cannot serve.
    pub fn fail(&mut self, why: &str) {
        self.tell(&Report::Failed(why.to_owned()));
    }

    /// Reports that all is prepared, and waits until the old process has this one serve. Nothing
    /// is accepted before [`Self::serve`].
    ///
    ///  # Errors
    ///
    /// The old process serves on, or has ended.
    pub fn prepared(&mut self, prepared: &Prepared) -> Result<(), StartError> {
        info!(
            "Upgrade: about to take over from process {} (midge {})",
            self.pid, self.offer.version
        );
        let server = &prepared.server;
        server.broker.gate.hold();
        server.broker.registry.begin_cids_at(self.offer.first_cid);
        if let (Some(cluster), Some(name)) = (&server.cluster, self.offer.cluster_name.take()) {
            cluster.adopt_generated_name(name);
        }
        self.has_unix_socket = prepared.has_inherited_unix_socket();
        self.agree(server).map_err(|error| StartError {
            what: format!("Process {} did not hand over", self.pid),
            error,
        })
    }

    fn agree(&mut self, server: &Arc<Server>) -> io::Result<()> {
        let link = self.link.take().ok_or(io::ErrorKind::NotFound)?;
        let link = TcpStream::from(OwnedFd::from(Socket::from(link)));
        let sibling = Sibling::new(server.link(), link)?;
        let ready = Ready {
            version: VERSION.into(),
            has_unix_socket: self.has_unix_socket,
            // A struct of texts and numbers always serialises.
            info: serde_json::to_string(&sibling.info()).unwrap_or_default(),
        };
        self.sibling = Some(sibling);
        self.channel.send(&Report::Ready(ready), &[])?;
        let deadline = Instant::now() + OLD_TIMEOUT;
        match self.channel.receive::<Decision>(deadline)?.0 {
            Decision::Go => Ok(()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Opens the route to the old process. To be called before others may be dialled: a broker's own
    /// address leads to the old process.
    pub(in crate::server) async fn join(&mut self, server: &Arc<Server>) {
        let info = serde_json::from_str::<RouteInfo>(&self.offer.info);
        match (self.sibling.take(), info) {
            (Some(sibling), Ok(info)) => {
                tokio::spawn(sibling.serve(info));
            }
            (_, Err(error)) => warn!(
                "The INFO of process {} cannot be read, there is no route to it: {}; its version \
                 does not fit this one, restart the broker instead",
                self.pid,
                json_fault(&error)
            ),
            (None, Ok(_)) => {}
        }
        let cluster = server.link();
        let deadline = Instant::now() + ROUTES_TIMEOUT;
        while !cluster.has_sibling() && Instant::now() < deadline {
            sleep(POLL_EVERY).await;
        }
        cluster.dial_peers(&self.offer.peers);
    }

    /// Waits until the interest of all peers of the old process is known, or for long enough; its own
    /// follows with the clients.
    pub(in crate::server) async fn learn_interest(&self, server: &Arc<Server>) {
        let cluster = server.link();
        let peers = self.offer.peers.iter();
        let unheard = peers.map(|peer| &*peer.id).collect();
        let unheard = cluster.learn_interest(unheard, ROUTES_TIMEOUT).await;
        if !unheard.is_empty() {
            warn!(
                "Taking over without the interest of {}: no route within {ROUTES_TIMEOUT:?}",
                self.named(&cluster, &unheard)
            );
        }
    }

    /// Takes over the clients of the old process, and waits until it leaves them to this one. Nothing
    /// is read from them before they are served.
    ///
    ///  # Errors
    ///
    /// The old process serves on, or has ended.
    pub(in crate::server) async fn take_clients(
        &mut self,
        server: &Arc<Server>,
    ) -> Result<Vec<Taken>, StartError> {
        let taken = self.try_take_clients(server).await;
        taken.map_err(|error| StartError {
            what: format!("Process {} did not hand over its clients", self.pid),
            error,
        })
    }

    async fn try_take_clients(&mut self, server: &Arc<Server>) -> io::Result<Vec<Taken>> {
        self.channel.send(&Report::Joined, &[])?;
        let mut taken = Vec::new();
        let mut received = 0;
        loop {
            let (decision, mut sockets) = self.channel.receive(Instant::now() + OLD_TIMEOUT)?;
            match (decision, sockets.pop()) {
                (Decision::Client(state), Some(socket)) => {
                    let stream = TcpStream::from(OwnedFd::from(Socket::from(socket)));
                    let (broker, listener) = (&server.broker, &server.client_listener);
                    received += 1;
                    let _counted = state.count();
                    match client::take_over(broker, listener, stream, &state) {
                        Ok(client) => taken.push(client),
                        // It connects again. The others are not to wait for it.
                        Err(error) => warn!(
                            cid = state.cid,
                            "Upgrade: client {} could not be taken over, its connection is \
                             closed: {error}",
                            state.cid
                        ),
                    }
                }
                (Decision::NoMore, _) => break,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        let link = server.link();
        let unknown = |whose| {
            let text = format!("{whose} interest is not known within {INTEREST_TIMEOUT:?}");
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        let mark = link.mark_interest(INTEREST_TIMEOUT).await;
        let mark = mark.ok_or_else(|| unknown("this process'"))?;
        let clients = received;
        self.channel
            .send(&Report::Taken(channel::Taken { clients, mark }), &[])?;
        // The interest of the clients that stay, and of replies that they wait for; no more that of
        // those that were taken over.
        let mark = match self.channel.receive(Instant::now() + OLD_TIMEOUT)?.0 {
            Decision::Serve(mark) => mark,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        match link.see_mark(mark, INTEREST_TIMEOUT).await {
            true => Ok(taken),
            false => Err(unknown("its")),
        }
    }

    fn named(&self, cluster: &Cluster, ids: &[&str]) -> String {
        let address = |id: &&str| {
            let mut peers = self.offer.peers.iter();
            let peer = peers.find(|peer| peer.id == **id);
            peer.map_or_else(|| cluster.node.server_name.clone(), |it| it.address.clone())
        };
        let names: Vec<String> = ids.iter().map(address).collect();
        names.join(", ")
    }

    /// Begins to serve, and tells the old process. Returns the file of the Unix socket if it is
    /// this process' now.
    pub(in crate::server) fn serve(
        &mut self,
        server: &Server,
        clients: Vec<Taken>,
    ) -> Option<SocketFile> {
        let text = format!(
            "took over from process {} (midge {}), with {} of its clients; it moves the others and \
             ends",
            self.pid,
            self.offer.version,
            clients.len()
        );
        // First: the old process may have the clients back until it hears this.
        self.tell(&Report::Serving);
        clients.into_iter().for_each(Taken::serve);
        server.broker.gate.open();
        info!("Upgrade: {text}");
        let events = &server.broker.telemetry.events;
        events.record(EventKind::Server, 0, "upgrade", &text);
        // Set once.
        let _ = server.upgrades.taken_over_from.set(self.pid);
        let options = server.options();
        let path = options.monitor.unix.as_deref();
        path.filter(|_| self.has_unix_socket && self.offer.owns_socket_file)
            .map(SocketFile::adopt)
    }

    /// Tells the old process that this one has served for [`WATCHED_FOR`](super::WATCHED_FOR).
    pub(in crate::server) fn steady(&mut self) {
        self.tell(&Report::Steady);
    }

    /// Has the old process stop as well.
    pub(in crate::server) fn stopping(&mut self) {
        self.tell(&Report::Stopping);
    }

    fn tell(&mut self, report: &Report) {
        if let Err(error) = self.channel.send(report, &[]) {
            // Most likely it has ended.
            tracing::debug!("Process {} could not be told: {error}", self.pid);
        }
    }
}

/// Takes the channel, which is the standard input, and leaves an empty one.
fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    Ok(stdin)
}
