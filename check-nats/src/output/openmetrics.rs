//! OpenMetrics 1.0, by the names of `nats server check`; an unknown metric is absent. The
//! older Prometheus text format is read from it as well.

use std::{collections::BTreeSet, fmt::Write};

use crate::{
    options::Options,
    range::Unit,
    report::{Measured, Report},
    status::Status,
};

/// Prefix of the metrics, as in `nats server check`.
const NAMESPACE: &str = "nats_server_check";

pub(super) fn draw(report: &Report, options: &Options) -> String {
    let prefix = format!("{NAMESPACE}_{}", name_of(options.mode.name));
    let item = escaped(&options.service_name).replace('"', "\\\"");
    let help = "Result of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN";
    let mut output = status_code(&prefix, help, &item, report.status());
    // Two labels may differ in characters that a name cannot have.
    let mut written = BTreeSet::from(["status_code".to_owned()]);
    let item = format!("item=\"{item}\"");
    for metric in report.metrics() {
        if written.insert(name_of(&metric.planned.label)) {
            write_samples(&mut output, &prefix, &[(item.clone(), metric)]);
        }
    }
    // All brokers have the same metrics in the same order; the samples of one stay together.
    let of_first = report.brokers().first().map(|(_, broker)| broker.metrics());
    for (number, metric) in of_first.unwrap_or_default().iter().enumerate() {
        if written.insert(name_of(&metric.planned.label)) {
            let samples = report.brokers().iter().map(|(name, broker)| {
                let name = escaped(name).replace('"', "\\\"");
                (
                    format!("{item},broker=\"{name}\""),
                    &broker.metrics()[number],
                )
            });
            write_samples(&mut output, &prefix, &samples.collect::<Vec<_>>());
        }
    }
    output.push_str("# EOF\n");
    output
}

/// The report of a run without a mode: its only comment has the text.
pub(super) fn draw_unnamed(report: &Report, service: &str) -> String {
    let texts: Vec<&str> = report.statements().iter().map(|one| &*one.text).collect();
    let help = escaped(&texts.join(", "));
    status_code(NAMESPACE, &help, &escaped(service), report.status()) + "# EOF\n"
}

fn status_code(prefix: &str, help: &str, item: &str, status: Status) -> String {
    format!(
        "# HELP {prefix}_status_code {help}\n\
         # TYPE {prefix}_status_code gauge\n\
         {prefix}_status_code{{item=\"{item}\",status=\"{status}\"}} {}\n",
        status.code()
    )
}

/// A metric and its samples, each with its labels; nothing if none of them has a value.
fn write_samples(output: &mut String, prefix: &str, samples: &[(String, &Measured)]) {
    let Some((_, metric)) = samples.iter().find(|(_, metric)| metric.value.is_some()) else {
        return;
    };
    let name = format!("{prefix}_{}", name_of(&metric.planned.label));
    let (kind, ending) = match metric.planned.unit {
        Unit::Counter => ("counter", "_total"),
        _ => ("gauge", ""),
    };
    let help = escaped(metric.planned.help);
    let _ = write!(output, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, metric) in samples {
        if let Some(value) = metric.value {
            let _ = writeln!(output, "{name}{ending}{{{labels}}} {value}");
        }
    }
}

/// A text as a part of a metric's name.
fn name_of(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    text.chars().map(fits).collect()
}

/// A text in which a backslash is one; line ends are not in it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
}
