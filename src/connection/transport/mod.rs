//! TLS of a connection: decrypts what the socket carries, and encrypts the other way.
//!
//! A plain connection has no transport and its only cost is one check. With TLS, the reader
//! passes the socket's bytes to [`Tls::open`], and a flush of the outbound queue has its
//! plaintext sealed ([`Tls::sealer`]) in full records. The callers own the buffers, so that
//! an idle connection holds none.

mod session;

use std::io;

use parking_lot::{Mutex, MutexGuard};
use rustls::pki_types::CertificateDer;

use crate::security::{
    failure::Failure,
    suites::{suite_name, version_name},
};

use session::close_notify;
pub use session::{Progress, Session};

/// Plaintext bytes of a full record.
pub const RECORD_LEN: usize = 16 * 1024;

/// Bytes of an incomplete record or handshake message that may wait.
const TAIL_LEN_MAX: usize = 128 * 1024;

/// The TLS session of one connection, either side's.
pub struct Tls {
    state: Mutex<State>,
    /// `1.3` or `1.2`.
    pub version: &'static str,
    /// Name of the cipher suite.
    pub cipher_suite: &'static str,
    /// Whether an earlier session is resumed.
    pub is_resumed: bool,
    /// Whether the handshake preceded INFO.
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
    /// Payload received with the end of the handshake.
    opened: Vec<u8>,
    /// Records of TLS' own that are to be sent before anything else is sealed.
    control: Vec<u8>,
}

/// The result of opening some bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opened {
    /// TLS itself has something to send.
    pub answers: bool,
    /// The peer has closed the session.
    pub ended: bool,
}

impl Tls {
    /// A session whose handshake is complete, and the bytes after the handshake: encrypted
    /// ones, and opened payload.
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

    /// Copies the beginning of an unfinished record in front of where the next bytes of the
    /// socket are read: `buffer` grows to hold it and `space` more. Payload that came with
    /// the end of the handshake is appended to `plain`. Returns the length of the
    /// beginning.
    pub fn copy_tail(&self, buffer: &mut Vec<u8>, space: usize, plain: &mut Vec<u8>) -> usize {
        let mut state = self.state.lock();
        if !state.opened.is_empty() {
            plain.append(&mut state.opened);
            state.opened = Vec::new();
        }
        let tail = &state.tail;
        if buffer.len() < tail.len() + space {
            buffer.resize(tail.len() + space, 0);
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
        // As a readable text: the peer may refuse our certificate this late.
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

    /// Begins to seal: records that TLS itself has to send are appended to `sealed`
    /// immediately.
    pub fn sealer<'a>(&'a self, sealed: &'a mut Vec<u8>) -> Sealer<'a> {
        let mut state = self.state.lock();
        if !state.control.is_empty() {
            sealed.append(&mut state.control);
            state.control = Vec::new();
        }
        Sealer { state, sealed }
    }

    /// The closing alert, after which nothing follows.
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
}
