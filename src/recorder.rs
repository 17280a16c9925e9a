//! The flight recorder: looks at the running broker on a thread of its own, so
//! that nothing has to be recorded on the way of a message.
//!
//! `main` calls [`record`] once. Readers that are behind are looked at several
//! times in a second, everything else about once in a second. What is found
//! goes to `telemetry`.

use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    client::Context,
    connection::{Connection, incident},
    server::Server,
    telemetry::{MonotonicMicros, MonotonicMillis, latency::SNAPSHOT_INTERVAL},
};

/// Bytes of the thread's stack. Nothing there recurses.
const STACK_LEN: usize = 256 * 1024;

/// Between two looks at readers that are behind.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two looks at everything.
const LOOK_TICKS: u64 = 10;

/// Ticks between two probes of the scheduling delay.
const PROBE_TICKS: u64 = 3;

/// Readers that are looked at with every tick; those beyond once in a second.
const WATCHED_MAX: usize = 1024;

/// A connection without activity for this long before the last look has nothing
/// new to tell; a turn of reading does not take longer.
const ACTIVITY_SLACK_MS: u64 = 5000;

struct Recorder {
    context: Arc<Context>,
    runtime: Handle,
    /// Readers that were behind when last looked at.
    watched: Vec<Weak<Connection>>,
    last_look: MonotonicMillis,
}

/// Records for ever, on a thread of its own. `runtime` is the one that serves
/// connections.
///
/// # Errors
///
/// The thread cannot be had.
pub fn record(server: &Server, runtime: Handle) -> io::Result<()> {
    let mut recorder = Recorder {
        context: server.clients.clone(),
        runtime,
        watched: Vec::new(),
        last_look: MonotonicMillis(0),
    };
    thread::Builder::new()
        .name("recorder".into())
        .stack_size(STACK_LEN)
        .spawn(move || {
            for tick in 0.. {
                let begin = Instant::now();
                recorder.tick(tick);
                thread::sleep(TICK.saturating_sub(begin.elapsed()));
            }
        })?;
    Ok(())
}

impl Recorder {
    fn tick(&mut self, tick: u64) {
        if tick.is_multiple_of(PROBE_TICKS) {
            self.probe();
        }
        let noticed = self.context.registry.take_noticed();
        let watched = self.watched.iter().filter_map(Weak::upgrade);
        let mut readers: Vec<_> = watched.chain(noticed).collect();
        if tick.is_multiple_of(LOOK_TICKS) {
            let open = self.context.registry.open();
            self.look(&open);
            readers.extend(open.into_iter().filter(|known| known.is_blocked()));
        }
        if tick.is_multiple_of((SNAPSHOT_INTERVAL.as_millis() / TICK.as_millis()) as u64) {
            self.context.telemetry.latency.take_snapshot();
        }
        self.look_at_readers(readers);
    }

    /// Looks at readers that are or were behind.
    fn look_at_readers(&mut self, mut readers: Vec<Arc<Connection>>) {
        let (telemetry, registry) = (&self.context.telemetry, &self.context.registry);
        readers.sort_by_key(|reader| reader.cid);
        readers.dedup_by_key(|reader| reader.cid);
        let now = MonotonicMillis::now();
        let mut ongoing = telemetry.slow.ongoing_cids();
        ongoing.sort_unstable();
        self.watched.clear();
        for reader in readers {
            incident::look_at(telemetry, registry, &reader, now);
            let goes_on = ongoing.binary_search(&reader.cid).is_ok();
            if (goes_on || incident::is_behind(&reader)) && self.watched.len() < WATCHED_MAX {
                self.watched.push(Arc::downgrade(&reader));
            }
        }
    }

    /// Sees what moved since the last look.
    fn look(&mut self, open: &[Arc<Connection>]) {
        let telemetry = &self.context.telemetry;
        let registry = &self.context.registry;
        let now = MonotonicMillis::now();
        telemetry.loads.begin_sample(MonotonicMicros::now());
        let since = MonotonicMillis(self.last_look.0.saturating_sub(ACTIVITY_SLACK_MS));
        for connection in open.iter().filter(|known| known.last_activity() >= since) {
            connection.tell_moved(&telemetry.loads);
        }
        self.last_look = now;
        telemetry.subjects.sample(|cids| registry.names(cids));
    }

    /// Measures how late a task gets to run.
    fn probe(&self) {
        let context = self.context.clone();
        let asked = MonotonicMicros::now();
        if !context.telemetry.latency.begin_probe(asked) {
            return;
        }
        self.runtime.spawn(async move {
            let now = MonotonicMicros::now();
            context
                .telemetry
                .latency
                .record_probe(now, asked.micros_until(now));
        });
    }
}
