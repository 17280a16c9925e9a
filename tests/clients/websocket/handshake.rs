//! The HTTP request that begins a WebSocket.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use test_support::{
    Broker, BrokerBuilder, PATIENCE, wait_until,
    websocket::{REQUEST, WebSocketClient, frame, with_field},
};

use super::{greeted, on_both, start};

on_both![
    a_request_is_answered_as_in_the_standard,
    wrong_requests_are_refused,
    requests_that_are_accepted,
    configured_fields_are_in_the_answer,
    pages_of_other_origins_are_refused,
    nothing_may_follow_the_request,
    a_slow_handshake_ends,
];

/// The first line of an answer.
fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or("closed")
}

/// The key of the standard has the answer of the standard, and INFO is in the first frame.
fn a_request_is_answered_as_in_the_standard(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut client = WebSocketClient::connect(broker.websocket_addr());
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(client.answer, expected);
    let info = client.info();
    let port = broker.websocket_addr().port();
    assert_eq!(
        (&info["host"], &info["port"]),
        (&"127.0.0.1".into(), &port.into())
    );
    assert!(
        info["tls_required"].is_null() && info["tls_available"].is_null(),
        "{info}"
    );
}

/// Each check of the request has its status and its words in the log.
fn wrong_requests_are_refused(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let without = |field: &str| {
        let lines = REQUEST
            .split("\r\n")
            .filter(|line| !line.starts_with(field));
        lines.collect::<Vec<_>>().join("\r\n")
    };
    let replaced = |from: &str, to: &str| REQUEST.replace(from, to);
    let (bad, log) = ("HTTP/1.1 400 Bad Request", "websocket handshake error: ");
    let cases = [
        (
            without("Upgrade:"),
            bad,
            "invalid value for header 'Upgrade'",
        ),
        (
            replaced("websocket", "h2c"),
            bad,
            "invalid value for header 'Upgrade'",
        ),
        (
            without("Connection:"),
            bad,
            "invalid value for header 'Connection'",
        ),
        (
            replaced("Connection: Upgrade", "Connection: close"),
            bad,
            "invalid value for header 'Connection'",
        ),
        (without("Sec-WebSocket-Key:"), bad, "key missing"),
        (
            replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"),
            bad,
            "invalid websocket key",
        ),
        (replaced(": 13", ": 12"), bad, "invalid version"),
        (
            replaced("GET", "POST"),
            "HTTP/1.1 405 Method Not Allowed",
            "request method must be GET",
        ),
        (
            replaced("GET / ", "GET /mqtt "),
            "HTTP/1.1 404 Not Found",
            "mqtt websocket endpoint not enabled",
        ),
        (
            replaced("GET / ", "GET /foo/mqtt "),
            "HTTP/1.1 404 Not Found",
            "mqtt websocket endpoint not enabled",
        ),
    ];
    for (request, expected, text) in cases {
        let before = broker.log().so_far().count(text);
        let client = WebSocketClient::request(broker.websocket_addr(), &request);
        assert_eq!(status(&client.answer), expected, "{request}");
        let version = client.answer.to_ascii_lowercase();
        assert!(
            version.contains("sec-websocket-version: 13"),
            "{}",
            client.answer
        );
        wait_until(text, || broker.log().so_far().count(text) > before);
        broker.log().wait_for(&format!("{log}{text}"));
    }
    let none = without("Host:");
    let client = WebSocketClient::request(broker.websocket_addr(), &none);
    assert!(status(&client.answer).starts_with("HTTP/1.1 400 Bad Request"));
    let client = WebSocketClient::request(broker.websocket_addr(), "CONNECT {}\r\nPING\r\n");
    assert!(status(&client.answer).starts_with("HTTP/1.1 400 Bad Request"));
    greeted(&broker);
}

