//! The init script, run for real.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
};

use test_support::{Broker, broker::is_listening, free_address, tools, wait_until};

use super::conf;

/// A host's settings, and the script.
struct Script {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Script {
    fn new() -> Self {
        let script = Self {
            folder: tempfile::tempdir().expect("a folder"),
            address: free_address(),
        };
        let [user, group] = ["-un", "-gn"].map(|flag| {
            let output = Command::new("id").arg(flag).output().expect("id runs");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        });
        script.configure("");
        let settings = format!(
            "DAEMON={:?}\nCONFIG={:?}\nPIDFILE={:?}\nRUN_USER={user}\nRUN_GROUP={group}\n\
             OPEN_FILES=$(ulimit -n)\nOPTIONS='-l {}'\n",
            tools::midge(),
            script.path("midge.conf"),
            script.path("run/midge.pid"),
            script.path("log").display()
        );
        fs::write(script.path("settings"), settings).expect("written");
        script
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, more: &str) {
        let text = format!("listen: \"{}\"\nhttp_port: 0\n{more}\n", self.address);
        fs::write(self.path("midge.conf"), text).expect("written");
    }

    /// Settings that replace those before.
    fn set(&self, line: &str) {
        let file = self.path("settings");
        let text = fs::read_to_string(&file).expect("the settings");
        fs::write(file, format!("{text}{line}\n")).expect("written");
    }

    /// Runs the script; returns its exit code and what it wrote.
    fn run(&self, action: &str) -> (i32, String) {
        let output = Command::new("sh")
            .arg(conf("sysvinit/midge"))
            .arg(action)
            .env("MIDGE_SETTINGS", self.path("settings"))
            .output()
            .expect("sh runs");
        let written = [output.stdout, output.stderr].concat();
        let written = String::from_utf8_lossy(&written).into_owned();
        (output.status.code().expect("an exit code"), written)
    }

    /// Runs it; the exit code must be this one, and the output have this text.
    fn expect(&self, action: &str, code: i32, text: &str) {
        let (found, written) = self.run(action);
        assert!(
            found == code && written.contains(text),
            "{action}: {found} instead of {code}, {written:?} with {text:?}\n{}",
            self.log()
        );
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.path("run/midge.pid")).expect("a pid file")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Script {
    /// Also when the test fails.
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// The actions and exit codes that LSB defines.
#[test]
fn the_init_script_starts_reloads_and_stops() {
    let script = Script::new();
    script.expect("status", 3, "not running");
    script.expect("try-restart", 0, "");
    script.expect("reload", 7, "not running");
    script.expect("stop", 0, "");
    assert!(!is_listening(script.address));

    script.expect("start", 0, "");
    assert!(is_listening(script.address), "{}", script.log());
    let first = script.pid();
    script.expect("status", 0, &format!("process {first}"));
    script.expect("start", 0, "already running");
    assert_eq!(script.pid(), first);

    script.configure("max_payload: 2000");
    script.expect("reload", 0, "");
    wait_until("it has reloaded", || {
        script.log().contains("Reloaded: max_payload")
    });
    script.configure("max_payload: {");
    for action in ["reload", "force-reload"] {
        script.expect(action, 6, "midge.conf");
    }
    assert!(!script.log().contains("Failed to reload"));
    script.configure("max_payload: 3000");

    for action in ["restart", "try-restart"] {
        let before = script.pid();
        script.expect(action, 0, "");
        assert_ne!(script.pid(), before);
        assert!(is_listening(script.address));
    }
    let client = TcpStream::connect(script.address).expect("connect");
    script.expect("stop", 0, "");
    assert!(!is_listening(script.address));
    assert!(!script.path("run/midge.pid").exists());
    assert!(script.log().contains("Server Exiting.."));
    script.expect("status", 3, "not running");
    script.expect("unknown", 2, "usage");
    drop(client);
}

/// As a package does it: another program was installed.
#[test]
fn the_init_script_has_a_new_program_take_over_or_restarts() {
    let script = Script::new();
    script.expect("try-upgrade", 0, "");
    assert!(!is_listening(script.address));
    script.expect("start", 0, "");
    let first = script.pid();
    script.expect("try-upgrade", 0, "");
    assert_eq!(script.pid(), first, "it runs this program already");

    let program = |name: &str, text: &str| {
        let real = tools::midge().display().to_string();
        let path = script.path(name).join("midge");
        fs::create_dir(script.path(name)).expect("a folder");
        fs::write(&path, format!("#!/bin/sh\n{text}\nexec {real} \"$@\"\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        script.set(&format!("DAEMON={}", path.display()));
    };
    program("new", "");
    script.expect("try-upgrade", 0, "has taken over from process");
    let second = script.pid();
    assert_ne!(second, first);
    assert!(is_listening(script.address));

    // The configuration is wrong: what runs is left alone.
    script.configure("max_payload: {");
    script.expect("try-upgrade", 6, "midge.conf");
    assert_eq!(script.pid(), second);
    script.configure("");

    program(
        "refuses",
        "[ \"$1\" != --signal ] || { echo refused >&2; exit 1; }",
    );
    let (code, written) = script.run("try-upgrade");
    assert_eq!(code, 0, "{written}");
    assert!(
        written.contains("refused\n")
            && written.contains("no upgrade without a gap: the broker is restarted"),
        "{written}"
    );
    assert_ne!(script.pid(), second);
    assert!(is_listening(script.address));
}

/// What is in the way of a start is an exit code and a text.
#[test]
fn the_init_script_says_why_nothing_was_started() {
    let script = Script::new();
    script.configure("max_payload: {");
    script.expect("start", 6, "midge.conf");
    script.configure("");
    script.set("PATIENCE=2");
    let taken = TcpListener::bind(script.address).expect("the port");
    script.expect("start", 1, "not ready after 2 s");
    drop(taken);
    script.set("OPEN_FILES=2000000000");
    script.set("PATIENCE=60");
    script.expect("start", 0, "cannot have 2000000000 open files");
    script.expect("stop", 0, "");
    script.set("DAEMON=/nonexistent/midge");
    script.expect("start", 5, "not installed");
}

/// The number in a pid file may be that of another program, or of another broker's user.
#[test]
fn the_init_script_leaves_other_processes_alone() {
    let script = Script::new();
    fs::create_dir_all(script.path("run")).expect("a folder");
    let mut other = Command::new("sleep")
        .arg("600")
        .spawn()
        .expect("sleep runs");
    fs::write(script.path("run/midge.pid"), other.id().to_string()).expect("written");
    script.expect("status", 1, "dead, but");
    script.expect("stop", 0, "");
    assert_eq!(other.try_wait().expect("its state"), None);
    other.kill().expect("it runs");
    other.wait().expect("it ends");
    let mut broker = Broker::midge().start();
    fs::create_dir_all(script.path("run")).expect("a folder");
    fs::write(script.path("run/midge.pid"), broker.pid().to_string()).expect("written");
    script.set("RUN_USER=midge-of-another-user");
    script.expect("stop", 0, "");
    assert!(!broker.has_exited());
}
