//! Slow consumer incidents. They have a ring of their own, so that events of ordinary connects and
//! disconnects do not push them out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{MonotonicMillis, loss::Lost, pool::allocated};

/// Limit of incidents kept after their end, and of incidents that are tracked at a time.
pub const INCIDENTS_MAX: usize = 256;

/// Points of a curve; when it is full, every second one is dropped.
const CURVE_MAX: usize = 64;

/// Scheduling delay from which the broker itself is the cause.
const SCHEDULING_DELAY_MIN: Duration = Duration::from_millis(250);

/// The state of an incident.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// The connection ended for another reason.
    Closed,
    /// The connection was closed as a slow consumer.
    Evicted,
    /// It has not ended.
    #[default]
    Ongoing,
    /// The consumer has caught up.
    Recovered,
}

impl State {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Evicted => "evicted",
            Self::Ongoing => "ongoing",
            Self::Recovered => "recovered",
        }
    }
}

/// What made the consumer slow.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Cause {
    /// The broker's threads were scheduled late.
    Midge,
    /// Packets are lost, or the network is too slow.
    Network,
    /// The peer's receive window is closed: its program does not read.
    PeerNotReading,
    /// The system reports nothing about the socket.
    #[default]
    Unknown,
}

impl Cause {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Midge => "midge",
            Self::Network => "network",
            Self::PeerNotReading => "peer_not_reading",
            Self::Unknown => "unknown",
        }
    }
}

/// What the system reports about a connection's socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketStats {
    /// Bytes left in the peer's receive window.
    pub send_window: u32,
    /// Consecutive probes sent to a closed window.
    pub probes: u8,
    /// Packets sent but not acknowledged.
    pub unacked: u32,
    /// Packets retransmitted so far.
    pub retransmits: u32,
    /// Bytes in the system's send buffer that were not sent yet.
    pub not_sent: u32,
    /// Microseconds during which the connection had something to send.
    pub busy: u64,
    /// The part of them in which the peer's window limited sending.
    pub window_limited: u64,
    /// Round trip time in microseconds.
    pub rtt: u32,
}

/// The slow consumer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reader {
    /// Connection id.
    pub cid: u64,
    /// Kind of the connection.
    pub kind: String,
    /// Its display name: name, user or address.
    pub who: String,
    /// The name that the client gave.
    pub name: String,
    /// User.
    pub user: String,
    /// Common name of its certificate.
    pub certificate: String,
    /// Address and port.
    pub address: String,
    /// Client library and version.
    pub library: String,
    /// Account.
    pub account: String,
}

/// A point of the curve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Point {
    /// When.
    pub at: MonotonicMillis,
    /// Bytes queued.
    pub pending: usize,
    /// Bytes written since the incident began.
    pub written: u64,
}

/// One subject's share of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubjectShare {
    /// Subject.
    pub subject: String,
    /// Messages queued.
    pub msgs: u64,
    /// Bytes queued.
    pub bytes: u64,
}

/// A publisher that filled the queue or was paused because of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Publisher {
    /// Connection id.
    pub cid: u64,
    /// Its display name: name, user or address.
    pub who: String,
    /// Bytes it added to the queue.
    pub bytes: u64,
    /// Number of times it was paused.
    pub stalls: u64,
    /// Total time it was paused.
    pub stalled: Duration,
}

/// One incident of one consumer.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Number, counted from 1.
    pub id: u64,
    /// The slow consumer.
    pub reader: Reader,
    /// Its state.
    pub state: State,
    /// When it began.
    pub start: MonotonicMillis,
    /// When it ended.
    pub end: Option<MonotonicMillis>,
    /// What made the consumer slow.
    pub cause: Cause,
    /// The reasons for that, as a sentence.
    pub evidence: String,
    /// Bytes queued at the last sample.
    pub pending: usize,
    /// The maximum of them.
    pub pending_max: usize,
    /// The limit of the queue in bytes.
    pub limit: usize,
    /// Bytes queued over time.
    pub curve: Vec<Point>,
    /// Queued bytes by subject at the last inspection, the largest first.
    pub subjects: Vec<SubjectShare>,
    /// The publishers involved, the largest producer first.
    pub publishers: Vec<Publisher>,
    /// What was queued and never written.
    pub lost: Lost,
    /// Bytes written to the socket before it began.
    pub written_before: u64,
    /// The socket's state when it began.
    pub socket_before: Option<SocketStats>,
    /// When the consumer was last seen to be behind.
    pub behind_at: MonotonicMillis,
    /// Bytes queued when the subjects were last inspected.
    pub subjects_at: usize,
}

impl Incident {
    /// An incident of `reader` that began at `start`.
    pub fn begin(reader: Reader, start: MonotonicMillis, limit: usize) -> Self {
        Self {
            id: 0,
            reader,
            state: State::Ongoing,
            start,
            end: None,
            cause: Cause::Unknown,
            evidence: String::new(),
            pending: 0,
            pending_max: 0,
            limit,
            curve: Vec::new(),
            subjects: Vec::new(),
            publishers: Vec::new(),
            lost: Lost::default(),
            written_before: 0,
            socket_before: None,
            behind_at: start,
            subjects_at: 0,
        }
    }

