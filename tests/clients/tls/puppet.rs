//! The files of a real Puppet CA, made by `puppetserver ca`: an intermediate CA under a
//! root, one bundle of both, and their CRLs in one file.
//!
//! Revoking needs a running Puppet server; the tests revoke with the CA's key instead.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::clients::Libraries;
use test_support::{Broker, pki::Pki, tls_client::Speaker, wait_until};

/// A Puppet CA on the broker's host, and certificates of nodes.
struct Puppet(tempfile::TempDir);

impl Puppet {
    fn new(nodes: &[&str]) -> Self {
        let puppet = Self(tempfile::tempdir().expect("a folder"));
        let folder = puppet.0.path().display();
        let settings = format!(
            "[main]\ncertname = broker.example.org\nserver = localhost\nconfdir = {folder}\n\
             vardir = {folder}/var\nssldir = {folder}/ssl\ncadir = {folder}/ca\n"
        );
        fs::write(puppet.path("puppet.conf"), settings).expect("write the settings");
        puppet.ca(&["setup", "--subject-alt-names", "localhost"]);
        for node in nodes {
            puppet.ca(&["generate", "--ca-client", "--force", "--certname", node]);
            // To the node's own host.
            for kind in ["certs", "private_keys"] {
                let there = puppet.path(&format!("{node}/{kind}.pem"));
                fs::create_dir_all(there.parent().expect("a folder")).expect("a folder");
                let here = puppet.path(&format!("ssl/{kind}/{node}.pem"));
                fs::rename(here, there).expect("bring it to the node");
            }
        }
        puppet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Certificate and key of a node.
    fn files(&self, node: &str) -> [PathBuf; 2] {
        ["certs", "private_keys"].map(|kind| self.path(&format!("{node}/{kind}.pem")))
    }

    /// Runs `puppetserver ca`.
    fn ca(&self, arguments: &[&str]) {
        let run = "require 'puppetserver/ca/cli'; exit Puppetserver::Ca::Cli.run(ARGV)";
        let output = Command::new("ruby")
            .args(["-e", run, "--"])
            .args(arguments)
            .arg("--config")
            .arg(self.path("puppet.conf"))
            .output();
        let output = output.expect("ruby; apt-get install ruby-puppetserver-ca-cli");
        let reported =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "puppetserver ca {arguments:?} (apt-get install ruby-puppetserver-ca-cli): {reported}"
        );
    }

    /// Revokes a node and copies the CRLs to the agent's directory.
    fn revoke(&self, node: &str) {
        let pki = Pki::of(&self.path("ca/ca_crt.pem"), &self.path("ca/ca_key.pem"));
        let certificate = self.path(&format!("ca/signed/{node}.pem"));
        fs::copy(certificate, pki.path("node.pem")).expect("copy the certificate");
        pki.revoke("node");
        let crls = fs::read_to_string(self.path("ca/ca_crl.pem")).expect("the CRLs");
        let end = "-----END X509 CRL-----\n";
        let (_, root) = crls
            .split_once(end)
            .expect("the intermediate CA's and the root's");
        assert!(root.contains(end), "{crls}");
        fs::write(self.path("root_crl.pem"), root).expect("write the root's CRL");
        Pki::join(
            &[pki.path("crl.pem"), self.path("root_crl.pem")],
            &self.path("ssl/crl.pem"),
        );
    }
}

#[test]
fn nodes_of_a_real_puppet_ca_connect_until_revoked() {
    let puppet = Puppet::new(&["node1", "gone"]);
    let ssl_dir = puppet.path("ssl").display().to_string();
    let config = format!("tls {{ puppet: true, ssldir: {ssl_dir:?}, timeout: 10 }}");
    let broker = Broker::midge().config(config).start();
    let libraries = Libraries::new();
    let ca = puppet.path("ssl/certs/ca.pem");
    libraries.expect(&broker, &ca, Some(&puppet.files("node1")), true);
    libraries.expect(&broker, &ca, Some(&puppet.files("gone")), true);
    libraries.expect(&broker, &ca, None, false);

    let speaker = |node: &str| {
        let [certificate, key] = puppet.files(node);
        Speaker::believing(&ca).showing(&certificate, &key)
    };
    let _kept = speaker("gone")
        .connect(broker.client_addr())
        .expect("gets in");
    puppet.revoke("gone");
    wait_until("the revoked node is disconnected", || {
        broker.get_json("/varz")["tls"]["revoked_closed"] == 1
    });
    libraries.expect(&broker, &ca, Some(&puppet.files("gone")), false);
    libraries.expect(&broker, &ca, Some(&puppet.files("node1")), true);
    let tls = broker.get_json("/varz")["tls"].clone();
    assert_eq!(tls["cert_name"], "CN=broker.example.org");
    assert!(tls["crl_days_left"].as_f64() > Some(1.0), "{tls}");
    assert!(
        Path::new(&ssl_dir)
            .join("certs/broker.example.org.pem")
            .exists()
    );
}
