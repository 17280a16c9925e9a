//! A small HTTP/1.1 client for the monitoring port. It sends one request per connection
//! on a plain socket, so that a test sees the exact response.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::PATIENCE;

/// A parsed response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header names in lower case, with their values, in order.
    pub headers: Vec<(String, String)>,
    /// Body, with any chunked framing removed.
    pub body: String,
}

impl HttpResponse {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; panics if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// GET of a path with its query.
pub fn get(address: SocketAddr, path_and_query: &str) -> HttpResponse {
    request(address, "GET", path_and_query, &address.to_string())
}

/// A request without a body, with the given Host header.
pub fn request(
    address: SocketAddr,
    method: &str,
    path_and_query: &str,
    host: &str,
) -> HttpResponse {
    send(
        address,
        &format!("{method} {path_and_query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends the bytes of a whole request and reads the response to its end.
pub fn send(address: SocketAddr, request: &str) -> HttpResponse {
    send_patiently(address, request, PATIENCE)
}

/// The same with a longer timeout.
pub fn send_patiently(address: SocketAddr, request: &str, patience: Duration) -> HttpResponse {
    let stream = TcpStream::connect(address).expect("connect to the monitoring port");
    stream
        .set_read_timeout(Some(patience))
        .expect("bound the reading");
    exchange(stream, request)
}

/// A request without a body over a Unix socket.
pub fn request_unix(socket: &Path, method: &str, path_and_query: &str) -> HttpResponse {
    let stream = UnixStream::connect(socket).expect("connect to the monitoring socket");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("bound the reading");
    let request = format!(
        "{method} {path_and_query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    exchange(stream, &request)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> HttpResponse {
    stream
        .write_all(request.as_bytes())
        .expect("send the request");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .unwrap_or_else(|error| panic!("no whole answer to {request:?}: {error}"));
    parse(&answer).unwrap_or_else(|| {
        panic!(
            "not an HTTP answer to {request:?}: {:?}",
            String::from_utf8_lossy(&answer)
        )
    })
}

fn parse(answer: &[u8]) -> Option<HttpResponse> {
    // Untrusted input may be echoed in the response.
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = match chunked {
        true => unchunk(body)?,
        false => body.to_owned(),
    };
    Some(HttpResponse {
        status,
        headers,
        body,
    })
}

fn unchunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    // The response to a HEAD has no body, whatever its headers announce.
    while !rest.is_empty() {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
    Some(body)
}
