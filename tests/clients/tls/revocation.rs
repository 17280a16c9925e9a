//! CRLs, which only midge supports: chains of CRLs, missing and expired ones, and
//! certificates that expire or are revoked while their clients are connected.

use std::{io::Read, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::block;
use test_support::{
    Broker, PATIENCE,
    pki::{Pki, Term},
    tls_client::Speaker,
    wait_until,
};

/// A root, an intermediate CA and their files in the layout of `puppetserver ca`: one
/// bundle of CAs and one of CRLs, the intermediate's first.
struct Chain {
    root: Pki,
    middle: Pki,
}

impl Chain {
    fn new() -> Self {
        let root = Pki::new(&[]);
        let middle = root.below("/CN=Puppet CA: middle", &["broker", "good", "bad"]);
        let chain = Self { root, middle };
        let cas = [chain.middle.path("ca.pem"), chain.root.path("ca.pem")];
        Pki::join(&cas, &chain.middle.path("bundle.pem"));
        chain.join_crls();
        for name in ["broker", "good", "bad"] {
            let files = [
                chain.middle.path(&format!("{name}.pem")),
                chain.middle.path("ca.pem"),
            ];
            Pki::join(&files, &chain.middle.path(&format!("{name}-chain.pem")));
        }
        chain
    }

    fn join_crls(&self) {
        let crls = [self.middle.path("crl.pem"), self.root.path("crl.pem")];
        Pki::join(&crls, &self.middle.path("crls.pem"));
    }

    fn block(&self, ca: &Path, crl: &str) -> String {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}, crl_file: {:?}, verify: true }}",
            self.middle.text("broker-chain.pem"),
            self.middle.text("broker.key"),
            self.middle.text(crl)
        )
    }

    fn speaker(&self, name: &str) -> Speaker {
        let chain = self.middle.path(&format!("{name}-chain.pem"));
        let key = self.middle.path(&format!("{name}.key"));
        Speaker::believing(&self.root.path("ca.pem")).showing(&chain, &key)
    }
}

