//! Findings about TLS: certificates that expire, files that cannot be loaded, and peers
//! that are refused. The certificates are made with the openssl command.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use async_nats::ConnectOptions;

use super::{appears, appears_while, clears, findings, quick_with, stays_silent, text};
use test_support::{
    Broker, PATIENCE,
    pki::{Pki, Term},
    tls_client::Speaker,
    wait_until,
};
use test_support::{
    free_port,
    mesh::{self, Kind, Plan},
};

const HOUR: u32 = 3600;

/// A broker with TLS and thresholds that the certificates of [`Pki`] satisfy.
fn broker(pki: &Pki, thresholds: &str) -> Broker {
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, crl_file: {:?}, verify: true }}",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem"),
        pki.text("crl.pem")
    );
    let ends = "certificate_warning: 100h\n certificate_critical: 50h\n";
    quick_with(&format!("{ends} {thresholds}"), &tls).start()
}

/// Waits until a finding has a severity, and returns its text.
fn reaches(broker: &Broker, code: &str, severity: &str) -> String {
    wait_until(&format!("{code} is {severity}"), || {
        let found = findings(broker, code);
        found.iter().any(|finding| finding["severity"] == severity)
    });
    text(&appears(broker, code)).to_owned()
}

#[test]
pub fn the_server_certificate_is_reported_before_and_after_expiry() {
    let pki = Pki::new(&["broker"]);
    let broker = broker(&pki, "");
    stays_silent(&broker, "certificate-expiry");
    let left = broker.get_json("/varz")["tls"]["cert_days_left"].clone();
    assert!(
        left.as_f64().is_some_and(|left| left > 9.0 && left < 10.1),
        "{left}"
    );

    pki.sign("broker", Term::Seconds(75 * HOUR));
    let warned = reaches(&broker, "certificate-expiry", "warning");
    assert!(
        warned.contains("the certificate expires in 3 days"),
        "{warned}"
    );
    assert_eq!(
        appears(&broker, "certificate-expiry")["subject"],
        "CN=broker"
    );

    pki.sign("broker", Term::Seconds(8));
    reaches(&broker, "certificate-expiry", "critical");
    wait_until("it has expired", || {
        text(&appears(&broker, "certificate-expiry")).contains("the certificate expired")
    });
    wait_until("the days left are negative", || {
        let varz = broker.get_json("/varz");
        varz["tls"]["cert_days_left"].as_f64() < Some(0.0)
    });

    pki.sign("broker", Term::Valid);
    clears(&broker, "certificate-expiry");
}

#[test]
pub fn an_expiring_ca_is_reported() {
    let pki = Pki::new(&["broker"]);
    let broker = broker(&pki, "");
    stays_silent(&broker, "ca-expiry");
    // The same key, as for a renewed CA.
    let renew = |days: u32| {
        let words = format!("x509 -in ca.pem -signkey ca.key -days {days} -out ca.new");
        pki.openssl(&words, &[]);
        fs::rename(pki.path("ca.new"), pki.path("ca.pem")).expect("replace the CA");
    };
    renew(3);
    let warned = reaches(&broker, "ca-expiry", "warning");
    assert!(warned.contains("the CA expires in"), "{warned}");
    renew(1);
    reaches(&broker, "ca-expiry", "critical");
    renew(30);
    clears(&broker, "ca-expiry");
}

#[test]
pub fn an_overdue_crl_is_reported() {
    let pki = Pki::new(&["broker"]);
    let broker = broker(&pki, "");
    stays_silent(&broker, "crl-expiry");
    pki.write_crl_for("-crlhours 48");
    let warned = reaches(&broker, "crl-expiry", "warning");
    assert!(warned.contains("the CRL expires in"), "{warned}");
    pki.write_crl_for("-crlsec 5");
    reaches(&broker, "crl-expiry", "critical");
    wait_until("it is overdue", || {
        text(&appears(&broker, "crl-expiry")).contains("the CRL expired")
    });
    pki.write_crl();
    clears(&broker, "crl-expiry");
}

