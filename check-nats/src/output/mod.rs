//! Draws a report: for Nagios, as JSON, as OpenMetrics, or for people. One file a format.

mod json;
mod nagios;
mod openmetrics;
#[cfg(test)]
mod tests;
mod text;

use std::fmt::Write;

use super::{
    metric::Threshold,
    options::{Format, Options},
    report::{Measured, Report},
    status::Failure,
    text::{decimal, harmless},
};

/// The whole output, with a line end.
pub fn draw(report: &Report, options: &Options) -> String {
    let format = match options.format {
        Format::Json => json::draw,
        Format::Nagios => nagios::draw,
        Format::OpenMetrics => openmetrics::draw,
        Format::Text => text::draw,
    };
    format(report, options)
}

/// First word of the output of a run that could not begin.
const SERVICE: &str = "NATS";

/// The output of a run that could not begin, so that it has neither a mode nor a name.
pub fn draw_failure(failure: &Failure, format: Format) -> String {
    let mut report = Report::default();
    report.fail(failure);
    match format {
        Format::Json => json::draw_unnamed(&report, SERVICE),
        Format::Nagios | Format::Text => nagios::draw_unnamed(&report, SERVICE),
        Format::OpenMetrics => openmetrics::draw_unnamed(&report, SERVICE),
    }
}

/// A metric with its thresholds as written, for people.
fn described(metric: &Measured) -> String {
    let uom = metric.planned.unit.uom();
    let label = harmless(&metric.planned.label);
    let mut line = match metric.value {
        Some(value) => format!("{label} = {value} {uom}"),
        None => format!("{label} is unknown"),
    };
    line.truncate(line.trim_end().len());
    let [warning, critical] = metric.planned.thresholds(metric.limit);
    for (word, threshold) in [("warning", warning), ("critical", critical)] {
        if let Some(range) = written(threshold) {
            let _ = write!(line, ", {word} {range}");
        }
    }
    if let Some(limit) = metric.limit {
        let _ = write!(line, ", limit {}", decimal(limit));
    }
    line
}

fn written(threshold: Option<&Threshold>) -> Option<String> {
    threshold.map(|threshold| threshold.range.to_string())
}
