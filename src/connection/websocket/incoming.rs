//! What a peer sends: frames are taken apart, and their payloads are the bytes of its protocol.
//!
//! Whatever a frame announces, no more is held of it than what was received with one read. The
//! payload of a frame is passed on as it arrives; a compressed one as far as the reader has room.

use std::fmt;

use super::{
    Agreed, WebSocket, WebSocketBuffers,
    close::{self, Close, WrongClose},
    deflate::{Corrupt, Inflater},
    frame::{Head, Malformed, Mask, Opcode, read_head},
};
use crate::telemetry::pool::{Pool, Share};

/// Bytes that were received and are not taken apart yet: at most one read of each connection.
pub static KEPT: Pool = Pool::new(usize::MAX);

/// Bytes that are inflated from one piece of a payload: it is unmasked on the way.
const PIECE_LEN: usize = 4 * 1024;

/// What the peer sends.
pub(super) struct Incoming {
    agreed: Agreed,
    /// Bytes of a compressed message, and of what it becomes, at most.
    message_max: u64,
    /// Received bytes that are not taken apart: the beginning of a head, a control frame that is
    /// not complete, or, if `is_unread`, more.
    kept: Vec<u8>,
    booked: Share,
    /// What is kept, or what the inflater has, can be opened without more bytes, or the end is to
    /// be handled.
    is_unread: bool,
    stage: Stage,
    /// Why nothing more is read.
    ended: Option<Ended>,
}

/// Why nothing more is read of a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// It has sent a close frame.
    ByPeer,
    /// What it did wrong, in words.
    Broken(String),
}

/// Where in the peer's frames it is.
enum Stage {
    /// Before a message.
    Between,
    /// In a message, before a frame of it.
    Message(Option<Box<Inflater>>),
    /// In the payload of a frame.
    Payload(Payload, Option<Box<Inflater>>),
}

/// A payload of which some is to come.
#[derive(Clone, Copy)]
struct Payload {
    /// Bytes to come.
    rest: u64,
    mask: Mask,
    is_final: bool,
}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Violation {
    Close(WrongClose),
    CompressedUnasked,
    Corrupt,
    Crowded,
    Malformed(Malformed),
    MessageInMessage,
    StrayContinuation,
    TooBig,
    Unmasked,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close(WrongClose::Code(code)) => {
                return write!(f, "invalid close status code {code}");
            }
            Self::Close(WrongClose::OneByte) => "close frame payload cannot be 1 byte",
            Self::Close(WrongClose::Text) => "invalid utf8 body in close frame",
            Self::CompressedUnasked => {
                "compressed frame received without negotiated permessage-deflate"
            }
            Self::Corrupt => "a compressed message is corrupt",
            Self::Crowded => "too many compressed messages are incomplete",
            Self::Malformed(malformed) => return malformed.fmt(f),
            Self::MessageInMessage => {
                "new message started before final frame for previous message was received"
            }
            Self::StrayContinuation => "invalid continuation frame",
            Self::TooBig => "maximum payload exceeded",
            Self::Unmasked => "mask bit missing",
        })
    }
}

impl Violation {
    /// The code of the close frame that tells it.
    fn code(self) -> u16 {
        match self {
            Self::Close(WrongClose::Text) | Self::Corrupt => close::INVALID_DATA,
            Self::Crowded => close::TRY_LATER,
            Self::TooBig => close::TOO_BIG,
            _ => close::PROTOCOL_ERROR,
        }
    }
}

impl From<Corrupt> for Violation {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}

impl WebSocket {
    /// Whether the peer has ended the connection, or must not go on; to be asked once all that came
    /// before is handled.
    pub fn ended(&self) -> Option<Ended> {
        self.incoming.lock().ended.clone()
    }

    /// Takes the bytes out that are kept, for more to be received behind them. Returns whether
    /// that is not needed.
    pub fn take_kept(&self, received: &mut Vec<u8>) -> bool {
        let mut incoming = self.incoming.lock();
        received.clear();
        received.append(&mut incoming.kept);
        if incoming.kept.capacity() > 0 {
            incoming.kept = Vec::new();
        }
        incoming.booked.release_all();
        std::mem::take(&mut incoming.is_unread)
    }

