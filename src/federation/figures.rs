//! What the federation has done, and how the upstream side is: counted by the federation's thread
//! alone, read by everything that observes.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tracing::{info, warn};

use super::{
    answers::Answers,
    refusal::Refusal,
    round_trips::{RoundTrips, RoundTripsView},
    silent_nodes::SilentNodes,
};
use crate::{
    connection::Connection,
    telemetry::{
        Counter, MonotonicMicros, MonotonicMillis,
        event::{EventKind, EventLog},
    },
};

/// Different texts that are told until an upstream broker is reached.
const TOLD_MAX: usize = 32;

const OVERFLOW: &str = "Replies for the federation came faster than they could be passed on, and \
                        more than max_pending waited: they were dropped; see /federationz";

/// One of the two directions.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// From clients upstream to nodes of the site.
    Requests,
    /// Back.
    Replies,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Requests, Self::Replies];

    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Replies => "replies",
        }
    }

    /// One message of it.
    fn one(self) -> &'static str {
        match self {
            Self::Requests => "A request from upstream",
            Self::Replies => "A reply of the site",
        }
    }
}

/// The counts of one direction.
#[derive(Default)]
pub struct Counts {
    /// Messages received.
    pub received: Counter,
    /// Their bytes.
    pub received_bytes: Counter,
    /// Messages passed on, one for each target.
    pub published: Counter,
    /// Their bytes.
    pub published_bytes: Counter,
    /// Messages that were passed on to nobody, because nobody here has subscribed.
    pub without_receiver: Counter,
    /// Messages that were not passed on because too much waited.
    pub dropped: Counter,
    /// Their bytes.
    pub dropped_bytes: Counter,
    /// Messages that are not passed on, by [`Refusal`].
    refused: [Counter; Refusal::ALL.len()],
}

impl Counts {
    /// How many were refused for each reason; reasons without any are left out.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        let counts = Refusal::ALL.into_iter().zip(&self.refused);
        let counts = counts.map(|(refusal, count)| (refusal, count.value()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// How many were refused for any reason.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().map(Counter::value).sum()
    }
}

/// A connection to an upstream broker.
#[derive(Clone)]
pub struct Connected {
    /// Where it was reached, `host:port`.
    pub address: String,
    /// Its name.
    pub server_name: String,
    /// Its version.
    pub version: String,
    /// Since when.
    pub since: MonotonicMillis,
    /// The connection.
    pub connection: Arc<Connection>,
    /// The one without a socket by which replies of the site come.
    pub local: Arc<Connection>,
}

/// The upstream side.
#[derive(Clone)]
pub struct UpstreamState {
    /// The present connection.
    pub connected: Option<Connected>,
    /// Since when there is none, if so.
    pub lost_at: MonotonicMillis,
    /// Why there is none, or what went wrong last.
    pub error: String,
    /// When that was; `None` for never.
    pub error_at: Option<MonotonicMillis>,
    /// Failed attempts since the last success.
    pub failures: u32,
}

/// All figures of the federation.
pub struct Figures {
    requests: Counts,
    replies: Counts,
    /// How often an upstream broker was reached.
    pub connects: Counter,
    /// Complaints of upstream brokers, such as a missing permission.
    pub complaints: Counter,
    /// Requests to all nodes, and who answers.
    pub answers: Answers,
    /// Nodes that do not.
    pub silent_nodes: SilentNodes,
    upstream: Mutex<UpstreamState>,
    /// What was told since the last success.
    told: Mutex<BTreeSet<String>>,
    round_trips: Mutex<RoundTrips>,
    unread: AtomicU64,
}

impl Figures {
    /// Nothing was done yet. Round trips to the agent `discovery` that end within `moment` of each
    /// other count as one.
    pub fn new(moment: Duration) -> Self {
        Self {
            requests: Counts::default(),
            replies: Counts::default(),
            connects: Counter::default(),
            complaints: Counter::default(),
            answers: Answers::default(),
            silent_nodes: SilentNodes::default(),
            upstream: Mutex::new(UpstreamState {
                connected: None,
                lost_at: MonotonicMillis::now(),
                error: String::new(),
                error_at: None,
                failures: 0,
            }),
            told: Mutex::default(),
            round_trips: Mutex::new(RoundTrips::new(moment)),
            unread: AtomicU64::new(0),
        }
    }

    /// The counts of a direction.
    pub fn of(&self, direction: Direction) -> &Counts {
        match direction {
            Direction::Requests => &self.requests,
            Direction::Replies => &self.replies,
        }
    }

    /// How the upstream side is.
    pub fn upstream(&self) -> UpstreamState {
        self.upstream.lock().clone()
    }

    /// How long requests took.
    pub fn round_trips(&self) -> RoundTripsView {
        self.round_trips.lock().view()
    }

