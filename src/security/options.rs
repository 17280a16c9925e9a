//! What a `tls` block says, as plain values.
//!
//! The configuration fills a [`TlsOptions`], [`tls`](super::tls) makes of it
//! what handshakes need. One block is one `TlsOptions`, whichever listener it
//! belongs to.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::certificate::PeerCertificate;

/// How long a peer may take for the handshake if nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long `handshake_first: auto` waits for a peer to begin.
pub const AUTO_DELAY: Duration = Duration::from_millis(50);

/// A `tls` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Where it was written, `FILE:LINE:COLUMN` or the command line, for
    /// messages.
    pub place: String,
    /// Own certificates and their keys; the first that fits a peer is shown.
    pub certificates: Vec<CertificateFiles>,
    /// CAs that sign peers' certificates; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// CRLs; a file may hold several. Empty: nobody is revoked.
    pub crl_files: Vec<PathBuf>,
    /// What an expired CRL means.
    pub crl_expired: ExpiredCrl,
    /// Whether peers must show a certificate.
    pub verify: bool,
    /// Whether the certificate names the user; implies `verify`.
    pub map: bool,
    /// Whether a peer's certificate must name a host of a configured URL.
    pub check_known_urls: bool,
    /// Hosts that the configuration names; a server that is dialled by its
    /// address may have a certificate for any of them.
    pub known_hosts: Vec<String>,
    /// Whether the certificates of servers connected to are taken unseen.
    pub insecure: bool,
    /// Time that a peer may keep the handshake waiting.
    pub timeout: Duration,
    /// When TLS begins.
    pub handshake_first: HandshakeFirst,
    /// Whether only TLS 1.3 is spoken.
    pub only_tls13: bool,
    /// Names of cipher suites, the preferred first; empty for all.
    pub cipher_suites: Vec<String>,
    /// Names of key exchange groups, the preferred first; empty for all.
    pub curve_preferences: Vec<String>,
    /// SHA-256 of the public keys that peers may have, lower case hexadecimal;
    /// empty for any.
    pub pinned_certs: BTreeSet<String>,
    /// Handshakes begun per second at most; `None` for no limit.
    pub connection_rate_limit: Option<u32>,
    /// Whether the files are those of this host's Puppet agent.
    pub puppet: bool,
    /// Puppet's `ssldir`; `None` to ask Puppet's settings.
    pub ssldir: Option<PathBuf>,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, its intermediate CAs behind it.
    pub cert_file: PathBuf,
    /// The certificate's key.
    pub key_file: PathBuf,
}

/// What an expired CRL means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiredCrl {
    /// Nobody whose CA it is gets in.
    #[default]
    Reject,
    /// It counts as before; the log warns.
    Warn,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandshakeFirst {
    /// After INFO.
    #[default]
    No,
    /// Before INFO.
    Yes,
    /// Before INFO for peers that begin within this time.
    Within(Duration),
}

impl TlsOptions {
    /// A block without settings.
    pub fn new(place: String) -> Self {
        Self {
            place,
            certificates: Vec::new(),
            ca_file: None,
            crl_files: Vec::new(),
            crl_expired: ExpiredCrl::default(),
            verify: false,
            map: false,
            check_known_urls: false,
            known_hosts: Vec::new(),
            insecure: false,
            timeout: DEFAULT_TIMEOUT,
            handshake_first: HandshakeFirst::default(),
            only_tls13: false,
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            pinned_certs: BTreeSet::new(),
            connection_rate_limit: None,
            puppet: false,
            ssldir: None,
        }
    }
    /// Whether a peer that connects with this certificate is one that the configuration
    /// names, if that is asked for. Whom we dial it names anyway.
    pub fn takes(&self, certificate: &PeerCertificate) -> bool {
        let mut names = certificate.dns_names.iter();
        !self.check_known_urls || names.any(|name| self.knows(name))
    }

    /// Whether a name in a certificate, which may begin with `*.`, is that of a
    /// host that the configuration names.
    fn knows(&self, name: &str) -> bool {
        self.known_hosts
            .iter()
            .any(|host| match name.strip_prefix("*.") {
                Some(domain) => host
                    .split_once('.')
                    .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
                None => host.eq_ignore_ascii_case(name),
            })
    }
}
