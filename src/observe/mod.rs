//! The observer: one thread that samples the whole broker about once a second, so that
//! nothing has to be recorded per message.
//!
//! `main` calls [`start`] once. A [`sample`] holds plain values of one moment. The
//! [`recorder`] (slow readers, largest loads) and the [`diagnosis`] (what is wrong) are
//! functions of samples and of what they keep of earlier ones; regular *work* is not here
//! but in `server::housekeeping`.
//!
//! Two things are finer than a sample, and both are cheap: readers that are behind
//! are watched every [`TICK`], since a queue can fill up and be cut within a second,
//! and the scheduler is probed every [`PROBE_EVERY`], since a stall of half a second
//! is worth knowing. [`service_status`] tells the service manager what both show.

pub mod diagnosis;
mod mesh;
mod recorder;
mod sample;
mod service_status;
mod workers;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    broker::Broker,
    server::Server,
    telemetry::{MonotonicMicros, MonotonicMillis, latency},
};
use diagnosis::{Diagnosis, Judge};
use recorder::Recorder;
use sample::Sample;
use service_status::ServiceStatus;
use workers::Workers;

/// Bytes of the thread's stack. Nothing there recurses.
const STACK_LEN: usize = 512 * 1024;

/// Between two rounds: how often readers that are behind are watched.
const TICK: Duration = Duration::from_millis(100);

/// Between two samples, at most; the recorder's rates are over this time.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Between two probes of the scheduling delay.
const PROBE_EVERY: Duration = Duration::from_millis(300);

/// Observes the broker as long as the process lives, on a thread of its own.
/// `runtime` is the one that serves connections. Returns where the diagnosis is
/// read.
///
/// # Errors
///
/// The thread cannot be had.
pub fn start(server: Arc<Server>, runtime: Handle) -> io::Result<Arc<Diagnosis>> {
    let judge = Judge::new(server.clone());
    let diagnosis = judge.diagnosis();
    let mut observer = Observer::new(server, runtime, judge);
    thread::Builder::new()
        .name("observer".into())
        .stack_size(STACK_LEN)
        .spawn(move || {
            loop {
                let next = observer.round(Instant::now());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })?;
    Ok(diagnosis)
}

struct Observer {
    server: Arc<Server>,
    runtime: Handle,
    recorder: Recorder,
    judge: Judge,
    workers: Workers,
    service_status: ServiceStatus,
    ticks: Every,
    probes: Every,
    copies: Every,
    samples: Every,
    /// When the recorder evaluates a sample: not each one, if they are more frequent.
    records: Every,
    /// When the diagnosis judges one: not each, if it is to be less frequent.
    judgements: Every,
}

impl Observer {
    fn new(server: Arc<Server>, runtime: Handle, judge: Judge) -> Self {
        let now = Instant::now();
        let interval = server.options().diagnosis.interval;
        let every = |period| Every::new(period, now);
        Self {
            workers: Workers::new(runtime.metrics()),
            service_status: ServiceStatus::new(server.clone(), judge.diagnosis(), now),
            recorder: Recorder::new(server.broker.clone()),
            server,
            runtime,
            judge,
            ticks: every(TICK),
            probes: every(PROBE_EVERY),
            copies: every(latency::SNAPSHOT_INTERVAL),
            samples: every(interval.min(SAMPLE_EVERY)),
            records: every(SAMPLE_EVERY),
            judgements: every(interval),
        }
    }

    /// Does what is due; returns when the next thing is.
    fn round(&mut self, now: Instant) -> Instant {
        let broker = &self.server.broker;
        if self.probes.is_due(now) {
            probe(broker.clone(), &self.runtime);
        }
        if self.samples.is_due(now) {
            let at_work = self.workers.at_work(MonotonicMillis::now());
            let sample = Sample::take(&self.server, at_work);
            if self.records.is_due(now) {
                self.recorder.record(&sample);
            }
            if self.judgements.is_due(now) {
                self.judge.judge(&sample);
            }
        }
        if self.copies.is_due(now) {
            broker.telemetry.latency.take_snapshot();
        }
        if self.ticks.is_due(now) {
            self.recorder.watch();
            self.service_status.go_on(now);
        }
        self.ticks.next.min(self.samples.next)
    }
}

/// Measures how late a task gets to run.
fn probe(broker: Arc<Broker>, runtime: &Handle) {
    let asked = MonotonicMicros::now();
    if !broker.telemetry.latency.begin_probe(asked) {
        return;
    }
    runtime.spawn(async move {
        let now = MonotonicMicros::now();
        let latency = &broker.telemetry.latency;
        latency.record_probe(now, asked.micros_until(now));
    });
}

/// Something that is due once in a while.
struct Every {
    period: Duration,
    next: Instant,
}

impl Every {
    fn new(period: Duration, first: Instant) -> Self {
        Self {
            period,
            next: first,
        }
    }

    /// Whether it is due; if so, it is due again a period later. What was missed is
    /// not made up for.
    fn is_due(&mut self, now: Instant) -> bool {
        if self.next > now {
            return false;
        }
        let on_time = self.next + self.period;
        self.next = match on_time > now {
            true => on_time,
            false => now + self.period,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_keeps_its_pace_and_does_not_catch_up() {
        let start = Instant::now();
        let mut every = Every::new(Duration::from_millis(100), start);
        let mut due_at = |millis| every.is_due(start + Duration::from_millis(millis));
        let due = [0, 99, 103, 199, 200, 900, 900, 950, 1000].map(&mut due_at);
        assert_eq!(
            due,
            [true, false, true, false, true, true, false, false, true]
        );
    }
}
