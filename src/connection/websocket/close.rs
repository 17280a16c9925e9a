//! Close frames: the code and the text by which each side says why it ends.

use super::frame::{CONTROL_LEN_MAX, Opcode, write_head};
use crate::connection::CloseReason;

/// Bytes of the code.
const CODE_LEN: usize = 2;

/// A text that is cut, and what it then ends with.
const TEXT_LEN_MAX: usize = CONTROL_LEN_MAX - CODE_LEN;
const CUT: &str = "...";

/// Codes (RFC 6455, section 7.4).
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
pub(super) const PROTOCOL_ERROR: u16 = 1002;
pub(super) const INVALID_DATA: u16 = 1007;
const POLICY: u16 = 1008;
pub(super) const TOO_BIG: u16 = 1009;
const INTERNAL: u16 = 1011;
pub(super) const TRY_LATER: u16 = 1013;

/// A code and a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// The code; `None` in a frame without any.
    pub code: Option<u16>,
    /// The text.
    pub text: String,
}

/// What is wrong with a close frame, in the words of nats-server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WrongClose {
    Code(u16),
    OneByte,
    /// It is answered, with another code.
    Text,
}

impl Close {
    pub(super) fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            text: text.into(),
        }
    }

    /// Reads the payload of the peer's.
    pub(super) fn read(payload: &[u8]) -> Result<Self, WrongClose> {
        let Some((code, text)) = payload.split_first_chunk() else {
            return match payload {
                [] => Ok(Self {
                    code: None,
                    text: String::new(),
                }),
                _ => Err(WrongClose::OneByte),
            };
        };
        let code = u16::from_be_bytes(*code);
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => {}
            _ => return Err(WrongClose::Code(code)),
        }
        let text = str::from_utf8(text).map_err(|_| WrongClose::Text)?;
        Ok(Self::new(code, text))
    }

    /// What a client is told whose connection ends for this reason, as nats-server does; `None`:
    /// nothing, because it would not get it.
    pub(super) fn of(reason: CloseReason) -> Option<Self> {
        use CloseReason as Reason;
        let code = match reason {
            Reason::ClientClosed => NORMAL,
            Reason::Rebalanced | Reason::ServerShutdown | Reason::StaleConnection => GOING_AWAY,
            Reason::BadClientProtocol | Reason::ParseError | Reason::ProtocolViolation => {
                PROTOCOL_ERROR
            }
            Reason::AuthenticationFailure
            | Reason::AuthenticationTimeout
            | Reason::CertificateRevoked
            | Reason::MaxAccountConnections
            | Reason::MaxConnections
            | Reason::MaxControlLine
            | Reason::MaxSubscriptions
            | Reason::TooManyBeforeLogin => POLICY,
            Reason::MaxPayload => TOO_BIG,
            Reason::NoRoomForPayload => TRY_LATER,
            Reason::HandedOver
            | Reason::ReadError
            | Reason::SlowConsumerMemory
            | Reason::SlowConsumerPending
            | Reason::SlowConsumerWriteDeadline
            | Reason::TlsHandshakeFailure
            | Reason::WebSocketHandshakeFailure
            | Reason::WriteError => return None,
            Reason::ClusterNameConflict
            | Reason::DuplicateLeafnode
            | Reason::DuplicateRoute
            | Reason::DuplicateServerName
            | Reason::IncorrectPort
            | Reason::InterestForgotten
            | Reason::Kicked
            | Reason::MinimumVersionRequired
            | Reason::NoRespondersWithoutHeaders
            | Reason::RemoteRemoved
            | Reason::RouteRemoved => INTERNAL,
        };
        Some(Self::new(code, reason.name()))
    }

    /// The frame.
    pub(super) fn frame(&self) -> Vec<u8> {
        let cut = match self.text.len() > TEXT_LEN_MAX {
            true => monitor_client::text::cut(&self.text, TEXT_LEN_MAX - CUT.len()),
            false => &*self.text,
        };
        let end = if cut.len() < self.text.len() { CUT } else { "" };
        let code = self.code.map(u16::to_be_bytes);
        let code = code.as_ref().map_or(&[][..], |code| code);
        let payload = [code, cut.as_bytes(), end.as_bytes()].concat();
        let mut frame = Vec::new();
        write_head(&mut frame, Opcode::Close, false, payload.len());
        frame.extend_from_slice(&payload);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_a_peer_may_send() {
        for code in [1000, 1003, 1007, 1014, 3000, 4999] {
            let payload = [&u16::to_be_bytes(code)[..], b"bye"].concat();
            assert_eq!(Close::read(&payload), Ok(Close::new(code, "bye")));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
            let payload = u16::to_be_bytes(code);
            assert_eq!(Close::read(&payload), Err(WrongClose::Code(code)));
        }
        assert_eq!(Close::read(b"\x03"), Err(WrongClose::OneByte));
        assert_eq!(Close::read(b"\x03\xe8\xff"), Err(WrongClose::Text));
        assert_eq!(Close::read(b"").map(|close| close.code), Ok(None));
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = |len| Close::new(1000, "x".repeat(len)).frame();
        assert_eq!(text(3), b"\x88\x05\x03\xe8xxx");
        assert_eq!(text(123).len(), 2 + 125);
        assert!(text(123).ends_with(b"xxx"));
        assert_eq!(text(124).len(), 2 + 125);
        assert!(text(124).ends_with(b"x..."));
        // Not in the midst of a character.
        let close = Close::new(1000, "é".repeat(100)).frame();
        assert!(str::from_utf8(&close[4..]).is_ok() && close.len() <= 127);
    }
}
