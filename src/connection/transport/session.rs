//! A TLS session, either side's: one step after the other, as far as the input goes.

use std::io;

use rustls::{
    Error, HandshakeKind, ProtocolVersion, SupportedCipherSuite,
    client::UnbufferedClientConnection,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use super::RECORD_LEN;

/// Bytes of a record beyond its plaintext, at most.
const RECORD_OVERHEAD: usize = 64;

/// A TLS session before, during and after its handshake.
pub enum Session {
    /// The peer began.
    Server(Box<UnbufferedServerConnection>),
    /// We began.
    Client(Box<UnbufferedClientConnection>),
}

/// What a session needs next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The handshake needs more from the peer.
    Blocked,
    /// The handshake is done, and every complete record has been opened.
    Established,
    /// The peer has closed the session.
    Ended,
}

/// A record of TLS 1.2 that is not sealed: the fatal alert `certificate_required`.
const PLAIN_NO_CERTIFICATE: &[u8] = &[0x15, 3, 3, 0, 2, 2, 116];

/// Records of a handshake that may wait to be sent when it fails.
const RECORDS_BEFORE_ALERT_MAX: usize = 16;

/// Whether the last record is an alert, sealed or not: it has two bytes, and sealed a
/// byte for its kind and 16 to prove it.
fn ends_with_alert(records: &[u8]) -> bool {
    let ends_with = |kind: u8, len: u8| {
        let at = records.len().checked_sub(5 + usize::from(len));
        at.is_some_and(|at| records[at..].starts_with(&[kind, 3, 3, 0, len]))
    };
    ends_with(0x15, 2) || ends_with(0x17, 19)
}

/// The alert `handshake_failure`.
const HANDSHAKE_FAILURE: u8 = 40;

impl Session {
    /// Processes `incoming` until more is needed: opened payload is appended to `plain`,
    /// what must be sent to `outgoing`. Returns how many bytes of `incoming` are handled;
    /// they are overwritten.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol, or its certificate is not accepted. `outgoing` then
    /// ends with the alert.
    pub fn advance(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> (usize, Result<Progress, Error>) {
        let mut at = 0;
        let result = self.advance_slice(incoming, &mut at, plain, outgoing);
        if let Err(error) = &result {
            self.take_alert(&mut incoming[at..], plain, outgoing);
            // The alert for a missing certificate is one of TLS 1.3, where it is sealed;
            // peers of TLS 1.2 know another one.
            if *error == Error::NoCertificatesPresented && outgoing.ends_with(PLAIN_NO_CERTIFICATE)
            {
                outgoing.pop();
                outgoing.push(HANDSHAKE_FAILURE);
            }
        }
        (at, result)
    }

    /// After a failure: output from before it, and the alert for the peer. Processing stops
    /// there, as the rest of the input must not be read again.
    fn take_alert(&mut self, rest: &mut [u8], plain: &mut Vec<u8>, outgoing: &mut Vec<u8>) {
        for _ in 0..RECORDS_BEFORE_ALERT_MAX {
            let before = outgoing.len();
            // The failure itself is known already.
            let _ = match self {
                Self::Server(server) => step(server.process_tls_records(rest), plain, outgoing),
                Self::Client(client) => step(client.process_tls_records(rest), plain, outgoing),
            };
            if outgoing.len() == before || ends_with_alert(&outgoing[before..]) {
                return;
            }
        }
    }

    fn advance_slice(
        &mut self,
        incoming: &mut [u8],
        at: &mut usize,
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Progress, Error> {
        loop {
            let rest = &mut incoming[*at..];
            let (discard, step) = match self {
                Self::Server(server) => step(server.process_tls_records(rest), plain, outgoing),
                Self::Client(client) => step(client.process_tls_records(rest), plain, outgoing),
            };
            *at += discard;
            if let Some(progress) = step? {
                return Ok(progress);
            }
        }
    }

    /// Seals `plain`. `tail` is the input that is not handled yet: rustls keeps
    /// places in it.
    pub(super) fn seal(
        &mut self,
        tail: &mut [u8],
        plain: &[u8],
        sealed: &mut Vec<u8>,
    ) -> io::Result<()> {
        loop {
            let (_, step) = match self {
                Self::Server(server) => encrypt(server.process_tls_records(tail), plain, sealed),
                Self::Client(client) => encrypt(client.process_tls_records(tail), plain, sealed),
            };
            if step? {
                return Ok(());
            }
        }
    }

    /// The certificates that the peer showed, its own first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        let certificates = match self {
            Self::Server(server) => server.peer_certificates(),
            Self::Client(client) => client.peer_certificates(),
        };
        certificates.unwrap_or_default()
    }

