//! Memory and open files of this process, as the system reports them.

use std::{fs, io, os::unix::fs::MetadataExt};

const STATUS_FILE: &str = "/proc/self/status";
const PAGES_FILE: &str = "/proc/self/statm";
const FILES_FOLDER: &str = "/proc/self/fd";

/// The memory of this process, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// Mapped address space.
    pub mapped: u64,
    /// Resident memory.
    pub resident: u64,
    /// The part of it that is anonymous, if the system reports that.
    pub anonymous: Option<u64>,
}

impl Memory {
    /// The part of the resident memory that belongs to files: the program and its libraries.
    pub fn of_files(&self) -> u64 {
        self.anonymous
            .map_or(0, |own| self.resident.saturating_sub(own))
    }
}

/// The memory of this process.
///
///  # Errors
///
/// The system does not report it.
pub fn memory() -> io::Result<Memory> {
    memory_in(&fs::read_to_string(STATUS_FILE)?)
}

fn memory_in(status: &str) -> io::Result<Memory> {
    Ok(Memory {
        mapped: parse(status, "VmSize:").ok_or_else(|| missing("VmSize"))?,
        resident: parse(status, "VmRSS:").ok_or_else(|| missing("VmRSS"))?,
        // Not every system reports this line.
        anonymous: parse(status, "RssAnon:"),
    })
}

fn missing(name: &str) -> io::Error {
    let text = format!("{STATUS_FILE} has no line {name}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Resident memory in bytes, from the file that costs the system least.
///
///  # Errors
///
/// The system does not report it.
pub fn resident_bytes() -> io::Result<u64> {
    let pages = fs::read_to_string(PAGES_FILE)?;
    let resident = pages.split(' ').nth(1).and_then(|text| text.parse().ok());
    let resident: Option<u64> = resident;
    let bytes = resident.and_then(|resident| resident.checked_mul(page_len()));
    bytes.ok_or_else(|| {
        let text = format!("{PAGES_FILE} has no second number");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Bytes of a page of memory.
fn page_len() -> u64 {
    // SAFETY: takes no pointer.
    let len = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(len).unwrap_or(4096)
}

/// Number of open file descriptors.
///
///  # Errors
///
/// The system does not report it.
pub fn open_files() -> io::Result<u64> {
    // Since Linux 6.2 the size is their number; before, it is 0.
    match fs::metadata(FILES_FOLDER)?.size() {
        0 => Ok(fs::read_dir(FILES_FOLDER)?.count() as u64),
        count => Ok(count),
    }
}

/// Limit of open file descriptors; `None` if there is none or the system does not report it.
pub fn open_files_max() -> Option<u64> {
    let limit = open_files_limit().ok()?;
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Raises that limit to the highest that the process is allowed: the lower one that it starts with
/// is meant for programs that cannot handle large descriptors. Returns the one before.
///
///  # Errors
///
/// The system refuses.
pub fn raise_open_files_max() -> io::Result<u64> {
    let limit = open_files_limit()?;
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        ..limit
    };
    // SAFETY: `raised` is valid memory during the whole call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open_files_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid memory for the result during the whole call.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The system error that an error text ends in or quotes, in the standard library's format. If
/// there is one, a file could not be read and its content is unknown.
pub fn system_error_in(text: &str) -> Option<io::Error> {
    let (_, rest) = text.split_once("(os error ")?;
    let (number, _) = rest.split_once(')')?;
    number.parse().ok().map(io::Error::from_raw_os_error)
}

fn parse(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            parse("VmSize:\t  900 kB\nVmRSS:\t    4096 kB\n", "VmRSS:"),
            Some(4096 * 1024)
        );
        assert_eq!(parse("VmSize:\t  900 kB\n", "VmRSS:"), None);
        let memory = memory().unwrap();
        assert!(memory.mapped > memory.resident && Some(memory.resident) > memory.anonymous);
        let old = memory_in("VmSize:\t  900 kB\nVmRSS:\t    400 kB\n").unwrap();
        assert_eq!((old.resident, old.anonymous), (400 * 1024, None));
        let resident = resident_bytes().unwrap();
        // Other tests take and give back memory meanwhile.
        assert!(resident.abs_diff(memory.resident) < 1 << 30 && resident > 100 * 1024);
    }

    #[test]
    fn a_read_error_is_distinguished_from_wrong_content() {
        let kind = |text: &str| system_error_in(text).map(|error| error.kind());
        let missing = fs::read("/nowhere").unwrap_err();
        let text = format!("broker.conf:0:0: cannot read /nowhere: {missing}; check the path");
        assert_eq!(kind(&text), Some(io::ErrorKind::NotFound));
        let none = io::Error::from_raw_os_error(libc::EMFILE);
        let raw = system_error_in(&none.to_string()).and_then(|error| error.raw_os_error());
        assert_eq!(raw, Some(libc::EMFILE));
        assert_eq!(kind("broker.conf:1:5: unknown key \"os error\""), None);
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
