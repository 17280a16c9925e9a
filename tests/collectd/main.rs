//! Tests of the plugin nats.so in a real collectd.

mod access;
mod broker;
mod chain;
mod configuration;
mod endurance;
mod examples;
mod instances;
mod invalid_answers;
mod notifications;
mod outputs;
mod thresholds;
mod values;

use std::{net::TcpListener, process::Command, sync::mpsc};

use broker::{Broker, Ports, pretend, stay_mute};
use serde_json::Value;
use test_support::PATIENCE;
use test_support::collectd::{self, Collectd, Daemon, Lines, Setup, instance, plugin};

/// Identifiers below the host and the keys of /varz their values must equal.
const FIGURES: &[(&str, &[&str])] = &[
    ("nats-a/current_connections-clients", &["connections"]),
    ("nats-a/current_connections-routes", &["routes"]),
    ("nats-a/current_connections-remotes", &["remotes"]),
    ("nats-a/current_connections-leafnodes", &["leafnodes"]),
    ("nats-a/total_connections", &["total_connections"]),
    ("nats-a/if_packets-total", &["in_msgs", "out_msgs"]),
    ("nats-a/if_octets-total", &["in_bytes", "out_bytes"]),
    (
        "nats-a/if_packets-clients",
        &["in_client_msgs", "out_client_msgs"],
    ),
    (
        "nats-a/if_octets-clients",
        &["in_client_bytes", "out_client_bytes"],
    ),
    ("nats-a/total_events-slow_consumers", &["slow_consumers"]),
    (
        "nats-a/total_events-slow_consumers_clients",
        &["slow_consumer_stats/clients"],
    ),
    (
        "nats-a/total_events-slow_consumers_routes",
        &["slow_consumer_stats/routes"],
    ),
    (
        "nats-a/total_events-slow_consumers_gateways",
        &["slow_consumer_stats/gateways"],
    ),
    (
        "nats-a/total_events-slow_consumers_leafs",
        &["slow_consumer_stats/leafs"],
    ),
    (
        "nats-a/total_events-stale_connections",
        &["stale_connections"],
    ),
    ("nats-a/total_events-stalled_clients", &["stalled_clients"]),
    ("nats-a/pubsub-subscriptions", &["subscriptions"]),
    ("nats-a/count-max_connections", &["max_connections"]),
    ("nats-a/bytes-max_payload", &["max_payload"]),
    ("nats-a/bytes-max_pending", &["max_pending"]),
    ("nats-a/bytes-max_control_line", &["max_control_line"]),
    (
        "nats-a/total_events-lost-no_interest",
        &["dropped_msgs/no_interest"],
    ),
    (
        "nats-a/total_bytes-lost-no_interest",
        &["dropped_bytes/no_interest"],
    ),
    ("nats-a/total_events-logins_accepted", &["logins/accepted"]),
    ("curl_json-gnatsd/gauge-connections", &["connections"]),
    (
        "curl_json-gnatsd/counter-total_connections",
        &["total_connections"],
    ),
    ("curl_json-gnatsd/counter-in_msgs", &["in_msgs"]),
    ("curl_json-gnatsd/counter-out_msgs", &["out_msgs"]),
    ("curl_json-gnatsd/bytes-in_bytes", &["in_bytes"]),
    ("curl_json-gnatsd/bytes-out_bytes", &["out_bytes"]),
    ("curl_json-gnatsd/gauge-slow_consumers", &["slow_consumers"]),
    ("curl_json-gnatsd/gauge-subscriptions", &["subscriptions"]),
    ("curl_json-gnatsd/gauge-routes", &["routes"]),
    ("curl_json-gnatsd/gauge-remotes", &["remotes"]),
    ("curl_json-gnatsd/bytes-max_payload", &["max_payload"]),
    (
        "curl_json-gnatsd/gauge-max_control_line",
        &["max_control_line"],
    ),
    ("curl_json-gnatsd/bytes-max_pending_size", &["max_pending"]),
];

