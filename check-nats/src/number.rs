//! Numbers of a report. Whole ones are kept exactly: a total of a broker has up to 64 bits,
//! of which an `f64` keeps 53.

use std::fmt;

use serde_json::Value;

/// Real numbers beyond this are no measurement, and would need hundreds of digits.
const REAL_MAX: f64 = 1e18;

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole one.
    Whole(i128),
    /// Any other.
    Real(f64),
}

impl Number {
    /// The nearest `f64`, for thresholds.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// Itself, unless it is infinite, not a number, or too large for a measurement.
    pub fn measured(self) -> Option<Self> {
        match self {
            Self::Real(number) if !number.is_finite() || number.abs() > REAL_MAX => None,
            number => Some(number),
        }
    }

    /// As JSON; `null` if JSON cannot express it.
    pub fn json(self) -> Value {
        match self {
            Self::Whole(number) => match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => Value::Null,
            },
            Self::Real(number) => number.into(),
        }
    }
}

impl fmt::Display for Number {
    /// As plain decimals, at most six after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Whole(number) => return number.fmt(f),
            Self::Real(number) => format!("{number:.6}"),
        };
        match text.trim_end_matches('0').trim_end_matches('.') {
            "-0" => f.write_str("0"),
            text => f.write_str(text),
        }
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        // An address has at most 64 bits.
        Self::Whole(number as i128)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_are_exact() {
        for (number, text) in [
            (Number::from(i64::MAX), "9223372036854775807"),
            (Number::from(i64::MIN), "-9223372036854775808"),
            (Number::from(u64::MAX), "18446744073709551615"),
            (Number::from(0_u64), "0"),
        ] {
            assert_eq!(number.to_string(), text);
            assert_eq!(number.json().to_string(), text);
            assert_eq!(number.measured(), Some(number));
        }
    }

    #[test]
    fn real_numbers_are_plain_and_measurable() {
        for (number, text) in [
            (100.0, "100"),
            (-0.0, "0"),
            (0.000_000_1, "0"),
            (-0.25, "-0.25"),
            (1e15, "1000000000000000"),
        ] {
            assert_eq!(Number::from(number).to_string(), text);
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e19] {
            assert_eq!(Number::from(number).measured(), None);
        }
        assert_eq!(Number::from(f64::NAN).json(), Value::Null);
    }

    proptest! {
        /// Whatever the number, it is written in the alphabet of perfdata.
        #[test]
        fn decimals_are_plain(value in -1e300_f64..1e300) {
            let text = Number::from(value).to_string();
            prop_assert!(text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'));
            prop_assert!((text.parse::<f64>().unwrap() - value).abs() <= value.abs() * 1e-9 + 1e-6);
        }
    }
}
