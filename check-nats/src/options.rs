//! The parameters of a run: the evaluated command line.
//!
//! [`super::args`] defines its syntax; everything after this file sees only [`Options`].

use std::{path::PathBuf, time::Duration};

use clap::ArgMatches;
use monitor_client::{FigureUnit, figure};

use super::{
    args::threshold_options,
    brokers::Brokers,
    metric::{BROKERS_ANSWERING, Metric, Planned, Threshold, VARZ_FIGURE},
    modes::{
        Compares, MODES, Mode,
        path::{self, PathQuery},
    },
    range::{Range, Unit, parse_quantity},
    state_file::StateOptions,
    status::Status,
    text::{harmless, shortened},
};

/// Characters of `--service-name` that are shown: the first line has a limit.
const SERVICE_NAME_CHARS_MAX: usize = 40;

/// The longest time a run may be given; schedulers kill long before.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A run, ready to go.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mode.
    pub mode: &'static Mode,
    /// The brokers.
    pub brokers: Brokers,
    /// Time for the whole run.
    pub timeout: Duration,
    /// What running out of time means; `None` leaves it to the step.
    pub timeout_status: Option<Status>,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// How the result is written.
    pub format: Format,
    /// First word of the output.
    pub service_name: String,
    /// What a mode that compares with the last run keeps, and where.
    pub state: StateOptions,
    /// Time between two samples, in place of a state file.
    pub sample: Option<Duration>,
    /// The digest that the configuration must have.
    pub digest: Option<String>,
    /// The file that must be older than the configuration in force.
    pub file: Option<PathBuf>,
    /// Members that the cluster must have, or receivers that a message must have.
    pub expect: Option<usize>,
    /// What mode `path` asks about.
    pub path: PathQuery,
    /// Dotted path of the metric of mode `varz`.
    pub metric: Option<String>,
    /// The metrics of each broker in this mode, with their thresholds.
    pub metrics: Vec<Planned>,
    /// The metrics of several brokers together.
    pub joint_metrics: Vec<Planned>,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// The first line and perfdata of the plugin contract.
    Nagios,
    /// Metrics as OpenMetrics, which Prometheus reads.
    OpenMetrics,
    /// Several lines for people.
    Text,
}

impl Format {
    /// The formats by the names of `--format`, the default first, with the name that one has
    /// in `nats server check`.
    pub const NAMES: [(&'static str, Option<&'static str>, Self); 4] = [
        ("nagios", None, Self::Nagios),
        ("json", None, Self::Json),
        ("openmetrics", Some("prometheus"), Self::OpenMetrics),
        ("text", None, Self::Text),
    ];

    /// The format of this name.
    pub fn called(name: &str) -> Option<Self> {
        let mut known = Self::NAMES.into_iter();
        known
            .find(|(known, alias, _)| *known == name || *alias == Some(name))
            .map(|(_, _, format)| format)
    }
}

impl Options {
    /// Makes sense of what was typed.
    ///
    /// # Errors
    /// A sentence that names the option and what to write.
    pub fn new(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let mode = mode_called(&text("mode").unwrap_or_default())?;
        let (timeout, timeout_status) = parse_timeout(&text("timeout").unwrap_or_default())?;
        let sample = match text("sample") {
            Some(_) if mode.compares == Compares::Nothing => {
                return Err(format!(
                    "--sample has no effect in mode {}: it compares nothing",
                    mode.name
                ));
            }
            Some(sample) => Some(parse_sample(&sample, timeout)?),
            None => None,
        };
        let metric = text("figure");
        if (mode.name == "varz") != metric.is_some() {
            return Err("--figure NAME belongs to --mode varz, which needs it".into());
        }
        if mode.name == path::NAME && !matches.contains_id("subject") {
            return Err("--mode path needs --subject SUBJECT".into());
        }
        for option in ["subject", "account"] {
            if mode.name != path::NAME && matches.contains_id(option) {
                return Err(format!("--{option} belongs to --mode path"));
            }
        }
        for option in ["digest", "file"] {
            if mode.name != "config" && matches.contains_id(option) {
                return Err(format!("--{option} belongs to --mode config"));
            }
        }
        let brokers = Brokers::new(matches)?;
        if !mode.needs.is_empty() {
            brokers.check_monitoring()?;
        }
        let joint = joint_metrics(mode, &brokers);
        refuse_foreign_thresholds(matches, mode, &joint)?;
        let service_name = harmless(&text("service-name").unwrap_or_default());
        let options = Self {
            mode,
            brokers,
            timeout,
            timeout_status,
            verbosity: matches.get_count("verbose"),
            format: text("format")
                .and_then(|name| Format::called(&name))
                .ok_or("--format: no such format")?,
            service_name: shortened(&service_name, SERVICE_NAME_CHARS_MAX, usize::MAX),
            state: StateOptions::new(matches, mode)?,
            sample,
            digest: text("digest"),
            file: matches.get_one("file").cloned(),
            expect: matches
                .get_one::<u16>("expect")
                .map(|count| (*count).into()),
            path: PathQuery {
                subject: text("subject").unwrap_or_default(),
                user: text("user").unwrap_or_default(),
                account: text("account").unwrap_or_default(),
            },
            metrics: plan(matches, mode.metrics, true, metric.as_deref())?,
            joint_metrics: plan(matches, &joint, false, None)?,
            metric,
        };
        Ok(options)
    }
}

