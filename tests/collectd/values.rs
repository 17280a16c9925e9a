//! Values from all endpoints: of midge, of nats-servers, and of what pretends to be one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use test_support::{Broker, RawClient, mesh, pki::Pki, wait_until};

use crate::{
    broker::{pretend_answers, varz},
    collectd::{Collectd, Lines, Setup, instance},
};

/// What is recorded of a midge without a cluster, TLS and traffic by default; docs/collectd.md says
/// how many there are.
const DEFAULT: &[&str] = &[
    "bool-healthy",
    "bool-up",
    "bytes-ceiling_limit-memory",
    "bytes-ceiling_limit-pending",
    "bytes-ceiling_limit-queues",
    "bytes-ceiling_used-memory",
    "bytes-ceiling_used-pending",
    "bytes-ceiling_used-queues",
    "bytes-pending_top-1",
    "bytes-pending_top-2",
    "bytes-pending_top-3",
    "count-ceiling_limit-connections",
    "count-ceiling_limit-fds",
    "count-ceiling_used-connections",
    "count-ceiling_used-fds",
    "current_connections-clients",
    "current_connections-leafnodes",
    "current_connections-remotes",
    "current_connections-routes",
    "duration-diagnosis_age",
    "duration-poll",
    "gauge-cpu_percent",
    "gauge-findings",
    "gauge-findings_critical",
    "gauge-findings_info",
    "gauge-findings_warning",
    "if_octets-clients",
    "if_octets-total",
    "if_packets-clients",
    "if_packets-total",
    "latency-scheduling_max",
    "latency-scheduling_p99",
    "memory-rss",
    "percent-ceiling-connections",
    "percent-ceiling-fds",
    "percent-ceiling-memory",
    "percent-ceiling-pending",
    "percent-ceiling-queues",
    "pubsub-subscriptions",
    "response_time-varz",
    "total_bytes-lost-closed",
    "total_bytes-lost-no_interest",
    "total_bytes-lost-replies_full",
    "total_bytes-lost-slow_consumer",
    "total_bytes-lost-too_long",
    "total_bytes-lost-write_error",
    "total_connections",
    "total_events-logins_accepted",
    "total_events-logins_delayed",
    "total_events-logins_held",
    "total_events-lost-closed",
    "total_events-lost-no_interest",
    "total_events-lost-replies_full",
    "total_events-lost-slow_consumer",
    "total_events-lost-too_long",
    "total_events-lost-write_error",
    "total_events-slow_consumers",
    "total_events-slow_consumers_clients",
    "total_events-slow_consumers_gateways",
    "total_events-slow_consumers_leafs",
    "total_events-slow_consumers_routes",
    "total_events-slow_incidents",
    "total_events-stale_connections",
    "total_events-stalled_clients",
    "uptime",
];

/// Runs collectd until values of all these names were written; `names` are those of instance `a`.
fn run(url: &str, options: &str, names: &[&str]) -> Lines {
    let names: Vec<_> = names
        .iter()
        .map(|name| format!("test/nats-a/{name}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (status, lines) = Collectd::run_for(&Setup::new(&instance("a", url, options)), &names);
    assert!(status.success(), "{lines:#?}");
    let puts = lines.puts();
    let nan = puts
        .iter()
        .find(|put| put.values.iter().any(|value| value.is_nan()));
    assert!(nan.is_none(), "{nan:?}");
    lines
}

/// The last values of each name of instance `a`.
fn last(lines: &Lines) -> BTreeMap<String, Vec<f64>> {
    let puts = lines.puts().into_iter();
    let own = puts.filter_map(|put| {
        let name = put.identifier.strip_prefix("test/nats-a/")?.to_owned();
        Some((name, put.values))
    });
    own.collect()
}

fn names(lines: &Lines) -> BTreeSet<String> {
    last(lines).into_keys().collect()
}

fn client(broker: &Broker, name: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":{name:?}}}\r\n"
    ));
    client.sync();
    client
}

