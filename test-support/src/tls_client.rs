//! A TLS client whose version, cipher suites, groups, certificate and start of the
//! handshake are chosen by the test.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore,
    StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::PATIENCE;

/// The parameters of a TLS client.
#[derive(Clone)]
pub struct Speaker {
    roots: RootCertStore,
    own: Option<(Vec<CertificateDer<'static>>, Vec<u8>)>,
    version: Option<&'static SupportedProtocolVersion>,
    suite: Option<CipherSuite>,
    group: Option<NamedGroup>,
    first: bool,
    /// The pause between INFO and the start of TLS.
    pause: Duration,
    /// A configuration that stores sessions.
    resuming: Option<Arc<ClientConfig>>,
}

/// The parameters negotiated with a broker that accepted the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agreed {
    /// As in `TLSv1_3`.
    pub version: String,
    /// As in `TLS13_AES_256_GCM_SHA384`.
    pub suite: String,
    /// As in `X25519`.
    pub group: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

impl Speaker {
    /// A client that trusts the CAs of a file.
    pub fn believing(ca: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(ca));
        Self {
            roots,
            own: None,
            version: None,
            suite: None,
            group: None,
            first: false,
            pause: Duration::ZERO,
            resuming: None,
        }
    }

    /// Presents a certificate.
    pub fn showing(mut self, chain: &Path, key: &Path) -> Self {
        let key = fs::read(key).expect("read the key");
        self.own = Some((certificates(chain), key));
        self
    }

    /// Offers TLS 1.2 only.
    pub fn tls12(mut self) -> Self {
        self.version = Some(&TLS12);
        self
    }

    /// Offers TLS 1.3 only.
    pub fn tls13(mut self) -> Self {
        self.version = Some(&TLS13);
        self
    }

    /// Offers one cipher suite only.
    pub fn suite(mut self, suite: CipherSuite) -> Self {
        self.suite = Some(suite);
        self
    }

    /// Offers one key exchange group only.
    pub fn group(mut self, group: NamedGroup) -> Self {
        self.group = Some(group);
        self
    }

    /// Resumes earlier sessions from now on, where the broker permits it.
    pub fn resuming(mut self) -> Self {
        self.resuming = Some(Arc::new(self.config()));
        self
    }

    /// Starts with TLS, before INFO.
    pub fn first(mut self) -> Self {
        self.first = true;
        self
    }

    /// Delays the start of TLS.
    pub fn pausing(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Connects, logs in and sees a PING answered.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn attempt(&self, broker: SocketAddr) -> Result<Agreed, String> {
        let (mut stream, agreed) = self.connect(broker)?;
        let text = |error: std::io::Error| error.to_string();
        stream
            .write_all(b"CONNECT {\"verbose\":false,\"tls_required\":true}\r\nPING\r\n")
            .map_err(text)?;
        let mut received = Vec::new();
        while !received.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte).map_err(text)? {
                0 => return Err("closed".into()),
                _ => received.push(byte[0]),
            }
        }
        Ok(agreed)
    }

    /// Connects and performs the handshake.
    ///
    /// # Errors
    /// Why it could not.
    pub fn connect(
        &self,
        broker: SocketAddr,
    ) -> Result<(StreamOwned<ClientConnection, TcpStream>, Agreed), String> {
        let mut socket = TcpStream::connect(broker).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("a bound");
        if !self.first {
            read_line(&mut socket)?;
        }
        thread::sleep(self.pause);
        let name = ServerName::try_from("localhost").expect("a name");
        let config = self.resuming.clone();
        let config = config.unwrap_or_else(|| Arc::new(self.config()));
        let mut tls = ClientConnection::new(config, name).expect("a session");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)
                .map_err(|error| error.to_string())?;
        }
        let group = tls
            .negotiated_key_exchange_group()
            .map(|group| group.name());
        let agreed = Agreed {
            version: format!("{:?}", tls.protocol_version().expect("a version")),
            suite: format!(
                "{:?}",
                tls.negotiated_cipher_suite().expect("a suite").suite()
            ),
            // A resumed TLS 1.2 session exchanges no keys.
            group: group.map_or_else(String::new, |group| format!("{group:?}")),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        Ok((StreamOwned::new(tls, socket), agreed))
    }

    fn config(&self) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(suite) = self.suite {
            provider
                .cipher_suites
                .retain(|known| known.suite() == suite);
        }
        if let Some(group) = self.group {
            provider.kx_groups = aws_lc_rs::ALL_KX_GROUPS.to_vec();
            provider.kx_groups.retain(|known| known.name() == group);
        }
        let versions = match self.version {
            Some(version) => vec![version],
            None => vec![&TLS13, &TLS12],
        };
        let versions: Vec<_> = versions
            .into_iter()
            .filter(|version| {
                let mut suites = provider.cipher_suites.iter();
                suites.any(|suite| suite.version() == *version)
            })
            .collect();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        match &self.own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
                let config = builder.with_client_auth_cert(chain.clone(), key);
                config.expect("a certificate and its key")
            }
        }
    }
}

/// Reads the INFO and nothing after it.
fn read_line(socket: &mut TcpStream) -> Result<(), String> {
    let mut byte = [0];
    while byte[0] != b'\n' {
        match socket.read(&mut byte) {
            Ok(0) => return Err("closed before INFO".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).expect("read certificates");
    read.map(|certificate| certificate.expect("a certificate"))
        .collect()
}
