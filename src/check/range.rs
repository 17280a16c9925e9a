//! Threshold ranges, `[@]start:end`, as the Nagios plugin guidelines define them.

use std::fmt;

/// What a figure is compared with: it alerts outside of the range, or inside
/// when it was written with `@`. The ends belong to the range.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    inside: bool,
}

/// What the numbers of a range count.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// Plain numbers; with a limit, `N%` is a share of it.
    Number {
        /// What 100 % is.
        limit: Option<f64>,
    },
    /// Seconds; `ms` and `us` may be written.
    Seconds,
}

impl Range {
    /// Everything from nought to `end`.
    pub fn up_to(end: f64) -> Self {
        Self {
            start: 0.0,
            end,
            inside: false,
        }
    }

    /// Reads a range.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str, scale: Scale) -> Result<Self, String> {
        let error = |why: &str| format!("bad range {text:?}: {why}");
        let (inside, rest) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (start, end) = match rest.split_once(':') {
            Some((start, end)) => (start, end),
            None => ("", rest),
        };
        if start.is_empty() && end.is_empty() {
            return Err(error("it is empty"));
        }
        let start = match start {
            "" => 0.0,
            "~" => f64::NEG_INFINITY,
            number => scale
                .number(number)
                .ok_or_else(|| error("its start is no number"))?,
        };
        let end = match end {
            "" => f64::INFINITY,
            number => scale
                .number(number)
                .ok_or_else(|| error("its end is no number"))?,
        };
        if start > end {
            return Err(error("its start is above its end"));
        }
        Ok(Self { start, end, inside })
    }

    /// Whether `value` alerts.
    pub fn alerts(&self, value: f64) -> bool {
        (self.start <= value && value <= self.end) == self.inside
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
            f.write_str("@")?;
        }
        if self.start == f64::NEG_INFINITY {
            f.write_str("~:")?;
        } else if self.start != 0.0 || self.end == f64::INFINITY {
            write!(f, "{}:", decimal(self.start))?;
        }
        if self.end != f64::INFINITY {
            f.write_str(&decimal(self.end))?;
        }
        Ok(())
    }
}

impl Scale {
    fn number(self, text: &str) -> Option<f64> {
        let (digits, factor) = match self {
            Self::Number { limit: Some(limit) } => match text.strip_suffix('%') {
                Some(digits) => (digits, limit / 100.0),
                None => (text, 1.0),
            },
            Self::Number { limit: None } => (text, 1.0),
            Self::Seconds => {
                let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("", 1.0)];
                units
                    .iter()
                    .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?
            }
        };
        // Rust reads "inf", "nan" and "1e3" as numbers; a range has none of them.
        let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        match digits.bytes().all(plain) {
            true => digits.parse::<f64>().ok().map(|number| number * factor),
            false => None,
        }
    }
}

/// A number as performance data has it: decimal, without an exponent, with at
/// most six digits behind the point.
pub fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" | "" => "0".into(),
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Scale = Scale::Number { limit: None };

    fn alerts(range: &str, value: f64) -> bool {
        Range::parse(range, PLAIN).unwrap().alerts(value)
    }

    #[test]
    fn the_forms_of_the_guidelines() {
        for (range, quiet, alerting) in [
            ("10", vec![0.0, 5.0, 10.0], vec![-0.1, 10.1]),
            ("10:", vec![10.0, 1e9], vec![9.9, -1.0]),
            ("~:10", vec![-1e9, 10.0], vec![10.1]),
            ("10:20", vec![10.0, 20.0], vec![9.9, 20.1]),
            ("@10:20", vec![9.9, 20.1], vec![10.0, 15.0, 20.0]),
            ("0", vec![0.0], vec![0.1, -0.1]),
            ("0:0", vec![0.0], vec![1.0]),
            ("@0", vec![1.0, -1.0], vec![0.0]),
            (":10", vec![0.0, 10.0], vec![11.0]),
            ("-5:-1", vec![-5.0, -1.0], vec![0.0]),
            ("~:", vec![-1e9, 1e9], vec![]),
            ("@~:0", vec![0.1], vec![0.0, -1.0]),
            ("0.5", vec![0.5], vec![0.6]),
        ] {
            for value in quiet {
                assert!(!alerts(range, value), "{range} {value}");
            }
            for value in alerting {
                assert!(alerts(range, value), "{range} {value}");
            }
        }
    }

    #[test]
    fn what_is_no_range() {
        for text in [
            "", "@", ":", "@:", "10:5", "1e3", "inf", "nan", "~", "10%", "1 0", "a:b", "1:2:3",
            "--1",
        ] {
            assert!(Range::parse(text, PLAIN).is_err(), "{text:?}");
        }
    }

    #[test]
    fn units_and_shares() {
        let time = Range::parse("500ms", Scale::Seconds).unwrap();
        assert_eq!(time.to_string(), "0.5");
        let share = Range::parse("80%", Scale::Number { limit: Some(200.0) }).unwrap();
        assert_eq!(share.to_string(), "160");
    }

    proptest! {
        /// What is printed reads as the same range, and it alerts exactly where
        /// its definition says.
        #[test]
        fn printed_ranges_read_back(
            inside: bool,
            start in proptest::option::of(-1000i32..1000),
            end in proptest::option::of(-1000i32..1000),
            value in -1100i32..1100,
        ) {
            let start = start.map_or("~".to_owned(), |number| number.to_string());
            let end = end.map_or(String::new(), |number| number.to_string());
            let text = format!("{}{start}:{end}", if inside { "@" } else { "" });
            if let Ok(range) = Range::parse(&text, PLAIN) {
                prop_assert_eq!(&Range::parse(&range.to_string(), PLAIN).unwrap(), &range);
                let low = start.parse::<i32>().map_or(true, |start| value >= start);
                let high = end.parse::<i32>().map_or(true, |end| value <= end);
                prop_assert_eq!(range.alerts(f64::from(value)), (low && high) == inside);
            }
        }
    }
}
