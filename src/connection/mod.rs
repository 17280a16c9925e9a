//! A connection: one socket's life, whatever its peer is.
//!
//! Here are the shared part of a connection ([`Connection`]) that publishers
//! reach through its subscriptions, its bounded outbound queue ([`outbound`]),
//! the buffers and lists of a worker thread ([`buffers`]), why connections end
//! ([`CloseReason`]), who is connected ([`registry`]), and the places of those who
//! are not let in yet ([`admission`]). What the peer's
//! operations mean is the business of the rooms above (`client`).

pub mod accepting;
pub mod admission;
pub mod budget;
pub mod buffers;
mod client_info;
mod close_reason;
pub mod congested;
pub mod delivery;
pub mod handshake;
pub mod incident;
mod input;
pub mod interest;
pub mod keepalive;
mod names;
pub mod outbound;
mod outbound_stats;
pub mod payload;
pub mod producers;
mod queue;
mod queue_inspection;
pub mod reading;
pub mod registry;
pub mod remote;
mod subscription;
mod tcp_info;
#[cfg(test)]
mod tests;
pub mod tls_listener;
mod trace_out;
mod trace_request;
pub mod transport;
pub mod turned_away;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Sleep, timeout},
};
use tracing::debug;

use crate::{
    protocol::route::ASSUMED_LINE_MAX,
    security::{certificate::PeerCertificate, delivery_filter::DeliveryFilter},
    telemetry::{
        Counter, MonotonicMicros, MonotonicMillis, Telemetry, Traffic,
        load::{Loads, Name, TrafficDelta},
        loss::LossReason,
        pool::{allocated, shorten},
        slow::Incident,
    },
};
use budget::Budget;
use buffers::with_buffers;
pub use client_info::ClientInfo;
pub use close_reason::CloseReason;
use outbound::Outbound;
use registry::Registry;
pub use subscription::{SUBSCRIPTIONS, Subscription, SubscriptionTable, lingering};
pub use trace_out::{OutTrace, Shown, delsub, trace_expired};
pub use trace_request::{TraceLine, TraceRequest};
use transport::Tls;

/// How long an ending connection may take to accept its last bytes.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Something waits in the outbound queue and the socket took no more: the
/// connection's own task writes on when it can.
const BLOCKED: u8 = 1;
/// The connection is to end; the outbound queue knows why.
const CLOSING: u8 = 2;
/// Other settings are in force: the connection's own task takes them over.
const CHANGED: u8 = 4;
/// The peer of a route is owed news of what is wanted here.
const OWING: u8 = 8;
/// The socket took no more just now: the connection's own task counts the time
/// from here on.
const STUCK: u8 = 16;

/// What is at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A client.
    Client,
    /// Another broker of the cluster.
    Router,
}

impl Kind {
    /// The name that answers show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "Client",
            Self::Router => "Router",
        }
    }
}

/// The part of a connection that others see: publishers deliver to it,
/// monitoring reads it, its own task drives it.
pub struct Connection {
    /// What is at the other end.
    pub kind: Kind,
    /// Connection id, unique in this run of the broker.
    pub cid: u64,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Time of the accept.
    pub start: MonotonicMicros,
    /// Messages received; written by the own task.
    pub in_msgs: Counter,
    /// Bytes received; written by the own task.
    pub in_bytes: Counter,
    /// Messages of it that reached nobody; written by the own task.
    pub no_interest_msgs: Counter,
    /// Their headers and payloads; written by the own task.
    pub no_interest_bytes: Counter,
    /// Requests of it that were refused because too many replies are waited for;
    /// written by the own task.
    pub refused_msgs: Counter,
    /// Their headers and payloads; written by the own task.
    pub refused_bytes: Counter,
    /// Times publishers waited for this connection to read.
    pub stalls: AtomicU64,
    /// Whether the peer understands headers.
    pub headers: AtomicBool,
    /// Whether what is delivered to it is traced.
    pub traced: OutTrace,
    /// Whether INFO may be sent at any time: the peer said so and has had the
    /// one that answers its first ping.
    pub takes_info: AtomicBool,
    /// Bytes of the longest control line that the peer of a route takes.
    line_max: AtomicUsize,
    /// Whether the peer of a route was told all that is wanted here, so that
    /// messages may go to it.
    is_told: AtomicBool,
    /// Whether what the peer sends is logged, for a while.
    pub trace: TraceRequest,
    /// Who the peer says it is.
    pub identity: Mutex<Identity>,
    /// The certificate that the peer has proved to be its own; set when the
    /// handshake is done.
    pub certificate: OnceLock<Box<PeerCertificate>>,
    /// TLS, once its handshake is done.
    transport: OnceLock<Arc<Tls>>,
    /// Its subscriptions, by the peer's ids for them.
    pub subscriptions: Mutex<SubscriptionTable>,
    /// Judges deliveries to those of them that need it; `None` where the user may
    /// receive everything.
    pub guard: Mutex<Option<Arc<DeliveryFilter>>>,
    outbound: Outbound,
    /// Number of the series that its figures belong to; see
    /// [`crate::telemetry::metrics`].
    pub series: AtomicU32,
    /// What it had moved when the recorder last looked.
    looked_at: Mutex<TrafficDelta>,
    /// The generation of the settings that its own task goes by; written by it.
    pub settings: AtomicU64,
    flags: AtomicU8,
    waker: AtomicWaker,
    last_activity: AtomicU64,
    /// Nanoseconds; 0 is not known.
    rtt: AtomicU64,
}

