//! The flight recorder: incidents of readers that fall behind, and the largest loads. Its
//! results are stored in `telemetry`.

use std::sync::{Arc, Weak};

use super::sample::Sample;
use crate::{
    broker::{Broker, incident},
    connection::Connection,
    telemetry::{MonotonicMicros, MonotonicMillis},
};

/// Readers that are watched with every tick; further ones with every sample.
const WATCHED_MAX: usize = 1024;

pub(super) struct Recorder {
    broker: Arc<Broker>,
    /// Readers that were behind when last watched.
    watched: Vec<Weak<Connection>>,
    /// Readers that were blocked in the last sample, until they are watched.
    blocked: Vec<Arc<Connection>>,
}

impl Recorder {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            watched: Vec::new(),
            blocked: Vec::new(),
        }
    }

    /// Records what moved since the last sample that was recorded, and which readers
    /// are to be watched.
    pub(super) fn record(&mut self, sample: &Sample) {
        let telemetry = &self.broker.telemetry;
        telemetry.loads.begin_sample(MonotonicMicros::now());
        for moved in &sample.moved {
            moved.add_to(&telemetry.loads);
        }
        let registry = &self.broker.registry;
        telemetry.subjects.sample(|cids| registry.names(cids));
        self.blocked.clone_from(&sample.blocked);
    }

    /// Watches the readers that are or were behind. A publisher that meets a long
    /// queue notes its reader, so that an incident begins before the next sample.
    pub(super) fn watch(&mut self) {
        let (telemetry, registry) = (&self.broker.telemetry, &self.broker.registry);
        let mut readers = std::mem::take(&mut self.blocked);
        readers.extend(registry.take_noticed());
        readers.extend(self.watched.iter().filter_map(Weak::upgrade));
        readers.sort_by_key(|reader| reader.cid);
        readers.dedup_by_key(|reader| reader.cid);
        let now = MonotonicMillis::now();
        let mut ongoing = telemetry.slow.ongoing_cids();
        ongoing.sort_unstable();
        self.watched.clear();
        for reader in readers {
            incident::inspect(telemetry, registry, &reader, now);
            let goes_on = ongoing.binary_search(&reader.cid).is_ok();
            if (goes_on || incident::is_behind(&reader)) && self.watched.len() < WATCHED_MAX {
                self.watched.push(Arc::downgrade(&reader));
            }
        }
    }
}
