//! An incident: who was slow, how the queue developed, and how it ended.

use std::time::Duration;

use super::cause::{Cause, SocketStats};
use crate::telemetry::{Kind, MonotonicMillis, loss::Lost, pool::allocated};

/// Points of a curve; when it is full, every second one is dropped.
pub(super) const CURVE_MAX: usize = 64;

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

/// The slow consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reader {
    /// Connection id.
    pub cid: u64,
    /// Kind of the connection.
    pub kind: Kind,
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

/// An incident that is counted, but not tracked because too many are.
#[derive(Clone, Copy, Debug)]
pub struct Untracked {
    /// Its number.
    pub id: u64,
    /// When the consumer was last seen to be behind.
    pub behind_at: MonotonicMillis,
}

/// One incident of one consumer.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Number, counted from 1; 0: not counted so far.
    pub id: u64,
    /// Whether it is one of the ongoing ones that the log has.
    pub is_tracked: bool,
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
            is_tracked: false,
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
    pub(super) fn memory(&self) -> usize {
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

    /// How long it has lasted at `now`, or lasted until its end.
    pub fn duration(&self, now: MonotonicMillis) -> Duration {
        self.start.until(self.end.unwrap_or(now))
    }

    /// The subject with the most bytes queued.
    pub fn top_subject(&self) -> Option<&str> {
        self.subjects.first().map(|share| &*share.subject)
    }
}