/// What a peer tells of itself in CONNECT.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The client's own name.
    pub name: String,
    /// The common name of its certificate; empty without one.
    pub certname: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// User name.
    pub user: String,
    /// Name of the account it is in; empty before CONNECT.
    pub account: String,
    /// What proved it, as a number; see [`crate::security::verdict::Login::proof`].
    pub proof: u64,
}

impl Identity {
    /// Bytes of its texts.
    pub fn memory(&self) -> usize {
        let texts = [
            &self.name,
            &self.certname,
            &self.lang,
            &self.version,
            &self.user,
            &self.account,
        ];
        texts.map(|text| allocated(text.capacity())).iter().sum()
    }

    /// As it is remembered when its connection has ended: long texts are cut.
    pub fn remembered(&self) -> Self {
        let cut = |text: &str| shorten(text).into_owned();
        Self {
            name: cut(&self.name),
            certname: cut(&self.certname),
            lang: cut(&self.lang),
            version: cut(&self.version),
            user: cut(&self.user),
            account: self.account.clone(),
            proof: self.proof,
        }
    }
}

/// Why a connection's own task goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wake {
    /// The connection is to end.
    Closing,
    /// A reload has put other settings in force.
    Changed,
    /// The peer of a route is owed news of what is wanted here, and nothing
    /// blocks the way.
    Owing,
    /// There may be bytes to read.
    Readable,
    /// The socket takes no more, since just now: what is due by the clock comes
    /// sooner.
    Stuck,
    /// The timer ran out.
    Timer,
    /// The socket takes bytes again.
    Writable,
}

impl Connection {
    /// A connection on a new socket.
    pub fn new(
        kind: Kind,
        cid: u64,
        peer: SocketAddr,
        stream: Arc<TcpStream>,
        max_pending: usize,
        budget: Arc<Budget>,
    ) -> Self {
        let start = MonotonicMicros::now();
        Self {
            kind,
            cid,
            peer,
            start,
            in_msgs: Counter::default(),
            in_bytes: Counter::default(),
            no_interest_msgs: Counter::default(),
            no_interest_bytes: Counter::default(),
            refused_msgs: Counter::default(),
            refused_bytes: Counter::default(),
            stalls: AtomicU64::new(0),
            headers: AtomicBool::new(false),
            traced: OutTrace::default(),
            takes_info: AtomicBool::new(false),
            line_max: AtomicUsize::new(ASSUMED_LINE_MAX),
            is_told: AtomicBool::new(false),
            trace: TraceRequest::default(),
            identity: Mutex::default(),
            certificate: OnceLock::new(),
            transport: OnceLock::new(),
            subscriptions: Mutex::default(),
            guard: Mutex::default(),
            outbound: Outbound::new(kind, stream, max_pending, budget),
            series: AtomicU32::new(0),
            looked_at: Mutex::default(),
            settings: AtomicU64::new(0),
            flags: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            last_activity: AtomicU64::new(start.millis().0),
            rtt: AtomicU64::new(0),
        }
    }

