//! Unmapping the code that only the start uses: about half of what a new broker has in
//! memory is code that parsed the file and set up TLS, and what the kernel mapped around
//! it. Once unmapped, what the running broker calls is mapped again from the page cache
//! at its first call, without a read from disk.
//!
//! Called once by housekeeping, when the start is over.

use std::{fs, io};

/// Where a mapping lies in the address space, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    len: usize,
}

/// Unmaps the pages of the program's own code; libraries are small beside it, and could be
/// unloaded meanwhile.
///
/// # Errors
///
/// The system does not say where the code is, or does not unmap it. All stays mapped then,
/// which costs memory alone.
pub(super) fn unmap() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let smaps = fs::read("/proc/self/smaps")?;
    for code in unchanged_code(&String::from_utf8_lossy(&smaps), &program.to_string_lossy()) {
        // SAFETY: the range is a private mapping of a file, readable and executable and
        // not writable, and none of its pages differs from the file: a page that is used
        // again is read from the file and is the same. The program's own code is there as
        // long as the process, so the range still is that mapping.
        let done = unsafe {
            let start = std::ptr::without_provenance_mut(code.start);
            libc::madvise(start, code.len, libc::MADV_DONTNEED)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The mappings of code of the file `program` in `smaps` (proc_pid_smaps(5)) whose pages are
/// all as in the file: a page that a debugger changed would be lost.
fn unchanged_code(smaps: &str, program: &str) -> Vec<Mapping> {
    let mut code: Vec<Mapping> = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(dirty) = line.strip_prefix("Private_Dirty:") {
            let unchanged = dirty.trim() == "0 kB";
            code.extend(current.take().filter(|_| unchanged));
        } else if line
            .as_bytes()
            .first()
            .is_some_and(|byte| !byte.is_ascii_uppercase())
        {
            current = mapped_code(line, program);
        }
    }
    code
}

/// The mapping in a heading line like `55e0-55f0 r-xp 00002000 fe:00 1234   /usr/sbin/midge`
/// if it is code of the file `program`.
fn mapped_code(heading: &str, program: &str) -> Option<Mapping> {
    let mut fields = heading.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && heading.ends_with(&format!(" {program}"));
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    is_code.then(|| Mapping {
        start,
        len: end.saturating_sub(start),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_code_of_the_program_is_unmapped() {
        let smaps = "\
1000-3000 r--p 00000000 fe:00 12       /opt/a b/midge
Size:                  8 kB
Private_Dirty:         0 kB
3000-9000 r-xp 00002000 fe:00 12       /opt/a b/midge
Size:                 24 kB
Private_Dirty:         0 kB
VmFlags: rd ex mr mw me
9000-a000 r-xp 00008000 fe:00 12       /opt/a b/midge
Private_Dirty:         4 kB
a000-b000 rw-p 00000000 00:00 0        [heap]
Private_Dirty:         0 kB
b000-c000 r-xp 00000000 fe:00 13       /usr/lib/libc.so.6
Private_Dirty:         0 kB
c000-d000 r-xp 00000000 00:00 0
Private_Dirty:         0 kB
d000-e000 rwxp 00000000 fe:00 12       /opt/a b/midge
Private_Dirty:         0 kB
";
        let program = Mapping {
            start: 0x3000,
            len: 0x6000,
        };
        assert_eq!(unchanged_code(smaps, "/opt/a b/midge"), [program]);
        assert_eq!(unchanged_code(smaps, "/usr/sbin/midge"), []);
        assert_eq!(unchanged_code("", "/usr/sbin/midge"), []);
    }

    #[test]
    fn the_program_runs_on_after_its_code_was_unmapped() {
        let program = fs::read_link("/proc/self/exe").expect("the program");
        let program = program.to_str().expect("a readable path");
        let smaps = fs::read_to_string("/proc/self/smaps").expect("the mappings");
        assert_ne!(unchanged_code(&smaps, program), []);
        unmap().expect("to unmap");
        assert_eq!("7".parse(), Ok(7));
    }
}
