//! `/metrics` under the names of others: prometheus-nats-exporter and Choria's broker.

use std::collections::BTreeMap;

use super::metrics::values;
use test_support::{Broker, RawClient, wait_until};

const ACCOUNTS: &str = "
accounts {
  A { users: [{user: a, password: a}], limits { max_connections: 7, max_payload: 1000 } }
  B { users: [{user: b, password: b}] }
}
";

fn client(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\n"
    ));
    client.sync();
    client
}

fn scrape(broker: &Broker, query: &str) -> BTreeMap<String, f64> {
    values(&broker.get(&format!("/metrics{query}")).body)
}

/// The type and the help of a metric.
fn declared(text: &str, name: &str) -> (String, String) {
    let line = |keyword: &str| {
        let start = format!("# {keyword} {name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&*start));
        line.unwrap_or_else(|| panic!("{keyword} of {name}"))
            .to_owned()
    };
    (line("TYPE"), line("HELP"))
}

/// The exporter adds up what the open connections moved; what has left is only in midge's own
/// totals.
#[test]
fn the_exporters_traffic_is_that_of_open_connections() {
    let broker = Broker::midge().flag("-n").flag("x").start();
    let mut leaving = broker.connect();
    leaving.send("CONNECT {\"verbose\":false}\r\nPUB a 5\r\nhello\r\nPUB a 5\r\nhello\r\n");
    leaving.sync();
    let mut staying = broker.connect();
    staying.send("CONNECT {\"verbose\":false}\r\nPUB a 3\r\nabc\r\n");
    staying.sync();
    let series = |name: &str| format!("gnatsd_connz_{name}{{server_id=\"x\"}}");
    let both = scrape(&broker, "");
    assert_eq!(both[&series("in_msgs")], 3.0);
    assert_eq!(both[&series("in_bytes")], 13.0);
    assert_eq!(both[&series("limit")], 1024.0);
    assert_eq!(both[&series("total")], 2.0);
    drop(leaving);
    broker.wait_for_connections(1);
    let one = scrape(&broker, "");
    assert_eq!(one[&series("in_msgs")], 1.0);
    assert_eq!(one[&series("in_bytes")], 3.0);
    let all = "midge_messages_total{kind=\"client\",direction=\"in\"}";
    assert_eq!(one[all], 3.0);
}

/// Limits are in midge's own series; those of the exporter's name are read from JWTs there.
#[test]
fn limits_of_accounts_have_series_of_their_own() {
    let broker = Broker::midge()
        .flag("-n")
        .flag("x")
        .config(ACCOUNTS)
        .start();
    let found = scrape(&broker, "");
    let limit = |account: &str, limit: &str| {
        let name = format!("midge_account_limit{{account=\"{account}\",limit=\"{limit}\"}}");
        found.get(&name).copied()
    };
    assert_eq!(limit("A", "connections"), Some(7.0));
    assert_eq!(limit("A", "payload"), Some(1000.0));
    assert_eq!(limit("A", "subscriptions"), None);
    assert_eq!(limit("B", "connections"), None);
    let theirs = found.iter();
    let theirs = theirs.filter(|(name, _)| name.starts_with("gnatsd_accountz_limit_"));
    let theirs: Vec<_> = theirs.map(|(_, value)| *value).collect();
    assert!(
        !theirs.is_empty() && theirs.iter().all(|value| *value == 0.0),
        "{theirs:?}"
    );
}

#[test]
fn types_and_helps_are_the_exporters() {
    let broker = Broker::midge().start();
    let _client = client(&broker, "nobody");
    let text = broker.get("/metrics?detailed=1").body;
    for (name, kind, help) in [
        ("connz_in_bytes", "counter", "in_bytes"),
        ("connz_pending_bytes", "gauge", "pending_bytes"),
        ("connz_total", "gauge", "total"),
        (
            "connz_rtt",
            "gauge",
            "response time latency in microseconds",
        ),
        ("connz_uptime", "untyped", "uptime duration in milliseconds"),
        ("connz_idle", "gauge", "idle time duration in milliseconds"),
        ("leafz_conn_nodes_total", "gauge", "nodes_total"),
        ("healthz_js_server_only_status", "gauge", "status"),
        ("subsz_total", "gauge", "total"),
        ("varz_in_msgs", "gauge", "in_msgs"),
    ] {
        let found = declared(&text, &format!("gnatsd_{name}"));
        assert_eq!(found, (kind.to_owned(), help.to_owned()), "{name}");
    }
}

/// All series of Choria's broker that one without leafnodes has, with its values in `/varz`.
#[test]
fn a_dashboard_of_choria_finds_its_series() {
    let broker = Broker::midge().flag("-n").flag("broker1").start();
    let mut client = client(&broker, "nobody");
    client.send("SUB a 1\r\nPUB a 5\r\nhello\r\n");
    client.sync();
    let found = scrape(&broker, "?prefix=choria");
    let varz = broker.get_json("/varz");
    for (name, field) in [
        ("connections", "connections"),
        ("total_connections", "total_connections"),
        ("routes", "routes"),
        ("remotes", "remotes"),
        ("leafnode_remotes", "leafnodes"),
        ("in_msgs", "in_msgs"),
        ("out_msgs", "out_msgs"),
        ("in_bytes", "in_bytes"),
        ("out_bytes", "out_bytes"),
        ("slow_consumers", "slow_consumers"),
        ("subscriptions", "subscriptions"),
    ] {
        let series = format!("choria_network_{name}{{identity=\"broker1\"}}");
        assert_eq!(
            found.get(&series).copied(),
            varz[field].as_f64(),
            "{series}"
        );
    }
    for name in [
        "memorystore_max",
        "filestore_max",
        "memorystore_used",
        "filestore_used",
        "streams",
        "consumers",
        "messages",
        "message_bytes",
    ] {
        let series = format!("choria_network_stream_{name}{{identity=\"broker1\"}}");
        assert_eq!(found.get(&series), Some(&0.0), "{series}");
    }
    assert_eq!(found["choria_network_in_msgs{identity=\"broker1\"}"], 1.0);
    let others = found.keys();
    let mut others = others.filter(|name| name.contains("_varz_") || name.contains("_connz_"));
    assert_eq!(others.next(), None, "the exporter's are left out");
    wait_until("midge's own are there", || {
        scrape(&broker, "?prefix=choria").contains_key("midge_connections")
    });
}
