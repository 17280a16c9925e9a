//! `check_nats` in real situations: every state and exit code, against midge
//! and against a real nats-server.

#[path = "support/mod.rs"]
mod support;

use std::{io::Write, net::TcpListener, process::Command, thread};

use support::{Broker, broker::BrokerBuilder};

/// What the check printed and its exit code.
struct Outcome {
    text: String,
    code: i32,
}

fn check(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_check_nats"))
        .args(arguments)
        .output()
        .expect("check_nats runs");
    assert!(
        output.stderr.is_empty(),
        "on standard error: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Outcome {
        text: String::from_utf8(output.stdout).expect("text"),
        code: output.status.code().expect("an exit code"),
    }
}

/// Checks a running broker.
fn check_broker(broker: &Broker, more: &[&str]) -> Outcome {
    let (port, monitor) = (
        broker.client_addr().port().to_string(),
        broker.monitor_addr().port().to_string(),
    );
    check(&[&["-p", &port, "-m", &monitor], more].concat())
}

impl Outcome {
    fn is(&self, status: &str, code: i32) {
        assert_eq!(self.code, code, "{}", self.text);
        let first = format!("NATS {status}: ");
        assert!(self.text.starts_with(&first), "{}", self.text);
    }

    /// The value of a figure in the performance data.
    fn figure(&self, label: &str) -> String {
        let line = self.text.lines().next().expect("a line");
        let data = line.split_once(" |").expect("performance data").1;
        let found = data
            .split(' ')
            .find_map(|figure| figure.strip_prefix(label)?.strip_prefix('='));
        let value = found.unwrap_or_else(|| panic!("no {label} in {data}"));
        value.split(';').next().expect("a value").to_owned()
    }
}

/// A port where somebody answers each connection with `answer`, then listens.
fn somebody_who_says(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // The check may have gone already.
            let _ = stream.write_all(answer);
            thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    port.to_string()
}

/// A port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port().to_string()
}

fn healthy_broker(broker: BrokerBuilder) {
    let broker = broker.start();
    let mut client = broker.connect();
    client.send("CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\n");
    client.sync();
    let health = check_broker(&broker, &["-w", "5", "-c", "10"]);
    health.is("OK", 0);
    assert_eq!(health.text.lines().count(), 1);
    assert_eq!(health.figure("in_msgs"), "1c");
    assert_eq!(health.figure("slow_consumers"), "0c");
    assert!(health.figure("rtt").ends_with('s'));
    check_broker(&broker, &["--mode", "connect", "-w", "5", "-c", "10"]).is("OK", 0);

    let figure = |name: &str, more: &[&str]| {
        check_broker(
            &broker,
            &[&["--mode", "varz", "--figure", name], more].concat(),
        )
    };
    figure("in_msgs", &["-w", "1", "-c", "2"]).is("OK", 0);
    figure("in_msgs", &["-w", "0", "-c", "1:"]).is("WARNING", 1);
    figure("in_msgs", &["-w", "0", "-c", "@1:1"]).is("CRITICAL", 2);
    figure("no.such.figure", &[]).is("UNKNOWN", 3);
    let open = check_broker(&broker, &["--mode", "connections", "-w", "10:"]);
    open.is("WARNING", 1);
}

#[test]
fn healthy_midge() {
    healthy_broker(Broker::midge());
}

#[test]
fn healthy_nats_server() {
    healthy_broker(Broker::nats_server());
}

#[test]
fn healthy_old_nats_server() {
    healthy_broker(Broker::nats_server_29());
}

/// Thresholds that nothing can meet, on the round trip time.
#[test]
fn round_trip_thresholds() {
    let broker = Broker::midge().start();
    check_broker(&broker, &["-w", "0", "-c", "10"]).is("WARNING", 1);
    check_broker(&broker, &["-w", "0", "-c", "0"]).is("CRITICAL", 2);
    check_broker(&broker, &["-c", "~:0"]).is("CRITICAL", 2);
}

