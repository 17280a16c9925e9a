//! OpenMetrics 1.0, by the names of `nats server check`; an unknown metric is absent. The
//! older Prometheus text format is read from it as well.

use std::{collections::BTreeSet, fmt::Write};

use crate::{options::Options, range::Unit, report::Report};

/// Prefix of the metrics, as in `nats server check`.
const NAMESPACE: &str = "nats_server_check";

pub(super) fn draw(report: &Report, options: &Options) -> String {
    let prefix = format!("{NAMESPACE}_{}", name_of(options.mode.name));
    let item = escaped(&options.service_name).replace('"', "\\\"");
    let status = report.status();
    let mut output = String::new();
    let _ = write!(
        output,
        "# HELP {prefix}_status_code Result of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN\n\
         # TYPE {prefix}_status_code gauge\n\
         {prefix}_status_code{{item=\"{item}\",status=\"{status}\"}} {}\n",
        status.code()
    );
    // Two labels may differ in characters that a name cannot have.
    let mut written = BTreeSet::from(["status_code".to_owned()]);
    for metric in report.metrics() {
        let name = name_of(&metric.planned.label);
        let Some(value) = metric.value else { continue };
        if !written.insert(name.clone()) {
            continue;
        }
        let (kind, ending) = match metric.planned.unit {
            Unit::Counter => ("counter", "_total"),
            _ => ("gauge", ""),
        };
        let help = escaped(metric.planned.help);
        let _ = write!(
            output,
            "# HELP {prefix}_{name} {help}\n\
             # TYPE {prefix}_{name} {kind}\n\
             {prefix}_{name}{ending}{{item=\"{item}\"}} {value}\n"
        );
    }
    output.push_str("# EOF\n");
    output
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
