//! Headers of a message: a first line `NATS/1.0`, then `Name: value` lines and
//! an empty one. They are text that a client wrote, so anything may stand there.

use super::CRLF;

/// The first line of headers that a broker makes.
const FIRST_LINE: &[u8] = b"NATS/1.0\r\n";

/// The header by which a message asks nats-servers to publish to a subject what
/// becomes of it. midge does not; but the message may get to a nats-server of
/// the cluster, which takes it for granted that the broker where the message
/// was published has looked whether its sender may.
pub const TRACE_DEST: &str = "Nats-Trace-Dest";

/// The value of [`TRACE_DEST`] with which nothing is published.
pub const TRACE_DISABLED: &str = "trace disabled";

/// The headers with this one in place of any of the same name, in whatever
/// case they were written. `headers` may be empty.
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

/// The values of all headers of this name, in their order.
pub fn find_all<'a>(headers: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    lines(headers)
        .skip(1)
        .filter(move |line| is_named(line, name))
        .map(move |line| line[name.len() + 1..].trim_ascii())
}

fn is_named(line: &[u8], name: &str) -> bool {
    let (start, rest) = line.split_at(name.len().min(line.len()));
    start.eq_ignore_ascii_case(name.as_bytes()) && rest.starts_with(b":")
}

/// The lines with their ends; the last one may have none.
fn lines(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    headers.split_inclusive(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_the_place_of_its_namesakes() {
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
