//! What a reload would do, asked in each way: `midge -t --diff`, `/reload?dry_run`, and what the
//! reload itself then reports are the same.

use std::{
    fs,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use test_support::{Broker, http, tools, wait_until};

const SOCKET: &str = "monitor { unix: m.sock }\n";

fn broker(more: &str) -> Broker {
    Broker::midge().config(format!("{SOCKET}{more}")).start()
}

/// Runs midge in this folder.
fn midge(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(tools::midge())
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("midge runs")
}

/// Exit code and output of a comparison with the running broker.
fn compared(folder: &Path, file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let file = file.to_str().expect("a plain path");
    let output = midge(folder, &[&["-t", "--diff", "-c", file], more].concat());
    let text = match output.stdout.is_empty() {
        true => output.stderr,
        false => output.stdout,
    };
    let text = String::from_utf8(text).expect("text");
    (output.status.code(), text)
}

#[test]
fn each_way_shows_the_same_plan() {
    let broker = broker("max_payload: 1000\n");
    let (folder, own) = (broker.folder(), broker.folder().join("broker.conf"));
    let (code, text) = compared(folder, &own, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("nothing to do"), "{text}");

    let other = folder.join("other.conf");
    let changed = format!("{SOCKET}max_payload: 77\nserver_name: other\n");
    fs::write(&other, &changed).expect("space for a file");
    let (code, text) = compared(folder, &other, &[]);
    assert_eq!(code, Some(3), "{text}");
    for line in [
        "applied by a reload:\n  max_payload: 1000 -> 77\n",
        "needs a restart:\n  server_name: unset -> \"other\" (clients and other brokers know",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // From another folder the broker is found by its process, and the socket with it.
    let (code, text) = compared(Path::new("/"), &own, &[]);
    assert_eq!(code, Some(0), "{text}");

    // Once it is the broker's own file, each way says so.
    fs::write(&own, &changed).expect("space for a file");
    let (code, shown) = compared(folder, &own, &["--format", "json"]);
    assert_eq!(code, Some(3), "{shown}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let socket = folder.join("m.sock");
    let asked = http::request_unix(&socket, "POST", "/reload?dry_run=1").json();
    for key in ["applied", "needs_restart", "config_digest"] {
        assert_eq!(shown[key], asked[key], "{key}");
    }
    let done = http::request_unix(&socket, "POST", "/reload").json();
    for key in ["applied", "needs_restart"] {
        assert_eq!(shown[key], done[key], "{key}");
    }
    broker.log().wait_for("Reloaded: max_payload = 77");
    broker
        .log()
        .wait_for("server_name is \"other\" in the configuration but stays unset");
    let events = broker.get_json("/eventsz?type=reload").to_string();
    let event = "applied: max_payload; needs a restart: server_name";
    assert!(events.contains(event), "{events}");
    // What needs a restart is left, and is a finding.
    let (code, text) = compared(folder, &own, &[]);
    assert_eq!(code, Some(3), "{text}");
    assert!(!text.contains("max_payload"), "{text}");
    wait_until("the finding names it", || {
        let findings = broker.get_json("/explainz")["findings"].to_string();
        findings.contains("config-differs") && findings.contains("server_name")
    });
}

#[test]
fn a_file_that_would_be_refused_is_refused_before() {
    let mut broker = broker("max_payload: 1000\n");
    let folder = broker.folder().to_owned();
    let other = folder.join("other.conf");
    for (text, code, reported) in [
        ("max_payload: 77\n", 2, "max_payload: 1000 -> 77"),
        ("max_payload: many\n", 1, "other.conf:2:"),
        ("log_file: \"/none/such/log\"\n", 1, "/none/such/log"),
        ("pid_file: \"/none/such/pid\"\n", 1, "/none/such/pid"),
    ] {
        fs::write(&other, format!("{SOCKET}{text}")).expect("space for a file");
        let (found, shown) = compared(&folder, &other, &[]);
        assert_eq!(found, Some(code), "{text}: {shown}");
        assert!(shown.contains(reported), "{text}: {shown}");
    }
    assert_eq!(
        broker.get_json("/varz")["max_payload"],
        1000,
        "nothing was applied"
    );
    // Another file is never applied, only compared.
    let apply = http::request_unix(&folder.join("m.sock"), "POST", "/reload?file=/etc/passwd");
    assert_eq!(apply.status, 400, "{apply:?}");
    assert!(broker.stop().success());
    // A socket that nobody listens on, as a crash leaves it.
    drop(UnixListener::bind(folder.join("m.sock")).expect("a socket"));
    let (code, shown) = compared(&folder, &folder.join("broker.conf"), &[]);
    assert_eq!(code, Some(4), "{shown}");
}

/// A broker without a monitoring socket is asked by its process id: that of the only broker with this
/// file, or of the pid file.
#[test]
fn a_broker_without_a_socket_is_asked_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = format!("pid_file: {:?}\n", folder.path().join("pid").display());
    let broker = Broker::midge()
        .config(format!("max_payload: 1000\n{pid_file}"))
        .start();
    let own = broker.folder().join("broker.conf");
    let (code, text) = compared(Path::new("/"), &own, &[]);
    assert_eq!(code, Some(0), "{text}");
    let other = folder.path().join("other.conf");
    for (more, code, reported) in [
        ("max_payload: 77\n", 2, "max_payload: 1000 -> 77"),
        ("server_name: other\n", 3, "server_name: unset -> \"other\""),
        ("max_payload: many\n", 1, "other.conf:1:"),
        ("log_file: \"/none/such/log\"\n", 1, "/none/such/log"),
    ] {
        fs::write(&other, format!("{more}{pid_file}")).expect("space for a file");
        let (found, shown) = compared(Path::new("/"), &other, &[]);
        assert_eq!(found, Some(code), "{more}: {shown}");
        assert!(shown.contains(reported), "{more}: {shown}");
    }
    let changed = format!("max_payload: 77\n{pid_file}");
    fs::write(&other, changed).expect("space for a file");
    let (code, shown) = compared(Path::new("/"), &other, &["--format", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, &shown["dry_run"]), (Some(2), &Value::Bool(true)));
    assert_eq!(broker.get_json("/varz")["max_payload"], 1000);
}

/// Two files are compared without a broker.
#[test]
fn two_files_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("space for a file");
    };
    file("old.conf", "port: 4333\nauthorization { token: s3cret }\n");
    file(
        "new.conf",
        "port: 4334\nauthorization { token: 0ther }\nping_max: 3\n",
    );
    let arguments = ["-t", "--against", "old.conf", "-c", "new.conf"];
    let output = midge(folder.path(), &arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(3), "{text}");
    for shown in [
        "port: 4333 -> 4334",
        "ping_max: 2 -> 3",
        "  authorization\n",
    ] {
        assert!(text.contains(shown), "{text}");
    }
    assert!(
        !text.contains("s3cret") && !text.contains("0ther"),
        "{text}"
    );
    // Without a test there is nothing to compare.
    let output = midge(folder.path(), &["--diff", "-c", "new.conf"]);
    assert_eq!(output.status.code(), Some(1));
}

/// The configuration with the place of each value, as the program prints it.
#[test]
fn the_configuration_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.conf"), "ping_max: 3\n").expect("space for a file");
    let arguments = ["config", "explain", "ping_max", "-c", "a.conf"];
    let output = midge(folder.path(), &arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.starts_with("ping_max: 3\n  from:    a.conf:1\n"),
        "{text}"
    );
    for (arguments, reported) in [
        (&["config", "explain", "nothing"][..], "there is no key"),
        (&["config"], "unrecognized command"),
    ] {
        let output = midge(folder.path(), arguments);
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(reported), "{text}");
    }
}