/// Values that differ between two requests to the broker.
const MOVING: &[&str] = &[
    "nats-a/bool-up",
    "nats-a/bool-healthy",
    "nats-a/response_time-varz",
    "nats-a/duration-poll",
    "nats-a/uptime",
    "nats-a/memory-rss",
    "nats-a/gauge-cpu_percent",
    "curl_json-gnatsd/bytes-mem",
];

/// Known traffic, then every value that collectd records against /varz itself.
#[test]
fn recorded_values_are_those_of_the_broker() {
    let broker = Broker::start();
    let mut peer = broker.subscribe("a.>");
    peer.publish("a.b", 7, 100);
    peer.publish("nobody", 3, 10);

    let options = "ReportLimits true\nLegacyNames true\nReportFindings false\n\
                   ReportLatency false\nReportCeilings false\nTopConnections 0";
    let mut setup = Setup::new(&instance("a", &broker.url(), options));
    // A single poll.
    setup.interval = 600.0;
    let names = FIGURES.iter().map(|(name, _)| name).chain(MOVING);
    let names: Vec<_> = names.map(|name| format!("test/{name}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (status, lines) = Collectd::run_for(&setup, &names);
    assert!(status.success(), "{lines:#?}");

    let varz = broker.varz();
    assert_eq!((varz.in_msgs, varz.in_bytes), (10, 730));
    assert_eq!((varz.out_msgs, varz.out_bytes), (7, 700));
    let varz = serde_json::to_value(varz).expect("plain data");
    for (identifier, keys) in FIGURES {
        let expected: Vec<_> = keys
            .iter()
            .map(|key| {
                varz.pointer(&format!("/{key}"))
                    .and_then(Value::as_f64)
                    .expect(key)
            })
            .collect();
        let found = lines.values(&format!("test/{identifier}"));
        assert_eq!(found, [expected], "{identifier} in {lines:#?}");
    }

    let last = |name: &str| lines.values(&format!("test/nats-a/{name}"))[0][0];
    assert_eq!((last("bool-up"), last("bool-healthy")), (1.0, 1.0));
    assert!(last("memory-rss") > 1e6, "{lines:#?}");
    assert!(last("gauge-cpu_percent") >= 0.0, "{lines:#?}");
    assert!(
        last("uptime") > 0.0 && last("response_time-varz") > 0.0,
        "{lines:#?}"
    );

    // All with the same time.
    let puts = lines.puts();
    assert!(puts.iter().all(|put| put.time == puts[0].time), "{puts:#?}");
}

#[test]
fn each_instance_has_its_own_broker_and_host() {
    let brokers = [Broker::start(), Broker::start()];
    let _peers = [
        brokers[0].subscribe("a"),
        brokers[1].subscribe("a"),
        brokers[1].subscribe("b"),
    ];
    let blocks = instance("one", &brokers[0].url(), "")
        + &instance(
            "two",
            &brokers[1].url(),
            "Host \"elsewhere\"\nInterval \"0.3\"",
        );
    let one = "test/nats-one/current_connections-clients";
    let two = "elsewhere/nats-two/current_connections-clients";
    let (status, lines) = Collectd::run_for(&Setup::new(&blocks), &[one, two]);
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.values(one)[0], [1.0]);
    assert_eq!(lines.values(two)[0], [2.0]);
}

/// A broker that starts, stops and starts again: one line and one notification for each
/// change, whatever the number of polls, and no spike in the rates.
#[test]
fn outages_are_logged_once_and_rates_do_not_spike() {
    let ports = Ports::free();
    let mut setup = Setup::new(&instance("a", &ports.url(), ""));
    setup.rates = true;
    let collectd = Collectd::start(&setup);
    let up = |state: f64, count: usize| {
        let ended = |lines: &Lines| {
            let values = lines.values("test/nats-a/bool-up");
            values.len() >= count
                && values
                    .iter()
                    .rev()
                    .take(count)
                    .all(|value| value[0] == state)
        };
        collectd.wait_for(&format!("run of {count} polls with up = {state}"), ended);
    };
    up(0.0, 3);

    let broker = Broker::start_on(ports);
    let mut peer = broker.subscribe("a");
    peer.publish("a", 10_000, 16);
    up(1.0, 3);
    drop(peer);
    drop(broker);
    up(0.0, 3);

    let broker = Broker::start_on(ports);
    let mut peer = broker.subscribe("a");
    peer.publish("a", 10, 16);
    up(1.0, 4);

    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let log = lines.log();
    let reported = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(reported("connection refused"), 2, "{log:#?}");
    assert_eq!(reported(" serves"), 2, "{log:#?}");
    assert_eq!(reported("the broker was restarted"), 1, "{log:#?}");
    // collectd would poll a failing read callback less and less often.
    assert!(lines.with("suspend").is_empty(), "{lines:#?}");
    let state = lines
        .with("host = test, plugin = nats, plugin_instance = a, type = bool, type_instance = up, ");
    let severities: Vec<_> = state
        .iter()
        .filter_map(|line| line.split("severity = ").nth(1)?.split(',').next())
        .collect();
    let expected = ["FAILURE", "OKAY", "FAILURE", "OKAY"];
    assert_eq!(severities, expected, "{state:#?}");

    // 10,000 messages between two polls cannot be more than 10,000 in each of the 0.5 s;
    // the drop to 10 must not look like a counter overflow.
    for name in ["if_packets-total", "if_octets-total", "total_connections"] {
        let rates = lines.values(&format!("test/nats-a/{name}"));
        assert!(
            rates.iter().flatten().any(|rate| rate.is_finite()),
            "{rates:?}"
        );
        let rates = rates.iter().flatten().filter(|rate| !rate.is_nan());
        for rate in rates {
            assert!((0.0..1e8).contains(rate), "{name}: {rate}: {lines:#?}");
        }
    }
}

/// The poll must reach the broker directly, and the proxy nothing.
#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let broker = Broker::start();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    proxy.set_nonblocking(true).expect("a socket");
    let url = format!("http://{}", proxy.local_addr().expect("bound"));
    let mut setup = Setup::new(&instance("a", &broker.url(), ""));
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        setup.environment.push((name, url.clone()));
    }
    let up = "test/nats-a/bool-up";
    let (status, lines) = Collectd::run_for(&setup, &[up]);
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.values(up)[0], [1.0], "{lines:#?}");
    assert!(proxy.accept().is_err(), "the proxy was asked");
}