#[test]
fn by_default_a_few_dozen_useful_values_are_recorded() {
    let broker = Broker::midge().start();
    // The first sample of a newly started broker may still be missing.
    wait_until("the broker has looked", || {
        let memz = broker.get_json("/memz");
        memz["ceilings"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    });
    let lines = run(&broker.monitor_url(), "", DEFAULT);
    let found = names(&lines);
    let expected: BTreeSet<String> = DEFAULT.iter().map(|name| (*name).to_owned()).collect();
    // Only what grows has an end.
    let more: Vec<_> = found
        .difference(&expected)
        .filter(|name| !name.starts_with("timeleft-"))
        .collect();
    assert!(more.is_empty(), "{more:?}");
    assert_eq!(lines.log().len(), 1, "{:#?}", lines.log());
}

#[test]
fn values_of_all_endpoints_are_those_of_the_broker() {
    let users = "authorization { users: [ { user: a, password: right } ] }\n";
    let broker = Broker::midge().config(users).start();
    let mut reader = broker.connect();
    reader.send("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"right\"}\r\nSUB x 1\r\n");
    reader.sync();
    let mut wrong = broker.connect();
    wrong.send("CONNECT {\"user\":\"a\",\"pass\":\"wrong\"}\r\n");
    wrong.read_to_end();
    reader.send("PUB x 5\r\nhello\r\n".repeat(100));
    reader.send("PUB nobody 3\r\nabc\r\n".repeat(7));
    reader.sync();

    // The broker looks at its ceilings once a second.
    wait_until("the client is counted", || {
        let memz = broker.get_json("/memz");
        let all = memz["ceilings"].as_array().expect("ceilings");
        all.iter()
            .any(|ceiling| ceiling["name"] == "connections" && ceiling["used"] == 1.0)
    });

    let expected = [
        ("total_events-lost-no_interest", vec![7.0]),
        ("total_bytes-lost-no_interest", vec![21.0]),
        ("total_events-logins_refused-wrong_password", vec![1.0]),
        ("if_packets-account-$G", vec![107.0, 100.0]),
        ("if_octets-account-$G", vec![521.0, 500.0]),
        ("current_connections-account-$G", vec![1.0]),
        ("pubsub-account-$G", vec![1.0]),
        ("total_events-account_no_interest-$G", vec![7.0]),
        ("total_events-account_dropped-$G", vec![0.0]),
        ("total_events-account_slow_consumers-$G", vec![0.0]),
        ("count-ceiling_used-connections", vec![1.0]),
        ("count-ceiling_limit-connections", vec![65536.0]),
        ("gauge-findings_critical", vec![0.0]),
    ];
    let present = [
        "latency-messages_p50",
        "latency-messages_max",
        "memory-cause-program",
        "memory-cause-subscriptions",
        "memory-cause-connections",
    ];
    let options = "ReportAccounts true\nReportMemory true";
    let waited: Vec<&str> = expected
        .iter()
        .map(|(name, _)| *name)
        .chain(present)
        .collect();
    let lines = run(&broker.monitor_url(), options, &waited);
    let last = last(&lines);
    for (name, values) in expected {
        assert_eq!(last[name], values, "{name}");
    }
    let sum: f64 = last
        .iter()
        .filter(|(name, _)| name.starts_with("memory-cause-"))
        .map(|(_, values)| values[0])
        .sum();
    assert!(sum > 1e6, "{last:#?}");
    assert!(last["latency-messages_max"][0] >= last["latency-messages_p50"][0]);
}

#[test]
fn the_longest_queues_have_ranks() {
    let broker = Broker::midge().config("write_deadline: 60s\n").start();
    let mut readers: Vec<_> = (0..2)
        .map(|n| client(&broker, &format!("reader{n}")))
        .collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.send(format!("SUB to.{number} 1\r\n"));
        reader.sync();
    }
    let mut publisher = client(&broker, "publisher");
    let mut fill = |subject: &str, rank: usize, bytes: u64| {
        let message = format!("PUB {subject} 65536\r\n{}\r\n", "x".repeat(65536));
        wait_until("the queue is that long", || {
            publisher.send(message.repeat(8));
            publisher.sync();
            let connz = broker.get_json("/connz?sort=pending&limit=2");
            connz["connections"][rank]["pending_bytes"].as_u64() >= Some(bytes)
        });
    };
    fill("to.0", 0, 10_000_000);
    fill("to.1", 1, 1_000_000);
    let ranks = ["1", "2", "3", "4"].map(|rank| format!("bytes-pending_top-{rank}"));
    let waited: Vec<&str> = ranks.iter().map(String::as_str).collect();
    let lines = run(&broker.monitor_url(), "TopConnections 4", &waited);
    let last = last(&lines);
    let lengths: Vec<f64> = ranks.iter().map(|rank| last[rank][0]).collect();
    assert!(lengths[0] >= 10_000_000.0, "{lengths:?}");
    assert!(
        lengths[1] >= 1_000_000.0 && lengths[1] <= lengths[0],
        "{lengths:?}"
    );
    assert_eq!(lengths[2..], [0.0, 0.0]);
}

