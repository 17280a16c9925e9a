//! Several instances: what identifies them, what is logged of states that alternate, and that one
//! that hangs delays no other.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use test_support::{free_port, pki::Pki};

use crate::{
    access::https_broker,
    broker::{Broker, pretend, pretend_answers, relay, stay_mute, varz},
    collectd::{Collectd, Setup, instance},
};

/// One central collectd for brokers on many hosts: the name may be the same.
#[test]
fn an_instance_is_identified_by_host_and_name() {
    let brokers = [Broker::start(), Broker::start()];
    let blocks = instance("nats", &brokers[0].url(), "Host \"a\"")
        + &instance("nats", &brokers[1].url(), "Host \"b\"")
        + &instance("nats", "http://127.0.0.1:1", "");
    let setup = Setup::new(&blocks);
    let all = ["a", "b", "test"].map(|host| format!("{host}/nats-nats/bool-up"));
    let (status, lines) = Collectd::run_for(&setup, &all.each_ref().map(String::as_str));
    assert!(status.success(), "{lines:#?}");
    assert_eq!(all.map(|id| lines.values(&id)[0][0]), [1.0, 1.0, 0.0]);
    let log: BTreeSet<_> = lines
        .log()
        .iter()
        .filter_map(|line| line.split("nats plugin: ").nth(1)?.split(": ").next())
        .map(str::to_owned)
        .collect();
    let labels = [
        "instance \"nats\"",
        "instance \"nats\" of host \"a\"",
        "instance \"nats\" of host \"b\"",
    ];
    assert_eq!(log, labels.map(str::to_owned).into());
}

