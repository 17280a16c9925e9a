//! Certificates that expire soon, and failed handshakes.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use test_support::{PATIENCE, pki::Pki};

use super::Threshold;

/// A certificate for ten days, of a CA and with a CRL for thirty.
fn tls(pki: &Pki) -> String {
    let [pem, key, ca, crl] =
        ["broker.pem", "broker.key", "ca.pem", "crl.pem"].map(|file| pki.text(file));
    format!(
        "tls {{ cert_file: {pem:?}, key_file: {key:?}, ca_file: {ca:?}, crl_file: {crl:?}, \
         verify: true }}"
    )
}

fn expires(threshold: &Threshold, code: &str, severity: &str) {
    let pki = Pki::new(&["broker"]);
    threshold.makes_severe(code, severity, &tls(&pki), |_| ());
}

#[test]
pub fn certificate_warning() {
    let threshold = Threshold {
        key: "certificate_critical: 1h, certificate_warning",
        before: "2h",
        after: "9000h",
    };
    expires(&threshold, "certificate-expiry", "warning");
}

#[test]
pub fn certificate_critical() {
    let threshold = Threshold {
        key: "certificate_warning: 9000h, certificate_critical",
        before: "1h",
        after: "8000h",
    };
    expires(&threshold, "certificate-expiry", "critical");
}

#[test]
pub fn crl_warning() {
    let threshold = Threshold {
        key: "crl_critical: 1h, crl_warning",
        before: "2h",
        after: "9000h",
    };
    expires(&threshold, "crl-expiry", "warning");
}

#[test]
pub fn crl_critical() {
    let threshold = Threshold {
        key: "crl_warning: 9000h, crl_critical",
        before: "1h",
        after: "8000h",
    };
    expires(&threshold, "crl-expiry", "critical");
}

/// Clients that do not send TLS.
#[test]
pub fn handshake_failures() {
    let threshold = Threshold {
        key: "handshake_failures",
        before: "1000",
        after: "1",
    };
    let pki = Pki::new(&["broker"]);
    threshold.makes("handshake-failures", &tls(&pki), |scene| {
        let address = scene.member.broker.client_addr();
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        stream.write_all(b"CONNECT {}\r\n").expect("write");
        // Until the broker closes it, possibly with a reset.
        let _ = stream.read_to_end(&mut Vec::new());
    });
}
