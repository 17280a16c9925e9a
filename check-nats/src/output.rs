//! Draws a report: for Nagios, as JSON, for Prometheus, or for people.

use std::fmt::Write;

use serde_json::json;

use super::{
    brokers::names,
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
    let line = first_line(
        &options.service_name,
        report.status(),
        &texts(report, options),
    );
    // Those of all brokers together first: Icinga takes a label without `::` after one with it
    // for that broker's.
    let mut all: Vec<String> = report.metrics().iter().map(|m| perfdata("", m)).collect();
    for (name, broker) in report.brokers() {
        let prefix = format!("{}::", names::in_label(name));
        all.extend(
            broker
                .metrics()
                .iter()
                .map(|metric| perfdata(&prefix, metric)),
        );
    }
    let mut output = format!("{line} | {}\n", all.join(" "));
    for (name, broker) in report.brokers() {
        let _ = writeln!(
            output,
            "{}",
            first_line(name, broker.status(), &texts(broker, options))
        );
    }
    write_details(&mut output, "", report, options);
    for (name, broker) in report.brokers() {
        write_details(&mut output, &format!("{name}: "), broker, options);
    }
    output
}

/// What is said of one broker, or of all together, in one line.
fn texts(report: &Report, options: &Options) -> String {
    let statements = report.statements();
    let mut texts: Vec<&str> = statements.iter().map(|s| s.text.as_str()).collect();
    if options.verbosity >= 1 {
        texts.extend(report.details(1));
    }
    // What is said of a broker may be a list itself.
    let separator = if report.brokers().is_empty() {
        ", "
    } else {
        "; "
    };
    texts.join(separator)
}

fn write_details(output: &mut String, start: &str, report: &Report, options: &Options) {
    for verbosity in 2..=options.verbosity.min(3) {
        for detail in report.details(verbosity) {
            let _ = writeln!(output, "{start}{detail}");
        }
    }
    if options.verbosity >= 3 {
        for metric in report.metrics() {
            let _ = writeln!(output, "{start}{}", described(metric));
        }
    }
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`, quoted only if need be.
fn perfdata(prefix: &str, metric: &Measured) -> String {
    let label = format!("{prefix}{}", metric.planned.label);
    let label = match label.contains(' ') {
        true => format!("'{label}'"),
        false => label,
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
    let mut answer = json_object(report);
    answer["check_suite"] = options.mode.name.into();
    answer["check_name"] = options.service_name.as_str().into();
    if !report.brokers().is_empty() {
        let brokers = report.brokers().iter().map(|(name, broker)| {
            let mut answer = json_object(broker);
            answer["name"] = name.as_str().into();
            answer
        });
        answer["brokers"] = brokers.collect();
    }
    format!("{answer}\n")
}

fn json_object(report: &Report) -> serde_json::Value {
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
    json!({
        "status": report.status().word(),
        "critical": texts(Status::Critical),
        "warning": texts(Status::Warning),
        "unknown": texts(Status::Unknown),
        "ok": texts(Status::Ok),
        "perf_data": metrics,
    })
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
    let item = format!("item=\"{item}\"");
    for metric in report.metrics() {
        let label = &metric.planned.label;
        write_samples(&mut output, &prefix, label, &[(item.clone(), metric)]);
    }
    // All brokers have the same metrics in the same order; the samples of one stay together.
    let of_first = report.brokers().first().map(|(_, broker)| broker.metrics());
    for (number, metric) in of_first.unwrap_or_default().iter().enumerate() {
        let samples = report.brokers().iter().map(|(broker, report)| {
            let broker = broker.replace('\\', "\\\\").replace('"', "\\\"");
            let labels = format!("{item},broker=\"{broker}\"");
            (labels, &report.metrics()[number])
        });
        let samples: Vec<_> = samples.collect();
        write_samples(&mut output, &prefix, &metric.planned.label, &samples);
    }
    output
}

/// Help, type and samples of a metric, each with its labels; nothing if none has a value.
fn write_samples(output: &mut String, prefix: &str, label: &str, samples: &[(String, &Measured)]) {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let label: String = label.chars().map(fits).collect();
    let name = format!("{prefix}_{label}");
    let mut head = format!("# HELP {name} Value {label} of the check\n# TYPE {name} gauge\n");
    for (labels, metric) in samples {
        if let Some(value) = metric.value {
            output.push_str(&std::mem::take(&mut head));
            let _ = writeln!(output, "{name}{{{labels}}} {}", decimal(value));
        }
    }
}

fn text(report: &Report, options: &Options) -> String {
    let mut output = format!("{}: {}\n", options.service_name, report.status());
    write_text(&mut output, report, options);
    for (name, broker) in report.brokers() {
        let _ = writeln!(output, "{name}: {}", broker.status());
        write_text(&mut output, broker, options);
    }
    output
}

fn write_text(output: &mut String, report: &Report, options: &Options) {
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
