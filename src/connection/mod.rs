//! A connection: one socket, whatever kind its peer is.
//!
//! [`Connection`] is the shared part. Its socket is read by [`reading`] and written from a
//! bounded queue ([`outbound`]), with TLS between them if configured ([`handshake`],
//! [`transport`], [`tls_listener`]), and the frames of a [`websocket`]. Each thread has one set of buffers for all connections
//! ([`buffers`]). The connection's own task sleeps until there is something to do
//! ([`Wake`]) and gets from the queue why it ends ([`CloseReason`]). Before the login it
//! holds one of a port's places ([`admission`], [`accepting`]); all ports have one [`gate`].
//!
//! A connection has a table of its peer's subscriptions and each subscription its
//! connection ([`subscription`]): delivery goes directly from one to the other. Operations
//! are handled above: [`client`](crate::client) and [`route`](crate::route) handle what is
//! read, [`delivery`](crate::delivery) puts messages into queues.

pub mod accepting;
pub mod admission;
pub mod budget;
pub mod buffers;
mod close_reason;
pub mod congested;
pub mod gate;
pub mod handshake;
mod identity;
mod input;
pub mod moved;
mod out_trace;
pub mod outbound;
pub mod payload;
pub mod reading;
pub mod subscription;
mod tcp_info;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
pub mod tls_listener;
mod trace_request;
pub mod transport;
mod wake;
pub mod websocket;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use tokio::{net::TcpStream, time::timeout};

pub use crate::telemetry::Kind;
use crate::{
    log,
    protocol::route::ASSUMED_LINE_MAX,
    security::{certificate::PeerCertificate, delivery_filter::DeliveryFilter},
    telemetry::{
        Counter, MonotonicMicros, MonotonicMillis, Traffic, load::Name, loss::LossReason,
        slow::Untracked,
    },
};
use budget::Budget;
use buffers::with_buffers;
pub use close_reason::CloseReason;
pub use identity::{Claimed, Identity};
use moved::Moved;
pub use out_trace::{OutTrace, Shown};
use outbound::Outbound;
pub use subscription::{Subscription, SubscriptionTable};
pub use trace_request::{TraceLine, TraceRequest};
use transport::Tls;
pub use wake::Wake;
use wake::{BLOCKED, CLOSING, QUEUED, STUCK};
use websocket::WebSocket;

