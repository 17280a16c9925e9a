//! Mutual TLS with certificates of one CA, as Puppet issues them.

use test_support::{
    Broker,
    pki::{Pki, Term},
    wait_until,
};

use super::{connected, federationz};

/// A `tls` block with the certificate of `name`, the CA of `ca` and more settings.
fn tls_block(pki: &Pki, name: &str, ca: &Pki, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key")),
        ca.text("ca.pem")
    )
}

/// An upstream broker that wants certificates.
fn central(pki: &Pki) -> Broker {
    let text = format!(
        "server_name: central\n{}",
        tls_block(pki, "central", pki, "verify: true")
    );
    Broker::midge().config(text).start()
}

fn site_config(central: &Broker, tls: &str) -> String {
    let port = central.client_addr().port();
    format!(
        "server_name: fed1\nfederation {{ name: prod, upstream: [\"tls://localhost:{port}\"],\n {tls} }}\n"
    )
}

#[test]
fn both_sides_show_their_certificates() {
    let pki = Pki::new(&["central", "fed1"]);
    let central = central(&pki);
    let text = site_config(&central, &tls_block(&pki, "fed1", &pki, ""));
    let site = Broker::midge().config(text).start();
    connected(&site);
    let upstream = federationz(&site)["upstream"].clone();
    assert_eq!(upstream["tls_version"], "1.3", "{upstream}");
    let connections = central.get_json("/connz?auth=1")["connections"].clone();
    assert!(
        connections.to_string().contains("federation prod of fed1"),
        "{connections}"
    );
    let metrics = site.get("/metrics").body;
    assert!(metrics.contains("listener=\"federation\""), "{metrics}");
    let end = "midge_tls_expiry_time_seconds{listener=\"federation\",what=\"certificate\"}";
    assert!(metrics.contains(end), "{metrics}");
    let varz = site.get_json("/varz")["federation"].clone();
    assert!(varz["tls_cert_not_after"].is_string(), "{varz}");
    assert!(varz["tls"]["ca_not_after"].is_string(), "{varz}");
}

/// The CA of the upstream broker is enough where that demands no certificate; where it does, the error
/// says so.
#[test]
fn no_certificate_of_its_own_is_needed() {
    let pki = Pki::new(&["central"]);
    let open = Broker::midge().config(tls_block(&pki, "central", &pki, ""));
    let (open, strict) = (open.start(), central(&pki));
    for tls in [
        format!("tls {{ ca_file: {:?} }}", pki.text("ca.pem")),
        "tls { insecure: true }".to_owned(),
    ] {
        let site = Broker::midge().config(site_config(&open, &tls)).start();
        connected(&site);
        let site = Broker::midge().config(site_config(&strict, &tls)).start();
        wait_until("it says so", || {
            let error = federationz(&site)["upstream"]["error"].to_string();
            error.contains("it demands a certificate of this broker")
        });
    }
}

/// A certificate of another CA on either side is refused, and the reason is told.
#[test]
fn foreign_certificates_are_refused_on_both_sides() {
    let [pki, foreign] = [
        Pki::new(&["central", "fed1"]),
        Pki::new(&["central", "fed1"]),
    ];
    let central = central(&pki);
    for tls in [
        // The site does not trust the upstream broker, and the other way round.
        tls_block(&pki, "fed1", &foreign, ""),
        tls_block(&foreign, "fed1", &pki, ""),
    ] {
        let text = site_config(&central, &tls);
        let site = Broker::midge().config(text).start();
        wait_until("it is refused", || {
            let upstream = federationz(&site)["upstream"].clone();
            upstream["failures"].as_u64() > Some(0) || upstream["error"] != ""
        });
        let findings = || site.get_json("/explainz").to_string();
        wait_until("it is a finding", || {
            findings().contains("federation-unreachable")
        });
    }
}

/// One side with TLS and one without: the error says what to write.
#[test]
fn tls_on_one_side_only_is_told() {
    let pki = Pki::new(&["central", "fed1"]);
    let (secured, plain) = (central(&pki), Broker::midge().start());
    let without = format!(
        "federation {{ name: prod, upstream: [\"nats://{}\"] }}",
        secured.client_addr()
    );
    let with = site_config(&plain, &tls_block(&pki, "fed1", &pki, ""));
    for (text, expected) in [
        (without, "it requires TLS: write tls"),
        (with, "it does not offer TLS"),
    ] {
        let site = Broker::midge().config(text).start();
        wait_until(expected, || {
            let error = federationz(&site)["upstream"]["error"].to_string();
            error.contains(expected)
        });
    }
}

/// A renewed certificate counts at once: the connection begins anew with it.
#[test]
fn a_renewed_certificate_is_shown_at_once() {
    let pki = Pki::new(&["central", "fed1"]);
    let central = central(&pki);
    let text = site_config(&central, &tls_block(&pki, "fed1", &pki, ""));
    let site = Broker::midge().config(text).start();
    connected(&site);
    pki.sign("fed1", Term::Valid);
    wait_until("it connects again", || {
        let upstream = federationz(&site)["upstream"].clone();
        upstream["connects"].as_u64() > Some(1) && upstream["connected"] == true
    });
}
