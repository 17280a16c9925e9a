//! One report about several brokers: state, first line, lines, performance data, formats.

use check_nats::modes::MODES;
use serde_json::Value;
use test_support::mesh::Kind;

use super::{super::plugin::run, Cluster, line_of};

/// Each mode checks all brokers and has the same labels in the same order when one of them is
/// gone.
#[test]
fn all_modes_check_several_brokers() {
    let mut cluster = Cluster::start(&[Kind::Midge, Kind::Nats, Kind::Midge]);
    let state = tempfile::tempdir().expect("a folder");
    let state = state.path().to_str().expect("a readable path");
    let mut labels = Vec::new();
    for mode in MODES {
        let result = cluster.check(&arguments(mode.name, state));
        match result.code {
            0 => (),
            3 if mode.name == "cert" => {
                result.expect(3, "has no TLS");
            }
            3 if mode.name == "federation" => {
                result.expect(3, "this broker is no federation broker");
            }
            3 if mode.name == "nodes" => {
                result.expect(3, "this broker watches no nodes");
            }
            // What only midge has.
            _ => {
                result
                    .expect(3, "UNKNOWN: 127.0.0.2: ")
                    .expect(3, "only midge");
            }
        }
        assert_eq!(result.labels()[0], "brokers_answering", "{result:?}");
        assert_eq!(result.value("brokers_answering"), "3");
        let count = mode.metrics.len() * 3;
        let own = result
            .labels()
            .into_iter()
            .filter(|label| label.contains("::"));
        assert_eq!(own.count(), count, "{result:?}");
        labels.push(
            result
                .labels()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
    }
    cluster.brokers[1].kill();
    for (mode, labels) in MODES.iter().zip(labels) {
        let result = cluster.check(&arguments(mode.name, state));
        result
            .expect(2, "2 of 3 brokers answered; ")
            .expect(2, "127.0.0.2: ")
            .expect(2, "connection refused");
        assert_eq!(result.labels(), labels, "{}", mode.name);
        assert_eq!(result.value("brokers_answering"), "2");
        for label in labels
            .iter()
            .filter(|label| label.starts_with("127.0.0.2::"))
        {
            assert_eq!(result.value(label), "U", "{result:?}");
        }
    }
}

fn arguments<'a>(mode: &'a str, state: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["--mode", mode, "--state-dir", state];
    match mode {
        "uptime" => arguments.extend(["-w", "0:"]),
        "varz" => arguments.extend(["--figure", "max_payload"]),
        "path" => arguments.extend(["--subject", "a", "-c", "0:"]),
        // Each has addresses of its own in its file.
        "cluster" => arguments.extend(["--configs-warning", "3"]),
        _ => (),
    }
    arguments
}

#[test]
fn each_broker_has_a_line() {
    let cluster = Cluster::start(&[Kind::Midge, Kind::Nats]);
    let result = cluster.check(&[]);
    result.expect(0, "NATS OK: 2 of 2 brokers OK");
    assert_eq!(result.output.lines().count(), 3, "{}", result.output);
    for broker in ["127.0.0.1", "127.0.0.2"] {
        let line = line_of(&result, broker);
        assert!(
            line.starts_with(&format!("{broker} OK: 0 connections")),
            "{line}"
        );
    }
    // The same text of several brokers is there once.
    let result = cluster.check(&["--conn-warning", "1:"]);
    result.expect(
        1,
        "WARNING: 127.0.0.1, 127.0.0.2: 0 connections (warning 1:)",
    );
    assert!(line_of(&result, "127.0.0.2").starts_with("127.0.0.2 WARNING: 0 connections"));
    // One that differs is named alone.
    let clients: Vec<_> = (0..2).map(|_| cluster.brokers[1].connect()).collect();
    cluster.brokers[1].wait_for_connections(2);
    let result = cluster.check(&["--mode", "connections", "-w", "1"]);
    result.expect(
        1,
        "WARNING: 127.0.0.2: 2 connections (warning 1); 1 of 2 brokers OK",
    );
    assert_eq!(
        result.fields("127.0.0.2::connections"),
        "2;1;58982.4;0;65536"
    );
    assert_eq!(
        result.fields("127.0.0.1::connections"),
        "0;1;58982.4;0;65536"
    );
    drop(clients);
    let result = cluster.check(&["-vv"]);
    assert!(
        result
            .output
            .contains("\n127.0.0.2: asked http://127.0.0.2:"),
        "{}",
        result.output
    );
}

/// One that hangs takes no time from the others, nor more than the run's own.
#[test]
fn a_hanging_broker_delays_no_other() {
    let cluster = Cluster::start(&[Kind::Nats, Kind::Midge, Kind::Midge]);
    cluster.brokers[0].signal(libc::SIGSTOP);
    let result = cluster.check(&["--mode", "connect", "-t", "2"]);
    result
        .expect(
            2,
            "2 of 3 brokers answered; 127.0.0.1: no time left after 2 s",
        )
        .expect(2, "2 of 3 brokers OK");
    assert_ne!(result.value("127.0.0.3::rtt"), "U");
    let result = cluster.check(&["--mode", "cluster", "--configs-warning", "3", "-t", "2"]);
    result.expect(3, "2 of 3 brokers answered; 127.0.0.1: ");
    // The others were compared all the same.
    assert_eq!(result.value("routes_missing"), "0");
    let result = cluster.check(&["--mode", "roundtrip", "-t", "2"]);
    result.expect(2, "2 of 3 brokers answered; ");
    assert_eq!(result.value("mesh_lost"), "0");
    cluster.brokers[0].signal(libc::SIGCONT);
}

#[test]
fn all_formats_show_each_broker() {
    let mut cluster = Cluster::start(&[Kind::Nats, Kind::Midge]);
    cluster.brokers[1].kill();
    let formatted = |format: &str| {
        let arguments = ["--mode", "connections", "--format", format];
        let (code, output) = run(&cluster.arguments(&arguments));
        assert_eq!(code, 2, "{output}");
        output
    };
    let json: Value = serde_json::from_str(&formatted("json")).expect("JSON");
    assert_eq!(json["status"], "CRITICAL");
    assert_eq!(json["check_suite"], "connections");
    assert_eq!(json["critical"][0], "1 of 2 brokers answered");
    assert_eq!(json["perf_data"][0]["name"], "brokers_answering");
    let brokers = json["brokers"].as_array().expect("the brokers");
    assert_eq!(
        (&brokers[0]["name"], &brokers[0]["status"]),
        (&"127.0.0.1".into(), &"OK".into())
    );
    assert_eq!(brokers[0]["perf_data"][0]["value"], 0.0);
    assert_eq!(brokers[1]["status"], "CRITICAL");
    assert_eq!(brokers[1]["perf_data"][0]["value"], Value::Null);
    let metrics = formatted("prometheus");
    let start = "nats_server_check_connections_";
    for line in [
        format!("{start}status_code{{item=\"NATS\",status=\"CRITICAL\"}} 2"),
        format!("{start}brokers_answering{{item=\"NATS\"}} 1"),
        format!("{start}connections{{item=\"NATS\",broker=\"127.0.0.1\"}} 0"),
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "{line}: {metrics}"
        );
    }
    assert!(!metrics.contains("broker=\"127.0.0.2\""), "{metrics}");
    let text = formatted("text");
    assert!(
        text.contains("\n127.0.0.1: OK\n") && text.contains("\n127.0.0.2: CRITICAL\n"),
        "{text}"
    );
}
