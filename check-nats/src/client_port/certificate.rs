//! The certificate that a client port shows in a TLS handshake: remembered, whether it is accepted
//! or not.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::text::quoted;

/// Most names of a certificate that are shown.
const NAMES_MAX: usize = 4;

/// A certificate, as messages show it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its subject.
    pub subject: String,
    /// The hosts that it is for, as a list for people.
    pub hosts: String,
    /// When it expires.
    pub end: DateTime<Utc>,
}

impl Certificate {
    /// Parses one.
    ///
    /// # Errors
    /// Why it is none.
    fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let end = parsed.validity().not_after.timestamp();
        Ok(Self {
            subject: parsed.subject().to_string(),
            hosts: hosts(&parsed),
            end: DateTime::from_timestamp(end, 0).unwrap_or(DateTime::<Utc>::MAX_UTC),
        })
    }
}

fn hosts(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let hosts: Vec<String> = names.iter().filter_map(host).collect();
    let mut shown = hosts[..hosts.len().min(NAMES_MAX)].join(", ");
    if hosts.len() > NAMES_MAX {
        shown.push_str(&format!(" and {} more", hosts.len() - NAMES_MAX));
    }
    match hosts.is_empty() {
        true => "no host (it has no subjectAltName)".to_owned(),
        false => shown,
    }
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(quoted(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            Some(v4.or(v6).ok()?.to_string())
        }
        _ => None,
    }
}

/// Remembers the certificate that was shown, and leaves the decision to another verifier. Without
/// one it is only looked at: whether to believe it is not asked.
#[derive(Debug)]
pub(super) struct Seen {
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    certificate: Mutex<Option<CertificateDer<'static>>>,
}

impl Seen {
    /// Asks `verifier`.
    pub(super) fn new(verifier: Option<Arc<dyn ServerCertVerifier>>) -> Self {
        Self {
            verifier,
            certificate: Mutex::default(),
        }
    }

    /// The certificate that was shown last; `None` if none was.
    ///
    /// # Errors
    /// Why what was shown is no certificate.
    pub(super) fn certificate(&self) -> Option<Result<Certificate, String>> {
        let certificate = self
            .certificate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        certificate.as_deref().map(Certificate::parse)
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut certificate = self
            .certificate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *certificate = Some(end_entity.clone().into_owned());
        match &self.verifier {
            None => Ok(ServerCertVerified::assertion()),
            Some(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.verifier {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(verifier) => verifier.verify_tls12_signature(message, certificate, signature),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.verifier {
            None => Ok(HandshakeSignatureValid::assertion()),
            Some(verifier) => verifier.verify_tls13_signature(message, certificate, signature),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.verifier {
            None => aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes(),
            Some(verifier) => verifier.supported_verify_schemes(),
        }
    }
}
