//! What the system says of this process: memory and files.

use std::{fs, io, os::unix::fs::MetadataExt};

const STATUS_FILE: &str = "/proc/self/status";
const FILES_FOLDER: &str = "/proc/self/fd";

/// Resident memory in bytes.
///
/// # Errors
///
/// The system does not tell.
pub fn resident_bytes() -> io::Result<u64> {
    parse_resident(&fs::read_to_string(STATUS_FILE)?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{STATUS_FILE} has no line VmRSS"),
        )
    })
}

/// Open file descriptors.
///
/// # Errors
///
/// The system does not tell.
pub fn open_files() -> io::Result<u64> {
    // Since Linux 6.2 this is their number; before, it is nought.
    match fs::metadata(FILES_FOLDER)?.size() {
        0 => Ok(fs::read_dir(FILES_FOLDER)?.count() as u64),
        count => Ok(count),
    }
}

/// File descriptors that the process may have open; `None` if it may have any
/// number, or the system does not tell.
pub fn open_files_max() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for the result for the whole call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn open_files_are_counted() {
        let files: Vec<_> = (0..100)
            .map(|_| fs::File::open(STATUS_FILE).unwrap())
            .collect();
        let count = open_files().unwrap();
        assert!(count >= 100, "{count}");
        assert!(open_files_max().is_none_or(|max| max >= count));
        drop(files);
    }
}
