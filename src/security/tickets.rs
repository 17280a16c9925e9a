//! The tickets by which clients take their sessions up again.
//!
//! [`super::tls`] hands them to rustls. A ticket is good as long as the certificate
//! of its session is: that is looked at when the ticket is opened, so that a client
//! whose certificate has ended meanwhile shakes hands in full and is told why it is
//! refused. Nobody else's ticket is touched by that.

use std::{fmt, sync::Arc};

use rustls::{
    Error,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, UnixTime},
    server::{ProducesTickets, danger::ClientCertVerifier},
};

use super::{
    certificate::parse,
    verifier::{take_refused, take_why},
};

/// Bytes that say how long a certificate in a ticket is.
const LEN_BYTES: usize = 3;

/// Tickets of one config.
pub(super) struct Tickets {
    keys: Arc<dyn ProducesTickets>,
    /// Who says whether a certificate is still good; `None` where nobody is asked
    /// for one.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    /// With new keys.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub(super) fn new(verifier: Option<Arc<dyn ClientCertVerifier>>) -> Result<Self, Error> {
        Ok(Self {
            keys: Ticketer::new()?,
            verifier,
        })
    }

    fn is_good(&self, session: &[u8]) -> bool {
        let Some(verifier) = &self.verifier else {
            return true;
        };
        let chain = chain_in(session);
        let Some((leaf, rest)) = chain.split_first() else {
            return true;
        };
        let result = verifier.verify_client_cert(leaf, rest, UnixTime::now());
        if result.is_err() {
            // The full handshake tells.
            drop((take_refused(), take_why()));
        }
        result.is_ok()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let session = self.keys.decrypt(cipher)?;
        self.is_good(&session).then_some(session)
    }
}

/// The certificates in what a library wrote of a session: each has its length
/// before it, and they stand behind each other.
fn chain_in(session: &[u8]) -> Vec<CertificateDer<'_>> {
    let first = (0..session.len()).find(|at| certificate_at(session, *at).is_some());
    let mut at = first.unwrap_or(session.len());
    let mut chain = Vec::new();
    while let Some(der) = certificate_at(session, at) {
        chain.push(CertificateDer::from(der));
        at += LEN_BYTES + der.len();
    }
    chain
}

fn certificate_at(session: &[u8], at: usize) -> Option<&[u8]> {
    // A sequence whose length takes two bytes, as that of every certificate.
    const START: [u8; 2] = [0x30, 0x82];
    let rest = session.get(at..)?;
    let len = rest.get(..LEN_BYTES)?;
    let len = len
        .iter()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    let der = rest.get(LEN_BYTES..)?.get(..len)?;
    (der.starts_with(&START) && parse(der).is_ok()).then_some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_session_has_no_certificates() {
        for bytes in [
            &b""[..],
            b"0",
            &[0x30, 0x82, 0, 1, 0],
            &[0, 0, 4, 0x30, 0x82, 0, 0],
        ] {
            assert!(chain_in(bytes).is_empty());
        }
    }
}
