//! Who stops one of the two processes of an upgrade stops the broker, and what systemd hears.

use std::{fs, io::ErrorKind, os::unix::net::UnixDatagram, thread, time::Duration};

use test_support::{Broker, Successor, wait_for, wait_until};

use super::{BRIEF, LONG, staying};

#[test]
fn a_stop_of_the_new_process_while_it_takes_over_stops_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("pid");
    let config = format!("{LONG}pid_file: {:?}\n", pid_file.display());
    let mut broker = Broker::midge().config(config).start();
    let own = broker.pid().to_string();
    let mut client = staying(&broker);
    thread::scope(|scope| {
        let asking = scope.spawn(|| broker.ask_for_upgrade(broker.pid()));
        // As `service midge stop` does: by the pid file.
        let pid = wait_for("the new process writes its id", || {
            let written = fs::read_to_string(&pid_file).unwrap_or_default();
            let pid = written.parse().ok().filter(|pid: &i32| *pid > 0);
            pid.filter(|_| written != own)
        });
        let new = Successor { pid };
        new.stop();
        let output = asking.join().expect("the request");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text.contains("this one stops as well"), "{text}");
    });
    assert!(broker.wait_exit().success());
    client.read_to_end();
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
