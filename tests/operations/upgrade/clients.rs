//! Clients that make it hard to hand over all of them: each of them is its own problem.

use std::{
    fs,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use test_support::{Broker, RawClient, pki::Pki, raw_client};

use super::{LONG, id_of, watcher};

/// Clients that leave while the others are handed over.
const LEAVING: usize = 600;

/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(1);

/// Closes a connection so that the other end gets a reset, and the socket loses its peer's address.
fn reset(client: RawClient) {
    let stream = client.stream().try_clone().expect("its socket");
    drop(client);
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("no linger");
}

#[test]
fn clients_that_reset_their_connection_meanwhile_do_not_end_the_upgrade() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("pid");
    let config = format!("{LONG}pid_file: {:?}\n", pid_file.display());
    let broker = Broker::midge().config(config).start();
    let own = broker.pid().to_string();
    let leaving: Vec<RawClient> = (0..LEAVING).map(|_| watcher(&broker)).collect();
    let mut stays = watcher(&broker);
    let old_id = id_of(&stays);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let begins = || fs::read_to_string(&pid_file).is_ok_and(|written| written != own);
            while !begins() && !is_over.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
            }
            for client in leaving {
                reset(client);
                thread::sleep(PAUSE);
            }
        });
        broker.upgrade();
        is_over.store(true, Ordering::Relaxed);
    });
    stays.sync();
    assert_ne!(id_of(&watcher(&broker)), old_id);
}

/// An `UNSUB` with a number counts what a subscription has had before the upgrade.
#[test]
fn what_a_subscription_has_had_counts_on() {
    let broker = Broker::midge().config(LONG).start();
    let (mut before, mut after) = (watcher(&broker), watcher(&broker));
    before.send("SUB x 1\r\nUNSUB 1 8\r\n");
    after.send("SUB x 1\r\n");
    let mut publisher = watcher(&broker);
    let mut publish = |count: usize| publisher.send("PUB x 0\r\n\r\n".repeat(count));
    before.sync();
    after.sync();
    publish(5);
    for _ in 0..5 {
        before.next_message();
        after.next_message();
    }
    broker.upgrade();
    after.send("UNSUB 1 8\r\n");
    after.sync();
    publish(10);
    publisher.sync();
    for client in [&mut before, &mut after] {
        for _ in 5..8 {
            client.next_message();
        }
        let more = client.sync();
        assert!(!more.iter().any(|frame| frame.is_message()), "{more:?}");
    }
}

#[test]
fn a_client_that_says_too_much_stays() {
    let config = format!("{LONG}max_control_line: 1200000\n");
    let mut broker = Broker::midge().config(config).start();
    let mut talks = broker.connect();
    let name = "x".repeat(1_100_000);
    talks.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\n"
    ));
    talks.sync();
    let old_id = id_of(&talks);
    broker.upgrade();
    talks.sync();
    assert_ne!(id_of(&watcher(&broker)), old_id);
    assert!(broker.stop().success());
    talks.read_to_end();
}

#[test]
fn a_handshake_that_is_not_done_keeps_nobody_from_being_handed_over() {
    let pki = Pki::new(&["broker"]);
    let config = format!(
        "{LONG}allow_non_tls: true\ntls {{ cert_file: {:?}, key_file: {:?}, timeout: 600 }}\n",
        pki.path("broker.pem"),
        pki.path("broker.key")
    );
    let broker = Broker::midge().config(config).start();
    let mut client = watcher(&broker);
    let old_id = id_of(&client);
    // It says nothing.
    let _silent = TcpStream::connect(broker.client_addr()).expect("connect");
    broker.wait_for_connections(2);
    broker.upgrade();
    let frames = client.sync();
    let mut news = frames.iter().filter_map(raw_client::parse_info);
    let news = news.next_back().expect("an INFO of the new process");
    assert_ne!(news["server_id"], old_id);
}
