//! `/metrics` is valid for Prometheus, agrees with the other endpoints, and stays small.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::series;
use test_support::{Broker, HttpResponse, RawClient, http, tools, wait_until};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,\
    application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The metrics of the dashboards that come with the exporter, for brokers without
/// streams, after `gnatsd_varz_` and `nats_varz_`.
const BOARD_NAMES: [&str; 9] = [
    "connections",
    "cpu",
    "mem",
    "in_bytes",
    "out_bytes",
    "in_msgs",
    "out_msgs",
    "slow_consumers",
    "subscriptions",
];

/// A broker that has a value in every metric, apart from those that a dashboard may
/// request in vain.
fn busy() -> (Broker, Vec<RawClient>) {
    let broker = Broker::midge().flag("-n").flag("na\"me\\").start();
    let hello = |name: &str| {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"name\":\"{name}\"}}\r\n"
        ));
        client.sync();
        client
    };
    drop(hello("gone"));
    let mut reader = hello("a \\\"reader\\\"\\n\\\\");
    reader.send("SUB a.* 1\r\n");
    reader.sync();
    let mut writer = hello("writer");
    writer.send("PUB a.b 5\r\nhello\r\n".repeat(7));
    writer.sync();
    reader.sync();
    wait_until("the closed connection is counted", || {
        broker.get("/metrics").body.contains("Client Closed")
    });
    (broker, vec![reader, writer])
}

fn scrape(broker: &Broker, path: &str, accept: &str) -> HttpResponse {
    let answer = http::send(
        broker.monitor_addr(),
        &format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        ),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The values by name and labels, as written in the text.
pub fn values(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// The names of the metrics that have values.
fn names(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split(['{', ' ']).next().expect("a name"))
        .collect()
}

pub(super) fn run(program: PathBuf, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("an input");
    stdin.write_all(input.as_bytes()).expect("give the metrics");
    drop(stdin);
    child.wait_with_output().expect("wait for the judge")
}

/// Names of prometheus-nats-exporter, which violate the conventions.
const EXPORTERS_COUNTERS: [&str; 4] = ["in_bytes", "in_msgs", "out_bytes", "out_msgs"];
const EXPORTERS_GAUGES: [&str; 3] = ["connz_total", "subsz_total", "leafz_conn_nodes_total"];

/// Prometheus' own checker accepts format and names, except for the exporter's names.
#[test]
fn promtool_finds_nothing_wrong() {
    let (broker, _clients) = busy();
    for path in [
        "/metrics",
        "/metrics?prefix=nats&connections=3",
        "/metrics?prefix=choria",
    ] {
        let answer = scrape(&broker, path, "*/*");
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let verdict = run(tools::promtool(), &["check", "metrics"], &answer.body);
        let result = String::from_utf8_lossy(&verdict.stderr);
        let is_exporters = |line: &str| {
            EXPORTERS_COUNTERS.iter().any(|name| {
                line.ends_with(&format!(
                    "_connz_{name} counter metrics should have \"_total\" suffix"
                ))
            }) || EXPORTERS_GAUGES.iter().any(|name| {
                line.ends_with(&format!(
                    "_{name} non-counter metrics should not have \"_total\" suffix"
                ))
            })
        };
        let mut others = result.lines().filter(|line| !line.is_empty());
        let other = others.find(|line| !is_exporters(line));
        assert_eq!(other, None, "{path}: {}", answer.body);
        // 3: there are complaints about names.
        assert!(
            matches!(verdict.status.code(), Some(0 | 3)),
            "{path}: {result}"
        );
    }
}

/// The reference parser of OpenMetrics, which is strict, accepts the other format.
#[test]
fn openmetrics_is_parsed() {
    let (broker, _clients) = busy();
    let answer = scrape(&broker, "/metrics", OPEN_METRICS);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let parse = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        for family in parse(sys.stdin.read()): print(family.type, family.name, family.unit)\n";
    let parsed = run(
        tools::python_with_prometheus(),
        &["-c", parse],
        &answer.body,
    );
    assert!(
        parsed.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&parsed.stderr),
        answer.body
    );
    let parsed = String::from_utf8_lossy(&parsed.stdout);
    for family in [
        "histogram midge_message_latency_seconds seconds",
        "gauge midge_findings",
        "counter midge_message_bytes bytes",
        "gauge midge_pending_bytes bytes",
        "info midge_build",
        "gauge gnatsd_varz_in_msgs",
    ] {
        assert!(
            parsed.lines().any(|line| line.trim_end() == family),
            "{family} is not in:\n{parsed}"
        );
    }
}

