//! TLS for clients: who is accepted, compared with a real nats-server, and what only
//! midge supports: CRLs, changed files, Puppet's files.

mod alerts;
mod clients;
mod many_clients;
mod outcomes;
mod puppet;
mod renewal;
mod revocation;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use test_support::{
    Broker, BrokerBuilder, PATIENCE, RawClient,
    pki::{Pki, Term},
    tools, wait_for, wait_until,
};
use tokio::time::timeout;

/// A `tls` block with the broker's certificate and further settings.
fn block(pki: &Pki, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    )
}

/// The options of a client with this certificate; a name without files means no
/// certificate.
fn client(pki: &Pki, name: &str) -> ConnectOptions {
    // Two cryptography providers are compiled in; a second call finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = ConnectOptions::new()
        .require_tls(true)
        .add_root_certificates(pki.path("ca.pem"));
    match name {
        "" => options,
        name => options.add_client_certificate(
            pki.path(&format!("{name}.pem")),
            pki.path(&format!("{name}.key")),
        ),
    }
}

async fn connect(broker: &Broker, options: ConnectOptions) -> Result<Client, String> {
    let url = format!("tls://localhost:{}", broker.client_addr().port());
    let client = options.connect(url).await.map_err(|e| e.to_string())?;
    client.flush().await.map_err(|error| error.to_string())?;
    Ok(client)
}

/// Sends messages of many sizes to itself and compares what it receives.
async fn echo(client: &Client) {
    let mut subscriber = client.subscribe("echo").await.expect("subscribe");
    for len in [0, 1, 1000, 16_384, 70_000, 1_000_000] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        client
            .publish("echo", payload.clone().into())
            .await
            .expect("publish");
        let message = timeout(PATIENCE, subscriber.next()).await;
        let message = message.expect("a message in time").expect("a message");
        assert!(message.payload == payload, "{len} bytes are not the same");
    }
}

/// The same clients are accepted as by nats-server: only those with a certificate of the
/// CA.
async fn only_certificates_of_the_ca_are_accepted(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker", "node"]);
    pki.sign("late", Term::Expired);
    let untrusted_peer = Pki::new(&["node"]);
    let broker = broker.config(block(&pki, "verify: true")).start();
    echo(
        &connect(&broker, client(&pki, "node"))
            .await
            .expect("gets in"),
    )
    .await;
    for name in ["", "late"] {
        let result = connect(&broker, client(&pki, name)).await;
        assert!(result.is_err(), "{name:?} got in");
    }
    let foreign = ConnectOptions::new()
        .require_tls(true)
        .add_root_certificates(pki.path("ca.pem"))
        .add_client_certificate(
            untrusted_peer.path("node.pem"),
            untrusted_peer.path("node.key"),
        );
    assert!(
        connect(&broker, foreign).await.is_err(),
        "a stranger got in"
    );
    let varz = broker.get_json("/varz");
    assert_eq!(varz["tls_required"], true);
    assert_eq!(varz["tls_verify"], true);
    let info = RawClient::connect(broker.client_addr()).info().clone();
    assert_eq!(
        (&info["tls_required"], &info["tls_verify"]),
        (&true.into(), &true.into())
    );
}

/// The data shown about a TLS connection, which must be the same for both brokers.
async fn connz_shows_tls_data(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker", "node"]);
    let broker = broker.config(block(&pki, "verify: true")).start();
    let _client = connect(&broker, client(&pki, "node"))
        .await
        .expect("gets in");
    let connz = broker.get_json("/connz?auth=1");
    let shown = &connz["connections"][0];
    assert_eq!(shown["tls_version"], "1.3");
    assert_eq!(shown["tls_peer_certs"][0]["subject"], "CN=node");
    let output = Command::new("openssl")
        .args([
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            &pki.text("node.pem"),
        ])
        .output()
        .expect("the openssl command");
    let text = String::from_utf8_lossy(&output.stdout)
        .replace(':', "")
        .to_lowercase();
    let print = shown["tls_peer_certs"][0]["cert_sha256"]
        .as_str()
        .expect("a digest");
    assert!(text.contains(print), "{text} {print}");
}

/// TLS before INFO, and INFO before TLS for clients that wait.
async fn handshake_first(broker: BrokerBuilder) {
    let pki = Pki::new(&["broker", "node"]);
    let broker = broker
        .config(block(&pki, "verify: true, handshake_first: \"300ms\""))
        .start();
    let first = client(&pki, "node").tls_first();
    echo(&connect(&broker, first).await.expect("gets in first")).await;
    echo(
        &connect(&broker, client(&pki, "node"))
            .await
            .expect("gets in"),
    )
    .await;
}

