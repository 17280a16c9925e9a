//! Findings about limits that are being reached.

use std::{fs, os::unix::fs::PermissionsExt, thread, time::Duration};

use serde_json::Value;

use super::{
    appears, appears_while, clears, client, quick, quick_with, stays_silent, text,
    with_long_incidents, with_short_incidents,
};
use test_support::{Broker, tools, wait_until};

fn ceiling(broker: &Broker, name: &str) -> Value {
    let find = || {
        let memz = broker.get_json("/memz");
        let all = memz["ceilings"].as_array().expect("ceilings");
        all.iter().find(|ceiling| ceiling["name"] == name).cloned()
    };
    // The first sample of a newly started broker may still be missing.
    wait_until("the ceiling is known", || find().is_some());
    find().expect("it stays")
}

#[test]
pub fn connections_near_their_limit_are_reported() {
    let broker = quick_with("exhausted_within: 10ms", "max_connections: 10").start();
    let mut clients: Vec<_> = (0..6).map(|_| client(&broker, "few")).collect();
    stays_silent(&broker, "ceiling-connections");
    clients.extend((0..3).map(|_| client(&broker, "more")));
    let finding = appears(&broker, "ceiling-connections");
    assert!(
        text(&finding).starts_with("9 of 10 used (90 %)"),
        "{finding}"
    );
    assert_eq!(broker.get_json("/healthz?probe=state")["degraded"], true);
    assert_eq!(broker.get("/healthz?probe=ready").status, 200);

    clients.push(client(&broker, "last"));
    wait_until("it is critical", || {
        appears(&broker, "ceiling-connections")["severity"] == "critical"
    });
    let health = broker.get_json("/healthz?probe=state");
    assert_eq!(
        (&health["status"], &health["ready"]),
        (&"ok".into(), &false.into())
    );
    assert_eq!(health["reasons"][0], "ceiling-connections");
    assert_eq!(broker.get("/healthz?probe=ready").status, 503);
    assert_eq!(broker.get("/healthz?probe=live").status, 200);
    assert_eq!(ceiling(&broker, "connections")["used"], 10.0);

    drop(clients);
    clears(&broker, "ceiling-connections");
    assert_eq!(broker.get("/healthz?probe=ready").status, 200);
}

#[test]
pub fn open_files_near_their_limit_are_reported() {
    let broker = quick("ceiling_warning: 50").start();
    stays_silent(&broker, "ceiling-fds");
    let used = ceiling(&broker, "fds")["used"].as_f64().expect("a number");
    // Leaves descriptors for a few connections of the test itself.
    let before = limit_files(&broker, used as u64 + 4);
    appears(&broker, "ceiling-fds");
    limit_files(&broker, before);
    clears(&broker, "ceiling-fds");
}

#[test]
pub fn clients_are_refused_before_the_descriptors_are_gone() {
    let broker = quick("").start();
    stays_silent(&broker, "descriptors-exhausted");
    let used = ceiling(&broker, "fds")["used"].as_f64().expect("a number");
    // A quarter of them is reserved.
    limit_files(&broker, (used as u64 + 10) * 3 / 2);
    let mut clients = Vec::new();
    let finding = appears_while(&broker, "descriptors-exhausted", || {
        let address = broker.client_addr();
        clients.push(std::net::TcpStream::connect(address).expect("connect"));
    });
    assert_eq!(finding["subject"], "client");
    assert_eq!(broker.get("/healthz?probe=ready").status, 503);
    assert_eq!(broker.get("/healthz?probe=live").status, 200);
    drop(clients);
    clears(&broker, "descriptors-exhausted");
}

/// The finding stays long enough for periodic checks, while the broker is ready again
/// immediately.
#[test]
fn refused_connections_are_reported_longer_than_the_broker_is_not_ready() {
    let config = "diagnosis { interval: 50ms, clear_after: 200ms, incident_window: 1h }";
    let broker = Broker::midge().config(config).start();
    let used = ceiling(&broker, "fds")["used"].as_f64().expect("a number");
    limit_files(&broker, (used as u64 + 10) * 3 / 2);
    let mut clients = Vec::new();
    let is_ready = || broker.get("/healthz?probe=ready").status == 200;
    wait_until("it is not ready", || {
        let address = broker.client_addr();
        clients.push(std::net::TcpStream::connect(address).expect("connect"));
        !is_ready()
    });
    drop(clients);
    wait_until("it is ready again", is_ready);
    let found = super::findings(&broker, "descriptors-exhausted");
    assert!(!found.is_empty());
}

