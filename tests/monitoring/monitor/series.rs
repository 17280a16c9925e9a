//! The series of `/metrics` and their values: midge's own and those of
//! prometheus-nats-exporter.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::metrics::values;
use test_support::mesh::{self, Kind, Member, Plan};
use test_support::{Broker, RawClient, free_port, wait_for, wait_until};

/// Names of prometheus-nats-exporter for a broker without streams, gateways and
/// leafnodes, as its collectors make them, in addition to those derived from the numbers
/// in `/varz`, `/subsz` and `/routez`.
const EXPORTER_NAMES: &[&str] = &[
    "varz_server_id{server_id,value}",
    "varz_server_name{server_id,value}",
    "varz_version{server_id,value}",
    "varz_start{server_id}",
    "varz_config_load_time{server_id}",
    "varz_cluster_name{server_id,value}",
    "subsz_server_id{server_id,value}",
    "routez_server_id{server_id,value}",
    "routez_server_name{server_id,value}",
    "routez_num_routes{server_id}",
    "connz_num_connections{server_id}",
    "connz_total{server_id}",
    "connz_offset{server_id}",
    "connz_limit{server_id}",
    "connz_pending_bytes{server_id}",
    "connz_subscriptions{server_id}",
    "connz_in_bytes{server_id}",
    "connz_out_bytes{server_id}",
    "connz_in_msgs{server_id}",
    "connz_out_msgs{server_id}",
    "healthz_status{server_id}",
    "healthz_status_value{server_id,value}",
    "healthz_js_enabled_only_status{server_id}",
    "healthz_js_enabled_only_status_value{server_id,value}",
    "healthz_js_server_only_status{server_id}",
    "healthz_js_server_only_status_value{server_id,value}",
    "leafz_conn_nodes_total{server_id}",
    "accstatz_current_connections{account,account_id,account_name,server_id}",
    "accstatz_total_connections{account,account_id,account_name,server_id}",
    "accstatz_subscriptions{account,account_id,account_name,server_id}",
    "accstatz_leaf_nodes{account,account_id,account_name,server_id}",
    "accstatz_sent_messages{account,account_id,account_name,server_id}",
    "accstatz_sent_bytes{account,account_id,account_name,server_id}",
    "accstatz_received_messages{account,account_id,account_name,server_id}",
    "accstatz_received_bytes{account,account_id,account_name,server_id}",
    "accstatz_slow_consumers{account,account_id,account_name,server_id}",
    "accountz_client_connections{account_id,account_name,server_id}",
    "accountz_leafnode_connections{account_id,account_name,server_id}",
    "accountz_subscriptions{account_id,account_name,server_id}",
    "accountz_is_system{account_id,account_name,server_id}",
    "accountz_expired{account_id,account_name,server_id}",
    "accountz_complete{account_id,account_name,server_id}",
    "accountz_jetstream_enabled{account_id,account_name,server_id}",
    "accountz_limit_subs{account_id,account_name,server_id}",
    "accountz_limit_data{account_id,account_name,server_id}",
    "accountz_limit_payload{account_id,account_name,server_id}",
    "accountz_limit_imports{account_id,account_name,server_id}",
    "accountz_limit_exports{account_id,account_name,server_id}",
    "accountz_limit_wildcards{account_id,account_name,server_id}",
    "accountz_limit_conn{account_id,account_name,server_id}",
    "accountz_limit_leaf{account_id,account_name,server_id}",
];

/// The same for connections that are requested one by one.
const EXPORTER_CONNECTION_NAMES: &[&str] = &[
    "connz_pending_bytes",
    "connz_subscriptions",
    "connz_in_bytes",
    "connz_out_bytes",
    "connz_in_msgs",
    "connz_out_msgs",
    "connz_start",
    "connz_last_activity",
    "connz_rtt",
    "connz_uptime",
    "connz_idle",
];
const EXPORTER_CONNECTION_LABELS: &str = "account,account_id,cid,ip,kind,lang,name,name_tag,port,\
    server_id,tls_cipher_suite,tls_version,type,version";

