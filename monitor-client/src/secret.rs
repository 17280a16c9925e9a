//! Passwords and tokens: never shown, and read from small files.

use std::{fmt, path::Path};

use crate::{Error, files};

/// Longest file of a secret, in bytes.
const FILE_MAX: u64 = 4096;

/// A password or token. `Debug` does not show it, and it has no `Display`.
#[derive(Clone, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to send it.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads the secret in the only line of a file, and a warning if every user of the host can read
/// it.
///
///  # Errors
///
/// [`Error::File`]: it cannot be read, is larger than 4 KiB, empty, or has several lines or control
/// characters.
pub fn read(path: &Path) -> Result<(Secret, Option<String>), Error> {
    let content = files::read(path, FILE_MAX)?;
    let fault = |detail: &str| Err(files::fault(path, detail.to_owned()));
    let Ok(text) = String::from_utf8(content.bytes) else {
        return fault("not a text in UTF-8");
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return fault("is empty: write the secret into its first line");
    }
    if text.contains(char::is_control) {
        return fault("has more than one line, or control characters: only one line is expected");
    }
    let warning = content.is_public.then(|| files::public_warning(path));
    Ok((Secret::new(text), warning))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hidden");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.text(), "hidden");
    }

    #[test]
    fn one_line_of_a_file_is_the_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        for (content, expected) in [
            ("s3cret", Ok("s3cret")),
            (" with blanks \r\n", Ok(" with blanks ")),
            ("ü\n\n", Ok("ü")),
            ("", Err("is empty")),
            ("\n", Err("is empty")),
            ("one\ntwo\n", Err("more than one line")),
            ("a\0b", Err("control characters")),
        ] {
            fs::write(&path, content).expect("written");
            match (read(&path), expected) {
                (Ok((secret, _)), Ok(text)) => assert_eq!(secret.text(), text),
                (Err(error), Err(reason)) => {
                    let error = error.to_string();
                    assert!(error.contains(reason) && !error.contains("two"), "{error}");
                }
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        }
        fs::write(&path, [0xff]).expect("written");
        assert!(read(&path).is_err());
        fs::write(&path, "x".repeat(5000)).expect("written");
        assert!(read(&path).is_err());
    }

    #[test]
    fn a_secret_that_everybody_can_read_causes_a_warning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "s3cret").expect("written");
        for (mode, warned) in [(0o600, false), (0o644, true)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("own file");
            let (_, warning) = read(&path).expect("a secret");
            assert_eq!(warning.is_some(), warned);
        }
    }
}
