//! A broker with `tls { puppet: true }` is checked with `--puppet` and nothing else.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::plugin::{judge, mode};
use test_support::{Broker, free_port, pki::Pki};

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

/// Host, port, TLS, the files and the name in the certificate: the two places that are given
/// would be the defaults of the only broker on a host with an agent.
#[test]
fn puppet_is_all_that_is_given() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", CERTNAME);
    let ssl = TempDir::new().expect("a folder");
    ssl_dir(&pki, ssl.path());
    let broker = start(ssl.path());
    let (url, folder) = (broker.monitor_url(), ssl.path().display().to_string());
    for name in ["health", "connect", "roundtrip", "lameduck"] {
        let puppet = ["-u", &url, "--puppet", "--ssldir", &folder];
        let result = judge(&[&puppet[..], &mode(name)].concat());
        assert_eq!(result.code, 0, "{result:?}");
    }
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
        judge(
            &[
                &["-u", &url, "--puppet", "--ssldir", &folder][..],
                &mode("connect"),
            ]
            .concat(),
        )
    };
    connect().expect(0, "rtt");

    // Revoked: all clients with the CRL refuse this broker.
    pki.revoke("broker");
    fs::copy(pki.path("crl.pem"), ssl.path().join("crl.pem")).expect("copy");
    connect().expect(2, "certificate \"CN=broker\" is revoked");
    // An agent of Puppet 5 may have no CRL.
    fs::remove_file(ssl.path().join("crl.pem")).expect("remove");
    let key = format!("private_keys/{CERTNAME}.pem");
    fs::remove_file(ssl.path().join(&key)).expect("remove");
    connect().expect(3, &key);
    judge(&["-u", &url, "--puppet", "--ssldir", "/nowhere"]).expect(3, "no ssldir of Puppet");
}

/// The same files are for a monitoring port with https.
#[test]
fn puppets_files_are_for_https_too() {
    let pki = Pki::new(&[]);
    pki.sign_for("broker", &format!("localhost,DNS:{CERTNAME}"));
    let ssl = TempDir::new().expect("a folder");
    ssl_dir(&pki, ssl.path());
    let (folder, port) = (ssl.path().display().to_string(), free_port());
    let config = format!("https: \"127.0.0.1:{port}\"\ntls {{ puppet: true, ssldir: {folder:?} }}");
    let _broker = Broker::midge().without_monitoring().config(config).start();
    let url = format!("https://localhost:{port}");
    let puppet = ["-u", &url, "--puppet", "--ssldir", &folder];
    judge(&[&puppet[..], &mode("health")].concat()).expect(0, "0 slow consumers");
    judge(&["-u", &url, "--mode", "connections"]).expect(3, "--cacert");
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
