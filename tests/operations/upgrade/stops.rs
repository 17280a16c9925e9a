//! Who stops one of the two processes of an upgrade stops the broker.

use std::{fs, thread};

use test_support::{Broker, Successor, upgrade, wait_for, wait_until};

use super::{LONG, staying};

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

/// A service manager that knows the old process only stops the service by it.
#[test]
fn a_stop_of_the_old_process_while_it_hands_over_stops_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("pid");
    let config = format!("{LONG}pid_file: {:?}\n", pid_file.display());
    let mut broker = Broker::midge().config(config).start();
    let own = broker.pid().to_string();
    let mut client = staying(&broker);
    let asking = {
        let pid = broker.pid();
        thread::spawn(move || upgrade::ask(pid))
    };
    wait_for("the new process writes its id", || {
        let written = fs::read_to_string(&pid_file).unwrap_or_default();
        (!written.is_empty() && written != own).then_some(())
    });
    assert!(broker.stop().success());
    let output = asking.join().expect("the request");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    client.read_to_end();
    wait_until("the new process ends as well", || {
        broker.processes().is_empty()
    });
    broker
        .log()
        .wait_for("this process was asked to stop, and so is process");
}

/// Once the new process is the broker, a stop of the old one is for that one, and the log says so.
#[test]
fn a_stop_of_the_old_process_after_it_has_handed_over_is_its_own() {
    let mut broker = Broker::midge().config(LONG).start();
    let _client = staying(&broker);
    let successor = broker.upgrade();
    assert!(broker.stop().success());
    broker.log().wait_for(&format!(
        "only this process stops; process {} has taken over and serves on",
        successor.pid
    ));
    assert!(successor.is_running());
}