/// What clients and proxies write differently.
fn requests_that_are_accepted(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    for (from, to) in [
        ("websocket", "h2c, WebSocket"),
        ("Connection: Upgrade", "connection: keep-alive, upgrade"),
        (": 13", ": 12, 13"),
        ("GET / ", "GET /any/path?with=query "),
        ("GET / ", "GET /xleafnode "),
        ("HTTP/1.1", "HTTP/1.0"),
        (
            "Host: localhost",
            "Host: localhost\r\nSec-WebSocket-Protocol: nats\r\nCookie: x",
        ),
    ] {
        let request = REQUEST.replace(from, to);
        let mut client = WebSocketClient::request(broker.websocket_addr(), &request);
        assert!(
            client.answer.starts_with("HTTP/1.1 101 "),
            "{to}: {}",
            client.answer
        );
        assert!(!client.answer.contains("Protocol:"), "{}", client.answer);
        assert_eq!(client.info()["proto"], 1);
    }
}

fn configured_fields_are_in_the_answer(broker: BrokerBuilder) {
    let broker = start(broker, "headers: { \"X-One\": \"a b\", X-Two: c }", "");
    let client = WebSocketClient::connect(broker.websocket_addr());
    for field in ["\r\nX-One: a b\r\n", "\r\nX-Two: c\r\n"] {
        assert!(client.answer.contains(field), "{}", client.answer);
    }
}

fn pages_of_other_origins_are_refused(broker: BrokerBuilder) {
    let own = "http://localhost";
    let list = "allowed_origins: [\"https://a.example\", \"http://b.example:8080/x\"]";
    let program = broker.program_path();
    for (rules, accepted, refused) in [
        ("", &["null", "http://a.example", "a.com"][..], &[][..]),
        (
            "same_origin: true",
            &[own, "http://LOCALHOST:80", ""],
            &[
                "https://localhost",
                "http://localhost:81",
                "http://a.example",
                "null",
                "a.com",
            ],
        ),
        (
            list,
            &[
                "https://a.example",
                "https://A.example:443/any",
                "http://b.example:8080",
            ],
            &[
                "http://a.example",
                "https://x.a.example",
                "http://b.example",
                own,
                "null",
            ],
        ),
    ] {
        let broker = start(Broker::program(&program), rules, "");
        for (origins, expected) in [(accepted, "101"), (refused, "403")] {
            for origin in origins {
                let request = with_field(&format!("Origin: {origin}"));
                let client = WebSocketClient::request(broker.websocket_addr(), &request);
                let status = client.answer.split(' ').nth(1).unwrap_or_default();
                assert_eq!(status, expected, "{rules} {origin:?}");
            }
        }
        // Other clients name no page.
        greeted(&broker);
        if !refused.is_empty() {
            broker
                .log()
                .wait_for("websocket handshake error: origin not allowed: ");
        }
    }
}

/// A frame in front of the answer cannot have been sent to a WebSocket.
fn nothing_may_follow_the_request(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut stream = TcpStream::connect(broker.websocket_addr()).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    let early = [REQUEST.as_bytes(), &frame(0x82, "PING\r\n")].concat();
    stream.write_all(&early).expect("send");
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    broker
        .log()
        .wait_for("client sent data before handshake is complete");
}

/// A peer that does not finish its request is closed at the configured time.
fn a_slow_handshake_ends(broker: BrokerBuilder) {
    let is_midge = broker.program_path() == test_support::tools::midge();
    let broker = start(broker, "handshake_timeout: \"1s\"", "");
    for part in ["", "GET / HT", &REQUEST[..REQUEST.len() - 2]] {
        let mut stream = TcpStream::connect(broker.websocket_addr()).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        let begin = Instant::now();
        stream.write_all(part.as_bytes()).expect("send");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // nats-server may answer 400 to a part of a line.
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || !is_midge && answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
        let took = begin.elapsed();
        let expected = Duration::from_millis(900)..Duration::from_secs(20);
        assert!(expected.contains(&took), "{part:?}: {took:?}");
    }
}

