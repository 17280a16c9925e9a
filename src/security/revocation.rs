//! Which certificates the CRL files revoke.
//!
//! Handshakes check the CRLs through rustls. [`Revocations`] does the same for connections that
//! were accepted before a new CRL was loaded.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use rustls::{
    CertRevocationListError, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList,
};

use super::{
    certificate::{parse, time},
    distinguished_name::rfc2253,
    files::{self, TlsError},
    options::{ExpiredCrl, TlsOptions},
    own_certificates::OwnCertificates,
    validity::{ValidityPeriod, earliest},
};

/// The CRLs of a `tls` block.
#[derive(Default)]
pub struct Revocations {
    /// In the form that rustls needs.
    pub(super) crls: Vec<CertificateRevocationListDer<'static>>,
    /// All revoked certificates.
    revoked: HashSet<Listed>,
    /// The CAs that are revoked themselves: subject as DER and as text.
    revoked_authorities: HashMap<Box<[u8]>, String>,
    /// The validity period of the CRL that must be renewed first.
    pub(super) period: Option<ValidityPeriod>,
    pub(super) warnings: Vec<TlsError>,
    /// The warnings that no other finding covers.
    pub(super) gaps: Vec<TlsError>,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({})", self.revoked.len())
    }
}

/// Which certificate of a chain is revoked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// The subject of the first certificate that is not trusted because of it.
    pub subject: String,
    /// The CA that is revoked, if it is not that certificate itself.
    pub authority: Option<String>,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.authority {
            None => write!(f, "Certificate revoked: {}", self.subject),
            Some(ca) => write!(f, "The CA {ca} is revoked, which signed {}", self.subject),
        }
    }
}

/// How a CRL identifies a certificate: issuer and serial number, as DER.
type Listed = (Box<[u8]>, Box<[u8]>);

impl Revocations {
    pub(super) fn load(
        options: &TlsOptions,
        authorities: &[CertificateDer<'static>],
        own: &OwnCertificates,
        (roots, provider): (&Arc<RootCertStore>, &Arc<CryptoProvider>),
        now: DateTime<Utc>,
    ) -> Result<Self, TlsError> {
        let mut found = Self::default();
        let mut issuers = HashSet::new();
        for file in &options.crl_files {
            for crl in files::crls(file)? {
                check_usable(file, &crl, roots, provider)?;
                issuers.insert(found.add(file, &crl, options.crl_expired, now)?);
                found.crls.push(crl);
            }
        }
        if options.crl_files.is_empty() {
            return Ok(found);
        }
        let chains = own.keys.iter().map(|key| &*key.cert);
        let signers: HashSet<Box<[u8]>> = chains
            .clone()
            .filter_map(|chain| Some(parse(chain.first()?).ok()?.issuer().as_raw().into()))
            .collect();
        // The CAs between the broker's certificate and ca_file sign peers' certificates as well.
        let intermediates = chains.filter_map(|chain| chain.get(1..)).flatten();
        let mut checked = HashSet::new();
        for authority in authorities
            .iter()
            .chain(intermediates)
            .filter_map(|der| parse(der).ok())
        {
            let raw: Box<[u8]> = authority.subject().as_raw().into();
            if !checked.insert(raw.clone()) {
                continue;
            }
            let name = rfc2253(authority.subject());
            // Peers usually have certificates of the CA that signed the broker's own.
            let severe = options.verify && signers.contains(&raw);
            let gap = if found.is_listed(&authority) {
                found.revoked_authorities.insert(raw.clone(), name.clone());
                format!(
                    "the CA {name} is itself revoked by the CRL of {}: its certificates are \
                     refused; give the nodes certificates of another CA, and remove this one from \
                     ca_file",
                    rfc2253(authority.issuer())
                )
            } else if !issuers.contains(&raw) {
                format!(
                    "no CRL of the CA {name} is in crl_file: certificates that it signed are \
                     refused; add its CRL"
                )
            } else {
                continue;
            };
            let gap = match options.crl_files.first() {
                Some(file) => TlsError::in_file(file, gap),
                None => TlsError::new(gap),
            };
            found.gaps.push(gap.severe(severe));
        }
        found.warnings.extend(found.gaps.iter().cloned());
        Ok(found)
    }

    /// Adds one CRL; returns its issuer.
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
            return Err(TlsError::in_file(file, version_1(&issuer)));
        }
        if let Some(next) = crl.next_update().map(time) {
            let period = ValidityPeriod {
                name: issuer.clone(),
                from: time(crl.last_update()),
                until: next,
            };
            self.period = earliest(self.period.take(), period);
            if next < now {
                let effect = match expired {
                    ExpiredCrl::Reject => {
                        "certificates of this CA are refused (crl_expired: warn would let them in)"
                    }
                    ExpiredCrl::Warn => "it is still used",
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
    pub fn find_revoked(&self, chain: &[impl AsRef<[u8]>]) -> Option<Revoked> {
        if self.revoked.is_empty() {
            return None;
        }
        let chain = chain.iter().map(AsRef::as_ref);
        let chain = chain.filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1));
        let mut signed = None;
        for certificate in chain {
            let subject = rfc2253(certificate.subject());
            let first = signed.get_or_insert_with(|| subject.clone()).clone();
            if self.is_listed(&certificate) {
                return Some(Revoked {
                    authority: (first != subject).then_some(subject),
                    subject: first,
                });
            }
            let issuer = self.revoked_authorities.get(certificate.issuer().as_raw());
            if let Some(authority) = issuer {
                return Some(Revoked {
                    subject: first,
                    authority: Some(authority.clone()),
                });
            }
        }
        None
    }

    /// Number of certificates that the CRLs revoke.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether the CRLs revoke nothing.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    fn is_listed(&self, certificate: &X509Certificate<'_>) -> bool {
        // Serial numbers are compared as encoded: DER has a single encoding for each.
        let key = (
            certificate.issuer().as_raw().into(),
            certificate.raw_serial().into(),
        );
        self.revoked.contains(&key)
    }
}

