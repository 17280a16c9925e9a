//! Peers that do not behave like a broker: silent, closing the connection, sending
//! invalid data or sending without end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use check_nats::modes::MODES;

use super::plugin::{PluginOutput, check_ports};
use test_support::Broker;

const INFO: &str = "INFO {\"server_id\":\"N1\",\"version\":\"2\"}\r\n";
const VARZ: &str = r#"{"server_id":"N1","start":"2026-01-01T00:00:00Z","now":"2026-01-02T00:00:00Z","connections":3,"max_connections":10}"#;

/// No INFO arrives: the service is not usable.
#[test]
fn a_silent_client_port_is_critical() {
    let mute = peer(|_| hang());
    connect(mute, &["-t", "1"]).expect(2, "no time left after 1 s while waiting for INFO");
    connect(mute, &["-t", "500ms:unknown"]).expect(3, "waiting for INFO");
    connect(mute, &["-t", "500ms:WARNING"]).expect(1, "waiting for INFO");
    connect(mute, &["-t", "500ms:ok"]).expect(0, "waiting for INFO");
}

/// No response after INFO: something is there, but its state is unknown.
#[test]
fn silence_in_a_later_step_is_unknown() {
    let deaf = peer(|mut stream| {
        let _ = stream.write_all(INFO.as_bytes());
        hang();
    });
    connect(deaf, &["-t", "1"]).expect(3, "waiting for the answer to CONNECT and PING");
    // Answers one PING only.
    let half_silent = peer(|mut stream| {
        let _ = stream.write_all(format!("{INFO}PONG\r\n").as_bytes());
        hang();
    });
    let result = connect(half_silent, &["-t", "1"]);
    result
        .expect(3, "waiting for PONG")
        .expect(3, "connected in");
    assert_ne!(result.value("connect_time"), "U");
    assert_eq!(result.value("rtt"), "U");
    let no_message = peer(|mut stream| {
        let _ = stream.write_all(format!("{INFO}PONG\r\nPONG\r\n").as_bytes());
        hang();
    });
    let result = check_ports(no_message, no_message, &["--mode", "roundtrip", "-t", "1"]);
    result.expect(3, "waiting for the own message");
}

/// A silent monitoring port leaves time for the client port.
#[test]
fn a_silent_monitoring_port_is_unknown() {
    let mute = peer(|_| hang());
    let broker = Broker::nats_server().start();
    let result = check_ports(broker.client_addr(), mute, &["-t", "1"]);
    result
        .expect(3, "/varz: no answer within ")
        .expect(3, "rtt ");
    assert_ne!(result.value("rtt"), "U");
    let result = check_ports(
        broker.client_addr(),
        mute,
        &["--mode", "connections", "-t", "1"],
    );
    result.expect(3, "/varz: no answer within ");
}

#[test]
fn invalid_data_on_the_client_port_is_unknown() {
    for (rubbish, words) in [
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "no INFO but \"SSH-2.0-OpenSSH_9.2\"",
        ),
        ("<h1>|`x`</h1>\r\n", "no INFO but \"?h1??`x`?/h1?\""),
        ("INFO {\"server_id\":\r\n", "INFO not understood"),
        ("INFO {}\r\n", "INFO without a server_id"),
        ("INFO [1,2]\r\n", "no NATS broker"),
        ("\0\0\0\n", "no INFO but \"???\""),
        ("INFO {\"server_id\":\"N1\"}\r\nWHAT\r\n", "sent \"WHAT\""),
        (
            "INFO {\"server_id\":\"N1\"}\r\n-ERR 'Authorization Violation'\r\n",
            "Authorization",
        ),
    ] {
        connect(says(rubbish), &["-t", "5"]).expect(3, words);
    }
}

#[test]
fn a_closed_connection_is_critical() {
    connect(says(""), &[]).expect(2, "closed the connection");
    connect(says("INFO {\"serv"), &[]).expect(2, "closed the connection");
    let full = "-ERR 'maximum connections exceeded'\r\n";
    connect(says(full), &[]).expect(2, "answers \"maximum connections exceeded\"");
    connect(says(&format!("{INFO}{full}")), &[]).expect(2, "maximum connections");
}

