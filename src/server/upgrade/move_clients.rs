//! The old process of an upgrade hands its connected clients over, all at the same moment.
//!
//! All sessions halt (`broker::halt`), so that no message is on its way within the broker; then the
//! sockets and the states of those that can be moved are sent to the new process
//! ([`Moving::send`]), which subscribes for them and reads nothing. Then this one withdraws their
//! subscriptions ([`Moving::withdraw`]): each of them is at one process alone from then on, while
//! nothing is published at either. Up to here every client can go on here ([`Moving`] is dropped).
//! With [`Moving::commit`] they are the new one's. The others (with TLS, or with much that waits)
//! go on here afterwards and are moved in lame duck mode.
//!
//! Only a broker without routes does so. In a mesh, messages for a client come over two routes
//! meanwhile, that of the old and that of the new process, and nobody could tell which of them have
//! arrived: there, clients reconnect.

use std::{
    collections::HashSet,
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use monitor_client::text::plural;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use tracing::{info, warn};

use super::channel::{Channel, Decision, Encoded};
use crate::{
    broker::halt::{Exported, Halted, Withdrawn},
    connection::{Connection, Kind, buffers::with_buffers},
    server::Server,
};

/// How long all clients may take to halt. Some are paused for slow readers, and then none is moved.
const HALT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long all states may take to be sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long all subscriptions may take to be withdrawn.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval at which it is looked who has halted, and who has exported.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// Clients that have halted. Dropping it lets all go on that were not moved.
pub(super) struct Moving<'a> {
    server: &'a Arc<Server>,
    clients: Vec<Arc<Connection>>,
    moved: Vec<Halted>,
    withdrawn: Vec<Withdrawn>,
    staying: Vec<Halted>,
    exported: Option<mpsc::Receiver<Halted>>,
}

impl<'a> Moving<'a> {
    /// No client has halted yet.
    pub(super) fn new(server: &'a Arc<Server>) -> Self {
        Self {
            server,
            clients: Vec::new(),
            moved: Vec::new(),
            withdrawn: Vec::new(),
            staying: Vec::new(),
            exported: None,
        }
    }

    /// Halts all clients and sends those that can be moved.
    ///
    ///  # Errors
    ///
    /// The new process does not take them.
    pub(super) fn send(&mut self, channel: &mut Channel) -> Result<(), String> {
        let server = self.server;
        if has_routes(server)
            || !server
                .broker
                .registry
                .open(Kind::Client)
                .iter()
                .any(can_move)
        {
            return Ok(());
        }
        if !self.halt() {
            self.stay(&format!("not all of them halted within {HALT_TIMEOUT:?}"));
        } else if has_routes(server) {
            self.stay("a route was opened meanwhile");
        } else {
            self.want_replies();
            self.send_halted(channel)?;
        }
        Ok(())
    }

