//! The same configuration files for a real nats-server and for midge: both must accept or
//! both must refuse, and what both accept must have the same digest, that is the same
//! values. Deliberate differences of midge are listed with their reasons.
//!
//! Needs a nats-server 2.15 on PATH.

mod differences;
mod different;
mod fixture;
mod keys;
mod page;
mod same;
mod values;

use std::{fs, process::Command};

use midge::config;
use tempfile::TempDir;

use self::{
    different::{DIFFERENT, Difference},
    same::SAME,
};

/// Environment variables of both.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("T_NUMBER", "12345"),
    ("T_QUOTED", "\"12345\""),
    ("T_WORD", "abc"),
    ("T_CHAIN", "$T_WORD"),
    ("T_MAP", "{a: b}"),
    ("T_EMPTY", ""),
    ("T_SELF", "$T_SELF"),
    ("T_TWO", "a b"),
];

/// Files that may be included.
const FILES: &[(&str, &str)] = &[
    ("values.conf", "x: 5\n"),
    ("pair.conf", "a: b\n"),
    ("outer.conf", "host: $x\n"),
    ("empty.conf", ""),
    ("sub/next.conf", "include last.conf\n"),
    ("sub/last.conf", "port: 7\n"),
];

/// The digest of a file that is accepted, or why it is refused.
type Verdict = Result<String, String>;

struct Judges(TempDir);

impl Judges {
    fn new() -> Judges {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("sub")).expect("a folder can be made");
        for (name, text) in FILES {
            fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        let judges = Judges(folder);
        let digest = judges.nats_server("port: 5");
        let known = "sha256:31e700d8099c9ba65abbb6651b7440e19fb67478741216737098f7b78467e737";
        assert_eq!(
            digest.as_deref(),
            Ok(known),
            "the nats-server on PATH is too old to compare with: install nats-server 2.15.1"
        );
        judges
    }

    fn write(&self, text: &str) -> std::path::PathBuf {
        let path = self.0.path().join("main.conf");
        fs::write(&path, text).expect("a file can be written");
        path
    }

    fn nats_server(&self, text: &str) -> Verdict {
        let path = self.write(text);
        let output = Command::new("nats-server")
            .args(["-t".as_ref(), "-c".as_ref(), path.as_os_str()])
            .envs(ENVIRONMENT.iter().copied())
            .output()
            .expect("nats-server cannot be run: install nats-server 2.15.1 and put it on PATH");
        let result = String::from_utf8_lossy(&output.stderr).into_owned();
        let digest = result.trim_end().rsplit_once(" is valid (");
        match (output.status.code(), digest) {
            (Some(0), Some((_, digest))) => Ok(digest.trim_end_matches(')').into()),
            (Some(1), _) => Err(result),
            other => panic!("nats-server cannot judge {text:?}: {other:?}: {result}"),
        }
    }

    fn midge(&self, text: &str) -> Verdict {
        let environment = |name: &str| {
            let pair = ENVIRONMENT.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| (*value).to_owned())
        };
        config::load(&self.write(text), &environment)
            .map(|(options, _)| options.config_digest)
            .map_err(|errors| errors.to_string())
    }
}

#[test]
fn midge_and_nats_server_read_the_same_configuration() {
    let judges = Judges::new();
    let mut differences = Vec::new();
    for text in SAME {
        let (theirs, ours) = (judges.nats_server(text), judges.midge(text));
        let same = match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => theirs == ours,
            (theirs, ours) => theirs.is_ok() == ours.is_ok(),
        };
        if !same {
            differences.push(format!(
                "{text:?}\n  nats-server: {theirs:?}\n  midge: {ours:?}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_deliberate_differences_are_still_there() {
    let judges = Judges::new();
    let mut wrong = Vec::new();
    for Difference {
        text,
        midge_accepts,
        reason,
    } in DIFFERENT
    {
        let (theirs, ours) = (judges.nats_server(text), judges.midge(text));
        if ours.is_ok() != *midge_accepts || theirs.is_ok() == *midge_accepts {
            wrong.push(format!(
                "{text:?} ({reason})\n  nats-server: {theirs:?}\n  midge: {ours:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
