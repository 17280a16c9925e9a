//! Tests of the plugin nats.so in a real collectd.

mod access;
mod broker;
mod chain;
mod endurance;
mod instances;
mod notifications;
mod outputs;
mod thresholds;
mod values;

use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use broker::{Broker, Ports, pretend, pretend_paths, pretend_text, stay_mute};
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

/// The default place is polled, whether a broker listens there or not.
#[test]
fn without_instances_the_usual_place_is_polled() {
    for blocks in ["", "<Plugin nats>\n</Plugin>\n"] {
        let up = "test/nats-local/bool-up";
        let (status, lines) = Collectd::run_for(&Setup::new(blocks), &[up]);
        assert!(status.success(), "{lines:#?}");
        let log = lines.log();
        assert!(
            log[0].contains("instance \"local\"")
                && ["http://127.0.0.1:8222", "unix:/run/midge/monitor.sock"]
                    .iter()
                    .any(|place| log[0].contains(place)),
            "{log:#?}"
        );
    }
}

/// collectd does not start, and its log says which instance and option is wrong.
#[test]
fn a_bad_configuration_is_refused_with_the_reason() {
    let url = "http://127.0.0.1:1";
    for (blocks, reason) in [
        (
            instance("a", url, "") + &instance("a", url, ""),
            "instance \"a\": there are two of this name",
        ),
        (
            instance("a", "ftp://127.0.0.1:8222", ""),
            "instance \"a\": URL: \"ftp://127.0.0.1:8222\": must begin with http:// or https://",
        ),
        (
            instance("a", url, "Timeout 2000"),
            "instance \"a\": Timeout: 2000 ms is more than half the interval (500 ms)",
        ),
        (
            instance("a", url, "Interval \"often\""),
            "instance \"a\": Interval: \"often\" is not a number from 0.1 to 86400",
        ),
        (
            instance("a", url, "ReportLimits maybe"),
            "instance \"a\": ReportLimits: \"maybe\" is neither true nor false",
        ),
        (instance("", url, ""), "Instance: the name is empty"),
    ] {
        let (status, lines) = Collectd::test_configuration(&Setup::new(&blocks));
        assert_eq!(status.code(), Some(1), "{reason}: {lines:#?}");
        assert_eq!(lines.with(reason).len(), 1, "{reason}: {lines:#?}");
    }
}

#[test]
fn an_unknown_option_is_ignored() {
    let setup = Setup::new(&instance("a", "http://127.0.0.1:1", "Colour \"red\""));
    let (status, lines) = Collectd::test_configuration(&setup);
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.with("unknown option Colour is ignored").len(), 1);
    assert_eq!(lines.with("down: http://127.0.0.1:1/varz").len(), 2);
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

