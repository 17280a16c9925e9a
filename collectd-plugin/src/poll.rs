//! Polls one instance: asks, evaluates, dispatches and notifies.
//!
//! A broker that does not answer is not a failure of the read callback: collectd would increase the
//! interval, and a short outage would look long. So the poll succeeds with `up` = 0, and each
//! change of the condition is logged once.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use monitor_client::Error;

use crate::{
    changes::{Changes, News},
    condition::{self, Cause, Condition},
    config::Instance,
    daemon::{Daemon, Level, Notification, Severity, ValueList},
    findings::{Findings, Tracker},
    followed::Change,
    metrics::{
        self, Broker, Endpoint, Group, METRICS, NAMES_MAX, Names, Own, Reading, Readings, Source,
    },
    requests::{Outcome, Requests, Sample},
    runs::{Run, Runs},
};

const PLUGIN: &str = "nats";

/// Plugin and plugin instance of the identifiers of an old curl_json configuration.
const LEGACY_PLUGIN: &str = "curl_json";
const LEGACY_INSTANCE: &str = "gnatsd";

/// An instance and its state between polls.
pub(crate) struct Poller {
    instance: Instance,
    requests: Requests,
    /// Changes of the condition, which are logged and notified.
    changes: Changes<Condition>,
    findings: Tracker,
    /// Troubles with other endpoints that are logged; `None` is that some are late.
    endpoints: BTreeMap<Option<Endpoint>, Changes<Option<Cause>>>,
    /// The runs of the broker.
    runs: Runs,
    names: Names,
    /// Warnings about files that were logged last.
    warnings: Vec<String>,
    /// Values of which it was logged that they are missing or wrong, and lists that are too long.
    logged: BTreeSet<(&'static str, &'static str)>,
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
        let client = instance.client(daemon)?;
        let enabled = METRICS
            .iter()
            .filter(|metric| instance.reports(metric.group));
        Ok(Self {
            requests: Requests::new(client, timeout, enabled, instance.top_connections),
            instance,
            changes: Changes::new(),
            findings: Tracker::default(),
            endpoints: BTreeMap::new(),
            runs: Runs::default(),
            names: Names::default(),
            warnings: Vec::new(),
            logged: BTreeSet::new(),
        })
    }

    /// Its configuration.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Polls once; `false` if collectd refused a value.
    pub(crate) fn poll(&mut self, daemon: &dyn Daemon) -> bool {
        let sample = self.requests.make();
        self.log_warnings(daemon);
        self.process(&sample, daemon)
    }

    fn process(&mut self, sample: &Sample, daemon: &dyn Daemon) -> bool {
        self.note_condition(sample, daemon);
        self.notify_findings(sample, daemon);
        self.log_endpoints(sample, daemon);
        if let Ok(broker) = &sample.broker {
            self.log_run(broker, sample, daemon);
            self.log_missing(broker, daemon);
        }
        let readings = self.read(sample);
        self.log_wrong(&readings, daemon);
        let mut accepted = true;
        for reading in &readings.readings {
            accepted &= self.dispatch(reading, sample, daemon);
        }
        accepted
    }

    fn log(&self, level: Level, text: &str, daemon: &dyn Daemon) {
        daemon.log(level, &format!("{}: {text}", self.instance.label()));
    }

    /// Problems with files, in spite of which the broker was asked, are logged once.
    fn log_warnings(&mut self, daemon: &dyn Daemon) {
        let warnings = self.requests.client().warnings();
        for warning in warnings.iter().filter(|text| !self.warnings.contains(text)) {
            self.log(Level::Warning, warning, daemon);
        }
        self.warnings = warnings;
    }

    /// The first poll is reported, whatever it shows: collectd may have been restarted after it
    /// sent a FAILURE.
    fn note_condition(&mut self, sample: &Sample, daemon: &dyn Daemon) {
        let condition = Condition::of(sample);
        let severity = condition.severity();
        let Some(news) = self.changes.note(severity, condition, sample.at) else {
            return;
        };
        let place = self.requests.client().place();
        let text = condition::text(sample, &place) + &news.remark();
        let level = match severity {
            Severity::Failure => Level::Error,
            Severity::Warning => Level::Warning,
            Severity::Okay if news == News::First => Level::Info,
            Severity::Okay => Level::Notice,
        };
        self.log(level, &text, daemon);
        let word = match news {
            News::First => "present",
            News::Changed(Change::Worse { often: true }) => "flapping",
            News::Changed(Change::Worse { often: false }) => "worsened",
            News::Changed(Change::Better) => "eased",
            News::Cause => return,
        };
        let metadata = [("Change", word.to_owned())];
        self.notify(severity, ("bool", "up"), &text, &metadata, sample, daemon);
    }

    fn notify_findings(&mut self, sample: &Sample, daemon: &dyn Daemon) {
        let Ok(broker) = &sample.broker else {
            return;
        };
        if !self.instance.reports(Group::Findings) {
            return;
        }
        let messages = match &sample.findings {
            Findings::Known(findings) => self.findings.update(findings, sample.at, broker.uptime),
            Findings::Absent => self.findings.without(sample.at),
            Findings::Unknown => Vec::new(),
        };
        for message in messages {
            let identifier = ("gauge", message.type_instance());
            let (severity, text) = (message.severity, &message.text);
            self.notify(
                severity,
                identifier,
                text,
                &message.metadata,
                sample,
                daemon,
            );
        }
    }

    fn notify(
        &self,
        severity: Severity,
        (kind, type_instance): (&str, &str),
        message: &str,
        metadata: &[(&str, String)],
        sample: &Sample,
        daemon: &dyn Daemon,
    ) {
        if self.instance.report_notifications {
            daemon.notify(&Notification {
                severity,
                host: self.instance.host.as_deref(),
                plugin_instance: &self.instance.name,
                kind,
                type_instance,
                message,
                metadata,
                time: sample.time,
            });
        }
    }

    /// An endpoint that cannot be read costs its values only.
    fn log_endpoints(&mut self, sample: &Sample, daemon: &dyn Daemon) {
        for (endpoint, outcome) in &sample.outcomes {
            let path = endpoint.path();
            let (trouble, well) = match outcome {
                Outcome::Read => (None, format!("{path} is read again")),
                Outcome::Absent => (
                    None,
                    format!("the broker has no {path}: it is not asked for until it restarts"),
                ),
                Outcome::Failed(error) => {
                    let text = format!("no values of {path}: {error}");
                    (Some((Some(condition::cause(error)), text)), String::new())
                }
            };
            self.log_trouble(Some(*endpoint), trouble, &well, sample, daemon);
        }
        let late: Vec<_> = sample.late.iter().map(|endpoint| endpoint.path()).collect();
        let trouble = (!late.is_empty()).then(|| {
            let text = format!(
                "no values of {}: not read within the {} ms that a poll may take (Timeout)",
                late.join(", "),
                self.requests.timeout().as_millis()
            );
            (None, text)
        });
        let well = "everything is read in time again";
        if sample.broker.is_ok() {
            self.log_trouble(None, trouble, well, sample, daemon);
        }
    }

    /// Logs the begin and the end of a trouble with an endpoint, or with all (`None`).
    fn log_trouble(
        &mut self,
        endpoint: Option<Endpoint>,
        trouble: Option<(Option<Cause>, String)>,
        well: &str,
        sample: &Sample,
        daemon: &dyn Daemon,
    ) {
        if trouble.is_none() && !self.endpoints.contains_key(&endpoint) {
            return;
        }
        let (level, severity) = match trouble {
            Some(_) => (Level::Warning, Severity::Warning),
            None => (Level::Notice, Severity::Okay),
        };
        let (cause, text) = trouble.unwrap_or_else(|| (None, well.to_owned()));
        let changes = self.endpoints.entry(endpoint).or_insert_with(Changes::new);
        if let Some(news) = changes.note(severity, cause, sample.at) {
            self.log(level, &(text + &news.remark()), daemon);
        }
    }

    fn log_run(&mut self, broker: &Broker, sample: &Sample, daemon: &dyn Daemon) {
        let uptime = broker.uptime;
        let run = Run {
            id: broker.server_id.clone(),
            name: broker.server_name.clone(),
            start: broker.start.clone(),
            uptime: uptime.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        if let Some((level, text)) = self.runs.note(run, sample.at) {
            self.log(level, &text, daemon);
        }
    }

    /// A value that every broker reports and this one does not is logged once.
    fn log_missing(&mut self, broker: &Broker, daemon: &dyn Daemon) {
        let missing = broker.missing.iter().copied();
        let new: Vec<&str> = missing
            .filter(|key| self.logged.insert(("missing", key)))
            .collect();
        if !new.is_empty() {
            let url = self.requests.client().target(Endpoint::Varz.path());
            let text = format!("{url}: no values of {}: not in the answer", new.join(", "));
            self.log(Level::Warning, &text, daemon);
        }
    }

    /// What was left out is logged once.
    fn log_wrong(&mut self, readings: &Readings, daemon: &dyn Daemon) {
        for (endpoint, wrong) in &readings.wrong {
            let path = endpoint.path();
            if self.logged.insert((path, wrong.key)) {
                let url = self.requests.client().target(path);
                let text = format!(
                    "{url}: no values of {}: {} is out of range",
                    wrong.key, wrong.found
                );
                self.log(Level::Warning, &text, daemon);
            }
        }
        for what in self.names.full().collect::<Vec<_>>() {
            if self.logged.insert(("full", what)) {
                let text = format!(
                    "more than {NAMES_MAX} {what}: only the first {NAMES_MAX} have values, until \
                     collectd is restarted"
                );
                self.log(Level::Warning, &text, daemon);
            }
        }
    }

    fn read(&mut self, sample: &Sample) -> Readings {
        let Self {
            instance, names, ..
        } = self;
        let ranks = instance.top_connections;
        let mut readings = Readings::default();
        for metric in METRICS
            .iter()
            .filter(|metric| instance.reports(metric.group))
        {
            let number = match &metric.source {
                Source::Own(own) => own_value(*own, sample),
                Source::Findings(severities) => sample.findings.known().map(|findings| {
                    let levels = findings.iter().map(|(level, _)| level.name());
                    levels.filter(|level| severities.contains(level)).count() as f64
                }),
                _ => {
                    metrics::read(metric, &sample.answers, names, ranks, &mut readings);
                    continue;
                }
            };
            readings.add_own(metric, number);
        }
        readings
    }

    fn dispatch(&self, reading: &Reading, sample: &Sample, daemon: &dyn Daemon) -> bool {
        let (plugin, plugin_instance) = match reading.is_legacy {
            true => (LEGACY_PLUGIN, LEGACY_INSTANCE),
            false => (PLUGIN, self.instance.name.as_str()),
        };
        daemon.dispatch(&ValueList {
            host: self.instance.host.as_deref(),
            plugin,
            plugin_instance,
            kind: reading.kind,
            type_instance: &reading.type_instance,
            values: &reading.values,
            time: sample.time,
        })
    }
}

/// What the plugin measures itself; `None` if there is nothing to report.
fn own_value(own: Own, sample: &Sample) -> Option<f64> {
    match own {
        Own::Up => Some(f64::from(u8::from(sample.broker.is_ok()))),
        Own::Healthy => {
            condition::is_healthy(sample).map(|is_healthy| f64::from(u8::from(is_healthy)))
        }
        Own::ResponseTime => {
            let took = sample.varz_took.as_secs_f64();
            sample.broker.is_ok().then_some(took)
        }
        Own::PollTime => Some(sample.took.as_secs_f64()),
        Own::Uptime => sample.broker.as_ref().ok()?.uptime,
    }
}
