//! `allowed_sources`: where a user may log in from.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use test_support::{Broker, PATIENCE, pki::Pki, tls_client::Speaker, wait_until};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const CONNECT_AS_A: &str = "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"p\"}\r\n";
const CONNECT_AS_B: &str = "CONNECT {\"verbose\":false,\"user\":\"b\",\"pass\":\"p\"}\r\n";

/// What each user's entry has besides name and password.
fn config(of_a: &str, of_b: &str, of_guest: &str) -> String {
    format!(
        "authorization {{ users: [ {{ user: a, password: p, {of_a} }}, \
         {{ user: b, password: p, {of_b} }}, {{ user: guest, password: g, {of_guest} }} ] }}\n\
         no_auth_user: guest\n"
    )
}

/// Connects from an address and sends this and a PING.
fn session(broker: &Broker, from: Ipv4Addr, text: &str) -> BufReader<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((from, 0)).into())
        .expect("an address of this machine");
    socket
        .connect(&broker.client_addr().into())
        .expect("connect");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    write!(stream, "{text}PING\r\n").expect("send");
    BufReader::new(stream)
}

/// The next line that is no INFO.
fn answer(session: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        session.read_line(&mut line).expect("an answer");
        if !line.starts_with("INFO ") {
            return line;
        }
    }
}

fn refused(broker: &Broker) -> Value {
    broker.get_json("/varz")["logins"]["refused"].clone()
}

#[test]
fn a_user_logs_in_from_its_addresses_only() {
    let only_here = "allowed_sources: \"127.0.0.1\"";
    let elsewhere = "allowed_sources: [\"192.0.2.0/24\", \"127.0.0.2/31\"]";
    let broker = Broker::midge()
        .config(config(only_here, elsewhere, only_here))
        .start();
    let mut expected = 0;
    for (from, text, is_in) in [
        (HERE, CONNECT_AS_A, true),
        (ELSEWHERE, CONNECT_AS_A, false),
        (HERE, CONNECT_AS_B, false),
        (ELSEWHERE, CONNECT_AS_B, true),
        (HERE, "CONNECT {\"verbose\":false}\r\n", true),
        (ELSEWHERE, "CONNECT {\"verbose\":false}\r\n", false),
        // Who sends no CONNECT is the same user.
        (HERE, "", true),
        (ELSEWHERE, "", false),
    ] {
        let answered = answer(&mut session(&broker, from, text));
        match is_in {
            true => assert_eq!(answered, "PONG\r\n", "{from} {text}"),
            false => {
                expected += 1;
                let error = "-ERR 'Authorization Violation'\r\n";
                assert_eq!(answered, error, "{from} {text}");
            }
        }
    }
    wait_until("they are counted", || {
        refused(&broker)["source"] == expected
    });
    broker.log().wait_for("it is not in its allowed_sources");
}

/// A reload is like a start: a client that could not log in any more from where it is leaves.
#[test]
fn a_reload_applies_the_addresses_to_connected_clients() {
    let broker = Broker::midge().config(config("", "", "")).start();
    let mut sessions = [CONNECT_AS_A, CONNECT_AS_B].map(|text| session(&broker, HERE, text));
    for session in &mut sessions {
        assert_eq!(answer(session), "PONG\r\n");
    }
    let text = config(
        "allowed_sources: \"::1\"",
        "allowed_sources: \"127.0.0.0/8\"",
        "",
    );
    std::fs::write(broker.folder().join("broker.conf"), text).expect("write the configuration");
    broker.signal(libc::SIGHUP);
    assert!(answer(&mut sessions[0]).starts_with("-ERR 'Auth"));
    sessions[1].get_ref().write_all(b"PING\r\n").expect("send");
    assert_eq!(answer(&mut sessions[1]), "PONG\r\n");
}

/// Also if the certificate says who it is.
#[test]
fn a_certificate_counts_from_the_addresses_of_its_user_only() {
    let pki = Pki::new(&["broker", "near", "far"]);
    let files = ["broker.pem", "broker.key", "ca.pem"].map(|file| pki.text(file));
    let broker = Broker::midge()
        .config(format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify_and_map: true, \
             timeout: 20 }}\nauthorization {{ users: [ \
             {{ user: \"CN=near\", allowed_sources: \"127.0.0.0/8\" }}, \
             {{ user: \"CN=far\", allowed_sources: \"192.0.2.0/24\" }} ] }}\n",
            files[0], files[1], files[2]
        ))
        .start();
    let attempt = |name: &str| {
        let key = pki.path(&format!("{name}.key"));
        let speaker = Speaker::believing(&pki.path("ca.pem"));
        let speaker = speaker.showing(&pki.path(&format!("{name}.pem")), &key);
        speaker.attempt(broker.client_addr())
    };
    attempt("near").expect("gets in");
    attempt("far").expect_err("is refused");
    assert_eq!(refused(&broker)["source"], 1);
}
