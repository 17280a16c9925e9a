//! A client without a library: it sends exactly the given bytes and returns the frames it
//! receives, so that a test sees what is on the wire.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Frame, PATIENCE, wire};

/// The result of waiting for a frame with a timeout.
#[derive(Debug)]
pub enum Next {
    /// The broker has closed the connection.
    Closed,
    /// A frame was received.
    Frame(Frame),
    /// No complete frame was received in time.
    Nothing,
}

/// One connection to a broker.
pub struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
    ended: bool,
    info: Value,
}

impl RawClient {
    /// Connects and reads the INFO; panics if anything else comes first.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::connect_silently(address);
        let frame = client
            .next_frame()
            .expect("the broker closed the connection before its INFO");
        client.info = parse_info(&frame).unwrap_or_else(|| panic!("not an INFO: {frame:?}"));
        client
    }

    /// Connects and reads nothing yet.
    pub fn connect_silently(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("send at once");
        Self {
            stream,
            received: Vec::new(),
            ended: false,
            info: Value::Null,
        }
    }

    /// Connects and sends a quiet CONNECT: not verbose, with headers and no responders.
    pub fn connect_quietly(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.send(
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n",
        );
        client
    }

    /// The first INFO.
    pub fn info(&self) -> &Value {
        &self.info
    }

    /// The local port: connz shows it as `port`.
    pub fn local_port(&self) -> u16 {
        self.stream
            .local_addr()
            .expect("the address of an open socket")
            .port()
    }

    /// Sends bytes. A connection that the broker has closed is no error here: the next
    /// read reports it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .set_write_timeout(Some(PATIENCE))
            .expect("bound the writing");
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => (),
            Err(error) if is_closed(error.kind()) => (),
            Err(error) => panic!("cannot send: {error}"),
        }
    }

    /// The next frame, or `None` when the broker has closed the connection. Panics after
    /// a timeout.
    pub fn next_frame(&mut self) -> Option<Frame> {
        match self.poll_frame(PATIENCE) {
            Next::Frame(frame) => Some(frame),
            Next::Closed => None,
            Next::Nothing => panic!(
                "nothing whole came for {PATIENCE:?}; received so far: {}",
                wire::escape(&self.received)
            ),
        }
    }

    /// What is received within `patience`.
    pub fn poll_frame(&mut self, patience: Duration) -> Next {
        let deadline = Instant::now() + patience;
        loop {
            if let Some((frame, length)) = wire::first_frame(&self.received) {
                self.received.drain(..length);
                return Next::Frame(frame);
            }
            if self.ended {
                assert!(
                    self.received.is_empty(),
                    "closed within a frame: {}",
                    wire::escape(&self.received)
                );
                return Next::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            self.read_some(left);
        }
    }

    /// The next message; other frames are ignored.
    pub fn next_message(&mut self) -> Frame {
        loop {
            let frame = self
                .next_frame()
                .expect("closed while a message was awaited");
            if frame.is_message() {
                return frame;
            }
        }
    }

    /// Sends a PING and returns all frames before its PONG. The broker has then processed
    /// everything that this client sent before, and everything that it sent to this
    /// client before has been read. Panics if the broker closes.
    pub fn sync(&mut self) -> Vec<Frame> {
        self.send("PING\r\n");
        let mut frames = Vec::new();
        loop {
            let frame = self
                .next_frame()
                .unwrap_or_else(|| panic!("closed while a PONG was awaited, after {frames:?}"));
            if frame.line == b"PONG" {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// All frames until the broker closes the connection.
    pub fn read_to_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next_frame() {
            frames.push(frame);
        }
        frames
    }

    /// The socket, for tests that stop reading or need raw bytes.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn read_some(&mut self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("bound the reading");
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            Err(error) if is_closed(error.kind()) => self.ended = true,
            // The caller checks the time and reads again.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock
                ) => {}
            Err(error) => panic!("cannot read: {error}"),
        }
    }
}

/// The JSON of an INFO frame.
pub fn parse_info(frame: &Frame) -> Option<Value> {
    let json = frame.line.strip_prefix(b"INFO ")?;
    serde_json::from_slice(json).ok()
}

/// Whether the error means that the peer has closed. With unread bytes of ours it closes
/// with a reset.
fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}
