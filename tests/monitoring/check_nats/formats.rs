//! The formats of the output, and what the transports of schedulers keep of it.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use check_nats::{
    modes::{Compares, MODES},
    range::Unit,
};
use serde_json::{Value, json};

use super::{
    bad_peers::{peer, read_until, respond, says},
    plugin::{brokers, check_ports, run},
};
use test_support::tools;

/// Reads a list of texts as JSON, and prints what the reference parser finds in each.
const PARSE: &str = "\
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
found = []
for text in json.load(sys.stdin):
    families = list(parse(text))
    found.append([[f.type, s.name, s.labels, s.value] for f in families for s in f.samples])
json.dump(found, sys.stdout)
";

fn parse(texts: &[String]) -> Vec<Value> {
    let mut parser = Command::new(tools::python_with_prometheus())
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start python");
    let stdin = parser.stdin.take().expect("a pipe");
    serde_json::to_writer(stdin, texts).expect("written");
    let parsed = parser.wait_with_output().expect("it ends");
    assert!(parsed.status.success(), "{texts:?}");
    serde_json::from_slice(&parsed.stdout).expect("JSON")
}

/// The reference parser of OpenMetrics, which is strict, accepts every mode's metrics.
#[test]
fn openmetrics_is_parsed_by_its_reference() {
    for builder in brokers() {
        let broker = builder.start();
        let (client, monitor) = (broker.client_addr(), broker.monitor_addr());
        let (client, monitor) = (client.port().to_string(), monitor.port().to_string());
        let outputs: Vec<(i32, String)> = MODES
            .iter()
            .map(|mode| {
                let mut arguments = vec!["-p", &client, "-m", &monitor, "--mode", mode.name];
                arguments.extend(["--format", "openmetrics", "--service-name", r#"a"b\c"#]);
                match mode.name {
                    "varz" => arguments.extend(["--figure", "slow_consumers"]),
                    "path" => arguments.extend(["--subject", "a"]),
                    _ if mode.compares != Compares::Nothing => {
                        arguments.extend(["--sample", "1ms"]);
                    }
                    _ => {}
                }
                run(&arguments)
            })
            .collect();
        let texts: Vec<String> = outputs.iter().map(|(_, text)| text.clone()).collect();
        for ((mode, (code, text)), samples) in MODES.iter().zip(outputs).zip(parse(&texts)) {
            let prefix = format!("nats_server_check_{}", mode.name.replace('-', "_"));
            let status = &samples[0];
            assert_eq!(status[1], format!("{prefix}_status_code"), "{text}");
            assert_eq!(status[2]["item"], r#"a"b\c"#, "{text}");
            assert_eq!(status[3].as_f64(), Some(code.into()), "{text}");
            let samples = samples.as_array().expect("a list");
            for metric in mode.metrics {
                let (kind, ending) = match metric.unit {
                    Unit::Counter => ("counter", "_total"),
                    _ => ("gauge", ""),
                };
                let name = format!("{prefix}_{}{ending}", metric.label);
                let found = samples.iter().find(|sample| sample[1] == name.as_str());
                let is_kind = |sample: &Value| sample[0] == kind && sample[3].is_number();
                assert!(found.is_none_or(is_kind), "{name}: {text}");
            }
            // All values of a mode, and the status.
            let values = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(samples.len(), values, "{text}");
        }
    }
}

/// A broker that has cut off many clients with long and hostile names since the last run.
#[test]
fn many_culprits_fit_into_every_transport() {
    const CLIENTS: usize = 256;
    let asked = Arc::new(AtomicUsize::new(0));
    let monitor = peer(move |mut stream| {
        let request = read_until(&mut stream, "\r\n\r\n");
        let body = if request.starts_with("GET /varz ") {
            let run = asked.fetch_add(1, Ordering::Relaxed);
            json!({
                "server_id": "N1",
                "start": "2026-01-01T00:00:00Z",
                "now": format!("2026-01-01T00:0{run}:00Z"),
                "slow_consumers": run * CLIENTS,
            })
        } else if request.starts_with("GET /connz") {
            let name = "|'\"<\n=;`名\u{202e}".repeat(100);
            let connection = |cid: usize| {
                json!({
                    "cid": cid, "name": name, "ip": "2001:db8::1", "reason": "Slow Consumer (Pending Bytes)",
                    "stop": "2026-01-01T00:00:30Z", "subscriptions_list": [&name, &name],
                })
            };
            json!({ "connections": (1..=CLIENTS).map(connection).collect::<Vec<Value>>() })
        } else {
            respond(&mut stream, "404 Not Found", "404 page not found");
            return;
        };
        respond(&mut stream, "200 OK", &body.to_string());
    });
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a readable path");
    // The contract and the limits of transports are checked with every run.
    let check = |arguments: &[&str]| {
        let common = ["--mode", "slow", "--state-dir", folder, "--state", "x"];
        check_ports(says(""), monitor, &[&common, arguments].concat())
    };
    check(&[]).expect(0, "first run");
    let found = check(&["--no-state-update"]);
    found.expect(1, "256 new slow consumers in 60 s: \"?''??=;`名?");
    assert_eq!(found.value("slow_new"), "256");
    let last = found.output.lines().last().expect("a line");
    let (more, words) = last.split_once(' ').expect("two words");
    assert_eq!(words, "more lines; --format text has more of them");
    let named = found.output.matches(" 2001:db8::1: Slow Consumer").count();
    let more: usize = more.parse().expect("a number");
    // One line for each client, and one for what to do.
    assert_eq!(named + more, CLIENTS + 1, "{found:?}");
    check(&["-vvv", "--no-state-update"]).expect(1, "512 new slow consumers");
    let port = monitor.port().to_string();
    let (code, text) = run(&[
        "-m",
        &port,
        "--mode",
        "slow",
        "--state-dir",
        folder,
        "--state",
        "x",
        "--format",
        "text",
    ]);
    assert_eq!(code, 1);
    assert_eq!(text.matches(" 2001:db8::1: Slow Consumer").count(), CLIENTS);
}
