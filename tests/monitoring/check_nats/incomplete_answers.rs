//! Answers that lack the fields a check needs: no mode returns OK or a warning for them.
//!
//! Both tests use the table of modes, so a new mode is covered automatically. One gives
//! every mode answers that are not a broker's; the other removes from a real broker's
//! answers each field that a mode declares as required.

use std::{collections::BTreeMap, net::SocketAddr};

use check_nats::modes::{MODES, Mode, need::Need};
use monitor_client::Kind;
use serde_json::{Value, json};

use super::{
    bad_peers::{answers, peer, read_until, respond, says},
    plugin::{PluginOutput, check_ports, judge},
};
use test_support::{Broker, RawClient};

/// Bodies that a broker never sends, on any path.
const INCOMPLETE: &[&str] = &[
    "",
    " ",
    "{}",
    "[]",
    "[{}]",
    "null",
    "0",
    "\"ok\"",
    "OK",
    "<!DOCTYPE html><html><body>It works!</body></html>",
    r#"{"status":"ok"}"#,
    r#"{"status":"ok","error":""}"#,
    r#"{"status":"healthy"}"#,
    r#"{"server_id":"N1"}"#,
    r#"{"server_id":"N1","now":"2026-01-01T00:00:00Z"}"#,
    r#"{"server_id":null,"status":"ok","connections":null}"#,
    r#"{"server_id":"","status":"","start":"","now":""}"#,
    r#"{"server_id":7,"status":7,"connections":"7"}"#,
    r#"{"server_id":"N1","connections":NaN,"max_connections":10}"#,
    r#"{"server_id":"N1","start":"2026-01-01T00:00:00Z","now":"2026-01-02T00:00:00Z","conn"#,
    r#"{"server_id":"N1"}{"server_id":"N1"}"#,
    r#"{"name":"node","cluster_name":"search","version":{"number":"8.1.0"},"tagline":"x"}"#,
    r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
];

const STATUSES: &[&str] = &["200 OK", "404 Not Found", "503 Service Unavailable"];

#[test]
fn no_mode_accepts_an_incomplete_answer() {
    let broker = Broker::midge().start();
    for body in INCOMPLETE {
        // An error status makes the body irrelevant.
        let statuses = match *body {
            "{}" | r#"{"status":"ok"}"# => STATUSES,
            _ => &STATUSES[..1],
        };
        for status in statuses {
            let monitor = answers(status, body);
            // A mode that uses only the client port gets the same data there.
            let bad_peer = says(&format!("HTTP/1.1 {status}\r\n\r\n{body}"));
            for mode in MODES {
                let client = match mode.needs {
                    [] => bad_peer,
                    _ => broker.client_addr(),
                };
                let result = run(mode, client, monitor);
                let place = format!("{} {status} {body}: {result:?}", mode.name);
                assert!(result.code >= 2, "{place}");
                // Only closing a client connection is CRITICAL.
                assert!(result.code == 3 || mode.needs.is_empty(), "{place}");
            }
        }
    }
}

/// The fields that a mode requires are present in a broker's answer, and without each of
/// them there is no verdict.
#[test]
fn each_required_field_gives_unknown_when_missing() {
    for (broker, in_every_way) in [
        (Broker::midge(), true),
        // For these only the presence of the fields is checked.
        (Broker::nats_server(), false),
        (Broker::nats_server_29(), false),
    ] {
        let broker = broker.start();
        let mut client = RawClient::connect_quietly(broker.client_addr());
        client.send("SUB a 1\r\n");
        client.sync();
        for mode in MODES {
            let whole = recorded(&broker, mode);
            let result = run(mode, broker.client_addr(), replay(&whole));
            if result.code == 3 && result.line.contains("only midge") && !in_every_way {
                continue;
            }
            assert_ne!(result.code, 3, "{}: {result:?}", mode.name);
            let needs = mode.needs.iter();
            for need in needs.filter(|need| is_decisive(mode, need, &whole)) {
                for needed in need.fields() {
                    let name = needed.field.name;
                    for (what, body) in spoilt(&whole[need.path], name, needed.field.kind) {
                        if what != "absent" && !in_every_way {
                            continue;
                        }
                        let mut answers = whole.clone();
                        answers.insert(need.path, body);
                        let result = run(mode, broker.client_addr(), replay(&answers));
                        let place =
                            format!("{}: {} {name} {what}: {result:?}", mode.name, need.path);
                        // An absent metric stays unknown.
                        if let (Some(figure), "absent") = (needed.metric, what) {
                            assert!(result.value(figure.label).starts_with('U'), "{place}");
                            continue;
                        }
                        assert_eq!(result.code, 3, "{place}");
                        assert!(result.line.contains(need.path), "{place}");
                        // An element that was added for this test lacks other fields too.
                        let reported = name.split(".*").next().expect("a name");
                        assert!(result.line.contains(&reported.replace('|', "?")), "{place}");
                    }
                }
            }
        }
    }
}