/// Two brokers with a route between them, and a case of everything: messages over the
/// route, a disconnected slow consumer, messages without subscribers, round trips.
pub fn eventful() -> (Vec<Member>, Vec<RawClient>) {
    let ports = [free_port(), free_port()];
    let members: Vec<Member> = [(0, 1), (1, 0)]
        .map(|(own, other)| {
            let mut plan = Plan::new(Kind::Midge, &format!("n{own}"), ports[own], &[ports[other]]);
            plan.config = "max_payload: 100000\nmax_pending: 200000\nping_interval: \"100ms\"\n\
                           ping_max: 100000"
                .into();
            plan.start()
        })
        .into();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    let hello = |member: &Member, name: &str| {
        let mut client = member.broker.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\n"
        ));
        client.sync();
        client
    };
    let mut far = hello(&members[1], "far");
    far.send("SUB far 1\r\n");
    far.sync();
    wait_until("the interest has arrived", || members[0].knows("far"));
    let mut writer = hello(&members[0], "writer");
    writer.send("PUB far 5\r\nhello\r\n".repeat(3));
    writer.send("PUB nobody 2\r\nno\r\n".repeat(4));
    writer.sync();
    far.next_message();
    let mut stuck = hello(&members[0], "stuck");
    stuck.send("SUB flood 1\r\n");
    stuck.sync();
    let flood = format!("PUB flood 60000\r\n{}\r\n", "x".repeat(60_000));
    wait_until("the client that does not read is closed", || {
        writer.send(flood.repeat(16));
        writer.sync();
        members[0].broker.get_json("/varz")["slow_consumers"] == 1
    });
    for series in [
        "midge_client_rtt_seconds{",
        "midge_route_rtt_seconds{",
        "midge_slow_incidents_ended_total{",
        "midge_ceiling_used{",
        "reason=\"Slow Consumer (Pending Bytes)\"",
    ] {
        wait_until(&format!("there is {series}"), || {
            // Round trip times are measured by pings, which must be answered.
            writer.send("PONG\r\n");
            writer.sync();
            members[0].broker.get("/metrics").body.contains(series)
        });
    }
    (members, vec![far, writer])
}

/// The series of a metric, by its name.
fn series<'a>(found: &'a BTreeMap<String, f64>, name: &str) -> Vec<(&'a str, f64)> {
    found
        .iter()
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .map(|(series, value)| (series.as_str(), *value))
        .collect()
}

fn value(found: &BTreeMap<String, f64>, series: &str) -> f64 {
    *found
        .get(series)
        .unwrap_or_else(|| panic!("{series} is not served"))
}

/// Past incidents are in the metrics.
#[test]
fn loss_findings_incidents_and_routes_have_series() {
    let (members, _clients) = eventful();
    let broker = &members[0].broker;
    wait_until("the finding is there", || {
        broker
            .get_json("/explainz")
            .to_string()
            .contains("slow-consumer-recent")
    });
    let found = values(&broker.get("/metrics").body);
    let varz = broker.get_json("/varz");
    let no_interest = value(&found, "midge_messages_lost_total{reason=\"no_interest\"}");
    assert!(no_interest >= 4.0, "{no_interest}");
    assert_eq!(
        varz["dropped_msgs"]["no_interest"].as_f64(),
        Some(no_interest)
    );
    let dropped = value(
        &found,
        "midge_messages_lost_total{reason=\"slow_consumer\"}",
    );
    assert!(dropped > 0.0);
    assert_eq!(
        varz["dropped_msgs"]["slow_consumer"].as_f64(),
        Some(dropped)
    );
    assert!(value(&found, "midge_lost_bytes_total{reason=\"slow_consumer\"}") > 100_000.0);
    assert_eq!(
        value(
            &found,
            "midge_account_dropped_messages_total{account=\"$G\"}"
        ),
        dropped
    );
    let code = "midge_findings{code=\"slow-consumer-recent\",severity=\"warning\"}";
    assert_eq!(value(&found, code), 1.0);
    let code = "midge_findings{code=\"slow-consumer-recent\",severity=\"critical\"}";
    assert_eq!(value(&found, code), 0.0);
    let slowz = broker.get_json("/slowz");
    assert_eq!(
        Some(value(&found, "midge_slow_incidents_total")),
        slowz["total"].as_f64()
    );
    let cause = slowz["incidents"][0]["cause"].as_str().expect("a cause");
    let ended = format!("midge_slow_incidents_ended_total{{state=\"evicted\",cause=\"{cause}\"}}");
    assert_eq!(value(&found, &ended), 1.0);
    let id = &members[1].broker.get_json("/varz")["server_id"];
    let of_route = format!("remote=\"n1\",remote_id={id}");
    let sent = format!("midge_route_messages_total{{{of_route},direction=\"out\"}}");
    assert_eq!(value(&found, &sent), 3.0);
    assert!(value(&found, &format!("midge_route_rtt_seconds{{{of_route}}}")) > 0.0);
    // A ping may be pending for its peer at any moment.
    let pending = format!("midge_route_pending_bytes{{{of_route}}}");
    wait_until("nothing is pending for the peer", || {
        value(&values(&broker.get("/metrics").body), &pending) == 0.0
    });
    assert!(value(&found, "midge_events_total{type=\"route\"}") >= 1.0);
    assert!(value(&found, "midge_events_total{type=\"slow\"}") >= 1.0);
    assert_eq!(
        value(
            &found,
            "midge_ceiling_limit{ceiling=\"pending\",unit=\"bytes\"}"
        ),
        200_000.0
    );
}

