//! A process whose address space is limited (`ulimit -v`).

use std::{fs, os::unix::fs::PermissionsExt};

use super::MIB;
use test_support::{Broker, RawClient, tools, wait_until};

/// The limit in KiB.
const LIMIT_KIB: usize = 500_000;

/// A broker with this much address space.
pub fn limited(config: &str) -> Broker {
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = folder.path().join("limited");
    let script = format!(
        "#!/bin/sh\nulimit -v {LIMIT_KIB} || exit 1\nexec {:?} \"$@\"\n",
        tools::midge().display()
    );
    fs::write(&program, script).expect("write the script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("may be run");
    let config = format!("diagnosis {{ interval: 100ms }}\n{config}");
    Broker::program(&program).config(config).start()
}

/// Without a configured `max_memory`, stuck subscribers are disconnected before the
/// process has no memory left.
#[test]
fn stuck_subscribers_are_disconnected_before_memory_runs_out() {
    let mut broker = limited("max_pending: 400MB");
    let memz = broker.get_json("/memz");
    let ceilings = memz["ceilings"].as_array().cloned().unwrap_or_default();
    let queues = ceilings.iter().find(|known| known["name"] == "queues");
    if let Some(queues) = queues {
        let limit = queues["limit"].as_f64().expect("a number");
        assert!(limit < (LIMIT_KIB * 1024 / 2) as f64, "{queues}");
    }
    let mut readers: Vec<RawClient> = (0..30).map(|_| broker.connect()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.send(format!("SUB much.{number} 1\r\n"));
        reader.sync();
    }
    let mut publisher = broker.connect();
    for round in 0..200 {
        for number in 0..30 {
            let size = if round % 2 == 0 { 1000 } else { 100_000 };
            let one = format!("PUB much.{number} {size}\r\n{}\r\n", "x".repeat(size));
            publisher.send(one.repeat(200_000 / size));
        }
        publisher.sync();
        assert!(!broker.has_exited(), "{}", broker.log());
    }
    let varz = broker.get_json("/varz");
    assert!(varz["slow_consumers"].as_u64() > Some(5), "{varz}");
    drop(readers);
    wait_until("the broker is idle again", || {
        broker.connect().sync();
        broker.get_json("/varz")["mem"].as_u64() < Some(100 * MIB)
    });
}

/// Clients that announce large payloads and do not send them do not block others that do,
/// and clients that send half of them are disconnected before the process has no memory
/// left.
#[test]
fn announced_payloads_do_not_exhaust_memory() {
    const SIZE: usize = 1_048_576;
    let mut broker = limited("");
    let mut reader = broker.connect();
    reader.send("SUB large 1\r\n");
    reader.sync();
    let mut publisher = broker.connect();
    let mut is_served = || {
        publisher.send(format!("PUB large {SIZE}\r\n{}\r\n", "x".repeat(SIZE)));
        publisher.sync();
        assert_eq!(reader.next_message().body.len(), SIZE);
    };
    is_served();
    let mut silent: Vec<RawClient> = (0..500).map(|_| broker.connect()).collect();
    for client in &mut silent {
        client.sync();
        client.send(format!("PUB silent {SIZE}\r\n"));
    }
    is_served();
    let cut = |broker: &Broker| {
        let connz = broker
            .get_json("/connz?state=closed&limit=1024")
            .to_string();
        connz.matches("No Room For Payload").count()
    };
    assert_eq!(cut(&broker), 0);
    let half = "x".repeat(SIZE / 2);
    for client in &mut silent {
        // It may be disconnected before it has sent all of it.
        client.send(&half);
    }
    wait_until("some are disconnected", || cut(&broker) > 100);
    wait_until("it is reported", || {
        let explained = broker.get_json("/explainz").to_string();
        explained.contains("table-full") && explained.contains("payloads")
    });
    broker.connect().sync();
    assert!(!broker.has_exited(), "{}", broker.log());
    drop(silent);
    is_served();
}