/// Certificates are listed among the ceilings, with the time that is left.
#[test]
pub fn certificate_validity_is_listed_as_a_ceiling() {
    let pki = Pki::new(&["broker"]);
    let broker = broker(&pki, "");
    let ceiling = |name: &str| {
        let memz = broker.get_json("/memz");
        let all = memz["ceilings"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|ceiling| ceiling["name"] == name)
    };
    wait_until("the broker takes a sample", || ceiling("crl").is_some());
    for (name, days) in [("certificate", 10.0), ("ca", 30.0), ("crl", 30.0)] {
        let ceiling = ceiling(name).expect("a ceiling");
        let number = |field: &str| ceiling[field].as_f64().expect("a number");
        assert_eq!(ceiling["unit"], "seconds");
        assert!((number("limit") / 86_400.0 - days).abs() < 0.1, "{ceiling}");
        assert!(number("used") < 3600.0, "{ceiling}");
        let left = number("limit") - number("used");
        assert!((number("exhausted_in") - left).abs() < 1.0, "{ceiling}");
    }
}

#[test]
pub fn unusable_tls_files_are_reported_until_they_load() {
    let pki = Pki::new(&["broker", "other"]);
    let broker = broker(&pki, "");
    pki.sign("broker", Term::Valid);
    broker.log().wait_for("the TLS files were read again");
    stays_silent(&broker, "tls-files");
    assert_eq!(
        broker.get_json("/varz")["tls"]["refused_files"],
        serde_json::Value::Null
    );

    let good = fs::read(pki.path("broker.key")).expect("read the key");
    fs::copy(pki.path("other.key"), pki.path("broker.key")).expect("a key that does not fit");
    let finding = appears(&broker, "tls-files");
    assert_eq!(finding["subject"], pki.text("broker.key"));
    assert!(
        text(&finding).contains("does not belong to the certificate"),
        "{finding}"
    );
    let refused = broker.get_json("/varz")["tls"]["refused_files"].clone();
    assert!(
        refused
            .as_str()
            .is_some_and(|text| text.contains("broker.key")),
        "{refused}"
    );

    fs::write(pki.path("broker.key"), good).expect("mend the key");
    clears(&broker, "tls-files");
}

#[test]
pub fn mismatched_tls_files_are_reported_until_they_match() {
    let root = Pki::new(&[]);
    let pki = root.below("/CN=Puppet CA: middle", &["broker"]);
    Pki::join(
        &[pki.path("broker.pem"), pki.path("ca.pem")],
        &pki.path("chain.pem"),
    );
    let list = |whole: bool| {
        let middle = whole.then(|| pki.path("crl.pem"));
        let lists: Vec<_> = middle.into_iter().chain([root.path("crl.pem")]).collect();
        Pki::join(&lists, &pki.path("crls.pem"));
    };
    list(true);
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, crl_file: {:?}, verify: true }}",
        pki.text("chain.pem"),
        pki.text("broker.key"),
        root.text("ca.pem"),
        pki.text("crls.pem")
    );
    let broker = quick_with("", &tls).start();
    stays_silent(&broker, "tls-gaps");

    list(false);
    let finding = appears(&broker, "tls-gaps");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["subject"], pki.text("crls.pem"));
    let missing = "no CRL of the CA CN=Puppet CA: middle";
    assert!(text(&finding).contains(missing), "{finding}");

    list(true);
    clears(&broker, "tls-gaps");
}

#[test]
pub fn failed_handshakes_are_reported_by_cause_and_probes_are_not() {
    let pki = Pki::new(&["broker"]);
    let broker = broker(&pki, "");
    let connect = || TcpStream::connect(broker.client_addr()).expect("connect");
    let fail = || {
        let mut untrusted_peer = connect();
        untrusted_peer
            .set_read_timeout(Some(PATIENCE))
            .expect("a bound");
        untrusted_peer
            .write_all(b"CONNECT {}\r\nPING\r\n")
            .expect("write");
        // Until the broker closes it, possibly with a reset.
        let _ = untrusted_peer.read_to_end(&mut Vec::new());
    };
    (0..30).for_each(|_| drop(connect()));
    (0..5).for_each(|_| fail());
    stays_silent(&broker, "handshake-failures");
    (0..20).for_each(|_| fail());
    let finding = appears(&broker, "handshake-failures");
    for expected in ["not tls", "did not send TLS", "127.0.0.1:"] {
        assert!(text(&finding).contains(expected), "{finding}");
    }
    assert!(findings(&broker, "login-failures").is_empty());
    clears(&broker, "handshake-failures");
    let varz = broker.get_json("/varz");
    assert!(
        varz["tls"]["failed"]["not_tls"].as_u64() >= Some(20),
        "{varz}"
    );
    assert!(varz["tls"]["failures"].as_u64() >= Some(20), "{varz}");
}

