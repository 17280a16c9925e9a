//! The processor time that the process uses.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time between two samples of the processor time. The value shown covers
/// between one and two of these.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// The processor use of the recent past.
pub(super) struct CpuMeter(Mutex<Samples>);

struct Samples {
    older: Sample,
    newer: Sample,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    used: Duration,
}

impl CpuMeter {
    /// A meter whose first sample is now.
    pub(super) fn new() -> Self {
        let sample = Sample::take();
        Self(Mutex::new(Samples {
            older: sample,
            newer: sample,
        }))
    }

    /// Takes a sample; to be called once per [`SAMPLE_INTERVAL`].
    pub(super) fn sample(&self) {
        let mut samples = self.0.lock();
        samples.older = samples.newer;
        samples.newer = Sample::take();
    }

    /// Processor use in percent of one core.
    pub(super) fn percent(&self) -> f64 {
        let older = self.0.lock().older;
        percent(older, Sample::take())
    }
}

/// The processor use between two samples in percent of one core, to one
/// decimal.
fn percent(older: Sample, newer: Sample) -> f64 {
    let elapsed = newer.at.saturating_duration_since(older.at).as_secs_f64();
    if elapsed == 0.0 {
        return 0.0;
    }
    let used = newer.used.saturating_sub(older.used).as_secs_f64();
    (used / elapsed * 1000.0).round() / 10.0
}

impl Sample {
    fn take() -> Self {
        Self {
            at: Instant::now(),
            used: cpu_time(),
        }
    }
}

/// Processor time of all threads since the start of the process.
pub(super) fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result for the whole call. The
    // clock exists on every Linux, so that the call does not fail; if it did,
    // the time would stay 0.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_of_one_core() {
        let at = Instant::now();
        let sample = |at_ms, used_ms| Sample {
            at: at + Duration::from_millis(at_ms),
            used: Duration::from_millis(used_ms),
        };
        assert_eq!(percent(sample(0, 0), sample(2000, 500)), 25.0);
        assert_eq!(percent(sample(0, 100), sample(1000, 1633)), 153.3);
        assert_eq!(percent(sample(5, 100), sample(5, 200)), 0.0);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = cpu_time();
        while cpu_time() == before {
            std::hint::black_box((0..1000).sum::<u64>());
        }
    }
}
