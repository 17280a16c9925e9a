//! midge as leafnode of hubs with TLS, without a certificate of its own.

use test_support::{Broker, free_port, pki::Pki, wait_until};

use super::{
    delivery::every_form,
    leaf_with,
    remotes::{HUBS, hub_of, remote, spoke},
    wait_for_leafs,
};

fn hub_tls(pki: &Pki, more: &str) -> String {
    let [cert, key, ca] = ["hub.pem", "hub.key", "ca.pem"].map(|name| pki.text(name));
    format!("tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, {more} }}")
}

fn only_ca(pki: &Pki) -> String {
    format!("tls {{ ca_file: {:?} }}", pki.text("ca.pem"))
}

/// The CA of the hub is all that a leafnode needs, and that may be one that this host trusts.
#[test]
fn a_hub_is_joined_without_a_certificate() {
    let pki = Pki::new(&["hub"]);
    let insecure = "tls { insecure: true }".to_owned();
    for kind in HUBS {
        for first in ["", "handshake_first: true"] {
            let port = free_port();
            let hub = hub_of(kind, port, &hub_tls(&pki, first), "");
            for block in [only_ca(&pki), insecure.clone(), String::new()] {
                let block = match (&*block, first) {
                    // It cannot be known that TLS comes first.
                    ("", "") => block,
                    ("", _) => continue,
                    _ => block.replace(" }", &format!(", {first} }}")),
                };
                let builder = Broker::midge().env("SSL_CERT_FILE", &pki.text("ca.pem"));
                let leaf = leaf_with(builder, "leaf", port, "", &block, "");
                wait_for_leafs(&leaf, 1);
                wait_for_leafs(&hub, 1);
                every_form(&hub, &leaf, "down");
                every_form(&leaf, &hub, "up");
                let leafz = leaf.get_json("/leafz");
                assert_eq!(leafz["leafs"][0]["certname"], "hub", "{leafz}");
                drop(leaf);
                wait_for_leafs(&hub, 0);
            }
        }
    }
}

/// A hub that demands a certificate is not joined without one, and the reason says what to write.
#[test]
fn a_hub_that_demands_a_certificate_is_told() {
    let pki = Pki::new(&["hub"]);
    for kind in HUBS {
        for first in ["", ", handshake_first: true"] {
            let port = free_port();
            let hub = hub_of(
                kind,
                port,
                &hub_tls(&pki, &format!("verify: true{first}")),
                "",
            );
            let block = only_ca(&pki).replace(" }", &format!("{first} }}"));
            let leaf = spoke("leaf", port, "", &block, "");
            let words = "it asks for a certificate: name cert_file and key_file in \"tls\"";
            leaf.log().wait_for(words);
            let remote = remote(&leaf);
            let error = remote["last_error"].as_str().unwrap_or_default();
            assert!(error.contains(words), "{remote}");
            assert_eq!(remote["connects"], 0, "{remote}");
            assert_eq!(hub.get_json("/leafz")["leafnodes"], 0);
        }
    }
}

/// A renewed CA counts for a remote without a certificate as well.
#[test]
fn another_ca_is_read_by_a_remote_without_a_certificate() {
    let (pki, foreign) = (Pki::new(&["hub"]), Pki::new(&[]));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::copy(foreign.path("ca.pem"), &ca).expect("copied");
    let port = free_port();
    let _hub = hub_of(Broker::midge, port, &hub_tls(&pki, ""), "");
    let leaf = spoke("leaf", port, "", &format!("tls {{ ca_file: {ca:?} }}"), "");
    leaf.log()
        .wait_for("TLS handshake error: the peer's certificate is not signed");
    std::fs::copy(pki.path("ca.pem"), &ca).expect("copied");
    wait_until("it is joined", || remote(&leaf)["connected"] == true);
}
