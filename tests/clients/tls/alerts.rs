//! Each result of the verification has one alert, the same as nats-server's, with TLS 1.2
//! and 1.3. The openssl command is the client.

use std::process::{Command, Stdio};

use super::block;
use test_support::{
    Broker, BrokerBuilder,
    pki::{Pki, Term},
    wait_until,
};

/// The number of the alert that `openssl s_client` gets with these arguments.
fn alert(pki: &Pki, broker: &Broker, version: &str, more: &[String]) -> Option<u32> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &broker.client_addr().to_string()])
        .args([version, "-ign_eof", "-CAfile", &pki.text("ca.pem")])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("run openssl");
    let result = String::from_utf8_lossy(&output.stderr).into_owned();
    let number = result
        .lines()
        .find_map(|line| line.split_once("SSL alert number "));
    number.and_then(|(_, number)| number.trim().parse().ok())
}

#[test]
fn each_outcome_has_one_alert() {
    let pki = Pki::new(&["broker"]);
    pki.sign("late", Term::Expired);
    pki.sign("early", Term::NotYet);
    // Of another CA with the same name.
    let double = Pki::new(&["node"]);
    let settings = std::fs::read_to_string(pki.path("ca.cnf")).expect("the settings");
    let settings = settings.replace("serverAuth,clientAuth", "serverAuth");
    std::fs::write(pki.path("server.cnf"), settings).expect("write the settings");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    pki.openssl(
        &format!("req -new {key} -keyout server.key -out server.csr -subj /CN=server"),
        &[],
    );
    pki.openssl(
        "ca -batch -config server.cnf -extensions v3_leaf -in server.csr -out server.pem -days 5",
        &[],
    );
    let shows = |pki: &Pki, name: &str| {
        [
            "-cert",
            &pki.text(&format!("{name}.pem")),
            "-key",
            &pki.text(&format!("{name}.key")),
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let words = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
    // The client's arguments, and the alerts with 1.2 and 1.3.
    let cases: Vec<(&str, Vec<String>, u32, u32)> = vec![
        ("none", vec![], 40, 116),
        ("expired", shows(&pki, "late"), 45, 45),
        ("not yet valid", shows(&pki, "early"), 45, 45),
        (
            "another CA of the same name",
            shows(&double, "node"),
            48,
            48,
        ),
        ("not for clients", shows(&pki, "server"), 42, 42),
        (
            "no way of signing in common",
            words("-sigalgs RSA-PSS+SHA256"),
            40,
            40,
        ),
    ];
    let config = block(&pki, "verify: true, handshake_first: true");
    for builder in [Broker::midge(), Broker::nats_server()] {
        let program = builder.program_path();
        let broker = builder.without_greeting().config(config.clone()).start();
        for (name, more, at_12, at_13) in &cases {
            for (version, expected) in [("-tls1_2", at_12), ("-tls1_3", at_13)] {
                let met = alert(&pki, &broker, version, more);
                assert_eq!(met, Some(*expected), "{program:?} {version}: {name}");
            }
        }
        if program != BrokerBuilder::program_path(&Broker::midge()) {
            continue;
        }
        // The log names the reasons.
        for words in [
            "CN=node, signed by CN=",
            "it is not for clients",
            "no way of signing",
        ] {
            // Log lines are limited per second: the last handshakes are repeated.
            wait_until(words, || {
                for (_, more, ..) in &cases[3..] {
                    alert(&pki, &broker, "-tls1_3", more);
                }
                broker.log().so_far().already_has(words)
            });
        }
        for identifier in ["InCommon", "UnknownIssuer", "Presented", "BadEncoding"] {
            broker.log().assert_lacks(identifier);
        }
    }
}

/// A version 1 certificate is explained in the log and in the finding.
#[test]
fn a_version_1_certificate_is_reported_as_such() {
    let pki = Pki::new(&["broker", "old"]);
    pki.make_version_1("old");
    let config = block(&pki, "verify: true, handshake_first: true");
    let broker = Broker::midge().without_greeting().config(config).start();
    let (cert, key) = (pki.text("old.pem"), pki.text("old.key"));
    let more = ["-cert", &cert, "-key", &key].map(str::to_owned);
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(alert(&pki, &broker, version, &more), Some(42), "{version}");
    }
    broker.log().wait_for("X.509 version 1");
    broker.log().wait_for("CN=old");
}

/// A serial number identifies a revoked certificate of one CA only: a certificate with
/// the same serial from another CA with the same name is untrusted instead.
#[test]
fn a_listed_serial_of_an_unknown_ca_is_untrusted_not_revoked() {
    let pki = Pki::new(&["broker", "gone"]);
    let double = Pki::new(&["other", "node"]);
    pki.revoke("gone");
    let crl = pki.text("crl.pem");
    let config = block(
        &pki,
        &format!("verify: true, handshake_first: true, crl_file: {crl:?}"),
    );
    let broker = Broker::midge().without_greeting().config(config).start();
    for (whose, name, expected) in [(&double, "node", 48), (&pki, "gone", 44)] {
        let (cert, key) = (
            whose.text(&format!("{name}.pem")),
            whose.text(&format!("{name}.key")),
        );
        let more = ["-cert", &cert, "-key", &key].map(str::to_owned);
        for version in ["-tls1_2", "-tls1_3"] {
            let met = alert(&pki, &broker, version, &more);
            assert_eq!(met, Some(expected), "{name} {version}");
        }
    }
    broker.log().wait_for("CN=node, signed by CN=");
}