/// The values equal those of the other endpoints.
#[test]
fn metrics_match_the_other_endpoints() {
    let (broker, _clients) = busy();
    let varz = broker.get_json("/varz");
    let found = values(&broker.get("/metrics").body);
    let number = |name: &str| varz[name].as_f64().unwrap_or_else(|| panic!("{name}"));
    for (series, expected) in [
        ("midge_connections", number("connections")),
        (
            "midge_connections_accepted_total",
            number("total_connections"),
        ),
        (
            "midge_messages_total{kind=\"client\",direction=\"in\"}",
            number("in_client_msgs"),
        ),
        (
            "midge_messages_total{kind=\"client\",direction=\"out\"}",
            number("out_client_msgs"),
        ),
        (
            "midge_message_bytes_total{kind=\"client\",direction=\"in\"}",
            number("in_client_bytes"),
        ),
        ("midge_subscriptions", number("subscriptions")),
        (
            "midge_connections_closed_total{reason=\"Client Closed\"}",
            broker.get_json("/connz?state=closed&limit=1")["total"]
                .as_f64()
                .expect("a number"),
        ),
    ] {
        assert_eq!(found.get(series), Some(&expected), "{series}");
    }
    assert_eq!(number("in_msgs"), 7.0);
    let connz = broker.get_json("/connz");
    for entry in connz["connections"].as_array().expect("a list") {
        let name = entry["name"].as_str().unwrap_or_default();
        let series = format!(
            "midge_connection_message_bytes_total{{cid=\"{}\",name=\"{}\",account=\"$G\",\
             direction=\"out\"}}",
            entry["cid"],
            name.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n"),
        );
        assert_eq!(
            found.get(&series).copied(),
            entry["out_bytes"].as_f64(),
            "{series}"
        );
    }
}

/// The exporter's names exist, by its own rule for `/varz`, `/subsz` and `/routez`, with
/// the values of those answers.
#[test]
fn the_exporters_names_are_served() {
    let (broker, _clients) = busy();
    // Counted before it is compared.
    broker.get("/metrics");
    let server = "{server_id=\"na\\\"me\\\\\"}";
    for prefix in ["gnatsd", "nats"] {
        let answers = ["varz", "subsz", "routez"]
            .map(|endpoint| (endpoint, broker.get_json(&format!("/{endpoint}"))));
        let found = values(&broker.get(&format!("/metrics?prefix={prefix}")).body);
        for name in BOARD_NAMES {
            let series = format!("{prefix}_varz_{name}{server}");
            assert!(found.contains_key(&series), "{series}");
        }
        for (endpoint, answer) in answers {
            let members = answer.as_object().expect("an object");
            for (name, value) in members {
                // These change between two requests.
                let moves = ["cpu", "mem", "http_req_stats"].contains(&&**name);
                if let (Some(value), false) = (value.as_f64(), moves) {
                    let series = format!("{prefix}_{endpoint}_{name}{server}");
                    assert_eq!(found.get(&series), Some(&value), "{series}");
                }
            }
        }
        for series in [
            format!("{prefix}_healthz_status{server}"),
            format!("{prefix}_connz_num_connections{server}"),
            format!("{prefix}_varz_http_req_stats_metrics{server}"),
            format!("{prefix}_leafz_conn_nodes_total{server}"),
        ] {
            assert!(found.contains_key(&series), "{series}");
        }
    }
    let without = broker.get("/metrics?exporter=0").body;
    assert!(names(&without).iter().all(|name| !name.contains("varz")));
}

