//! Peers that do not do TLS as a broker would: silent, slow, closing, or sending something else.

use std::{fs, io::Write, net::SocketAddr, thread, time::Duration};

use super::{
    bad_peers::{hang, peer, read_until, says},
    plugin::{PluginOutput, check_ports},
};
use test_support::pki::Pki;

const INFO: &str = "INFO {\"server_id\":\"N1\",\"version\":\"2\",\"tls_required\":true}\r\n";

fn connect(client: SocketAddr, arguments: &[&str]) -> PluginOutput {
    let pki = Pki::new(&[]);
    let ca = pki.text("ca.pem");
    let start = ["--mode", "connect", "--cacert", &ca];
    check_ports(client, client, &[&start, arguments].concat())
}

/// A handshake is part of the greeting: a broker that does not end it does not serve.
#[test]
fn a_handshake_without_end_is_critical() {
    let silent = peer(|mut stream| {
        let _ = stream.write_all(INFO.as_bytes());
        hang();
    });
    connect(silent, &["-t", "1"]).expect(2, "no time left after 1 s while TLS handshake");
    connect(silent, &["-t", "1:unknown"]).expect(3, "TLS handshake");
    connect(peer(|_| hang()), &["-t", "1", "--tls-first"]).expect(2, "TLS handshake");
    // One byte after the other of a record that never ends.
    let slow = peer(|mut stream| {
        let _ = stream.write_all(INFO.as_bytes());
        read_until(&mut stream, "\u{1}");
        let _ = stream.write_all(&[22, 3, 3, 0x40, 0]);
        while stream.write_all(&[0]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    connect(slow, &["-t", "1"]).expect(2, "TLS handshake");
}

#[test]
fn something_else_than_tls_is_unknown() {
    for answer in [
        "PONG\r\n",
        "-ERR 'x'\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let answer = answer.to_owned();
        let other = peer(move |mut stream| {
            let _ = stream.write_all(INFO.as_bytes());
            read_until(&mut stream, "\u{1}");
            let _ = stream.write_all(answer.as_bytes());
            hang();
        });
        connect(other, &["-t", "5"]).expect(3, "TLS: ");
    }
    // What comes in clear text before TLS could be anybody's.
    let injected = format!("{INFO}PONG\r\nPONG\r\n");
    connect(says(&injected), &[]).expect(3, "more than INFO comes before TLS");
}

#[test]
fn a_connection_closed_in_the_handshake_is_critical() {
    connect(says(INFO), &[]).expect(2, "closed the connection");
}

/// A broker waits for a handshake for a second or two only: the files for it are read before the
/// check connects. Here they are gone as soon as it has.
#[test]
fn files_are_read_before_the_broker_waits_for_the_handshake() {
    let pki = Pki::new(&[]);
    let ca = pki.text("ca.pem");
    let file = pki.path("ca.pem");
    let closing = peer(move |mut stream| {
        // An error means that an earlier connection has done it.
        let _ = fs::remove_file(&file);
        let _ = stream.write_all(INFO.as_bytes());
        read_until(&mut stream, "\u{1}");
    });
    let arguments = ["--mode", "connect", "--tls", "--cacert", &*ca];
    check_ports(closing, closing, &arguments).expect(2, "closed the connection");
}
