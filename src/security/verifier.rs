//! Whether a client's certificate is believed, and who was not.

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
    static WHY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A certificate that was refused.
pub(super) struct Refused {
    /// Whose it is.
    pub(super) subject: String,
    /// Who signed it.
    pub(super) issuer: String,
    /// The CA that is revoked, if that is why.
    pub(super) revoked_authority: Option<String>,
}

/// The error whose alert is the one that peers know from Go: what a library tells in
/// more detail is for the log.
fn with_usual_alert(error: Error) -> Error {
    use CertificateError as E;
    let Error::InvalidCertificate(why) = error else {
        return error;
    };
    Error::InvalidCertificate(match why {
        // Of another CA that bears the same name.
        E::BadSignature => E::UnknownIssuer,
        // It may not be shown by clients.
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            let why = "it is not for clients: its extendedKeyUsage lacks clientAuth";
            WHY.set(Some(why.to_owned()));
            E::BadEncoding
        }
        E::Other(other) => {
            WHY.set(Some(other.to_string()));
            E::BadEncoding
        }
        why => why,
    })
}

/// What the library said of a certificate that it could not use, once.
pub(super) fn take_why() -> Option<String> {
    WHY.take()
}

/// The certificate that was refused last on this thread, once.
pub(super) fn take_refused() -> Option<Refused> {
    REFUSED.take()
}

/// Asks another verifier and remembers whose certificate it refused: TLS itself
/// does not tell.
#[derive(Debug)]
pub(super) struct Remembering {
    /// Who is asked.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Who is revoked; the other one does not look at the CAs of `ca_file`.
    pub(super) revocations: Arc<Revocations>,
}

impl ClientCertVerifier for Remembering {
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
        // Who is not believed is not told as revoked, whatever its serial number.
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
