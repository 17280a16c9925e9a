//! Formats of numbers, times and names, shared by the views and the text report.

use chrono::{DateTime, Utc};
pub(crate) use monitor_client::text::bytes;
use monitor_client::text::go_uptime;

/// Shown for unknown values.
pub(crate) const NOTHING: &str = "-";

/// A count in at most five characters: `987`, `12.3k`, `4.5M`.
pub(crate) fn short(value: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut value = value;
    let mut index = 0;
    // 999.96 would be written as 1000.0, so it uses the next unit.
    while value.abs() >= 999.95 && index + 1 < UNITS.len() {
        value /= 1000.0;
        index += 1;
    }
    match index {
        0 => format!("{value:.0}"),
        _ if value.abs() >= 99.95 => format!("{value:.0}{}", UNITS[index]),
        _ => format!("{value:.1}{}", UNITS[index]),
    }
}

/// A count with all digits, in groups of three.
pub(crate) fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in readable form with at most two units: `450 µs`, `3.2 s`, `5m12s`, `3d4h`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NOTHING.into();
    }
    if seconds < 60.0 {
        return match seconds {
            s if s <= 0.0 => "0 s".into(),
            s if s < 0.001 => format!("{:.0} µs", s * 1e6),
            s if s < 0.01 => format!("{:.1} ms", s * 1e3),
            s if s < 1.0 => format!("{:.0} ms", s * 1e3),
            s if s < 10.0 => format!("{s:.1} s"),
            s => format!("{s:.0} s"),
        };
    }
    let whole = seconds as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, minutes) => format!("{minutes}m{rest}s"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, _) if days < 100 => format!("{days}d{hours}h"),
        (days, ..) => format!("{days}d"),
    }
}

/// The seconds of an uptime or another Go duration: `1d2h3m4s`, `472µs`.
pub(crate) fn go_seconds(text: &str) -> Option<f64> {
    go_uptime(text).map(|time| time.as_secs_f64())
}

/// A time of an answer.
pub(crate) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.with_timezone(&Utc))
}

/// Seconds between two times in answers.
pub(crate) fn seconds_between(earlier: &str, later: &str) -> Option<f64> {
    let span = parse_time(later)? - parse_time(earlier)?;
    Some(span.num_milliseconds() as f64 / 1000.0)
}

/// The age of `time` at `now`, both from answers.
pub(crate) fn age(time: &str, now: &str) -> String {
    seconds_between(time, now).map_or_else(|| NOTHING.into(), |span| duration(span.max(0.0)))
}

/// The time as `12:34:56`; with the date if it differs from that of `now`.
pub(crate) fn clock(time: &str, now: &str) -> String {
    match (parse_time(time), parse_time(now)) {
        (Some(time), Some(now)) if time.date_naive() == now.date_naive() => {
            time.format("%H:%M:%S").to_string()
        }
        (Some(time), _) => time.format("%m-%d %H:%M:%S").to_string(),
        (None, _) => NOTHING.into(),
    }
}

/// A fraction in percent.
pub(crate) fn percent(part: f64, whole: f64) -> String {
    let share = part / whole * 100.0;
    match share {
        _ if whole <= 0.0 => NOTHING.into(),
        share if share > 0.0 && share < 0.95 => format!("{share:.1} %"),
        share => format!("{:.0} %", share.min(999.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_a_limited_width() {
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (999.96, "1.0k"),
            (1000.0, "1.0k"),
            (12_345.0, "12.3k"),
            (99_960.0, "100k"),
            (999_999.0, "1.0M"),
            (1e18, "1.0E"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(exact(7), "7");
    }

    #[test]
    fn times_are_written() {
        assert_eq!(duration(0.00045), "450 µs");
        assert_eq!(duration(312.0), "5m12s");
        assert_eq!(duration(93_784.0), "1d2h");
        assert_eq!(duration(f64::NAN), NOTHING);
        let now = "2026-11-25T10:00:00Z";
        assert_eq!(age("2026-11-25T09:59:57.5Z", now), "2.5 s");
        assert_eq!(clock("2026-11-25T09:59:57.5Z", now), "09:59:57");
        assert_eq!(clock("2026-11-24T09:59:57Z", now), "11-24 09:59:57");
        assert_eq!(clock("garbage", now), NOTHING);
    }
}
