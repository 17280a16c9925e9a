//! Tests of reported problems: each reproduces, with input of its own, a report to a
//! project around NATS and Choria, and asserts the behaviour that the reporter wanted.
//! Where a real nats-server behaves so too, the test runs on both.
//!
//! A test is named after the place of the report:
//!
//! | name begins with | repository of the issue or pull request |
//! |---|---|
//! | `advisory` | nats-io/advisories, by the number of the vulnerability |
//! | `argo_events`, `bacalhau` | argoproj/argo-events, bacalhau-project/bacalhau |
//! | `choria` | choria-io/go-choria |
//! | `exporter` | nats-io/prometheus-nats-exporter |
//! | `nats_c`, `nats_go`, `nats_node`, `nats_py`, `nats_rb`, `nats_rs` | nats-io/nats.c, nats.go, nats.node, nats.py, nats.rb, nats.rs |
//! | `nats_docs`, `nats_server`, `nats_streaming`, `nats_top` | nats-io/nats.docs, nats-server, nats-streaming-server, nats-top |
//! | `natsboard`, `natscli` | devfacet/natsboard, nats-io/natscli |
//! | `puppet_choria`, `puppet_nats` | choria-io/puppet-choria, choria-legacy/puppet-nats |

mod accounts;
mod delivery;
mod logging;
mod logins;
mod mappings;
mod members;
mod monitoring;
mod reloads;
mod signals;
mod slow_readers;
mod starting;
mod tls;
mod watching;

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use test_support::{Broker, BrokerBuilder, Frame, RawClient, wait_for};

/// The brokers on which a report is reproduced where both behave alike.
fn both() -> [BrokerBuilder; 2] {
    [Broker::midge(), Broker::nats_server()]
}

/// A client that logs in with more fields of CONNECT.
fn login(broker: &Broker, fields: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true{fields}}}\r\n"
    ));
    client
}

/// An accepted client with this name.
fn client(broker: &Broker, name: &str) -> RawClient {
    let mut client = login(broker, &format!(",\"name\":{name:?}"));
    client.sync();
    client
}

/// The CONNECT fields of a user.
fn as_user(user: &str, password: &str) -> String {
    format!(",\"user\":{user:?},\"pass\":{password:?}")
}

/// A client that has logged in as this user.
fn user(broker: &Broker, user: &str, password: &str) -> RawClient {
    let mut client = login(broker, &as_user(user, password));
    client.sync();
    client
}

/// Whether the broker accepts a client with these fields of CONNECT.
fn accepts_login(broker: &Broker, fields: &str) -> bool {
    let mut client = login(broker, fields);
    client.send("PING\r\n");
    std::iter::from_fn(|| client.next_frame()).any(|frame| frame.line == b"PONG")
}

/// Reads until the data ends with `end`.
fn read_until(stream: &mut impl Read, end: &str) {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more to read");
        read.push(byte[0]);
    }
}

/// A publish with a payload of this size.
fn publish(subject: &str, len: usize) -> String {
    format!("PUB {subject} {len}\r\n{}\r\n", "x".repeat(len))
}

/// The control lines of frames.
fn lines(frames: &[Frame]) -> Vec<String> {
    let text = |frame: &Frame| String::from_utf8_lossy(&frame.line).into_owned();
    frames.iter().map(text).collect()
}

/// The subjects of the messages among frames.
fn subjects(frames: &[Frame]) -> Vec<String> {
    let messages = frames.iter().filter(|frame| frame.is_message());
    messages.map(|frame| frame.arguments()[0].clone()).collect()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// The entries of `/connz` with this query.
fn connections(broker: &Broker, query: &str) -> Vec<Value> {
    let answer = broker.get_json(&format!("/connz?{query}"));
    answer["connections"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// The entry of the client with this name among closed ones, once it exists.
fn closed(broker: &Broker, name: &str) -> Value {
    wait_for(&format!("{name} is closed"), || {
        let entries = connections(broker, "state=closed");
        entries.into_iter().find(|entry| entry["name"] == name)
    })
}

/// The current findings with this code.
fn findings(broker: &Broker, code: &str) -> Vec<Value> {
    let explained = broker.get_json("/explainz");
    let all = explained["findings"].as_array().expect("findings");
    all.iter()
        .filter(|finding| finding["code"] == code)
        .cloned()
        .collect()
}

/// The result of a program that has ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    output: String,
    errors: String,
}

/// Runs a program until it exits.
fn run(program: &Path, arguments: &[&str]) -> Ended {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the program");
    // Little is written, so the pipes cannot fill before the end.
    let status = wait_for(&format!("{arguments:?} ends"), || {
        child.try_wait().expect("wait for the program")
    });
    let (mut output, mut errors) = (String::new(), String::new());
    let (mut out, mut err) = (
        child.stdout.take().expect("a pipe"),
        child.stderr.take().expect("a pipe"),
    );
    out.read_to_string(&mut output).expect("UTF-8");
    err.read_to_string(&mut errors).expect("UTF-8");
    Ended {
        code: status.code(),
        output,
        errors,
    }
}

/// Runs the Nagios plugin on a broker.
fn check(broker: &Broker, arguments: &[&str]) -> Ended {
    let client = broker.client_addr().port().to_string();
    let monitor = broker.monitor_addr().port().to_string();
    let mut all = vec!["-p", &client, "-m", &monitor];
    all.extend(arguments);
    run(Path::new(env!("CARGO_BIN_EXE_check_nats")), &all)
}
