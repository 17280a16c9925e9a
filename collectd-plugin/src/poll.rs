//! Polls one instance: requests, evaluates and dispatches.
//!
//! A broker that does not answer is not a failure of the read callback: collectd would increase the
//! interval, and a short outage would look long. So the poll succeeds with `up` = 0, and each
//! change of the condition is logged once.

use std::{
    mem,
    time::{Duration, Instant, SystemTime},
};

use monitor_client::{Client, Error, Healthz};

use crate::{
    changes::Changes,
    config::Instance,
    daemon::{Daemon, Level, Notification, Severity, Value, ValueList},
    metrics::{self, Group, METRICS, Metric, Report, Source},
    runs::{Run, Runs},
};

const PLUGIN: &str = "nats";

/// Plugin and plugin instance of the identifiers of an old curl_json configuration.
const LEGACY_PLUGIN: &str = "curl_json";
const LEGACY_INSTANCE: &str = "gnatsd";

/// An instance and its state between polls.
pub(crate) struct Poller {
    instance: Instance,
    client: Client,
    /// Time limit of a poll.
    timeout: Duration,
    condition: Condition,
    changes: Changes<Condition>,
    /// Severity of the last notification; initially `Okay`.
    notified: Severity,
    /// The runs of the broker.
    runs: Runs,
    /// Warnings about files that were logged last.
    warnings: Vec<String>,
    /// Missing values that were logged last.
    missing: Vec<&'static str>,
}

/// The condition of a broker, as far as changes are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    /// `/varz` cannot be read.
    Down(Cause),
    /// `/varz` was read, `/healthz` was not.
    HealthUnknown(Cause),
    /// No problems.
    Serving,
    /// `/healthz` reports a problem with this code.
    Unhealthy(u16),
    /// Not polled yet.
    Unpolled,
}

/// The kind of an error, without its texts.
type Cause = (mem::Discriminant<Error>, Option<u16>);

/// The results of one poll.
struct Sample {
    time: SystemTime,
    took: Duration,
    report: Result<Report, Error>,
    /// `None` if it was not requested, because the broker is down.
    health: Option<Result<(u16, Healthz), Error>>,
}

impl Poller {
    /// A poller whose requests fit into the interval between polls.
    ///
    ///  # Errors
    ///
    /// The URL cannot be used.
    pub(crate) fn new(instance: Instance, daemon: &dyn Daemon) -> Result<Self, Error> {
        let timeout = instance.timeout(daemon);
        // Only happens if a global Interval follows the block in the file.
        if instance.timeout.is_some_and(|wanted| wanted > timeout) {
            let text = format!(
                "{}: Timeout is cut to {} ms, half the interval",
                instance.label(),
                timeout.as_millis()
            );
            daemon.log(Level::Warning, &text);
        }
        Ok(Self {
            client: instance.client(daemon)?,
            timeout,
            instance,
            condition: Condition::Unpolled,
            changes: Changes::new(),
            notified: Severity::Okay,
            runs: Runs::default(),
            warnings: Vec::new(),
            missing: Vec::new(),
        })
    }

    /// Its configuration.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Polls once; `false` if collectd refused a value.
    pub(crate) fn poll(&mut self, daemon: &dyn Daemon) -> bool {
        let sample = self.fetch();
        self.log_warnings(daemon);
        self.log_changes(&sample, daemon);
        self.dispatch(&sample, daemon)
    }

    /// Problems with files, in spite of which the broker was asked, are logged once.
    fn log_warnings(&mut self, daemon: &dyn Daemon) {
        let warnings = self.client.warnings();
        for warning in warnings.iter().filter(|text| !self.warnings.contains(text)) {
            let label = self.instance.label();
            daemon.log(Level::Warning, &format!("{label}: {warning}"));
        }
        self.warnings = warnings;
    }

    fn fetch(&self) -> Sample {
        let time = SystemTime::now();
        let begun = Instant::now();
        let report = metrics::fetch(&self.client);
        let took = begun.elapsed();
        let left = self.timeout.saturating_sub(took);
        let health = report.is_ok().then(|| self.client.within(left).healthz());
        Sample {
            time,
            took,
            report,
            health,
        }
    }

