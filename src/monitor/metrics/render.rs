//! Metrics as text: the Prometheus exposition format 0.0.4 and OpenMetrics 1.0.

use std::fmt::Write;

use super::{
    sample::{Labels, Samples, Value},
    table::{Kind, Metric},
};

/// How metrics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::monitor) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

impl Format {
    /// The media type.
    pub(in crate::monitor) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes a metric with its values; nothing if it has none.
pub(super) fn family(text: &mut String, format: Format, metric: &Metric, samples: &Samples) {
    if samples.is_empty() {
        return;
    }
    let name = metric.name;
    let suffix = metric.kind.suffix();
    match format {
        Format::OpenMetrics => head(text, name, metric.kind.name(), metric.help),
        Format::Text => {
            // The format has no info: it is a gauge that is 1.
            let kind = match metric.kind {
                Kind::Info => Kind::Gauge,
                kind => kind,
            };
            head(text, &format!("{name}{suffix}"), kind.name(), metric.help);
        }
    }
    if format == Format::OpenMetrics && !metric.unit.is_empty() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# UNIT {name} {}", metric.unit);
    }
    for sample in samples.iter() {
        let labels = &sample.labels;
        match &sample.value {
            Value::Number(value) => line(text, name, suffix, labels, *value),
            Value::Times {
                buckets,
                count,
                sum,
            } => {
                for (bound, below) in buckets {
                    bucket(text, name, labels, &go_number(*bound), *below);
                }
                bucket(text, name, labels, "+Inf", *count);
                line(text, name, "_sum", labels, *sum);
                line(text, name, "_count", labels, *count as f64);
            }
        }
    }
}

/// Writes how many times were up to a bound.
fn bucket(text: &mut String, name: &str, labels: &Labels, bound: &str, below: u64) {
    let mut labels = labels.clone();
    labels.push(("le", bound.to_owned()));
    line(text, name, "_bucket", &labels, below as f64);
}

/// A bound as Go writes it, which OpenMetrics requires: in exponents of at least two
/// digits below a ten-thousandth.
fn go_number(bound: f64) -> String {
    if bound == 0.0 || bound >= 1e-4 {
        return number(bound);
    }
    let text = format!("{bound:e}");
    match text.split_once("e-") {
        Some((digits, power)) => format!("{digits}e-{power:0>2}"),
        None => text,
    }
}

/// Writes the lines before a metric's values.
pub(super) fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} ");
    escape(text, help);
    let _ = write!(text, "\n# TYPE {name} {kind}\n");
}

/// Writes one value.
pub(super) fn line(text: &mut String, name: &str, suffix: &str, labels: &Labels, value: f64) {
    text.push_str(name);
    text.push_str(suffix);
    for (index, (label, of)) in labels.iter().enumerate() {
        text.push_str(if index == 0 { "{" } else { "," });
        text.push_str(label);
        text.push_str("=\"");
        escape(text, of);
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    text.push(' ');
    text.push_str(&number(value));
    text.push('\n');
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        // Nan is written as the format has it, NaN.
        value => value.to_string(),
    }
}

fn escape(text: &mut String, raw: &str) {
    for symbol in raw.chars() {
        match symbol {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram::Distribution;

    fn rendered(format: Format, kind: Kind, unit: &'static str, samples: &Samples) -> String {
        let metric = Metric {
            name: "m_bytes",
            kind,
            unit,
            help: "Says what it is.",
            read: |_, _| {},
        };
        let mut text = String::new();
        family(&mut text, format, &metric, samples);
        text
    }

    #[test]
    fn a_counter_is_named_as_each_format_has_it() {
        let mut samples = Samples::default();
        samples.add_for("who", "a\"b\\c\nd", 1_u64 << 53);
        assert_eq!(
            rendered(Format::Text, Kind::Counter, "bytes", &samples),
            "# HELP m_bytes_total Says what it is.\n# TYPE m_bytes_total counter\n\
             m_bytes_total{who=\"a\\\"b\\\\c\\nd\"} 9007199254740992\n"
        );
        assert_eq!(
            rendered(Format::OpenMetrics, Kind::Counter, "bytes", &samples),
            "# HELP m_bytes Says what it is.\n# TYPE m_bytes counter\n# UNIT m_bytes bytes\n\
             m_bytes_total{who=\"a\\\"b\\\\c\\nd\"} 9007199254740992\n"
        );
    }

    #[test]
    fn an_info_is_a_gauge_where_there_is_no_info() {
        let mut samples = Samples::default();
        samples.add(true);
        assert!(
            rendered(Format::Text, Kind::Info, "", &samples)
                .contains("# TYPE m_bytes_info gauge\nm_bytes_info 1\n")
        );
        assert!(
            rendered(Format::OpenMetrics, Kind::Info, "", &samples)
                .contains("# TYPE m_bytes info\nm_bytes_info 1\n")
        );
    }

    #[test]
    fn times_are_a_classic_histogram() {
        let mut times = Distribution::default();
        times.record(9);
        times.record(300_000_000);
        let mut samples = Samples::default();
        samples.add_times(vec![("kind", "client".into())], &times);
        let text = rendered(Format::Text, Kind::Histogram, "", &samples);
        for line in [
            "# TYPE m_bytes histogram",
            "m_bytes_bucket{kind=\"client\",le=\"8e-06\"} 0",
            "m_bytes_bucket{kind=\"client\",le=\"1.6e-05\"} 1",
            "m_bytes_bucket{kind=\"client\",le=\"0.000128\"} 1",
            "m_bytes_bucket{kind=\"client\",le=\"134.217728\"} 1",
            "m_bytes_bucket{kind=\"client\",le=\"+Inf\"} 2",
            "m_bytes_sum{kind=\"client\"} 300.000009",
            "m_bytes_count{kind=\"client\"} 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        assert_eq!(
            rendered(Format::Text, Kind::Gauge, "", &Samples::default()),
            ""
        );
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(0.25), "0.25");
    }
}
