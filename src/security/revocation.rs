//! Who is revoked, according to the CRL files.
//!
//! Handshakes ask the CRLs through rustls. [`Revocations`] answers the same for
//! connections that were let in before a CRL came.

use std::{collections::HashSet, path::Path};

use chrono::{DateTime, Utc};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList,
};

use super::{
    certificate::{parse, time},
    distinguished_name::rfc2253,
    files::{self, TlsError},
    options::{ExpiredCrl, TlsOptions},
    validity::{Term, earliest},
};

/// The CRLs of a `tls` block.
#[derive(Default)]
pub struct Revocations {
    /// As rustls wants them.
    pub(super) crls: Vec<CertificateRevocationListDer<'static>>,
    /// Every revoked certificate.
    revoked: HashSet<Listed>,
    /// Subjects of the CAs that are revoked themselves.
    revoked_authorities: HashSet<Box<[u8]>>,
    /// Of the one whose successor is due first.
    pub(super) term: Option<Term>,
    pub(super) warnings: Vec<TlsError>,
}

/// How a CRL names a certificate: issuer and serial number, as DER.
type Listed = (Box<[u8]>, Box<[u8]>);

impl Revocations {
    pub(super) fn load(
        options: &TlsOptions,
        authorities: &[CertificateDer<'static>],
        now: DateTime<Utc>,
    ) -> Result<Self, TlsError> {
        let mut found = Self::default();
        let mut issuers = HashSet::new();
        for file in &options.crl_files {
            for crl in files::crls(file)? {
                issuers.insert(found.add(file, &crl, options.crl_expired, now)?);
                found.crls.push(crl);
            }
        }
        if options.crl_files.is_empty() {
            return Ok(found);
        }
        for authority in authorities.iter().filter_map(|der| parse(der).ok()) {
            if found.is_listed(&authority) {
                found
                    .revoked_authorities
                    .insert(authority.subject().as_raw().into());
            }
            if !issuers.contains(authority.subject().as_raw()) {
                found.warnings.push(TlsError::new(format!(
                    "no CRL of the CA {} is in crl_file: certificates that it signed are refused; \
                     add its CRL",
                    rfc2253(authority.subject())
                )));
            }
        }
        Ok(found)
    }

    /// Reads one CRL; returns its issuer.
    fn add(
        &mut self,
        file: &Path,
        der: &[u8],
        expired: ExpiredCrl,
        now: DateTime<Utc>,
    ) -> Result<Box<[u8]>, TlsError> {
        let (_, crl) = CertificateRevocationList::from_der(der).map_err(|error| {
            TlsError::in_file(file, format!("holds a CRL that cannot be read: {error}"))
        })?;
        let issuer = rfc2253(crl.issuer());
        if crl.version().is_none() {
            let text = format!(
                "the CRL of {issuer} is of version 1; let the CA make one of version 2, which has \
                 a number (openssl: crlnumber and crl_extensions)"
            );
            return Err(TlsError::in_file(file, text));
        }
        if let Some(next) = crl.next_update().map(time) {
            let term = Term {
                name: issuer.clone(),
                from: time(crl.last_update()),
                until: next,
            };
            self.term = earliest(self.term.take(), term);
            if next < now {
                let effect = match expired {
                    ExpiredCrl::Reject => {
                        "certificates of this CA are refused (crl_expired: warn would let them in)"
                    }
                    ExpiredCrl::Warn => "it counts nevertheless",
                };
                let text =
                    format!("the CRL of {issuer} expired on {next}: {effect}; fetch a new one");
                self.warnings.push(TlsError::in_file(file, text));
            }
        }
        let raw_issuer: Box<[u8]> = crl.issuer().as_raw().into();
        for entry in crl.iter_revoked_certificates() {
            self.revoked
                .insert((raw_issuer.clone(), entry.raw_serial().into()));
        }
        Ok(raw_issuer)
    }

    /// Whether a certificate of this chain, or the CA of one, is revoked.
    /// Returns the subject of the one that is.
    pub fn find_revoked(&self, chain: &[impl AsRef<[u8]>]) -> Option<String> {
        if self.revoked.is_empty() {
            return None;
        }
        chain.iter().find_map(|der| {
            let (_, certificate) = X509Certificate::from_der(der.as_ref()).ok()?;
            let revoked = self.is_listed(&certificate)
                || self
                    .revoked_authorities
                    .contains(certificate.issuer().as_raw());
            revoked.then(|| rfc2253(certificate.subject()))
        })
    }

    /// Certificates that the CRLs name.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether the CRLs name nobody.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    fn is_listed(&self, certificate: &X509Certificate<'_>) -> bool {
        // Serial numbers are compared as both sides encode them: DER has one way.
        let key = (
            certificate.issuer().as_raw().into(),
            certificate.raw_serial().into(),
        );
        self.revoked.contains(&key)
    }
}