fn mode_called(name: &str) -> Result<&'static Mode, String> {
    MODES
        .iter()
        .find(|mode| mode.name == name)
        .ok_or_else(|| format!("no mode \"{name}\""))
}

/// `10`, `10s` or `10:warning`.
fn parse_timeout(text: &str) -> Result<(Duration, Option<Status>), String> {
    let (seconds, status) = match text.split_once(':') {
        None => (text, None),
        Some((seconds, word)) => {
            let status = Status::parse(word).ok_or_else(|| {
                format!(
                    "--timeout {text}: no state \"{word}\": use ok, warning, critical or unknown"
                )
            })?;
            (seconds, Some(status))
        }
    };
    let timeout = parse_duration("--timeout", seconds)?;
    match timeout <= TIMEOUT_MAX {
        true => Ok((timeout, status)),
        false => Err(format!(
            "--timeout {text}: at most {} s",
            TIMEOUT_MAX.as_secs()
        )),
    }
}

fn parse_sample(text: &str, timeout: Duration) -> Result<Duration, String> {
    let sample = parse_duration("--sample", text)?;
    match sample < timeout {
        true => Ok(sample),
        false => Err(format!(
            "--sample {text} does not fit into --timeout {} s",
            timeout.as_secs()
        )),
    }
}

/// The value of an option that takes a time.
///
/// # Errors
/// A sentence that names the option.
pub fn parse_duration(option: &str, text: &str) -> Result<Duration, String> {
    let seconds = parse_quantity(text, Unit::Seconds).map_err(|why| format!("{option}: {why}"))?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration >= Duration::from_millis(1))
        .ok_or_else(|| format!("{option} {text}: must be longer than nothing"))
}

/// The metrics of all brokers together; none if there is only one.
fn joint_metrics(mode: &Mode, brokers: &Brokers) -> Vec<&'static Metric> {
    let of_mode = mode.joint.iter().flat_map(|joint| joint.metrics).copied();
    match brokers.are_several() {
        true => std::iter::once(&BROKERS_ANSWERING).chain(of_mode).collect(),
        false => Vec::new(),
    }
}

/// Metrics with the thresholds of the command line or the table; `-w` and `-c` are those of the
/// first if they are the mode's own.
fn plan(
    matches: &ArgMatches,
    metrics: &[&'static Metric],
    are_own: bool,
    path: Option<&str>,
) -> Result<Vec<Planned>, String> {
    let mut planned = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let is_main = are_own && index == 0;
        let (label, unit) = match path {
            Some(path) if metric.label == VARZ_FIGURE.label => (path, varz_unit(path)),
            _ => (metric.label, metric.unit),
        };
        if label.is_empty() || label.contains(['=', '\'', '*', '|']) {
            return Err(format!(
                "--figure \"{label}\" is no path such as slow_consumer_stats.clients"
            ));
        }
        let threshold = |level: &Level| threshold(matches, metric, is_main, unit, level);
        let (warning, critical) = (threshold(&WARNING)?, threshold(&CRITICAL)?);
        refuse_warning_without_effect(label, warning.as_ref(), critical.as_ref())?;
        planned.push(Planned {
            label: harmless(label),
            unit,
            help: metric.help,
            remedy: metric.remedy,
            warning,
            critical,
        });
    }
    Ok(planned)
}

