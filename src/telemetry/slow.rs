//! Incidents: readers that fell behind. Kept in a ring of their own, so that
//! connections which merely come and go do not push them out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{Kind, MonotonicMillis, held::allocated, loss::Lost};

/// Incidents remembered after their end, and most that are followed at once.
pub const INCIDENTS_MAX: usize = 256;

/// Points of a curve; when it is full, every second one goes.
const CURVE_MAX: usize = 64;

/// A scheduling delay from which the broker itself is to blame.
const DELAY_TO_BLAME: Duration = Duration::from_millis(250);

/// How an incident stands.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// The connection ended for another reason while behind.
    Closed,
    /// The connection was cut as a slow consumer.
    Evicted,
    /// It goes on.
    #[default]
    Ongoing,
    /// The reader has caught up.
    Recovered,
}

impl State {
    /// The name that answers show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Evicted => "evicted",
            Self::Ongoing => "ongoing",
            Self::Recovered => "recovered",
        }
    }
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Cause {
    /// The broker's threads did not get to run.
    Midge,
    /// Packets are lost, or the way is too slow.
    Network,
    /// The peer's receive window is closed: its program does not read.
    PeerNotReading,
    /// The system tells nothing.
    #[default]
    Unknown,
}

impl Cause {
    /// The name that answers show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Midge => "midge",
            Self::Network => "network",
            Self::PeerNotReading => "peer_not_reading",
            Self::Unknown => "unknown",
        }
    }
}

/// What the system says of a connection's socket.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketFigures {
    /// Bytes that the peer's receive window still takes.
    pub send_window: u32,
    /// Probes sent to a closed window, one behind the other.
    pub probes: u8,
    /// Packets on their way and not confirmed.
    pub unacked: u32,
    /// Packets sent again so far.
    pub retransmits: u32,
    /// Bytes that the system holds and has not sent.
    pub not_sent: u32,
    /// Microseconds that the connection had something to send.
    pub busy: u64,
    /// Microseconds of these in which the peer's window held it up.
    pub window_limited: u64,
    /// Round trip time in microseconds.
    pub rtt: u32,
}

/// Who fell behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reader {
    /// Connection id.
    pub cid: u64,
    /// Kind of the connection.
    pub kind: Kind,
    /// Its name, user or address.
    pub who: String,
    /// The client's own name.
    pub name: String,
    /// User.
    pub user: String,
    /// Common name of its certificate.
    pub certificate: String,
    /// Address and port.
    pub address: String,
    /// Client library and its version.
    pub library: String,
    /// Account.
    pub account: String,
}

/// Bytes waiting at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Point {
    /// When.
    pub at: MonotonicMillis,
    /// Bytes waiting.
    pub pending: usize,
    /// Bytes written since the incident began.
    pub written: u64,
}

/// A subject's share of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubjectShare {
    /// Subject.
    pub subject: String,
    /// Messages waiting.
    pub msgs: u64,
    /// Bytes waiting.
    pub bytes: u64,
}

/// A publisher that fed the queue or was paused for it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Publisher {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address.
    pub who: String,
    /// Bytes it put into the queue.
    pub bytes: u64,
    /// Times it was paused.
    pub stalls: u64,
    /// For how long in all.
    pub stalled: Duration,
}

/// One reader that fell behind, once.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Number, counted from 1.
    pub id: u64,
    /// Who.
    pub reader: Reader,
    /// How it stands.
    pub state: State,
    /// When it began.
    pub start: MonotonicMillis,
    /// When it ended.
    pub end: Option<MonotonicMillis>,
    /// Whose fault it is.
    pub cause: Cause,
    /// Why: a sentence.
    pub evidence: String,
    /// Bytes waiting when last looked.
    pub pending: usize,
    /// The most of them.
    pub pending_max: usize,
    /// The limit of the queue.
    pub limit: usize,
    /// Bytes waiting over time.
    pub curve: Vec<Point>,
    /// What waits by subject, when last looked; the biggest first.
    pub subjects: Vec<SubjectShare>,
    /// Who has to do with it; the biggest feeder first.
    pub publishers: Vec<Publisher>,
    /// What was queued and never written.
    pub lost: Lost,
    /// Bytes that had been written when it began.
    pub written_before: u64,
    /// What the system said of the socket when it began.
    pub socket_before: Option<SocketFigures>,
    /// When the reader was last found behind.
    pub behind_at: MonotonicMillis,
    /// Bytes that waited when the subjects were looked at.
    pub subjects_at: usize,
}

impl Incident {
    /// An incident of `reader`, that began at `start`.
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