#[tokio::test]
pub async fn revoked_clients_that_were_cut_are_named_for_a_while() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let pki = Pki::new(&["broker", "bad", "absent"]);
    let broker = broker(&pki, "");
    let url = format!("tls://localhost:{}", broker.client_addr().port());
    let _client = ConnectOptions::new()
        .name("bad-node")
        .require_tls(true)
        .max_reconnects(1)
        .add_root_certificates(pki.path("ca.pem"))
        .add_client_certificate(pki.path("bad.pem"), pki.path("bad.key"))
        .connect(url)
        .await
        .expect("gets in");
    pki.revoke("absent");
    wait_until("the CRL is loaded", || {
        broker.get_json("/varz")["tls"]["revoked"] == 1
    });
    stays_silent(&broker, "revoked-clients");
    pki.revoke("bad");
    let finding = appears(&broker, "revoked-clients");
    assert!(text(&finding).contains("1 connection closed"), "{finding}");
    assert!(text(&finding).contains("bad-node"), "{finding}");
    assert_eq!(broker.get_json("/varz")["tls"]["revoked_closed"], 1);
    let metrics = broker.get("/metrics").body;
    assert!(
        metrics.contains("midge_tls_revoked_closed_total{kind=\"client\"} 1"),
        "{metrics}"
    );
    clears(&broker, "revoked-clients");
}

/// A node that was revoked and tries for ever is one log line, one event and one finding, which
/// names it and lasts as long as it tries; it is no failure of handshakes in general.
#[test]
fn a_revoked_node_that_tries_for_ever_is_one_line() {
    let pki = Pki::new(&["broker", "gone"]);
    pki.revoke("gone");
    let broker = broker(&pki, "handshake_failures: 5");
    let speaker = Speaker::believing(&pki.path("ca.pem"))
        .showing(&pki.path("gone.pem"), &pki.path("gone.key"));
    let finding = appears_while(&broker, "revoked-clients", || {
        for _ in 0..5 {
            assert!(speaker.attempt(broker.client_addr()).is_err());
        }
    });
    assert!(text(&finding).contains("refused"), "{finding}");
    assert!(text(&finding).contains("CN=gone"), "{finding}");
    stays_silent(&broker, "handshake-failures");
    broker.log().wait_for_count("TLS handshake error", 1);
    let events = broker.get_json("/eventsz?type=tls.failed");
    assert_eq!(
        events["events"].as_array().map(Vec::len),
        Some(1),
        "{events}"
    );
    clears(&broker, "revoked-clients");
}

/// A member of the mesh whose certificate is revoked is named too, and counted separately
/// from clients.
#[test]
fn routes_closed_by_revocation_are_reported_for_a_while() {
    let pki = Pki::new(&["n0", "n1", "n2"]);
    let crl = format!("crl_file: {:?}", pki.text("crl.pem"));
    let port = free_port();
    let mut members: Vec<_> = [("n0", port, vec![]), ("n1", free_port(), vec![port])]
        .into_iter()
        .map(|(name, own, routes)| {
            let mut plan = Plan::new(Kind::Midge, name, own, &routes);
            let files = [format!("{name}.pem"), format!("{name}.key")].map(|file| pki.text(&file));
            plan.cluster = format!(
                "name: mesh\n tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {crl} }}",
                files[0],
                files[1],
                pki.text("ca.pem")
            );
            plan.config = super::thresholds("");
            plan.start()
        })
        .collect();
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    let gone = members.pop();
    let broker = &members[0].broker;
    assert_eq!(broker.get_json("/varz")["cluster"]["revoked_closed"], 0);
    stays_silent(broker, "revoked-clients");
    pki.revoke("n1");
    let finding = appears(broker, "revoked-clients");
    assert!(text(&finding).contains("1 connection closed"), "{finding}");
    assert!(text(&finding).contains("the route to n1"), "{finding}");
    assert_eq!(broker.get_json("/varz")["cluster"]["revoked_closed"], 1);
    let metrics = broker.get("/metrics").body;
    assert!(
        metrics.contains("midge_tls_revoked_closed_total{kind=\"route\"} 1"),
        "{metrics}"
    );
    // Until it is stopped, it dials again and again.
    wait_until("its attempts are reported", || {
        text(&appears(broker, "revoked-clients")).contains("refused")
    });
    drop(gone);
    clears(broker, "revoked-clients");
}