/// Both layouts: the bundle is trusted, or the root alone.
#[test]
fn every_crl_of_a_chain_is_checked() {
    for root_alone in [false, true] {
        let chain = Chain::new();
        let ca = match root_alone {
            true => chain.root.path("ca.pem"),
            false => chain.middle.path("bundle.pem"),
        };
        let broker = Broker::midge().config(chain.block(&ca, "crls.pem")).start();
        let addr = broker.client_addr();
        let attempt = |name: &str| chain.speaker(name).attempt(addr);
        for name in ["good", "bad"] {
            attempt(name).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
        let (mut kept, _) = chain.speaker("good").connect(addr).expect("gets in");

        // The intermediate CA revokes a node.
        chain.middle.revoke("bad");
        chain.join_crls();
        wait_until("the node is revoked", || attempt("bad").is_err());
        attempt("good").expect("another node gets in");

        // The root revokes the intermediate CA, and so all of its nodes.
        let certificate = chain.middle.text("ca.pem");
        chain
            .root
            .openssl("ca -batch -config ca.cnf -revoke", &[&certificate]);
        chain.root.write_crl();
        chain.join_crls();
        wait_until("the CA is revoked", || attempt("good").is_err());
        let mut rest = Vec::new();
        // With or without a TLS close_notify.
        let _ = kept.read_to_end(&mut rest);
        let closed = broker.get_json("/connz?state=closed");
        let closed = closed["connections"].as_array().expect("a list");
        assert!(
            closed.iter().any(|c| c["reason"] == "Certificate Revoked"),
            "{closed:?}"
        );
    }
}

/// The CRL of one CA of a chain is missing: dependent certificates are refused, and the
/// log names the missing CRL.
#[test]
fn a_missing_crl_is_named() {
    let chain = Chain::new();
    let ca = chain.root.path("ca.pem");
    // Only the root's.
    Pki::join(&[chain.root.path("crl.pem")], &chain.middle.path("one.pem"));
    let broker = Broker::midge().config(chain.block(&ca, "one.pem")).start();
    assert!(chain.speaker("good").attempt(broker.client_addr()).is_err());
    broker.log().wait_for("no CRL in crl_file");
    wait_until("it is counted", || {
        let failed = &broker.get_json("/varz")["tls"]["failed"];
        failed["no_crl"].as_u64() >= Some(1)
    });
}

/// Inconsistent files are reported when loaded in the log, a finding, and in `/varz`,
/// with the file, the CA and the remedy; nothing is reported for a complete chain.
#[test]
fn a_missing_crl_and_a_revoked_ca_are_reported_when_loaded() {
    for root_alone in [false, true] {
        let chain = Chain::new();
        let ca = match root_alone {
            true => chain.root.path("ca.pem"),
            false => chain.middle.path("bundle.pem"),
        };
        let bundle = chain.middle.path("crls.pem");
        let broker = Broker::midge().config(chain.block(&ca, "crls.pem")).start();
        let gaps = || broker.get_json("/varz")["tls"]["gaps"].clone();
        assert!(gaps().is_null(), "{}", gaps());
        let is_reported = |what: &str| {
            wait_until(&format!("{what:?} is a finding"), || {
                let explained = broker.get_json("/explainz");
                let findings = explained["findings"].as_array().expect("findings");
                findings.iter().any(|finding| {
                    finding["code"] == "tls-gaps"
                        && finding["severity"] == "critical"
                        && finding["subject"] == bundle.display().to_string()
                        && finding["text"]
                            .as_str()
                            .is_some_and(|text| text.contains(what))
                })
            });
            let gaps = gaps();
            assert!(gaps[0]["critical"] == true, "{gaps}");
            broker.log().wait_for(what);
        };

        // The CRL of the CA that signs the nodes is missing.
        Pki::join(&[chain.root.path("crl.pem")], &bundle);
        let what = "no CRL of the CA CN=Puppet CA: middle is in crl_file";
        is_reported(what);
        let why = chain.speaker("good").attempt(broker.client_addr());
        assert!(why.is_err(), "{why:?}");
        broker
            .log()
            .wait_for("CN=good, signed by CN=Puppet CA: middle");

        // The CA itself is revoked: that is reported differently from a revoked node.
        let certificate = chain.middle.text("ca.pem");
        chain
            .root
            .openssl("ca -batch -config ca.cnf -revoke", &[&certificate]);
        chain.root.write_crl();
        chain.join_crls();
        is_reported("the CA CN=Puppet CA: middle is itself revoked");
        let why = chain.speaker("good").attempt(broker.client_addr());
        assert!(why.is_err(), "{why:?}");
        broker
            .log()
            .wait_for("the CA of the peer's certificate is revoked, CN=Puppet CA: middle: CN=good");
    }
}

/// Unusable CRLs, without a number and with one that is too long, are refused with an
/// explanation, the file and the CA: when they change, and at a start.
#[test]
fn unusable_crls_are_named() {
    for (number, why) in [("", "has a number"), ("7F", "longer than 20 bytes")] {
        let pki = Pki::new(&["broker"]);
        let more = format!("verify: true, crl_file: {:?}", pki.text("crl.pem"));
        let broker = Broker::midge().config(block(&pki, &more)).start();
        let settings = std::fs::read_to_string(pki.path("ca.cnf")).expect("the settings");
        let lines = settings.lines();
        let lines = lines.filter(|line| !number.is_empty() || !line.starts_with("crl"));
        let settings: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(pki.path("ca.cnf"), settings).expect("write the settings");
        let digits = format!("{}\n", number.repeat(21));
        std::fs::write(pki.path("crlnumber"), digits).expect("write the number");
        pki.write_crl();
        let refused = || broker.get_json("/varz")["tls"]["refused_files"].clone();
        wait_until("it is refused", || refused().is_string());
        let text = refused();
        for part in ["crl.pem", "CN=Puppet CA: test", why, "let the CA make"] {
            assert!(
                text.as_str().is_some_and(|text| text.contains(part)),
                "{part}: {text}"
            );
        }
        wait_until("it is a finding", || {
            broker.get("/explainz").body.contains(why)
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("broker.conf");
        std::fs::write(&file, block(&pki, &more)).expect("write the configuration");
        let output = std::process::Command::new(Broker::midge().program_path())
            .args(["-t", "-c"])
            .arg(&file)
            .output()
            .expect("run midge -t");
        let result = [output.stderr, output.stdout].concat();
        let result = String::from_utf8_lossy(&result);
        assert!(!output.status.success(), "{result}");
        assert!(
            result.contains(why) && result.contains("crl.pem"),
            "{result}"
        );
    }
}

#[test]
fn an_expired_crl_refuses_or_warns() {
    let pki = Pki::new(&["broker", "node", "bad"]);
    pki.revoke("bad");
    pki.openssl(
        "ca -gencrl -config ca.cnf -crl_lastupdate 20200101000000Z \
         -crl_nextupdate 20210101000000Z -out crl.pem",
        &[],
    );
    let speaker = |name: &str| {
        let (chain, key) = (format!("{name}.pem"), format!("{name}.key"));
        Speaker::believing(&pki.path("ca.pem")).showing(&pki.path(&chain), &pki.path(&key))
    };
    for (setting, gets_in) in [("reject", false), ("warn", true)] {
        let more = format!(
            "verify: true, crl_file: {:?}, crl_expired: {setting}",
            pki.text("crl.pem")
        );
        let broker = Broker::midge().config(block(&pki, &more)).start();
        let node = speaker("node").attempt(broker.client_addr());
        assert_eq!(node.is_ok(), gets_in, "{setting}: {node:?}");
        assert!(
            speaker("bad").attempt(broker.client_addr()).is_err(),
            "{setting}"
        );
        broker
            .log()
            .wait_for("the CRL of CN=Puppet CA: test expired on 2021");
    }
}

/// A client whose certificate expires while it is connected stays, as in nats-server, but
/// cannot reconnect.
#[test]
fn a_certificate_that_expires_keeps_its_connection() {
    let pki = Pki::new(&["broker"]);
    pki.sign("node", Term::Seconds(6));
    let speaker = Speaker::believing(&pki.path("ca.pem"))
        .showing(&pki.path("node.pem"), &pki.path("node.key"));
    for builder in [Broker::midge(), Broker::nats_server()] {
        pki.sign("node", Term::Seconds(6));
        let speaker = Speaker::believing(&pki.path("ca.pem"))
            .showing(&pki.path("node.pem"), &pki.path("node.key"));
        let broker = builder.config(block(&pki, "verify: true")).start();
        let (mut kept, _) = speaker.connect(broker.client_addr()).expect("gets in");
        wait_until("the certificate has expired", || {
            speaker.attempt(broker.client_addr()).is_err()
        });
        kept.sock.set_read_timeout(Some(PATIENCE)).expect("a bound");
        std::io::Write::write_all(&mut kept, b"CONNECT {\"verbose\":false}\r\nPING\r\n")
            .expect("write");
        let mut received = Vec::new();
        while !received.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            kept.read_exact(&mut byte).expect("is still served");
            received.push(byte[0]);
        }
    }
    drop(speaker);
}

/// An accepted client resumes its session without new signatures as long as its
/// certificate is valid: not after it has expired, and not after the files have changed.
#[test]
fn sessions_resume_only_with_valid_certificates() {
    for tls12 in [false, true] {
        let pki = Pki::new(&["broker", "good", "bad"]);
        pki.sign("short", Term::Seconds(7));
        let speaker = |name: &str| {
            let (chain, key) = (format!("{name}.pem"), format!("{name}.key"));
            let speaker =
                Speaker::believing(&pki.path("ca.pem")).showing(&pki.path(&chain), &pki.path(&key));
            match tls12 {
                true => speaker.tls12().resuming(),
                false => speaker.resuming(),
            }
        };
        let more = format!("verify: true, crl_file: {:?}", pki.text("crl.pem"));
        let broker = Broker::midge().config(block(&pki, &more)).start();
        let attempt = |speaker: &Speaker| speaker.attempt(broker.client_addr());
        let speakers = ["good", "bad", "short"].map(speaker);
        let [good, bad, short] = &speakers;
        for (resumed, speaker) in speakers.iter().flat_map(|one| [(false, one), (true, one)]) {
            let agreed = attempt(speaker).expect("gets in");
            assert_eq!(agreed.resumed, resumed, "{agreed:?}");
        }
        let counted = &broker.get_json("/varz")["tls"];
        assert_eq!(counted["resumed"], 3, "{counted}");

        // Its CRLs are those from the start of the session: only the check of the
        // certificate can refuse it.
        wait_until("the certificate has expired", || attempt(short).is_err());
        broker.log().wait_for_line(&["expired", "CN=short"]);
        // Its ticket is refused with a reason, and others resume with theirs.
        let why = attempt(short).expect_err("is refused");
        assert!(why.to_lowercase().contains("expired"), "{why}");
        assert!(attempt(good).expect("gets in").resumed);

        pki.revoke("bad");
        broker.signal(libc::SIGHUP);
        wait_until("the CRL is in force", || attempt(bad).is_err());
        attempt(good).expect("gets in");
    }
}

/// The same for a certificate whose DER is so short that its length takes one byte.
#[test]
fn sessions_of_short_certificates_expire_with_them() {
    let pki = Pki::new(&["broker"]);
    pki.openssl(
        "req -x509 -newkey ed25519 -nodes -days 9 -keyout small.key -out small.pem -subj /CN=c \
         -config ca.cnf -extensions v3_ca",
        &[],
    );
    let small = Pki::of(&pki.path("small.pem"), &pki.path("small.key"));
    let settings = std::fs::read_to_string(small.path("ca.cnf")).expect("the settings");
    let (settings, _) = settings.split_once("[v3_leaf]").expect("extensions");
    let settings = format!(
        "{settings}[v3_leaf]\nkeyUsage = digitalSignature\n\
         subjectKeyIdentifier = none\nauthorityKeyIdentifier = none\n"
    );
    std::fs::write(small.path("ca.cnf"), settings).expect("write the settings");
    Pki::join(
        &[pki.path("ca.pem"), small.path("ca.pem")],
        &pki.path("cas.pem"),
    );
    let config = block(&pki, "verify: true").replace("ca.pem", "cas.pem");
    let broker = Broker::midge().config(config).start();
    for (name, tls12) in [("a", false), ("b", true)] {
        small.openssl(&format!("genpkey -algorithm ed25519 -out {name}.key"), &[]);
        small.sign(name, Term::Seconds(6));
        let [chain, key] = ["pem", "key"].map(|end| small.path(&format!("{name}.{end}")));
        let der = CertificateDer::from_pem_file(&chain).expect("a certificate");
        assert!(der.starts_with(&[0x30, 0x81]), "{} bytes", der.len());
        let speaker = Speaker::believing(&pki.path("ca.pem")).showing(&chain, &key);
        let speaker = match tls12 {
            true => speaker.tls12().resuming(),
            false => speaker.resuming(),
        };
        let attempt = || speaker.attempt(broker.client_addr());
        assert!(!attempt().expect("gets in").resumed);
        assert!(attempt().expect("gets in").resumed);
        wait_until("the certificate has expired", || attempt().is_err());
        // The alert shows that the ticket itself was refused.
        let why = attempt().expect_err("is refused");
        assert!(why.to_lowercase().contains("expired"), "{why}");
    }
}
