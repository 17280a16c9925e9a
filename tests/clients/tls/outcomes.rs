//! The same configurations and clients have the same result at midge and at a real
//! nats-server: who is accepted, and which parameters are negotiated.

use std::time::Duration;

use rustls::{CipherSuite, NamedGroup};

use super::block;
use test_support::{
    Broker,
    pki::{Pki, Term},
    tls_client::Speaker,
};

/// The result for a client: accepted with these parameters, or refused.
type Outcome = Option<&'static str>;

/// Starts both brokers with one configuration and connects clients.
fn both(config: &str, clients: &[(&str, Speaker, Outcome)]) {
    for builder in [Broker::midge(), Broker::nats_server()] {
        let program = builder.program_path().display().to_string();
        let builder = match config.contains("handshake_first") {
            true => builder.without_greeting(),
            false => builder,
        };
        let broker = builder.config(config).start();
        for (name, speaker, expected) in clients {
            let met = speaker.attempt(broker.client_addr());
            let as_expected = match (&met, expected) {
                (Ok(agreed), Some(part)) => format!("{agreed:?}").contains(part),
                (Err(_), None) => true,
                _ => false,
            };
            assert!(as_expected, "{program}: {config}: {name}: {met:?}");
        }
    }
}

fn speaker(pki: &Pki, name: &str) -> Speaker {
    let chain = pki.path(&format!("{name}.pem"));
    Speaker::believing(&pki.path("ca.pem")).showing(&chain, &pki.path(&format!("{name}.key")))
}

#[test]
fn certificates_decide_who_connects() {
    let pki = Pki::new(&["broker", "node"]);
    pki.sign("late", Term::Expired);
    pki.sign("early", Term::NotYet);
    let untrusted_peer = Pki::new(&["node"]);
    let strange = Speaker::believing(&pki.path("ca.pem")).showing(
        &untrusted_peer.path("node.pem"),
        &untrusted_peer.path("node.key"),
    );
    both(
        &block(&pki, "verify: true"),
        &[
            ("1.3", speaker(&pki, "node").tls13(), Some("TLSv1_3")),
            ("1.2", speaker(&pki, "node").tls12(), Some("TLSv1_2")),
            (
                "none 1.3",
                Speaker::believing(&pki.path("ca.pem")).tls13(),
                None,
            ),
            (
                "none 1.2",
                Speaker::believing(&pki.path("ca.pem")).tls12(),
                None,
            ),
            ("expired 1.3", speaker(&pki, "late").tls13(), None),
            ("expired 1.2", speaker(&pki, "late").tls12(), None),
            ("not yet valid", speaker(&pki, "early"), None),
            ("wrong CA", strange, None),
        ],
    );
}

#[test]
fn tls_block_settings_decide_who_connects() {
    let pki = Pki::new(&["broker"]);
    let anybody = || Speaker::believing(&pki.path("ca.pem"));
    both(
        &block(&pki, "min_version: \"1.3\""),
        &[
            ("1.2", anybody().tls12(), None),
            ("1.3", anybody().tls13(), Some("TLSv1_3")),
        ],
    );
    let suites = "cipher_suites: [\"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\"]";
    let (weaker, wanted) = (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    );
    both(
        &block(&pki, suites),
        &[
            ("weaker", anybody().suite(weaker), None),
            (
                "wanted",
                anybody().suite(wanted),
                Some("AES_256_GCM_SHA384"),
            ),
            ("1.3", anybody().tls13(), Some("TLSv1_3")),
        ],
    );
    both(
        &block(&pki, "curve_preferences: [\"CurveP384\"]"),
        &[
            ("X25519", anybody().group(NamedGroup::X25519), None),
            (
                "P-384",
                anybody().group(NamedGroup::secp384r1),
                Some("secp384r1"),
            ),
        ],
    );
    both(
        &block(&pki, "handshake_first: true"),
        &[("first", anybody().first(), Some("TLSv1_3"))],
    );
    both(
        &block(&pki, "handshake_first: auto"),
        &[
            ("first", anybody().first(), Some("TLSv1_3")),
            ("waits for INFO", anybody(), Some("TLSv1_3")),
        ],
    );
}

/// The login timeout starts at the end of the handshake, which may have waited for those
/// of many other clients.
#[test]
fn a_handshake_does_not_count_towards_the_login_timeout() {
    let pki = Pki::new(&["broker"]);
    let users =
        "\nauthorization { timeout: 2, users: [ { user: u, password: p } ] }\nno_auth_user: u\n";
    let late = Speaker::believing(&pki.path("ca.pem")).pausing(Duration::from_secs(3));
    both(
        &(block(&pki, "timeout: 20") + users),
        &[("late", late, Some("TLSv1_3"))],
    );
}

#[test]
fn pinned_keys_decide_who_connects() {
    let pki = Pki::new(&["broker", "node", "other"]);
    pki.openssl("x509 -in node.pem -noout -pubkey -out node.pub", &[]);
    pki.openssl("pkey -pubin -in node.pub -outform DER -out node.der", &[]);
    pki.openssl("dgst -sha256 -r -out node.digest node.der", &[]);
    let digest = std::fs::read_to_string(pki.path("node.digest")).expect("a digest");
    let digest = digest.split_whitespace().next().expect("a digest");
    both(
        &block(&pki, &format!("verify: true, pinned_certs: [\"{digest}\"]")),
        &[
            ("pinned", speaker(&pki, "node"), Some("TLSv1_3")),
            ("not pinned", speaker(&pki, "other"), None),
        ],
    );
}

