//! Threads that the system refuses. Those that it refuses to a running broker are a finding, which
//! has its test there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use test_support::{PATIENCE, tools};

/// More threads than the broker starts with.
const ENOUGH: u32 = 200;

/// With any number of threads that is too small, the broker ends with an error that says which one
/// it could not start.
#[test]
fn a_start_without_enough_threads_ends_with_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    open(folder.path(), 0o755).expect("other users may enter");
    let program = folder.path().join("midge");
    fs::copy(tools::midge(), &program).expect("a copy that other users may run");
    // Another user than root has threads already: none more is enough of a test.
    let most = if is_root() { ENOUGH } else { 2 };
    for count in 1..most {
        let log = folder.path().join("log");
        let output = fs::File::create(&log).expect("a log");
        let mut child = limited(count)
            .arg(&program)
            .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1"])
            .stdin(std::process::Stdio::null())
            .stderr(output)
            .spawn()
            .expect("prlimit and setpriv run (of the package util-linux)");
        let text = || fs::read_to_string(&log).expect("the log");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().expect("its state") {
                break status;
            }
            if text().contains("Server is ready") {
                end(child);
                assert!(count > 1, "it never had too few");
                return;
            }
            if Instant::now() > deadline {
                end(child);
                panic!("{count}: it hangs: {}", text());
            }
            thread::sleep(Duration::from_millis(2));
        };
        let text = text();
        assert_eq!(status.code(), Some(1), "{count}: {text}");
        let last = text.lines().last().unwrap_or_default();
        let is_named = last.contains("Error ") || last.contains("cannot start the thread");
        assert!(
            is_named && last.contains("(os error 11)") && !text.contains("panicked"),
            "{count}: {text}"
        );
    }
    assert!(!is_root(), "it does not start with {ENOUGH} threads");
}

/// Runs a program that may have so many threads, together with all others of its user; as root, so
/// that this limit counts at all, as a user that has no others.
fn limited(count: u32) -> Command {
    let limit = format!("--nproc={count}");
    if !is_root() {
        let mut command = Command::new("prlimit");
        command.arg(limit);
        return command;
    }
    let id = (61_000 + std::process::id() % 1000).to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command.args(["prlimit", &limit]);
    command
}

fn is_root() -> bool {
    // SAFETY: takes no pointer and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn end(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