/// Gateways in front of a dead broker, and brokers that share an address: one line each, not one
/// with every poll.
#[test]
fn states_that_alternate_are_logged_once() {
    let in_turn = |answers: [(&'static str, String); 2]| {
        let count = Arc::new(AtomicUsize::new(0));
        pretend_answers(move |path| match path {
            "/varz" => answers[count.fetch_add(1, Ordering::Relaxed) % 2].clone(),
            "/healthz" => ("200 OK", "{\"status\":\"ok\"}".to_owned()),
            _ => ("404 Not Found", String::new()),
        })
    };
    let gateways = in_turn([
        ("502 Bad Gateway", String::new()),
        ("504 Gateway Timeout", String::new()),
    ]);
    let shared = in_turn(["N1", "N2"].map(|id| ("200 OK", varz(id, "2026-01-01T00:00:00Z"))));
    let flapping = in_turn([
        ("200 OK", varz("N1", "2026-01-01T00:00:00Z")),
        ("500 No", String::new()),
    ]);
    let blocks = instance("gateways", &gateways, "")
        + &instance("shared", &shared, "")
        + &instance("flapping", &flapping, "");
    let collectd = Collectd::start(&Setup::new(&blocks));
    for name in ["gateways", "shared", "flapping"] {
        collectd.wait_for_lines(&format!("PUTVAL test/nats-{name}/bool-up"), 10);
    }
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let log = |name: &str| lines.with(&format!("nats plugin: instance \"{name}\": "));
    assert_eq!(log("gateways").len(), 1, "{:#?}", log("gateways"));
    let shared = log("shared");
    assert_eq!(shared.len(), 2, "{shared:#?}");
    assert!(
        shared.iter().any(|line| line.contains(" serves")),
        "{shared:#?}"
    );
    assert!(
        shared
            .iter()
            .any(|line| line.contains("another broker answers at this address: name-N")),
        "{shared:#?}"
    );
    let flapping = log("flapping");
    assert_eq!(flapping.len(), 6, "{flapping:#?}");
    assert!(flapping[5].contains("this comes and goes"), "{flapping:#?}");
}

/// Four of collectd's five threads wait for brokers that hang; the fifth is enough for another one,
/// and for whatever else collectd reads.
#[test]
fn brokers_that_hang_delay_no_other() {
    let broker = Broker::start();
    let mute = pretend(stay_mute);
    // They wait for a minute, which is longer than this test.
    let hanging = (0..4).map(|index| {
        instance(
            &format!("hangs{index}"),
            &mute,
            "Interval 120\nTimeout 60000",
        )
    });
    let blocks = hanging.collect::<String>() + &instance("well", &broker.url(), "");
    let mut setup = Setup::new(&blocks);
    setup.interval = 0.2;
    let collectd = Collectd::start(&setup);
    let lines = collectd.wait_for_lines("PUTVAL test/nats-well/bool-up", 10);
    assert!(lines.with("nats-hangs").is_empty(), "{lines:#?}");
    for up in lines.values("test/nats-well/bool-up") {
        assert_eq!(up, [1.0]);
    }
}

/// The limit is for a whole poll: a broker that answers the first request late has less time for
/// the others.
#[test]
fn the_time_limit_is_that_of_a_whole_poll() {
    let url = pretend_answers(|path| {
        if path == "/varz" {
            std::thread::sleep(std::time::Duration::from_millis(600));
            return ("200 OK", varz("N", "2026-01-01T00:00:00Z"));
        }
        loop {
            std::thread::park();
        }
    });
    let mut setup = Setup::new(&instance("a", &url, "Timeout 1000"));
    setup.interval = 2.0;
    let collectd = Collectd::start(&setup);
    let lines = collectd.wait_for_lines("/healthz: no answer within", 1);
    let line = lines.with("/healthz: no answer within")[0];
    let text = line.split("no answer within ").nth(1).expect("a time");
    let time: u64 = text
        .split(' ')
        .next()
        .and_then(|time| time.parse().ok())
        .expect("a number");
    assert!(time <= 400, "{line}");
}

/// All requests of a poll share a connection, and so one TLS handshake.
#[test]
fn a_poll_makes_one_connection() {
    let pki = Pki::new(&["localhost"]);
    let (_broker, url) = https_broker(&pki, "localhost", free_port());
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    let (relay, connections) = relay(port.expect("a port"));
    let options = format!("CACert {:?}\nTimeout 60000", pki.text("ca.pem"));
    let mut setup = Setup::new(&instance(
        "a",
        &format!("https://localhost:{relay}"),
        &options,
    ));
    // A single poll.
    setup.interval = 600.0;
    let names = ["bool-healthy", "gauge-findings", "percent-ceiling-fds"];
    let names = names.map(|name| format!("test/nats-a/{name}"));
    let (status, lines) = Collectd::run_for(&setup, &names.each_ref().map(String::as_str));
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.log().len(), 1, "{lines:#?}");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

/// A resolver that hangs is named, and no thread is left behind with every poll.
#[test]
fn a_resolver_that_hangs_is_named() {
    let folder = TempDir::new().expect("a folder");
    let library = folder.path().join("hangs.so");
    let source = folder.path().join("hangs.c");
    fs::write(
        &source,
        "#include <unistd.h>\nint getaddrinfo() { for (;;) pause(); }\n",
    )
    .expect("written");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-o"])
        .args([&library, &source])
        .status()
        .unwrap_or_else(|error| panic!("cc: {error}: install gcc"));
    assert!(compiled.success());
    let mut setup = Setup::new(&instance(
        "a",
        "http://broker.example.net:8222",
        "Timeout 50",
    ));
    setup.interval = 0.2;
    setup
        .environment
        .push(("LD_PRELOAD", library.display().to_string()));
    let collectd = Collectd::start(&setup);
    let up = "PUTVAL test/nats-a/bool-up";
    collectd.wait_for_lines(up, 3);
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", collectd.pid())).expect("a process");
        tasks.count()
    };
    let before = threads();
    let lines = collectd.wait_for_lines(up, 12);
    assert_eq!(threads(), before);
    let log = lines.log();
    assert_eq!(log.len(), 1, "{log:#?}");
    let expected = "down: http://broker.example.net:8222/varz: the resolver does not answer: no \
                    address of the host within 50 ms";
    assert!(log[0].contains(expected), "{log:#?}");
    // The thread that waits for it does not keep collectd from ending.
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
}
