//! A WebSocket client without a library: it sends exactly the given request and frames, and returns
//! what it receives.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::{Broker, PATIENCE, wait_for};

/// A request that every broker accepts.
pub const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Version: 13\r\n\r\n";

/// The mask of frames.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A stream that frames travel on.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One connection to a broker.
pub struct WebSocketClient {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    ended: bool,
    /// The head of the answer to the request.
    pub answer: String,
}

/// A frame of the broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketFrame {
    /// The byte with the bits and the opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl WebSocketFrame {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// Code and text of a close frame, in one text.
    pub fn close(&self) -> Option<String> {
        if self.first != 0x88 {
            return None;
        }
        Some(match self.payload.split_first_chunk() {
            Some((code, text)) => {
                let code = u16::from_be_bytes(*code);
                format!("{code} {}", String::from_utf8_lossy(text))
            }
            None => "none".into(),
        })
    }
}

/// A frame as a client sends it.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked_frame(first, MASK, payload.as_ref())
}

/// The same with this mask.
pub fn masked_frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

impl Broker {
    /// Address of the listener for WebSockets.
    pub fn websocket_addr(&self) -> SocketAddr {
        let url = self.websocket_url();
        let address = url.rsplit('/').next().unwrap_or_default();
        address.parse().unwrap_or_else(|_| panic!("{url:?}"))
    }

    /// Its URL.
    pub fn websocket_url(&self) -> String {
        wait_for("a ports file with a port for websockets", || {
            let files = fs::read_dir(self.folder()).expect("read the broker's folder");
            let mut files = files.filter_map(|entry| Some(entry.ok()?.path()));
            let file = files.find(|path| path.extension().is_some_and(|end| end == "ports"))?;
            let ports: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
            Some(ports["websocket"][0].as_str()?.to_owned())
        })
    }
}

impl WebSocketClient {
    /// Connects; the answer must be 101.
    pub fn connect(address: SocketAddr) -> Self {
        let client = Self::request(address, REQUEST);
        assert!(
            client.answer.starts_with("HTTP/1.1 101 "),
            "{}",
            client.answer
        );
        client
    }

    /// Connects with an additional header field.
    pub fn connect_with(address: SocketAddr, field: &str) -> Self {
        Self::request(address, &with_field(field))
    }

    /// Sends a request and reads the head of the answer: empty if the broker just closes.
    pub fn request(address: SocketAddr, request: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("send at once");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        Self::over(stream, request.as_bytes())
    }

    /// The same on a stream whose reads have a timeout.
    pub fn over(stream: impl Stream + 'static, request: &[u8]) -> Self {
        let mut client = Self {
            stream: Box::new(stream),
            received: Vec::new(),
            ended: false,
            answer: String::new(),
        };
        client.send(request);
        let head_end = |bytes: &[u8]| bytes.windows(4).position(|it| it == b"\r\n\r\n");
        loop {
            if let Some(end) = head_end(&client.received) {
                let head: Vec<u8> = client.received.drain(..end + 4).collect();
                client.answer = String::from_utf8_lossy(&head).into_owned();
                return client;
            }
            if client.ended {
                return client;
            }
            client.read_some();
        }
    }

    /// Sends bytes. A connection that the broker has closed is no error here: the next read
    /// reports it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if !is_closed(error.kind()) => panic!("cannot send: {error}"),
            _ => {}
        }
    }

    /// Sends operations in one binary frame.
    pub fn say(&mut self, operations: impl AsRef<[u8]>) {
        self.send(frame(0x82, operations));
    }

    /// The next frame, or `None` when the broker has closed the connection.
    pub fn next_frame(&mut self) -> Option<WebSocketFrame> {
        loop {
            if let Some((frame, len)) = first_frame(&self.received) {
                self.received.drain(..len);
                return Some(frame);
            }
            if self.ended {
                return None;
            }
            self.read_some();
        }
    }

    /// Bytes of the protocol until they contain `end`, or until the broker closes; pongs and the
    /// close frame are left out.
    pub fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            match self.next_frame() {
                Some(frame) if frame.first & 0xf == 2 => text += &frame.text(),
                Some(frame) if frame.first & 0xf == 8 => break,
                Some(_) => {}
                None => break,
            }
        }
        text
    }

    /// The INFO that comes first.
    pub fn info(&mut self) -> Value {
        let text = self.read_until("\r\n");
        let json = text
            .strip_prefix("INFO ")
            .unwrap_or_else(|| panic!("{text:?}"));
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    /// Logs in with these fields of CONNECT, and sees a PING answered. Returns what came before.
    pub fn log_in(&mut self, fields: &str) -> String {
        self.say(format!("CONNECT {{\"verbose\":false{fields}}}\r\nPING\r\n"));
        self.read_until("PONG\r\n")
    }

    /// All frames until the broker closes.
    pub fn read_to_end(&mut self) -> Vec<WebSocketFrame> {
        std::iter::from_fn(|| self.next_frame()).collect()
    }

    fn read_some(&mut self) {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(len) => self.received.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_closed(error.kind()) => self.ended = true,
            Err(error) => panic!("cannot read: {error}"),
        }
    }
}

/// The usual request with an additional header field.
pub fn with_field(field: &str) -> String {
    REQUEST.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

fn first_frame(bytes: &[u8]) -> Option<(WebSocketFrame, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert!(second & 0x80 == 0, "a broker masks nothing");
    let (len, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    let payload = bytes.get(head..head + len)?.to_vec();
    Some((WebSocketFrame { first, payload }, head + len))
}

/// Whether the error means that the peer has closed.
fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            // An alert of TLS, which with TLS 1.3 may come after the handshake.
            | ErrorKind::InvalidData
    )
}
