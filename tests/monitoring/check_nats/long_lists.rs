//! Lists of connections that are longer than an answer may be.

use std::net::SocketAddr;

use serde_json::{Value, json};
use test_support::{Broker, RawClient, wait_until};

use super::{
    bad_peers::{peer, read_until, respond, says},
    plugin::{PluginOutput, brokers, check, check_ports},
};

/// As many connections as make a page of more than 8 MiB.
const CLIENTS: usize = 420;

/// The longest name that a CONNECT may have. A nats-server writes each character as six.
fn name() -> String {
    "<".repeat(3900)
}

fn logins(broker: &Broker, folder: &str) -> PluginOutput {
    check(broker, &["--mode", "logins", "--state-dir", folder])
}

/// Whoever is refused chooses his name, and must not blind the check with it. (A midge counts
/// refused logins by itself.)
#[test]
fn many_refused_logins_with_long_names_are_counted() {
    for builder in [Broker::nats_server(), Broker::nats_server_29()] {
        let broker = builder
            .config("authorization { user: a, password: b, timeout: 60 }\n")
            .start();
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().to_str().expect("a readable path");
        logins(&broker, folder).expect(0, "first run");
        for _ in 0..CLIENTS {
            let mut client = RawClient::connect(broker.client_addr());
            let login = json!({"verbose": false, "user": "x", "pass": "y", "name": name()});
            client.send(format!("CONNECT {login}\r\n"));
            client.read_to_end();
        }
        wait_until("all are listed", || {
            let closed = broker.get_json("/connz?state=closed&limit=1");
            closed["total"].as_u64() >= Some(CLIENTS as u64)
        });
        let found = logins(&broker, folder);
        found.expect(1, &format!("{CLIENTS} refused logins in "));
        assert_eq!(found.value("logins_refused_new"), CLIENTS.to_string());
        logins(&broker, folder).expect(0, "0 refused logins in ");
    }
}

#[test]
fn many_clients_with_long_names_do_not_hide_what_waits() {
    for builder in brokers() {
        let broker = builder.start();
        let clients: Vec<RawClient> = (0..CLIENTS)
            .map(|_| {
                let mut client = RawClient::connect(broker.client_addr());
                let login = json!({"verbose": false, "name": name()});
                client.send(format!("CONNECT {login}\r\n"));
                client.sync();
                client
            })
            .collect();
        check(&broker, &["--mode", "pending"]).expect(0, "no bytes pending");
        drop(clients);
    }
}

/// A monitoring port with so many clients, in whose list those of some numbers take more than an
/// answer may have.
fn listing(clients: usize, is_long: fn(usize) -> bool) -> SocketAddr {
    peer(move |mut stream| {
        let request = read_until(&mut stream, "\r\n\r\n");
        let path = request.split(' ').nth(1).unwrap_or_default();
        let number = |name: &str| -> usize {
            let (_, rest) = path.split_once(name).expect("the parameter");
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        let body = match path.starts_with("/connz") {
            false => json!({ "server_id": "N1", "max_pending": 1 << 20 }).to_string(),
            true => {
                let (limit, offset) = (number("limit="), number("offset="));
                let chosen = (offset..clients).take(limit);
                let is_too_long = chosen.clone().any(is_long);
                let one = |cid: usize| json!({ "cid": cid, "pending_bytes": 100 });
                let list: Vec<Value> = chosen.map(one).collect();
                let answer = json!({
                    "now": "2026-01-01T00:00:00Z", "num_connections": list.len(),
                    "connections": list,
                });
                match is_too_long {
                    true => " ".repeat(9 << 20),
                    false => answer.to_string(),
                }
            }
        };
        respond(&mut stream, "200 OK", &body);
    })
}

/// What can be read is judged, and what cannot be is not OK.
#[test]
fn entries_that_are_too_long_are_left_out_and_reported() {
    let pending = |clients: usize, is_long: fn(usize) -> bool, arguments: &[&str]| {
        let monitor = listing(clients, is_long);
        let common = ["--mode", "pending", "-t", "60"];
        check_ports(says(""), monitor, &[&common, arguments].concat())
    };
    let result = pending(3000, |_| false, &[]);
    result.expect(0, "100 B pending for cid 0");
    assert_eq!(result.value("pending_total"), "102400B");
    let result = pending(20, |cid| cid == 7, &[]);
    result.expect(3, "only 19 connections could be read: ");
    assert_eq!(result.value("pending_total"), "1900B");
    pending(20, |cid| cid == 7, &["-c", "99"]).expect(2, "100 B pending for cid 0 (critical 99)");
    // Not without end.
    let result = pending(1000, |_| true, &[]);
    result.expect(3, "only 0 connections could be read: ");
}
