//! What the monitoring port answers to invalid requests and shows about failing clients,
//! and what the log shows with full tracing.

use test_support::{Broker, RawClient, http, wait_until};

/// Subjects may be unescaped in a target, and every error has an explanation.
#[test]
fn targets_are_parsed_leniently_and_errors_are_explained() {
    let broker = Broker::midge().start();
    let mut client = broker.connect();
    client.send("CONNECT {}\r\nSUB foo.> 1\r\nSUB \"x\" 2\r\nPING\r\n");
    wait_until("it has subscribed", || {
        broker.get_json("/subsz")["num_subscriptions"] == 2
    });
    for (query, total) in [
        ("/connz?filter_subject=foo.>&acc=$G", 1),
        ("/connz?acc=$G&filter_subject=\"x\"", 1),
        ("/connz?filter_subject=bar.>&acc=$G", 0),
    ] {
        let answer = broker.get(query);
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        assert_eq!(
            answer.json()["num_connections"],
            total,
            "{query}: {}",
            answer.body
        );
    }
    let long = format!("GET /varz?{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /varz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(3000));
    for (request, status) in [
        ("GET /varz\r\n\r\n", 400),
        ("GET /va rz HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        (
            "GET /connz?limit=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            400,
        ),
        (
            "GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            404,
        ),
        (&*long, 0),
        (&*many, 0),
    ] {
        let answer = http::send(broker.monitor_addr(), request);
        let shown = &request[..request.len().min(40)];
        assert!(
            answer.status == status || status == 0 && answer.status >= 400,
            "{shown}"
        );
        assert!(!answer.body.trim().is_empty(), "{shown} {}", answer.status);
        let length = answer.header("content-length").map(str::to_owned);
        assert_eq!(length, Some(answer.body.len().to_string()), "{shown}");
    }
}

/// A refused client is listed as closed with the user it claimed to be, as in
/// nats-server; so is one that left before CONNECT.
#[test]
fn refused_and_silent_clients_are_listed() {
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = builder
            .config("authorization { user: derek, password: s3cret }")
            .start();
        let mut client = RawClient::connect(broker.client_addr());
        client.send(
            "CONNECT {\"user\":\"derek\",\"pass\":\"wrong\",\"name\":\"lost\",\"lang\":\"go\",\
             \"version\":\"1.2\"}\r\n",
        );
        client.read_to_end();
        drop(RawClient::connect(broker.client_addr()));
        let closed = || broker.get_json("/connz?state=closed&auth=1");
        wait_until("both are listed", || closed()["total"].as_u64() >= Some(2));
        let closed = closed();
        let all = closed["connections"].as_array().expect("a list");
        let refused = all
            .iter()
            .find(|one| one["reason"] == "Authentication Failure");
        let refused = refused.expect("the refused one");
        for (field, value) in [
            ("name", "lost"),
            ("lang", "go"),
            ("version", "1.2"),
            ("authorized_user", "derek"),
        ] {
            assert_eq!(refused[field], value, "{refused}");
        }
        assert!(
            all.iter().any(|one| one["reason"] == "Client Closed"),
            "{closed}"
        );
    }
}

/// A full trace also logs what is sent to clients, with the payload truncated to the
/// configured length.
#[test]
fn deliveries_are_traced() {
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = builder.flag("-V").config("max_traced_msg_len: 4\n").start();
        let mut client = broker.connect();
        client.send(
            "CONNECT {\"headers\":true}\r\nSUB foo 7\r\nPUB foo bar 6\r\nabcdef\r\n\
             HPUB foo 12 13\r\nNATS/1.0\r\n\r\nx\r\nPING\r\n",
        );
        for line in ["[MSG foo 7 bar 6]", "[HMSG foo 7 12 13]"] {
            broker.log().wait_for_line(&["->> ", line]);
        }
        broker.log().assert_lacks("abcdef");
    }
}

/// Without TLS, `/varz` shows the same as a nats-server.
#[test]
fn handshake_times_without_tls_are_shown() {
    let cluster = "cluster { name: c, listen: \"127.0.0.1:-1\" }";
    let reported = |builder: test_support::BrokerBuilder| {
        let varz = builder.config(cluster).start().get_json("/varz");
        [
            varz["tls_timeout"].as_f64(),
            varz["auth_timeout"].as_f64(),
            varz["cluster"]["tls_timeout"].as_f64(),
            varz["cluster"]["auth_timeout"].as_f64(),
        ]
    };
    assert_eq!(reported(Broker::midge()), reported(Broker::nats_server()));
}

/// A trace uses the wording of nats-server.
#[test]
fn operations_are_traced() {
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = builder.flag("-V").start();
        let mut client = broker.connect();
        client.send(
            "CONNECT {\"verbose\":true}\r\nSUB foo 1\r\nSUB foo g 2\r\nUNSUB 1\r\nUNSUB 2 5\r\n\
             SUB a..b 3\r\nSUB once 4\r\nUNSUB 4 1\r\nPUB once 1\r\nx\r\nPING\r\n",
        );
        let lines = [
            "<<- [SUB foo 1]",
            "<<- [SUB foo g 2]",
            "<<- [UNSUB 1]",
            "<-> [DELSUB 1]",
            "<<- [UNSUB 2 5]",
            "->> [-ERR Invalid Subject]",
            "<-> [DELSUB 4]",
            "->> [OK]",
            "->> [PONG]",
        ];
        for line in lines {
            broker.log().wait_for(&format!(" - {line}\n"));
        }
        broker.log().assert_lacks("[DELSUB 2]");
    }
}

/// The last activity of a connection is not before its start.
#[test]
fn the_last_activity_is_not_before_the_start() {
    let broker = Broker::midge().start();
    let time = |text: &serde_json::Value| {
        let text = text.as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(text).expect("a time")
    };
    for _ in 0..20 {
        let mut client = broker.connect();
        client.send("CONNECT {\"verbose\":false}\r\n");
        client.sync();
        let connz = broker.get_json("/connz");
        for entry in connz["connections"].as_array().expect("connections") {
            let (start, last) = (time(&entry["start"]), time(&entry["last_activity"]));
            assert!(start <= last, "{entry}");
        }
    }
}
