//! A moment by the clocks of this host: when a run looked at a broker.

use std::{
    fs, mem,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Names the present run of this host's system.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment. The time since the start of the system cannot be set, but ends with it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Moment {
    /// The run of this host's system; empty if it is not known.
    boot: String,
    /// Seconds since its start.
    since_boot: f64,
    /// Seconds since 1970, 0 if they are not known.
    wall: f64,
}

impl Moment {
    /// The present one.
    pub fn now() -> Self {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            boot: boot.trim().to_owned(),
            since_boot: seconds_since_boot(),
            wall: wall.map_or(0.0, |wall| wall.as_secs_f64()),
        }
    }

    /// Seconds from this moment to a later one; `None` if the system was started in between and
    /// the wall clock says nothing that can be true.
    pub fn until(&self, later: &Self) -> Option<f64> {
        let passed = match !self.boot.is_empty() && self.boot == later.boot {
            true => later.since_boot - self.since_boot,
            false if self.wall > 0.0 => later.wall - self.wall,
            false => return None,
        };
        (passed >= 0.0).then_some(passed)
    }

    #[cfg(test)]
    pub(super) fn of(boot: &str, since_boot: f64, wall: f64) -> Self {
        Self {
            boot: boot.to_owned(),
            since_boot,
            wall,
        }
    }
}

/// Time since the start of the system, times of sleep included.
fn seconds_since_boot() -> f64 {
    // SAFETY: a timespec of zeros is one.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: clock_gettime writes to the timespec that it gets, which outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    match result {
        0 => time.tv_sec as f64 + time.tv_nsec as f64 / 1e9,
        // A system without this clock.
        _ => 0.0,
    }
}