    /// Opens what was received: `buffers.received`, what was kept at its beginning. Payload goes
    /// behind `plain`, which does not grow beyond `end`; what is left then is kept. Returns whether
    /// something is to be sent: pongs.
    pub fn open(
        &self,
        buffers: &mut WebSocketBuffers,
        plain: &mut Vec<u8>,
        end: usize,
        is_before_login: bool,
    ) -> bool {
        let WebSocketBuffers {
            received, inflater, ..
        } = buffers;
        let mut incoming = self.incoming.lock();
        let mut opening = Opening {
            websocket: self,
            received,
            at: 0,
            plain,
            end,
            spare: inflater,
            answers: false,
            ended: false,
        };
        let mut result = incoming.open(&mut opening);
        let Opening {
            at, answers, ended, ..
        } = opening;
        if result.is_ok() && !incoming.hold_inflater(is_before_login) {
            result = Err(Violation::Crowded);
        }
        match result {
            Ok(()) if ended => incoming.end(Ended::ByPeer),
            Ok(()) => incoming.keep(&received[at..]),
            Err(violation) => {
                let text = violation.to_string();
                self.end_with(Close::new(violation.code(), text.clone()));
                incoming.end(Ended::Broken(text));
            }
        }
        answers
    }
}

/// What is worked on while some bytes are opened.
struct Opening<'a> {
    websocket: &'a WebSocket,
    received: &'a mut [u8],
    /// How far they are taken apart.
    at: usize,
    plain: &'a mut Vec<u8>,
    end: usize,
    /// An inflater that no message uses.
    spare: &'a mut Option<Box<Inflater>>,
    /// Something is to be sent.
    answers: bool,
    /// There was a close frame.
    ended: bool,
}

impl Opening<'_> {
    fn rest(&self) -> &[u8] {
        &self.received[self.at..]
    }

    fn is_full(&self) -> bool {
        self.plain.len() >= self.end
    }
}

impl Incoming {
    pub(super) fn new(agreed: Agreed, message_max: u64) -> Self {
        Self {
            agreed,
            message_max,
            kept: Vec::new(),
            booked: Share::new(&KEPT),
            is_unread: false,
            stage: Stage::Between,
            ended: None,
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        self.is_unread
    }

    #[cfg(test)]
    pub(super) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    /// Nothing of the peer counts any more.
    fn end(&mut self, ended: Ended) {
        self.ended = Some(ended);
        self.is_unread = true;
        self.stage = Stage::Between;
    }

    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() && self.ended.is_none() {
            self.kept = rest.to_vec();
            self.booked.reserve_unlimited(self.kept.capacity());
        }
    }

    /// Books the inflater of a message that is not complete. `false`: there are too many.
    fn hold_inflater(&mut self, is_before_login: bool) -> bool {
        match &mut self.stage {
            Stage::Message(Some(inflater)) | Stage::Payload(_, Some(inflater)) => {
                inflater.book(is_before_login)
            }
            _ => true,
        }
    }