/// Paths of leafnodes are not served.
#[test]
fn leafnodes_are_refused() {
    let broker = start(Broker::midge(), "", "");
    for path in ["/leafnode", "/a/leafnode?x"] {
        let request = REQUEST.replace("GET / ", &format!("GET {path} "));
        let client = WebSocketClient::request(broker.websocket_addr(), &request);
        assert_eq!(status(&client.answer), "HTTP/1.1 404 Not Found");
    }
    broker
        .log()
        .wait_for("leafnode websocket endpoint not supported");
}

/// A request has a bound in bytes and in fields, and a trickle of it in time.
#[test]
fn endless_requests_end() {
    let broker = start(Broker::midge(), "", "");
    let (long, many) = ("x".repeat(40_000), "X: y\r\n".repeat(100));
    for request in [
        format!("GET /{long} HTTP/1.1\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}"),
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
    ] {
        let client = WebSocketClient::request(broker.websocket_addr(), &request);
        let expected = "HTTP/1.1 431 Request Header Fields Too Large";
        assert_eq!(status(&client.answer), expected);
    }
    let varz = broker.get_json("/varz");
    assert_eq!(varz["websocket"]["handshake_timeout"], 10_000_000_000_u64);
}

/// A plain block has no listener without a port, as with nats-server.
fn a_block_without_a_port_is_ignored(broker: BrokerBuilder) {
    let broker = broker.config("websocket {}\n").start();
    let varz = broker.get_json("/varz");
    assert!(varz["websocket"]["port"].is_null(), "{varz}");
}

mod without_port {
    use super::*;

    #[test]
    fn midge() {
        a_block_without_a_port_is_ignored(Broker::midge());
    }

    #[test]
    fn nats_server() {
        a_block_without_a_port_is_ignored(Broker::nats_server());
    }
}

/// The settings that contradict each other keep both brokers from starting, with the same words.
#[test]
fn contradictions_are_refused_in_the_same_words() {
    let users = "authorization { users: [ { user: a, password: b } ] }\n";
    for (websocket, top, expected) in [
        ("port: -1", "", "websocket requires TLS configuration"),
        (
            "port: -1, no_tls: true, allowed_origins: \"example.com\"",
            "",
            "unable to parse allowed origin: parse \"example.com\": invalid URI for request",
        ),
        (
            "port: -1, no_tls: true, no_auth_user: x",
            "",
            "no_auth_user: \"x\" present, but users/nkeys are not defined",
        ),
        (
            "port: -1, no_tls: true, no_auth_user: x",
            users,
            "no_auth_user: \"x\" not present as user or nkey in authorization block or account \
             configuration",
        ),
        (
            "port: -1, no_tls: true, authorization { user: x, password: y }",
            users,
            "websocket authentication username not compatible with presence of users/nkeys",
        ),
        (
            "port: -1, no_tls: true, authorization { token: y }",
            users,
            "websocket authentication token not compatible with presence of users/nkeys",
        ),
        (
            "port: -1, no_tls: true, headers: { Host: x }",
            "",
            "websocket: invalid header \"Host\" not allowed",
        ),
        (
            "port: -1, no_tls: true, headers: { Sec-WebSocket-Foo: x }",
            "",
            "websocket: invalid header \"Sec-WebSocket-Foo\", \"Sec-WebSocket-\" prefix not \
             allowed",
        ),
        (
            "port: -1, no_tls: true, jwt_cookie: x",
            "",
            "trusted operators or trusted keys configuration is required for JWT authentication \
             via cookie",
        ),
    ] {
        for builder in [Broker::midge(), Broker::nats_server()] {
            let program = builder.program_path();
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("broker.conf");
            let text =
                format!("port: -1\nhttp: \"127.0.0.1:-1\"\nwebsocket {{ {websocket} }}\n{top}");
            std::fs::write(&file, text).expect("write the file");
            let output = std::process::Command::new(&program)
                .arg("-c")
                .arg(&file)
                .output()
                .expect("run the broker");
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{websocket}: {said}");
            assert!(
                said.contains(expected),
                "{}: {websocket}: {said}",
                program.display()
            );
        }
    }
}