    /// Whether an earlier session is resumed.
    pub fn is_resumed(&self) -> bool {
        let kind = match self {
            Self::Server(server) => server.handshake_kind(),
            Self::Client(client) => client.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }

    pub(super) fn negotiated(&self) -> (Option<ProtocolVersion>, Option<SupportedCipherSuite>) {
        match self {
            Self::Server(server) => (server.protocol_version(), server.negotiated_cipher_suite()),
            Self::Client(client) => (client.protocol_version(), client.negotiated_cipher_suite()),
        }
    }
}

/// Handles one state. `None`: call again.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
) -> (usize, Result<Option<Progress>, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let progress = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut result = Ok(None);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => result = Err(error),
                }
            }
            result
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            append(outgoing, 0, |space| match data.encode(space) {
                Ok(len) => Ok(len),
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
            });
            Ok(None)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(None)
        }
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Some(Progress::Ended)),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Some(Progress::Established)),
        Ok(ConnectionState::BlockedHandshake) => Ok(Some(Progress::Blocked)),
        // Early data are not enabled, and there are no other states.
        Ok(_) => Err(Error::General("an unexpected state".into())),
    };
    (discard, progress)
}

/// Seals `plain` if the session is ready; `false`: call again.
fn encrypt<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &[u8],
    sealed: &mut Vec<u8>,
) -> (usize, io::Result<bool>) {
    let UnbufferedStatus { discard, state } = status;
    let result = match state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let space = plain.len() + (plain.len() / RECORD_LEN + 1) * RECORD_OVERHEAD;
            let done = append(sealed, space, |space| match traffic.encrypt(plain, space) {
                Ok(len) => Ok(len),
                Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(None),
            });
            match done {
                true => Ok(true),
                false => Err(io::Error::other("the TLS session's keys are used up")),
            }
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            append(sealed, 0, |space| match data.encode(space) {
                Ok(len) => Ok(len),
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
            });
            Ok(false)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(false)
        }
        Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
        Err(error) => Err(io::Error::other(error)),
    };
    (discard, result)
}

/// Lets `write` write at the end of `buffer`, where it has `space` bytes; it returns how
/// much it wrote, or how much space it needs. `false`: it wrote nothing.
pub(super) fn append(
    buffer: &mut Vec<u8>,
    mut space: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> bool {
    let start = buffer.len();
    // The second attempt has the space that the first one requested.
    for _ in 0..2 {
        buffer.resize(start + space, 0);
        match write(&mut buffer[start..]) {
            Ok(written) => {
                buffer.truncate(start + written);
                return true;
            }
            Err(Some(needed)) => space = needed,
            Err(None) => break,
        }
    }
    buffer.truncate(start);
    false
}

pub(super) fn close_notify<Data>(status: UnbufferedStatus<'_, '_, Data>) -> Vec<u8> {
    let mut sealed = Vec::new();
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        append(&mut sealed, RECORD_OVERHEAD, |space| {
            match traffic.queue_close_notify(space) {
                Ok(len) => Ok(len),
                Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(None),
            }
        });
    }
    sealed
}
