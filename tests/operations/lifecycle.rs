//! The life of the process: flags, exit codes, the files it writes, signals.
//!
//! Where midge should behave like nats-server, the test runs on both.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use test_support::{Broker, BrokerBuilder, broker::is_listening, tools, wait_for, wait_until};

macro_rules! on_both_brokers {
    ($($test:ident),* $(,)?) => {
        mod midge {
            use test_support::Broker;
            $(#[test] fn $test() { super::$test(Broker::midge()); })*
        }
        mod nats_server {
            use test_support::Broker;
            $(#[test] fn $test() { super::$test(Broker::nats_server()); })*
        }
    };
}

on_both_brokers![
    version_is_printed,
    help_is_printed,
    good_configuration_passes_the_test,
    bad_configuration_fails_the_test,
    test_needs_a_configuration,
    missing_configuration_ends_the_start,
    unknown_word_is_refused,
    pid_file_holds_the_pid,
    unwritable_pid_file_ends_the_start,
    ports_file_is_removed_at_the_end,
    port_in_use_ends_the_start,
    monitoring_port_in_use_ends_the_start,
    sigterm_exits_with_success,
    sigint_exits_with_success,
    clients_see_the_connection_close_at_shutdown,
    sigusr1_reopens_the_log_file,
    sigusr1_without_a_log_file_is_ignored,
    log_file_is_appended_to,
    signal_flag_reaches_a_pid,
    flags_override_the_file,
];

/// `-v`, `--version` and the word `version` print one line and exit with 0.
fn version_is_printed(broker: BrokerBuilder) {
    for flag in ["-v", "--version"] {
        let output = run(&broker, &[flag]);
        let text = stdout(&output);
        let program = name_of(&broker.program_path());
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(text.starts_with(&format!("{program}: v")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

/// `-h` and `--help` list the flags and exit with 0.
fn help_is_printed(broker: BrokerBuilder) {
    for flag in ["-h", "--help"] {
        let output = run(&broker, &[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        let text = stdout(&output);
        for known in ["--port", "--config", "--ports_file_dir", "--pid", "--log"] {
            assert!(text.contains(known), "{flag} does not name {known}: {text}");
        }
    }
}

/// `-t` with a valid file says so and exits with 0, and nothing is started.
fn good_configuration_passes_the_test(broker: BrokerBuilder) {
    let (_folder, file) = file_with("port: 4999\nmax_payload: 1KB\n");
    let output = run(&broker, &["-t", "-c", path(&file)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("is valid (sha256:"), "{output:?}");
}

/// `-t` names file, line and key of the error and exits with 1.
fn bad_configuration_fails_the_test(broker: BrokerBuilder) {
    let (_folder, file) = file_with("port: 4999\nno_such_key: 1\n");
    let output = run(&broker, &["-t", "-c", path(&file)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stderr(&output);
    for part in [format!("{}:2:", path(&file)), "no_such_key".to_owned()] {
        assert!(text.contains(&part), "{part} is missing: {text}");
    }
}

/// `-t` alone has nothing to test.
fn test_needs_a_configuration(broker: BrokerBuilder) {
    let output = run(&broker, &["-t"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("--config"), "{output:?}");
}

/// A missing file fails the start, and the error names it.
fn missing_configuration_ends_the_start(broker: BrokerBuilder) {
    let output = run(&broker, &["-c", "/no/such/file.conf"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("/no/such/file.conf"), "{output:?}");
}

/// A word that is not a flag is named, and the exit code is 1.
fn unknown_word_is_refused(broker: BrokerBuilder) {
    let output = run(&broker, &["frobnicate"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("frobnicate"), "{output:?}");
}

/// The pid file holds the decimal pid and nothing else.
fn pid_file_holds_the_pid(broker: BrokerBuilder) {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let file = folder.path().join("broker.pid");
    let broker = broker.flag("-P").flag(path(&file)).start();
    let text = fs::read_to_string(&file).expect("read the pid file");
    assert_eq!(text, broker.pid().to_string());
}

/// A pid file that cannot be written fails the start.
fn unwritable_pid_file_ends_the_start(broker: BrokerBuilder) {
    let output = run(
        &broker,
        &["-a", "127.0.0.1", "-p", "-1", "-P", "/no/such/folder/pid"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("/no/such/folder/pid"),
        "{output:?}"
    );
}

/// The ports file is removed when the broker stops.
fn ports_file_is_removed_at_the_end(broker: BrokerBuilder) {
    let mut broker = broker.start();
    let file = ports_file(broker.folder()).expect("a ports file");
    assert!(name_of(&file).ends_with(&format!("_{}.ports", broker.pid())));
    broker.stop();
    assert!(ports_file(broker.folder()).is_none());
}

/// An occupied client port is named, and the exit code is 1.
fn port_in_use_ends_the_start(broker: BrokerBuilder) {
    let taken = taken_port();
    let port = taken.local_addr().expect("its address").port().to_string();
    let output = run(&broker, &["-a", "127.0.0.1", "-p", &port]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stderr(&output);
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(text.contains("[FTL]"), "{text}");
}

/// So is an occupied monitoring port.
fn monitoring_port_in_use_ends_the_start(broker: BrokerBuilder) {
    let taken = taken_port();
    let port = taken.local_addr().expect("its address").port().to_string();
    let output = run(&broker, &["-a", "127.0.0.1", "-p", "-1", "-m", &port]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains(&port), "{output:?}");
}

/// SIGTERM stops the broker with exit code 0, and its ports are free.
fn sigterm_exits_with_success(broker: BrokerBuilder) {
    ends_well(broker, libc::SIGTERM);
}

/// So does SIGINT.
fn sigint_exits_with_success(broker: BrokerBuilder) {
    ends_well(broker, libc::SIGINT);
}

fn ends_well(broker: BrokerBuilder, signal: i32) {
    let mut broker = broker.start();
    let mut client = broker.connect();
    client.send("SUB a 1\r\n");
    client.sync();
    broker.signal(signal);
    assert_eq!(broker.wait_exit().code(), Some(0));
    assert!(!is_listening(broker.client_addr()));
    assert!(!is_listening(broker.monitor_addr()));
    broker.log().wait_for("Server Exiting..");
}

/// Clients are closed without an error when the broker stops.
fn clients_see_the_connection_close_at_shutdown(broker: BrokerBuilder) {
    let mut broker = broker.start();
    let mut clients: Vec<_> = (0..10).map(|_| broker.connect()).collect();
    for client in &mut clients {
        client.sync();
    }
    broker.stop();
    for mut client in clients {
        assert!(client.read_to_end().is_empty());
    }
}

/// After the log file was moved, SIGUSR1 opens a new one.
fn sigusr1_reopens_the_log_file(broker: BrokerBuilder) {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let broker = broker.flag("-l").flag(path(&file)).start();
    wait_for_text(&file, "Server is ready");
    fs::rename(&file, &moved).expect("move the log");
    broker.signal(libc::SIGUSR1);
    wait_for_text(&file, "File log re-opened");
    assert!(read(&moved).contains("Server is ready"));
    assert!(!read(&file).contains("Server is ready"));
}

/// Without a log file SIGUSR1 has no effect.
fn sigusr1_without_a_log_file_is_ignored(broker: BrokerBuilder) {
    let broker = broker.start();
    broker.signal(libc::SIGUSR1);
    broker.log().wait_for("File log re-open ignored");
    assert_eq!(broker.get("/healthz").status, 200);
}

/// An existing log file is appended to.
fn log_file_is_appended_to(broker: BrokerBuilder) {
    let (_folder, file) = file_with("the line before\n");
    let _broker = broker.flag("-l").flag(path(&file)).start();
    wait_for_text(&file, "Server is ready");
    assert!(read(&file).starts_with("the line before\n"));
}

/// `--signal quit=PID` stops the broker with that pid.
fn signal_flag_reaches_a_pid(broker: BrokerBuilder) {
    let program = broker.program_path();
    let mut broker = broker.start();
    let argument = format!("quit={}", broker.pid());
    let output = run(&Broker::program(program), &["--signal", &argument]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(broker.wait_exit().code(), Some(0));
}

/// A flag overrides the configuration file.
fn flags_override_the_file(broker: BrokerBuilder) {
    let broker = broker
        .config("port: 1\nserver_name: from-file\nmax_payload: 1000\n")
        .flag("-n")
        .flag("from-flag")
        .start();
    let client = broker.connect();
    assert_eq!(client.info()["server_name"], "from-flag");
    assert_eq!(client.info()["max_payload"], 1000);
}

/// An unknown flag is named, and the exit code is not 0. (nats-server exits with 0 here,
/// which hides the mistake from a service manager.)
#[test]
fn unknown_flag_is_refused() {
    for arguments in [["--no_such_flag", "1"], ["-p", "many"]] {
        let output = run(&Broker::midge(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let named = arguments[0].trim_start_matches('-');
        assert!(stderr(&output).contains(named), "{output:?}");
    }
}

/// Started through a link named `nats-server`, midge uses that name for its ports file,
/// so that tools that look for it still work.
#[test]
fn start_through_a_link() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let link = folder.path().join("nats-server");
    symlink(tools::midge(), &link).expect("make a link");
    let broker = Broker::program(&link).start();
    let file = ports_file(broker.folder()).expect("a ports file");
    assert_eq!(
        name_of(&file),
        format!("nats-server_{}.ports", broker.pid())
    );
    let output = run(&Broker::program(&link), &["-v"]);
    assert!(stdout(&output).starts_with("nats-server: v"), "{output:?}");
}

/// Without flags for an address midge listens on loopback only.
#[test]
fn loopback_by_default() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let mut child = Command::new(tools::midge())
        .args(["-p", "-1", "-m", "-1", "--ports_file_dir"])
        .arg(folder.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("start midge");
    let ports = wait_for("the ports file", || {
        fs::read_to_string(ports_file(folder.path())?).ok()
    });
    child.kill().expect("end midge");
    child.wait().expect("wait for midge");
    let ports: serde_json::Value = serde_json::from_str(&ports).expect("the ports file is JSON");
    for kind in ["nats", "monitoring"] {
        let urls = ports[kind].as_array().expect("a list of addresses");
        assert!(!urls.is_empty(), "{ports}");
        assert!(
            urls.iter().all(|url| url
                .as_str()
                .is_some_and(|url| url.contains("://127.0.0.1:"))),
            "{ports}"
        );
    }
}

/// Runs the program until it exits.
fn run(broker: &BrokerBuilder, arguments: &[&str]) -> Output {
    let mut child = Command::new(broker.program_path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the program");
    let pid = child.id();
    // Little is written, so the pipes cannot fill before the end.
    wait_for(&format!("process {pid} with {arguments:?} ends"), || {
        child.try_wait().expect("wait for the program")
    });
    child.wait_with_output().expect("read what it wrote")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file_with(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, text).expect("write the file");
    (folder, file)
}

fn taken_port() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").expect("take a port")
}

fn ports_file(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .expect("read the folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "ports"))
}

fn wait_for_text(file: &Path, text: &str) {
    wait_until(&format!("{text:?} in {}", file.display()), || {
        read(file).contains(text)
    });
}

/// The text of a file; empty if it does not exist.
fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
