//! The settings of a `tls` block, as plain values.
//!
//! The configuration fills a [`TlsOptions`]; [`tls`](super::tls) turns it into what handshakes
//! need. Each block has its own `TlsOptions`, whichever listener it belongs to.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{certificate::PeerCertificate, known_hosts::FoundHosts};

/// Time limit of a handshake if the block sets none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long `handshake_first: auto` waits for the peer's first byte.
pub const AUTO_DELAY: Duration = Duration::from_millis(50);

/// A `tls` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Where it was written, `FILE:LINE:COLUMN` or the command line; for messages.
    pub place: String,
    /// Whether the broker dials all the connections. It then needs no certificate of its own.
    pub only_dials: bool,
    /// The broker's certificates and keys. The first that suits a peer is used.
    pub certificates: Vec<CertificateFiles>,
    /// CAs that sign peers' certificates; `None` for those of this host.
    pub ca_file: Option<PathBuf>,
    /// CRL files; a file may hold several CRLs. Empty: nothing is revoked.
    pub crl_files: Vec<PathBuf>,
    /// What an expired CRL means.
    pub crl_expired: ExpiredCrl,
    /// Whether peers must show a certificate.
    pub verify: bool,
    /// Whether the certificate names the user; implies `verify`.
    pub map: bool,
    /// Whether a peer's certificate must name a host of a configured URL.
    pub check_known_urls: bool,
    /// Hosts that the configuration names. A server that is dialled by its address may have a
    /// certificate for any of them.
    pub known_hosts: Vec<String>,
    /// The same of hosts that an SRV record lists. They do not count for `check_known_urls`.
    pub found_hosts: FoundHosts,
    /// Whether certificates of servers that the broker dials are accepted unchecked.
    pub insecure: bool,
    /// Time limit of a handshake.
    pub timeout: Duration,
    /// When TLS begins.
    pub handshake_first: HandshakeFirst,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// Names of cipher suites in order of preference; empty for all.
    pub cipher_suites: Vec<String>,
    /// Names of key exchange groups in order of preference; empty for all.
    pub curve_preferences: Vec<String>,
    /// SHA-256 of the public keys that peers may have, lower case hexadecimal; empty for any.
    pub pinned_certs: BTreeSet<String>,
    /// Limit of handshakes begun per second; `None` for no limit.
    pub connection_rate_limit: Option<u32>,
    /// Whether the files are those of this host's Puppet agent.
    pub puppet: bool,
    /// Puppet's `ssldir`; `None` to ask Puppet's settings.
    pub ssldir: Option<PathBuf>,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by its intermediate CAs.
    pub cert_file: PathBuf,
    /// The certificate's key.
    pub key_file: PathBuf,
}

/// What an expired CRL means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiredCrl {
    /// Peers whose CA issued it are refused.
    #[default]
    Reject,
    /// It is used as before; the log warns.
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
    /// Before INFO if the peer begins TLS within this time, otherwise after INFO.
    Within(Duration),
}

impl TlsOptions {
    /// A block without settings.
    pub fn new(place: String) -> Self {
        Self {
            place,
            only_dials: false,
            certificates: Vec::new(),
            ca_file: None,
            crl_files: Vec::new(),
            crl_expired: ExpiredCrl::default(),
            verify: false,
            map: false,
            check_known_urls: false,
            known_hosts: Vec::new(),
            found_hosts: FoundHosts::default(),
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

    /// The same, for connections that this broker dials.
    pub fn for_dialling(self) -> Self {
        Self {
            only_dials: true,
            ..self
        }
    }

    /// Whether the certificate of a peer that connects to us names a configured host, if
    /// `check_known_urls` asks for that. The hosts that the broker dials are configured anyway.
    pub fn accepts(&self, certificate: &PeerCertificate) -> bool {
        let mut names = certificate.dns_names.iter();
        !self.check_known_urls || names.any(|name| self.is_known_host(name))
    }

    /// Whether a name in a certificate, which may begin with `*.`, is that of a configured host.
    fn is_known_host(&self, name: &str) -> bool {
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
