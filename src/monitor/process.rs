//! What the process itself uses: memory and processor time.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Time between two samples of the processor time. The figure shown covers
/// between one and two of these.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

const STATUS_FILE: &str = "/proc/self/status";
const LIMITS_FILE: &str = "/proc/self/limits";
const DESCRIPTOR_FOLDER: &str = "/proc/self/fd";

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

    /// Takes a sample; due once each [`SAMPLE_INTERVAL`].
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
    // the time would stay nought.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Resident memory in bytes.
///
/// # Errors
///
/// The system does not tell.
pub(super) fn resident_bytes() -> io::Result<u64> {
    parse_resident(&fs::read_to_string(STATUS_FILE)?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{STATUS_FILE} has no line VmRSS"),
        )
    })
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Open file descriptors.
///
/// # Errors
///
/// The system does not tell.
pub(super) fn open_descriptors() -> io::Result<u64> {
    // The one that reads the folder is among them.
    let count = fs::read_dir(DESCRIPTOR_FOLDER)?.count() as u64;
    Ok(count.saturating_sub(1))
}

/// The soft limit of open file descriptors; `None` where there is none or the
/// system does not tell.
pub(super) fn max_descriptors() -> Option<u64> {
    parse_max_descriptors(&fs::read_to_string(LIMITS_FILE).ok()?)
}

fn parse_max_descriptors(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_a_count_and_a_limit() {
        assert_eq!(
            parse_max_descriptors("Max cpu time  unlimited\nMax open files   1024  4096  files\n"),
            Some(1024)
        );
        assert_eq!(parse_max_descriptors("Max open files  unlimited\n"), None);
        let before = open_descriptors().unwrap();
        let _file = fs::File::open(STATUS_FILE).unwrap();
        assert!(before > 0 && open_descriptors().unwrap() > 0);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            parse_resident("VmSize:\t  900 kB\nVmRSS:\t    4096 kB\n"),
            Some(4096 * 1024)
        );
        assert_eq!(parse_resident("VmSize:\t  900 kB\n"), None);
        assert!(resident_bytes().unwrap() > 100 * 1024);
    }

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
