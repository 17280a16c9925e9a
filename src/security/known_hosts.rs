//! Verifies servers that are dialled by their IP address: their certificate may be for any host
//! that the configuration names.
//!
//! Brokers learn each other's addresses by gossip, while certificates are issued for names. Hosts
//! that an SRV record lists count like those of the configuration.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Calls another verifier. If the server was dialled by address and its certificate is not for that
/// address, tries each of the configured hosts.
#[derive(Debug)]
pub(super) struct KnownHosts {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) hosts: Vec<ServerName<'static>>,
    pub(super) found: FoundHosts,
}

/// Hosts that were found by DNS, for all handshakes of one block `tls`, whatever files it reads
/// again.
#[derive(Clone, Debug, Default)]
pub struct FoundHosts(Arc<RwLock<Vec<ServerName<'static>>>>);

/// They are no setting: two blocks with the same settings are the same.
impl PartialEq for FoundHosts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for FoundHosts {}

impl FoundHosts {
    /// These, in place of those of before.
    pub fn set<'a>(&self, hosts: impl Iterator<Item = &'a str>) {
        let names = hosts.filter_map(|host| ServerName::try_from(host.to_owned()).ok());
        *self.0.write() = names.collect();
    }
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
        let verify = |name: &ServerName<'_>| {
            self.verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let first = verify(server_name);
        let is_for_other_name = matches!(
            first,
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        match (server_name, is_for_other_name) {
            (ServerName::IpAddress(_), true) => {
                let found = self.found.0.read().clone();
                let mut others = self.hosts.iter().chain(&found).map(verify);
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