    /// Records the queue's length; `written` is the total of bytes written to the socket.
    pub fn record(&mut self, at: MonotonicMillis, pending: usize, written: u64) {
        if self.curve.len() == CURVE_MAX {
            let mut keep = false;
            self.curve.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.pending = pending;
        self.pending_max = self.pending_max.max(pending);
        self.curve.push(Point {
            at,
            pending,
            written: written.saturating_sub(self.written_before),
        });
    }

    /// Its memory in bytes.
    fn memory(&self) -> usize {
        let reader = &self.reader;
        let texts = [
            &reader.kind,
            &reader.who,
            &reader.name,
            &reader.user,
            &reader.certificate,
            &reader.address,
            &reader.library,
            &reader.account,
            &self.evidence,
        ];
        let subjects = self.subjects.iter().map(|share| &share.subject);
        let publishers = self.publishers.iter().map(|known| &known.who);
        let texts = texts.into_iter().chain(subjects).chain(publishers);
        allocated(size_of::<Self>() + 2 * size_of::<usize>())
            + allocated(self.curve.capacity() * size_of::<Point>())
            + allocated(self.subjects.capacity() * size_of::<SubjectShare>())
            + allocated(self.publishers.capacity() * size_of::<Publisher>())
            + texts.map(|text| allocated(text.capacity())).sum::<usize>()
    }

    /// How long it has lasted at `now`, or lasted until its end.
    pub fn duration(&self, now: MonotonicMillis) -> Duration {
        self.start.until(self.end.unwrap_or(now))
    }

    /// The subject with the most bytes queued.
    pub fn top_subject(&self) -> Option<&str> {
        self.subjects.first().map(|share| &*share.subject)
    }
}

/// Decides why a consumer is slow, from the state of its socket now and when the incident began and
/// from the recent scheduling delay of the broker's threads. Returns the reasons as a sentence,
/// too.
pub fn find_cause(
    before: Option<SocketStats>,
    now: Option<SocketStats>,
    scheduling_delay: Duration,
) -> (Cause, String) {
    let Some(now) = now else {
        return (
            Cause::Unknown,
            "the system tells nothing of the socket".into(),
        );
    };
    let before = before.unwrap_or_default();
    let busy = now.busy.saturating_sub(before.busy);
    let window_limited = now.window_limited.saturating_sub(before.window_limited);
    let retransmits = now.retransmits.saturating_sub(before.retransmits);
    let share = match busy {
        0 => 0,
        busy => window_limited * 100 / busy,
    };
    // A retransmitted probe of a closed window is not packet loss.
    if now.send_window == 0 || now.probes > 0 || (share >= 50 && now.not_sent > 0) {
        let text = format!(
            "the peer's receive window is {} with {} bytes not sent, and held the connection up \
             {share} % of the time: its program does not read fast enough",
            match now.send_window {
                0 => "closed".to_owned(),
                bytes => format!("down to {bytes} bytes"),
            },
            now.not_sent
        );
        return (Cause::PeerNotReading, text);
    }
    if retransmits > 0 || now.unacked > 0 && now.not_sent > 0 {
        let text = format!(
            "{retransmits} packets sent again, {} not confirmed, round trip {:.1} ms, while the \
             peer's window was open",
            now.unacked,
            f64::from(now.rtt) / 1000.0
        );
        return (Cause::Network, text);
    }
    if scheduling_delay >= SCHEDULING_DELAY_MIN {
        let text = format!(
            "the broker's threads ran up to {} ms late, and the socket takes more",
            scheduling_delay.as_millis()
        );
        return (Cause::Midge, text);
    }
    let text = format!(
        "the peer's window is open, nothing was sent again, and the broker's threads ran at most \
         {} ms late",
        scheduling_delay.as_millis()
    );
    (Cause::Unknown, text)
}

/// All incidents.
#[derive(Default)]
pub struct SlowLog(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    total: u64,
    ongoing: Vec<Incident>,
    ended: VecDeque<Arc<Incident>>,
    /// Number of ended incidents, including those no longer kept.
    outcomes: BTreeMap<(State, Cause), u64>,
}

/// Numbers of incidents.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All so far, ongoing ones included.
    pub total: u64,
    /// Ongoing ones that are tracked.
    pub ongoing: usize,
    /// Ended ones by final state and cause.
    pub ended: Vec<((State, Cause), u64)>,
}

impl SlowLog {
    /// Begins an incident. Returns whether it is tracked: not if too many are.
    pub fn begin(&self, mut incident: Incident) -> bool {
        let inner = &mut *self.0.lock();
        inner.total += 1;
        incident.id = inner.total;
        let is_tracked = inner.ongoing.len() < INCIDENTS_MAX;
        if is_tracked {
            inner.ongoing.push(incident);
        }
        is_tracked
    }

    /// The ongoing incident of a connection, if there is one.
    pub fn ongoing(&self, cid: u64) -> Option<Incident> {
        let inner = self.0.lock();
        let mut ongoing = inner.ongoing.iter();
        ongoing.find(|known| known.reader.cid == cid).cloned()
    }

