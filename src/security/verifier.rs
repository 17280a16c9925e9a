//! Verifies client certificates, and records which certificate was refused and why.

use std::{cell::RefCell, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::{certificate::parse, distinguished_name::rfc2253, revocation::Revocations};

thread_local! {
    static REFUSED: RefCell<Option<Refused>> = const { RefCell::new(None) };
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A certificate that was refused.
pub(super) struct Refused {
    /// Its subject.
    pub(super) subject: String,
    /// Its issuer.
    pub(super) issuer: String,
    /// The revoked CA, if that is the reason.
    pub(super) revoked_authority: Option<String>,
}

/// Maps an error to the one whose TLS alert Go's peers know. The detail that rustls gives is kept
/// for the log.
fn with_usual_alert(error: Error) -> Error {
    use CertificateError as E;
    let Error::InvalidCertificate(why) = error else {
        return error;
    };
    Error::InvalidCertificate(match why {
        // The certificate is of another CA with the same name.
        E::BadSignature => E::UnknownIssuer,
        // The certificate is not for clients.
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            let why = "it is not for clients: its extendedKeyUsage lacks clientAuth";
            REASON.set(Some(why.to_owned()));
            E::BadEncoding
        }
        E::Other(other) => {
            REASON.set(Some(other.to_string()));
            E::BadEncoding
        }
        why => why,
    })
}

/// Takes the library's description of the last certificate that could not be used on this thread.
pub(super) fn take_reason() -> Option<String> {
    REASON.take()
}

/// Takes the certificate that was refused last on this thread.
pub(super) fn take_refused() -> Option<Refused> {
    REFUSED.take()
}

/// Calls another verifier and records which certificate it refused, since TLS itself does not
/// report that.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    /// The verifier that decides.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// The revoked certificates; the other verifier does not check the CAs of `ca_file` themselves.
    pub(super) revocations: Arc<Revocations>,
}

impl ClientCertVerifier for RecordingVerifier {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let result = self
            .verifier
            .verify_client_cert(end_entity, intermediates, now);
        if result.is_ok() && self.revocations.is_empty() {
            return result;
        }
        let chain: Vec<&[u8]> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| &**der)
            .collect();
        let revoked = self.revocations.find_revoked(&chain);
        // An untrusted certificate is not reported as revoked, whatever its serial number.
        let mut result = result.map_err(with_usual_alert);
        if revoked.is_some() {
            result = result.and(Err(CertificateError::Revoked.into()));
        }
        if result.is_err() {
            let certificate = parse(end_entity).ok();
            REFUSED.set(certificate.map(|it| Refused {
                subject: rfc2253(it.subject()),
                issuer: rfc2253(it.issuer()),
                revoked_authority: revoked.and_then(|it| it.authority),
            }));
        }
        result
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
