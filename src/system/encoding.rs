//! Compression of what the broker publishes: who asks for it writes `Accept-Encoding` into the
//! headers of a request or of a traced message, and finds `Content-Encoding` in what comes back.
//! The names, the choice and the formats are nats-server's.
//!
//! [`system`](super) calls it, on its own thread, for answers and for trace events.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use snap::write::FrameEncoder;

use crate::protocol::header;

/// The header that tells how a payload is compressed.
const CONTENT_ENCODING: &str = "Content-Encoding";

/// How a payload is to be compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Encoding {
    /// Not at all: nothing was asked for.
    #[default]
    Plain,
    /// Not at all: only what is not known here was asked for, which a header tells.
    Identity,
    /// As a gzip file.
    Gzip,
    /// As Snappy's frames.
    Snappy,
}

impl Encoding {
    /// The one for a value of `Accept-Encoding`, which is not read as a list: Snappy if it occurs
    /// (S2 is a newer form of it, whose readers understand it), otherwise gzip.
    pub(super) fn of(accepted: Option<&[u8]>) -> Self {
        let accepted = accepted.unwrap_or_default().to_ascii_lowercase();
        let has = |name: &[u8]| accepted.windows(name.len()).any(|part| part == name);
        if accepted.is_empty() {
            Self::Plain
        } else if has(b"snappy") || has(b"s2") {
            Self::Snappy
        } else if has(b"gzip") {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    /// The payload in this encoding, with the headers that tell about it. Without an encoding there
    /// are no headers.
    pub(super) fn encode(self, payload: Vec<u8>) -> Encoded {
        let (name, payload) = match self {
            Self::Plain => ("", payload),
            _ if payload.is_empty() => ("", payload),
            Self::Identity => ("identity", payload),
            Self::Gzip => match gzip(&payload) {
                Ok(gzip) => ("gzip", gzip),
                Err(_) => ("identity", payload),
            },
            Self::Snappy => match snappy(&payload) {
                Ok(snappy) => ("snappy", snappy),
                Err(_) => ("identity", payload),
            },
        };
        let headers = match name {
            "" => None,
            name => Some(header::with(b"", CONTENT_ENCODING, name)),
        };
        Encoded { headers, payload }
    }
}

/// What is to be published.
#[derive(Debug)]
pub(super) struct Encoded {
    /// The header block, or nothing.
    pub(super) headers: Option<Vec<u8>>,
    /// The payload.
    pub(super) payload: Vec<u8>,
}

fn gzip(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(payload)?;
    encoder.finish()
}

fn snappy(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(payload)?;
    encoder.into_inner().map_err(|error| error.into_error())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_encoding_is_what_nats_server_chooses() {
        for (accepted, encoding) in [
            (None, Encoding::Plain),
            (Some(""), Encoding::Plain),
            (Some("gzip"), Encoding::Gzip),
            (Some("GZIP;q=0"), Encoding::Gzip),
            (Some("gzip, Snappy"), Encoding::Snappy),
            (Some("s2"), Encoding::Snappy),
            (Some("deflate"), Encoding::Identity),
        ] {
            let chosen = Encoding::of(accepted.map(str::as_bytes));
            assert_eq!(chosen, encoding, "{accepted:?}");
        }
    }

    #[test]
    fn a_payload_is_read_as_its_header_says() {
        let text = br#"{"name":"a"}"#.repeat(10_000);
        let header = |encoded: &Encoded| {
            let headers = encoded.headers.as_deref().expect("headers");
            header::find(headers, CONTENT_ENCODING).map(<[u8]>::to_vec)
        };
        for (encoding, name) in [(Encoding::Gzip, "gzip"), (Encoding::Snappy, "snappy")] {
            let encoded = encoding.encode(text.clone());
            assert_eq!(header(&encoded).as_deref(), Some(name.as_bytes()));
            assert!(encoded.payload.len() < text.len() / 5);
            let mut read = Vec::new();
            let payload = &*encoded.payload;
            let result = match encoding {
                Encoding::Gzip => flate2::read::GzDecoder::new(payload).read_to_end(&mut read),
                _ => snap::read::FrameDecoder::new(payload).read_to_end(&mut read),
            };
            result.expect(name);
            assert_eq!(read, text);
        }
        let identity = Encoding::Identity.encode(text.clone());
        assert_eq!(header(&identity).as_deref(), Some(&b"identity"[..]));
        assert_eq!(identity.payload, text);
        for (encoding, payload) in [(Encoding::Plain, &*text), (Encoding::Gzip, b"")] {
            let encoded = encoding.encode(payload.to_vec());
            assert!(encoded.headers.is_none());
            assert_eq!(encoded.payload, payload);
        }
    }
}
