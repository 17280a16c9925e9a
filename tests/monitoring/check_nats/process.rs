//! The process: signals, and an output that nobody reads.

use std::{
    fs::OpenOptions,
    io::Read,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use super::bad_peers::peer;
use test_support::{free_address, wait_for};

fn check(arguments: &[&str], output: Stdio) -> Child {
    Command::new(test_support::tools::check_nats())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .expect("start check_nats")
}

/// Exit code and standard error.
fn end(mut child: Child) -> (Option<i32>, String) {
    let status = wait_for("check_nats ends", || child.try_wait().expect("a child"));
    let mut errors = String::new();
    let stderr = child.stderr.take();
    let _ = stderr.expect("piped").read_to_string(&mut errors);
    (status.code(), errors)
}

/// A scheduler that kills a check gets one of the four states, and the reason.
#[test]
fn a_signal_is_unknown() {
    for (signal, name) in [
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGUSR1, "SIGUSR1"),
    ] {
        let (connected, is_connected) = mpsc::channel();
        let mute = peer(move |mut stream| {
            let _ = connected.send(());
            let _ = stream.read(&mut [0]);
        });
        let port = mute.port().to_string();
        let mut child = check(
            &[
                "--mode",
                "connect",
                "-p",
                &port,
                "-t",
                "300",
                "--service-name",
                "BUS",
            ],
            Stdio::piped(),
        );
        let mut stdout = child.stdout.take().expect("piped");
        is_connected
            .recv_timeout(test_support::PATIENCE)
            .expect("it connects");
        let pid = i32::try_from(child.id()).expect("an id");
        // SAFETY: kill touches no memory.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        assert_eq!(end(child), (Some(3), String::new()), "{name}");
        let mut output = String::new();
        stdout.read_to_string(&mut output).expect("UTF-8");
        let start = format!("BUS UNKNOWN: ended by {name} after ");
        assert!(output.starts_with(&start), "{output}");
        assert!(
            output.ends_with(" | rtt=U;0.1;0.5 connect_time=U;0.5;1\n"),
            "{output}"
        );
    }
}

/// The exit code is the status, whether the text can be written or not.
#[test]
fn an_output_that_nobody_reads_does_not_change_the_exit_code() {
    let refused = free_address().port().to_string();
    let critical = ["--mode", "connect", "-p", &refused];
    let mut child = check(&critical, Stdio::piped());
    drop(child.stdout.take());
    assert_eq!(end(child), (Some(2), String::new()), "a closed pipe");
    let full = OpenOptions::new().write(true).open("/dev/full");
    let child = check(&critical, full.expect("/dev/full").into());
    assert_eq!(end(child), (Some(2), String::new()), "a full disk");
    let program = test_support::tools::check_nats();
    let closed = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" >&- 2>&-"])
        .arg(program)
        .args(critical)
        .status()
        .expect("run sh");
    assert_eq!(closed.code(), Some(2), "no standard output");
}
