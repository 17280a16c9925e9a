//! Leafnodes with TLS: one that verifies its hub, both that verify each other, and users known by their
//! certificates.

use test_support::{Broker, free_port, pki::Pki, wait_until};

use super::{delivery::every_form, hub, leaf_with, wait_for_leafs};

fn block(pki: &Pki, name: &str, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, timeout: 2, {more} }}",
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key")),
        pki.text("ca.pem")
    )
}

fn secured(port: u16, name: &str, tls: &str) -> Broker {
    let more = tls.to_owned();
    leaf_with(Broker::nats_server(), name, port, "", &more, "")
}

/// TLS after INFO, and before it.
#[test]
fn both_sides_verify_each_other() {
    let pki = Pki::new(&["hub", "leaf"]);
    for first in ["", "handshake_first: true"] {
        let port = free_port();
        let hub = hub(
            Broker::midge(),
            port,
            &block(&pki, "hub", &format!("verify: true, {first}")),
            "",
        );
        let leaf = secured(port, "leaf", &block(&pki, "leaf", first));
        wait_for_leafs(&hub, 1);
        every_form(&hub, &leaf, "down");
        every_form(&leaf, &hub, "up");
        let leafz = hub.get_json("/leafz");
        assert_eq!(leafz["leafs"][0]["certname"], "leaf", "{leafz}");
        let varz = hub.get_json("/varz");
        assert_eq!(varz["leaf"]["tls_verify"], true);
        assert!(varz["leaf"]["tls_cert_not_after"].is_string(), "{varz}");
    }
}

/// A leafnode without a certificate of the CA is refused, and the log says why.
#[test]
fn a_foreign_certificate_is_refused() {
    let (pki, foreign) = (Pki::new(&["hub"]), Pki::new(&["intruder"]));
    let port = free_port();
    let hub = hub(
        Broker::midge(),
        port,
        &block(&pki, "hub", "verify: true"),
        "",
    );
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?} }}",
        foreign.text("intruder.pem"),
        foreign.text("intruder.key"),
        pki.text("ca.pem")
    );
    let _leaf = secured(port, "leaf", &tls);
    wait_until("it is refused", || {
        let log = hub.log().to_string();
        log.contains("TLS leafnode handshake error: the peer's certificate is not signed by a CA")
    });
    assert_eq!(hub.get_json("/leafz")["leafnodes"], 0);
}

/// The certificate says which user of leafnodes it is, and so which account.
#[test]
fn a_certificate_is_a_user() {
    let pki = Pki::new(&["hub", "leaf", "other"]);
    let port = free_port();
    let tls = block(&pki, "hub", "verify_and_map: true");
    let more =
        format!("{tls}, authorization {{ users: [ {{ user: \"CN=leaf\", account: SITES }} ] }}");
    let accounts = "accounts { SITES { users [ { user: s, password: s } ] } }";
    let hub = hub(Broker::midge(), port, &more, accounts);
    let _leaf = secured(port, "leaf", &block(&pki, "leaf", ""));
    wait_for_leafs(&hub, 1);
    let leafz = hub.get_json("/leafz");
    assert_eq!(leafz["leafs"][0]["account"], "SITES", "{leafz}");
    let other = secured(port, "other", &block(&pki, "other", ""));
    wait_until("it is refused", || {
        other.log().to_string().contains("Authorization Violation")
    });
}

/// Without users of its own the block maps certificates to users of clients; that of the client port
/// has no say in it.
#[test]
fn a_certificate_is_a_user_of_clients() {
    let pki = Pki::new(&["hub", "leaf", "other"]);
    let users = "accounts { SITES { users [ { user: \"CN=leaf\" }, { user: s, password: s } ] } }";
    let port = free_port();
    let tls = block(&pki, "hub", "verify_and_map: true");
    let mapping = hub(Broker::midge(), port, &tls, users);
    let _leaf = secured(port, "leaf", &block(&pki, "leaf", ""));
    wait_for_leafs(&mapping, 1);
    let leafz = mapping.get_json("/leafz");
    assert_eq!(leafz["leafs"][0]["account"], "SITES", "{leafz}");
    let other = secured(port, "other", &block(&pki, "other", ""));
    wait_until("it is refused", || {
        other.log().to_string().contains("Authorization Violation")
    });
    // A reload does not forget it.
    mapping.reload(&format!(
        "server_name: hub\nmax_payload: 2MB\nleafnodes {{ listen: \"127.0.0.1:{port}\", {tls} }}\n{users}\n"
    ));
    assert_eq!(mapping.get_json("/leafz")["leafs"][0]["account"], "SITES");

    let port = free_port();
    let clients = format!("{users}\n{tls}");
    let plain = hub(Broker::midge(), port, "", &clients);
    let _leaf = super::leaf("leaf", port, "s:s@", "");
    wait_for_leafs(&plain, 1);
}