macro_rules! on_both_brokers {
    ($($name:ident),* $(,)?) => {
        mod midge {
            use test_support::Broker;
            $(#[tokio::test] async fn $name() { super::$name(Broker::midge()).await; })*
        }
        mod nats_server {
            use test_support::Broker;
            $(#[tokio::test] async fn $name() { super::$name(Broker::nats_server()).await; })*
        }
    };
}

on_both_brokers![
    only_certificates_of_the_ca_are_accepted,
    connz_shows_tls_data,
    handshake_first
];

/// A new CRL disconnects revoked clients and nobody else, without a signal to the broker.
#[tokio::test]
async fn a_new_crl_disconnects_revoked_clients() {
    let pki = Pki::new(&["broker", "bad", "good"]);
    let crl = format!("verify: true, crl_file: {:?}", pki.text("crl.pem"));
    let broker = Broker::midge().config(block(&pki, &crl)).start();
    let good = connect(&broker, client(&pki, "good"))
        .await
        .expect("gets in");
    let bad = client(&pki, "bad").max_reconnects(1);
    let _bad = connect(&broker, bad).await.expect("gets in");
    let mut subscriber = good.subscribe("a").await.expect("subscribe");
    broker.wait_for_connections(2);

    pki.revoke("bad");
    for n in 0..200 {
        good.publish("a", n.to_string().into())
            .await
            .expect("publish");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wait_until("the revoked client is closed", || {
        let closed = broker.get_json("/connz?state=closed");
        let closed = closed["connections"].as_array().expect("a list");
        closed.iter().any(|c| c["reason"] == "Certificate Revoked")
    });
    for n in 0..200 {
        let message = timeout(PATIENCE, subscriber.next()).await.expect("in time");
        assert_eq!(message.expect("a message").payload, n.to_string());
    }
    assert!(connect(&broker, client(&pki, "bad")).await.is_err());
    broker
        .log()
        .wait_for("the peer's certificate is revoked: CN=bad");
    assert_eq!(broker.get_json("/varz")["tls"]["revoked"], 1);
}

/// A renewed certificate is used for new connections; a broken file changes nothing.
#[tokio::test]
async fn changed_files_are_loaded_and_broken_ones_are_not() {
    let pki = Pki::new(&["broker", "node"]);
    let broker = Broker::midge().config(block(&pki, "verify: true")).start();
    let stays = connect(&broker, client(&pki, "node"))
        .await
        .expect("gets in");
    let good = fs::read(pki.path("broker.key")).expect("read the key");
    fs::write(pki.path("broker.key"), "nonsense").expect("break the key");
    broker
        .log()
        .wait_for("cannot be used, the old ones stay in force");
    connect(&broker, client(&pki, "node"))
        .await
        .expect("gets in still");
    fs::write(pki.path("broker.key"), good).expect("mend the key");
    pki.sign("broker", Term::Valid);
    broker.log().wait_for("the TLS files were read again");
    connect(&broker, client(&pki, "node"))
        .await
        .expect("gets in");
    echo(&stays).await;
}

/// One setting selects a Puppet agent's files, its CRL included.
#[tokio::test]
async fn puppet_files_are_found() {
    let pki = Pki::new(&["broker", "node", "gone"]);
    pki.revoke("gone");
    let ssl = tempfile::tempdir().expect("a folder");
    let copy = |from: &str, to: &str| {
        let to = ssl.path().join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
        fs::copy(pki.path(from), to).expect("copy");
    };
    copy("broker.pem", "certs/broker.example.org.pem");
    copy("broker.key", "private_keys/broker.example.org.pem");
    copy("ca.pem", "certs/ca.pem");
    copy("crl.pem", "crl.pem");
    let ssl_dir = ssl.path().display();
    let config = format!("tls {{ puppet: true, ssldir: {:?} }}", ssl_dir.to_string());
    let broker = Broker::midge().config(config).start();
    echo(
        &connect(&broker, client(&pki, "node"))
            .await
            .expect("gets in"),
    )
    .await;
    for name in ["", "gone"] {
        assert!(
            connect(&broker, client(&pki, name)).await.is_err(),
            "{name:?}"
        );
    }
    assert!(broker.get_json("/varz")["tls"]["crl_next_update"].is_string());
}

/// Unusable files prevent the start; the error names the file and the problem.
#[test]
fn files_that_cannot_be_used_are_named() {
    let pki = Pki::new(&["broker", "other"]);
    pki.sign("late", Term::Expired);
    let block = |cert: &str, key: &str, more: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}{more} }}",
            pki.text(cert),
            pki.text(key)
        )
    };
    let leaf_as_ca = format!(", verify: true, ca_file: {:?}", pki.text("other.pem"));
    for (text, expected) in [
        (
            block("broker.pem", "other.key", ""),
            "does not belong to the certificate",
        ),
        (
            block("broker.key", "broker.key", ""),
            "broker.key: holds no certificate",
        ),
        (
            block("broker.pem", "ca.pem", ""),
            "ca.pem: holds no private key",
        ),
        (
            block("late.pem", "late.key", ""),
            "late.pem: the certificate of CN=late expired",
        ),
        (
            block("none.pem", "broker.key", ""),
            "none.pem: cannot be read",
        ),
        (block("broker.pem", "broker.key", &leaf_as_ca), "is no CA"),
        (
            block("broker.pem", "broker.key", ", cipher_suites: [\"RC4\"]"),
            "RC4",
        ),
        ("tls { verify: true }".into(), "there is no certificate"),
    ] {
        let file = pki.path("test.conf");
        fs::write(&file, &text).expect("write the configuration");
        let output = Command::new(tools::midge())
            .args(["-t", "-c"])
            .arg(&file)
            .output()
            .expect("start midge");
        let reported = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && reported.contains(expected),
            "{text}: {reported}"
        );
        assert!(reported.contains("test.conf:1:"), "{reported}");
    }
}

