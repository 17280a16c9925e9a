//! The files for service managers: that systemd reads them as they are meant, that they agree
//! with each other, and that the init script does what it says.

mod sysvinit;

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use test_support::tools;

use super::socket_activation::systemd;

/// The keys of a unit file with all their values in order.
struct Unit(BTreeMap<String, Vec<String>>);

impl Unit {
    fn read(name: &str) -> Self {
        let text = fs::read_to_string(conf(name)).expect("the unit");
        let mut unit: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines() {
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            let (key, value) = line.split_once('=').expect("a key");
            unit.entry(key.into()).or_default().push(value.into());
        }
        Self(unit)
    }

    fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that is there once.
    fn one(&self, key: &str) -> &str {
        match self.all(key) {
            [value] => value,
            values => panic!("{key} has the values {values:?}"),
        }
    }
}

fn conf(name: &str) -> PathBuf {
    tools::project().join("conf").join(name)
}

/// A copy of a unit that starts the midge of this build, in a folder of its own.
fn with_this_midge(name: &str, folder: &tempfile::TempDir) -> PathBuf {
    let text = fs::read_to_string(conf(name)).expect("the unit");
    let midge = tools::midge().display().to_string();
    let copy = folder.path().join(conf(name).file_name().expect("a name"));
    fs::write(&copy, text.replace("/usr/sbin/midge", &midge)).expect("written");
    copy
}

/// systemd of any version reads the units. Before 253 it ignores what it does not know, and says
/// so; the line before is in force then.
#[test]
fn systemd_reads_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(systemd("systemd-analyze"))
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(with_this_midge("systemd/midge.service", &folder))
        .arg(with_this_midge("systemd/midge.socket", &folder))
        .output()
        .expect("it runs");
    let written = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_ours = |line: &&str| line.contains("midge");
    let complaints = written.lines().filter(is_ours).filter(|line| {
        // Not an error: other units of this machine may be listed beside it.
        !line.contains("ignoring: notify-reload") && !line.contains("'ReloadSignal'")
    });
    assert_eq!(complaints.collect::<Vec<_>>(), [""; 0], "{written}");
    let unit = Unit::read("systemd/midge.service");
    assert_eq!(unit.all("Type"), ["notify", "notify-reload"]);
}

/// What systemd itself says about how much of the host the service can reach: 10 is everything,
/// and the score is what it was when this was written, or better.
#[test]
fn the_service_is_kept_from_the_rest_of_the_host() {
    let output = Command::new(systemd("systemd-analyze"))
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(conf("systemd/midge.service"))
        .output()
        .expect("it runs");
    let written = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{written}");
    assert!(written.contains("Overall exposure level"), "{written}");
    let unit = Unit::read("systemd/midge.service");
    assert_eq!(unit.one("CapabilityBoundingSet"), "");
    assert_ne!(unit.one("User"), "root");
    for (key, value) in [
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("RuntimeDirectory", "midge"),
        ("StateDirectory", "midge"),
        ("LogsDirectory", "midge"),
    ] {
        assert_eq!(unit.one(key), value);
    }
}

/// A reload tests the file that the service is started with before anything else happens.
#[test]
fn a_reload_tests_the_file_first() {
    let unit = Unit::read("systemd/midge.service");
    let start = unit.one("ExecStart");
    let (program, arguments) = start.split_once(' ').expect("arguments");
    let reload = [
        format!("{program} -t {arguments}"),
        format!("{program} --signal reload=${{MAINPID}}"),
    ];
    assert_eq!(unit.all("ExecReload"), reload);
    // systemd's own signal comes before the test.
    assert_eq!(unit.one("ReloadSignal"), "SIGCONT");
}

/// The example of a socket unit has the addresses of the defaults.
#[test]
fn the_socket_unit_has_the_default_addresses() {
    let unit = Unit::read("systemd/midge.socket");
    assert_eq!(unit.all("ListenStream"), ["0.0.0.0:4222", "127.0.0.1:8222"]);
    assert!(unit.all("Accept").is_empty(), "the broker accepts");
}

/// Upstart's own checker is not part of Debian. So: each line is a stanza that Upstart knows, and
/// what it starts, as whom and with how many files is what systemd is told.
#[test]
fn the_upstart_job_agrees_with_the_unit() {
    let unit = Unit::read("systemd/midge.service");
    let job = fs::read_to_string(conf("upstart/midge.conf")).expect("the job");
    let mut stanzas = BTreeMap::new();
    for line in job.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (stanza, rest) = line.split_once(' ').unwrap_or((line, ""));
        let known = [
            "description",
            "start",
            "stop",
            "setuid",
            "setgid",
            "limit",
            "respawn",
            "kill",
            "console",
            "exec",
        ];
        assert!(known.contains(&stanza), "{line}");
        stanzas.insert(stanza, rest);
    }
    let files = unit.one("LimitNOFILE");
    for (stanza, value) in [
        ("exec", unit.one("ExecStart")),
        ("setuid", unit.one("User")),
        ("setgid", unit.one("Group")),
        ("limit", &format!("nofile {files} {files}")),
        ("start", "on runlevel [2345]"),
        ("stop", "on runlevel [!2345]"),
    ] {
        assert_eq!(stanzas[stanza], value, "{stanza}");
    }
    // Longer than a stop takes.
    let patience = unit.one("TimeoutStopSec");
    assert_eq!(stanzas["kill"], format!("timeout {patience}"));
}
