//! What the service manager hears of the running broker: a line that says how it is, and signs of
//! life for its watchdog. The observer calls [`ServiceStatus`] each [`TICK`](super::TICK).
//!
//! # What a sign of life is
//!
//! Not that this thread still runs, but that the threads which serve connections do: one is given
//! only if a probe of the scheduler has run since the last one. A probe is a task like those of
//! connections, which any thread of the runtime takes up. So if all of them hang, in an endless
//! loop or on a lock, no sign follows, and the manager restarts the broker when its time is over.
//! If this thread hangs, the same happens, because then nothing that the broker says of itself is
//! true any more.
//!
//! # One thread that hangs
//!
//! does not keep the sign back, as long as another one runs. The others take over the tasks that
//! waited for it, so what stands still is the connection that it was serving and the few that were
//! to be next. A restart would instead close all connections, lose what is on its way, and
//! bring thousands of clients back at once; and what made the thread hang would most likely happen
//! again. So that is a critical finding (`worker-stuck`), which the status line shows, and the
//! operator decides. A thread that hangs while it holds a lock brings down the others as they come
//! to that lock: then the watchdog acts.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Every,
    diagnosis::{Diagnosis, Report, Severity, humanize::plural},
};
use crate::{
    connection::Kind,
    server::Server,
    service_manager::ServiceManager,
    telemetry::{MonotonicMicros, latency::Latency},
};

/// Between two status lines, at least.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Signs of life within the watchdog's time, if all is well.
const SIGNS: u32 = 4;

/// Tells the service manager, if there is one.
pub(super) struct ServiceStatus {
    server: Arc<Server>,
    manager: Arc<ServiceManager>,
    diagnosis: Arc<Diagnosis>,
    status: Every,
    watchdog: Option<Watchdog>,
}

/// When signs of life are due.
struct Watchdog {
    signs: Every,
    /// When the probe ran that the last sign was given for.
    last_run: Option<MonotonicMicros>,
}

impl ServiceStatus {
    pub(super) fn new(server: Arc<Server>, diagnosis: Arc<Diagnosis>, now: Instant) -> Self {
        let manager = server.service_manager().clone();
        Self {
            status: Every::new(STATUS_EVERY, now),
            watchdog: manager.watchdog().map(|time| Watchdog {
                signs: Every::new(time / SIGNS, now),
                last_run: None,
            }),
            manager,
            diagnosis,
            server,
        }
    }

    /// Sends what is due.
    pub(super) fn go_on(&mut self, now: Instant) {
        if !self.manager.is_there() {
            return;
        }
        self.manager.retry();
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.has_sign(now, &self.server.broker.telemetry.latency)
        {
            self.manager.is_alive();
        }
        if self.status.is_due(now) {
            self.manager.status(&self.line());
        }
    }

    fn line(&self) -> String {
        let registry = &self.server.broker.registry;
        let (clients, routes) = (
            registry.open_count(Kind::Client),
            registry.open_count(Kind::Router),
        );
        let stopping = self.server.stopping.load(Ordering::Acquire);
        line(clients, routes, stopping, &self.diagnosis.report())
    }
}

impl Watchdog {
    /// Whether a sign is due and one can be given.
    fn has_sign(&mut self, now: Instant, latency: &Latency) -> bool {
        let run = latency.last_run();
        if run == self.last_run || !self.signs.is_due(now) {
            return false;
        }
        self.last_run = run;
        true
    }
}

/// Connections, and the worst finding.
fn line(clients: usize, routes: usize, stopping: bool, report: &Report) -> String {
    let left = if stopping { "stopping, " } else { "" };
    let mut line = format!("{left}{}", plural(clients as u64, "client"));
    if routes > 0 {
        line += &format!(", {}", plural(routes as u64, "route"));
    }
    let bad = |severity| severity >= Severity::Warning;
    let mut findings = report.findings.iter().filter(|it| bad(it.severity));
    let Some(worst) = findings.next() else {
        return line + "; no findings";
    };
    let more = match findings.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let who = match &*worst.subject {
        "" => String::new(),
        who => format!(" {who:?}"),
    };
    let severity = worst.severity.name();
    format!(
        "{line}; {severity}{more}: {}{who}: {}",
        worst.code, worst.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observe::diagnosis::Finding, telemetry::MonotonicMillis};

    fn finding(code: &'static str, severity: Severity, subject: &str) -> Finding {
        Finding {
            code,
            severity,
            subject: subject.into(),
            cid: 0,
            since: MonotonicMillis(0),
            ongoing: true,
            text: "it is so".into(),
            cause: String::new(),
            remedy: "",
        }
    }

    #[test]
    fn the_line_has_the_worst_finding() {
        let mut report = Report::default();
        assert_eq!(line(0, 0, false, &report), "0 clients; no findings");
        report.findings = vec![finding("info", Severity::Info, "")];
        assert_eq!(
            line(1, 2, true, &report),
            "stopping, 1 client, 2 routes; no findings"
        );
        report.findings = vec![
            finding("a-code", Severity::Critical, "who"),
            finding("b-code", Severity::Warning, ""),
        ];
        assert_eq!(
            line(3, 1, false, &report),
            "3 clients, 1 route; critical (and 1 more): a-code \"who\": it is so"
        );
        report.findings.remove(0);
        assert_eq!(
            line(3, 0, false, &report),
            "3 clients; warning: b-code: it is so"
        );
    }

    #[test]
    fn a_sign_of_life_needs_a_probe_that_has_run() {
        let (latency, start) = (Latency::default(), Instant::now());
        let mut watchdog = Watchdog {
            signs: Every::new(Duration::from_secs(1), start),
            last_run: None,
        };
        let mut sign =
            |seconds: u64| watchdog.has_sign(start + Duration::from_secs(seconds), &latency);
        assert!(!sign(0));
        latency.record_probe(MonotonicMicros(1), 1);
        assert!(sign(1));
        assert!(!sign(2) && !sign(10));
        latency.record_probe(MonotonicMicros(2), 1);
        latency.record_probe(MonotonicMicros(3), 1);
        assert!(sign(11));
        assert!(!sign(12));
        // It came too early for another one, and counts when that is due.
        latency.record_probe(MonotonicMicros(4), 1);
        assert!(sign(12));
    }
}
