//! TLS under a connection: what the socket carries becomes what the peer says,
//! and back.
//!
//! A plain connection has no transport and pays for a look at that. With TLS,
//! whoever reads hands the socket's bytes to [`Tls::open`], and whoever flushes
//! the outbound queue has its plaintext sealed ([`Tls::sealer`]) in full records.
//! Both sides own the buffers, so that a connection at rest holds none.

use std::io;

use parking_lot::{Mutex, MutexGuard};
use rustls::{
    Error, HandshakeKind, ProtocolVersion, SupportedCipherSuite,
    client::UnbufferedClientConnection,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use crate::security::{
    failure::Failure,
    suites::{suite_name, version_name},
};

/// Plaintext bytes of a full record.
pub const RECORD_LEN: usize = 16 * 1024;

/// Bytes that a record takes beyond its plaintext, at most.
const RECORD_OVERHEAD: usize = 64;

/// Bytes of an incomplete record or handshake message that may wait.
const TAIL_LEN_MAX: usize = 128 * 1024;

/// The TLS session of one connection, either side's.
pub struct Tls {
    state: Mutex<State>,
    /// `1.3` or `1.2`.
    pub version: &'static str,
    /// Name of the cipher suite.
    pub cipher_suite: &'static str,
    /// Whether the session goes on from an earlier one.
    pub is_resumed: bool,
    /// Whether TLS came before INFO.
    pub is_first: bool,
    /// Whether we began: the peer's certificate is one of a server.
    pub is_dialled: bool,
}

struct State {
    session: Session,
    /// Input that is not handled yet, such as the beginning of a record. The
    /// session keeps places in it, so it stays here until `open` has the next.
    tail: Vec<u8>,
    /// The session failed: it must not be asked again.
    broken: bool,
    /// Payload that came with the end of the handshake.
    opened: Vec<u8>,
    /// Records of TLS' own that are to be sent before anything else is sealed.
    control: Vec<u8>,
}

/// A TLS session before, during and after its handshake.
pub enum Session {
    /// The peer began.
    Server(Box<UnbufferedServerConnection>),
    /// We began.
    Client(Box<UnbufferedClientConnection>),
}

/// What came of opening some bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opened {
    /// TLS wants to send something itself.
    pub answers: bool,
    /// The peer has said its last word.
    pub ended: bool,
}