    fn log_changes(&mut self, sample: &Sample, daemon: &dyn Daemon) {
        let (condition, text) = self.evaluate(sample);
        let first = self.condition == Condition::Unpolled;
        self.condition = condition;
        let severity = condition.severity();
        let remark = self.changes.note(severity, condition, Instant::now());
        if let Some(remark) = remark {
            let level = match severity {
                Severity::Failure => Level::Error,
                Severity::Warning => Level::Warning,
                Severity::Okay if first => Level::Info,
                Severity::Okay => Level::Notice,
            };
            let label = self.instance.label();
            daemon.log(level, &format!("{label}: {text}{remark}"));
        }
        self.notify(sample, &text, daemon);
        if let Ok(report) = &sample.report {
            self.log_restart(report, daemon);
            self.log_missing(report, daemon);
        }
    }

    fn evaluate(&self, sample: &Sample) -> (Condition, String) {
        let report = match &sample.report {
            Ok(report) => report,
            Err(error) => return (Condition::Down(cause(error)), format!("down: {error}")),
        };
        match &sample.health {
            Some(Ok((code, health))) if !is_healthy(*code, health) => {
                let Healthz { status, error, .. } = health;
                let url = self.client.target("/healthz");
                let text = format!("not healthy: {url}: HTTP status {code}, {status}: {error}");
                (Condition::Unhealthy(*code), text)
            }
            // Brokers before nats-server 2.0 have none.
            Some(Err(error)) if !error.is_missing() => (
                Condition::HealthUnknown(cause(error)),
                format!("health not known: {error}"),
            ),
            health => {
                let Report {
                    server_name,
                    version,
                    ..
                } = report;
                let note = match health {
                    Some(Err(_)) => "; it has no /healthz",
                    _ => "",
                };
                let place = self.client.place();
                let text =
                    format!("{place}: broker {server_name}, version {version}, serves{note}");
                (Condition::Serving, text)
            }
        }
    }

    fn notify(&mut self, sample: &Sample, text: &str, daemon: &dyn Daemon) {
        let severity = self.condition.severity();
        let before = mem::replace(&mut self.notified, severity);
        if before == severity || !self.instance.report_notifications {
            return;
        }
        daemon.notify(&Notification {
            severity,
            host: self.instance.host.as_deref(),
            plugin_instance: &self.instance.name,
            message: text,
            time: sample.time,
        });
    }

    /// A value that every broker reports and this one does not is logged once.
    fn log_missing(&mut self, report: &Report, daemon: &dyn Daemon) {
        if self.missing == report.missing {
            return;
        }
        self.missing.clone_from(&report.missing);
        let (level, text) = match &*self.missing {
            [] => (Level::Notice, "all values are reported again".to_owned()),
            missing => {
                let names = missing.join(", ");
                (
                    Level::Warning,
                    format!("no values of {names}: not in the answer"),
                )
            }
        };
        let (label, url) = (self.instance.label(), self.client.target("/varz"));
        daemon.log(level, &format!("{label}: {url}: {text}"));
    }