/// A broker whose answers lack what is compared between several is not compared, and the result
/// is not OK.
#[test]
fn what_is_compared_between_brokers_must_be_there() {
    let broker = Broker::midge().start();
    let mode = MODES
        .iter()
        .find(|mode| mode.name == "cluster")
        .expect("the mode");
    let whole = recorded(&broker, mode);
    let sound = format!("http://{}", replay(&whole));
    let needs = mode.needs.iter().filter(|need| need.path != "/clusterz");
    for need in needs {
        for needed in need.fields() {
            let name = needed.field.name;
            for (what, body) in spoilt(&whole[need.path], name, needed.field.kind) {
                let mut answers = whole.clone();
                answers.insert(need.path, body);
                let url = format!("http://{}", replay(&answers));
                let result = judge(&["--mode", "cluster", "-u", &sound, "-u", &url]);
                let place = format!("{} {name} {what}: {result:?}", need.path);
                assert_eq!(result.code, 3, "{place}");
                assert!(result.line.contains(need.path), "{place}");
                assert_eq!(result.value("routes_missing"), "U", "{place}");
            }
        }
    }
}

/// Whether the mode requests this path from this broker and its verdict depends on it.
fn is_decisive(mode: &Mode, need: &Need, whole: &BTreeMap<&str, Value>) -> bool {
    match (mode.name, need.path) {
        _ if need.is_for_names => false,
        // Only if there is no better source; the comparison of several brokers has a test of its
        // own.
        ("cluster", "/routez" | "/varz") => !whole.contains_key("/clusterz"),
        (_, path) => whole.contains_key(path),
    }
}

/// The broker's real answers to the requests of a mode; unsupported paths are absent.
fn recorded(broker: &Broker, mode: &Mode) -> BTreeMap<&'static str, Value> {
    let mut answers = BTreeMap::new();
    for need in mode.needs {
        let reply = match mode.name {
            "path" => broker.get("/pathz?subject=a"),
            _ => broker.get(need.path),
        };
        if reply.status == 200 {
            let mut body: Value = serde_json::from_str(&reply.body).expect("JSON");
            if mode.name == "federation" {
                body["enabled"] = json!(true);
                body["upstream"]["connected"] = json!(true);
            }
            if mode.name == "nodes" {
                body["enabled"] = json!(true);
            }
            if mode.name == "cert" {
                body["tls_cert_not_after"] = json!("2999-01-01T00:00:00Z");
            }
            answers.insert(need.path, body);
        }
    }
    answers
}

/// The answer with one field made absent or invalid, in each way that applies.
fn spoilt(whole: &Value, name: &str, kind: Kind) -> Vec<(&'static str, Value)> {
    let mut wrong = vec![("null", Some(Value::Null)), ("an object", Some(json!({})))];
    match kind {
        Kind::Text | Kind::Word(_) => {
            wrong.extend([("empty", Some(json!(""))), ("a number", Some(json!(5)))]);
        }
        _ => wrong.push(("a text", Some(json!("5")))),
    }
    if matches!(kind, Kind::Count | Kind::Positive) {
        wrong.push(("negative", Some(json!(-5))));
    }
    wrong.push(("absent", None));
    wrong
        .into_iter()
        .map(|(what, value)| {
            let mut body = whole.clone();
            let path: Vec<&str> = name.split('.').collect();
            spoil(&mut body, &path, &value);
            (what, body)
        })
        .collect()
}

fn spoil(body: &mut Value, path: &[&str], value: &Option<Value>) {
    match path {
        ["*", rest @ ..] => {
            let elements = body.as_array_mut().expect("a list");
            // An empty list gets an element without fields.
            if elements.is_empty() {
                elements.push(json!({}));
            }
            for element in elements {
                spoil(element, rest, value);
            }
        }
        [last] => {
            for key in last.split('|') {
                body.as_object_mut().expect("an object").remove(key);
            }
            if let Some(value) = value {
                body[last.split('|').next().expect("a name")] = value.clone();
            }
        }
        [first, rest @ ..] => {
            let object = body.as_object_mut().expect("an object");
            // An older broker has none of these fields.
            let below = object.entry(*first).or_insert_with(|| json!({}));
            spoil(below, rest, value);
        }
        [] => {}
    }
}

/// A monitoring port that serves exactly these answers.
fn replay(answers: &BTreeMap<&'static str, Value>) -> SocketAddr {
    let answers = answers.clone();
    peer(move |mut stream| {
        let request = read_until(&mut stream, "\r\n\r\n");
        let target = request.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        match answers.get(path) {
            Some(body) => respond(&mut stream, "200 OK", &body.to_string()),
            None => respond(&mut stream, "404 Not Found", "404 page not found"),
        }
    })
}

fn run(mode: &Mode, client: SocketAddr, monitor: SocketAddr) -> PluginOutput {
    let state = tempfile::tempdir().expect("make a temporary folder");
    let folder = state.path().to_str().expect("a readable path");
    let mut arguments = vec!["--mode", mode.name, "--state-dir", folder];
    // Thresholds that depend on time or chance are not tested here.
    arguments.extend(match mode.name {
        "varz" => vec!["--figure", "mem"],
        "uptime" => vec!["-w", "0:"],
        "path" => vec!["--subject", "a", "-c", "0:"],
        _ => vec![],
    });
    check_ports(client, monitor, &arguments)
}
