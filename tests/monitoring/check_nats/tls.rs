//! Client ports with TLS: midge and both nats-servers.

use super::plugin::{PluginOutput, brokers, check};
use test_support::{
    Broker, BrokerBuilder,
    pki::{Pki, Term},
};

/// Modes that open the client port.
const MODES: [&[&str]; 4] = [
    &[],
    &["--mode", "connect"],
    &["--mode", "roundtrip"],
    &["--mode", "lameduck"],
];

/// The block `tls` with a certificate of the broker.
fn block(pki: &Pki, name: &str, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}\n{more} }}\n",
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key")),
        pki.text("ca.pem")
    )
}

/// Runs a mode with the CA and, if it has a name, a certificate of the check.
fn check_with(broker: &Broker, pki: &Pki, name: &str, more: &[&str]) -> PluginOutput {
    let (ca, certificate, key) = (
        pki.text("ca.pem"),
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key")),
    );
    let mut arguments = vec!["--cacert", &ca];
    if !name.is_empty() {
        arguments.extend(["--cert", &certificate, "--key", &key]);
    }
    arguments.extend(more);
    check(broker, &arguments)
}

/// TLS begins by itself where the broker requires it, with the check's certificate where it asks
/// for one.
#[test]
fn every_mode_works_with_tls() {
    let pki = Pki::new(&["broker", "nagios"]);
    for verify in ["verify: false", "verify: true"] {
        for builder in brokers() {
            let broker = builder.config(block(&pki, "broker", verify)).start();
            for mode in MODES {
                let result = check_with(&broker, &pki, "nagios", mode);
                assert_eq!(result.code, 0, "{result:?}");
            }
            let named = check_with(&broker, &pki, "nagios", &["--mode", "connect"]);
            assert_ne!(named.value("connect_time"), "U");
        }
    }
}

#[test]
fn tls_begins_before_info_if_asked_to() {
    let pki = Pki::new(&["broker", "nagios"]);
    for builder in [Broker::midge(), Broker::nats_server()] {
        let tls = block(&pki, "broker", "verify: true, handshake_first: true");
        let broker = builder.config(tls).without_greeting().start();
        for mode in MODES {
            let result = check_with(&broker, &pki, "nagios", &[mode, &["--tls-first"]].concat());
            assert_eq!(result.code, 0, "{result:?}");
        }
        check_with(&broker, &pki, "nagios", &["--mode", "connect", "-t", "5"])
            .expect(2, "needs --tls-first");
        check_with(&broker, &pki, "", &["--mode", "connect", "--tls-first"]).expect(
            3,
            "requires a client certificate: give --cert and --key, or --puppet",
        );
        let cert = [
            "--mode",
            "cert",
            "--tls-first",
            "-w",
            "0:",
            "--ca-warning",
            "0:",
        ];
        check_with(&broker, &pki, "", &cert).expect(0, "certificate");
    }
    let plain = Broker::nats_server().start();
    check_with(&plain, &pki, "", &["--mode", "connect", "--tls-first"])
        .expect(3, "give --tls in place of --tls-first");
}

/// A broker that must have TLS and has none is critical, and gets no login; one that offers it is
/// used with and without it.
#[test]
fn tls_can_be_required() {
    let pki = Pki::new(&["broker"]);
    for builder in brokers() {
        let broker = builder.start();
        for option in ["--tls", "-H=tls://127.0.0.1"] {
            check_with(&broker, &pki, "", &["--mode", "connect", option])
                .expect(2, "has no TLS, but it must have");
        }
    }
    for builder in brokers() {
        let offers = format!("{}allow_non_tls: true\n", block(&pki, "broker", ""));
        let broker = builder.config(offers).start();
        for (option, scheme) in [("-vv", "asked nats://"), ("--tls", "asked tls://")] {
            let result = check_with(&broker, &pki, "", &["--mode", "connect", "-vv", option]);
            result.expect(0, "rtt");
            assert!(result.output.contains(scheme), "{result:?}");
        }
        let other = Pki::new(&[]);
        check_with(&broker, &other, "", &["--mode", "connect"]).expect(0, "rtt");
        check_with(&broker, &other, "", &["--mode", "connect", "--tls"])
            .expect(2, "is not signed by a CA of");
    }
}

