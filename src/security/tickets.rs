//! TLS session tickets, by which clients resume their sessions.
//!
//! [`super::tls`] hands them to rustls. A ticket is valid as long as the client certificate of its
//! session is. This is checked when the ticket is decrypted: a client whose certificate has expired
//! or was revoked meanwhile makes a full handshake, which says why it is refused. Other tickets are
//! not affected. The certificate is searched for in bytes that rustls wrote in its own format, so
//! after the handshake the certificate that rustls itself read is checked again
//! ([`check_resumed`](super::tls::Material::check_resumed)).

use std::{fmt, sync::Arc};

use rustls::{
    Error,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, UnixTime},
    server::{ProducesTickets, danger::ClientCertVerifier},
};

use super::{
    certificate::parse,
    verifier::{take_reason, take_refused},
};

/// Bytes of the length in front of each certificate in a ticket.
const LEN_BYTES: usize = 3;

/// The tickets of one rustls config.
pub(super) struct Tickets {
    keys: Arc<dyn ProducesTickets>,
    /// Checks whether a certificate is still valid; `None` if clients need none.
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

    fn is_valid(&self, session: &[u8]) -> bool {
        let Some(verifier) = &self.verifier else {
            return true;
        };
        let chain = chain_in(session);
        let Some((leaf, rest)) = chain.split_first() else {
            return !verifier.client_auth_mandatory();
        };
        let result = verifier.verify_client_cert(leaf, rest, UnixTime::now());
        if result.is_err() {
            // The full handshake that follows reports the error.
            drop((take_refused(), take_reason()));
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
        self.is_valid(&session).then_some(session)
    }
}

/// The certificates in a session that rustls serialised: one after the other, each preceded by its
/// length.
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
    let rest = session.get(at..)?;
    let (len, rest) = rest.split_at_checked(LEN_BYTES)?;
    let der = rest.get(..number(len))?;
    (sequence_len(der) == Some(der.len()) && parse(der).is_ok()).then_some(der)
}

/// Bytes of the DER sequence that begins here, header included.
fn sequence_len(der: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    /// In the long form the low bits give the number of length bytes.
    const LONG: u8 = 0x80;
    let [SEQUENCE, first, rest @ ..] = der else {
        return None;
    };
    if *first < LONG {
        return Some(2 + usize::from(*first));
    }
    let len_bytes = usize::from(first - LONG);
    // A certificate in a session cannot be longer than its length field can express.
    let len = rest.get(..len_bytes).filter(|len| len.len() <= LEN_BYTES)?;
    Some(2 + len_bytes + number(len))
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_hold_no_certificates() {
        for bytes in [
            &b""[..],
            b"0",
            &[0x30, 0x82, 0, 1, 0],
            &[0, 0, 4, 0x30, 0x82, 0, 0],
        ] {
            assert!(chain_in(bytes).is_empty());
        }
    }

    #[test]
    fn sequences_of_every_length_are_measured() {
        for (head, len) in [
            (&[0x30, 0x05][..], 5),
            (&[0x30, 0x7f], 127),
            (&[0x30, 0x81, 0xd6], 214),
            (&[0x30, 0x82, 0x01, 0x00], 256),
            (&[0x30, 0x83, 0x01, 0x00, 0x00], 65536),
        ] {
            assert_eq!(sequence_len(head), Some(head.len() + len), "{head:x?}");
        }
        for other in [
            &[][..],
            &[0x30],
            &[0x31, 0x05],
            &[0x30, 0x82, 0x01],
            &[0x30, 0x84, 0, 0, 0, 1],
            &[0x30, 0xff],
        ] {
            assert_eq!(sequence_len(other), None, "{other:x?}");
        }
    }
}