/// The process has no descriptor for a connection: nothing is lost, and the log is short.
#[test]
pub fn failing_accepts_are_reported() {
    let broker = with_long_incidents().start();
    stays_silent(&broker, "accept-failing");
    let mut clients = Vec::new();
    wait_until("an accept fails", || {
        let before = limit_files(&broker, 1);
        let address = broker.client_addr();
        clients.push(std::net::TcpStream::connect(address).expect("connect"));
        thread::sleep(Duration::from_millis(50));
        limit_files(&broker, before);
        broker
            .log()
            .so_far()
            .already_has("critical accept-failing \"client\"")
    });
    let finding = appears(&broker, "accept-failing");
    assert_eq!(finding["subject"], "client");
    assert!(text(&finding).contains("Too many open files"), "{finding}");
    // Those that waited are served.
    broker.wait_for_connections(clients.len() as u64);
    wait_until("it is ready again", || {
        broker.get("/healthz?probe=ready").status == 200
    });
    let lines = broker.log().so_far().count("Accept error on");
    assert!(lines <= 4, "{lines} lines");
    drop(clients);
    with_short_incidents(&broker);
    clears(&broker, "accept-failing");
}

/// The broker says at its start how many files it may open, and warns if a configured limit
/// cannot be reached.
#[test]
pub fn a_limit_of_connections_beyond_the_descriptors_is_reported() {
    let config = "max_connections: 2000000000";
    let broker = quick_with("", config).start();
    let finding = appears(&broker, "max-connections-unreachable");
    assert!(
        text(&finding).starts_with("max_connections is 2000000000, but the process may open "),
        "{finding}"
    );
    let log = broker.log();
    log.wait_for("[INF] Open files: ");
    log.wait_for("[WRN] max_connections is 2000000000, but");
    let file = broker.folder().join("broker.conf");
    let text = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, text.replace(config, "max_connections: 10")).expect("written");
    broker.signal(libc::SIGHUP);
    clears(&broker, "max-connections-unreachable");
    stays_silent(&quick("").start(), "max-connections-unreachable");
}

/// A broker that is started with a low limit raises it as far as it is allowed.
#[test]
fn the_limit_of_open_files_is_raised_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("midge-with-few-files");
    let text = format!(
        "#!/bin/sh\nulimit -Sn 300\nulimit -Hn 700\nexec {:?} \"$@\"\n",
        tools::midge().display()
    );
    fs::write(&script, text).expect("write the script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("make it run");
    let broker = Broker::program(script).start();
    assert_eq!(ceiling(&broker, "fds")["limit"], 700.0);
    broker.log().wait_for("Open files: 700 (raised from 300), ");
}