    fn log_restart(&mut self, report: &Report, daemon: &dyn Daemon) {
        let run = Run {
            id: report.server_id.clone(),
            name: report.server_name.clone(),
            start: report.start.clone(),
            uptime: report
                .uptime
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        if let Some((level, text)) = self.runs.note(run, Instant::now()) {
            daemon.log(level, &format!("{}: {text}", self.instance.label()));
        }
    }

    fn dispatch(&self, sample: &Sample, daemon: &dyn Daemon) -> bool {
        let mut accepted = true;
        for metric in METRICS.iter().filter(|metric| self.is_enabled(metric)) {
            if let Some(value) = measured_value(metric, sample) {
                accepted &= self.dispatch_metric(metric, &[value], sample.time, daemon);
            }
        }
        let readings = sample.report.iter().flat_map(|report| &report.readings);
        for (metric, values) in readings.filter(|(metric, _)| self.is_enabled(metric)) {
            accepted &= self.dispatch_metric(metric, values, sample.time, daemon);
        }
        accepted
    }

    fn is_enabled(&self, metric: &Metric) -> bool {
        match metric.group {
            Group::Basic => true,
            Group::Legacy => self.instance.legacy_names,
            Group::Limits => self.instance.report_limits,
        }
    }

    fn dispatch_metric(
        &self,
        metric: &Metric,
        values: &[Value],
        time: SystemTime,
        daemon: &dyn Daemon,
    ) -> bool {
        let (plugin, plugin_instance) = match metric.group {
            Group::Legacy => (LEGACY_PLUGIN, LEGACY_INSTANCE),
            Group::Basic | Group::Limits => (PLUGIN, self.instance.name.as_str()),
        };
        daemon.dispatch(&ValueList {
            host: self.instance.host.as_deref(),
            plugin,
            plugin_instance,
            kind: metric.kind,
            type_instance: metric.type_instance,
            values,
            time,
        })
    }
}

impl Condition {
    fn severity(self) -> Severity {
        match self {
            Self::Down(_) => Severity::Failure,
            Self::HealthUnknown(_) | Self::Unhealthy(_) => Severity::Warning,
            Self::Serving | Self::Unpolled => Severity::Okay,
        }
    }
}

/// Whether `/healthz` reports ok, by its code and its status.
fn is_healthy(code: u16, health: &Healthz) -> bool {
    code == 200 && health.status == "ok"
}

fn cause(error: &Error) -> Cause {
    let code = match error {
        // A proxy has no answer of the broker: it says the one or the other.
        Error::Status { code: 504, .. } => Some(502),
        Error::Status { code, .. } => Some(*code),
        _ => None,
    };
    (mem::discriminant(error), code)
}

/// The values that the plugin measures itself; `None` for those of the answer.
fn measured_value(metric: &Metric, sample: &Sample) -> Option<Value> {
    let number = match metric.source {
        Source::Healthy => match &sample.health {
            Some(Ok((code, health))) => f64::from(u8::from(is_healthy(*code, health))),
            Some(Err(_)) | None => f64::NAN,
        },
        Source::ResponseTime if sample.report.is_ok() => sample.took.as_secs_f64(),
        Source::Up => f64::from(u8::from(sample.report.is_ok())),
        Source::ResponseTime | Source::Uptime | Source::Varz(_) => return None,
    };
    Some(Value::Gauge(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fake::Fake;

    fn poller(instance: Instance) -> Poller {
        Poller::new(instance, &Fake::default()).expect("a good URL")
    }

    fn up(server_id: &str) -> Sample {
        let json = serde_json::json!({
            "server_id": server_id, "server_name": "b", "version": "2.15.1",
            "start": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:00:10Z",
            "connections": 3, "total_connections": 9, "max_pending": 64,
            "in_msgs": 0, "out_msgs": 0, "in_bytes": 0, "out_bytes": 0,
            "slow_consumers": 0, "subscriptions": 0, "mem": 1, "cpu": 0.5,
        });
        let well = Healthz {
            status: "ok".to_owned(),
            ..Healthz::default()
        };
        Sample {
            time: SystemTime::now(),
            took: Duration::from_millis(250),
            report: metrics::tests::report(&json).map_err(|detail| Error::Field {
                url: String::new(),
                detail,
            }),
            health: Some(Ok((200, well))),
        }
    }

    fn unhealthy(code: u16, error: &str) -> Sample {
        let health = Healthz {
            status: "unavailable".to_owned(),
            error: error.to_owned(),
            ..Healthz::default()
        };
        Sample {
            health: Some(Ok((code, health))),
            ..up("N1")
        }
    }

    fn down(error: Error) -> Sample {
        Sample {
            report: Err(error),
            health: None,
            ..up("N1")
        }
    }

    fn refused() -> Error {
        Error::Refused {
            url: "http://x/varz".to_owned(),
        }
    }

    fn status(code: u16) -> Error {
        Error::Status {
            url: "http://x/varz".to_owned(),
            code,
            detail: String::new(),
        }
    }

    fn timeout() -> Error {
        Error::Timeout {
            url: "http://x/healthz".to_owned(),
            after: Duration::from_secs(2),
            phase: monitor_client::Phase::Answer,
        }
    }

    /// Processes the samples and returns the recorded calls.
    fn process(poller: &mut Poller, samples: impl IntoIterator<Item = Sample>) -> Fake {
        let daemon = Fake::default();
        for sample in samples {
            poller.log_changes(&sample, &daemon);
            assert!(poller.dispatch(&sample, &daemon));
        }
        daemon
    }

    fn levels(daemon: &Fake) -> Vec<Level> {
        daemon.lines.borrow().iter().map(|line| line.0).collect()
    }

    fn severities(daemon: &Fake) -> Vec<Severity> {
        let notifications = daemon.notifications.borrow();
        notifications.iter().map(|sent| sent.0).collect()
    }

    #[test]
    fn a_serving_broker_has_its_values_and_one_log_line() {
        let daemon = process(&mut poller(Instance::new("a")), [up("N1"), up("N1")]);
        assert_eq!(levels(&daemon), [Level::Info]);
        assert_eq!(severities(&daemon), []);
        for (name, value) in [
            ("nats-a/bool-up", Value::Gauge(1.0)),
            ("nats-a/bool-healthy", Value::Gauge(1.0)),
            ("nats-a/response_time-varz", Value::Gauge(0.25)),
            ("nats-a/uptime", Value::Gauge(10.0)),
            ("nats-a/current_connections-clients", Value::Gauge(3.0)),
            ("nats-a/total_connections", Value::Derive(9)),
        ] {
            assert_eq!(daemon.value(name), Some(vec![value]), "{name}");
        }
        assert_eq!(daemon.value("nats-a/current_connections-routes"), None);
        assert_eq!(daemon.value("nats-a/bytes-max_pending"), None);
    }

    #[test]
    fn limits_and_old_names_are_optional() {
        let instance = Instance {
            report_limits: true,
            legacy_names: true,
            ..Instance::new("a")
        };
        let daemon = process(&mut poller(instance), [up("N1")]);
        for (name, value) in [
            ("nats-a/bytes-max_pending", Value::Gauge(64.0)),
            (
                "curl_json-gnatsd/bytes-max_pending_size",
                Value::Gauge(64.0),
            ),
            ("curl_json-gnatsd/gauge-connections", Value::Gauge(3.0)),
            (
                "curl_json-gnatsd/counter-total_connections",
                Value::Counter(9),
            ),
        ] {
            assert_eq!(daemon.value(name), Some(vec![value]), "{name}");
        }
    }

    #[test]
    fn an_outage_and_its_end_are_logged_once() {
        let mut poller = poller(Instance::new("a"));
        let daemon = process(
            &mut poller,
            [down(refused()), down(refused()), down(refused())],
        );
        assert_eq!(levels(&daemon), [Level::Error]);
        assert_eq!(severities(&daemon), [Severity::Failure]);
        let values = daemon.values.borrow();
        assert_eq!(values.len(), 6, "{values:?}");
        assert_eq!(
            values[0],
            ("nats-a/bool-up".to_owned(), vec![Value::Gauge(0.0)])
        );
        assert!(
            matches!(values[1].1[..], [Value::Gauge(healthy)] if healthy.is_nan()),
            "{values:?}"
        );
        // Another cause is logged again, but not notified again.
        let daemon = process(
            &mut poller,
            [down(status(500)), down(status(302)), down(status(302))],
        );
        assert_eq!(levels(&daemon), [Level::Error, Level::Error]);
        assert_eq!(severities(&daemon), []);
        let daemon = process(&mut poller, [up("N1"), up("N1")]);
        assert_eq!(levels(&daemon), [Level::Notice]);
        assert_eq!(severities(&daemon), [Severity::Okay]);
    }

    #[test]
    fn problems_of_a_broker_that_answers_are_warnings() {
        let mut poller = poller(Instance::new("a"));
        let samples = [
            up("N1"),
            unhealthy(503, "route lost"),
            unhealthy(503, "more lost"),
        ];
        let daemon = process(&mut poller, samples);
        assert_eq!(levels(&daemon), [Level::Info, Level::Warning]);
        assert_eq!(severities(&daemon), [Severity::Warning]);
        assert!(daemon.lines.borrow()[1].1.contains("route lost"));
        let values = daemon.values.borrow();
        let healthy = values
            .iter()
            .rfind(|(name, _)| name == "nats-a/bool-healthy");
        assert_eq!(healthy.expect("dispatched").1, [Value::Gauge(0.0)]);
        drop(values);

        let mute = Sample {
            health: Some(Err(timeout())),
            ..up("N1")
        };
        let daemon = process(&mut poller, [mute, up("N1")]);
        assert_eq!(levels(&daemon), [Level::Warning, Level::Notice]);
        assert_eq!(severities(&daemon), [Severity::Okay]);
    }

    #[test]
    fn a_restart_is_logged_once() {
        let mut poller = poller(Instance::new("a"));
        let daemon = process(&mut poller, [up("N1"), up("N1"), up("N2"), up("N2")]);
        assert_eq!(levels(&daemon), [Level::Info, Level::Notice]);
        let line = &daemon.lines.borrow()[1].1;
        assert!(line.contains("server id N1 is now N2"), "{line}");
    }

    #[test]
    fn a_changed_clock_is_not_a_restart() {
        let mut later = up("N1");
        if let Ok(report) = &mut later.report {
            report.start = "2026-01-01T01:00:00Z".into();
        }
        let daemon = process(&mut poller(Instance::new("a")), [up("N1"), later]);
        assert_eq!(levels(&daemon), [Level::Info]);
    }

    #[test]
    fn notifications_can_be_turned_off() {
        let instance = Instance {
            report_notifications: false,
            ..Instance::new("a")
        };
        let daemon = process(&mut poller(instance), [down(refused()), up("N1")]);
        assert_eq!(severities(&daemon), []);
        assert_eq!(levels(&daemon), [Level::Error, Level::Notice]);
    }
}