    /// The outbound queue.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// TLS between the socket and the queue; `None` while there is none.
    #[inline]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.transport.get()
    }

    /// Puts TLS between the socket and the queue, which must be empty. A second
    /// call changes nothing.
    pub fn set_tls(&self, tls: Arc<Tls>) {
        // Whoever is second lost nothing: a connection shakes hands once.
        let _ = self.transport.set(tls);
    }

    /// Asks the connection to end; the first reason stays. Its own task does
    /// the rest. Returns whether it was open until now.
    pub fn close(&self, reason: CloseReason) -> bool {
        let was_open = self.outbound.close(reason);
        if was_open {
            self.raise(CLOSING);
        }
        was_open
    }

    /// Has the connection's own task take over settings that are in force now.
    pub fn notify_changed(&self) {
        self.raise(CHANGED);
    }

    /// Cuts the connection because of what its stuck reader leaves waiting; returns
    /// how much that was, `None` if it is nothing by now.
    fn close_for_memory(&self) -> Option<usize> {
        let held = self.outbound.close_for_memory()?;
        self.raise(CLOSING);
        Some(held)
    }

    /// Notes that a message or a subscription went through.
    pub fn active(&self, now: MonotonicMillis) {
        self.last_activity.store(now.0, Ordering::Relaxed);
    }

    /// When a message or a subscription last went through.
    pub fn last_activity(&self) -> MonotonicMillis {
        MonotonicMillis(self.last_activity.load(Ordering::Relaxed))
    }

    /// Round trip time to the peer; `None` while unknown.
    pub fn rtt(&self) -> Option<Duration> {
        match self.rtt.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Notes a measured round trip.
    pub fn set_rtt(&self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.rtt.store(nanos.max(1), Ordering::Relaxed);
    }

    /// Who it is, in one word: its name, else its user, else its address.
    pub fn who(&self) -> String {
        self.identity.lock().who(self.peer)
    }

    /// What went through in both directions, and what was lost.
    pub fn traffic(&self) -> Traffic {
        let mut traffic = Traffic {
            in_msgs: self.in_msgs.value(),
            in_bytes: self.in_bytes.value(),
            ..self.outbound.traffic()
        };
        let (msgs, bytes) = (
            self.no_interest_msgs.value(),
            self.no_interest_bytes.value(),
        );
        traffic.loss.add(LossReason::NoInterest, msgs, bytes);
        let (msgs, bytes) = (self.refused_msgs.value(), self.refused_bytes.value());
        traffic.loss.add(LossReason::RepliesFull, msgs, bytes);
        traffic
    }

    /// Adds what it moved since this was last asked to `loads`.
    pub fn tell_moved(&self, loads: &Loads) {
        let mut looked_at = self.looked_at.lock();
        let now = TrafficDelta::from(self.traffic());
        let before = std::mem::replace(&mut *looked_at, now);
        if now != before {
            loads.add(self.cid, &self.holder(), before, now.since(before));
        }
    }

    /// Whose load it is.
    pub fn holder(&self) -> Name {
        let identity = self.identity.lock();
        Name {
            account: identity.account.clone(),
            user: identity.user.clone(),
        }
    }

    /// Whether the own task has to write because the socket was full.
    pub fn is_blocked(&self) -> bool {
        self.flags.load(Ordering::Acquire) & BLOCKED != 0
    }

    /// Whether the connection is to end.
    pub fn is_closing(&self) -> bool {
        self.flags.load(Ordering::Acquire) & CLOSING != 0
    }

    /// Bytes of the longest control line that the peer of a route takes.
    pub fn line_max(&self) -> usize {
        self.line_max.load(Ordering::Relaxed)
    }

    /// Notes the longest control line that the peer of a route takes.
    pub fn set_line_max(&self, bytes: usize) {
        self.line_max.store(bytes, Ordering::Relaxed);
    }

    /// Whether messages may go to the peer of a route.
    pub fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    /// Notes that the peer of a route was told all that was wanted here; whether
    /// that is new.
    pub fn set_announced(&self) -> bool {
        !self.is_told.swap(true, Ordering::AcqRel)
    }

    /// There is news of what is wanted here that found no room in the queue: the
    /// route's own task tells it.
    pub fn owe_interest(&self) {
        self.raise(OWING);
    }

    /// Whether the peer is owed news of what is wanted here.
    pub fn owes_interest(&self) -> bool {
        self.flags.load(Ordering::Acquire) & OWING != 0
    }

    /// The own task is about to tell what is owed.
    pub fn begin_telling(&self) {
        self.lower(OWING);
    }

    /// Waits until a reload has put other settings in force; for the own task.
    /// Told once.
    pub async fn changed(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.flags.load(Ordering::Acquire) & CHANGED {
                0 => Poll::Pending,
                _ => {
                    self.lower(CHANGED);
                    Poll::Ready(())
                }
            }
        })
        .await;
    }

    /// Waits until the connection is to end; for the own task.
    pub async fn closing(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.is_closing() {
                false => Poll::Pending,
                true => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Waits for what the own task is to do next. `timer` must be the task's
    /// own and have been reset once, so that it runs whether it is waited for or
    /// not: what is due comes before what can be read, since a peer may always
    /// have something to be read. With `unread` there is something to read that
    /// the socket does not announce; that is told once.
    pub async fn wake(
        &self,
        stream: &TcpStream,
        mut timer: Pin<&mut Sleep>,
        unread: &mut bool,
    ) -> Wake {
        poll_fn(
            |context| match self.poll_wake(stream, timer.as_mut(), context) {
                Poll::Pending if std::mem::take(unread) => Poll::Ready(Wake::Readable),
                wake => wake,
            },
        )
        .await
    }

    fn poll_wake(
        &self,
        stream: &TcpStream,
        timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Wake> {
        // Registered before the flags are looked at: a flag raised after the
        // look wakes this task.
        self.waker.register(context.waker());
        let flags = self.flags.load(Ordering::Acquire);
        if flags & CLOSING != 0 {
            return Poll::Ready(Wake::Closing);
        }
        if timer.is_elapsed() {
            return Poll::Ready(Wake::Timer);
        }
        if flags & CHANGED != 0 {
            self.lower(CHANGED);
            return Poll::Ready(Wake::Changed);
        }
        if flags & STUCK != 0 {
            self.lower(STUCK);
            return Poll::Ready(Wake::Stuck);
        }
        if flags & BLOCKED != 0 && stream.poll_write_ready(context).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if flags & (OWING | BLOCKED) == OWING {
            return Poll::Ready(Wake::Owing);
        }
        if stream.poll_read_ready(context).is_ready() {
            return Poll::Ready(Wake::Readable);
        }
        timer.poll(context).map(|()| Wake::Timer)
    }

    /// Writes what is left for a peer whose connection is ending, for a while.
    pub async fn drain_and_close(&self, stream: &TcpStream) {
        let last_words = async {
            while !with_buffers(|buffers| self.flush_closing(buffers)) {
                if stream.writable().await.is_err() {
                    break;
                }
                // Somebody else may be at it: let the others work meanwhile.
                tokio::task::yield_now().await;
            }
        };
        if timeout(LAST_WORDS_TIMEOUT, last_words).await.is_err() {
            debug!(
                "{} - cid:{} - The last bytes could not be written",
                self.peer, self.cid
            );
        }
        if let Some(tls) = self.tls()
            && self.outbound.is_empty()
        {
            // TLS wants to be told that nothing follows; whoever left does not care.
            let _ = stream.try_write(&tls.seal_end());
        }
        // Unread bytes would turn the close into a reset that may destroy the
        // last words on their way.
        let _ = with_buffers(|buffers| stream.try_read(&mut buffers.read_buffer));
    }

    /// Ends the connection that its own task has taken out of everything: says the
    /// last words, concludes its incident, gives back what it held. What is
    /// counted of it is final then. Returns its incident, if there is one.
    pub async fn end(
        &self,
        telemetry: &Telemetry,
        registry: &Registry,
        stream: &TcpStream,
        reason: CloseReason,
    ) -> Option<Arc<Incident>> {
        self.drain_and_close(stream).await;
        let incident = incident::conclude(telemetry, registry, self, reason);
        self.outbound.release();
        incident
    }

    fn raise(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.waker.wake();
    }

    fn lower(&self, flag: u8) {
        self.flags.fetch_and(!flag, Ordering::AcqRel);
    }
}
