//! Threshold ranges, `[@]start:end`, in the syntax of every Nagios plugin.
//!
//! A range is written in the unit of its metric, with the usual suffixes (`500ms`,
//! `64MiB`), or in percent of the metric's limit (`80%`). Perfdata needs it in the base
//! unit; what was written without a suffix is repeated unchanged.

#[cfg(test)]
mod tests;

use std::fmt;

use super::text::decimal;

/// The unit of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// A number of things, or things per second.
    Count,
    /// A total that only grows, until the broker restarts.
    Counter,
    /// Percent.
    Percent,
    /// Seconds.
    Seconds,
}

/// When a value is worth an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    written: String,
    /// With `@`: inside alerts, instead of outside.
    inside: bool,
    start: Start,
    /// `None` is positive infinity.
    end: Option<Bound>,
}

/// A range whose limit is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    inside: bool,
    low: f64,
    high: f64,
}

/// Why a text is no range. The text repeats what was written and what to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RangeError(String);

#[derive(Clone, Debug, PartialEq)]
enum Start {
    At(Bound),
    /// Not written, and no colon either: `10`.
    Zero,
    /// `~`
    MinusInfinity,
}

#[derive(Clone, Debug, PartialEq)]
struct Bound {
    /// In the base unit, or in percent of the limit.
    value: f64,
    of_limit: bool,
    /// The number as written, when it had no suffix.
    plain: Option<String>,
}

impl Unit {
    /// The unit of measurement behind a perfdata value.
    pub fn uom(self) -> &'static str {
        match self {
            Self::Bytes => "B",
            Self::BytesPerSecond | Self::Count => "",
            Self::Counter => "c",
            Self::Percent => "%",
            Self::Seconds => "s",
        }
    }

    /// Suffixes with their factors to the base unit.
    fn suffixes(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Bytes | Self::BytesPerSecond => &[
                ("B", 1.0),
                ("KB", 1e3),
                ("MB", 1e6),
                ("GB", 1e9),
                ("TB", 1e12),
                ("KiB", 1024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
                ("TiB", 1_099_511_627_776.0),
            ],
            Self::Count | Self::Counter => &[],
            Self::Percent => &[("%", 1.0)],
            Self::Seconds => &[
                ("us", 1e-6),
                ("ms", 1e-3),
                ("s", 1.0),
                ("m", 60.0),
                ("h", 3600.0),
                ("d", 86400.0),
                ("w", 604_800.0),
            ],
        }
    }
}

impl Range {
    /// Reads a range for a metric in `unit`.
    ///
    /// # Errors
    /// [`RangeError`] for anything that is not one, such as `10:5`, `1e3` or
    /// an unknown suffix.
    pub fn parse(written: &str, unit: Unit) -> Result<Self, RangeError> {
        let fail = |why: String| RangeError(format!("range \"{written}\": {why}"));
        let (inside, body) = match written.strip_prefix('@') {
            Some(body) => (true, body),
            None => (false, written),
        };
        let bound = |text: &str| Bound::parse(text, unit).map_err(fail);
        let (start, end) = match body.split_once(':') {
            None if body.is_empty() => {
                return Err(fail("is empty: write for example 10 or 5:10".into()));
            }
            None => (Start::Zero, Some(bound(body)?)),
            Some(("", "")) => return Err(fail("has neither start nor end".into())),
            Some((start, end)) => {
                let start = match start {
                    "" => Start::Zero,
                    "~" => Start::MinusInfinity,
                    text => Start::At(bound(text)?),
                };
                let end = match end {
                    "" => None,
                    text => Some(bound(text)?),
                };
                (start, end)
            }
        };
        check_order(&start, end.as_ref()).map_err(fail)?;
        Ok(Self {
            written: written.to_owned(),
            inside,
            start,
            end,
        })
    }

    /// The range in numbers. `None` when it is relative to a limit that is not known.
    pub fn limits(&self, limit: Option<f64>) -> Option<Limits> {
        let low = match &self.start {
            Start::At(bound) => bound.resolve(limit)?,
            Start::Zero => 0.0,
            Start::MinusInfinity => f64::NEG_INFINITY,
        };
        let high = match &self.end {
            Some(bound) => bound.resolve(limit)?,
            None => f64::INFINITY,
        };
        Some(Limits {
            inside: self.inside,
            low,
            high,
        })
    }

    /// The range for perfdata: in the base unit, in the shape it was written.
    /// `None` when it is relative to a limit that is not known.
    pub fn perfdata(&self, limit: Option<f64>) -> Option<String> {
        let mut text = String::new();
        if self.inside {
            text.push('@');
        }
        match &self.start {
            Start::At(bound) => text.push_str(&bound.perfdata(limit)?),
            Start::Zero if self.has_colon() => text.push('0'),
            Start::Zero => (),
            Start::MinusInfinity => text.push('~'),
        }
        if self.has_colon() {
            text.push(':');
        }
        if let Some(bound) = &self.end {
            text.push_str(&bound.perfdata(limit)?);
        }
        Some(text)
    }