/// Keys in every common format are read.
#[tokio::test]
async fn keys_of_every_form_are_read() {
    let pki = Pki::new(&["broker", "node"]);
    pki.openssl("ecparam -name prime256v1 -genkey -noout -out sec1.key", &[]);
    pki.openssl("genrsa -traditional -out pkcs1.key 2048", &[]);
    pki.openssl("genrsa -out pkcs8.key 4096", &[]);
    for (name, begin) in [
        ("sec1", "BEGIN EC PRIVATE KEY"),
        ("pkcs1", "BEGIN RSA PRIVATE KEY"),
        ("pkcs8", "BEGIN PRIVATE KEY"),
    ] {
        pki.sign(name, Term::Valid);
        let (cert, key) = (
            pki.text(&format!("{name}.pem")),
            pki.text(&format!("{name}.key")),
        );
        let text = fs::read_to_string(&key).expect("read the key");
        assert!(text.contains(begin), "{text}");
        let config = format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}");
        let broker = Broker::midge().config(config).start();
        echo(
            &connect(&broker, client(&pki, "node"))
                .await
                .expect("gets in"),
        )
        .await;
    }
}

/// Invalid data, idle and plain clients are closed in time and affect nobody else.
#[tokio::test]
async fn clients_without_tls_are_disconnected() {
    let pki = Pki::new(&["broker", "node"]);
    let broker = Broker::midge().config(block(&pki, "timeout: 0.5")).start();
    let mut silent = RawClient::connect(broker.client_addr());
    for bytes in [
        &b"CONNECT {}\r\nPING\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
    ] {
        let mut untrusted_peer = TcpStream::connect(broker.client_addr()).expect("connect");
        untrusted_peer
            .set_read_timeout(Some(PATIENCE))
            .expect("a bound");
        untrusted_peer.write_all(bytes).expect("write");
        let mut reported = Vec::new();
        match untrusted_peer.read_to_end(&mut reported) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        assert!(!reported.windows(4).any(|four| four == b"PONG"));
    }
    silent.read_to_end();
    echo(&connect(&broker, client(&pki, "")).await.expect("gets in")).await;
    for reported in ["TLS handshake timeout", "did not send TLS"] {
        broker.log().wait_for(reported);
    }
    let failed = &broker.get_json("/varz")["tls"]["failed"];
    assert!(failed["timeout"].as_u64() >= Some(1), "{failed}");
}

/// Where TLS is optional, both kinds of clients are served.
#[tokio::test]
async fn tls_can_be_optional() {
    let pki = Pki::new(&["broker"]);
    let config = format!("allow_non_tls: true\n{}", block(&pki, "timeout: 5"));
    let broker = Broker::midge().config(config).start();
    let mut plain = RawClient::connect(broker.client_addr());
    assert_eq!(plain.info()["tls_available"], true);
    plain.send("CONNECT {\"verbose\":false}\r\n");
    assert!(plain.sync().is_empty());
    echo(&connect(&broker, client(&pki, "")).await.expect("gets in")).await;
}

/// The monitoring port uses the certificate of `tls` and requires none.
#[test]
fn monitoring_is_served_over_https() {
    let pki = Pki::new(&["broker"]);
    let config = format!("https_port: -1\n{}", block(&pki, "verify: true"));
    let broker = Broker::midge().without_monitoring().config(config).start();
    let port = wait_for("the ports file names the monitoring port", || {
        let files = fs::read_dir(broker.folder()).ok()?;
        let mut files = files.filter_map(|file| Some(file.ok()?.path()));
        let file = files.find(|file| file.extension().is_some_and(|end| end == "ports"))?;
        let text = fs::read_to_string(file).ok()?;
        let (_, rest) = text.split_once("https://127.0.0.1:")?;
        rest.split('"').next()?.parse::<u16>().ok()
    });
    let script = format!(
        "import ssl, urllib.request as r; c = ssl.create_default_context(cafile={:?}); \
         print(r.urlopen('https://localhost:{port}/varz', context=c, timeout=10).read().decode())",
        pki.text("ca.pem")
    );
    let output = Command::new(tools::python_with_nats())
        .args(["-c", &script])
        .output();
    let output = output.expect("start Python");
    let reported = String::from_utf8_lossy(&output.stdout);
    assert!(
        reported.contains(&format!("\"https_port\": {port}")),
        "{output:?}"
    );
    let mut untrusted_peer = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    untrusted_peer
        .write_all(b"GET /varz HTTP/1.1\r\n\r\n")
        .expect("write");
    let _ = untrusted_peer.read_to_end(&mut Vec::new());
    let text = "TLS handshake error on the monitor port";
    broker.log().wait_for(text);
}
