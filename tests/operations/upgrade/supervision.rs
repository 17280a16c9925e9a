//! What systemd is told of an upgrade, and where it would end the new process.

use std::{io::ErrorKind, os::unix::net::UnixDatagram, thread, time::Duration};

use test_support::{Broker, tools, wait_until};

use super::{BRIEF, fails, write_script};

#[test]
fn systemd_is_told_the_main_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket");
    let broker = Broker::midge()
        .config(BRIEF)
        .env("NOTIFY_SOCKET", &path.to_string_lossy())
        .start();
    let successor = broker.upgrade();
    let expected = format!("MAINPID={}", successor.pid);
    notified
        .set_read_timeout(Some(test_support::PATIENCE))
        .expect("a timeout");
    loop {
        let mut text = [0; 4096];
        let len = notified.recv(&mut text).expect("a notification");
        if String::from_utf8_lossy(&text[..len])
            .lines()
            .any(|line| line == expected)
        {
            return;
        }
    }
}

#[test]
fn a_service_whose_new_process_systemd_would_end_is_not_upgraded() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("start");
    let midge = tools::midge();
    write_script(
        &script,
        &format!(
            "export SYSTEMD_EXEC_PID=$$; exec {:?} \"$@\"",
            midge.display()
        ),
    );
    let broker = Broker::program(script).start();
    fails(&broker, "NotifyAccess=main");
    broker.connect();
}

/// What the manager has been told up to now, without waiting.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let mut text = [0; 4096];
        match manager.recv(&mut text) {
            Ok(len) => told.push(String::from_utf8_lossy(&text[..len]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return told,
            Err(error) => panic!("{error}"),
        }
    }
}

/// systemd would take it for the new process', which is the main one by then.
#[test]
fn systemd_hears_nothing_of_the_old_process_after_it_has_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_nonblocking(true).expect("a socket");
    let mut broker = Broker::midge()
        .config(BRIEF)
        .env("NOTIFY_SOCKET", &path.to_string_lossy())
        .start();
    let mut texts = Vec::new();
    let successor = thread::scope(|scope| {
        let upgrading = scope.spawn(|| broker.upgrade());
        while !upgrading.is_finished() {
            texts.extend(told(&manager));
            thread::sleep(Duration::from_millis(1));
        }
        upgrading.join().expect("the upgrade")
    });
    wait_until("the old process has ended", || {
        texts.extend(told(&manager));
        broker.has_exited()
    });
    texts.extend(told(&manager));
    let main = format!("MAINPID={}", successor.pid);
    let at = texts.iter().position(|text| *text == main);
    let later = &texts[at.expect("the main process")..];
    let stopping = |text: &String| text.starts_with("STOPPING") || text.contains("stopping, ");
    assert!(!later.iter().any(stopping), "{later:?}");
}
