//! A receiving connection: counts messages, checks that none is lost, duplicated or out of order,
//! and samples their content. It is cheap, so that the broker is the bottleneck.

use std::io::{Read, Write};

use crate::{
    clock::now_ns,
    endpoint::Stream,
    failure::{During, Result, fail},
    publisher::{NUMBER, NUMBER_AND_STAMP, filler},
    wire::{Control, control},
};

/// Which messages a receiver expects.
#[derive(Clone)]
pub(crate) enum Expect {
    /// Every message of one publisher, all with this header line.
    All { header: String },
    /// Messages with this header line in any order.
    AnyOrder { header: String },
    /// A share of the messages of one publisher, with this header line.
    Share { header: String },
    /// Messages with any header, possibly the same message several times for several matching
    /// subscriptions.
    AnySubject,
}

/// A connection that receives messages of one payload size.
pub(crate) struct Inbox {
    pub(crate) stream: Stream,
    /// Messages received so far.
    pub(crate) received: u64,
    /// Numbers of the messages received in any order.
    pub(crate) numbers: Vec<u64>,
    /// PONGs received so far.
    pub(crate) pongs: u64,
    /// Latencies of the received messages in ns, if stamps are read.
    pub(crate) latencies_ns: Option<Vec<u64>>,
    expect: Expect,
    payload: usize,
    filler: Vec<u8>,
    /// The lowest number the next message may have.
    next_number: u64,
    /// The incomplete message at the end of the last read.
    tail: Vec<u8>,
}

impl Inbox {
    pub(crate) fn new(stream: Stream, expect: Expect, payload: usize) -> Self {
        Self {
            stream,
            received: 0,
            numbers: Vec::new(),
            pongs: 0,
            latencies_ns: None,
            expect,
            payload,
            filler: filler(payload).collect(),
            next_number: 0,
            tail: Vec::new(),
        }
    }

    /// Also reads the stamp of every message.
    pub(crate) fn with_latencies(mut self) -> Self {
        self.latencies_ns = Some(Vec::new());
        self
    }

    /// Reads once from the readable socket through `scratch`, which all receivers of a thread
    /// share, and counts the messages.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        let tail_len = self.tail.len();
        scratch[..tail_len].copy_from_slice(&self.tail);
        let count = self
            .stream
            .read(&mut scratch[tail_len..])
            .during("receiving messages")?;
        if count == 0 {
            fail!(
                "the broker closed a receiver's connection after {} messages",
                self.received
            );
        }
        let bytes = &scratch[..tail_len + count];
        let now_ns = self.latencies_ns.as_ref().map_or(0, |_| now_ns());
        let mut done = 0;
        let mut sampled = false;
        loop {
            let rest = &bytes[done..];
            match self.next(rest)? {
                Next::Message { header } => {
                    let payload = &rest[header..header + self.payload + 2];
                    self.count_message(payload, now_ns)?;
                    if !sampled {
                        self.compare(payload)?;
                        sampled = true;
                    }
                    done += header + payload.len();
                }
                Next::Line { length } => {
                    self.handle_line(&rest[..length])?;
                    done += length + 2;
                }
                Next::Unfinished => break,
            }
        }
        self.tail.clear();
        self.tail.extend_from_slice(&bytes[done..]);
        Ok(())
    }

    fn next(&self, rest: &[u8]) -> Result<Next> {
        let header = match &self.expect {
            Expect::All { header } | Expect::AnyOrder { header } | Expect::Share { header } => {
                let header = header.as_bytes();
                if rest.starts_with(header) {
                    header.len()
                } else if header.starts_with(rest) {
                    return Ok(Next::Unfinished);
                } else {
                    return line(rest);
                }
            }
            Expect::AnySubject if rest.starts_with(b"MSG ") => match memchr::memchr(b'\n', rest) {
                Some(end) => end + 1,
                None => return Ok(Next::Unfinished),
            },
            Expect::AnySubject => return line(rest),
        };
        if rest.len() < header + self.payload + 2 {
            return Ok(Next::Unfinished);
        }
        Ok(Next::Message { header })
    }

    fn count_message(&mut self, payload: &[u8], now_ns: u64) -> Result<()> {
        let number = read_u64(&payload[..NUMBER]);
        let in_order = match self.expect {
            Expect::All { .. } => number == self.next_number,
            Expect::AnyOrder { .. } => {
                self.numbers.push(number);
                true
            }
            Expect::Share { .. } => number >= self.next_number,
            // The same message may be delivered to several subscriptions.
            Expect::AnySubject => number + 1 >= self.next_number,
        };
        if !in_order {
            fail!(
                "message {number} came where {} was due (lost, doubled or out of order)",
                self.next_number
            );
        }
        self.next_number = number + 1;
        self.received += 1;
        if let Some(latencies) = &mut self.latencies_ns {
            let stamp = read_u64(&payload[NUMBER..NUMBER_AND_STAMP]);
            latencies.push(now_ns.saturating_sub(stamp));
        }
        Ok(())
    }

    /// Compares the constant parts: the filler and the end.
    fn compare(&self, payload: &[u8]) -> Result<()> {
        let own = if self.latencies_ns.is_some() {
            NUMBER_AND_STAMP
        } else {
            NUMBER
        };
        if payload[own..self.payload] != self.filler[own..] || !payload.ends_with(b"\r\n") {
            fail!("message {} came with another content", self.next_number - 1);
        }
        Ok(())
    }

    fn handle_line(&mut self, line: &[u8]) -> Result<()> {
        match control(line)? {
            Control::Ping => self.stream.write_all(b"PONG\r\n").during("sending PONG")?,
            Control::Pong => self.pongs += 1,
            Control::Info | Control::Ok => {}
        }
        Ok(())
    }
}

/// What the received bytes begin with.
enum Next {
    /// A complete message, after a header line of this length.
    Message {
        header: usize,
    },
    /// Another line; the length excludes its CRLF.
    Line {
        length: usize,
    },
    Unfinished,
}

fn line(rest: &[u8]) -> Result<Next> {
    match memchr::memchr(b'\n', rest) {
        Some(end) if end > 0 => Ok(Next::Line { length: end - 1 }),
        None if rest.len() <= 4096 => Ok(Next::Unfinished),
        _ => fail!("the broker sent no line of the protocol"),
    }
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
