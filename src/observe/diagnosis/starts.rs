//! The last starts of the broker, remembered from one run to the next in a
//! small file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tracing::warn;

use crate::{config::Diagnosis, telemetry::calls::Calls};

/// Starts remembered.
const STARTS_MAX: usize = 32;

/// Bytes of the file that are read; more was not written by us.
const FILE_LEN_MAX: usize = 4096;

/// The variable in which systemd names the folder of a service's state, or
/// several with colons between them.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Times of starts in seconds since 1970, this one last.
pub(super) struct Starts(Arc<Mutex<Vec<u64>>>);

impl Starts {
    /// Adds this start to the file, if there is to be one, on a thread of its own:
    /// the disk may hang.
    pub(super) fn note(thresholds: &Diagnosis, calls: &Calls) -> Self {
        let noted = Arc::new(Mutex::new(vec![now()]));
        if let Some(file) = file(thresholds) {
            let call = calls.begin("recording the start in", file.display().to_string());
            let starts = noted.clone();
            let work = move || {
                let _call = call;
                *starts.lock() = read_and_add(&file);
            };
            let thread = thread::Builder::new().name("starts".into()).spawn(work);
            if let Err(error) = thread {
                warn!("Could not record this start: {error}; a restart loop will go unnoticed");
            }
        }
        Self(noted)
    }

    /// How many starts lie within this time before now. Those after now are of a
    /// clock that was set back since.
    pub(super) fn within(&self, time: Duration) -> u64 {
        let now = now();
        let recent = now.saturating_sub(time.as_secs())..=now;
        let starts = self.0.lock();
        starts.iter().filter(|start| recent.contains(start)).count() as u64
    }
}

/// Adds this start to those in the file.
fn read_and_add(file: &Path) -> Vec<u64> {
    let before = fs::read(file).map_or_else(|_| Vec::new(), |bytes| parse(&bytes));
    let starts = add(before, now());
    if let Err(error) = write(file, &starts) {
        warn!(
            "Could not record this start in {}: {error}; a restart loop will go unnoticed",
            file.display()
        );
    }
    starts
}

fn file(thresholds: &Diagnosis) -> Option<PathBuf> {
    thresholds.starts_file.clone().or_else(|| {
        let folders = env::var_os(STATE_DIRECTORY)?;
        env::split_paths(&folders)
            .next()
            .map(|folder| folder.join("starts"))
    })
}

fn parse(bytes: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(FILE_LEN_MAX)]);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Adds a start. Later ones come from a clock that was wrong.
fn add(mut starts: Vec<u64>, now: u64) -> Vec<u64> {
    starts.retain(|start| *start <= now);
    starts.push(now);
    let surplus = starts.len().saturating_sub(STARTS_MAX);
    starts.drain(..surplus);
    starts
}

/// Replaces the file in one step.
fn write(file: &Path, starts: &[u64]) -> io::Result<()> {
    let lines: Vec<String> = starts.iter().map(|start| format!("{start}\n")).collect();
    let new = file.with_extension("new");
    fs::write(&new, lines.concat())?;
    fs::rename(new, file)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The starts, once the file is written.
    fn noted(thresholds: &Diagnosis) -> Starts {
        let calls = Calls::default();
        let starts = Starts::note(thresholds, &calls);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !calls.older_than(Duration::ZERO).is_empty() {
            assert!(std::time::Instant::now() < deadline, "it is never noted");
            thread::sleep(Duration::from_millis(1));
        }
        starts
    }

    #[test]
    fn starts_of_a_clock_that_was_set_back_do_not_count() {
        let starts = Starts(Arc::new(Mutex::new(vec![now() - 1, now() + 3600])));
        assert_eq!(starts.within(Duration::from_secs(600)), 1);
    }

    #[test]
    fn starts_are_remembered_and_nonsense_is_passed_over() {
        let folder = tempfile::TempDir::new().unwrap();
        let thresholds = Diagnosis {
            starts_file: Some(folder.path().join("starts")),
            ..Diagnosis::default()
        };
        let file = thresholds.starts_file.clone().unwrap();
        fs::write(&file, format!("5\nnonsense\n{}\n", u64::MAX)).unwrap();
        for number in 1..=STARTS_MAX as u64 + 3 {
            let within = noted(&thresholds).within(Duration::from_secs(600));
            assert_eq!(within, number.min(STARTS_MAX as u64));
        }
        assert!(parse(&fs::read(&file).unwrap()).len() <= STARTS_MAX);
    }

    #[test]
    fn without_a_place_there_is_this_start() {
        let thresholds = Diagnosis {
            starts_file: Some("/nonexistent/folder/starts".into()),
            ..Diagnosis::default()
        };
        let starts = noted(&thresholds);
        assert_eq!(starts.within(Duration::from_secs(600)), 1);
    }
}
