//! What receives collectd's notifications and values in the tests: the plugins exec, notify_nagios and
//! unixsock, as collectd comes with them.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use test_support::{PATIENCE, wait_for};

/// Where collectd's own plugins are.
pub(crate) const PLUGINS: &str = "/usr/lib/collectd";

/// Stores what it gets on standard input as a file of its own.
const SCRIPT: &str = "#!/bin/sh\n\
    file=$(mktemp \"$1/new.XXXXXXXX\") && cat >\"$file\" && mv \"$file\" \"$1/got.${file##*.}\"\n";

/// The receivers of one collectd, or of one after the other.
pub(crate) struct Chain {
    folder: TempDir,
}

/// A notification as the plugin exec passes it on.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Severity, Time, Host, Plugin, …, and the metadata.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) message: String,
}

impl Received {
    /// A header; empty if it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Severity, type and type instance.
    pub(crate) fn state(&self) -> (&str, String) {
        let name = format!("{}-{}", self.get("Type"), self.get("TypeInstance"));
        (self.get("Severity"), name)
    }
}

impl Chain {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("chain-").tempdir();
        let chain = Self {
            folder: folder.expect("a temporary folder"),
        };
        // exec runs its programs as another user than root.
        let folder = chain.folder.path();
        allow(folder, 0o755);
        fs::create_dir(chain.inbox()).expect("a folder");
        allow(&chain.inbox(), 0o777);
        fs::write(chain.script(), SCRIPT).expect("the script");
        allow(&chain.script(), 0o755);
        fs::write(chain.nagios_file(), "").expect("the command file");
        chain
    }

    /// Lines of collectd's configuration, to be put behind `LoadPlugin nats`.
    pub(crate) fn config(&self) -> String {
        format!(
            "PluginDir \"{PLUGINS}\"\nLoadPlugin exec\n<Plugin exec>\n\
             NotificationExec \"{}\" {:?} {:?}\n</Plugin>\n\
             LoadPlugin notify_nagios\n<Plugin notify_nagios>\nCommandFile {:?}\n</Plugin>\n\
             LoadPlugin unixsock\n<Plugin unixsock>\nSocketFile {:?}\nSocketGroup \"nogroup\"\n\
             SocketPerms \"0660\"\nDeleteSocket true\n</Plugin>\n",
            user(),
            self.script(),
            self.inbox(),
            self.nagios_file(),
            self.socket(),
        )
    }

    /// The notifications so far; those of one poll in any order.
    pub(crate) fn received(&self) -> Vec<Received> {
        let files = fs::read_dir(self.inbox()).expect("the inbox").flatten();
        let got = files.filter(|file| file.file_name().to_string_lossy().starts_with("got."));
        let mut all: Vec<_> = got
            .map(|file| parse(&fs::read_to_string(file.path()).expect("a notification")))
            .collect();
        all.sort_by(|a, b| a.get("Time").cmp(b.get("Time")));
        all
    }

    /// Forgets the notifications so far.
    pub(crate) fn forget(&self) {
        for file in fs::read_dir(self.inbox()).expect("the inbox").flatten() {
            fs::remove_file(file.path()).expect("removed");
        }
    }

    /// Waits for a notification.
    pub(crate) fn wait_for(&self, what: &str, is_it: impl Fn(&Received) -> bool) -> Received {
        wait_for(what, || self.received().into_iter().find(|got| is_it(got)))
    }

    /// Waits for a notification about a finding with this code and change.
    pub(crate) fn wait_for_finding(&self, code: &str, change: &str) -> Received {
        let what = format!("notification that {code} {change}");
        self.wait_for(&what, |got| {
            got.get("Code") == code && got.get("Change") == change
        })
    }

    /// Waits for a notification with this severity and identifier.
    pub(crate) fn wait_for_state(&self, severity: &str, name: &str) -> Received {
        let state = (severity, name.to_owned());
        self.wait_for(&format!("{severity} of {name}"), |got| got.state() == state)
    }

    /// The commands that Nagios got.
    pub(crate) fn nagios(&self) -> Vec<String> {
        let text = fs::read_to_string(self.nagios_file()).expect("the command file");
        text.lines().map(str::to_owned).collect()
    }

    /// The value that collectd's cache has.
    pub(crate) fn value(&self, identifier: &str) -> Option<f64> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        writeln!(stream, "GETVAL \"{identifier}\"").expect("sent");
        let mut lines = BufReader::new(stream).lines();
        let mut line = || lines.next().expect("a line").expect("an answer");
        // The first line is the status: the number of values, or an error.
        if !line().starts_with("1 ") {
            return None;
        }
        line().split_once('=')?.1.parse().ok()
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.folder.path().join("inbox")
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn nagios_file(&self) -> PathBuf {
        self.folder.path().join("nagios.cmd")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

/// Whom exec runs programs as: it refuses root.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "root" => "nobody".to_owned(),
        user => user.to_owned(),
    }
}

fn parse(text: &str) -> Received {
    let (headers, message) = text.split_once("\n\n").expect("headers and a message");
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    Received {
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        message: message.trim_end().to_owned(),
    }
}