/// A mesh of midge and both nats-servers: each member has its traffic under its name, and is up.
#[test]
fn routes_have_the_names_of_their_members() {
    let members = mesh::start(&[mesh::Kind::Midge, mesh::Kind::Midge, mesh::Kind::Nats]);
    let mut subscriber = members[1].client();
    subscriber.send("SUB over 1\r\n");
    subscriber.sync();
    wait_until("the interest has arrived", || members[0].knows("over"));
    let mut publisher = members[0].client();
    publisher.send("PUB over 4\r\nmore\r\n".repeat(50));
    publisher.sync();
    let waited = [
        "bool-route_up-n1",
        "bool-route_up-n2",
        "if_packets-route-n1",
        "if_octets-route-n2",
        "bytes-route_pending-n1",
        "latency-route_rtt-n1",
        "latency-route_rtt-n2",
        "count-members_expected",
        "count-members_present",
    ];
    let lines = run(&members[0].broker.monitor_url(), "", &waited);
    let of_midge = last(&lines);
    assert!(of_midge["if_packets-route-n1"][1] >= 50.0, "{of_midge:#?}");
    for (name, expected) in [
        ("bool-route_up-n1", 1.0),
        ("bool-route_up-n2", 1.0),
        ("count-members_expected", 3.0),
        ("count-members_present", 3.0),
    ] {
        assert_eq!(of_midge[name], [expected], "{name}");
    }
    let rtt = of_midge["latency-route_rtt-n2"][0];
    assert!(rtt > 0.0 && rtt < 60.0, "{rtt}");

    // nats-server pools its routes: they are one member.
    let waited = [
        "bool-route_up-n0",
        "if_packets-route-n0",
        "bytes-route_pending-n1",
    ];
    let lines = run(&members[2].broker.monitor_url(), "", &waited);
    let names = names(&lines);
    let up: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("bool-route_up"))
        .collect();
    assert_eq!(up, ["bool-route_up-n0", "bool-route_up-n1"]);
}

/// What a plain nats-server has is recorded; what needs midge is left out without a word.
#[test]
fn a_plain_nats_server_has_what_it_reports() {
    for broker in [
        Broker::nats_server().start(),
        Broker::nats_server_29().start(),
    ] {
        let mut reader = client(&broker, "reader");
        reader.send("SUB x 1\r\n");
        reader.sync();
        reader.send("PUB x 5\r\nhello\r\n".repeat(10));
        reader.sync();
        let waited = [
            "bool-healthy",
            "if_packets-total",
            "current_connections-clients",
            "total_events-slow_consumers",
            "memory-rss",
            "gauge-cpu_percent",
            "uptime",
            "bytes-pending_top-1",
            "if_packets-account-$G",
            "current_connections-account-$G",
        ];
        let lines = run(&broker.monitor_url(), "ReportAccounts true", &waited);
        let values = last(&lines);
        for (name, expected) in [
            ("bool-up", vec![1.0]),
            ("bool-healthy", vec![1.0]),
            ("if_packets-total", vec![10.0, 10.0]),
            ("current_connections-clients", vec![1.0]),
            ("bytes-pending_top-1", vec![0.0]),
            ("if_packets-account-$G", vec![10.0, 10.0]),
        ] {
            assert_eq!(values[name], expected, "{name}");
        }
        let only_midge = [
            "findings", "ceiling", "latency-", "lost", "logins", "members",
        ];
        for name in values.keys() {
            assert!(!only_midge.iter().any(|part| name.contains(part)), "{name}");
        }
        assert_eq!(lines.log().len(), 1, "{:#?}", lines.log());
    }
}

/// nats-server says when its certificate ends.
#[test]
fn certificate_days_are_those_of_the_certificate() {
    let pki = Pki::new(&["broker"]);
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key")
    );
    // Their clients would have to speak TLS; the monitoring port is enough.
    let days = |broker: Broker| {
        let waited = ["gauge-tls_certificate_days"];
        let lines = run(&broker.monitor_url(), "", &waited);
        last(&lines)["gauge-tls_certificate_days"][0]
    };
    let of_midge = days(Broker::midge().config(&*tls).without_greeting().start());
    let of_nats = days(
        Broker::nats_server()
            .config(&*tls)
            .without_greeting()
            .start(),
    );
    assert!((of_midge - of_nats).abs() < 0.1, "{of_midge} {of_nats}");
    assert!(of_midge > 0.0, "{of_midge}");
}

/// A broker that counts its requests by path, and whose runs differ by `runs`.
fn counting(runs: &Arc<AtomicUsize>) -> (String, Arc<Mutex<BTreeMap<String, usize>>>) {
    let counts = Arc::<Mutex<BTreeMap<String, usize>>>::default();
    let (counted, runs) = (Arc::clone(&counts), Arc::clone(runs));
    let url = pretend_answers(move |path| {
        let mut counts = counted.lock().expect("no panic there");
        *counts.entry(path.to_owned()).or_default() += 1;
        match path {
            "/varz" => {
                let run = runs.load(Ordering::Relaxed);
                ("200 OK", varz(&format!("N{run}"), "2026-01-01T00:00:00Z"))
            }
            "/healthz" => ("200 OK", "{\"status\":\"ok\"}".to_owned()),
            _ => ("404 Not Found", "404 page not found\n".to_owned()),
        }
    });
    (url, counts)
}

