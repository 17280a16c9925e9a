//! The federation broker of a site of Choria or MCollective, as a part of the broker.
//!
//! Clients that manage several sites connect to *upstream* brokers. Each site has brokers of its
//! own, to which its nodes connect, and sites never see each other. Between the two stands a
//! federation broker, which this module is:
//!
//! | comes on | as a member of the queue group | goes to |
//! |---|---|---|
//! | `choria.federation.NAME.federation`, upstream | `NAME_federation` | each target of the request, at the site |
//! | `choria.federation.NAME.collective`, at the site | `NAME_collective` | the client's reply subject, upstream |
//!
//! All state is in the messages ([`rewrite`], of what [`transport`] reads), so any number of
//! federation brokers share the work: those of the other brokers of the site's cluster, and
//! separate ones of Choria's in the same queue groups. [`checks`] limits the subjects. That also
//! ends loops: no request can be addressed to a federation broker.
//!
//! Over many requests, nodes that never answer are known ([`silent_nodes`], of what [`answers`] notes
//! of requests to all nodes; [`filter`] tells which ones are).
//!
//! The site's side ([`local`]) is a subscriber within the broker. The upstream side is a client of
//! its brokers ([`upstream`], chosen by [`pool`]). While none is connected this broker is in no
//! queue group ([`session`]).
//!
//! Everything runs on one thread of its own, so that no thread that serves connections is held up.
//! The server makes a [`Federation`] and starts it; what observes reads its [`figures`].

pub mod answers;
pub mod checks;
pub mod figures;
pub mod filter;
mod local;
mod pool;
pub mod refusal;
mod rewrite;
pub mod round_trips;
mod server_protocol;
pub mod session;
pub mod silent_nodes;
mod transport;
mod upstream;

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use srv_records::Listed;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    account::{Account, GLOBAL_ACCOUNT},
    broker::{Broker, resolve::look_up_srv},
    config::options::{federation::FederationOptions, srv::SrvUrl},
    connection::{buffers, tls_listener::TlsListener},
};
use checks::Rules;
use figures::Figures;
use pool::{Pool, pause};
use session::{End, Session};
use upstream::Server;

/// Stack of the thread, in bytes.
const STACK_LEN: usize = 1024 * 1024;

/// A session that ends sooner than this was none: the next one waits.
const SHORT: Duration = Duration::from_secs(5);

/// How long the broker waits for the end of the federation when it stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The federation broker of this site.
pub struct Federation {
    /// The block of the configuration.
    pub options: FederationOptions,
    /// TLS for upstream.
    pub tls: Option<Arc<TlsListener>>,
    /// What it does.
    pub figures: Figures,
    broker: Arc<Broker>,
    server_id: String,
    server_name: String,
    /// This broker's address, as hops have it.
    local_url: String,
    rules: Rules,
    leaving: AtomicBool,
    leave: Notify,
    outdated: AtomicBool,
    reconnect: Notify,
    ended: AtomicBool,
    end: Notify,
}

impl Federation {
    /// A federation that has not started; `interval` is the time between two samples of the
    /// diagnosis.
    pub fn new(
        broker: Arc<Broker>,
        options: FederationOptions,
        tls: Option<Arc<TlsListener>>,
        server_name: &str,
        interval: Duration,
    ) -> Self {
        let (server_id, local_url) = {
            let info = broker.info.read();
            let is_any = |host: &str| host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
            let host = match is_any(&info.host) {
                true => server_name,
                false => &info.host,
            };
            let url = format!("nats://{host}:{}", info.port);
            (info.server_id.clone(), url)
        };
        Self {
            rules: Rules::new(&options.collectives),
            options,
            tls,
            figures: Figures::new(interval),
            broker,
            server_id,
            server_name: server_name.to_owned(),
            local_url,
            leaving: AtomicBool::new(false),
            leave: Notify::new(),
            outdated: AtomicBool::new(false),
            reconnect: Notify::new(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        }
    }

    /// Starts it, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The thread cannot be had.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(buffers::flush_deferred)
            .build()?;
        let federation = self.clone();
        let work = move || {
            runtime.block_on(federation.keep());
            federation.ended.store(true, Ordering::Release);
            federation.end.notify_one();
            // Not a drop, which would wait for a resolver that never answers.
            runtime.shutdown_background();
        };
        thread::Builder::new()
            .name("federation".into())
            .stack_size(STACK_LEN)
            .spawn(work)?;
        Ok(())
    }