/// One of the two thresholds of every metric.
struct Level {
    /// Long name of the option for the main metric; also the ending of the options of the
    /// others.
    name: &'static str,
    default: fn(&Metric) -> &'static str,
}

const WARNING: Level = Level {
    name: "warning",
    default: |metric| metric.warning,
};
const CRITICAL: Level = Level {
    name: "critical",
    default: |metric| metric.critical,
};

fn threshold(
    matches: &ArgMatches,
    metric: &Metric,
    is_main: bool,
    unit: Unit,
    level: &Level,
) -> Result<Option<Threshold>, String> {
    let typed = |option: &str| {
        matches
            .get_one::<String>(option)
            .map(|text| (option.to_owned(), text))
    };
    let own = metric
        .option
        .and_then(|stem| typed(&format!("{stem}-{}", level.name)));
    let short = match is_main {
        true => typed(level.name),
        false => None,
    };
    let (option, text) = match (own, short) {
        (Some((own, _)), Some((short, _))) => {
            return Err(format!(
                "--{short} means --{own} in this mode: give only one of them"
            ));
        }
        (Some(typed), None) | (None, Some(typed)) => typed,
        (None, None) => {
            let default = (level.default)(metric);
            let range = (!default.is_empty())
                .then(|| Range::parse(default, unit))
                .transpose()
                .map_err(|error| format!("default of {}: {error}", metric.label))?;
            return Ok(range.map(|range| Threshold {
                range,
                explicit: false,
            }));
        }
    };
    let range = Range::parse(text, unit).map_err(|error| format!("--{option}: {error}"))?;
    Ok(Some(Threshold {
        range,
        explicit: true,
    }))
}

/// Two thresholds that were both typed and of which the warning can never be the verdict: most
/// often they were swapped. Ranges of which one alone is in percent cannot be compared here.
fn refuse_warning_without_effect(
    label: &str,
    warning: Option<&Threshold>,
    critical: Option<&Threshold>,
) -> Result<(), String> {
    let (Some(warning), Some(critical)) = (warning, critical) else {
        return Ok(());
    };
    let (mild, severe) = (&warning.range, &critical.range);
    if !(warning.explicit && critical.explicit) || mild.is_relative() != severe.is_relative() {
        return Ok(());
    }
    let limits = |range: &Range| range.limits(Some(100.0));
    match (limits(mild), limits(severe)) {
        (Some(mild_limits), Some(severe_limits))
            if mild_limits.alerts_only_with(severe_limits)
                && !severe_limits.alerts_only_with(mild_limits) =>
        {
            Err(format!(
                "warning {mild} of {label} has no effect beside critical {severe}: it alerts only \
                 where that is critical; were the two swapped?"
            ))
        }
        _ => Ok(()),
    }
}

/// A threshold without effect must not be accepted silently.
fn refuse_foreign_thresholds(
    matches: &ArgMatches,
    mode: &Mode,
    joint: &[&Metric],
) -> Result<(), String> {
    for metric in threshold_options() {
        let Some(stem) = metric.option else { continue };
        let mut own = mode.metrics.iter().chain(joint);
        let in_mode = own.any(|own| own.option == Some(stem));
        let with_several = mode.joint.iter().flat_map(|joint| joint.metrics);
        let why = match with_several.into_iter().any(|own| own.option == Some(stem)) {
            true => "needs several brokers: give several -H, or --srv".to_owned(),
            false => format!("does not apply to mode {}", mode.name),
        };
        for level in [WARNING, CRITICAL] {
            let option = format!("{stem}-{}", level.name);
            if !in_mode && matches.get_one::<String>(&option).is_some() {
                return Err(format!("--{option} {why}"));
            }
        }
    }
    Ok(())
}

/// The unit of a value of `/varz` by its path.
fn varz_unit(path: &str) -> Unit {
    match figure(path) {
        None => Unit::Count,
        Some(figure) if figure.is_total => Unit::Counter,
        Some(figure) => match figure.unit {
            FigureUnit::Bytes => Unit::Bytes,
            FigureUnit::Percent => Unit::Percent,
            FigureUnit::Seconds => Unit::Seconds,
            FigureUnit::Count | FigureUnit::Nanoseconds => Unit::Count,
        },
    }
}