    /// Bytes that wait on both sides, those of requests whose reply is waited for, and those of the
    /// nodes that have answered or not.
    pub(super) fn memory(&self) -> usize {
        let connected = self.upstream.lock().connected.clone();
        let queued = |connection: &Connection| connection.outbound().backlog().held;
        let sides = connected.map_or(0, |it| queued(&it.connection) + queued(&it.local));
        let unread = usize::try_from(self.unread.load(Ordering::Relaxed)).unwrap_or(0);
        let nodes = self.answers.memory() + self.silent_nodes.memory();
        sides + unread + self.round_trips.lock().memory() + nodes
    }

    /// So many bytes of an incomplete message from upstream are held.
    pub(super) fn set_unread(&self, bytes: usize) {
        self.unread.store(bytes as u64, Ordering::Relaxed);
    }

    /// A request is passed on, to the agent `discovery` or to others.
    pub(super) fn begin_round_trip(&self, id: &str, is_discovery: bool) {
        let now = MonotonicMicros::now();
        self.round_trips.lock().begin(id, is_discovery, now);
    }

    /// A reply is passed on.
    pub(super) fn end_round_trip(&self, id: &str) {
        self.round_trips.lock().end(id, MonotonicMicros::now());
    }

    /// A message is not passed on. The first one of each kind is told.
    pub(super) fn refuse(&self, direction: Direction, refusal: Refusal) {
        let count = &self.of(direction).refused[refusal as usize];
        count.add(1);
        if count.value() == 1 {
            let (one, why) = (direction.one(), refusal.text());
            warn!(
                "{one} is not passed on by the federation: {why}; further ones are counted in \
                 /federationz"
            );
        }
    }

    /// An upstream broker was reached.
    pub(super) fn connected(&self, events: &EventLog, connected: Connected) {
        self.connects.add(1);
        let text = format!(
            "The federation is connected to {} ({:?})",
            connected.address, connected.server_name
        );
        info!("{text}");
        events.record(EventKind::Federation, 0, &connected.address, &text);
        let mut state = self.upstream.lock();
        state.connected = Some(connected);
        state.failures = 0;
        drop(state);
        self.told.lock().clear();
    }

    /// More replies came at once than are kept; `local` is the next connection by which they come.
    pub(super) fn rejoined(&self, local: Arc<Connection>) {
        if let Some(connected) = &mut self.upstream.lock().connected {
            connected.local = local;
        }
        self.answers.lose();
        if self.is_new(OVERFLOW) {
            warn!("{OVERFLOW}");
        }
    }

    /// The connection has ended; `left` is whether we wanted that.
    pub(super) fn lost(&self, events: &EventLog, why: &str, left: bool) {
        let mut state = self.upstream.lock();
        let Some(connected) = state.connected.take() else {
            return;
        };
        let now = MonotonicMillis::now();
        state.lost_at = now;
        state.error = format!("{}: {why}", connected.address);
        state.error_at = Some(now);
        drop(state);
        self.answers.lose();
        let text = format!(
            "The connection of the federation to {} has ended: {why}",
            connected.address
        );
        match left {
            true => info!("{text}"),
            false => warn!("{text}"),
        }
        events.record(EventKind::Federation, 0, &connected.address, &text);
    }

    /// An upstream broker could not be reached. Each outcome is told once, until one is reached.
    pub(super) fn failed(&self, events: &EventLog, address: &str, why: &str) {
        let mut state = self.upstream.lock();
        state.failures += 1;
        state.error = format!("{address}: {why}");
        state.error_at = Some(MonotonicMillis::now());
        drop(state);
        let text = format!("The federation cannot connect to {address}: {why}");
        if self.is_new(&text) {
            warn!("{text}");
            events.record(EventKind::Federation, 0, address, &text);
        }
    }

    /// An upstream broker complains, and the connection stays. Each complaint is told once.
    pub(super) fn complain(&self, address: &str, why: &str) {
        let mut state = self.upstream.lock();
        state.error = format!("{address}: {why}");
        state.error_at = Some(MonotonicMillis::now());
        drop(state);
        self.complaints.add(1);
        let text = format!("The upstream broker {address} tells the federation: {why}");
        if self.is_new(&text) {
            warn!("{text}");
        }
    }

    /// Whether a text was not told since the last success, as far as that is known.
    fn is_new(&self, text: &str) -> bool {
        let mut told = self.told.lock();
        told.len() < TOLD_MAX && told.insert(text.to_owned())
    }
}

impl UpstreamState {
    /// For how long there has been no connection; `None` while there is one.
    pub fn unreachable_for(&self) -> Option<Duration> {
        match self.connected {
            Some(_) => None,
            None => Some(self.lost_at.age()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_messages_are_counted_by_reason() {
        let figures = Figures::new(Duration::from_secs(1));
        for _ in 0..3 {
            figures.refuse(Direction::Requests, Refusal::Target);
        }
        figures.refuse(Direction::Replies, Refusal::Malformed);
        let requests = figures.of(Direction::Requests);
        let refused: Vec<_> = requests.refused().collect();
        assert_eq!(refused, [(Refusal::Target, 3)]);
        assert_eq!(figures.of(Direction::Replies).refused_in_all(), 1);
    }
}