/// What a session wants next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The handshake needs more from the peer.
    Blocked,
    /// The handshake is done, and every complete record has been opened.
    Established,
    /// The peer has said its last word.
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
    /// Works on `incoming` until more is needed: opened payload goes behind
    /// `plain`, what must be sent behind `outgoing`. Returns how many bytes of
    /// `incoming` are handled; they are no longer what they were.
    ///
    /// # Errors
    ///
    /// The peer broke the rules, or is not believed. What is in `outgoing` then
    /// tells it so.
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

    /// After a failure: what was to be sent before it, and the alert that tells the
    /// peer. Not a step behind that, for what is left of the input must not be looked
    /// at again.
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
    fn seal(&mut self, tail: &mut [u8], plain: &[u8], sealed: &mut Vec<u8>) -> io::Result<()> {
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

    /// Whether the session goes on from an earlier one.
    pub fn is_resumed(&self) -> bool {
        let kind = match self {
            Self::Server(server) => server.handshake_kind(),
            Self::Client(client) => client.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }

    fn negotiated(&self) -> (Option<ProtocolVersion>, Option<SupportedCipherSuite>) {
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
            append(outgoing, 0, |room| match data.encode(room) {
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
            let room = plain.len() + (plain.len() / RECORD_LEN + 1) * RECORD_OVERHEAD;
            let done = append(sealed, room, |room| match traffic.encrypt(plain, room) {
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
            append(sealed, 0, |room| match data.encode(room) {
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

/// Lets `write` write behind the end of `buffer`, where it finds `room` bytes; it
/// returns what it wrote, or how much room it needs. `false`: it wrote nothing.
fn append(
    buffer: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> bool {
    let start = buffer.len();
    // The second try has the room that the first one asked for.
    for _ in 0..2 {
        buffer.resize(start + room, 0);
        match write(&mut buffer[start..]) {
            Ok(written) => {
                buffer.truncate(start + written);
                return true;
            }
            Err(Some(needed)) => room = needed,
            Err(None) => break,
        }
    }
    buffer.truncate(start);
    false
}

impl Tls {
    /// A session whose handshake is done, and what came behind the handshake:
    /// bytes that are not opened, and payload.
    pub fn new(session: Session, tail: Vec<u8>, opened: Vec<u8>) -> Self {
        let (version, suite) = session.negotiated();
        Self {
            is_resumed: session.is_resumed(),
            is_first: false,
            is_dialled: matches!(session, Session::Client(_)),
            version: version.map_or("unknown", version_name),
            cipher_suite: suite.map_or("unknown", suite_name),
            state: Mutex::new(State {
                session,
                tail,
                broken: false,
                opened,
                control: Vec::new(),
            }),
        }
    }

    /// Copies the beginning of an unfinished record to where the next bytes of
    /// the socket are read behind it: `buffer` grows to hold it and `room` more.
    /// Payload that came with the end of the handshake goes behind `plain`.
    /// Returns the length of the beginning.
    pub fn copy_tail(&self, buffer: &mut Vec<u8>, room: usize, plain: &mut Vec<u8>) -> usize {
        let mut state = self.state.lock();
        if !state.opened.is_empty() {
            plain.append(&mut state.opened);
            state.opened = Vec::new();
        }
        let tail = &state.tail;
        if buffer.len() < tail.len() + room {
            buffer.resize(tail.len() + room, 0);
        }
        buffer[..tail.len()].copy_from_slice(tail);
        tail.len()
    }

    /// Opens what the socket brought, the tail of the bytes before in front of
    /// it: the payload goes behind `plain`.
    ///
    /// # Errors
    ///
    /// The peer broke the rules.
    pub fn open(&self, incoming: &mut [u8], plain: &mut Vec<u8>) -> io::Result<Opened> {
        let mut state = self.state.lock();
        let State {
            session,
            tail,
            control,
            broken,
            ..
        } = &mut *state;
        if *broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (handled, result) = session.advance(incoming, plain, control);
        let rest = &incoming[handled..];
        *broken = result.is_err() || rest.len() > TAIL_LEN_MAX;
        // In words: what a peer says to our certificate may come this late.
        let progress = result.map_err(|error| io::Error::other(Failure::of(&error)))?;
        if *broken {
            return Err(io::Error::other("an endless TLS record"));
        }
        // A connection at rest holds no buffer.
        if !rest.is_empty() || !tail.is_empty() {
            *tail = rest.to_vec();
        }
        Ok(Opened {
            answers: !control.is_empty(),
            ended: progress == Progress::Ended,
        })
    }

    /// Begins to seal: the records that TLS itself wants to send go to `sealed`
    /// at once.
    pub fn sealer<'a>(&'a self, sealed: &'a mut Vec<u8>) -> Sealer<'a> {
        let mut state = self.state.lock();
        if !state.control.is_empty() {
            sealed.append(&mut state.control);
            state.control = Vec::new();
        }
        Sealer { state, sealed }
    }

    /// The last record: that nothing comes behind it.
    pub fn seal_end(&self) -> Vec<u8> {
        let state = &mut *self.state.lock();
        let mut sealed = std::mem::take(&mut state.control);
        if !state.broken {
            let tail = &mut state.tail;
            sealed.extend(match &mut state.session {
                Session::Server(server) => close_notify(server.process_tls_records(tail)),
                Session::Client(client) => close_notify(client.process_tls_records(tail)),
            });
        }
        sealed
    }

    /// The certificates that the peer showed, its own first.
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.state.lock().session.peer_certificates().to_vec()
    }
}

fn close_notify<Data>(status: UnbufferedStatus<'_, '_, Data>) -> Vec<u8> {
    let mut sealed = Vec::new();
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        append(&mut sealed, RECORD_OVERHEAD, |room| {
            match traffic.queue_close_notify(room) {
                Ok(len) => Ok(len),
                Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(None),
            }
        });
    }
    sealed
}

/// Seals plaintext, piece by piece, in the order of the pieces.
pub struct Sealer<'a> {
    state: MutexGuard<'a, State>,
    sealed: &'a mut Vec<u8>,
}

impl Sealer<'_> {
    /// Seals one piece; records are full but for its last.
    ///
    /// # Errors
    ///
    /// The session has ended.
    pub fn seal(&mut self, plain: &[u8]) -> io::Result<()> {
        let state = &mut *self.state;
        match state.broken {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => state.session.seal(&mut state.tail, plain, self.sealed),
        }
    }

    /// Whether something is there to be sent.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }
}
