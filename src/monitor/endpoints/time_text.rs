//! Times and durations as text, the way monitoring tools expect them.

use std::{fmt::Write, time::Duration};

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};

const YEAR: u64 = 365 * DAY;
const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 60 * MINUTE;
const MINUTE: u64 = 60;

/// A point in time, RFC 3339 in UTC; a fraction of a second without zeros at
/// its end. Lists of connections have two for each, so it is written digit by digit.
pub(in crate::monitor) fn rfc3339(time: DateTime<Utc>) -> String {
    let Ok(year) = u32::try_from(time.year()) else {
        return time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    };
    if year > 9999 {
        return time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    }
    let mut text = String::with_capacity("2026-01-02T03:04:05.123456789Z".len());
    for (number, digits, then) in [
        (year, 4, '-'),
        (time.month(), 2, '-'),
        (time.day(), 2, 'T'),
        (time.hour(), 2, ':'),
        (time.minute(), 2, ':'),
    ] {
        push_digits(&mut text, number, digits);
        text.push(then);
    }
    push_digits(&mut text, time.second(), 2);
    // A leap second shows as the second before it.
    let (mut fraction, mut digits) = (time.nanosecond() % 1_000_000_000, 9);
    if fraction > 0 {
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        text.push('.');
        push_digits(&mut text, fraction, digits);
    }
    text.push('Z');
    text
}

/// Writes a number with so many digits, of which it has no more.
fn push_digits(text: &mut String, number: u32, digits: u32) {
    let mut unit = 10_u32.pow(digits - 1);
    while unit > 0 {
        let digit = number / unit % 10;
        text.push(char::from(b'0' + digit as u8));
        unit /= 10;
    }
}

/// A time since a start, as `1y2d3h4m5s`: whole seconds, from the largest unit
/// that is not 0 down to the second.
pub(in crate::monitor) fn uptime(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    for (unit, seconds) in [('y', YEAR), ('d', DAY), ('h', HOUR), ('m', MINUTE)] {
        if rest >= seconds || !text.is_empty() {
            let _ = write!(text, "{}{unit}", rest / seconds);
            rest %= seconds;
        }
    }
    // Writing to a string does not fail.
    let _ = write!(text, "{rest}s");
    text
}

/// A round trip time as Go writes durations (`150.6ms`, `200µs`, `1m2.5s`);
/// nanoseconds are left out between a microsecond and a millisecond.
pub(in crate::monitor) fn round_trip(rtt: Duration) -> String {
    let nanos = rtt.as_nanos();
    match nanos {
        0 => "0s".into(),
        1..=999 => format!("{nanos}ns"),
        1_000..=999_999 => format!("{}µs", nanos / 1_000),
        1_000_000..=999_999_999 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let seconds = rtt.as_secs();
            let mut text = String::new();
            if seconds >= HOUR {
                text += &format!("{}h", seconds / HOUR);
            }
            if seconds >= MINUTE {
                text += &format!("{}m", seconds % HOUR / MINUTE);
            }
            let below_minute = nanos % (u128::from(MINUTE) * 1_000_000_000);
            text + &format!("{}s", fraction(below_minute, 1_000_000_000))
        }
    }
}

/// `nanos` in a unit of so many nanoseconds (a power of ten), without zeros at
/// the end.
fn fraction(nanos: u128, unit: u128) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn points_in_time() {
        for (nanos, expected) in [
            (0, "2026-01-02T03:04:05Z"),
            (500_000_000, "2026-01-02T03:04:05.5Z"),
            (120, "2026-01-02T03:04:05.00000012Z"),
            (123_456_789, "2026-01-02T03:04:05.123456789Z"),
        ] {
            let time = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
                + chrono::Duration::nanoseconds(nanos);
            assert_eq!(rfc3339(time), expected);
        }
    }

    #[test]
    fn uptimes_begin_with_the_first_unit_and_leave_none_out() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (2 * HOUR + 5, "2h0m5s"),
            (DAY, "1d0h0m0s"),
            (YEAR + 3 * DAY + 4 * HOUR + 5 * MINUTE + 6, "1y3d4h5m6s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(uptime(Duration::from_millis(1999)), "1s");
    }

    #[test]
    fn round_trips_read_as_go_durations() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (200_999, "200µs"),
            (1_000_000, "1ms"),
            (8_057_748, "8.057748ms"),
            (150_600_000, "150.6ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (62_500_000_000, "1m2.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ] {
            assert_eq!(round_trip(Duration::from_nanos(nanos)), expected);
        }
    }
}
