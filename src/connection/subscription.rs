//! A subscription, and a connection's table of them.

use std::{
    borrow::Cow,
    hash::BuildHasher,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    connection::Connection,
    security::delivery_filter::DeliveryFilter,
    subject::transform::Renaming,
    sublist::{Entry, Slot},
    telemetry::{
        Counter, MessageTotals,
        pool::{Pool, allocated},
    },
};

/// Bytes of the subscriptions of all accounts; the limit is set at the start.
pub static SUBSCRIPTIONS: Pool = Pool::new(usize::MAX);

/// One SUB of one connection.
pub struct Subscription {
    /// The subscriber.
    pub connection: Arc<Connection>,
    /// Messages delivered; written under the lock of the outbound queue.
    pub delivered: Counter,
    /// Deliveries after which it ends; 0 is endless.
    max: AtomicU64,
    closed: AtomicBool,
    /// Whether its connection's guard judges deliveries to it.
    judged: AtomicBool,
    /// Whether the account's local interest counts it.
    counted: AtomicBool,
    lingering: Lingering,
    /// Subject, queue group and sid behind each other: one allocation.
    text: Box<[u8]>,
    subject_len: u32,
    queue_len: Option<u32>,
    slot: Slot,
    /// Set for the shadow of a subscription in another account.
    shadow: Option<Box<Shadow>>,
}

/// The original of a shadow: a subscription of another account, which receives messages
/// under subjects of its own.
struct Shadow {
    origin: Arc<Subscription>,
    subjects: Arc<Renaming>,
    exported_traffic: Arc<MessageTotals>,
    /// Whether traces of a message go on in the original's account.
    allow_trace: bool,
}

/// Memory of a shadow's data, and of its place among its origin's shadows.
const SHADOW_LEN: usize = allocated(size_of::<Shadow>()) + 4 * allocated(4 * size_of::<usize>());

/// Bytes of subscriptions that have left their sublist and are still held: by publishers'
/// look-up caches, or by the code that removes them.
static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// Bytes of subscriptions that are in no table any more and are still held.
pub fn lingering() -> usize {
    LINGERING.load(Ordering::Relaxed)
}

/// The bytes of a subscription that has left its sublist; 0 before.
#[derive(Default)]
struct Lingering(AtomicUsize);

impl Drop for Lingering {
    fn drop(&mut self) {
        LINGERING.fetch_sub(*self.0.get_mut(), Ordering::Relaxed);
    }
}

impl Subscription {
    /// A subscription of `connection`. The texts come from one control line,
    /// so their lengths fit 32 bits.
    pub fn new(
        connection: Arc<Connection>,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) -> Self {
        Self {
            connection,
            delivered: Counter::default(),
            max: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            judged: AtomicBool::new(false),
            counted: AtomicBool::new(false),
            lingering: Lingering::default(),
            text: [subject, queue.unwrap_or_default(), sid].concat().into(),
            subject_len: subject.len() as u32,
            queue_len: queue.map(|queue| queue.len() as u32),
            slot: Slot::default(),
            shadow: None,
        }
    }

    /// Bytes that a subscription uses by itself.
    pub fn memory_of(subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> usize {
        let text = subject.len() + queue.map_or(0, <[u8]>::len) + sid.len();
        // With the two counts of an Arc.
        allocated(size_of::<Self>() + 2 * size_of::<usize>()) + allocated(text)
    }

    /// The same of a shadow.
    pub fn shadow_memory_of(subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> usize {
        Self::memory_of(subject, queue, sid) + SHADOW_LEN
    }

    /// The shadow of a subscription in an account whose messages its own account imports:
    /// it receives `subject` there, and delivers to `origin` under the subject that
    /// `subjects` maps it to. `exported_traffic` counts what it delivers.
    pub fn shadow(
        origin: &Arc<Self>,
        subject: &[u8],
        subjects: Arc<Renaming>,
        exported_traffic: Arc<MessageTotals>,
        allow_trace: bool,
    ) -> Self {
        Self {
            shadow: Some(Box::new(Shadow {
                origin: origin.clone(),
                subjects,
                exported_traffic,
                allow_trace,
            })),
            ..Self::new(
                origin.connection.clone(),
                subject,
                origin.queue(),
                origin.sid(),
            )
        }
    }

    /// Bytes that cannot be freed while it is held.
    pub fn pinned(self: &Arc<Self>) -> usize {
        match self.is_shadow() {
            true => self.memory() + self.origin().memory(),
            false => self.memory(),
        }
    }

    /// Whether it represents a subscription of another account.
    pub fn is_shadow(&self) -> bool {
        self.shadow.is_some()
    }

    /// Whether the trace of a message goes on where it is delivered.
    pub fn allows_trace(&self) -> bool {
        self.shadow.as_ref().is_none_or(|shadow| shadow.allow_trace)
    }

    /// The client's own subscription: the one that counts, and that ends.
    pub fn origin(self: &Arc<Self>) -> &Arc<Self> {
        match &self.shadow {
            Some(shadow) => &shadow.origin,
            None => self,
        }
    }

    /// Where what is delivered is counted, if that is not in the client's own account:
    /// as nats-server has it, what an imported stream brings is sent by the account
    /// that exports it, and not by the one whose client gets it.
    #[inline]
    pub fn exported_traffic(&self) -> Option<&MessageTotals> {
        self.shadow.as_ref().map(|shadow| &*shadow.exported_traffic)
    }

    /// The subject that a message to `subject` is delivered under.
    pub fn delivered_subject<'a>(&self, subject: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.shadow {
            Some(shadow) => Cow::Owned(shadow.subjects.to_local.applied(subject)),
            None => Cow::Borrowed(subject),
        }
    }