    /// Opens frame after frame.
    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), Violation> {
        while self.ended.is_none() && !opening.ended {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Between) {
                Stage::Payload(payload, inflater) => {
                    let (stage, goes_on) = self.open_payload(opening, payload, inflater)?;
                    self.stage = stage;
                    if !goes_on {
                        return Ok(());
                    }
                    continue;
                }
                before => match self.open_head(opening, before)? {
                    (stage, true) => stage,
                    (stage, false) => {
                        self.stage = stage;
                        return Ok(());
                    }
                },
            };
        }
        Ok(())
    }

    /// Opens the head of a frame, of a control frame all of it. Returns where it goes on, and
    /// whether more can be opened now.
    fn open_head(
        &self,
        opening: &mut Opening<'_>,
        before: Stage,
    ) -> Result<(Stage, bool), Violation> {
        let head = read_head(opening.rest()).map_err(Violation::Malformed)?;
        if opening.rest().len() > 1 && !self.agreed.no_masking && opening.rest()[1] & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let Some((head, head_len)) = head else {
            return Ok((before, false));
        };
        if head.opcode.is_control() {
            let goes_on = open_control(opening, &head, head_len)?;
            return Ok((before, goes_on));
        }
        let inflater = self.begin_frame(opening, &head, before)?;
        opening.at += head_len;
        let payload = Payload {
            rest: head.len,
            // Frames without a mask are as if they had one of zeros.
            mask: head.mask.unwrap_or_default(),
            is_final: head.is_final,
        };
        Ok((Stage::Payload(payload, inflater), true))
    }

    /// Checks that a frame may follow. Returns the inflater of its message.
    fn begin_frame(
        &self,
        opening: &mut Opening<'_>,
        head: &Head,
        before: Stage,
    ) -> Result<Option<Box<Inflater>>, Violation> {
        match (head.opcode, before) {
            (Opcode::Continuation, Stage::Message(inflater)) if !head.is_compressed => Ok(inflater),
            (Opcode::Continuation, _) => Err(Violation::StrayContinuation),
            (_, Stage::Message(_)) => Err(Violation::MessageInMessage),
            _ if !head.is_compressed => Ok(None),
            _ if !self.agreed.compression => Err(Violation::CompressedUnasked),
            _ => {
                let spare = opening.spare.take();
                Ok(Some(spare.unwrap_or_else(|| Box::new(Inflater::new()))))
            }
        }
    }

    /// Opens what is there of a payload. Returns where it goes on, and whether more can be opened
    /// now.
    fn open_payload(
        &mut self,
        opening: &mut Opening<'_>,
        mut payload: Payload,
        mut inflater: Option<Box<Inflater>>,
    ) -> Result<(Stage, bool), Violation> {
        let is_complete = match &mut inflater {
            None => pass_on(opening, &mut payload),
            Some(inflater) => inflate(opening, &mut payload, inflater, self.message_max)?,
        };
        if !is_complete {
            // Otherwise more bytes are needed.
            self.is_unread = opening.is_full();
            return Ok((Stage::Payload(payload, inflater), false));
        }
        if !payload.is_final {
            return Ok((Stage::Message(inflater), true));
        }
        if let Some(mut inflater) = inflater {
            inflater.reset();
            *opening.spare = Some(inflater);
        }
        Ok((Stage::Between, true))
    }
}

/// Passes on what is there of a plain payload; whether that is all of it.
fn pass_on(opening: &mut Opening<'_>, payload: &mut Payload) -> bool {
    let room = opening.end.saturating_sub(opening.plain.len());
    let len = opening.rest().len().min(room);
    let len = usize::try_from(payload.rest).map_or(len, |rest| rest.min(len));
    let bytes = &mut opening.received[opening.at..][..len];
    payload.mask.apply(bytes);
    opening.plain.extend_from_slice(bytes);
    opening.at += len;
    payload.rest -= len as u64;
    payload.rest == 0
}

/// The same of a compressed one.
fn inflate(
    opening: &mut Opening<'_>,
    payload: &mut Payload,
    inflater: &mut Inflater,
    message_max: u64,
) -> Result<bool, Violation> {
    loop {
        let len = opening.rest().len().min(PIECE_LEN);
        let len = usize::try_from(payload.rest).map_or(len, |rest| rest.min(len));
        let mut piece = [0; PIECE_LEN];
        let piece = &mut piece[..len];
        piece.copy_from_slice(&opening.rest()[..len]);
        { payload.mask }.apply(piece);
        let used = inflater.inflate(piece, opening.plain, opening.end)?;
        payload.mask.skip(used);
        opening.at += used;
        payload.rest -= used as u64;
        if inflater.read.max(inflater.made) > message_max {
            return Err(Violation::TooBig);
        }
        if payload.rest == 0 {
            return match payload.is_final {
                // What it has left is passed on before the next frame is waited for.
                false => Ok(!opening.is_full()),
                true => {
                    let is_done = inflater.finish(opening.plain, opening.end)?;
                    match inflater.made > message_max {
                        true => Err(Violation::TooBig),
                        false => Ok(is_done),
                    }
                }
            };
        }
        if opening.is_full() || opening.rest().is_empty() {
            return Ok(false);
        }
    }
}

/// Handles a control frame. Returns whether it was complete.
fn open_control(
    opening: &mut Opening<'_>,
    head: &Head,
    head_len: usize,
) -> Result<bool, Violation> {
    // At most 125.
    let whole = head_len + head.len as usize;
    if opening.rest().len() < whole {
        return Ok(false);
    }
    let payload = &mut opening.received[opening.at + head_len..][..whole - head_len];
    head.mask.unwrap_or_default().apply(payload);
    match head.opcode {
        Opcode::Ping => {
            opening.websocket.answer_ping(payload);
            opening.answers = true;
        }
        Opcode::Close => {
            let close = Close::read(payload).map_err(Violation::Close)?;
            opening.websocket.end_with(close);
            opening.ended = true;
        }
        _ => {}
    }
    opening.at += whole;
    Ok(true)
}
