//! The last starts of the broker, remembered from one run to the next in a
//! small file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use crate::config::Diagnosis;

/// Starts remembered.
const STARTS_MAX: usize = 32;

/// Bytes of the file that are read; more was not written by us.
const FILE_LEN_MAX: usize = 4096;

/// The variable in which systemd names the folder of a service's state, or
/// several with colons between them.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Times of starts in seconds since 1970, this one last.
pub(super) struct Starts(Vec<u64>);

impl Starts {
    /// Adds this start to the file, if there is to be one.
    pub(super) fn note(thresholds: &Diagnosis) -> Self {
        let Some(file) = file(thresholds) else {
            return Self(vec![now()]);
        };
        let before = fs::read(&file).map_or_else(|_| Vec::new(), |bytes| parse(&bytes));
        let starts = add(before, now());
        if let Err(error) = write(&file, &starts) {
            warn!(
                "The start could not be noted in {}: {error}; a restart loop will not be seen",
                file.display()
            );
        }
        Self(starts)
    }

    /// How many starts lie within this time before now.
    pub(super) fn within(&self, time: Duration) -> u64 {
        let begin = now().saturating_sub(time.as_secs());
        self.0.iter().filter(|start| **start >= begin).count() as u64
    }
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
            let starts = Starts::note(&thresholds);
            let within = starts.within(Duration::from_secs(600));
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
        let starts = Starts::note(&thresholds);
        assert_eq!(starts.within(Duration::from_secs(600)), 1);
    }
}
