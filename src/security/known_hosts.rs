//! Servers that are dialled by their address: the certificate may be for any
//! host that the configuration names instead.
//!
//! Brokers hear of each other's addresses, while certificates are for names.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Asks another verifier, for each of the hosts if the peer was dialled by its
/// address and its certificate is not for that.
#[derive(Debug)]
pub(super) struct KnownHosts {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) hosts: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for KnownHosts {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ask = |name: &ServerName<'_>| {
            self.verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let first = ask(server_name);
        let is_elsewhere = matches!(
            first,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        match (server_name, is_elsewhere) {
            (ServerName::IpAddress(_), true) => {
                let mut others = self.hosts.iter().map(ask);
                others.find(Result::is_ok).unwrap_or(first)
            }
            _ => first,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