    /// The connections with an ongoing incident.
    pub fn ongoing_cids(&self) -> Vec<u64> {
        let inner = self.0.lock();
        inner.ongoing.iter().map(|known| known.reader.cid).collect()
    }

    /// Replaces an ongoing incident by its new version, unless it has ended meanwhile.
    pub fn update(&self, incident: Incident) {
        let inner = &mut *self.0.lock();
        let mut ongoing = inner.ongoing.iter_mut();
        if let Some(known) = ongoing.find(|known| known.id == incident.id) {
            *known = incident;
        }
    }

    /// Ends an incident, whether it was tracked or not. Returns it with its number; `None` if it
    /// had ended before.
    pub fn end(&self, mut incident: Incident) -> Option<Arc<Incident>> {
        let inner = &mut *self.0.lock();
        if incident.id == 0 {
            inner.total += 1;
            incident.id = inner.total;
        } else {
            let found = inner
                .ongoing
                .iter()
                .position(|known| known.id == incident.id)?;
            inner.ongoing.swap_remove(found);
        }
        let outcome = (incident.state, incident.cause);
        *inner.outcomes.entry(outcome).or_default() += 1;
        let incident = Arc::new(incident);
        inner.ended.push_back(incident.clone());
        if inner.ended.len() > INCIDENTS_MAX {
            inner.ended.pop_front();
        }
        Some(incident)
    }

    /// Memory of the stored incidents in bytes, and their number.
    pub fn memory(&self) -> (usize, usize) {
        let inner = self.0.lock();
        let ended = inner.ended.iter().map(|known| known.memory());
        let ongoing = inner.ongoing.iter().map(Incident::memory);
        let bytes = ended.chain(ongoing).sum();
        (bytes, inner.ended.len() + inner.ongoing.len())
    }

    /// The numbers of incidents.
    pub fn counts(&self) -> Counts {
        let inner = self.0.lock();
        Counts {
            total: inner.total,
            ongoing: inner.ongoing.len(),
            ended: inner.outcomes.iter().map(|(key, n)| (*key, *n)).collect(),
        }
    }

    /// The total so far, and the stored incidents: ongoing ones first, then the latest.
    pub fn all(&self) -> (u64, Vec<Arc<Incident>>) {
        let inner = self.0.lock();
        let mut ongoing: Vec<_> = inner.ongoing.iter().cloned().map(Arc::new).collect();
        ongoing.sort_by_key(|known| std::cmp::Reverse(known.id));
        ongoing.extend(inner.ended.iter().rev().cloned());
        (inner.total, ongoing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_follows_from_the_state_of_the_socket() {
        let late = Duration::from_secs(1);
        let stuck = SocketStats {
            not_sent: 4_000_000,
            busy: 4000,
            window_limited: 4000,
            send_window: 95_232,
            ..SocketStats::default()
        };
        let cause = |before, now, delay| find_cause(before, now, delay).0;
        assert_eq!(cause(None, Some(stuck), late), Cause::PeerNotReading);
        let lossy = SocketStats {
            retransmits: 9,
            unacked: 30,
            send_window: 60_000,
            ..SocketStats::default()
        };
        assert_eq!(cause(None, Some(lossy), late), Cause::Network);
        let open = SocketStats {
            send_window: 60_000,
            ..SocketStats::default()
        };
        assert_eq!(cause(None, Some(open), late), Cause::Midge);
        assert_eq!(cause(None, Some(open), Duration::ZERO), Cause::Unknown);
        assert_eq!(cause(None, None, late), Cause::Unknown);
        // What happened before the incident does not count.
        let healed = SocketStats {
            unacked: 0,
            ..lossy
        };
        assert_eq!(
            cause(Some(lossy), Some(healed), Duration::ZERO),
            Cause::Unknown
        );
    }

    #[test]
    fn old_incidents_are_dropped_and_numbers_continue() {
        let log = SlowLog::default();
        let begin = |cid| {
            let reader = Reader {
                cid,
                ..Reader::default()
            };
            Incident::begin(reader, MonotonicMillis(5), 100)
        };
        assert!(log.begin(begin(1)));
        for cid in 2..=300 {
            assert!(log.end(begin(cid)).is_some());
        }
        let (total, all) = log.all();
        assert_eq!((total, all.len()), (300, INCIDENTS_MAX + 1));
        let counts = log.counts();
        assert_eq!((counts.total, counts.ongoing), (300, 1));
        assert_eq!(counts.ended, [((State::Ongoing, Cause::Unknown), 299)]);
        assert_eq!((all[0].reader.cid, all[0].state), (1, State::Ongoing));
        assert_eq!(all[1].id, 300);
        let mut first = log.ongoing(1).unwrap();
        for tick in 0..1000 {
            first.record(MonotonicMillis(5 + tick), tick as usize, tick);
        }
        assert!(first.curve.len() <= CURVE_MAX && first.curve[0].pending == 0);
        assert!(log.end(first.clone()).is_some());
        assert!(log.end(first).is_none());
        assert!(log.ongoing_cids().is_empty());
    }
}
