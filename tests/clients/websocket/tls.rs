//! WebSockets over TLS: certificates, users by certificate, and renewed files.

use std::{fs, net::SocketAddr};

use test_support::{
    Broker, BrokerBuilder, PATIENCE,
    pki::{Pki, Term},
    tls_client::Speaker,
    wait_until,
    websocket::{REQUEST, WebSocketClient},
};

use super::on_both;

on_both![
    a_secured_port_serves_clients,
    certificates_that_are_required,
    a_certificate_names_the_user,
    a_request_without_tls_is_told_so,
];

fn start(builder: BrokerBuilder, pki: &Pki, tls: &str, top: &str) -> Broker {
    let text = format!(
        "websocket {{ listen: \"127.0.0.1:-1\", tls {{ cert_file: {:?}, key_file: {:?}, \
         ca_file: {:?}, {tls} }} }}\n{top}",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem"),
    );
    builder.config(text).start()
}

fn speaker(pki: &Pki, name: &str) -> Speaker {
    let speaker = Speaker::believing(&pki.path("ca.pem")).first();
    match name {
        "" => speaker,
        name => speaker.showing(
            &pki.path(&format!("{name}.pem")),
            &pki.path(&format!("{name}.key")),
        ),
    }
}

/// A client with this certificate, once its request is answered; the error says why not.
fn connect(address: SocketAddr, speaker: &Speaker) -> Result<WebSocketClient, String> {
    let (stream, _) = speaker.connect(address)?;
    stream
        .sock
        .set_read_timeout(Some(PATIENCE))
        .expect("a bound");
    let client = WebSocketClient::over(stream, REQUEST.as_bytes());
    match client.answer.starts_with("HTTP/1.1 101 ") {
        true => Ok(client),
        false => Err(format!("answer {:?}", client.answer)),
    }
}

fn a_secured_port_serves_clients(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker"]);
    let broker = start(broker, &pki, "", "");
    assert!(broker.websocket_url().starts_with("wss://"));
    broker
        .log()
        .wait_for("Listening for websocket clients on wss://");
    for speaker in [speaker(&pki, "").tls12(), speaker(&pki, "").tls13()] {
        let mut client = connect(broker.websocket_addr(), &speaker).expect("a client");
        let info = client.info();
        assert_eq!(
            (&info["tls_required"], &info["tls_available"]),
            (&true.into(), &true.into())
        );
        client.log_in("");
        let payload = "x".repeat(200_000);
        client.say(format!(
            "SUB a 1\r\nPUB a {}\r\n{payload}\r\nPING\r\n",
            payload.len()
        ));
        let received = client.read_until("PONG\r\n");
        assert!(received == format!("MSG a 1 {}\r\n{payload}\r\nPONG\r\n", payload.len()));
        client.send(test_support::websocket::frame(0x88, b"\x03\xe8"));
        let close = client.read_to_end().last().and_then(|it| it.close());
        assert_eq!(close.as_deref(), Some("1000 "));
    }
}

/// A page that says ws:// where it should say wss:// is answered in its own language.
fn a_request_without_tls_is_told_so(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker"]);
    let broker = start(broker, &pki, "", "");
    for request in [REQUEST, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let client = WebSocketClient::request(broker.websocket_addr(), request);
        let status = client.answer.split_once(' ').map(|(_, rest)| rest);
        let is_refused = status.is_some_and(|rest| rest.starts_with("400 Bad Request"));
        assert!(is_refused, "{}", client.answer);
    }
    broker.log().wait_for("TLS handshake error");
}

/// One that does not finish TLS within `handshake_timeout` is a failed handshake, as at the client
/// port: logged, and counted by its cause.
#[test]
fn an_unfinished_tls_handshake_is_reported() {
    let pki = Pki::new(&["broker"]);
    let text = format!(
        "websocket {{ listen: \"127.0.0.1:-1\", handshake_timeout: \"100ms\", tls {{ cert_file: \
         {:?}, key_file: {:?}, timeout: 60 }} }}",
        pki.text("broker.pem"),
        pki.text("broker.key"),
    );
    let broker = Broker::midge().config(text).start();
    let silent = std::net::TcpStream::connect(broker.websocket_addr()).expect("connect");
    broker.log().wait_for("TLS handshake timeout");
    wait_until("it is counted", || {
        let metrics = broker.get("/metrics").body;
        let mut failed = metrics.lines().filter(|line| {
            let of = ["handshakes_failed", "\"websocket\"", "\"timeout\""];
            of.iter().all(|part| line.contains(part))
        });
        failed.any(|line| line.ends_with(" 1"))
    });
    drop(silent);
}

fn certificates_that_are_required(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker", "node"]);
    let broker = start(broker, &pki, "verify: true, timeout: 20", "");
    let mut client = connect(broker.websocket_addr(), &speaker(&pki, "node")).expect("a client");
    client.info();
    client.log_in("");
    assert!(connect(broker.websocket_addr(), &speaker(&pki, "")).is_err());
    // The client port has no TLS.
    broker.connect().sync();
}

fn a_certificate_names_the_user(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker", "node", "other"]);
    let users = "authorization { users: [ { user: \"CN=node\" }, { user: x, password: y } ] }\n";
    let broker = start(broker, &pki, "verify_and_map: true, timeout: 20", users);
    let mut client = connect(broker.websocket_addr(), &speaker(&pki, "node")).expect("a client");
    client.info();
    client.log_in("");
    let connz = broker.get_json("/connz?auth=1");
    assert_eq!(
        connz["connections"][0]["authorized_user"], "CN=node",
        "{connz}"
    );
    let mut client = connect(broker.websocket_addr(), &speaker(&pki, "other")).expect("a client");
    client.info();
    client.say("CONNECT {\"verbose\":false}\r\nPING\r\n");
    let said = client.read_until("PONG\r\n");
    assert!(said.contains("-ERR 'Authorization Violation'"), "{said}");
}

/// A renewed certificate is used, and a revoked one ends its connection, without a restart.
#[test]
fn renewed_files_and_revoked_certificates() {
    let pki = Pki::new(&["broker", "node", "other"]);
    let tls = format!(
        "verify: true, timeout: 20, crl_file: {:?}",
        pki.text("crl.pem")
    );
    let broker = start(Broker::midge(), &pki, &tls, "");
    let address = broker.websocket_addr();
    let mut node = connect(address, &speaker(&pki, "node")).expect("a client");
    let mut other = connect(address, &speaker(&pki, "other")).expect("a client");
    for client in [&mut node, &mut other] {
        client.info();
        client.log_in("");
    }
    let before = broker.get_json("/varz")["websocket"]["tls_cert_not_after"].clone();
    pki.revoke("node");
    pki.write_crl();
    let close = node.read_to_end().last().and_then(|it| it.close());
    assert_eq!(close.as_deref(), Some("1008 Certificate Revoked"));
    other.say("PING\r\n");
    assert_eq!(other.read_until("PONG\r\n"), "PONG\r\n");
    assert!(connect(address, &speaker(&pki, "node")).is_err());
    fs::remove_file(pki.path("broker.pem")).expect("remove the certificate");
    pki.sign("broker", Term::Seconds(100_000));
    wait_until("the renewed certificate is in force", || {
        let now = broker.get_json("/varz")["websocket"]["tls_cert_not_after"].clone();
        now != before && !now.is_null()
    });
    connect(address, &speaker(&pki, "other")).expect("a client");
}
