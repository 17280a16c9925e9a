//! The certificate that a client port shows in a TLS handshake. It is only
//! looked at: whether to believe it is not asked.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{client_port::Session, status::Failure};

/// Subject and expiry of the certificate.
///
/// # Errors
/// The port has no TLS, or its answer is no certificate: unknown. The broker aborts the
/// handshake before it has sent one: critical.
pub fn read(session: Session, host: &str) -> Result<(String, DateTime<Utc>), Failure> {
    let (mut socket, peer) = session.into_socket()?;
    let unknown = |error: &dyn std::fmt::Display| {
        Failure::unknown(format!("client port {peer}: TLS: {error}"))
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let seen = Arc::new(Seen::new(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unknown(&error))?
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unknown(&error))?;
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|error| unknown(&error))?;
    // A broker that wants a certificate of ours ends it after it has shown its
    // own, which is all that is wanted here.
    let result = tls.complete_io(&mut socket);
    let der = seen.take();
    let der = der.ok_or_else(|| {
        let why = result
            .err()
            .map_or_else(String::new, |error| error.to_string());
        Failure::critical(format!("client port {peer} shows no certificate: {why}"))
    })?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| unknown(&error))?;
    let end = certificate.validity().not_after.timestamp();
    let end = DateTime::from_timestamp(end, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    Ok((certificate.subject().to_string(), end))
}

/// Remembers the certificate that was shown.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    certificate: Mutex<Option<Vec<u8>>>,
}

impl Seen {
    fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            certificate: Mutex::default(),
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut certificate = self
            .certificate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        certificate.take()
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut certificate = self
            .certificate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *certificate = Some(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
