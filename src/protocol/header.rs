//! Headers of a message: a first line `NATS/1.0`, then lines `Name: value`, and an empty line.
//! Clients write them, so they may contain anything.

use memchr::memchr;

use super::CRLF;

/// The first line of headers that the broker creates.
const FIRST_LINE: &[u8] = b"NATS/1.0\r\n";

/// Returns the headers with this one added; it replaces those of the same name in any case.
/// `headers` may be empty.
pub fn with(headers: &[u8], name: &str, value: &str) -> Vec<u8> {
    let mut made = Vec::with_capacity(headers.len() + name.len() + value.len() + 16);
    let mut lines = lines(headers);
    made.extend_from_slice(lines.next().unwrap_or(FIRST_LINE));
    for line in lines.filter(|line| *line != CRLF && !is_named(line, name)) {
        made.extend_from_slice(line);
    }
    if !made.ends_with(b"\n") {
        made.extend_from_slice(CRLF);
    }
    for part in [name.as_bytes(), b": ", value.as_bytes(), CRLF, CRLF] {
        made.extend_from_slice(part);
    }
    made
}

/// The value of the first header of this name.
pub fn find<'a>(headers: &'a [u8], name: &str) -> Option<&'a [u8]> {
    find_all(headers, name).next()
}

/// The values of all headers of this name, in order.
pub fn find_all<'a>(headers: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    lines(headers)
        .skip(1)
        .filter(move |line| is_named(line, name))
        .map(move |line| line[name.len() + 1..].trim_ascii())
}

/// Name and value of each header that has both, in order.
pub fn entries(headers: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(headers).skip(1).filter_map(|line| {
        let colon = memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

fn is_named(line: &[u8], name: &str) -> bool {
    let (start, rest) = line.split_at(name.len().min(line.len()));
    start.eq_ignore_ascii_case(name.as_bytes()) && rest.starts_with(b":")
}

/// The lines including their ends; the last one may have none.
fn lines(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    headers.split_inclusive(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_replaces_those_of_the_same_name() {
        for (headers, expected) in [
            ("", "NATS/1.0\r\nA: 1\r\n\r\n"),
            ("NATS/1.0\r\n\r\n", "NATS/1.0\r\nA: 1\r\n\r\n"),
            (
                "NATS/1.0 503 x\r\nB: 2\r\n\r\n",
                "NATS/1.0 503 x\r\nB: 2\r\nA: 1\r\n\r\n",
            ),
            (
                "NATS/1.0\r\na:0\r\nB: 2\r\nA: 3\r\n\r\n",
                "NATS/1.0\r\nB: 2\r\nA: 1\r\n\r\n",
            ),
            (
                "NATS/1.0\r\nAB: 2\r\nA\r\n\r\n",
                "NATS/1.0\r\nAB: 2\r\nA\r\nA: 1\r\n\r\n",
            ),
        ] {
            let made = String::from_utf8(with(headers.as_bytes(), "A", "1")).unwrap();
            assert_eq!(made, expected, "{headers:?}");
            assert_eq!(find(made.as_bytes(), "a"), Some(&b"1"[..]));
        }
        let several = b"NATS/1.0\r\nA:\r\nb: 0\r\na:  2 \r\n\r\n";
        assert!(find_all(several, "A").eq([&b""[..], b"2"]));
        assert_eq!(find(b"abcd", "a"), None);
        assert_eq!(find(b"", "a"), None);
    }
}
