//! The values of a metric at one moment.

use crate::telemetry::histogram::Distribution;

/// The values of one metric, each with its labels.
#[derive(Default)]
pub(super) struct Samples(Vec<Sample>);

/// One value.
pub(super) struct Sample {
    /// Names and values of the labels.
    pub(super) labels: Labels,
    /// The value.
    pub(super) value: Value,
}

/// A number, or many times.
pub(super) enum Value {
    /// A total or a level.
    Number(f64),
    /// How many times were how long.
    Times {
        /// Upper bounds in seconds, with the number of times up to them.
        buckets: Vec<(f64, u64)>,
        /// How many times there are.
        count: u64,
        /// Their sum, in seconds.
        sum: f64,
    },
}

/// Names and values of labels.
pub(super) type Labels = Vec<(&'static str, String)>;

impl Samples {
    /// A value without labels.
    pub(super) fn add(&mut self, value: impl Number) {
        self.add_labelled(Vec::new(), value);
    }

    /// A value with one label.
    pub(super) fn add_for(&mut self, name: &'static str, of: &str, value: impl Number) {
        self.add_labelled(vec![(name, of.to_owned())], value);
    }

    /// A value with labels.
    pub(super) fn add_labelled(&mut self, labels: Labels, value: impl Number) {
        self.0.push(Sample {
            labels,
            value: Value::Number(value.number()),
        });
    }

    /// Times with labels.
    pub(super) fn add_times(&mut self, labels: Labels, times: &Distribution) {
        self.0.push(Sample {
            labels,
            value: Value::Times {
                buckets: times.octaves(),
                count: times.count(),
                sum: times.sum(),
            },
        });
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A number as Prometheus represents it; that is a floating point number, so totals above
/// 2^53 lose their last digits there.
pub(super) trait Number {
    /// The number.
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for i64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}
