//! Slow consumer incidents. They have a ring of their own, so that events of ordinary connects and
//! disconnects do not push them out.

mod cause;
mod incident;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

pub use self::{
    cause::{Cause, SocketStats, find_cause},
    incident::{Incident, Point, Publisher, Reader, State, SubjectShare, Untracked},
};

/// Limit of incidents kept after their end, and of incidents that are tracked at a time.
pub const INCIDENTS_MAX: usize = 256;

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

impl Inner {
    fn count(&mut self) -> u64 {
        self.total += 1;
        self.total
    }
}

impl SlowLog {
    /// Counts a new incident, and returns its number.
    pub fn count(&self) -> u64 {
        self.0.lock().count()
    }

    /// Whether another incident can be tracked.
    pub fn has_room(&self) -> bool {
        self.0.lock().ongoing.len() < INCIDENTS_MAX
    }

    /// Tracks an incident that is counted, if there is room for it.
    pub fn track(&self, mut incident: Incident) {
        let inner = &mut *self.0.lock();
        if inner.ongoing.len() < INCIDENTS_MAX {
            incident.is_tracked = true;
            inner.ongoing.push(incident);
        }
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

    /// Ends an incident, whether it was tracked or not; one without a number is counted. Returns
    /// it with its number; `None` if it had ended before.
    pub fn end(&self, mut incident: Incident) -> Option<Arc<Incident>> {
        let inner = &mut *self.0.lock();
        if incident.is_tracked {
            let mut ongoing = inner.ongoing.iter();
            let found = ongoing.position(|known| known.id == incident.id)?;
            inner.ongoing.swap_remove(found);
        } else if incident.id == 0 {
            incident.id = inner.count();
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
mod tests;