    /// Whether an end is in percent of a limit.
    pub fn is_relative(&self) -> bool {
        let start = match &self.start {
            Start::At(bound) => bound.of_limit,
            Start::Zero | Start::MinusInfinity => false,
        };
        start || self.end.as_ref().is_some_and(|end| end.of_limit)
    }

    fn has_colon(&self) -> bool {
        self.written.contains(':')
    }
}

impl fmt::Display for Range {
    /// As written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Limits {
    /// Whether `value` is worth an alert. Both ends belong to the range.
    pub fn alerts(self, value: f64) -> bool {
        let within = self.low <= value && value <= self.high;
        within == self.inside
    }

    /// Whether `other` alerts at every value at which this one alerts.
    pub fn alerts_only_with(self, other: Self) -> bool {
        self.alerting()
            .into_iter()
            .flatten()
            .all(|part| other.alerts_throughout(part))
    }

    /// The values at which it alerts.
    fn alerting(self) -> [Option<Interval>; 2] {
        let open = |from: f64, to: f64| {
            let part = Interval {
                from,
                to,
                has_ends: false,
            };
            (from < to).then_some(part)
        };
        match self.inside {
            true => [
                Some(Interval {
                    from: self.low,
                    to: self.high,
                    has_ends: true,
                }),
                None,
            ],
            false => [
                open(f64::NEG_INFINITY, self.low),
                open(self.high, f64::INFINITY),
            ],
        }
    }

    fn alerts_throughout(self, part: Interval) -> bool {
        let Interval { from, to, has_ends } = part;
        match self.inside {
            true => self.low <= from && to <= self.high,
            false if has_ends => to < self.low || self.high < from,
            false => to <= self.low || self.high <= from,
        }
    }
}

/// Values next to each other, with their ends or without.
#[derive(Clone, Copy)]
struct Interval {
    from: f64,
    to: f64,
    has_ends: bool,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RangeError {}

impl Bound {
    fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        let (value, suffix) = split_number(text)?;
        let number = &text[..text.len() - suffix.len()];
        if suffix.is_empty() {
            return Ok(Self {
                value,
                of_limit: false,
                plain: Some(number.to_owned()),
            });
        }
        if suffix == "%" && unit != Unit::Percent {
            return Ok(Self {
                value,
                of_limit: true,
                plain: None,
            });
        }
        Ok(Self {
            value: value * factor(suffix, unit)?,
            of_limit: false,
            plain: None,
        })
    }

    fn resolve(&self, limit: Option<f64>) -> Option<f64> {
        match self.of_limit {
            true => limit.map(|limit| limit * self.value / 100.0),
            false => Some(self.value),
        }
    }

    fn perfdata(&self, limit: Option<f64>) -> Option<String> {
        match &self.plain {
            Some(number) => Some(number.clone()),
            None => self.resolve(limit).map(decimal),
        }
    }
}

/// A single number in `unit`, such as `5s`; for options that are no ranges.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_quantity(text: &str, unit: Unit) -> Result<f64, String> {
    match split_number(text)? {
        (value, "") => Ok(value),
        (value, suffix) => Ok(value * factor(suffix, unit)?),
    }
}

fn factor(suffix: &str, unit: Unit) -> Result<f64, String> {
    let known = unit.suffixes();
    if let Some((_, factor)) = known.iter().find(|(name, _)| *name == suffix) {
        return Ok(*factor);
    }
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    Err(match names.is_empty() {
        true => format!("unknown suffix \"{suffix}\": write a plain number"),
        false => format!(
            "unknown suffix \"{suffix}\": use one of {}",
            names.join(", ")
        ),
    })
}

/// Splits `-12.5ms` into the number and the suffix.
fn split_number(text: &str) -> Result<(f64, &str), String> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits_end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let suffix = &unsigned[digits_end..];
    let number = &text[..text.len() - suffix.len()];
    let value: f64 = number
        .parse()
        .map_err(|_| format!("\"{text}\" is not a decimal number"))?;
    if !value.is_finite() {
        return Err(format!("\"{text}\" is too large"));
    }
    Ok((value, suffix))
}

fn check_order(start: &Start, end: Option<&Bound>) -> Result<(), String> {
    let (low, of_limit) = match start {
        Start::At(bound) => (bound.value, bound.of_limit),
        Start::Zero => (0.0, false),
        Start::MinusInfinity => return Ok(()),
    };
    let Some(end) = end else { return Ok(()) };
    // Zero is the same in percent as in any unit.
    if of_limit != end.of_limit && low != 0.0 && end.value != 0.0 {
        return Err("one end is in percent: write both so".into());
    }
    match low <= end.value {
        true => Ok(()),
        false => Err("the start is above the end".into()),
    }
}