/// Checks that handshakes can use a CRL, by the library that will use it.
fn check_usable(
    file: &Path,
    crl: &CertificateRevocationListDer<'static>,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<(), TlsError> {
    if roots.is_empty() {
        return Ok(());
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let why = match verifier.with_crls([crl.clone()]).build() {
        Ok(_) | Err(VerifierBuilderError::NoRootAnchors) => return Ok(()),
        Err(VerifierBuilderError::InvalidCrl(error)) => explain(&error),
        Err(error) => format!("cannot be used: {error}"),
    };
    let issuer = match CertificateRevocationList::from_der(crl) {
        Ok((_, read)) if read.version().is_none() => {
            return Err(TlsError::in_file(file, version_1(&rfc2253(read.issuer()))));
        }
        Ok((_, read)) => rfc2253(read.issuer()),
        Err(_) => "an unknown CA".into(),
    };
    Err(TlsError::in_file(
        file,
        format!("the CRL of {issuer} {why}; let the CA make a new one and copy it there"),
    ))
}

fn version_1(issuer: &str) -> String {
    format!(
        "the CRL of {issuer} is of version 1; let the CA make one of version 2, which has a number \
         (openssl: crlnumber and crl_extensions)"
    )
}

/// What is wrong with a CRL, as text.
fn explain(error: &CertRevocationListError) -> String {
    use CertRevocationListError as E;
    let text = match error {
        E::InvalidCrlNumber => "has a number that is longer than 20 bytes or negative",
        E::InvalidRevokedCertSerialNumber => "lists a certificate with an invalid serial number",
        E::IssuerInvalidForCrl => "is signed by a CA that may not sign CRLs (keyUsage cRLSign)",
        E::UnsupportedCriticalExtension => "has an unknown critical extension",
        E::UnsupportedDeltaCrl => "is a delta CRL, which is not supported: use the complete one",
        E::UnsupportedIndirectCrl => "covers other CAs, which is not supported",
        E::UnsupportedRevocationReason => {
            "covers only some revocation reasons, which is not \
                                           supported"
        }
        E::UnsupportedCrlVersion => "has an unknown version",
        E::ParseError => "is damaged",
        _ => return format!("cannot be used ({error:?})"),
    };
    text.into()
}