    /// Leaves the queue groups, so that other members serve, and ends.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.leave.notify_one();
    }

    /// Waits until it has left, for a while at most.
    pub async fn left(&self) {
        let ended = async {
            while !self.ended.load(Ordering::Acquire) {
                self.end.notified().await;
            }
        };
        // If it hangs, the broker stops anyway.
        let _ = timeout(STOP_TIMEOUT, ended).await;
    }

    /// Connects again: other certificates are in force.
    pub fn reconnect(&self) {
        self.outdated.store(true, Ordering::Release);
        self.reconnect.notify_one();
    }

    /// The account of the nodes, `None` if there is none of this name.
    pub fn account(&self) -> Option<Arc<Account>> {
        let name = self.options.account.as_deref().unwrap_or(GLOBAL_ACCOUNT);
        self.broker.accounts.find(name)
    }

    /// Bytes that it holds: what waits on both sides, and requests whose reply is waited for.
    pub fn memory(&self) -> usize {
        self.figures.memory()
    }

    /// Subject and queue group of requests, upstream.
    pub fn request_group(&self) -> (String, String) {
        let name = &self.options.name;
        let subject = format!("choria.federation.{name}.federation");
        (subject, format!("{name}_federation"))
    }

    /// Subject and queue group of replies, at the site.
    pub fn reply_group(&self) -> (String, String) {
        let name = &self.options.name;
        let subject = format!("choria.federation.{name}.collective");
        (subject, format!("{name}_collective"))
    }

    /// How this federation broker calls itself in the hops of a message.
    fn hop_name(&self) -> String {
        format!("{}:midge @ {}", self.options.name, self.server_name)
    }

    /// Connects and serves, again and again, until it is to leave.
    async fn keep(&self) {
        let mut pool = Pool::default();
        let mut rounds = 0;
        while !self.leaving.load(Ordering::Acquire) {
            let is_served = self.serve_once(&mut pool).await;
            match is_served {
                true => rounds = 0,
                false => {
                    rounds += 1;
                    tokio::select! {
                        () = sleep(pause(rounds)) => {}
                        () = self.asked_to_leave() => {}
                    }
                }
            }
        }
    }

    /// Tries each upstream broker until one serves, and stays until it does not any more. Returns
    /// whether one did for some time.
    async fn serve_once(&self, pool: &mut Pool) -> bool {
        let events = &self.broker.telemetry.events;
        for address in pool.round(self).await {
            if self.leaving.load(Ordering::Acquire) {
                return true;
            }
            let text = address.to_string();
            let Some(account) = self.account() else {
                let name = self.options.account.as_deref().unwrap_or_default();
                let why = format!("there is no account {name:?} at this broker");
                self.figures.failed(events, &text, &why);
                return false;
            };
            // The certificates in force from here on are used.
            self.outdated.store(false, Ordering::Release);
            let server = tokio::select! {
                server = Server::reach(self, &address) => server,
                () = self.asked_to_leave() => return true,
            };
            match server {
                Err(why) => self.figures.failed(events, &text, &why),
                Ok(server) => {
                    let begin = Instant::now();
                    let session = Session::begin(self, pool, address, server, &account);
                    let (why, left) = match session.serve().await {
                        End::Stopped => ("the federation is left".to_owned(), true),
                        End::Moved(why) => (why.to_owned(), true),
                        End::Lost(why) => (why, false),
                    };
                    self.figures.lost(events, &why, left);
                    return begin.elapsed() >= SHORT;
                }
            }
        }
        false
    }

    async fn asked_to_leave(&self) {
        while !self.leaving.load(Ordering::Acquire) {
            self.leave.notified().await;
        }
    }

    async fn asked_to_reconnect(&self) {
        while !self.outdated.load(Ordering::Acquire) {
            self.reconnect.notified().await;
        }
    }

    /// What an SRV record lists; `None` if it cannot be had.
    async fn look_up(&self, url: &SrvUrl) -> Option<Vec<Listed>> {
        let calls = &self.broker.telemetry.calls;
        let record = url.record.clone().at(self.options.nameserver);
        match look_up_srv(calls, &record).await {
            Ok(answer) => Some(answer.listed),
            Err(why) => {
                let events = &self.broker.telemetry.events;
                self.figures.failed(events, &record.to_string(), &why);
                None
            }
        }
    }

    /// Brokers that those of SRV records name by their addresses have certificates for hosts that
    /// the records list: for these, of all records.
    fn know_found_hosts<'a>(&self, hosts: impl Iterator<Item = &'a str>) {
        if let Some(tls) = &self.tls {
            tls.store.current().options.found_hosts.set(hosts);
        }
    }
}
