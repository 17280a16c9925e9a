//! The queue to the module `system`: requests to the broker, and clients that connect
//! and leave. A session never waits for it: what does not fit is dropped, and counted.

mod services;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    account::Account,
    broker::Broker,
    connection::{CloseReason, Connection},
    delivery::SubjectBatch,
    protocol::{
        header,
        message_trace::{MessageTrace, TraceEvent},
    },
    telemetry::pool::allocated,
};
pub use services::{
    COUNTED, LATENCY_HALF, LATENCY_TOPIC, Query, SUBSCRIBERS_HERE, latency_token, subjects,
};

/// Notices that may wait. A storm of connects beyond it loses some of its
/// advisories and nothing else.
pub const NOTICES_MAX: usize = 4096;

/// Traces of messages that may wait: far fewer, so that a flood of them leaves room for the rest
/// and does not delay it.
const TRACES_MAX: usize = 256;

/// Bytes of a request's body that are looked at; options are short.
const BODY_MAX: usize = 64 * 1024;

/// The header of a request that names the encodings in which its answer may be compressed.
pub const ACCEPT_ENCODING: &str = "Accept-Encoding";

/// Bytes of that header that are looked at; the names of encodings are short.
const ENCODINGS_MAX: usize = 256;

/// An event or a request.
pub enum Notice {
    /// A client logged in.
    Connected(Arc<Connection>),
    /// A client's connection ended.
    Closed(Arc<Connection>, CloseReason),
    /// A leafnode has joined the account of this name.
    LeafnodeConnected(String),
    /// Accounts have more or fewer connections; see [`SystemQueue::take_counted`].
    Counted,
    /// The broker leaves.
    LameDuck,
    /// A request to the broker.
    Request(Request),
    /// The trace of a message.
    Traced(Traced),
    /// What was measured of services waits to be taken; see
    /// [`LatencyLog`](crate::account::latency::LatencyLog).
    Measured,
    /// The broker stops; the sender is used when that has been published.
    Stopping(oneshot::Sender<()>),
}

/// A request to the broker.
pub struct Request {
    /// The account of the requester.
    pub account: Arc<Account>,
    /// Where the answer goes; empty if the values are to be published, or if it
    /// is an answer itself.
    pub reply: Box<[u8]>,
    /// The request.
    pub ask: Query,
    /// Options as JSON; may be empty.
    pub body: Box<[u8]>,
    /// The value of its header [`ACCEPT_ENCODING`].
    pub encodings: Option<Box<str>>,
    /// Its part of what all requests may take.
    _held: HeldMemory,
}

/// A trace event that is to be published.
pub struct Traced {
    /// The account where it is published.
    pub account: Arc<Account>,
    /// The subject.
    pub dest: String,
    /// The event.
    pub event: TraceEvent,
    _held: HeldMemory,
    _place: TracePlace,
}

/// One of the [`TRACES_MAX`] places; given back when it is dropped.
struct TracePlace(Arc<AtomicUsize>);

impl TracePlace {
    /// A place among those taken, unless all are.
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let place = |taken| (taken < TRACES_MAX).then_some(taken + 1);
        let is_taken = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place);
        is_taken.ok().map(|_| Self(taken.clone()))
    }
}

impl Drop for TracePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The part of its account's share that a waiting request uses; released with it.
struct HeldMemory {
    account: Arc<Account>,
    bytes: usize,
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.account.request_memory.release(self.bytes);
    }
}

/// Where sessions leave notices.
#[derive(Default)]
pub struct SystemQueue {
    /// Not a bounded channel of the standard library: that one has memory for all
    /// that may wait from the start.
    notices: OnceLock<Sender<Notice>>,
    /// How many wait.
    waiting: Arc<AtomicUsize>,
    /// How many of them are traces.
    traces: Arc<AtomicUsize>,
    /// Accounts that have more or fewer connections than was published of them.
    counted: Mutex<BTreeSet<String>>,
    dropped: AtomicU64,
    /// Messages of the broker itself that were larger than what may be sent.
    too_large: AtomicU64,
    messages: AtomicU64,
}