#[test]
fn a_missing_path_is_asked_for_once_in_each_run_of_the_broker() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (url, counts) = counting(&runs);
    let collectd = Collectd::start(&Setup::new(&instance("a", &url, "")));
    collectd.wait_for_lines("PUTVAL test/nats-a/bool-up", 3);
    runs.store(1, Ordering::Relaxed);
    collectd.wait_for_lines("PUTVAL test/nats-a/bool-up", 6);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let counts = counts.lock().expect("no panic there");
    assert!(counts["/varz"] >= 6, "{counts:?}");
    let others: BTreeMap<_, _> = counts
        .iter()
        .filter(|(path, _)| !["/varz", "/healthz"].contains(&path.as_str()))
        .map(|(path, count)| (path.as_str(), *count))
        .collect();
    let expected = [
        "/connz?sort=pending&limit=3",
        "/explainz",
        "/latencyz",
        "/memz",
        "/slowz?limit=1",
    ];
    assert_eq!(others, expected.map(|path| (path, 2)).into());
    // It serves, and it was restarted.
    assert_eq!(lines.log().len(), 2, "{:#?}", lines.log());
}

#[test]
fn only_what_enabled_values_need_is_asked() {
    let (url, counts) = counting(&Arc::new(AtomicUsize::new(0)));
    let options = "ReportFindings false\nReportLatency false\nReportRoutes false\n\
                   ReportCeilings false\nTopConnections 0";
    run(&url, options, &["bool-up"]);
    let counts = counts.lock().expect("no panic there");
    // The findings say whether it is healthy.
    let asked: Vec<_> = counts.keys().map(String::as_str).collect();
    assert_eq!(asked, ["/explainz", "/healthz", "/varz"]);
}

/// A broker whose findings cannot be read is not shown as healthy; one that has none is judged by
/// /healthz.
#[test]
fn healthy_is_sent_only_if_the_findings_are_known() {
    for (explainz, body, is_sent) in [
        ("500 Internal Server Error", "", false),
        ("200 OK", "{\"age\":1}", false),
        ("200 OK", "{\"age\":1,\"findings\":[]}", true),
        ("404 Not Found", "", true),
    ] {
        let url = pretend_answers(move |path| match path {
            "/varz" => ("200 OK", varz("N", "2026-01-01T00:00:00Z")),
            "/healthz" => ("200 OK", "{\"status\":\"ok\"}".to_owned()),
            path if path.starts_with("/explainz") => (explainz, body.to_owned()),
            _ => ("404 Not Found", String::new()),
        });
        let collectd = Collectd::start(&Setup::new(&instance("a", &url, "")));
        collectd.wait_for_lines("PUTVAL test/nats-a/bool-up", 3);
        let (status, lines) = collectd.stop();
        assert!(status.success(), "{lines:#?}");
        let sent = names(&lines).iter().any(|name| name == "bool-healthy");
        assert_eq!(sent, is_sent, "{explainz} {body}: {lines:#?}");
        let logged = lines.with("no values of /explainz: ").len();
        assert_eq!(logged, usize::from(!is_sent), "{lines:#?}");
    }
}

/// Names come from other hosts: whatever they are, there are few of them, and collectd can keep them.
#[test]
fn names_are_legal_and_bounded_in_number() {
    let accounts: Vec<Value> = (0..300)
        .map(|number| {
            let name = match number {
                0 => "../../etc/passwd".to_owned(),
                1 => "a\nb\u{202e}".to_owned(),
                2 => "x".repeat(1000),
                number => format!("account {number}"),
            };
            serde_json::json!({"acc": name, "conns": number})
        })
        .collect();
    let body = serde_json::json!({"account_statz": accounts}).to_string();
    let url = pretend_answers(move |path| match path {
        "/varz" => ("200 OK", varz("N", "2026-01-01T00:00:00Z")),
        "/healthz" => ("200 OK", "{\"status\":\"ok\"}".to_owned()),
        "/accstatz?unused=1" => ("200 OK", body.clone()),
        _ => ("404 Not Found", String::new()),
    });
    let collectd = Collectd::start(&Setup::new(&instance("a", &url, "ReportAccounts true")));
    collectd.wait_for_lines("PUTVAL test/nats-a/bool-up", 4);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let names = names(&lines);
    let accounts: Vec<_> = names
        .iter()
        .filter(|name| name.contains("-account-"))
        .collect();
    assert_eq!(accounts.len(), 100, "{accounts:#?}");
    for name in accounts {
        assert!(
            !name.contains(['/', ' ', '\n']) && name.len() < 160,
            "{name}"
        );
    }
    let full = lines.with("more than 100 accounts: only the first 100 have values");
    assert_eq!(full.len(), 1, "{:#?}", lines.log());
}
