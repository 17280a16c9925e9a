//! Readers for which the log has no room.

use std::{net, sync::Arc};

use super::*;
use crate::{
    connection::{
        budget::Budget,
        test_support::{connection, fall_behind, runtime},
    },
    telemetry::slow::INCIDENTS_MAX,
};

const FULL: u64 = INCIDENTS_MAX as u64;

/// A log that is full of other incidents, and a reader that is behind.
struct Scene {
    telemetry: Telemetry,
    registry: Registry,
    others: Vec<u64>,
    reader: Arc<Connection>,
    _peer: net::TcpStream,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = runtime();
        let budget = Arc::new(Budget::new(usize::MAX));
        let (reader, peer) = connection(&runtime, 1, budget);
        let telemetry = Telemetry::new(0);
        let others: Vec<u64> = (1000..1000 + FULL).collect();
        for cid in &others {
            let reader = Reader {
                cid: *cid,
                ..super::reader(&reader)
            };
            telemetry.slow.track(Incident {
                id: telemetry.slow.count(),
                ..Incident::begin(reader, MonotonicMillis::now(), 100)
            });
        }
        fall_behind(&reader);
        Self {
            telemetry,
            registry: Registry::new(0, usize::MAX),
            others,
            reader,
            _peer: peer,
            _runtime: runtime,
        }
    }

    /// What the recorder does with ten ticks, more than a second later.
    fn ticks(&self) {
        let now = MonotonicMillis::now().0 + 2000;
        for tick in 0..10 {
            let now = MonotonicMillis(now + tick * 100);
            inspect(&self.telemetry, &self.registry, &self.reader, now);
        }
    }

    fn total_and_ongoing(&self) -> (u64, usize) {
        let counts = self.telemetry.slow.counts();
        (counts.total, counts.ongoing)
    }

    fn end(&self) -> Option<Arc<Incident>> {
        let reason = CloseReason::SlowConsumerPending;
        self.reader.close(reason);
        conclude(&self.telemetry, &self.registry, &self.reader, reason)
    }
}

#[test]
fn a_reader_without_room_is_counted_once_and_tracked_when_there_is_room() {
    let scene = Scene::new();
    scene.ticks();
    assert_eq!(scene.total_and_ongoing(), (FULL + 1, INCIDENTS_MAX));
    assert!(!scene.reader.outbound().producers().watched);
    let slow = &scene.telemetry.slow;
    let other = slow.ongoing(scene.others[0]).expect("it is tracked");
    assert!(slow.end(other).is_some());
    scene.ticks();
    assert_eq!(scene.total_and_ongoing(), (FULL + 1, INCIDENTS_MAX));
    assert!(scene.reader.outbound().producers().watched);
    assert_eq!(slow.ongoing(1).expect("it is tracked").id, FULL + 1);
    assert_eq!(scene.end().expect("an incident").id, FULL + 1);
    assert_eq!(scene.total_and_ongoing(), (FULL + 1, INCIDENTS_MAX - 1));
}

#[test]
fn the_end_of_a_reader_without_room_is_not_counted_again() {
    let scene = Scene::new();
    scene.ticks();
    let incident = scene.end().expect("an incident");
    assert_eq!((incident.id, incident.state), (FULL + 1, State::Evicted));
    assert_eq!(scene.total_and_ongoing(), (FULL + 1, INCIDENTS_MAX));
}

/// A reader that caught up meanwhile has a new incident.
#[test]
fn a_reader_without_room_that_falls_behind_again_is_counted_again() {
    let scene = Scene::new();
    scene.ticks();
    let seen = Untracked {
        id: FULL + 1,
        behind_at: MonotonicMillis(0),
    };
    *scene.reader.untracked_incident.lock() = Some(seen);
    let backlog = scene.reader.outbound().backlog();
    let again = Backlog {
        behind_since: Some(MonotonicMillis(1001)),
        ..backlog
    };
    assert_eq!(counted(&scene.reader, &again), None);
    let still = Backlog {
        behind_since: Some(MonotonicMillis(999)),
        ..backlog
    };
    assert_eq!(counted(&scene.reader, &still), Some(FULL + 1));
}