impl SystemQueue {
    /// Opens it: notices are kept from now on. Opened once.
    pub fn open(&self) -> Notices {
        let (sender, notices) = channel();
        self.notices.get_or_init(|| sender);
        Notices {
            notices,
            waiting: self.waiting.clone(),
        }
    }

    /// Leaves a notice; whether it was taken.
    pub fn leave(&self, notice: Notice) -> bool {
        let Some(notices) = self.notices.get() else {
            return false;
        };
        match self.send(notices, notice) {
            true => true,
            false => self.drop_one(),
        }
    }

    /// Whether there was a place for it.
    fn send(&self, notices: &Sender<Notice>, notice: Notice) -> bool {
        let place = |waiting| (waiting < NOTICES_MAX).then_some(waiting + 1);
        let taken = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, place);
        taken.is_ok() && notices.send(notice).is_ok()
    }

    /// Notes that an account has more or fewer connections. None is lost, however
    /// many notices wait: peers count by them.
    pub fn count(&self, account: &str) {
        let Some(notices) = self.notices.get() else {
            return;
        };
        let is_first = {
            let mut counted = self.counted.lock();
            let is_first = counted.is_empty();
            if !counted.contains(account) {
                counted.insert(account.to_owned());
            }
            is_first
        };
        if is_first {
            // If the queue is full, its reader has a notice to handle and checks this set
            // as well.
            self.send(notices, Notice::Counted);
        }
    }

    /// The accounts that were noted since the last call.
    pub fn take_counted(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.counted.lock())
    }

    /// Counts a notice that is not taken.
    fn drop_one(&self) -> bool {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// The number of the next message that the broker itself sends.
    pub fn next_message(&self) -> u64 {
        self.messages.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notices that did not fit.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts a message of the broker itself that is too large to be sent.
    pub fn drop_large(&self) {
        self.too_large.fetch_add(1, Ordering::Relaxed);
    }

    /// How many they are.
    pub fn too_large(&self) -> u64 {
        self.too_large.load(Ordering::Relaxed)
    }
}

/// The other end of the queue.
pub struct Notices {
    notices: Receiver<Notice>,
    waiting: Arc<AtomicUsize>,
}

impl Notices {
    /// The next one, waited for at most this long.
    ///
    /// # Errors
    ///
    /// None arrived, or none can arrive any more.
    pub fn wait(&self, timeout: Duration) -> Result<Notice, RecvTimeoutError> {
        let notice = self.notices.recv_timeout(timeout)?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(notice)
    }

    /// The ones in the queue by now.
    pub fn ready(&self) -> impl Iterator<Item = Notice> {
        self.notices.try_iter().inspect(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }
}

/// Has the trace of a message in `account` published. What there is no room for is dropped, and
/// counted.
pub fn send_trace(broker: &Broker, account: &Arc<Account>, mut trace: MessageTrace) {
    let bytes = size_of::<Notice>() + trace.memory();
    let Some(place) = TracePlace::take(&broker.system.traces) else {
        broker.system.drop_one();
        return;
    };
    if !account.request_memory.reserve(bytes) {
        broker.system.drop_one();
        return;
    }
    broker.system.leave(Notice::Traced(Traced {
        account: account.clone(),
        dest: std::mem::take(&mut trace.dest),
        event: trace.event(),
        _held: HeldMemory {
            account: account.clone(),
            bytes,
        },
        _place: place,
    }));
}

/// Puts a batch into the queue if it is a request to the broker; returns whether it is and
/// will be answered. `account` is that of the requester, here or on a peer.
pub fn pass_on(broker: &Broker, account: &Arc<Account>, batch: &SubjectBatch<'_>) -> bool {
    let ask = {
        let info = broker.info.read();
        Query::parse(batch.subject, account, &info.server_id)
    };
    let Some(ask) = ask else {
        return false;
    };
    let mut taken = true;
    for message in batch.messages {
        let reply = match batch.reply(message) {
            // Without a reply subject they are published to all subscribers.
            None if ask.topic == "STATSZ" => Some(&b""[..]),
            None if ask.topic.starts_with(COUNTED) => Some(&b""[..]),
            None if ask.topic == LATENCY_TOPIC => Some(&b""[..]),
            reply => reply,
        };
        if let Some(reply) = reply {
            let (headers, body) = batch.parts(message);
            let encodings = header::find(headers, ACCEPT_ENCODING);
            taken &= match Request::new(account, reply, ask.clone(), body, encodings) {
                Some(request) => broker.system.leave(Notice::Request(request)),
                None => broker.system.drop_one(),
            };
        }
    }
    taken
}

impl Request {
    /// A request whose body is short enough to hold options; `None` if too much waits
    /// already.
    pub fn new(
        account: &Arc<Account>,
        reply: &[u8],
        ask: Query,
        body: &[u8],
        encodings: Option<&[u8]>,
    ) -> Option<Self> {
        let body = &body[..body.len().min(BODY_MAX)];
        let encodings = encodings.map(printable);
        let texts = [
            reply,
            body,
            encodings.as_deref().unwrap_or_default().as_bytes(),
        ];
        let bytes = texts
            .iter()
            .map(|text| allocated(text.len()))
            .sum::<usize>();
        let bytes = size_of::<Notice>() + bytes;
        account.request_memory.reserve(bytes).then(|| Self {
            account: account.clone(),
            reply: reply.into(),
            ask,
            body: body.into(),
            encodings,
            _held: HeldMemory {
                account: account.clone(),
                bytes,
            },
        })
    }
}

/// The start of a header's value, as text that can be a header's value again.
fn printable(value: &[u8]) -> Box<str> {
    let bytes = value.iter().take(ENCODINGS_MAX);
    let bytes = bytes.filter(|byte| matches!(byte, b' '..=b'~'));
    bytes.map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::SYSTEM_REQUESTS;

    #[test]
    fn notices_that_wait_are_bounded_in_number() {
        let queue = SystemQueue::default();
        assert!(!queue.leave(Notice::LameDuck), "nobody takes it");
        let notices = queue.open();
        for _ in 0..NOTICES_MAX {
            assert!(queue.leave(Notice::LameDuck));
        }
        assert!(!queue.leave(Notice::LameDuck));
        assert_eq!(queue.dropped(), 1);
        assert!(notices.wait(Duration::ZERO).is_ok());
        assert!(queue.leave(Notice::LameDuck));
        assert_eq!(notices.ready().count(), NOTICES_MAX);
        assert!(queue.leave(Notice::LameDuck));
    }

    #[test]
    fn traces_leave_room_for_other_notices() {
        let taken = Arc::default();
        let places: Vec<_> = std::iter::from_fn(|| TracePlace::take(&taken)).collect();
        assert_eq!(places.len(), TRACES_MAX);
        const { assert!(TRACES_MAX * 8 <= NOTICES_MAX) };
        drop(places);
        assert!(TracePlace::take(&taken).is_some());
    }

    #[test]
    fn requests_that_wait_are_bounded_in_bytes() {
        let (one, other) = (Arc::new(Account::new("A")), Arc::new(Account::new("B")));
        let body = vec![b'x'; 2 * BODY_MAX];
        let ask = Query {
            topic: "CONNZ".into(),
            account: None,
            is_ping: true,
        };
        let names = vec![b'x'; 2 * ENCODINGS_MAX];
        let request = |account| Request::new(account, b"r", ask.clone(), &body, Some(&names));
        let waiting: Vec<_> = std::iter::from_fn(|| request(&one)).collect();
        let kept = |request: &Request| request.encodings.as_ref().map_or(0, |names| names.len());
        assert!(waiting.iter().all(|request| kept(request) == ENCODINGS_MAX));
        assert!((50..=SYSTEM_REQUESTS.limit() / BODY_MAX).contains(&waiting.len()));
        assert!(request(&other).is_some());
        drop(waiting);
        assert_eq!(
            (one.request_memory.bytes(), other.request_memory.bytes()),
            (0, 0)
        );
    }
}
