//! Numbers as people read them.

use std::time::Duration;

use monitor_client::text;
pub(in crate::observe) use monitor_client::text::plural;

/// `64 MiB`, as in every other view.
pub(super) fn bytes(bytes: impl TryInto<u64>) -> String {
    text::bytes(bytes.try_into().unwrap_or(u64::MAX) as f64)
}

/// `12 s`, `5 min`, `3 h`: a time, rounded.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        0.0..1.0 => format!("{:.0} ms", seconds * 1000.0),
        1.0..10.0 => format!("{seconds:.1} s"),
        10.0..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} min", seconds / 60.0),
        7200.0..172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

/// The same of seconds that may be without end.
pub(super) fn seconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "ages".to_owned(), time)
}

/// Percent of a whole; 0 of nothing.
pub(super) fn percent(part: f64, whole: f64) -> f64 {
    match whole > 0.0 {
        true => part / whole * 100.0,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(67_108_864_u64), "64 MiB");
        assert_eq!(bytes(u128::MAX), "16384 PiB");
        assert_eq!(time(Duration::from_millis(250)), "250 ms");
        assert_eq!(time(Duration::from_secs(12)), "12 s");
        assert_eq!(time(Duration::from_secs(600)), "10 min");
        assert_eq!(seconds(f64::INFINITY), "ages");
        assert_eq!(percent(1.0, 0.0), 0.0);
    }
}
