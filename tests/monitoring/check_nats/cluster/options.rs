//! The options that name brokers.

use test_support::{Broker, free_address, mesh::Kind};

use super::{super::plugin::judge, Cluster};

#[test]
fn mistakes_are_named() {
    let many: Vec<String> = (0..65).map(|number| format!("h{number}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|host| ["-H", host]).collect();
    let mistakes: &[(&[&str], &str)] = &[
        (
            &["-H", "a", "-H", "b", "-u", "http://a:1"],
            "with several -H give -m",
        ),
        (
            &["-H", "a", "-H", "b", "--socket", "/x"],
            "with several -H give -m",
        ),
        (&["-H", "a", "-H", "b:x"], "\"b:…\": the port is a number"),
        (
            &["-H", "a", "--srv", "_nats._tcp.b"],
            "--srv names the brokers",
        ),
        (
            &["-u", "http://a:1", "--srv", "_nats._tcp.b"],
            "--srv names the brokers",
        ),
        (&["--srv", ""], "--srv \"\": no name of a record"),
        (&["--srv", "a..b"], "--srv \"a..b\": no name of a record"),
        (&["--nameserver", "127.0.0.1"], "belongs to --srv"),
        (
            &["--srv", "_nats._tcp.b", "--nameserver", "ns1"],
            "--nameserver \"ns1\": write it as",
        ),
        (
            &["-H", "a:4222", "-H", "a:4223"],
            "a and a:4223 have one monitoring port, http://a:8222: give the -u of each",
        ),
        (
            &["--mode", "roundtrip", "--mesh-warning", "1"],
            "--mesh-warning needs several brokers",
        ),
        (
            &[
                "--mode",
                "connect",
                "-H",
                "a",
                "-H",
                "b",
                "--mesh-warning",
                "1",
            ],
            "--mesh-warning does not apply to mode connect",
        ),
        (&many, "65 brokers: at most 64 in one call"),
    ];
    for (arguments, words) in mistakes {
        judge(arguments).expect(3, words);
    }
}

/// The same broker twice is one, and looks like one.
#[test]
fn a_broker_that_is_given_twice_counts_once() {
    let broker = Broker::nats_server().start();
    let (port, monitor) = (broker.client_addr().port(), broker.monitor_addr().port());
    let (at_port, port) = (format!("127.0.0.1:{port}"), port.to_string());
    let monitor = monitor.to_string();
    let hosts = ["-H", "127.0.0.1", "-H", &at_port];
    let result = judge(&[&hosts[..], &["-p", &port, "-m", &monitor]].concat());
    result.expect(0, "NATS OK: 0 connections");
    assert_eq!(result.labels()[0], "rtt");
    assert_eq!(result.output.lines().count(), 1, "{}", result.output);
}

/// Brokers on one host differ by their ports; each says itself where its client port is.
#[test]
fn monitoring_ports_alone_name_brokers() {
    let brokers = [Broker::midge().start(), Broker::nats_server().start()];
    let urls: Vec<String> = brokers.iter().map(Broker::monitor_url).collect();
    let result = judge(&["-u", &urls[0], "-u", &urls[1]]);
    result.expect(0, "2 of 2 brokers OK");
    for broker in &brokers {
        let label = format!("127.0.0.1_{}::rtt", broker.monitor_addr().port());
        assert_ne!(result.value(&label), "U");
    }
}

#[test]
fn ports_after_the_host_name_brokers() {
    let cluster = Cluster::start(&[Kind::Midge, Kind::Nats]);
    let gone = free_address().to_string();
    let hosts: Vec<String> = cluster.brokers.iter().map(Broker::client_url).collect();
    let hosts = ["-H", &hosts[0], "-H", &hosts[1], "-H", &gone];
    let result = judge(&[&hosts[..], &["--mode", "connect"]].concat());
    result.expect(2, "2 of 3 brokers answered; ").expect(
        2,
        &format!("{gone}: client port {gone}: connection refused"),
    );
    let label = gone.replace(':', "_");
    assert_eq!(result.value(&format!("{label}::rtt")), "U");
}