/// RSA-4096 as in Puppet, other curves, and every file format.
#[test]
fn keys_of_every_kind_work() {
    let pki = Pki::new(&["node"]);
    for (name, command) in [
        ("pkcs8", "genrsa -out pkcs8.key 4096"),
        ("pkcs1", "genrsa -traditional -out pkcs1.key 2048"),
        (
            "sec1",
            "ecparam -name prime256v1 -genkey -noout -out sec1.key",
        ),
        (
            "p384",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key",
        ),
        ("ed25519", "genpkey -algorithm ed25519 -out ed25519.key"),
    ] {
        pki.openssl(command, &[]);
        pki.sign(name, Term::Valid);
        let config = format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
            pki.text(&format!("{name}.pem")),
            pki.text(&format!("{name}.key")),
            pki.text("ca.pem")
        );
        both(
            &config,
            &[
                ("node 1.3", speaker(&pki, "node").tls13(), Some("TLSv1_3")),
                ("node 1.2", speaker(&pki, "node").tls12(), Some("TLSv1_2")),
                ("the same key", speaker(&pki, name), Some("TLSv1_3")),
            ],
        );
    }
}

/// Certificates of an intermediate CA: a client that sends the chain is accepted where
/// the root is trusted; one that does not, where the intermediate is.
#[test]
fn chains_are_followed() {
    let root = Pki::new(&[]);
    let middle = root.below("/CN=Puppet CA: middle", &["broker", "node"]);
    for name in ["broker", "node"] {
        let chain = middle.path(&format!("{name}-chain.pem"));
        Pki::join(
            &[middle.path(&format!("{name}.pem")), middle.path("ca.pem")],
            &chain,
        );
    }
    let bundle = middle.path("bundle.pem");
    Pki::join(&[middle.path("ca.pem"), root.path("ca.pem")], &bundle);
    let config = |ca: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}, verify: true }}",
            middle.text("broker-chain.pem"),
            middle.text("broker.key")
        )
    };
    let believing = || Speaker::believing(&root.path("ca.pem"));
    let chain = believing().showing(&middle.path("node-chain.pem"), &middle.path("node.key"));
    let alone = believing().showing(&middle.path("node.pem"), &middle.path("node.key"));
    both(
        &config(&root.text("ca.pem")),
        &[
            ("with its chain", chain.clone(), Some("TLSv1_3")),
            ("alone", alone.clone(), None),
        ],
    );
    both(
        &config(&middle.text("bundle.pem")),
        &[
            ("with its chain", chain, Some("TLSv1_3")),
            ("alone", alone, Some("TLSv1_3")),
        ],
    );
}

/// The flags alone configure the same broker as the block.
#[test]
fn tls_flags_decide_who_connects() {
    let pki = Pki::new(&["broker", "node"]);
    for builder in [Broker::midge(), Broker::nats_server()] {
        let program = builder.program_path().display().to_string();
        let mut builder = builder.flag("--tlsverify");
        for (flag, file) in [
            ("--tlscert", "broker.pem"),
            ("--tlskey", "broker.key"),
            ("--tlscacert", "ca.pem"),
        ] {
            builder = builder.flag(flag).flag(pki.text(file));
        }
        let broker = builder.start();
        let addr = broker.client_addr();
        let node = speaker(&pki, "node").attempt(addr);
        assert!(node.is_ok(), "{program}: {node:?}");
        let anybody = Speaker::believing(&pki.path("ca.pem"));
        assert!(anybody.attempt(addr).is_err(), "{program}");
    }
    for builder in [Broker::midge(), Broker::nats_server()] {
        let program = builder.program_path().display().to_string();
        let broker = builder
            .flag("--tls")
            .flag("--tlscert")
            .flag(pki.text("broker.pem"))
            .flag("--tlskey")
            .flag(pki.text("broker.key"))
            .start();
        let anybody = Speaker::believing(&pki.path("ca.pem")).attempt(broker.client_addr());
        assert!(anybody.is_ok(), "{program}: {anybody:?}");
    }
}

/// Class "TLS details" (2021-03): the file's TLS settings apply in addition to flags.
#[test]
fn tls_flags_do_not_weaken_the_configuration() {
    let pki = Pki::new(&["broker", "node"]);
    let more = "verify: true, min_version: \"1.3\", cipher_suites: [\"TLS_AES_256_GCM_SHA384\"]";
    let broker = Broker::midge()
        .config(block(&pki, more))
        .flag("--tls")
        .flag("--tlscert")
        .flag(pki.text("broker.pem"))
        .flag("--tlskey")
        .flag(pki.text("broker.key"))
        .start();
    let addr = broker.client_addr();
    let node = speaker(&pki, "node").attempt(addr).expect("gets in");
    assert_eq!(node.suite, "TLS13_AES_256_GCM_SHA384");
    assert!(speaker(&pki, "node").tls12().attempt(addr).is_err());
    let anybody = Speaker::believing(&pki.path("ca.pem"));
    assert!(anybody.attempt(addr).is_err());
}
