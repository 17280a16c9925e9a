//! A CA and certificates of a broker and its nodes, made with openssl for scenarios with TLS. Keys
//! are RSA-4096 as in Puppet, except that of [`Node::Light`].

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

/// Which certificate a client uses.
#[derive(Clone, Copy)]
pub(crate) enum Node {
    /// One with an RSA-4096 key, whose signatures cost the client more than everything else.
    Puppet,
    /// One with a P-256 key: its handshakes use little CPU, so that many clients on this machine
    /// disturb the broker as little as if they were on others.
    Light,
}

impl Node {
    /// The base name of its files.
    fn name(self) -> &'static str {
        match self {
            Self::Puppet => "node",
            Self::Light => "light",
        }
    }
}

/// Which key a broker has.
#[derive(Clone, Copy)]
pub(crate) enum BrokerKey {
    Rsa4096,
    P256,
}

impl BrokerKey {
    /// The base name of its files.
    fn name(self) -> &'static str {
        match self {
            Self::Rsa4096 => "broker",
            Self::P256 => "broker-ec",
        }
    }
}

/// Files of the CA, the broker and two nodes.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them, which takes some seconds.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir().during("cannot make a temporary directory")?;
        let made = Self { folder };
        let rsa = "rsa:4096";
        let p256 = "ec -pkeyopt ec_paramgen_curve:prime256v1";
        let request = "req -x509 -nodes -days 30";
        made.openssl(
            &format!("{request} -newkey {rsa} -keyout ca.key -out ca.pem"),
            &["-subj", "/CN=Puppet CA: side_by_side"],
        )?;
        for (name, key, address) in [
            (BrokerKey::Rsa4096.name(), rsa, ",IP:127.0.0.1"),
            (BrokerKey::P256.name(), p256, ",IP:127.0.0.1"),
            (Node::Puppet.name(), rsa, ""),
            (Node::Light.name(), p256, ""),
        ] {
            let names = format!("subjectAltName=DNS:{name}.example.org{address}");
            let subject = format!("/CN={name}.example.org");
            made.openssl(
                &format!(
                    "{request} -newkey {key} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem"
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
        for key in [BrokerKey::Rsa4096, BrokerKey::P256] {
            let name = key.name();
            let configuration = format!(
                "tls {{\n cert_file: {:?}\n key_file: {:?}\n ca_file: {:?}\n verify: true\n timeout: 90\n}}\n",
                file(&format!("{name}.pem")),
                file(&format!("{name}.key")),
                file("ca.pem"),
            );
            fs::write(made.configuration(key), configuration)
                .during("cannot write a configuration")?;
        }
        let websocket = format!(
            "websocket {{\n listen: \"127.0.0.1:-1\"\n tls {{\n cert_file: {:?}\n key_file: {:?}\n timeout: 90\n }}\n}}\n",
            file(&format!("{}.pem", BrokerKey::P256.name())),
            file(&format!("{}.key", BrokerKey::P256.name())),
        );
        fs::write(made.websocket_configuration(), websocket)
            .during("cannot write a configuration")?;
        fs::write(
            made.plain_websocket_configuration(),
            "websocket {\n listen: \"127.0.0.1:-1\"\n no_tls: true\n compression: true\n}\n",
        )
        .during("cannot write a configuration")?;
        Ok(made)
    }

    /// A broker's configuration: WebSockets over TLS, the key P-256, no certificates of clients.
    pub(crate) fn websocket_configuration(&self) -> PathBuf {
        self.path("websocket.conf")
    }

    /// A broker's configuration: WebSockets without TLS, compressed where the client asks for it.
    pub(crate) fn plain_websocket_configuration(&self) -> PathBuf {
        self.path("websocket-plain.conf")
    }

    /// A broker's configuration: mutual TLS with these files.
    pub(crate) fn configuration(&self, key: BrokerKey) -> PathBuf {
        self.path(&format!("{}.conf", key.name()))
    }

    /// The TLS configuration of clients. They resume sessions if `resume`.
    pub(crate) fn client(&self, node: Node, resume: bool) -> Result<Arc<ClientConfig>> {
        let name = node.name();
        let make = || -> std::result::Result<ClientConfig, Box<dyn std::error::Error>> {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.path("ca.pem"))?)?;
            let node = CertificateDer::from_pem_file(self.path(&format!("{name}.pem")))?;
            let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")))?;
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
            Err(error) => Err(Failure(format!("the certificate of {name}: {error}"))),
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