    /// Has all clients halt; returns whether they did.
    fn halt(&mut self) -> bool {
        let broker = &self.server.broker;
        broker.halt.begin();
        self.clients = broker.registry.open(Kind::Client);
        let clients = self.clients.iter();
        clients.clone().for_each(|client| client.notify_changed());
        let is_login_required = self
            .server
            .client_listener
            .authentication
            .read()
            .is_required();
        // One that is about to be served halts before it does anything: whoever sets that flag after
        // the client was woken finds the halt wanted.
        let is_in = |client: &Connection| {
            client.is_served() && (!is_login_required || !client.identity.lock().account.is_empty())
        };
        let runs =
            |client: &Arc<Connection>| !client.is_halted() && !client.is_closing() && is_in(client);
        let deadline = Instant::now() + HALT_TIMEOUT;
        while clients.clone().any(runs) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL_EVERY);
        }
        true
    }

    /// Lets all clients go on here, until lame duck mode.
    fn stay(&self, why: &str) {
        self.server.broker.halt.end();
        warn!("Upgrade: the clients stay until lame duck mode: {why}");
    }

    /// To be called right before the new process serves.
    ///
    ///  # Errors
    ///
    /// Messages for clients that are moved may have come from elsewhere since they were exported.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.count() > 0 && has_routes(self.server) {
            true => Err("a route was opened while clients were handed over; try again".into()),
            false => Ok(()),
        }
    }

    /// Has replies come here that requesters of other accounts wait for. Before there was a route to
    /// the new process, nobody had to know.
    fn want_replies(&self) {
        with_buffers(|buffers| {
            for account in self.server.broker.accounts.all() {
                if !account.replies.is_empty() {
                    let pattern = account.replies.pattern();
                    account.interest.want(buffers, pattern.as_bytes());
                }
            }
            buffers.flush_touched();
        });
    }

    fn send_halted(&mut self, channel: &mut Channel) -> Result<(), String> {
        let deadline = Instant::now() + SEND_TIMEOUT;
        let exported = self.exported.insert(self.server.broker.halt.export());
        let mut received = HashSet::new();
        loop {
            let Ok(mut client) = exported.try_recv() else {
                // One whose connection has ended meanwhile exports nothing.
                let is_awaited = |client: &Arc<Connection>| {
                    client.is_halted() && !received.contains(&client.cid)
                };
                if !self.clients.iter().any(is_awaited) {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    return Err(format!(
                        "the clients could not be handed over within {SEND_TIMEOUT:?}"
                    ));
                }
                thread::sleep(POLL_EVERY);
                continue;
            };
            received.insert(client.connection.cid);
            let exported = client.exported.take();
            let socket = client.connection.outbound().socket();
            let (Some(exported), Some(socket)) = (exported, socket) else {
                self.staying.push(client);
                continue;
            };
            let Exported { state, place } = exported;
            let Ok(message) = Encoded::new(&Decision::Client(state)) else {
                // Its parts are too long together.
                self.staying.push(client);
                continue;
            };
            channel
                .send_encoded(&message, &[socket.as_fd()])
                .map_err(|error| format!("a client could not be handed over: {error}"))?;
            drop(place);
            self.moved.push(client);
        }
    }

    /// Number of clients that are moved.
    pub(super) fn count(&self) -> usize {
        self.moved.len() + self.withdrawn.len()
    }

    /// Has the sessions of those that are moved withdraw their subscriptions here.
    ///
    ///  # Errors
    ///
    /// It takes too long.
    pub(super) fn withdraw(&mut self, runtime: &Handle) -> Result<(), String> {
        self.withdrawn = self.moved.drain(..).map(Halted::withdraw).collect();
        let all_done = async {
            for client in &mut self.withdrawn {
                client.done().await;
            }
        };
        let done = runtime.block_on(async { timeout(WITHDRAW_TIMEOUT, all_done).await });
        done.map_err(|_| {
            format!("the subscriptions here could not be withdrawn within {WITHDRAW_TIMEOUT:?}")
        })
    }

    /// The new process has the clients.
    pub(super) fn commit(&mut self) {
        if !self.withdrawn.is_empty() {
            info!(
                "Upgrade: {} handed over, {} not",
                plural(self.withdrawn.len(), "client"),
                self.staying.len()
            );
        }
        self.withdrawn.drain(..).for_each(Withdrawn::forget);
    }
}

/// Whether there are routes to other brokers.
fn has_routes(server: &Server) -> bool {
    let cluster = server.cluster.as_ref();
    cluster.is_some_and(|cluster| !cluster.peers().is_empty())
}

/// Whether a client may be one that can be moved. Those with TLS cannot, nor can one whose handshake
/// is not done: if all are such, nobody has to halt.
fn can_move(client: &Arc<Connection>) -> bool {
    client.is_served() && client.tls().is_none()
}

impl Moving<'_> {
    /// Has clients subscribe again that were not moved after all, and waits for it: only then a
    /// message may be published.
    fn take_back(&mut self) {
        let mut clients: Vec<_> = self.withdrawn.drain(..).map(Withdrawn::take_back).collect();
        let deadline = Instant::now() + WITHDRAW_TIMEOUT;
        loop {
            clients.retain(|client| client.is_halted());
            if clients.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                warn!(
                    "Upgrade: {} did not subscribe again within {WITHDRAW_TIMEOUT:?} and may miss \
                     messages",
                    plural(clients.len(), "client")
                );
                return;
            }
            thread::sleep(POLL_EVERY);
        }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.take_back();
        // Before those that wait for a verdict, which would halt again.
        self.server.broker.halt.end();
    }
}