/// Histograms have the same buckets in every scrape, are cumulative, and end with the
/// total.
#[test]
fn latencies_are_histograms() {
    let (members, mut clients) = eventful();
    let scrape = || values(&members[0].broker.get("/metrics").body);
    let before = scrape();
    clients[1].send("PUB far 5\r\nhello\r\n".repeat(100));
    clients[1].sync();
    let after = wait_for("the messages are written", || {
        let found = scrape();
        let written = |found| value(found, "midge_message_latency_seconds_count{kind=\"route\"}");
        (written(&found) > written(&before)).then_some(found)
    });
    for (name, labels) in [
        ("midge_message_latency_seconds", "kind=\"client\""),
        ("midge_message_latency_seconds", "kind=\"route\""),
        ("midge_account_message_latency_seconds", "account=\"$G\""),
        ("midge_worker_delay_seconds", ""),
    ] {
        let buckets = |found: &BTreeMap<String, f64>| -> Vec<(f64, f64)> {
            let mut buckets: Vec<_> = series(found, &format!("{name}_bucket"))
                .iter()
                .filter(|(series, _)| series.contains(labels))
                .map(|(series, count)| {
                    let (_, bound) = series.split_once("le=\"").expect("a bound");
                    let bound = bound.trim_end_matches("\"}").replace("+Inf", "inf");
                    (bound.parse().expect("a number"), *count)
                })
                .collect();
            buckets.sort_by(|a: &(f64, f64), b| a.0.total_cmp(&b.0));
            buckets
        };
        let (old, new) = (buckets(&before), buckets(&after));
        let bounds = |buckets: &[(f64, f64)]| -> Vec<f64> {
            buckets.iter().map(|(bound, _)| *bound).collect()
        };
        assert_eq!(bounds(&old), bounds(&new), "{name} {labels}");
        assert_eq!(new.len(), 26, "{name} {labels}");
        assert!(new.is_sorted_by_key(|(_, count)| *count), "{new:?}");
        let labels = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let count = value(&after, &format!("{name}_count{labels}"));
        assert_eq!(new[25], (f64::INFINITY, count));
        assert!(count > 0.0 && value(&after, &format!("{name}_sum{labels}")) > 0.0);
    }
}

