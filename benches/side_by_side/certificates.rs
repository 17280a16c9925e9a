//! A CA, a broker and a node, made by the openssl command when a run needs
//! TLS: RSA-4096 throughout, as Puppet has it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::failure::{During, Failure, Result, fail};

/// Files of the CA, the broker and one node whose certificate all nodes show.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them; takes some seconds.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().during("cannot make a temporary directory")?;
        let made = Self { folder };
        let request = "req -newkey rsa:4096 -nodes -days 30";
        made.openssl(
            &format!("{request} -x509 -keyout ca.key -out ca.pem"),
            &["-subj", "/CN=Puppet CA: side_by_side"],
        )?;
        for (name, address) in [("broker", ",IP:127.0.0.1"), ("node", "")] {
            let names = format!("subjectAltName=DNS:{name}.example.org{address}");
            let subject = format!("/CN={name}.example.org");
            made.openssl(
                &format!(
                    "{request} -x509 -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem"
                ),
                &[
                    "-subj",
                    &subject,
                    "-addext",
                    &names,
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                ],
            )?;
        }
        let file = |name: &str| made.path(name).display().to_string();
        let configuration = format!(
            "tls {{\n cert_file: {:?}\n key_file: {:?}\n ca_file: {:?}\n verify: true\n timeout: 90\n}}\n",
            file("broker.pem"),
            file("broker.key"),
            file("ca.pem"),
        );
        fs::write(made.configuration(), configuration).during("cannot write a configuration")?;
        Ok(made)
    }

    /// A broker's configuration: mutual TLS with these files.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("broker.conf")
    }

    /// What nodes bring along. They take sessions up again if `resume`.
    pub(crate) fn client(&self, resume: bool) -> Result<Arc<ClientConfig>> {
        let make = || -> std::result::Result<ClientConfig, Box<dyn std::error::Error>> {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.path("ca.pem"))?)?;
            let node = CertificateDer::from_pem_file(self.path("node.pem"))?;
            let key = PrivateKeyDer::from_pem_file(self.path("node.key"))?;
            let provider = Arc::new(aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_client_auth_cert(vec![node], key)?;
            if !resume {
                config.resumption = Resumption::disabled();
            }
            Ok(config)
        };
        match make() {
            Ok(config) => Ok(Arc::new(config)),
            Err(error) => Err(Failure(format!("the node's certificate: {error}"))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, words: &str, more: &[&str]) -> Result<()> {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .args(more)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .during("cannot run openssl (install the package openssl)")?;
        if !output.status.success() {
            fail!(
                "openssl {words}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }
}
