//! Durations as Go writes them (`1m2.5s`, `472µs`) and the uptimes of
//! nats-server (`1y2d3h4m5s`).
//!
//! The broker's configuration, its routes and `midge top` read them here; the
//! page of the monitoring port does so by `goSeconds` in its own language.

use std::time::Duration;

/// Units and their nanoseconds; days and years are used in uptimes only.
const UNITS: [(&str, i128); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("y", 31_536_000_000_000_000),
];
/// How many of them Go knows.
const UNITS_OF_GO: usize = 8;

/// Digits of a fraction that can matter: an hour has less nanoseconds.
const FRACTION_DIGITS_MAX: usize = 15;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotADuration {
    /// It is written in another way.
    Malformed,
    /// It has a minus sign.
    Negative,
    /// It exceeds 64 bits of nanoseconds, the maximum in Go.
    TooLong,
}

/// Reads a duration that is not negative, by Go's rules.
///
/// # Errors
///
/// Where Go refuses it too, or it is negative.
pub fn go_duration(text: &str) -> Result<Duration, NotADuration> {
    if text.starts_with('-') {
        return Err(NotADuration::Negative);
    }
    match text.strip_prefix('+').unwrap_or(text) {
        "0" => Ok(Duration::ZERO),
        amounts => sum(amounts, &UNITS[..UNITS_OF_GO]),
    }
}

/// Reads an uptime of an answer; durations are uptimes too.
pub fn go_uptime(text: &str) -> Option<Duration> {
    sum(text, &UNITS).ok()
}

fn sum(text: &str, units: &[(&str, i128)]) -> Result<Duration, NotADuration> {
    use NotADuration::{Malformed, TooLong};
    let mut rest = text;
    let mut nanoseconds: i128 = 0;
    while !rest.is_empty() {
        let (amount, tail) = split_at_first(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, tail) = split_at_first(tail, |c| c.is_ascii_digit() || c == '.');
        let known = units.iter().find(|(known, _)| *known == unit);
        let (_, scale) = known.ok_or(Malformed)?;
        nanoseconds = scaled(amount, *scale)
            .and_then(|part| nanoseconds.checked_add(part))
            .ok_or(Malformed)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(Malformed);
    }
    let nanoseconds = i64::try_from(nanoseconds).map_err(|_| TooLong)?;
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| TooLong)?;
    Ok(Duration::from_nanos(nanoseconds))
}

fn split_at_first(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// A decimal number such as `1.5`, `.5` or `5.`, times `scale`.
fn scaled(amount: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = match whole {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let digits = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let part: i128 = match digits {
        "" => 0,
        digits => digits.parse().ok()?,
    };
    let power = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(scale)?.checked_add(part * scale / power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5ns", 5),
            ("5us", 5_000),
            ("5\u{b5}s", 5_000),
            ("472\u{3bc}s", 472_000),
            ("5ms", 5_000_000),
            ("2s", 2_000_000_000),
            ("+2s", 2_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("2m0.5s", 120_500_000_000),
        ] {
            let expected = Duration::from_nanos(nanoseconds);
            assert_eq!(go_duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        use NotADuration::{Malformed, Negative, TooLong};
        for text in ["", "5", "2 m", "1d", "s", ".s", "1.2.3s", "+", "1é", "5q"] {
            assert_eq!(go_duration(text), Err(Malformed), "{text}");
        }
        assert_eq!(go_duration("-5s"), Err(Negative));
        assert_eq!(go_duration("9999999h"), Err(TooLong));
    }

    #[test]
    fn uptimes_have_days_and_years() {
        assert_eq!(go_uptime("1d2h3m4s"), Some(Duration::from_secs(93_784)));
        assert_eq!(go_uptime("1y1s"), Some(Duration::from_secs(31_536_001)));
        assert_eq!(go_uptime("1.5ms"), Some(Duration::from_micros(1500)));
        for text in ["", "x", "5", "5q", "-1s"] {
            assert_eq!(go_uptime(text), None, "{text}");
        }
    }
}