/// Neither an endless line nor endless lines use unlimited memory or time.
#[test]
fn endless_responses_are_cut_off() {
    let endless_info = peer(|mut stream| {
        let _ = stream.write_all(b"INFO {\"server_id\":\"");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    connect(endless_info, &[]).expect(3, "a line of more than 64 KiB");
    let long_info = format!(
        "INFO {{\"server_id\":\"N1\",\"x\":\"{}\"}}\r\n",
        "x".repeat(1 << 20)
    );
    connect(says(&long_info), &[]).expect(3, "a line of more than 64 KiB");
    let chatter = peer(|mut stream| {
        let _ = stream.write_all(INFO.as_bytes());
        while stream.write_all(b"+OK\r\n").is_ok() {}
    });
    connect(chatter, &[]).expect(3, "talks without answering");
}

#[test]
fn a_wrong_message_is_critical() {
    let forger = peer(|mut stream| {
        let _ = stream.write_all(format!("{INFO}PONG\r\nPONG\r\n").as_bytes());
        let text = read_until(&mut stream, "PUB ");
        let inbox = text
            .split("SUB ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_default();
        let message = format!("MSG {inbox} 1 100\r\n{}\r\n", "x".repeat(100));
        let _ = stream.write_all(message.as_bytes());
    });
    let result = check_ports(forger, forger, &["--mode", "roundtrip"]);
    result.expect(2, "a different message than was published");
}

#[test]
fn invalid_data_on_the_monitoring_port_is_unknown() {
    let broker = Broker::nats_server().start();
    for (monitor, words) in [
        (says("SSH-2.0-OpenSSH_9.2\r\n"), "http://127.0.0.1"),
        (says(""), "http://127.0.0.1"),
        (answers("200 OK", "not JSON"), "answer not understood"),
        (
            answers("200 OK", "{\"connections\":\"x\"}"),
            "\"connections\" is \"x\", not a number",
        ),
        (answers("200 OK", "[]"), "answer not understood"),
        (answers("200 OK", "{}"), "not the answer of a NATS broker"),
        (
            answers("500 Internal Server Error", "{}"),
            "HTTP status 500",
        ),
        (answers("404 Not Found", "{}"), "HTTP status 404"),
        (
            answers("302 Found\r\nLocation: http://127.0.0.1:1/", "{}"),
            "HTTP status 302",
        ),
        (endless_body(), "larger than 512 KiB"),
        (
            says("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{"),
            "larger than 512 KiB",
        ),
    ] {
        for mode in ["health", "connections"] {
            let result = check_ports(broker.client_addr(), monitor, &["--mode", mode]);
            result.expect(3, words);
        }
    }
}

/// Every mode handles every answer that is meant for the other modes.
#[test]
fn no_mode_crashes_on_unusual_answers() {
    for body in [
        "{}",
        "[]",
        "nonsense",
        VARZ,
        r#"{"server_id":"N1","start":"x","now":"y","config_load_time":"z","slow_consumers":-5}"#,
        r#"{"server_id":"N1","start":"2026-01-02T00:00:00Z","now":"0001-01-01T00:00:00Z","cpu":1e300,"mem":-9223372036854775808}"#,
    ] {
        let monitor = answers("200 OK", body);
        let client = says(INFO);
        let state = tempfile::tempdir().expect("make a temporary folder");
        let folder = state.path().to_str().expect("a readable path");
        for mode in MODES {
            let mut arguments = vec!["--mode", mode.name, "--state-dir", folder];
            if mode.name == "varz" {
                arguments.extend(["--figure", "mem"]);
            }
            // The run itself asserts a valid exit code and output.
            for _ in 0..2 {
                check_ports(client, monitor, &arguments);
            }
        }
    }
}

/// A broker that serves but reports that it is unhealthy.
#[test]
fn a_failing_healthz_is_critical() {
    let broker = Broker::nats_server().start();
    let monitor = peer(|mut stream| {
        let request = read_until(&mut stream, "\r\n\r\n");
        let (status, body) = match request.starts_with("GET /healthz ") {
            true => (
                "503 Service Unavailable",
                r#"{"status":"unavailable","error":"disk | full"}"#,
            ),
            false => ("200 OK", VARZ),
        };
        respond(&mut stream, status, body);
    });
    let result = check_ports(broker.client_addr(), monitor, &[]);
    result.expect(2, "/healthz is \"unavailable\": \"disk ? full\"");
    result.expect(2, "3 connections").expect(2, "rtt ");
    let result = check_ports(broker.client_addr(), monitor, &["--mode", "lameduck"]);
    result
        .expect(1, "not in lame duck mode")
        .expect(1, "unavailable");
}

/// A broker with `ldm` in its INFO, as during lame duck mode.
#[test]
fn lame_duck_mode_in_info_is_a_warning() {
    let client = peer(|mut stream| {
        let info = "INFO {\"server_id\":\"N1\",\"ldm\":true}\r\n";
        let _ = stream.write_all(format!("{info}PONG\r\n").as_bytes());
        read_until(&mut stream, "PING\r\nPING\r\n");
        let _ = stream.write_all(b"PONG\r\n");
        hang();
    });
    let broker = Broker::nats_server().start();
    let result = check_ports(client, broker.monitor_addr(), &["--mode", "lameduck"]);
    result.expect(1, "in lame duck mode");
    connect(client, &["-t", "5"]).expect(1, "in lame duck mode");
    check_ports(client, broker.monitor_addr(), &["-t", "5"]).expect(1, "in lame duck mode");
}

fn connect(client: SocketAddr, arguments: &[&str]) -> PluginOutput {
    check_ports(
        client,
        client,
        &[&["--mode", "connect"], arguments].concat(),
    )
}

/// A listener that handles each connection with `serve` on its own thread. It ends with
/// the test program.
pub(crate) fn peer(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("the address of a listener");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A peer that sends this and closes the connection when the other side has read it.
pub(crate) fn says(text: &str) -> SocketAddr {
    let text = text.to_owned();
    peer(move |mut stream| {
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Closed with unread bytes, the connection would be reset.
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// A peer that gives this answer to every HTTP request.
pub(crate) fn answers(status: &str, body: &str) -> SocketAddr {
    let (status, body) = (status.to_owned(), body.to_owned());
    peer(move |mut stream| {
        read_until(&mut stream, "\r\n\r\n");
        respond(&mut stream, &status, &body);
    })
}

fn endless_body() -> SocketAddr {
    peer(|mut stream| {
        read_until(&mut stream, "\r\n\r\n");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    })
}

pub(crate) fn respond(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let _ = stream.write_all(
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .as_bytes(),
    );
}

/// Reads until the data contains `end` or the connection closes.
pub(crate) fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
            _ => break,
        }
    }
    text
}

/// Holds a connection open; ends with the test program.
pub(crate) fn hang() {
    loop {
        thread::park();
    }
}