    /// Notes what waits; `written` is all that the socket took so far.
    pub fn note(&mut self, at: MonotonicMillis, pending: usize, written: u64) {
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

    /// Bytes that it takes.
    fn memory(&self) -> usize {
        let reader = &self.reader;
        let texts = [
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

    /// How long it has been going on at `now`, or went on.
    pub fn duration(&self, now: MonotonicMillis) -> Duration {
        self.start.until(self.end.unwrap_or(now))
    }

    /// The subject with the most bytes waiting.
    pub fn top_subject(&self) -> Option<&str> {
        self.subjects.first().map(|share| &*share.subject)
    }
}

/// Whose fault it is that a reader is behind, and why: from what the system says
/// of its socket now and when it fell behind, and from how late the broker's own
/// threads ran lately.
pub fn judge(
    before: Option<SocketFigures>,
    now: Option<SocketFigures>,
    scheduling_delay: Duration,
) -> (Cause, String) {
    let Some(now) = now else {
        return (
            Cause::Unknown,
            "the system has no information about the socket".into(),
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
    // A retransmission of a closed window's probe is no loss.
    if now.send_window == 0 || now.probes > 0 || (share >= 50 && now.not_sent > 0) {
        let text = format!(
            "the peer's receive window is {} with {} bytes not sent; it blocked the connection \
             {share} % of the time: the peer's program does not read fast enough",
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
            "{retransmits} packets retransmitted, {} not acknowledged, round trip {:.1} ms, while \
             the peer's window was open",
            now.unacked,
            f64::from(now.rtt) / 1000.0
        );
        return (Cause::Network, text);
    }
    if scheduling_delay >= DELAY_TO_BLAME {
        let text = format!(
            "the broker's threads ran up to {} ms late, and the socket accepts more",
            scheduling_delay.as_millis()
        );
        return (Cause::Midge, text);
    }
    let text = format!(
        "the peer's window is open, nothing was retransmitted, and the broker's threads ran at \
         most {} ms late",
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
    /// Incidents that ended so far, forgotten ones included.
    outcomes: BTreeMap<(State, Cause), u64>,
}

/// How many incidents there were.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// So far, those that go on included.
    pub total: u64,
    /// That go on and are followed.
    pub ongoing: usize,
    /// That ended, by how they ended and whose fault they were.
    pub ended: Vec<((State, Cause), u64)>,
}

impl SlowLog {
    /// An incident begins. Returns whether it is followed: not if too many are.
    pub fn begin(&self, mut incident: Incident) -> bool {
        let inner = &mut *self.0.lock();
        inner.total += 1;
        incident.id = inner.total;
        let room = inner.ongoing.len() < INCIDENTS_MAX;
        if room {
            inner.ongoing.push(incident);
        }
        room
    }

    /// The incident of a connection, if one goes on.
    pub fn ongoing(&self, cid: u64) -> Option<Incident> {
        let inner = self.0.lock();
        let mut ongoing = inner.ongoing.iter();
        ongoing.find(|known| known.reader.cid == cid).cloned()
    }

    /// The connections of which one goes on.
    pub fn ongoing_cids(&self) -> Vec<u64> {
        let inner = self.0.lock();
        inner.ongoing.iter().map(|known| known.reader.cid).collect()
    }

    /// Puts a later state of an ongoing incident in its place, unless it has
    /// ended meanwhile.
    pub fn update(&self, incident: Incident) {
        let inner = &mut *self.0.lock();
        let mut ongoing = inner.ongoing.iter_mut();
        if let Some(known) = ongoing.find(|known| known.id == incident.id) {
            *known = incident;
        }
    }

    /// An incident has ended, one that was followed or not. Returns it with its
    /// number; `None` if it had ended before.
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

    /// Bytes that the remembered ones take, and how many they are.
    pub fn memory(&self) -> (usize, usize) {
        let inner = self.0.lock();
        let ended = inner.ended.iter().map(|known| known.memory());
        let ongoing = inner.ongoing.iter().map(Incident::memory);
        let bytes = ended.chain(ongoing).sum();
        (bytes, inner.ended.len() + inner.ongoing.len())
    }

    /// How many there were.
    pub fn counts(&self) -> Counts {
        let inner = self.0.lock();
        Counts {
            total: inner.total,
            ongoing: inner.ongoing.len(),
            ended: inner.outcomes.iter().map(|(key, n)| (*key, *n)).collect(),
        }
    }

    /// How many there were so far, and those that are remembered: ongoing ones
    /// first, then the latest.
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
    fn the_cause_is_what_the_socket_says() {
        let late = Duration::from_secs(1);
        let stuck = SocketFigures {
            not_sent: 4_000_000,
            busy: 4000,
            window_limited: 4000,
            send_window: 95_232,
            ..SocketFigures::default()
        };
        let cause = |before, now, delay| judge(before, now, delay).0;
        assert_eq!(cause(None, Some(stuck), late), Cause::PeerNotReading);
        let lossy = SocketFigures {
            retransmits: 9,
            unacked: 30,
            send_window: 60_000,
            ..SocketFigures::default()
        };
        assert_eq!(cause(None, Some(lossy), late), Cause::Network);
        let open = SocketFigures {
            send_window: 60_000,
            ..SocketFigures::default()
        };
        assert_eq!(cause(None, Some(open), late), Cause::Midge);
        assert_eq!(cause(None, Some(open), Duration::ZERO), Cause::Unknown);
        assert_eq!(cause(None, None, late), Cause::Unknown);
        // What was before the incident does not count.
        let healed = SocketFigures {
            unacked: 0,
            ..lossy
        };
        assert_eq!(
            cause(Some(lossy), Some(healed), Duration::ZERO),
            Cause::Unknown
        );
    }

    #[test]
    fn ended_incidents_make_room_and_keep_their_numbers() {
        let log = SlowLog::default();
        let begin = |cid| {
            let reader = Reader {
                cid,
                kind: Kind::Client,
                who: String::new(),
                name: String::new(),
                user: String::new(),
                certificate: String::new(),
                address: String::new(),
                library: String::new(),
                account: String::new(),
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
            first.note(MonotonicMillis(5 + tick), tick as usize, tick);
        }
        assert!(first.curve.len() <= CURVE_MAX && first.curve[0].pending == 0);
        assert!(log.end(first.clone()).is_some());
        assert!(log.end(first).is_none());
        assert!(log.ongoing_cids().is_empty());
    }
}