#[test]
fn share_of_the_connection_limit() {
    let broker = Broker::midge().config("max_connections: 4").start();
    let clients: Vec<_> = (0..3).map(|_| broker.connect()).collect();
    let connections =
        |more: &[&str]| check_broker(&broker, &[&["--mode", "connections"], more].concat());
    connections(&["-w", "80%", "-c", "90%"]).is("OK", 0);
    connections(&["-w", "50%", "-c", "90%"]).is("WARNING", 1);
    connections(&["-w", "25%", "-c", "50%"]).is("CRITICAL", 2);
    drop(clients);
}

#[test]
fn nobody_there() {
    let (port, monitor) = (nobody(), nobody());
    let refused = check(&["-p", &port, "-m", &monitor]);
    refused.is("CRITICAL", 2);
    // Every figure keeps its column.
    for label in ["rtt", "connect_time", "connections", "in_msgs", "mem"] {
        assert_eq!(refused.figure(label), "U");
    }
    check(&["--mode", "varz", "--figure", "mem", "-m", &monitor]).is("UNKNOWN", 3);
}

#[test]
fn a_broker_that_has_ended() {
    let mut broker = Broker::midge().start();
    check_broker(&broker, &["-w", "5", "-c", "10"]).is("OK", 0);
    broker.kill();
    check_broker(&broker, &[]).is("CRITICAL", 2);
}

#[test]
fn somebody_else_on_the_client_port() {
    for answer in [
        &b""[..],
        b"SSH-2.0-x\r\n",
        b"INFO {\r\n",
        b"INFO {}\r\n-ERR 'no'\r\n",
    ] {
        let port = somebody_who_says(answer);
        let outcome = check(&["--mode", "connect", "-p", &port, "-t", "0.4"]);
        let expected = match answer {
            b"INFO {\r\n" => ("UNKNOWN", 3),
            _ => ("CRITICAL", 2),
        };
        outcome.is(expected.0, expected.1);
    }
}

/// INFO comes, but no answer to PING: that step is named.
#[test]
fn a_broker_that_falls_silent() {
    let port = somebody_who_says(b"INFO {\"version\":\"2\"}\r\n");
    let outcome = check(&["--mode", "connect", "-p", &port, "-t", "0.4"]);
    outcome.is("UNKNOWN", 3);
    assert!(
        outcome.text.contains("answer to CONNECT"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_broker_that_wants_tls() {
    let port = somebody_who_says(b"INFO {\"tls_required\":true}\r\n");
    let outcome = check(&["--mode", "connect", "-p", &port]);
    outcome.is("UNKNOWN", 3);
    assert!(outcome.text.contains("TLS"), "{}", outcome.text);
}

#[test]
fn rubbish_on_the_monitoring_port() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnix"[..],
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"nothing like HTTP\r\n\r\n",
    ] {
        let monitor = somebody_who_says(answer);
        let outcome = check(&["--mode", "connections", "-m", &monitor, "-t", "2"]);
        outcome.is("UNKNOWN", 3);
    }
}

/// A broker that is about to leave says so.
#[test]
fn lame_duck() {
    let port = somebody_who_says(b"INFO {\"ldm\":true}\r\nPONG\r\nPONG\r\n");
    let outcome = check(&["--mode", "connect", "-p", &port, "-w", "5", "-c", "9"]);
    outcome.is("WARNING", 1);
}

/// Usage errors are UNKNOWN, help and version too.
#[test]
fn bad_arguments() {
    for arguments in [
        &["--bogus"][..],
        &["-w", "10:5"],
        &["--mode", "nix"],
        &["--mode", "varz"],
        &["-p", "x"],
        &["-t", "0"],
        &["-t", "5:nix"],
        &["--help"],
        &["--version"],
    ] {
        let outcome = check(arguments);
        assert_eq!(outcome.code, 3, "{arguments:?}: {}", outcome.text);
        assert!(!outcome.text.is_empty());
    }
    let help = check(&["-h"]).text;
    for mode in midge::check::modes::MODES {
        assert!(help.contains(mode.name), "{}", mode.name);
    }
}