/// The number of connections with series is bounded, however many there are.
#[test]
fn connections_with_series_are_bounded() {
    let broker = Broker::midge().start();
    let mut clients: Vec<_> = (0..300).map(|_| broker.connect()).collect();
    clients.iter_mut().for_each(|client| {
        client.sync();
    });
    clients[250].send("SUB x 1\r\nPUB x 9\r\nbig reply\r\n");
    clients[250].sync();
    for (query, expected) in [
        ("", 20),
        ("?connections=0", 0),
        ("?connections=7", 7),
        ("?connections=18446744073709551615", 200),
    ] {
        let text = broker.get(&format!("/metrics{query}")).body;
        let series: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("midge_connection_subscriptions{"))
            .collect();
        assert_eq!(series.len(), expected, "{query}");
        // The connection with the most traffic comes first.
        assert!(series.first().is_none_or(|line| line.ends_with(" 1")));
    }
    for wrong in [
        "connections=-1",
        "connections=NaN",
        "prefix=a-b",
        "exporter=7",
    ] {
        assert_eq!(broker.get(&format!("/metrics?{wrong}")).status, 400);
    }
}

/// The Grafana dashboard queries only metrics that are served.
#[test]
fn the_dashboard_uses_only_served_metrics() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/grafana/midge.json");
    let text = fs::read_to_string(&file).expect("read the dashboard");
    let board: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut expressions = Vec::new();
    collect(&board, &mut expressions);
    assert!(expressions.len() >= 40, "{} queries", expressions.len());
    assert_are_queries(&expressions);
    let answer = series::eventful().0[0].broker.get("/metrics").body;
    let served = types(&answer);
    for expression in expressions {
        let words =
            expression.split(|symbol: char| !symbol.is_ascii_alphanumeric() && symbol != '_');
        let asked: Vec<_> = words
            .filter(|word| word.starts_with("midge_") || word.starts_with("process_"))
            .collect();
        assert!(!asked.is_empty(), "no metric in {expression}");
        for name in asked {
            // It exists only while something grows.
            if name == "midge_ceiling_exhaustion_seconds" {
                continue;
            }
            let kind = served
                .get(name)
                .unwrap_or_else(|| panic!("{name} is not served: {expression}"));
            let is_rate = expression.contains("rate(") || expression.contains("increase(");
            assert!(
                *kind != "counter" || is_rate,
                "a total is shown as it is: {expression}"
            );
        }
    }
}

/// Prometheus can parse the queries once Grafana has filled in its variables.
fn assert_are_queries(expressions: &[String]) {
    let mut rules = String::from("groups:\n- name: board\n  rules:\n");
    for (index, expression) in expressions.iter().enumerate() {
        let filled = expression.replace("$__rate_interval", "1m");
        let quoted = filled.replace('\'', "''");
        rules += &format!("  - record: q{index}\n    expr: '{quoted}'\n");
    }
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let file = folder.path().join("rules.yml");
    fs::write(&file, rules).expect("write the rules");
    let file = file.to_str().expect("a path in UTF-8");
    let verdict = run(tools::promtool(), &["check", "rules", file], "");
    assert!(
        verdict.status.success(),
        "{}",
        String::from_utf8_lossy(&verdict.stderr)
    );
}

/// The queries of a dashboard, including those of variables.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("expr", Value::String(text)) => found.push(text.clone()),
                    _ => collect(member, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, found)),
        _ => {}
    }
}

/// The types of all metrics, by name; the parts of a histogram under their own names.
fn types(text: &str) -> BTreeMap<String, &str> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type");
        found.insert(name.to_owned(), kind);
        if kind == "histogram" {
            for part in ["_bucket", "_sum", "_count"] {
                found.insert(format!("{name}{part}"), "counter");
            }
        }
    }
    found
}
