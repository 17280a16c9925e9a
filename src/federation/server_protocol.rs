//! What a broker says to its clients: the upstream brokers to this one, and the site's side to its
//! internal subscriber.

use memchr::memmem;

use crate::protocol::{CRLF, before_login::INFO_LEN_MAX};

/// One operation of a broker.
#[derive(Debug, Eq, PartialEq)]
pub enum Op<'a> {
    /// `INFO`, with its JSON.
    Info(&'a [u8]),
    /// A message, without its subject: each side has one subscription.
    Message(&'a [u8]),
    /// A request for a sign of life.
    Ping,
    /// The answer to ours.
    Pong,
    /// Something was accepted.
    Ok,
    /// Something was not, and why.
    Error(String),
}

/// The first operation in some bytes, and how long it is; `None` if it is not complete.
///
/// # Errors
///
/// It is none, or a payload is larger than `payload_max`.
pub fn parse(bytes: &[u8], payload_max: usize) -> Result<Option<(Op<'_>, usize)>, String> {
    let Some(line_len) = memmem::find(bytes, CRLF) else {
        return match bytes.len() > INFO_LEN_MAX {
            true => Err(format!("a line of more than {INFO_LEN_MAX} bytes")),
            false => Ok(None),
        };
    };
    let line = &bytes[..line_len];
    let end = line_len + CRLF.len();
    let (verb, rest) = match line.iter().position(u8::is_ascii_whitespace) {
        Some(at) => (&line[..at], line[at..].trim_ascii()),
        None => (line, &[][..]),
    };
    let op = match &*verb.to_ascii_uppercase() {
        b"MSG" => return message(bytes, rest, end, payload_max),
        b"INFO" => Op::Info(rest),
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"+OK" => Op::Ok,
        b"-ERR" => {
            let text = String::from_utf8_lossy(rest);
            Op::Error(text.trim_matches('\'').to_owned())
        }
        _ => return Err("a line that is no operation of a broker".to_owned()),
    };
    Ok(Some((op, end)))
}

/// `MSG subject sid [reply] size`, and the payload.
fn message<'a>(
    bytes: &'a [u8],
    arguments: &[u8],
    start: usize,
    payload_max: usize,
) -> Result<Option<(Op<'a>, usize)>, String> {
    let words = arguments.split(u8::is_ascii_whitespace);
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    let size = match words[..] {
        [_, _, size] | [_, _, _, size] => std::str::from_utf8(size).ok(),
        _ => None,
    };
    let Some(size) = size.and_then(|size| size.parse::<usize>().ok()) else {
        return Err("a message without a size".to_owned());
    };
    if size > payload_max {
        return Err(format!(
            "a message of {size} bytes; {payload_max} are accepted"
        ));
    }
    let rest = &bytes[start..];
    if rest.len() < CRLF.len() || rest.len() - CRLF.len() < size {
        return Ok(None);
    }
    let end = start + size;
    match bytes[end..].starts_with(CRLF) {
        true => Ok(Some((Op::Message(&bytes[start..end]), end + CRLF.len()))),
        false => Err("a payload does not end where its size says".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(mut bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut ops = Vec::new();
        while let Some((op, len)) = parse(bytes, 10)? {
            ops.push(format!("{op:?}"));
            bytes = &bytes[len..];
        }
        Ok(ops)
    }

    #[test]
    fn operations_one_behind_the_other() {
        let text = b"INFO {\"a\": 1}\r\n+OK\r\nMSG a 1 2\r\n\r\n\r\nMSG a.b 1 r  3\r\nabc\r\n\
                     PING\r\npong\r\n-ERR 'Stale Connection'\r\nMSG a 1 5\r\nabc";
        let expected = [
            format!("{:?}", Op::Info(b"{\"a\": 1}")),
            "Ok".into(),
            format!("{:?}", Op::Message(b"\r\n")),
            format!("{:?}", Op::Message(b"abc")),
            "Ping".into(),
            "Pong".into(),
            "Error(\"Stale Connection\")".into(),
        ];
        assert_eq!(all(text), Ok(expected.to_vec()));
    }

    #[test]
    fn what_no_broker_says() {
        let long = [b'a'; INFO_LEN_MAX + 1];
        for text in [
            &b"SUB a 1\r\n"[..],
            b"\r\n",
            b"MSG a 1\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a b c d 1\r\n",
            b"MSG a 1 11\r\n",
            b"MSG a 1 99999999999999999999\r\n",
            b"MSG a 1 1\r\nabc",
            &long,
        ] {
            assert!(all(text).is_err(), "{:?}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        /// Nothing that is sent leads to a panic, and what is cut anywhere is only incomplete.
        #[test]
        fn any_bytes_and_any_part(noise in any::<Vec<u8>>(), at in 0usize..60) {
            let _ = all(&noise);
            let whole = b"MSG a 1 r 3\r\nabc\r\nPING\r\nMSG a.b 1 0\r\n\r\nINFO {}\r\n";
            prop_assert!(all(&whole[..at.min(whole.len())]).is_ok());
        }
    }
}
