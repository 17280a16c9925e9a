//! The last starts of the broker, remembered from one run to the next in a
//! small file.

use std::{
    env,
    fmt::Display,
    fs::{self, OpenOptions},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tracing::warn;

use crate::{config::Diagnosis, telemetry::calls::Calls};

/// Starts remembered.
const STARTS_MAX: usize = 32;

/// Bytes of the file; more was not written by us.
const FILE_LEN_MAX: u64 = 4096;

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
    let unnoticed =
        |why| warn!("Could not record this start: {why}; a restart loop will go unnoticed");
    let before = match read(file) {
        Ok(before) => before,
        Err(why) => {
            unnoticed(why);
            return vec![now()];
        }
    };
    let starts = add(before, now());
    if let Err(why) = write(file, &starts) {
        unnoticed(why);
    }
    starts
}

/// The starts in a file; none if it does not exist.
///
/// # Errors
/// A sentence naming the file: it cannot be read, or it is another one than ours.
fn read(path: &Path) -> Result<Vec<u64>, String> {
    let fail = |why: &dyn Display| format!("{}: {why}", path.display());
    let opened = OpenOptions::new()
        .read(true)
        // Opening a pipe waits for a writer.
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(|error| fail(&error))?,
    };
    if !file.metadata().map_err(|error| fail(&error))?.is_file() {
        return Err(fail(&"not a regular file; starts_file must name one"));
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| fail(&error))?;
    parse(&bytes).ok_or_else(|| {
        fail(&"not a list of starts, so it is left as it is; remove it, or let starts_file name another")
    })
}

fn file(thresholds: &Diagnosis) -> Option<PathBuf> {
    thresholds.starts_file.clone().or_else(|| {
        let folders = env::var_os(STATE_DIRECTORY)?;
        env::split_paths(&folders)
            .next()
            .map(|folder| folder.join("starts"))
    })
}

/// The starts in a file of ours: a number in each line. `None` for anything else.
fn parse(bytes: &[u8]) -> Option<Vec<u64>> {
    if bytes.len() as u64 > FILE_LEN_MAX {
        return None;
    }
    let text = str::from_utf8(bytes).ok()?;
    text.lines().map(|line| line.parse().ok()).collect()
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
///
/// # Errors
/// A sentence naming the file that cannot be written.
fn write(file: &Path, starts: &[u64]) -> Result<(), String> {
    let lines: Vec<String> = starts.iter().map(|start| format!("{start}\n")).collect();
    let new = file.with_extension("new");
    // One of ours may be left from a run that was killed; another one is not overwritten.
    read(&new)?;
    fs::write(&new, lines.concat()).map_err(|error| format!("{}: {error}", new.display()))?;
    fs::rename(new, file).map_err(|error| format!("{}: {error}", file.display()))
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
    fn starts_are_remembered() {
        let folder = tempfile::TempDir::new().unwrap();
        let thresholds = Diagnosis {
            starts_file: Some(folder.path().join("starts")),
            ..Diagnosis::default()
        };
        let file = thresholds.starts_file.clone().unwrap();
        fs::write(&file, format!("5\n{}\n", u64::MAX)).unwrap();
        for number in 1..=STARTS_MAX as u64 + 3 {
            let within = noted(&thresholds).within(Duration::from_secs(600));
            assert_eq!(within, number.min(STARTS_MAX as u64));
        }
        assert!(read(&file).unwrap().len() <= STARTS_MAX);
    }

    /// A wrong path in the configuration must not cost a file.
    #[test]
    fn a_file_of_something_else_is_left_as_it_is() {
        let folder = tempfile::TempDir::new().unwrap();
        let thresholds = Diagnosis {
            starts_file: Some(folder.path().join("starts")),
            ..Diagnosis::default()
        };
        let file = thresholds.starts_file.clone().unwrap();
        let of_ours = format!("{}\n", now());
        let long = of_ours.repeat(1000);
        for text in ["5\nport: 4222\n", "5\n\n6\n", "\u{fe}", &long] {
            for name in [&file, &file.with_extension("new")] {
                fs::write(&file, &of_ours).unwrap();
                fs::write(name, text).unwrap();
                let before = fs::read(&file).unwrap();
                noted(&thresholds);
                assert_eq!(fs::read(name).unwrap(), text.as_bytes());
                assert_eq!(fs::read(&file).unwrap(), before);
                fs::remove_file(name).unwrap();
            }
        }
        let folder = read(folder.path());
        assert!(folder.is_err_and(|why| why.contains("not a regular file")));
    }

    /// What a run that was killed left does not stop the next one.
    #[test]
    fn an_unfinished_file_of_ours_is_replaced() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("starts");
        let new = file.with_extension("new");
        for unfinished in ["", "17000", "1700000000\n17"] {
            fs::write(&new, unfinished).unwrap();
            read_and_add(&file);
            assert!(!new.exists());
        }
        assert_eq!(read(&file).unwrap().len(), 3);
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