/// A certificate that keeps clients out is critical.
#[test]
fn a_certificate_that_is_not_valid_is_critical() {
    let pki = Pki::new(&["gone"]);
    pki.sign("old", Term::Expired);
    pki.sign("early", Term::NotYet);
    pki.sign_for("other", "broker.example.org");
    pki.revoke("gone");
    let start = |name: &str| Broker::nats_server().config(block(&pki, name, "")).start();
    let connect = ["--mode", "connect"];
    let expired = start("old");
    check_with(&expired, &pki, "", &connect)
        .expect(2, "certificate \"CN=old\" expired on 2021-01-01");
    check_with(&expired, &pki, "", &["--mode", "roundtrip", "--insecure"])
        .expect(0, "message back");
    check_with(&start("early"), &pki, "", &connect)
        .expect(2, "certificate \"CN=early\" is not valid before 2098-01-01");

    let revoked = start("gone");
    let crl = pki.text("crl.pem");
    check_with(&revoked, &pki, "", &["--mode", "connect", "--crl", &crl])
        .expect(2, "certificate \"CN=gone\" is revoked");
    check_with(&revoked, &pki, "", &connect).expect(0, "rtt");
    check_with(&revoked, &Pki::new(&[]), "", &connect).expect(2, "is not signed by a CA of /");

    let named = start("other");
    let url = named.monitor_url();
    let port = named.client_addr().port();
    let at = |host: &str, more: &[&str]| {
        let (ca, address) = (pki.text("ca.pem"), format!("{host}:{port}"));
        let arguments = [
            "-H", &address, "-u", &url, "--cacert", &ca, "--mode", "connect",
        ];
        super::plugin::judge(&[&arguments[..], more].concat())
    };
    // An address may just be what the check was given; another name given is a fault.
    at("127.0.0.1", &[]).expect(3, "is for \"broker.example.org\", not for \"127.0.0.1\"");
    at("127.0.0.1", &["--tls-server-name", "other.example.org"]).expect(2, "is for \"broker.exa");
    at("127.0.0.1", &["--tls-server-name", "broker.example.org"]).expect(0, "rtt");
    at("127.0.0.1", &["--tls-server-name", "no name!"]).expect(3, "no certificate can have");
}

/// Without a CA those of the system decide; a foreign one is not yet a fault of the broker.
#[test]
fn an_unknown_ca_is_unknown_until_one_is_given() {
    let pki = Pki::new(&["broker"]);
    let broker = Broker::midge().config(block(&pki, "broker", "")).start();
    check(&broker, &["--mode", "connect"]).expect(3, "give --cacert FILE, or --puppet");
    check(&broker, &["--mode", "connect", "-k"]).expect(0, "rtt");
    check(&broker, &[]).expect(3, "0 connections");
}

/// The check's own certificate is missing or refused: the broker may serve.
#[test]
fn a_refused_certificate_of_the_check_is_unknown() {
    let pki = Pki::new(&["broker", "gone"]);
    pki.sign("old", Term::Expired);
    pki.revoke("gone");
    let other = Pki::new(&["broker", "nagios"]);
    let connect = ["--mode", "connect"];
    for (builder, crl) in [
        (
            Broker::midge(),
            format!("verify: true, crl_file: {:?}", pki.text("crl.pem")),
        ),
        (Broker::nats_server(), "verify: true".to_owned()),
        (Broker::nats_server_29(), "verify: true".to_owned()),
    ] {
        let has_crl = crl.contains("crl_file");
        let broker = builder.config(block(&pki, "broker", &crl)).start();
        check_with(&broker, &pki, "", &connect).expect(
            3,
            "requires a client certificate: give --cert and --key, or --puppet",
        );
        let refused = |name: &str, of: &Pki| {
            let (certificate, key) = (
                of.text(&format!("{name}.pem")),
                of.text(&format!("{name}.key")),
            );
            let own = ["--cert", &certificate, "--key", &key];
            check_with(&broker, &pki, "", &[&connect[..], &own].concat()).expect(
                3,
                &format!("the broker refuses the certificate {certificate}"),
            );
        };
        refused("old", &pki);
        refused("nagios", &other);
        if has_crl {
            refused("gone", &pki);
        }
    }
}

/// Files that cannot be used are named.
#[test]
fn unusable_files_are_unknown() {
    let pki = Pki::new(&["broker", "nagios", "other"]);
    let broker = Broker::nats_server()
        .config(block(&pki, "broker", ""))
        .start();
    let (ca, certificate) = (pki.text("ca.pem"), pki.text("nagios.pem"));
    let (key, other_key) = (pki.text("nagios.key"), pki.text("other.key"));
    for (arguments, words) in [
        (&["--cacert", "/no/such"][..], "/no/such: "),
        (&["--cacert", &key], "no certificate in it"),
        (&["--cacert", "/dev/zero"], "/dev/zero: not a regular file"),
        (&["--cacert", &ca, "--crl", &ca], "no CRL in it"),
        (
            &["--cacert", &ca, "--cert", &certificate, "--key", &other_key],
            "this key does not belong to the certificate",
        ),
    ] {
        check(&broker, &[&["--mode", "connect"], arguments].concat()).expect(3, words);
    }
}