/// Sets the broker's limit of open files; returns the previous one.
fn limit_files(broker: &Broker, count: u64) -> u64 {
    let pid = i32::try_from(broker.pid()).expect("a pid");
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `before` is a valid place for the result; nothing is set.
    let result =
        unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before) };
    assert_eq!(result, 0, "prlimit: {}", std::io::Error::last_os_error());
    let limit = libc::rlimit {
        rlim_cur: count,
        ..before
    };
    // SAFETY: `limit` is valid for the whole call; the old one is not requested.
    let result = unsafe {
        libc::prlimit(
            pid,
            libc::RLIMIT_NOFILE,
            &raw const limit,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(result, 0, "prlimit: {}", std::io::Error::last_os_error());
    before.rlim_cur
}

/// The limit is predicted long before a steadily subscribing client reaches it, and the
/// predicted time is right.
#[test]
pub fn subscription_exhaustion_is_predicted() {
    let broker = quick_with("leak_subscriptions: 1000000", "max_subscriptions: 20000").start();
    let mut leaky = client(&broker, "leaky-app");
    stays_silent(&broker, "ceiling-subscriptions");
    let mut count = 0;
    let finding = appears_while(&broker, "ceiling-subscriptions", || {
        for _ in 0..10 {
            count += 1;
            leaky.send(format!("SUB s.{count} {count}\r\n"));
        }
        leaky.sync();
        thread::sleep(Duration::from_millis(10));
    });
    assert_eq!(finding["subject"], "leaky-app");
    assert_eq!(finding["severity"], "warning");
    assert!(
        text(&finding).contains("the limit is reached in"),
        "{finding}"
    );
    assert!(count < 16_000, "only seen at {count} of 20000");
    let ceiling = ceiling(&broker, "subscriptions");
    assert_eq!(ceiling["holder"], "leaky-app");
    assert!(ceiling["exhausted_in"].as_f64() > Some(0.0), "{ceiling}");
    // It stops: no exhaustion is predicted any more.
    clears(&broker, "ceiling-subscriptions");
}

#[test]
pub fn queue_memory_near_its_limit_is_reported_by_cause() {
    let broker = quick_with(
        "exhausted_within: 10ms",
        "max_memory: 8MB\nmax_pending: 64MB\nwrite_deadline: 60s",
    )
    .start();
    let mut stuck: Vec<_> = (0..2).map(|_| client(&broker, "stuck-app")).collect();
    for reader in &mut stuck {
        reader.send("SUB a 1\r\n");
        reader.sync();
    }
    stays_silent(&broker, "ceiling-queues");
    let mut publisher = client(&broker, "publisher");
    let mut message = b"PUB a 65536\r\n".to_vec();
    message.resize(message.len() + 65536, b'x');
    message.extend_from_slice(b"\r\n");
    let used = || ceiling(&broker, "queues")["used"].as_f64().unwrap_or(0.0);
    wait_until("the queues are nearly full", || {
        publisher.send(&message);
        publisher.sync();
        let sampled = broker.get_json("/explainz")["sampled"].clone();
        wait_until("the broker takes a sample", || {
            broker.get_json("/explainz")["sampled"] != sampled
        });
        used() > 6_800_000.0
    });
    appears(&broker, "ceiling-queues");
    let memz = broker.get_json("/memz");
    assert_eq!(memz["holders"][0]["name"], "stuck-app");
    assert!(memz["resident"].as_u64() > Some(6_800_000));
    let causes = memz["causes"].as_array().expect("causes");
    let queues = causes
        .iter()
        .find(|cause| cause["cause"] == "outbound_queues");
    // Both have the same payloads pending, which are stored once.
    assert!(
        queues.is_some_and(|cause| cause["bytes"].as_u64() > Some(3_400_000)),
        "{memz}"
    );
    drop(stuck);
    clears(&broker, "ceiling-queues");
}

/// The process may use 400 MB: a shell sets its own limit and then executes the broker.
#[test]
pub fn memory_near_the_process_limit_is_reported() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let limited = folder.path().join("midge");
    let script = format!(
        "#!/bin/sh\nulimit -d 400000\nexec {:?} \"$@\"\n",
        tools::midge().display().to_string()
    );
    fs::write(&limited, script).expect("written");
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).expect("it may run");
    let config = format!(
        "{}max_memory: 350MB\nmax_pending: 340MB\nwrite_deadline: 60s\n",
        super::thresholds("ceiling_warning: 40\n exhausted_within: 10ms")
    );
    let broker = Broker::program(&limited).config(config).start();
    let memory = ceiling(&broker, "memory");
    assert_eq!(memory["limit"], 409_600_000.0, "{memory}");
    let mut stuck = client(&broker, "stuck-app");
    stuck.send("SUB a 1\r\n");
    stuck.sync();
    stays_silent(&broker, "ceiling-memory");
    let mut publisher = client(&broker, "publisher");
    let mut message = b"PUB a 1000000\r\n".to_vec();
    message.resize(message.len() + 1_000_000, b'x');
    message.extend_from_slice(b"\r\n");
    for _ in 0..200 {
        publisher.send(&message);
        publisher.sync();
    }
    let finding = appears(&broker, "ceiling-memory");
    assert!(text(&finding).contains(" used ("), "{finding}");
    assert_eq!(broker.get_json("/memz")["holders"][0]["name"], "stuck-app");
    drop(stuck);
    clears(&broker, "ceiling-memory");
}

/// The predicted time until a limit is reached is right within a fifth: a client
/// subscribes 1000 times a second, and 12 000 are allowed.
#[test]
fn the_predicted_time_to_exhaustion_is_accurate() {
    let broker = quick_with("leak_subscriptions: 1000000", "max_subscriptions: 12000").start();
    let mut steady = client(&broker, "steady-app");
    let begin = std::time::Instant::now();
    let mut count = 0_u32;
    let mut reported = None;
    let mut reached = 0.0;
    while count < 12_000 {
        let due = (begin.elapsed().as_secs_f64() * 1000.0) as u32;
        while count < due.min(12_000) {
            count += 1;
            steady.send(format!("SUB s.{count} {count}\r\n"));
        }
        steady.sync();
        reached = begin.elapsed().as_secs_f64();
        if reported.is_none() && count > 5000 {
            let left = ceiling(&broker, "subscriptions")["exhausted_in"].as_f64();
            reported = Some((reached, left.expect("a time to exhaustion")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let (at, left) = reported.expect("it was asked for");
    let real = reached - at;
    assert!(
        (left - real).abs() < real / 5.0,
        "{left:.2} s were predicted, it took {real:.2} s"
    );
}
