//! A message as a publish and a delivery have it in common: all that follows the head
//! (`PUB subject `, `MSG subject sid `), its *tail*.
//!
//! A publish is delivered with the tail that it came with. [`Message::compose`] is the
//! one place where a tail is made: for messages of the broker's own, and for those that
//! are passed on with other headers or another reply.

use super::CRLF;

/// Where one message stands in the bytes of its batch, and how it is built.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Where `[reply ]sizes CRLF payload CRLF` begins.
    pub tail_start: u32,
    /// Where it ends. With a shared payload it ends before the payload.
    pub tail_end: u32,
    /// Bytes of the reply subject, which begins the tail; 0 for none.
    pub reply_len: u32,
    /// Bytes of the headers; `None` when the publish had no header size.
    pub header_len: Option<u32>,
    /// Bytes of headers and payload.
    pub total_len: u32,
}

impl Message {
    /// Puts the tail of a message together at the end of `source`. The lengths of a
    /// message are limited so that they fit 32 bits.
    pub fn compose(
        source: &mut Vec<u8>,
        reply: Option<&[u8]>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Self {
        let header_len = headers.map(<[u8]>::len);
        let headers = headers.unwrap_or_default();
        let total_len = headers.len() + payload.len();
        Self::compose_of(
            source,
            reply,
            (header_len, total_len),
            &[headers, payload, CRLF],
        )
    }

    /// The same where headers, payload and CRLF are at hand in one piece, or are not
    /// wanted in `source` because targets share them; `sizes` are the bytes of the
    /// headers, and of headers and payload.
    pub fn compose_as_it_came(
        source: &mut Vec<u8>,
        reply: Option<&[u8]>,
        sizes: (Option<usize>, usize),
        body: &[u8],
    ) -> Self {
        Self::compose_of(source, reply, sizes, &[body])
    }

    fn compose_of(
        source: &mut Vec<u8>,
        reply: Option<&[u8]>,
        (header_len, total_len): (Option<usize>, usize),
        body: &[&[u8]],
    ) -> Self {
        let tail_start = source.len() as u32;
        if let Some(reply) = reply {
            source.extend_from_slice(reply);
            source.push(b' ');
        }
        if let Some(header_len) = header_len {
            push_number(source, header_len);
            source.push(b' ');
        }
        push_number(source, total_len);
        source.extend_from_slice(CRLF);
        for part in body {
            source.extend_from_slice(part);
        }
        Self {
            tail_start,
            tail_end: source.len() as u32,
            reply_len: reply.map_or(0, <[u8]>::len) as u32,
            header_len: header_len.map(|len| len as u32),
            total_len: total_len as u32,
        }
    }
}

/// Appends a number in decimal digits: without the machinery of formatting, since this is
/// done for each message that is put together.
pub(super) fn push_number(text: &mut Vec<u8>, mut number: usize) {
    // A `usize` of 64 bits has at most 20 digits.
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_what_a_publish_would_have_brought() {
        for (reply, headers, expected) in [
            (None, None, "3\r\nabc\r\n"),
            (Some("r.1"), None, "r.1 3\r\nabc\r\n"),
            (
                None,
                Some("NATS/1.0\r\n\r\n"),
                "12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
            ),
            (Some("r"), Some(""), "r 0 3\r\nabc\r\n"),
        ] {
            let mut source = b"before".to_vec();
            let (reply, headers) = (reply.map(str::as_bytes), headers.map(str::as_bytes));
            let message = Message::compose(&mut source, reply, headers, b"abc");
            let tail = &source[message.tail_start as usize..message.tail_end as usize];
            assert_eq!(tail, expected.as_bytes());
            let body = [headers.unwrap_or_default(), b"abc\r\n"].concat();
            let sizes = (headers.map(<[u8]>::len), body.len() - CRLF.len());
            let mut source = Vec::new();
            let same = Message::compose_as_it_came(&mut source, reply, sizes, &body);
            assert_eq!(source, expected.as_bytes());
            assert_eq!(same.total_len, message.total_len);
            assert_eq!(same.reply_len as usize, reply.map_or(0, <[u8]>::len));
            assert_eq!(same.header_len, headers.map(|it| it.len() as u32));
        }
    }

    #[test]
    fn numbers_are_written_in_decimal_digits() {
        for number in [0, 9, 10, 4096, 1_048_576, usize::MAX] {
            let mut text = b"a ".to_vec();
            push_number(&mut text, number);
            assert_eq!(text, format!("a {number}").as_bytes());
        }
    }
}
