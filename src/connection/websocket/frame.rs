//! The heads of WebSocket frames (RFC 6455, section 5.2), and the masks of payloads. Pure: bytes
//! in, values out. What frames mean to a connection is in [`super::incoming`] and
//! [`super::outgoing`].

/// Bytes of the largest payload of a control frame.
pub(super) const CONTROL_LEN_MAX: usize = 125;

/// Bytes of the longest head that we write: our frames have no mask.
pub(super) const HEAD_LEN_MAX: usize = 10;

const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// Kinds of frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opcode {
    Binary,
    Close,
    Continuation,
    Ping,
    Pong,
    Text,
}

impl Opcode {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it is about the connection, and no part of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// Whether the message ends with it.
    pub(super) is_final: bool,
    /// Whether the message that begins with it is compressed.
    pub(super) is_compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: Option<Mask>,
    /// Bytes of the payload.
    pub(super) len: u64,
}

/// The words of nats-server for what is wrong with a frame by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Malformed {
    CompressedControl,
    ControlNotFinal,
    Length,
    LongControl,
    Reserved,
    UnknownOpcode(u8),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CompressedControl => "control frame must not be compressed",
            Self::ControlNotFinal => "control frame does not have final bit set",
            Self::Length => "invalid 64-bit payload length",
            Self::LongControl => {
                return write!(
                    f,
                    "control frame length bigger than maximum allowed of {CONTROL_LEN_MAX} bytes"
                );
            }
            Self::Reserved => "RSV2 and RSV3 must be clear",
            Self::UnknownOpcode(number) => return write!(f, "unknown opcode {number}"),
        })
    }
}

/// Reads the head of the frame that `bytes` begins with. Returns it with its own length; `None` if
/// it is not complete.
pub(super) fn read_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    let opcode = Opcode::of(first & 0xf).ok_or(Malformed::UnknownOpcode(first & 0xf))?;
    if first & RESERVED != 0 {
        return Err(Malformed::Reserved);
    }
    let (is_final, is_compressed) = (first & FINAL != 0, first & COMPRESSED != 0);
    let short = second & !MASKED;
    if opcode.is_control() {
        if usize::from(short) > CONTROL_LEN_MAX {
            return Err(Malformed::LongControl);
        }
        if !is_final {
            return Err(Malformed::ControlNotFinal);
        }
        if is_compressed {
            return Err(Malformed::CompressedControl);
        }
    }
    let (len, rest) = match short {
        126 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((len, rest)) => (u64::from_be_bytes(*len), rest),
            None => return Ok(None),
        },
        short => (u64::from(short), rest),
    };
    // A negative length, as a signed number has it.
    if i64::try_from(len).is_err() {
        return Err(Malformed::Length);
    }
    let (mask, rest) = match (second & MASKED, rest.split_first_chunk()) {
        (0, _) => (None, rest),
        (_, Some((key, rest))) => (Some(Mask(*key)), rest),
        (_, None) => return Ok(None),
    };
    let head = Head {
        is_final,
        is_compressed,
        opcode,
        mask,
        len,
    };
    Ok(Some((head, bytes.len() - rest.len())))
}

/// Appends the head of a frame of ours: a whole message, without a mask.
pub(super) fn write_head(frames: &mut Vec<u8>, opcode: Opcode, is_compressed: bool, len: usize) {
    let compressed = if is_compressed { COMPRESSED } else { 0 };
    frames.push(FINAL | compressed | opcode.number());
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..126), _) => frames.push(len),
        (_, Ok(len)) => {
            frames.push(126);
            frames.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            frames.push(127);
            frames.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// What a payload's bytes are combined with, from the next one on. The default changes none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    /// Unmasks the next bytes.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let wide = u64::from_ne_bytes([
            self.0[0], self.0[1], self.0[2], self.0[3], self.0[0], self.0[1], self.0[2], self.0[3],
        ]);
        let (words, rest) = bytes.as_chunks_mut();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        self.skip(bytes.len());
    }

    /// Goes on behind the next `len` bytes.
    pub(super) fn skip(&mut self, len: usize) {
        self.0.rotate_left(len % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_was_written_is_read_back() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 30] {
            for is_compressed in [false, true] {
                let mut bytes = Vec::new();
                write_head(&mut bytes, Opcode::Binary, is_compressed, len);
                assert!(bytes.len() <= HEAD_LEN_MAX);
                for cut in 0..bytes.len() {
                    assert_eq!(read_head(&bytes[..cut]), Ok(None), "{len} {cut}");
                }
                let head = Head {
                    is_final: true,
                    is_compressed,
                    opcode: Opcode::Binary,
                    mask: None,
                    len: len as u64,
                };
                assert_eq!(read_head(&bytes), Ok(Some((head, bytes.len()))));
            }
        }
    }

    #[test]
    fn the_shortest_form_of_a_length_is_not_demanded() {
        let long = [0x82, 0xfe, 0, 1, 1, 2, 3, 4, 5];
        let longer = [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5];
        for (bytes, head_len) in [(&long[..], 8), (&longer[..], 14)] {
            let (head, len) = read_head(bytes).unwrap().unwrap();
            assert_eq!((head.len, len), (1, head_len));
        }
    }

    #[test]
    fn what_a_frame_must_not_be() {
        let cases: [(&[u8], Malformed); 7] = [
            (&[0x83, 0x80], Malformed::UnknownOpcode(3)),
            (&[0x8f, 0x80], Malformed::UnknownOpcode(15)),
            (&[0xa2, 0x80], Malformed::Reserved),
            (&[0x09, 0x80], Malformed::ControlNotFinal),
            (&[0xc9, 0x80], Malformed::CompressedControl),
            (&[0x89, 0xfe], Malformed::LongControl),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Malformed::Length),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read_head(bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_mask_goes_on_where_it_stopped() {
        let plain: Vec<u8> = (0..100).collect();
        let key = Mask([7, 77, 177, 0]);
        let mut whole = plain.clone();
        { key }.apply(&mut whole);
        for cut in 0..plain.len() {
            let (mut parts, mut mask) = (plain.clone(), key);
            let (first, second) = parts.split_at_mut(cut);
            mask.apply(first);
            mask.apply(second);
            assert_eq!(parts, whole, "{cut}");
        }
    }
}
