//! Threshold ranges, `[@]start:end`, in the syntax of every Nagios plugin.
//!
//! A range is written in the unit of its metric, with the usual suffixes (`500ms`,
//! `64MiB`), or in percent of the metric's limit (`80%`). Perfdata needs it in the base
//! unit; what was written without a suffix is repeated unchanged.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(written: &str) -> Limits {
        Range::parse(written, Unit::Count)
            .unwrap()
            .limits(None)
            .unwrap()
    }

    /// Each range with the values that alert and those that do not.
    #[test]
    fn ranges_alert_as_written() {
        let cases: &[(&str, &[f64], &[f64])] = &[
            ("10", &[-0.1, 10.1], &[0.0, 5.0, 10.0]),
            ("10:", &[9.9, -1.0], &[10.0, 1e9]),
            ("~:10", &[10.1], &[-1e9, 10.0]),
            ("10:20", &[9.9, 20.1], &[10.0, 20.0]),
            ("@10:20", &[10.0, 15.0, 20.0], &[9.9, 20.1]),
            ("0", &[-1.0, 0.1], &[0.0]),
            ("0:0", &[-1.0, 0.1], &[0.0]),
            ("@0", &[0.0], &[-0.1, 0.1]),
            (":10", &[-0.1, 10.1], &[0.0, 10.0]),
            ("~:", &[], &[-1e300, 0.0, 1e300]),
            ("@~:", &[-1e300, 0.0, 1e300], &[]),
            ("@~:0", &[-5.0, 0.0], &[0.1]),
            ("-5:-1", &[-5.1, 0.0], &[-5.0, -1.0]),
            ("-5:", &[-5.1], &[-5.0, 0.0]),
            ("0.5:1.5", &[0.49, 1.51], &[0.5, 1.5]),
            (".5", &[0.51], &[0.5]),
            ("5:5", &[4.9, 5.1], &[5.0]),
        ];
        for (written, alerting, quiet) in cases {
            let limits = count(written);
            for value in *alerting {
                assert!(limits.alerts(*value), "{value} must alert at {written}");
            }
            for value in *quiet {
                assert!(
                    !limits.alerts(*value),
                    "{value} must not alert at {written}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let wrong = [
            "",
            "@",
            ":",
            "@:",
            "10:5",
            "-1",
            "1e3",
            "NaN",
            "inf",
            "0x10",
            " 10",
            "10 ",
            "1 0",
            "10:20:30",
            "5:~",
            "~",
            "~10",
            "~5:10",
            "+5",
            "1,5",
            "-",
            ".",
            "--1",
            "1.2.3",
            "10@",
            "@@10",
            "10:NaN",
            "10s",
            "50%:60",
            "٣",
            "10:\u{a0}",
        ];
        for written in wrong {
            let error = Range::parse(written, Unit::Count).expect_err(written);
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("range \"{written}\": ")),
                "{error}"
            );
        }
        let huge = "9".repeat(400);
        assert!(Range::parse(&huge, Unit::Count).is_err());
    }

    #[test]
    fn suffixes_belong_to_the_unit() {
        let perfdata = |written, unit| Range::parse(written, unit).unwrap().perfdata(None).unwrap();
        assert_eq!(perfdata("500ms", Unit::Seconds), "0.5");
        assert_eq!(perfdata("200us:1m", Unit::Seconds), "0.0002:60");
        assert_eq!(perfdata("10m:", Unit::Seconds), "600:");
        assert_eq!(perfdata("@1h:2d", Unit::Seconds), "@3600:172800");
        assert_eq!(perfdata("64MiB", Unit::Bytes), "67108864");
        assert_eq!(perfdata("1KB:2KiB", Unit::BytesPerSecond), "1000:2048");
        assert_eq!(perfdata("80%", Unit::Percent), "80");
        assert!(Range::parse("5mb", Unit::Bytes).is_err());
        assert!(Range::parse("5m", Unit::Count).is_err());
        assert_eq!(parse_quantity("5s", Unit::Seconds), Ok(5.0));
        assert!(parse_quantity("5%", Unit::Seconds).is_err());
    }

    #[test]
    fn percent_needs_a_limit() {
        let range = Range::parse("80%", Unit::Count).unwrap();
        assert_eq!(range.limits(None), None);
        assert_eq!(range.perfdata(None), None);
        assert_eq!(range.perfdata(Some(1000.0)).as_deref(), Some("800"));
        let limits = range.limits(Some(1000.0)).unwrap();
        assert!(!limits.alerts(800.0));
        assert!(limits.alerts(801.0));
        let both = Range::parse("@10%:20%", Unit::Bytes).unwrap();
        assert_eq!(both.perfdata(Some(50.0)).as_deref(), Some("@5:10"));
        assert_eq!(both.to_string(), "@10%:20%");
    }

    #[test]
    fn one_range_may_alert_only_where_another_does() {
        for (narrow, wide) in [
            ("2", "0.5"),
            ("2", "~:0.5"),
            ("10:", "20:"),
            ("@10:20", "@5:30"),
            ("@11:20", "10"),
            ("10", "@~:"),
            ("~:", "10"),
            ("10", "10"),
        ] {
            assert!(count(narrow).alerts_only_with(count(wide)), "{narrow} {wide}");
        }
        for (one, other) in [
            ("0.5", "2"),
            ("10:", "100"),
            ("@10:20", "@15:30"),
            ("@10:20", "10"),
            ("10", "@10:20"),
            ("@~:", "10"),
        ] {
            assert!(!count(one).alerts_only_with(count(other)), "{one} {other}");
        }
        let is_relative = |written| Range::parse(written, Unit::Count).unwrap().is_relative();
        assert!(is_relative("80%") && is_relative("@0:5%") && is_relative("10%:"));
        assert!(!is_relative("80") && !is_relative("~:80"));
    }

    #[test]
    fn perfdata_repeats_what_was_plain() {
        for written in [
            "10", "10.50", "~:10", "@10:20", "10:", "0:0", "@~:", "-5:-1",
        ] {
            let range = Range::parse(written, Unit::Count).unwrap();
            assert_eq!(range.perfdata(None).as_deref(), Some(written));
        }
        // The grammar of perfdata knows no empty start.
        let range = Range::parse(":10", Unit::Count).unwrap();
        assert_eq!(range.perfdata(None).as_deref(), Some("0:10"));
    }

    proptest! {
        /// Against the rules written down naively: whole numbers, one case each.
        #[test]
        fn agrees_with_a_naive_model(
            inside: bool,
            start in prop_oneof![Just(None), Just(Some(i32::MIN)), (-50..50).prop_map(Some)],
            end in prop_oneof![Just(None), (-50..50_i32).prop_map(Some)],
            value in -60..60_i32,
        ) {
            let start_text = match start {
                None => String::new(),
                Some(i32::MIN) => "~:".to_owned(),
                Some(start) => format!("{start}:"),
            };
            let end_text = end.map_or(String::new(), |end: i32| end.to_string());
            let at = if inside { "@" } else { "" };
            let written = format!("{at}{start_text}{end_text}");
            let low = start.unwrap_or(0);
            let high = end.unwrap_or(i32::MAX);
            let parsed = Range::parse(&written, Unit::Count);
            let valid = low <= high && (start.is_some() || end.is_some());
            prop_assert_eq!(parsed.is_ok(), valid, "{}", written);
            if let Ok(range) = parsed {
                let alerts = range.limits(None).unwrap().alerts(f64::from(value));
                let outside = value < low || value > high;
                prop_assert_eq!(alerts, outside != inside, "{} at {}", written, value);
                prop_assert_eq!(range.perfdata(None).unwrap(), written);
            }
        }

        /// What the comparison of two ranges says holds for every value.
        #[test]
        fn comparisons_hold_for_all_values(
            one in "@?(~:|-?[0-9]:)?-?[0-9]|@?-?[0-9]:",
            other in "@?(~:|-?[0-9]:)?-?[0-9]|@?-?[0-9]:",
        ) {
            let parse = |written: &str| Range::parse(written, Unit::Count).ok()?.limits(None);
            if let (Some(one), Some(other)) = (parse(&one), parse(&other)) {
                let values = (-200..=200).map(|value| f64::from(value) / 10.0);
                let alerts_with = |value| !one.alerts(value) || other.alerts(value);
                prop_assert_eq!(one.alerts_only_with(other), values.clone().all(alerts_with));
            }
        }

        /// Any text is a range or a refusal, and a range's perfdata is one again.
        #[test]
        fn any_text_is_answered(text in "[@~:0-9.%eEmsKiB+ -]{0,12}|\\PC{0,12}") {
            if let Ok(range) = Range::parse(&text, Unit::Seconds)
                && let Some(perfdata) = range.perfdata(Some(7.0))
            {
                prop_assert!(Range::parse(&perfdata, Unit::Seconds).is_ok(), "{} {}", text, perfdata);
            }
        }
    }
}
