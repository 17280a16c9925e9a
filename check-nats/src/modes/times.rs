//! Times that a broker tells.

use monitor_client::{Varz, text::go_uptime};

use crate::{status::Failure, text::quoted};

/// Seconds from one RFC 3339 time to another.
pub(crate) fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let from = chrono::DateTime::parse_from_rfc3339(from).ok()?;
    let to = chrono::DateTime::parse_from_rfc3339(to).ok()?;
    Some((to - from).as_seconds_f64())
}

/// Seconds since the broker's start, whatever happened to its wall clock since.
pub(crate) fn uptime_of(varz: &Varz) -> Result<f64, Failure> {
    // The text comes from a clock that is never set, but has whole seconds only.
    let reported = go_uptime(&varz.uptime).map(|uptime| uptime.as_secs_f64());
    let exact = seconds_between(&varz.start, &varz.now).filter(|seconds| *seconds >= 0.0);
    match (reported, exact) {
        (Some(reported), Some(exact)) if (reported - exact).abs() < 2.0 => Ok(exact),
        (Some(reported), _) => Ok(reported),
        (None, Some(exact)) => Ok(exact),
        (None, None) => Err(Failure::unknown(format!(
            "the broker's times make no uptime: start {}, now {}",
            quoted(&varz.start),
            quoted(&varz.now)
        ))),
    }
}