/// In one scrape the parts add up to the total, even while messages flow and clients
/// connect and disconnect.
#[test]
fn a_scrape_is_a_consistent_snapshot() {
    let broker = Broker::midge()
        .config("accounts {\n A { users: [{user: a, password: a}] }\n B { users: [{user: b, password: b}] }\n}")
        .start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for user in ["a", "b"] {
            let (broker, stop) = (&broker, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = broker.connect();
                    client.send(format!(
                        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\nSUB x 1\r\n"
                    ));
                    for _ in 0..20 {
                        client.send("PUB x 3\r\nabc\r\n".repeat(50));
                        client.sync();
                    }
                }
            });
        }
        let mut last = 0.0;
        for _ in 0..50 {
            let found = values(&broker.get("/metrics?exporter=0").body);
            let sum = |direction: &str| -> f64 {
                let parts = series(&found, "midge_account_messages_total");
                let parts = parts
                    .iter()
                    .filter(|(series, _)| series.contains(direction));
                parts.map(|(_, value)| value).sum()
            };
            for direction in ["in", "out"] {
                let label = format!("direction=\"{direction}\"");
                let whole = format!("midge_messages_total{{kind=\"client\",{label}}}");
                assert_eq!(sum(&label), value(&found, &whole), "{direction}");
            }
            let whole = value(
                &found,
                "midge_messages_total{kind=\"client\",direction=\"in\"}",
            );
            assert!(whole >= last, "a total fell from {last} to {whole}");
            last = whole;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(last > 0.0, "nothing moved");
    });
}

/// No counter decreases, even where deliveries to clients are counted for another
/// account.
#[test]
fn account_counters_never_decrease() {
    let broker = Broker::midge()
        .config(
            "accounts {
               A { users: [{user: a, password: a}], exports: [{stream: \"x\"}] }
               B { users: [{user: b, password: b}], imports: [{stream: {account: A, subject: x}}] }
             }",
        )
        .start();
    let login = |user: &str, more: &str| {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\n{more}"
        ));
        client.sync();
        client
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for user in ["a", "b"] {
            let (login, stop) = (&login, &stop);
            scope.spawn(move || {
                let mut client = login(user, "SUB x 1\r\nSUB own 2\r\n");
                while !stop.load(Ordering::Relaxed) {
                    client.send("PUB x 3\r\nabc\r\nPUB own 3\r\nabc\r\n".repeat(50));
                    client.sync();
                }
            });
        }
        let mut last: BTreeMap<String, f64> = BTreeMap::new();
        for _ in 0..200 {
            let found = values(&broker.get("/metrics?exporter=0").body);
            for name in [
                "midge_account_messages_total",
                "midge_account_message_bytes_total",
            ] {
                for (series, value) in series(&found, name) {
                    let before = last.insert(series.to_owned(), value).unwrap_or(0.0);
                    if value < before {
                        stop.store(true, Ordering::Relaxed);
                        panic!("{series} fell from {before} to {value}");
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        let moved = last
            .iter()
            .filter(|(series, count)| series.contains("\"out\"") && **count > 0.0);
        assert!(moved.count() >= 4, "{last:?}");
    });
}

/// Name and label names of each series.
fn shapes(found: &BTreeMap<String, f64>) -> BTreeSet<String> {
    found
        .keys()
        .map(|series| {
            let Some((name, labels)) = series.split_once('{') else {
                return series.clone();
            };
            let labels = labels.trim_end_matches('}');
            let mut names: Vec<&str> = labels
                .split("\",")
                .filter_map(|label| label.split('=').next())
                .collect();
            names.sort_unstable();
            format!("{name}{{{}}}", names.join(","))
        })
        .collect()
}

/// All names of the exporter exist, with its labels.
#[test]
fn the_exporters_names_and_labels_are_complete() {
    let (members, _clients) = eventful();
    let broker = &members[0].broker;
    let found = shapes(&values(&broker.get("/metrics").body));
    for name in EXPORTER_NAMES {
        assert!(found.contains(&format!("gnatsd_{name}")), "{name}");
    }
    for shape in &found {
        assert!(
            !(shape.contains("connz") && shape.contains("cid")),
            "{shape} was not asked for"
        );
    }
    let answer = broker.get("/metrics?detailed=1&prefix=nats").body;
    let found = shapes(&values(&answer));
    for name in EXPORTER_CONNECTION_NAMES {
        let shape = format!("nats_{name}{{{EXPORTER_CONNECTION_LABELS}}}");
        assert!(found.contains(&shape), "{shape}");
    }
    assert_eq!(broker.get("/metrics?detailed=x").status, 400);
}
