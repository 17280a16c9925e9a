//! The file of expected nodes: a certname on each line, `#` begins a comment.
//!
//! The configuration reads it to check it, the thread of `server::nodes` to use it, and again when it
//! has changed. Nobody else reads it, because a file may be on a disk that hangs.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use super::{NAME_LEN_MAX, NODES_MAX, is_name};

/// Bytes of the longest file.
const FILE_LEN_MAX: u64 = 32 * 1024 * 1024;

/// What tells that a file is another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// Changes with the permissions, and with a file that was renamed to here.
    changed: (i64, i64),
    inode: u64,
}

impl Stamp {
    /// Of the file at `path`; `None` if it cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let data = path.metadata().ok()?;
        Some(Self {
            modified: data.modified().ok(),
            len: data.len(),
            changed: (data.ctime(), data.ctime_nsec()),
            inode: data.ino(),
        })
    }
}

/// Reads the names of a file.
///
/// # Errors
///
/// It cannot be read, is too long, or has a line that is no certname: which, and what to do.
pub fn read(path: &Path) -> Result<BTreeSet<Arc<str>>, String> {
    let file = path.display();
    let text = text_of(path).map_err(|error| format!("{file}: cannot read it: {error}"))?;
    let mut names = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let name = line.split('#').next().unwrap_or_default().trim();
        if name.is_empty() {
            continue;
        }
        if !is_name(name) {
            return Err(format!(
                "{file}:{number}: {name:?} is no certname: write one on each line, of at most \
                 {NAME_LEN_MAX} bytes and without blanks"
            ));
        }
        names.insert(name.into());
        if names.len() > NODES_MAX {
            return Err(format!("{file}:{number}: more than {NODES_MAX} certnames"));
        }
    }
    Ok(names)
}

/// The text of a file of bounded length.
pub(super) fn text_of(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    // What is no file, such as a pipe, may never end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_LEN_MAX {
        true => Err(io::Error::other("it is longer than 32 MiB")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nodes");
        fs::write(&path, text).expect("write the file");
        let names = read(&path)?;
        Ok(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_line_is_a_certname() {
        let text = "# the fleet\n\n b.example.net # a comment\r\na.example.net\nb.example.net\n";
        assert_eq!(
            read_text(text),
            Ok(vec!["a.example.net".into(), "b.example.net".into()])
        );
        assert_eq!(read_text(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let long = "x".repeat(NAME_LEN_MAX + 1);
        for text in ["a\nb c\n", &format!("a\n{long}\n")] {
            let error = read_text(text).expect_err("refused");
            assert!(error.contains("nodes:2: "), "{error}");
        }
        let many: String = (0..=NODES_MAX)
            .map(|number| format!("{number}\n"))
            .collect();
        assert!(read_text(&many).expect_err("refused").contains("more than"));
        let last = many.trim_end().rfind('\n').unwrap_or(0);
        assert_eq!(
            read_text(&many[..last]).expect("as many as may be").len(),
            NODES_MAX
        );
        let error = read(Path::new("/nowhere/nodes")).expect_err("refused");
        assert!(
            error.starts_with("/nowhere/nodes: cannot read it"),
            "{error}"
        );
        let error = read(Path::new("/dev/null")).expect_err("refused");
        assert!(error.contains("no regular file"), "{error}");
    }
}
