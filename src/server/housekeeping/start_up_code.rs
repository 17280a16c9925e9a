//! Unmapping the code and the constants that only the start uses: about half of what a new
//! broker has in memory is what parsed the file and set up TLS, and what the kernel mapped
//! around it. Once unmapped, what the running broker calls is mapped again from the page cache
//! at its first call, without a read from disk.
//!
//! Called once by housekeeping, when the start is over.

use std::{fs, io};

/// The libraries that the program is linked with: they stay loaded as long as it runs, unlike those
/// that the C library loads and may unload to look up names.
const LINKED: [&str; 3] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1"];

/// Where a mapping lies in the address space, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    len: usize,
}

/// Unmaps the pages of the program, and of the libraries that it is linked with, that are as in their
/// files.
///
/// # Errors
///
/// The system does not say where the program is, or does not unmap it. All stays mapped then,
/// which costs memory alone.
pub(super) fn unmap() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let smaps = fs::read("/proc/self/smaps")?;
    for range in unchanged(&String::from_utf8_lossy(&smaps), &program.to_string_lossy()) {
        // SAFETY: the range is a private mapping of a file, not writable, and none of its
        // pages differs from the file: a page that is used again is mapped from the file and
        // is the same. The program and the libraries that it is linked with are mapped as long as
        // the process lives, so the range still is that mapping.
        let done = unsafe {
            let start = std::ptr::without_provenance_mut(range.start);
            libc::madvise(start, range.len, libc::MADV_DONTNEED)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The mappings of code and constants of the file `program` and of [`LINKED`] in `smaps`
/// (proc_pid_smaps(5)) whose pages are all as in the file: addresses that the dynamic linker wrote, or the
/// breakpoints of a debugger, would be lost.
fn unchanged(smaps: &str, program: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(copied) = line.strip_prefix("Anonymous:") {
            let unchanged = copied.trim() == "0 kB";
            mappings.extend(current.take().filter(|_| unchanged));
        } else if line
            .as_bytes()
            .first()
            .is_some_and(|byte| !byte.is_ascii_uppercase())
        {
            current = read_only_mapping(line, program);
        }
    }
    mappings
}

/// The mapping in a heading line like `55e0-55f0 r-xp 00002000 fe:00 1234   /usr/sbin/midge`
/// if it is code or constants of the file `program` or of [`LINKED`].
fn read_only_mapping(heading: &str, program: &str) -> Option<Mapping> {
    let mut fields = heading.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_read_only = matches!(fields.next()?, "r-xp" | "r--p");
    let is_linked = |name: &&str| heading.ends_with(&format!("/{name}"));
    let is_of_program = heading.ends_with(&format!(" {program}")) || LINKED.iter().any(is_linked);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    (is_read_only && is_of_program).then(|| Mapping {
        start,
        len: end.saturating_sub(start),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_parts_of_the_program_are_unmapped() {
        let smaps = "\
1000-3000 r--p 00000000 fe:00 12       /opt/a b/midge
Size:                  8 kB
Anonymous:             0 kB
3000-9000 r-xp 00002000 fe:00 12       /opt/a b/midge
Size:                 24 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
9000-a000 r--p 00008000 fe:00 12       /opt/a b/midge
Anonymous:             4 kB
a000-b000 rw-p 00000000 00:00 0        [heap]
Anonymous:             0 kB
b000-c000 r-xp 00000000 fe:00 13       /usr/lib/libnss_dns.so.2
Anonymous:             0 kB
c000-d000 r-xp 00000000 00:00 0
Anonymous:             0 kB
d000-e000 rwxp 00000000 fe:00 12       /opt/a b/midge
Anonymous:             0 kB
e000-f000 r-xp 00000000 fe:00 14       /usr/lib/libc.so.6
Anonymous:             0 kB
f000-10000 r--p 00000000 fe:00 14      /usr/lib/libc.so.6
Anonymous:             8 kB
";
        let constants = Mapping {
            start: 0x1000,
            len: 0x2000,
        };
        let code = Mapping {
            start: 0x3000,
            len: 0x6000,
        };
        let libc = || Mapping {
            start: 0xe000,
            len: 0x1000,
        };
        assert_eq!(
            unchanged(smaps, "/opt/a b/midge"),
            [constants, code, libc()]
        );
        assert_eq!(unchanged(smaps, "/usr/sbin/midge"), [libc()]);
        assert_eq!(unchanged("", "/usr/sbin/midge"), []);
    }

    #[test]
    fn the_program_runs_on_after_its_code_was_unmapped() {
        let program = fs::read_link("/proc/self/exe").expect("the program");
        let program = program.to_str().expect("a readable path");
        let smaps = fs::read_to_string("/proc/self/smaps").expect("the mappings");
        assert_ne!(unchanged(&smaps, program), []);
        unmap().expect("to unmap");
        assert_eq!("7".parse(), Ok(7));
    }
}
