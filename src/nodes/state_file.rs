//! The state file: the nodes that were seen, when and where, so that a restart of the broker forgets
//! none. A line for each: certname, time, member and address, separated by tabs.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, SecondsFormat, Utc};

use super::{ADDRESS_LEN_MAX, Last, Ledger, NAME_LEN_MAX, is_name, list::text_of};
use crate::telemetry::pool::shorten_to;

/// Why not all of a state file was taken over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecallError {
    /// It cannot be read, which may pass: writing it anew would lose what it has.
    Unreadable(String),
    /// It is not the text that midge writes, or some lines are not; they were left out.
    Damaged(String),
}

/// Takes over what an earlier run of the broker saw. A file that is not there is no error: it is
/// made later.
///
/// # Errors
///
/// It cannot be read; or some lines of it, which are left out.
pub fn recall(path: &Path, ledger: &mut Ledger) -> Result<(), RecallError> {
    let text = match text_of(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let text = format!("{}: cannot read it: {error}", path.display());
            return Err(match error.kind() {
                io::ErrorKind::InvalidData => RecallError::Damaged(text),
                _ => RecallError::Unreadable(text),
            });
        }
    };
    let mut wrong = None;
    for (number, line) in (1_usize..).zip(text.lines()) {
        match parse(line) {
            Some((name, last)) => ledger.recall(name, last),
            None => wrong = wrong.or(Some(number)),
        }
    }
    match wrong {
        None => Ok(()),
        Some(number) => Err(RecallError::Damaged(format!(
            "{}:{number}: not a line of midge's; it and others like it are left out",
            path.display()
        ))),
    }
}

fn parse(line: &str) -> Option<(&str, Last)> {
    let mut fields = line.split('\t');
    let name = fields.next().filter(|name| is_name(name))?;
    let at = DateTime::parse_from_rfc3339(fields.next()?).ok()?;
    let member = shorten_to(fields.next()?, NAME_LEN_MAX);
    let address = shorten_to(fields.next()?, ADDRESS_LEN_MAX);
    let last = Last {
        at: at.with_timezone(&Utc),
        member: member.into(),
        address: address.into(),
    };
    fields.next().is_none().then_some((name, last))
}

/// Writes it anew, beside the present one first, so that there is a whole one at each moment.
///
/// # Errors
///
/// What could not be done.
pub fn write(path: &Path, ledger: &Ledger) -> Result<(), String> {
    let mut text = String::new();
    for (name, last) in ledger.seen() {
        let at = last.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (member, address) = (&last.member, &last.address);
        writeln!(text, "{name}\t{at}\t{member}\t{address}").map_err(|error| error.to_string())?;
    }
    // Another one for each process: during an upgrade two of them write.
    let new = beside(path, &format!(".new.{}", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| {
        format!(
            "{}: cannot write it: {error}; the folder must be there and belong to midge's user",
            path.display()
        )
    })
}

/// Renames a file that is not wholly midge's, so that writing it anew loses nothing; returns its new
/// path.
///
/// # Errors
///
/// What the system says.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let bad = beside(path, ".bad");
    fs::rename(path, &bad)?;
    Ok(bad)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nodes");
        let mut ledger = Ledger::default();
        assert_eq!(recall(&path, &mut ledger), Ok(()), "there is none yet");
        let last = |seconds: i64| Last {
            at: DateTime::from_timestamp(seconds, 0).expect("a time"),
            member: "nats1".into(),
            address: "192.0.2.1:7".into(),
        };
        ledger.recall("a.example.net", last(1_000_000_000));
        ledger.recall("b.example.net", last(1_700_000_000));
        write(&path, &ledger).expect("written");
        let mut again = Ledger::default();
        assert_eq!(recall(&path, &mut again), Ok(()));
        let all = |ledger: &Ledger| {
            ledger
                .seen()
                .map(|(name, last)| (name.clone(), last.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&again), all(&ledger));
        let mut text = fs::read_to_string(&path).expect("read");
        text.insert_str(0, "nonsense\nc\tnever\tnats1\tx\n");
        fs::write(&path, text).expect("write");
        let mut rest = Ledger::default();
        match recall(&path, &mut rest).expect_err("two lines are wrong") {
            RecallError::Damaged(error) => assert!(error.contains("nodes:1: "), "{error}"),
            error => panic!("{error:?}"),
        }
        assert_eq!(rest.seen().count(), 2);
        let error = write(Path::new("/nowhere/nodes"), &ledger).expect_err("no folder");
        assert!(
            error.starts_with("/nowhere/nodes: cannot write it"),
            "{error}"
        );
    }
}
