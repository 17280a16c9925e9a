//! The CAs that sign peers' certificates, for [`super::tls`].

use std::sync::Arc;

use rustls::{
    CertificateError, Error, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
};

use super::{
    certificate::parse,
    files::{self, TlsError},
    options::TlsOptions,
    own_certificates::OwnCertificates,
    validity::{ValidityPeriod, earliest},
};

/// The CAs that sign peers' certificates.
pub(super) struct Authorities {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) roots: Arc<RootCertStore>,
    /// The validity period of the CA that expires first.
    pub(super) period: Option<ValidityPeriod>,
}

impl Authorities {
    /// Loads the CAs of the block's `ca_file`, or this host's if none is named.
    ///
    ///  # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub(super) fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let Some(file) = &options.ca_file else {
            return Self::of_this_host(options);
        };
        let certificates = files::certificates(file)?;
        let mut roots = RootCertStore::empty();
        let mut period = None;
        for certificate in &certificates {
            let read = files::read_certificate(file, certificate)?;
            period = earliest(period, ValidityPeriod::of(&read));
            // A self-signed certificate counts as its own CA.
            let is_ca = parse(certificate).is_ok_and(|parsed| {
                parsed.is_ca() || parsed.issuer().as_raw() == parsed.subject().as_raw()
            });
            if !is_ca {
                let text = format!(
                    "{} is no CA: with it in this file, no certificate of its CA would be trusted; \
                     name the file with the certificate of the CA",
                    read.subject
                );
                return Err(TlsError::in_file(file, text));
            }
            roots.add(certificate.clone()).map_err(|error| {
                TlsError::in_file(file, format!("{} cannot be used: {error}", read.subject))
            })?;
        }
        Ok(Self {
            certificates,
            roots: Arc::new(roots),
            period,
        })
    }

    /// The CAs that this host trusts.
    fn of_this_host(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if options.verify && roots.is_empty() {
            return Err(TlsError::new(
                "verify needs CAs: name ca_file; this host has no CA certificates of its own",
            ));
        }
        Ok(Self {
            certificates: Vec::new(),
            roots: Arc::new(roots),
            period: None,
        })
    }

    /// Checks the broker's own certificates as a peer that trusts the same CAs would.
    pub(super) fn check_own(
        &self,
        options: &TlsOptions,
        own: &OwnCertificates,
        provider: &Arc<CryptoProvider>,
    ) -> Vec<TlsError> {
        let Some(ca_file) = options.ca_file.as_ref().filter(|_| options.verify) else {
            return Vec::new();
        };
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone());
        let Ok(verifier) = verifier.build() else {
            return Vec::new();
        };
        let rejected = own
            .keys
            .iter()
            .zip(&options.certificates)
            .filter(|(key, _)| {
                let result =
                    verifier.verify_client_cert(&key.cert[0], &key.cert[1..], UnixTime::now());
                matches!(
                    result,
                    Err(Error::InvalidCertificate(
                        CertificateError::UnknownIssuer | CertificateError::BadSignature
                    ))
                )
            });
        rejected
            .map(|(_, files)| {
                TlsError::in_file(
                    &files.cert_file,
                    format!(
                        "is not signed by a CA in {}: clients that trust only that CA will not \
                         connect",
                        ca_file.display()
                    ),
                )
            })
            .collect()
    }
}
