//! Lengths of time as Go writes them: `90s`, `1h30m`, `1.5h`.

use std::time::Duration;

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Digits of a fraction that can matter: an hour has less nanoseconds.
const MAX_FRACTION_DIGITS: usize = 15;

/// Reads a duration that is not negative. The error says what is wrong with it.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is not a duration; write it like \"90s\", \"2m\" or \"1h30m\"");
    if text.starts_with('-') {
        return Err(format!("the duration {text:?} must not be negative"));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds: i128 = 0;
    while !rest.is_empty() {
        let (amount, tail) = split_at_first(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, tail) = split_at_first(tail, |c| c.is_ascii_digit() || c == '.');
        let (_, scale) = UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(wrong)?;
        nanoseconds = scaled(amount, *scale)
            .and_then(|part| nanoseconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    // nats-server counts in 64 bits: what it refuses is refused here as well.
    let nanoseconds = i64::try_from(nanoseconds)
        .ok()
        .and_then(|n| u64::try_from(n).ok());
    let too_long = || format!("the duration {text:?} is too long");
    Ok(Duration::from_nanos(nanoseconds.ok_or_else(too_long)?))
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
    let digits = &fraction[..fraction.len().min(MAX_FRACTION_DIGITS)];
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
            ("5ms", 5_000_000),
            ("2s", 2_000_000_000),
            ("+2s", 2_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("2m", 120_000_000_000),
        ] {
            let expected = Duration::from_nanos(nanoseconds);
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "5", "2 m", "1d", "s", ".s", "1.2.3s", "-5s", "9999999h", "+", "1é",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
