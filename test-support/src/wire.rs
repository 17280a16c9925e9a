//! Parses a broker's byte stream into protocol frames.

use std::fmt;

/// One protocol unit that a broker sends to a client.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct Frame {
    /// The control line without its line end.
    pub line: Vec<u8>,
    /// Headers and payload of a MSG or HMSG, without the line end after them.
    pub body: Vec<u8>,
}

impl Frame {
    /// The first word of the control line, such as `MSG`.
    pub fn verb(&self) -> &[u8] {
        self.line.split(|&byte| byte == b' ').next().unwrap_or(&[])
    }

    /// Whether this is a MSG or HMSG, or the LMSG of a leafnode connection.
    pub fn is_message(&self) -> bool {
        matches!(self.verb(), b"MSG" | b"HMSG" | b"LMSG")
    }

    /// The words of the control line after the verb.
    pub fn arguments(&self) -> Vec<String> {
        self.line
            .split(|&byte| byte == b' ')
            .skip(1)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escape(&self.line))?;
        if self.is_message() {
            write!(f, " | {}", escape(&self.body))?;
        }
        Ok(())
    }
}

/// Bytes as readable ASCII: control and other bytes escaped, quotes unchanged.
pub fn escape(bytes: &[u8]) -> String {
    bytes
        .escape_ascii()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}

/// The first frame of `bytes` and how many bytes it takes, once it is complete.
///
/// Panics when a broker breaks its own protocol.
pub fn first_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let line_end = find(bytes, b"\r\n")?;
    let mut frame = Frame {
        line: bytes[..line_end].to_vec(),
        body: Vec::new(),
    };
    let body_start = line_end + 2;
    if !frame.is_message() {
        return Some((frame, body_start));
    }
    let size: usize = frame
        .arguments()
        .last()
        .and_then(|size| size.parse().ok())
        .unwrap_or_else(|| panic!("message without a size: {frame:?}"));
    let body_end = body_start + size;
    let terminator = bytes.get(body_end..body_end + 2)?;
    assert_eq!(terminator, b"\r\n", "wrong end of a message: {frame:?}");
    frame.body = bytes[body_start..body_end].to_vec();
    Some((frame, body_end + 2))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
