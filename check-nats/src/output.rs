//! Draws a report: for Nagios, as JSON, for Prometheus, or for people.

use std::fmt::Write;

use serde_json::json;

use super::{
    metric::Threshold,
    options::{Format, Options},
    report::{Measured, Report, Statement},
    status::Status,
    text::decimal,
};

/// Prefix of the Prometheus metrics, as in `nats server check`.
const NAMESPACE: &str = "nats_server_check";

/// The whole output, with a line end.
pub fn draw(report: &Report, options: &Options) -> String {
    match options.format {
        Format::Json => json(report, options),
        Format::Nagios => nagios(report, options),
        Format::Prometheus => prometheus(report, options),
        Format::Text => text(report, options),
    }
}

/// The first line of a run that could not begin.
pub fn first_line(service: &str, status: Status, text: &str) -> String {
    format!("{service} {status}: {text}")
}

fn nagios(report: &Report, options: &Options) -> String {
    let mut texts: Vec<&str> = report
        .statements()
        .iter()
        .map(|s| s.text.as_str())
        .collect();
    if options.verbosity >= 1 {
        texts.extend(report.details(1));
    }
    let line = first_line(&options.service_name, report.status(), &texts.join(", "));
    let perfdata: Vec<String> = report.metrics().iter().map(perfdata).collect();
    let mut output = format!("{line} | {}\n", perfdata.join(" "));
    for verbosity in 2..=options.verbosity.min(3) {
        for detail in report.details(verbosity) {
            let _ = writeln!(output, "{detail}");
        }
    }
    if options.verbosity >= 3 {
        for metric in report.metrics() {
            let _ = writeln!(output, "{}", described(metric));
        }
    }
    output
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`, quoted only if need be.
fn perfdata(metric: &Measured) -> String {
    let label = match metric.planned.label.contains(' ') {
        true => format!("'{}'", metric.planned.label),
        false => metric.planned.label.clone(),
    };
    let value = match metric.value {
        Some(value) => format!("{}{}", decimal(value), metric.planned.unit.uom()),
        None => "U".to_owned(),
    };
    let range = |threshold: &Option<Threshold>| {
        threshold
            .as_ref()
            .and_then(|threshold| threshold.range.perfdata(metric.limit))
            .unwrap_or_default()
    };
    let (min, max) = match metric.limit {
        Some(limit) => ("0", decimal(limit)),
        None => ("", String::new()),
    };
    let fields = format!(
        "{};{};{min};{max}",
        range(&metric.planned.warning),
        range(&metric.planned.critical)
    );
    format!("{label}={value};{fields}")
        .trim_end_matches(';')
        .to_owned()
}

fn json(report: &Report, options: &Options) -> String {
    let texts = |status: Status| -> Vec<&str> {
        with_status(report, status)
            .map(|s| s.text.as_str())
            .collect()
    };
    let metrics: Vec<_> = report
        .metrics()
        .iter()
        .map(|metric| {
            json!({
                "name": metric.planned.label,
                "value": metric.value,
                "unit": metric.planned.unit.uom(),
                "warning": written(&metric.planned.warning),
                "critical": written(&metric.planned.critical),
                "max": metric.limit,
            })
        })
        .collect();
    let answer = json!({
        "status": report.status().word(),
        "check_suite": options.mode.name,
        "check_name": options.service_name,
        "critical": texts(Status::Critical),
        "warning": texts(Status::Warning),
        "unknown": texts(Status::Unknown),
        "ok": texts(Status::Ok),
        "perf_data": metrics,
    });
    format!("{answer}\n")
}

/// Gauges by the names of `nats server check`; an unknown metric has none.
fn prometheus(report: &Report, options: &Options) -> String {
    let prefix = format!("{NAMESPACE}_{}", options.mode.name);
    let item = options
        .service_name
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    let mut output = String::new();
    let status = report.status();
    let _ = write!(
        output,
        "# HELP {prefix}_status_code Result of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN\n\
         # TYPE {prefix}_status_code gauge\n\
         {prefix}_status_code{{item=\"{item}\",status=\"{status}\"}} {}\n",
        status.code()
    );
    for metric in report.metrics() {
        let Some(value) = metric.value else { continue };
        let name: String = metric
            .planned
            .label
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let _ = write!(
            output,
            "# HELP {prefix}_{name} Value {name} of the check\n# TYPE {prefix}_{name} \
             gauge\n{prefix}_{name}{{item=\"{item}\"}} {}\n",
            decimal(value)
        );
    }
    output
}

fn text(report: &Report, options: &Options) -> String {
    let mut output = format!("{}: {}\n", options.service_name, report.status());
    for statement in report.statements() {
        let _ = writeln!(output, "  {:8} {}", statement.status.word(), statement.text);
    }
    for verbosity in 1..=options.verbosity.min(3) {
        for detail in report.details(verbosity) {
            let _ = writeln!(output, "  {detail}");
        }
    }
    for metric in report.metrics() {
        let _ = writeln!(output, "  {}", described(metric));
    }
    output
}

/// A metric with its thresholds as written, for people.
fn described(metric: &Measured) -> String {
    let uom = metric.planned.unit.uom();
    let mut line = match metric.value {
        Some(value) => format!("{} = {} {uom}", metric.planned.label, decimal(value)),
        None => format!("{} is unknown", metric.planned.label),
    };
    line.truncate(line.trim_end().len());
    for (word, threshold) in [
        ("warning", &metric.planned.warning),
        ("critical", &metric.planned.critical),
    ] {
        if let Some(range) = written(threshold) {
            let _ = write!(line, ", {word} {range}");
        }
    }
    if let Some(limit) = metric.limit {
        let _ = write!(line, ", limit {}", decimal(limit));
    }
    line
}

fn written(threshold: &Option<Threshold>) -> Option<String> {
    threshold
        .as_ref()
        .map(|threshold| threshold.range.to_string())
}

fn with_status(report: &Report, status: Status) -> impl Iterator<Item = &Statement> {
    report
        .statements()
        .into_iter()
        .filter(move |statement| statement.status == status)
}