    /// The same subscription for another account: what it has had counts.
    pub fn moved(&self) -> Self {
        let moved = Self::new(
            self.connection.clone(),
            self.subject(),
            self.queue(),
            self.sid(),
        );
        moved.delivered.add(self.delivered.value());
        moved.set_max(self.max());
        moved.set_judged(self.judged.load(Ordering::Relaxed));
        moved
    }

    /// Has its connection's guard judge deliveries to it and to its shadows, or
    /// no more.
    pub fn set_judged(&self, judged: bool) {
        self.judged.store(judged, Ordering::Relaxed);
    }

    /// The filter for deliveries to it.
    pub fn guard(self: &Arc<Self>) -> Option<Arc<DeliveryFilter>> {
        match self.origin().judged.load(Ordering::Relaxed) {
            true => self.connection.guard.lock().clone(),
            false => None,
        }
    }

    /// The client's id for it.
    pub fn sid(&self) -> &[u8] {
        &self.text[(self.subject_len + self.queue_len.unwrap_or(0)) as usize..]
    }

    /// Deliveries after which it ends, counted from its beginning; 0 is endless.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Sets the deliveries after which it ends.
    pub fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Whether nothing may be delivered to it any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether it accepts no more messages, and its end is announced to the peers of the
    /// cluster or is about to be.
    pub fn has_left(self: &Arc<Self>) -> bool {
        self.origin().is_closed() || self.connection.is_closing()
    }

    /// Notes whether local interest counts it; returns what was noted before.
    pub fn set_counted(&self, counted: bool) -> bool {
        self.counted.swap(counted, Ordering::Relaxed)
    }

    /// Notes that it has left its sublist, so that its bytes are counted where it is
    /// still held.
    pub fn linger(&self) {
        let bytes = self.memory();
        if self.lingering.0.swap(bytes, Ordering::Relaxed) == 0 {
            LINGERING.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Ends it for every publisher that still holds it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl Entry for Subscription {
    fn subject(&self) -> &[u8] {
        &self.text[..self.subject_len as usize]
    }

    fn queue(&self) -> Option<&[u8]> {
        let start = self.subject_len as usize;
        self.queue_len
            .map(|len| &self.text[start..start + len as usize])
    }

    fn memory(&self) -> usize {
        match self.is_shadow() {
            true => Self::shadow_memory_of(&self.text, None, b""),
            false => Self::memory_of(&self.text, None, b""),
        }
    }

    fn slot(&self) -> &Slot {
        &self.slot
    }
}

static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// A connection's subscriptions by sid.
#[derive(Default)]
pub struct SubscriptionTable(HashTable<Arc<Subscription>>);

impl SubscriptionTable {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one with this sid.
    pub fn get(&self, sid: &[u8]) -> Option<&Arc<Subscription>> {
        self.0
            .find(HASHER.hash_one(sid), |known| known.sid() == sid)
    }

    /// Adds one whose sid is not yet in the table.
    pub fn insert(&mut self, subscription: Arc<Subscription>) {
        let hash = HASHER.hash_one(subscription.sid());
        self.0
            .insert_unique(hash, subscription, |known| HASHER.hash_one(known.sid()));
    }

    /// Removes this very subscription; `false` if it was not there.
    pub fn remove(&mut self, subscription: &Arc<Subscription>) -> bool {
        let hash = HASHER.hash_one(subscription.sid());
        match self
            .0
            .find_entry(hash, |known| Arc::ptr_eq(known, subscription))
        {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes that the table uses.
    pub fn memory(&self) -> usize {
        self.0.allocation_size()
    }

    /// Removes all.
    pub fn drain(&mut self) -> Vec<Arc<Subscription>> {
        std::mem::take(&mut self.0).into_iter().collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.0.iter()
    }
}
