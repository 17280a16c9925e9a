//! Handshakes of peers that have not logged in.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use test_support::{Broker, PATIENCE, RawClient, pki::Pki, wait_until};

use super::{connect, read_all, resident_kib};

/// Class "TLS details" (2026-01): a session ticket from a listener without client
/// certificates is not accepted where one is required.
#[test]
fn a_session_ticket_is_valid_for_its_listener_only() {
    let pki = Pki::new(&["server"]);
    let block = |more: &str| {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 5, {more} }}\n",
            pki.text("server.pem"),
            pki.text("server.key")
        )
    };
    let verify = format!("ca_file: \"{}\", verify: true", pki.text("ca.pem"));
    let open = Broker::midge().config(block("")).start();
    let closed = Broker::midge().config(block(&verify)).start();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(pki.path("ca.pem")).expect("the CA");
    roots.add(ca).expect("the CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // One ticket store for all connections, which use the same server name.
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let config = Arc::new(config);
        let mut resumed = Vec::new();
        for broker in [&open, &open, &closed] {
            let mut client = RawClient::connect(broker.client_addr());
            let mut stream = client.stream().try_clone().expect("the socket");
            stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
            let name = "localhost".try_into().expect("a name");
            let mut tls = ClientConnection::new(config.clone(), name).expect("a client");
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let sent = stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
            let mut answer = [0; 6];
            let is_in =
                sent.is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"PONG\r\n";
            let kind = tls.handshake_kind();
            resumed.push((is_in, kind == Some(rustls::HandshakeKind::Resumed)));
            let _ = client.poll_frame(Duration::ZERO);
        }
        assert_eq!(resumed[..2], [(true, false), (true, true)], "{version:?}");
        assert!(!resumed[2].0, "{version:?}: in without a certificate");
    }
}

/// Invalid TLS data, plaintext and unfinished handshakes, many of them: bounded in
/// number, time and log lines.
#[test]
fn unauthenticated_handshakes_are_bounded() {
    let pki = Pki::new(&["server"]);
    let block = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 1 }}\n",
        pki.text("server.pem"),
        pki.text("server.key")
    );
    let broker = Broker::midge().config(block).start();
    let before = resident_kib(&broker);
    let garbage: [&[u8]; 4] = [
        b"CONNECT {}\r\nPING\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3],
        b"\x16",
    ];
    let mut unauthenticated_peers: Vec<TcpStream> =
        (0..400).map(|_| connect(broker.client_addr())).collect();
    for (stream, bytes) in unauthenticated_peers.iter_mut().zip(garbage.iter().cycle()) {
        stream.write_all(bytes).expect("write");
    }
    for mut stream in unauthenticated_peers {
        let reported = read_all(&mut stream);
        assert!(
            reported.starts_with("INFO ") && !reported.contains("PONG"),
            "{reported}"
        );
    }
    wait_until("all have been closed", || {
        let varz = broker.get_json("/varz");
        varz["connections"] == 0 && varz["tls"]["unfinished"] == 0
    });
    let grown = resident_kib(&broker).saturating_sub(before);
    assert!(grown < 400 * 64, "{grown} KiB");
    let log = broker.log().so_far();
    let lines = log.lines().count();
    assert!(lines < 120, "{lines} lines of log for 400 of them");
    for reported in ["did not send TLS", "TLS handshake timeout"] {
        broker.log().wait_for(reported);
    }
    wait_until("the next line has the number of suppressed ones", || {
        let mut untrusted_peer = connect(broker.client_addr());
        untrusted_peer.write_all(b"NONSENSE\r\n").expect("write");
        read_all(&mut untrusted_peer);
        broker
            .log()
            .so_far()
            .already_has("more failed handshakes not shown")
    });
}

/// Class "memory before login" (2026-02, -11, -25) with TLS: long incomplete first
/// messages may not hold more than their share together, and a client with a normal
/// handshake still connects.
#[test]
fn long_handshakes_are_bounded_together() {
    const STRANGERS: usize = 1000;
    let pki = Pki::new(&["server"]);
    let block = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 60 }}\n",
        pki.text("server.pem"),
        pki.text("server.key")
    );
    let broker = Broker::midge().config(block).start();
    let before = resident_kib(&broker);
    // A ClientHello of 65,520 bytes in full records, without its end.
    let mut hello = Vec::new();
    for first in [&[1, 0, 0xff, 0xf0, 3, 3][..], &[], &[]] {
        hello.extend_from_slice(&[0x16, 3, 1, 0x40, 0]);
        hello.extend_from_slice(first);
        hello.resize(hello.len() + 16384 - first.len(), 0);
    }
    let mut unauthenticated_peers: Vec<TcpStream> = (0..STRANGERS)
        .map(|_| connect(broker.client_addr()))
        .collect();
    for stream in &mut unauthenticated_peers {
        // It may be disconnected in the middle.
        let _ = stream.write_all(&hello);
    }
    // Each pending one holds 40 KiB more than a usual handshake.
    let may_wait = 32 * 1024 / 40;
    wait_until("the excess connections are closed", || {
        let tls = &broker.get_json("/varz")["tls"];
        let cut = tls["failed"]["too_many"].as_u64().unwrap_or_default();
        cut >= STRANGERS as u64 - may_wait
    });
    let grown = resident_kib(&broker).saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB for {STRANGERS} strangers");
    wait_until("the memory is shown with its cause", || {
        let causes = &broker.get_json("/memz")["causes"];
        let mut causes = causes.as_array().expect("causes").iter();
        let cause = causes.find(|cause| cause["cause"] == "handshakes");
        cause.is_some_and(|cause| {
            cause["count"].as_u64() > Some(may_wait / 2)
                && cause["bytes"].as_u64() > Some(24 * 1024 * 1024)
        })
    });
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(pki.path("ca.pem")).expect("the CA");
    roots.add(ca).expect("the CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = RawClient::connect(broker.client_addr());
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = client.stream().try_clone().expect("the socket");
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.write_all(b"PING\r\n").expect("it shakes hands");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("it is served");
    assert_eq!(answer, *b"PONG\r\n");
    drop(unauthenticated_peers);
    wait_until("their memory is released", || {
        resident_kib(&broker) < before + 12 * 1024
    });
}
