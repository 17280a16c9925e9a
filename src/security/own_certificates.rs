//! The broker's own certificates: [`super::tls`] loads them, handshakes present them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use rustls::{
    Error, InconsistentKeys,
    client::ResolvesClientCert,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    certificate::PeerCertificate,
    files::{self, TlsError},
    options::TlsOptions,
    validity::{ValidityPeriod, earliest},
};

/// The broker's certificates with their keys.
pub(super) struct OwnCertificates {
    pub(super) keys: Vec<Arc<CertifiedKey>>,
    /// The common name of the first one.
    pub(super) certname: String,
    /// The validity period of the one that expires first.
    pub(super) period: Option<ValidityPeriod>,
}

/// Loads and checks the certificates that a block names.
///
/// # Errors
///
/// Which file cannot be used, why, and what to do.
pub(super) fn load(
    options: &TlsOptions,
    provider: &CryptoProvider,
    now: DateTime<Utc>,
) -> Result<OwnCertificates, TlsError> {
    if options.certificates.is_empty() && !options.only_dials {
        return Err(TlsError::new(
            "there is no certificate: name cert_file and key_file, or write puppet: true on a \
             host with a Puppet agent",
        ));
    }
    let mut own = OwnCertificates {
        keys: Vec::new(),
        certname: String::new(),
        period: None,
    };
    for pair in &options.certificates {
        let chain = files::certificates(&pair.cert_file)?;
        let key = files::private_key(&pair.key_file)?;
        let leaf = files::read_certificate(&pair.cert_file, &chain[0])?;
        check_dates(&pair.cert_file, &leaf, now)?;
        own.period = earliest(own.period, ValidityPeriod::of(&leaf));
        let certified =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::in_file(
                    &pair.key_file,
                    format!(
                        "the key does not belong to the certificate in {} ({}); name the key that \
                     the certificate was made for",
                        pair.cert_file.display(),
                        leaf.subject
                    ),
                ),
                error => {
                    TlsError::in_file(&pair.key_file, format!("the key cannot be used: {error}"))
                }
            })?;
        if own.keys.is_empty() {
            own.certname = leaf.common_name;
        }
        own.keys.push(Arc::new(certified));
    }
    Ok(own)
}

/// The name by which clients that check the certificate of this file connect to the broker: its
/// certname if that is among its DNS names or it has none, otherwise the first of these.
///
/// # Errors
///
/// The file cannot be used.
pub fn host_of(file: &Path) -> Result<Option<String>, TlsError> {
    let chain = files::certificates(file)?;
    let own = files::read_certificate(file, &chain[0])?;
    let is_one_host = |name: &&str| !name.is_empty() && !name.contains(['*', ' ']);
    let certname = own.certname();
    let names = own.dns_names.iter().map(|name| &**name);
    let named = match own.dns_names.is_empty() || own.dns_names.iter().any(|it| it == certname) {
        true => Some(certname).filter(is_one_host),
        false => None,
    };
    Ok(named
        .or_else(|| names.into_iter().find(is_one_host))
        .map(str::to_owned))
}

fn check_dates(file: &Path, own: &PeerCertificate, now: DateTime<Utc>) -> Result<(), TlsError> {
    if now > own.not_after {
        let text = format!(
            "the certificate of {} expired on {}; put a renewed one there",
            own.subject, own.not_after
        );
        return Err(TlsError::in_file(file, text));
    }
    if now < own.not_before {
        let text = format!(
            "the certificate of {} is not valid before {}; check this host's clock",
            own.subject, own.not_before
        );
        return Err(TlsError::in_file(file, text));
    }
    Ok(())
}

/// Presents the first of the broker's certificates that the peer can use.
#[derive(Debug)]
pub(super) struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
    /// Whether a server has asked for a certificate, and none could be shown.
    lacks_one: AtomicBool,
}

impl Certificates {
    pub(super) fn new(own: &OwnCertificates) -> Self {
        Self {
            keys: own.keys.clone(),
            lacks_one: AtomicBool::new(false),
        }
    }

    /// Whether since the last call a server that was dialled has asked for a certificate, and none
    /// could be shown.
    pub(super) fn take_lack(&self) -> bool {
        self.lacks_one.swap(false, Ordering::Relaxed)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_usable =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let is_named = |key: &&Arc<CertifiedKey>| {
            hello
                .server_name()
                .is_some_and(|name| is_for(&key.cert[0], name))
        };
        let found = self.keys.iter().find(|key| is_usable(key) && is_named(key));
        // If the peer can use none, present the first one: the handshake then fails with an error
        // that also sends the peer the reason.
        let is_usable = || self.keys.iter().find(is_usable);
        found.or_else(is_usable).or(self.keys.first()).cloned()
    }
}

impl ResolvesClientCert for Certificates {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let mut keys = self.keys.iter();
        let found = keys.find(|key| key.key.choose_scheme(schemes).is_some());
        self.lacks_one.store(found.is_none(), Ordering::Relaxed);
        found.cloned()
    }

    fn has_certs(&self) -> bool {
        !self.keys.is_empty()
    }
}

fn is_for(certificate: &[u8], name: &str) -> bool {
    PeerCertificate::from_der(certificate).is_ok_and(|certificate| {
        certificate
            .dns_names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    })
}
