//! The figures of one measured service, for `/latencyz` and `/metrics`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::telemetry::{histogram::Distribution, latency::Times};

/// Between two copies of the figures.
pub const FIGURES_EVERY: Duration = Duration::from_secs(10);

/// Copies that are kept: those of a minute.
const SNAPSHOTS: usize = 6;

/// Requests to a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceFigures {
    /// Requests by status: 200, 400, 408, 503, 504.
    pub by_status: BTreeMap<u16, u64>,
    times: Distribution,
    snapshots: VecDeque<Distribution>,
}

impl ServiceFigures {
    pub(super) fn count(&mut self, status: u16, service: Option<Duration>) {
        *self.by_status.entry(status).or_default() += 1;
        if let Some(service) = service {
            let micros = u64::try_from(service.as_micros()).unwrap_or(u64::MAX);
            self.times.record(micros);
        }
    }

    pub(super) fn take_snapshot(&mut self) {
        if self.snapshots.len() == SNAPSHOTS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(self.times.clone());
    }

    /// How long answered requests took, since the start and in the last minute.
    pub fn times(&self) -> Times {
        // In the first minute after the start, the last minute is everything.
        let oldest = self.snapshots.front();
        let oldest = oldest.filter(|_| self.snapshots.len() == SNAPSHOTS);
        Times {
            recent: match oldest {
                Some(before) => self.times.since(before),
                None => self.times.clone(),
            },
            all: self.times.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_forgets_what_was_before() {
        let mut figures = ServiceFigures::default();
        figures.count(200, Some(Duration::from_millis(5)));
        figures.count(503, None);
        for _ in 0..SNAPSHOTS {
            assert_eq!(figures.times().recent.count(), 1);
            figures.take_snapshot();
        }
        assert_eq!(figures.times().recent.count(), 0);
        figures.count(200, Some(Duration::from_millis(7)));
        let times = figures.times();
        assert_eq!((times.recent.count(), times.all.count()), (1, 2));
        assert_eq!(figures.by_status[&200], 2);
        assert_eq!(figures.by_status[&503], 1);
    }
}
