//! A real Puppet CA, made by `puppetserver ca`: an intermediate CA under a root, one bundle of
//! both, and their CRLs in one file; and hosts with certificates of it.
//!
//! Revoking needs a running Puppet server; [`PuppetCa::revoke`] uses the CA's key instead.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::pki::Pki;

/// The name of the CA's own host.
pub const CA_HOST: &str = "broker.example.org";

/// A Puppet CA in a temporary directory, with the files of the agent on its own host.
pub struct PuppetCa(TempDir);

impl PuppetCa {
    /// A new CA. The certificate of its own host is for `localhost`, too.
    pub fn new() -> Self {
        let ca = Self(tempfile::tempdir().expect("a folder"));
        let folder = ca.0.path().display();
        let settings = format!(
            "[main]\ncertname = {CA_HOST}\nserver = localhost\nconfdir = {folder}\n\
             vardir = {folder}/var\nssldir = {folder}/ssl\ncadir = {folder}/ca\n"
        );
        fs::write(ca.path("puppet.conf"), settings).expect("write the settings");
        ca.run(&["setup", "--subject-alt-names", "localhost"]);
        ca
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The `ssldir` of an agent: the CA's own host, or one of [`Self::sign`].
    pub fn ssl_dir(&self, host: &str) -> PathBuf {
        match host {
            CA_HOST => self.path("ssl"),
            _ => self.path(host),
        }
    }

    /// Certificate and key of a host.
    pub fn files(&self, host: &str) -> [PathBuf; 2] {
        ["certs", "private_keys"].map(|kind| self.ssl_dir(host).join(format!("{kind}/{host}.pem")))
    }

    /// The certificates of the CA.
    pub fn certificates(&self) -> PathBuf {
        self.path("ssl/certs/ca.pem")
    }

    /// Signs certificates of hosts for these names too, such as `localhost,IP:127.0.0.1`, and
    /// makes the `ssldir` of each host's agent.
    pub fn sign(&self, hosts: &[&str], names: &str) {
        let all = hosts.join(",");
        let mut arguments = vec!["generate", "--ca-client", "--force", "--certname", &all];
        if !names.is_empty() {
            arguments.extend(["--subject-alt-names", names]);
        }
        self.run(&arguments);
        for host in hosts {
            for kind in ["certs", "private_keys"] {
                let made = self.path(&format!("ssl/{kind}/{host}.pem"));
                let folder = self.ssl_dir(host).join(kind);
                fs::create_dir_all(&folder).expect("a folder");
                fs::rename(made, folder.join(format!("{host}.pem"))).expect("move it to its host");
            }
            for file in ["certs/ca.pem", "crl.pem"] {
                let copied = fs::copy(self.path("ssl").join(file), self.ssl_dir(host).join(file));
                copied.expect("copy what each agent has");
            }
        }
    }

    /// Revokes a host and copies the CRLs to the agent of the CA's own host.
    pub fn revoke(&self, host: &str) {
        let pki = Pki::of(&self.path("ca/ca_crt.pem"), &self.path("ca/ca_key.pem"));
        let certificate = self.path(&format!("ca/signed/{host}.pem"));
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

    /// Runs `puppetserver ca`.
    fn run(&self, arguments: &[&str]) {
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
}

impl Default for PuppetCa {
    fn default() -> Self {
        Self::new()
    }
}
