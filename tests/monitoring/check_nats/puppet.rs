//! A broker with `tls { puppet: true }` is checked with `--puppet` and nothing else.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::plugin::{judge, judge_with};
use test_support::{Broker, pki::Pki};

const CERTNAME: &str = "broker.example.org";

/// An agent's folder `ssl` with the files of one host.
fn ssl_dir(pki: &Pki, folder: &Path) {
    for (from, to) in [
        ("broker.pem", format!("certs/{CERTNAME}.pem")),
        ("broker.key", format!("private_keys/{CERTNAME}.pem")),
        ("ca.pem", "certs/ca.pem".to_owned()),
        ("crl.pem", "crl.pem".to_owned()),
    ] {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
        fs::copy(pki.path(from), to).expect("copy");
    }
}

fn start(folder: &Path) -> Broker {
    let config = format!(
        "tls {{ puppet: true, ssldir: {:?} }}",
        folder.display().to_string()
    );
    Broker::midge().config(config).start()
}

/// Host, port, TLS, the files and the name in the certificate: nothing has to be given but where
/// the monitoring port is, which the default would be without other brokers on this host.
#[test]
fn puppet_is_all_that_is_given() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", CERTNAME);
    let home = TempDir::new().expect("a folder");
    let ssl = home.path().join(".puppetlabs/etc/puppet/ssl");
    ssl_dir(&pki, &ssl);
    let broker = start(&ssl);
    let (url, folder) = (broker.monitor_url(), ssl.display().to_string());
    for mode in ["health", "connect", "roundtrip", "lameduck"] {
        let named = ["-u", &url, "--mode", mode, "--puppet", "--ssldir", &folder];
        assert_eq!(judge(&named).code, 0, "{mode}: {:?}", judge(&named));
    }
    // Found in the home of the agent's user, where this host has no agent of its own.
    let environment = [("HOME", home.path().to_str().expect("a readable path"))];
    let here = [
        "/etc/puppetlabs/puppet/ssl",
        "/var/lib/puppet/ssl",
        "/etc/puppet/ssl",
    ];
    assert!(
        !here
            .iter()
            .any(|folder| Path::new(folder).join("certs").exists()),
        "this test needs a host without a Puppet agent"
    );
    judge_with(&environment, &["-u", &url, "--puppet"]).expect(0, "0 connections");
    judge_with(&[("HOME", "/nowhere")], &["-u", &url, "--puppet"])
        .expect(3, "--puppet: puppet: no ssldir of Puppet found")
        .expect(3, "0 connections");
}

#[test]
fn what_is_wrong_with_puppets_files_is_named() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", CERTNAME);
    let ssl = TempDir::new().expect("a folder");
    ssl_dir(&pki, ssl.path());
    let broker = start(ssl.path());
    let (url, folder) = (broker.monitor_url(), ssl.path().display().to_string());
    let connect = || {
        judge(&[
            "-u", &url, "--mode", "connect", "--puppet", "--ssldir", &folder,
        ])
    };
    connect().expect(0, "rtt");

    // Revoked: all clients with the CRL refuse this broker.
    pki.revoke("broker");
    fs::copy(pki.path("crl.pem"), ssl.path().join("crl.pem")).expect("copy");
    connect().expect(2, &format!("certificate \"CN=broker\" is revoked"));
    // An agent of Puppet 5 may have no CRL.
    fs::remove_file(ssl.path().join("crl.pem")).expect("remove");
    let key = format!("private_keys/{CERTNAME}.pem");
    fs::remove_file(ssl.path().join(&key)).expect("remove");
    connect().expect(3, &key);
    judge(&["-u", &url, "--puppet", "--ssldir", "/nowhere"]).expect(3, "no ssldir of Puppet");
}

/// A broker that lost its TLS is noticed, since `--puppet` says that it must have it.
#[test]
fn a_broker_without_tls_is_critical() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", CERTNAME);
    let ssl = TempDir::new().expect("a folder");
    ssl_dir(&pki, ssl.path());
    let folder = ssl.path().display().to_string();
    let plain = Broker::midge().start();
    judge(&["-u", &plain.monitor_url(), "--puppet", "--ssldir", &folder])
        .expect(2, "has no TLS, but it must have");
}
