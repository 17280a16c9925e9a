//! The formats of the output, and what the transports of schedulers keep of it.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use check_nats::modes::MODES;
use serde_json::{Value, json};

use super::{
    bad_peers::{peer, read_until, respond, says},
    plugin::{brokers, check_ports, run},
};
use test_support::tools;

/// The reference parser of OpenMetrics, which is strict, accepts every mode's metrics.
#[test]
fn openmetrics_is_parsed_by_its_reference() {
    const PARSE: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        for family in parse(sys.stdin.read()):\n\
        \x20 for s in family.samples: print(family.type, s.name, s.labels, s.value)\n";
    for builder in brokers() {
        let broker = builder.start();
        let (client, monitor) = (broker.client_addr(), broker.monitor_addr());
        let (client, monitor) = (client.port().to_string(), monitor.port().to_string());
        for mode in MODES {
            let mut arguments = vec!["-p", &client, "-m", &monitor, "--mode", mode.name];
            arguments.extend(["--format", "openmetrics", "--service-name", r#"a"b\c"#]);
            match mode.name {
                "varz" => arguments.extend(["--figure", "slow_consumer_stats.routes"]),
                _ if mode.compares != check_nats::modes::Compares::Nothing => {
                    arguments.extend(["--sample", "1ms"]);
                }
                _ => {}
            }
            let (code, metrics) = run(&arguments);
            let mut parser = Command::new(tools::python_with_prometheus())
                .args(["-c", PARSE])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("start python");
            let mut stdin = parser.stdin.take().expect("piped");
            stdin.write_all(metrics.as_bytes()).expect("written");
            drop(stdin);
            let parsed = parser.wait_with_output().expect("it ends");
            let complaints = String::from_utf8_lossy(&parsed.stderr);
            assert!(
                parsed.status.success(),
                "{}: {complaints}\n{metrics}",
                mode.name
            );
            let parsed = String::from_utf8_lossy(&parsed.stdout);
            let name = mode.name.replace('-', "_");
            let status = format!("gauge nats_server_check_{name}_status_code ");
            let line = parsed.lines().find(|line| line.starts_with(&status));
            let line = line.unwrap_or_else(|| panic!("no status: {parsed}"));
            assert!(line.contains(r#"'item': 'a"b\\c'"#), "{line}");
            assert!(line.ends_with(&format!(" {code}")), "{line}");
            if mode.name == "traffic" {
                let total = "counter nats_server_check_traffic_in_msgs_total ";
                assert!(parsed.contains(total), "{parsed}");
            }
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
    found.expect(1, "256 new slow consumers in 60 s: \"?????=;?名?");
    assert_eq!(found.value("slow_new"), "256");
    let last = found.output.lines().last().expect("a line");
    let (more, words) = last.split_once(' ').expect("two words");
    assert_eq!(words, "more lines; --format text has all of them");
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