/// All in one collectd, beside a healthy broker: each costs one line and reports `up` =
/// 0, and none affects the others.
#[test]
fn invalid_responses_are_survived() {
    let broker = Broker::start();
    let cases = [
        ("mute", pretend(stay_mute), "no answer within"),
        ("e500", pretend_text("500 Error", "{}"), "HTTP status 500"),
        (
            "r302",
            pretend_text("302 Found\r\nLocation: http://127.0.0.1:1/varz", ""),
            "HTTP status 302",
        ),
        (
            "html",
            pretend_text("200 OK", "<html></html>"),
            "answer not understood",
        ),
        (
            "shape",
            pretend_text("200 OK", "[1, 2]"),
            "answer not understood",
        ),
        (
            "empty",
            pretend_text("200 OK", "{}"),
            "not the answer of a NATS broker: no \"server_id\"",
        ),
        (
            "hollow",
            pretend_text("200 OK", "{\"status\":\"ok\"}"),
            "not the answer of a NATS broker: no \"server_id\"",
        ),
        (
            "few",
            pretend_text("200 OK", "{\"server_id\":\"N\",\"version\":\"2\"}"),
            "not the answer of a NATS broker: no \"start\"",
        ),
        (
            "negative",
            pretend_text("200 OK", "{\"server_id\":\"N\",\"connections\":-5}"),
            "\"connections\" is -5",
        ),
        (
            "range",
            pretend_text("200 OK", "{\"server_id\":\"N\",\"in_msgs\":1e400}"),
            "out of range",
        ),
        ("reset", pretend(|_| {}), "/varz: "),
        ("huge", pretend(send_30_megabytes), "larger than 512 KiB"),
        // A small JSON text that needs much memory.
        (
            "objects",
            pretend(send_list("{},", 8 << 20)),
            "larger than 512 KiB",
        ),
        (
            "crowd",
            pretend(send_list("{},", 500 << 10)),
            "too many objects",
        ),
        (
            "numbers",
            pretend(send_list("0,", 500 << 10)),
            "too many values",
        ),
        (
            "deep",
            pretend(send_list("[", 500 << 10)),
            "recursion limit",
        ),
        ("drip", pretend(drip), "no answer within"),
        ("nothttp", pretend_text("-ERR\r\n\r\n", ""), "/varz: "),
    ];
    let mut blocks = instance("well", &broker.url(), "");
    for (name, url, _) in &cases {
        blocks += &instance(name, url, "Timeout 900");
    }
    let mut setup = Setup::new(&blocks);
    // Long enough that a busy machine does not change any of the causes.
    setup.interval = 2.0;
    let collectd = Collectd::start(&setup);
    for name in cases.iter().map(|case| case.0).chain(["well"]) {
        collectd.wait_for_lines(&format!("PUTVAL test/nats-{name}/bool-up"), 4);
    }
    let memory = peak_memory_kib(collectd.pid());
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    assert!(memory < 64 << 10, "{memory} KiB");

    for (name, _, reason) in &cases {
        let log = lines.with(&format!("nats plugin: instance \"{name}\": "));
        assert_eq!(log.len(), 1, "{name}: {log:#?}");
        assert!(
            log[0].contains("[error]") && log[0].contains(reason),
            "{}",
            log[0]
        );
        let puts = lines.with(&format!("PUTVAL test/nats-{name}/"));
        let own = ["/bool-up ", "/bool-healthy ", "/duration-poll "];
        for put in &puts {
            assert!(own.iter().any(|own| put.contains(own)), "{put}");
        }
        for own in ["bool-up", "bool-healthy"] {
            for value in lines.values(&format!("test/nats-{name}/{own}")) {
                assert_eq!(value, [0.0], "{name}");
            }
        }
    }
    for up in lines.values("test/nats-well/bool-up") {
        assert_eq!(up, [1.0]);
    }
}

/// A broker with an incomplete `/healthz` serves clients, but is not healthy; missing fields give no values, for a reason that is logged once.
#[test]
fn an_incomplete_health_answer_is_an_error() {
    let url = pretend_paths(|path| match path {
        "/varz" => {
            "{\"server_id\":\"N\",\"version\":\"2\",\"start\":\"2026-01-01T00:00:00Z\",\
             \"now\":\"2026-01-01T00:00:09Z\",\"connections\":3,\"in_msgs\":1,\"out_msgs\":2}"
        }
        _ => "{\"state\":\"ok\"}",
    });
    let healthy = "test/nats-a/bool-healthy";
    let collectd = Collectd::start(&Setup::new(&instance("a", &url, "")));
    collectd.wait_for_lines(&format!("PUTVAL {healthy}"), 3);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    for value in lines.values(healthy) {
        assert_eq!(value, [0.0], "{lines:#?}");
    }
    assert_eq!(lines.values("test/nats-a/bool-up")[0], [1.0]);
    let clients = lines.values("test/nats-a/current_connections-clients");
    assert_eq!(clients[0], [3.0]);
    assert!(
        lines.values("test/nats-a/memory-rss").is_empty(),
        "{lines:#?}"
    );
    for reason in [
        "health not known: ",
        "no values of cpu, in_bytes, mem, out_bytes, slow_consumers, subscriptions, \
         total_connections: not in the answer",
    ] {
        let log = lines.log();
        let reported = log.iter().filter(|line| line.contains(reason)).count();
        assert_eq!(reported, 1, "{reason}: {lines:#?}");
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

/// Responds with a list of identical elements of this total size, prepared in advance.
fn send_list(element: &str, bytes: usize) -> impl Fn(&mut TcpStream) + Clone + Send + 'static {
    let elements = element.repeat(bytes / element.len());
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{{\"a\":[{elements}0]}}");
    let answer: Arc<str> = answer.into();
    move |stream| {
        // The client may disconnect early.
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// Sends a byte from time to time.
fn drip(stream: &mut TcpStream) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(50));
    }
}

fn send_30_megabytes(stream: &mut TcpStream) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..30 {
        if stream.write_all(&chunk).is_err() {
            return;
        }
    }
}

fn peak_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("VmHWM");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}