/// How long an ending connection may take to accept its last bytes.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// The part of a connection that others see: publishers deliver to it,
/// monitoring reads it, its own task drives it.
pub struct Connection {
    /// The kind of the peer.
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
    /// Its messages without receivers; written by the own task.
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
    /// Whether a client receives its own messages; for views.
    pub echo: AtomicBool,
    /// Whether the peer of a route traces messages that ask for it.
    takes_traces: AtomicBool,
    /// Whether the peer of a route takes messages that are for queue groups alone.
    takes_queues_only: AtomicBool,
    /// Whether it takes messages with the cluster of the leafnode that they come from.
    takes_origins: AtomicBool,
    /// Bytes of the largest message that another broker takes.
    payload_max: AtomicUsize,
    /// Whether what is delivered to it is logged.
    pub traced: OutTrace,
    /// Whether INFO may be sent at any time: the peer has announced support and has
    /// received the one that answers its first ping.
    pub takes_info: AtomicBool,
    /// Bytes of the longest control line that the peer of a route accepts.
    line_max: AtomicUsize,
    /// Whether all local interest was announced to the peer of a route, so that
    /// messages may go to it.
    is_announced: AtomicBool,
    /// Whether what the peer sends is logged, for a while.
    pub trace: TraceRequest,
    /// The identity that the peer states.
    pub identity: Mutex<Identity>,
    /// The certificate that the peer has proved to be its own; set when the
    /// handshake is done.
    pub certificate: OnceLock<Box<PeerCertificate>>,
    /// TLS, once its handshake is done.
    transport: OnceLock<Arc<Tls>>,
    /// Whether it was accepted for a WebSocket.
    is_websocket: bool,
    /// The frames, once the handshake is done.
    websocket: OnceLock<Arc<WebSocket>>,
    /// Its subscriptions, by the peer's ids for them.
    pub subscriptions: Mutex<SubscriptionTable>,
    /// Judges deliveries to those of them that need it; `None` where the user may
    /// receive everything.
    pub guard: Mutex<Option<Arc<DeliveryFilter>>>,
    outbound: Outbound,
    /// The incident of its reader while there is no room to track it; see
    /// `broker::incident`.
    pub untracked_incident: Mutex<Option<Untracked>>,
    /// Number of the series that its metrics belong to; see
    /// [`crate::telemetry::metrics`].
    pub series: AtomicU32,
    /// The part of its traffic that is in the totals.
    moved: Moved,
    /// The generation of the settings that its own task goes by; written by it.
    pub settings: AtomicU64,
    flags: AtomicU8,
    waker: AtomicWaker,
    last_activity: AtomicU64,
    /// Nanoseconds; 0 is not known.
    rtt: AtomicU64,
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
        Self::of(kind, cid, peer, Some(stream), max_pending, budget)
    }

    /// A connection without a socket: a part of the broker subscribes by it like a client, and
    /// takes what is queued for it ([`Connection::queued`], [`Connection::take_queued`]).
    pub fn in_process(cid: u64, max_pending: usize) -> Self {
        let nowhere = (Ipv4Addr::UNSPECIFIED, 0).into();
        Self::of(Kind::Client, cid, nowhere, None, max_pending, Budget::own())
    }

    fn of(
        kind: Kind,
        cid: u64,
        peer: SocketAddr,
        stream: Option<Arc<TcpStream>>,
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
            echo: AtomicBool::new(true),
            takes_traces: AtomicBool::new(false),
            takes_queues_only: AtomicBool::new(false),
            takes_origins: AtomicBool::new(false),
            payload_max: AtomicUsize::new(usize::MAX),
            traced: OutTrace::default(),
            takes_info: AtomicBool::new(false),
            line_max: AtomicUsize::new(ASSUMED_LINE_MAX),
            is_announced: AtomicBool::new(false),
            trace: TraceRequest::default(),
            identity: Mutex::default(),
            certificate: OnceLock::new(),
            transport: OnceLock::new(),
            is_websocket: false,
            websocket: OnceLock::new(),
            subscriptions: Mutex::default(),
            guard: Mutex::default(),
            outbound: Outbound::new(kind, stream, max_pending, budget),
            untracked_incident: Mutex::default(),
            series: AtomicU32::new(0),
            moved: Moved::default(),
            settings: AtomicU64::new(0),
            flags: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            last_activity: AtomicU64::new(start.millis().0),
            rtt: AtomicU64::new(0),
        }
    }

    /// The same on a socket that was accepted for a WebSocket.
    pub fn for_websocket(self) -> Self {
        Self {
            is_websocket: true,
            ..self
        }
    }

    /// Whether it was accepted for a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.is_websocket
    }

    /// How a client is connected, as monitoring calls it.
    pub fn client_type(&self) -> &'static str {
        match self.is_websocket {
            true => "websocket",
            false => "nats",
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

    /// Inserts TLS between the socket and the queue, which must be empty. A second
    /// call changes nothing.
    pub fn set_tls(&self, tls: Arc<Tls>) {
        // Cannot fail: a connection has one handshake.
        let _ = self.transport.set(tls);
    }

    /// The frames between the queue and the socket or TLS; `None` while there are none.
    #[inline]
    pub fn websocket(&self) -> Option<&Arc<WebSocket>> {
        self.websocket.get()
    }

    /// Inserts frames between the queue, which must be empty, and the socket or TLS. A second
    /// call changes nothing.
    pub fn set_websocket(&self, websocket: Arc<WebSocket>) {
        // Cannot fail: a connection has one handshake.
        let _ = self.websocket.set(websocket);
    }

    /// Whether something was received that the socket does not report.
    pub fn has_unread(&self) -> bool {
        self.websocket().is_some_and(|it| it.has_unread())
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

    /// Cuts the connection because of what its stuck reader leaves waiting; returns
    /// how much that was, `None` if it is nothing by now.
    pub fn close_for_memory(&self) -> Option<usize> {
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

    /// Its name, in one word: its name, else its user, else its address.
    pub fn who(&self) -> String {
        self.identity.lock().who(self.peer)
    }

    /// Traffic in both directions, and losses.
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

    /// Whose load it is.
    pub fn holder(&self) -> Name {
        let identity = self.identity.lock();
        Name {
            account: identity.account.clone(),
            user: identity.user.clone(),
        }
    }

    /// Bytes of the longest control line that the peer of a route accepts.
    pub fn line_max(&self) -> usize {
        self.line_max.load(Ordering::Relaxed)
    }

    /// Sets the longest control line that the peer of a route accepts.
    pub fn set_line_max(&self, bytes: usize) {
        self.line_max.store(bytes, Ordering::Relaxed);
    }

    /// Whether the peer of a route traces messages that ask for it.
    pub fn takes_traces(&self) -> bool {
        self.takes_traces.load(Ordering::Relaxed)
    }

    /// Notes that the peer of a route traces messages that ask for it.
    pub fn set_takes_traces(&self) {
        self.takes_traces.store(true, Ordering::Relaxed);
    }

    /// Whether the peer of a route takes messages that are for queue groups alone.
    pub fn takes_queues_only(&self) -> bool {
        self.takes_queues_only.load(Ordering::Relaxed)
    }

    /// Notes that the peer takes such messages.
    pub fn set_takes_queues_only(&self) {
        self.takes_queues_only.store(true, Ordering::Relaxed);
    }

    /// Whether the peer of a route takes messages with the cluster of the leafnode that they come from.
    pub fn takes_origins(&self) -> bool {
        self.takes_origins.load(Ordering::Relaxed)
    }

    /// Notes that the peer takes such messages.
    pub fn set_takes_origins(&self) {
        self.takes_origins.store(true, Ordering::Relaxed);
    }

    /// Bytes of the largest message, headers included, that the broker at the other end takes: a larger
    /// one ends the connection.
    pub fn payload_max(&self) -> usize {
        self.payload_max.load(Ordering::Relaxed)
    }

    /// Sets what the broker at the other end takes.
    pub fn set_payload_max(&self, bytes: usize) {
        self.payload_max.store(bytes, Ordering::Relaxed);
    }

    /// Whether messages may go to the peer of a route.
    pub fn is_announced(&self) -> bool {
        self.is_announced.load(Ordering::Acquire)
    }

    /// Notes that all local interest was announced to the peer of a route; whether
    /// that is new.
    pub fn set_announced(&self) -> bool {
        !self.is_announced.swap(true, Ordering::AcqRel)
    }

    /// Queues a line and writes as much as the socket accepts. Not to be called with the
    /// thread's buffers in use.
    pub fn send_now(self: &Arc<Self>, line: &[u8]) {
        with_buffers(|buffers| {
            self.send(buffers, line);
            buffers.flush_touched();
        });
    }

    /// How the layers between the queue and the socket announce the end.
    fn farewell(&self) -> Vec<u8> {
        let reason = self.outbound.close_reason();
        let frame = self.websocket().zip(reason);
        let frame = frame.and_then(|(websocket, reason)| websocket.close_frame(reason));
        let frame = frame.unwrap_or_default();
        let Some(tls) = self.tls() else {
            return frame;
        };
        let mut sealed = Vec::new();
        // A session that has ended has no peer that would read it.
        if !frame.is_empty() && tls.sealer(&mut sealed).seal(&frame).is_err() {
            sealed.clear();
        }
        sealed.extend(tls.seal_end());
        sealed
    }

    /// Writes what is left for a peer whose connection is ending, for a while.
    pub async fn drain_and_close(&self, stream: &TcpStream) {
        if self.outbound.close_reason() == Some(CloseReason::HandedOver) {
            return;
        }
        let last_words = async {
            while !with_buffers(|buffers| self.flush_closing(buffers)) {
                if stream.writable().await.is_err() {
                    break;
                }
                // Another task may be writing: let it run meanwhile.
                tokio::task::yield_now().await;
            }
        };
        if timeout(LAST_WORDS_TIMEOUT, last_words).await.is_err() {
            log::about(self).debug(format_args!("The last bytes could not be written"));
        }
        if self.outbound.is_empty() {
            // A peer that has left ignores it.
            let _ = stream.try_write(&self.farewell());
        }
        // Unread bytes would turn the close into a reset that may destroy the
        // last words on their way.
        let _ = with_buffers(|buffers| stream.try_read(&mut buffers.read_buffer));
    }
}
