//! A new process that hangs, at each step: the old one takes the service back within a bounded time.
//! Up to the report that the new one serves, no client notices anything.

use std::thread;

use test_support::{Broker, Successor, wait_for};

use super::{
    LONG, Program, fails, id_of, staying,
    traffic::{Publishers, Traffic, read_in_order, texts_in_order},
    watcher,
};

/// A broker whose new process will hang after this step.
fn broker_before_one_that_hangs(step: &str) -> (Program, Broker) {
    let program = Program::midge();
    let broker = Broker::program(program.path()).config(LONG).start();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/operations/upgrade/hung.py"
    );
    program.replace_by_script(&format!("exec python3 {script} {step}"));
    (program, broker)
}

/// Traffic of clients that would be handed over and of one that would stay goes on, with each message
/// once.
#[test]
fn clients_go_on_if_the_new_process_hangs_before_it_serves() {
    for step in ["offered", "taken"] {
        let (program, broker) = broker_before_one_that_hangs(step);
        let clients = || vec![staying(&broker), watcher(&broker), watcher(&broker)];
        let id = id_of(&watcher(&broker));
        let traffic = Traffic::start(clients(), clients());
        fails(&broker, "is stopped, hangs or is too slow");
        assert_eq!(broker.processes().len(), 1, "{:?}", broker.processes());
        // Later subscriptions and messages are delivered as well.
        let mut late = watcher(&broker);
        late.send("SUB late 1\r\nPUB late 2\r\nhi\r\n");
        assert_eq!(texts_in_order(&late.sync()), ["hi"]);
        assert_eq!(id_of(&late), id);
        traffic.end();
        program.replace_by_midge();
        broker.upgrade();
        assert_ne!(id_of(&watcher(&broker)), id);
    }
}

/// A new process that fails is no longer a member of queue groups when clients go on.
#[test]
fn nothing_goes_to_a_new_process_that_has_failed() {
    let (_program, broker) = broker_before_one_that_hangs("wrong");
    let mut member = watcher(&broker);
    member.send("SUB work pool 1\r\n");
    member.sync();
    let reader = thread::spawn(move || read_in_order(member, 1));
    let publishers = Publishers::start(vec![watcher(&broker)], "work", "work");
    fails(&broker, "it reported \"Taken\" when something else was due");
    let sent = publishers.end();
    assert_eq!(reader.join().expect("a reader"), sent);
}

/// From that report on the clients are the new one's alone: they are closed, and connect again.
#[test]
fn the_old_process_serves_again_if_the_new_one_hangs_after_it_has_begun() {
    let (program, broker) = broker_before_one_that_hangs("serving");
    let mut moved = watcher(&broker);
    let mut stays = staying(&broker);
    let id = id_of(&moved);
    fails(&broker, "is stopped, hangs or is too slow");
    moved.read_to_end();
    stays.sync();
    let mut again = watcher(&broker);
    assert_eq!(id_of(&again), id);
    again.send("SUB a 1\r\n");
    again.sync();
    stays.send("PUB a 2\r\nhi\r\n");
    assert_eq!(again.next_message().body, b"hi");
    program.replace_by_midge();
    broker.upgrade();
}

/// The real program, stopped by a signal while it takes over or in its first moment.
#[test]
fn a_stopped_process_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("pid");
    let config = format!("{LONG}pid_file: {:?}\n", pid_file.display());
    let broker = Broker::midge().config(config).start();
    let own = broker.pid().to_string();
    let id = id_of(&watcher(&broker));
    thread::scope(|scope| {
        let asking = scope.spawn(|| broker.ask_for_upgrade(broker.pid()));
        let pid = wait_for("the new process writes its id", || {
            let written = std::fs::read_to_string(&pid_file).unwrap_or_default();
            let pid = written.parse().ok().filter(|pid: &i32| *pid > 0);
            pid.filter(|_| written != own)
        });
        Successor { pid }.signal(libc::SIGSTOP);
        let output = asking.join().expect("the request");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text.contains("serves on"), "{text}");
    });
    assert_eq!(id_of(&watcher(&broker)), id);
    let written = std::fs::read_to_string(&pid_file).expect("the pid file");
    assert_eq!(written, own);
}