/// With an interval of ten minutes, only the request's own timeout can end the poll that
/// collectd waits for at shutdown.
#[test]
fn a_running_poll_does_not_delay_shutdown() {
    let (asked, requests) = mpsc::channel();
    let url = pretend(move |stream| {
        // The test may be over when a second request arrives.
        let _ = asked.send(());
        stay_mute(stream);
    });
    let mut setup = Setup::new(&instance("a", &url, ""));
    setup.interval = 600.0;
    let collectd = Collectd::start(&setup);
    requests.recv_timeout(PATIENCE).expect("a poll");
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    assert_eq!(
        lines.with("no answer within 2000 ms").len(),
        2,
        "{lines:#?}"
    );
}

/// The fork into the background happens between configuration and init.
#[test]
fn the_daemon_in_the_background_polls_too() {
    let broker = Broker::start();
    let daemon = Daemon::start(&Setup::new(&instance("a", &broker.url(), "")));
    daemon.wait_for_value("nats-a/if_packets-total");
    daemon.wait_for_value("nats-a/bool-up");
    let log = daemon.stop();
    let lines = log.lines().filter(|line| line.contains("nats plugin: "));
    assert_eq!(lines.count(), 1, "{log}");
    assert!(!log.contains("[error]"), "{log}");
}

/// Any other symbol could clash with one of collectd or of another plugin.
#[test]
fn the_library_exports_its_entry_only() {
    let output = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=just-symbols"])
        .arg(plugin())
        .output()
        .unwrap_or_else(|error| panic!("nm: {error}: install binutils"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "module_register\n");
}
