//! The keys that nats-server reads, a directory for configurations, and the two servers
//! that check them.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use midge::config;
use tempfile::TempDir;

use test_support::pki::Pki;

/// The names, as data.
pub const NAMES: &str = include_str!("names.txt");

/// A user's public key, and a hash that matches no password.
const NKEY: &str = "UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6";
const HASH: &str = "$2a$11$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK";

/// Each block: its name, and the text around a line of it.
pub const BLOCKS: &[(&str, &str)] = &[
    ("top", "@"),
    ("cluster", "cluster { name: c, port: 6222\n@\n}"),
    (
        "compression",
        "cluster { name: c, port: 6222, compression {\n@\n} }",
    ),
    (
        "cluster authorization",
        "cluster { name: c, port: 6222, authorization { user: a, password: b\n@\n} }",
    ),
    ("tls", "tls {\n@\nREST }"),
    ("certs", "tls { certs: [ {\n@\nREST } ] }"),
    ("authorization", "authorization {\n@\nREST }"),
    ("user", "authorization { users: [ {\n@\nREST } ] }"),
    (
        "permissions",
        "authorization { users: [ { user: a, password: b, permissions {\n@\n} } ] }",
    ),
    (
        "publish",
        "authorization { users: [ { user: a, password: b, permissions { publish {\n@\n} } } ] }",
    ),
    (
        "allow_responses",
        "authorization { users: [ { user: a, password: b, \
         permissions { publish: a, allow_responses {\n@\n} } } ] }",
    ),
    ("account", "accounts { A {\n@\n} }"),
    ("limits", "accounts { A { limits {\n@\n} } }"),
    ("export", "accounts { A { exports [ {\n@\n} ] } }"),
    (
        "service export",
        "accounts { A { exports [ { service: \"a.*\"\n@\n} ] } }",
    ),
    (
        "import",
        "accounts { B { exports [ { stream: b }, { service: s } ] }\n A { imports [ {\n@\n} ] } }",
    ),
    (
        "import source",
        "accounts { B { exports [ { stream: b } ] }\n A { imports [ { stream: {\n@\nREST } } ] } }",
    ),
    (
        "stream import",
        "accounts { B { exports [ { stream: b }, { service: s } ] }\n \
         A { imports [ { stream: { account: B, subject: b }\n@\n} ] } }",
    ),
    (
        "service import",
        "accounts { B { exports [ { stream: b }, { service: s } ] }\n \
         A { imports [ { service: { account: B, subject: s }\n@\n} ] } }",
    ),
    ("mapping", "mappings { a: [ {\n@\nREST } ] }"),
];

/// A key of nats-server.
pub struct Name {
    pub block: &'static str,
    pub names: Vec<&'static str>,
    pub sample: &'static str,
}

pub fn names() -> Vec<Name> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, " | ");
            let mut next = || parts.next().unwrap_or_else(|| panic!("{line:?}"));
            Name {
                block: next(),
                names: next().split(", ").collect(),
                sample: next(),
            }
        })
        .collect()
}

/// Files that values refer to, and a directory for configurations.
pub struct Place {
    pub pki: Pki,
    folder: TempDir,
    count: AtomicUsize,
}

impl Place {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("empty"), "").expect("space for a file");
        Self {
            pki: Pki::new(&["b"]),
            folder,
            count: AtomicUsize::new(0),
        }
    }

    /// A file in which this key of the block has this value.
    pub fn text(&self, block: &str, key: &str, value: &str) -> String {
        let (_, around) = BLOCKS
            .iter()
            .find(|(name, _)| *name == block)
            .unwrap_or_else(|| panic!("no block {block:?}"));
        let rest = match (block, key) {
            ("user", "user" | "username") => "password: y",
            ("user", "pass" | "password") => "user: x",
            ("user", "nkey") => "",
            ("mapping", "dest" | "destination") => "weight: 50",
            ("mapping", "cluster") => "destination: b, weight: 50",
            ("user", _) => "user: x, password: y",
            ("tls" | "certs", "cert_file") => "key_file: \"KEY\"",
            ("tls" | "certs", "key_file") => "cert_file: \"CERT\"",
            ("tls", "certs" | "certificates") => "",
            ("tls" | "certs", _) => "cert_file: \"CERT\", key_file: \"KEY\"",
            ("authorization", "pass" | "password") => "user: x",
            ("authorization", _) => "",
            ("import source", "account") => "subject: b",
            ("import source", "subject") => "account: B",
            ("import source", _) => "account: B, subject: b",
            _ => "destination: b",
        };
        let path = |path: std::path::PathBuf| path.display().to_string();
        around
            .replace('@', &format!("{key}: {value}"))
            .replace("REST", rest)
            .replace("NKEY", NKEY)
            .replace("HASH", HASH)
            .replace("CERT", &self.pki.text("b.pem"))
            .replace("\"KEY\"", &format!("{:?}", self.pki.text("b.key")))
            .replace("\"CA\"", &format!("{:?}", self.pki.text("ca.pem")))
            .replace("FILE", &path(self.folder.path().join("empty")))
    }

    pub fn write(&self, text: &str) -> std::path::PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.conf"));
        fs::write(&path, text).expect("space for a file");
        path
    }

    pub fn nats_server(&self, path: &Path) -> Result<(), String> {
        let output = Command::new(test_support::tools::nats_server())
            .args(["-t".as_ref(), "-c".as_ref(), path.as_os_str()])
            .output()
            .expect("nats-server 2.15.1 is needed");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The same with midge, with the command line's checks of files.
    pub fn midge(&self, path: &Path) -> Result<Vec<String>, String> {
        let arguments = [
            "midge".as_ref(),
            "-t".as_ref(),
            "-c".as_ref(),
            path.as_os_str(),
        ];
        let parsed = config::parse(arguments.iter().map(OsString::from));
        let parsed = parsed.map_err(|error| error.to_string())?;
        let warnings = parsed.warnings.into_iter();
        Ok(warnings.map(|warning| warning.text).collect())
    }
}

/// The verdicts of both about a key and its value.
pub struct Case {
    pub block: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub theirs: Result<(), String>,
    pub ours: Result<Vec<String>, String>,
}

/// Lets both check each of these.
pub fn judge(place: &Place, jobs: &[(&'static str, &'static str, &'static str)]) -> Vec<Case> {
    let half = jobs.len().div_ceil(2);
    let work = |jobs: &[(&'static str, &'static str, &'static str)]| -> Vec<Case> {
        let judge = |(block, key, value): &(&'static str, &'static str, &'static str)| {
            let path = place.write(&place.text(block, key, value));
            Case {
                block,
                key,
                value,
                theirs: place.nats_server(&path),
                ours: place.midge(&path),
            }
        };
        jobs.iter().map(judge).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .chunks(half)
            .map(|jobs| scope.spawn(move || work(jobs)))
            .collect();
        let results = threads.into_iter();
        results
            .flat_map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}
