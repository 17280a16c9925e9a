//! The client protocol as far as the load needs it: connect, subscribe, wait
//! for an answered PING. Bytes over blocking
//! sockets, with or without TLS.

use std::{
    io::{Read, Write},
    time::Duration,
};

use crate::{
    endpoint::{Endpoint, Stream},
    failure::{During, Result, fail},
};

/// How long a broker may take to answer or to accept bytes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\
    \"name\":\"side_by_side\",\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1,\
    \"headers\":true,\"no_responders\":true}\r\n";

/// How many connections [`connect_all`] sets up at a time: below the backlog
/// of any listener.
const AT_ONCE: usize = 100;

/// Connects and waits until the broker has taken `setup` (subscriptions, may
/// be empty).
pub(crate) fn connect(broker: &Endpoint, setup: &[u8]) -> Result<Stream> {
    let mut stream = begin(broker, setup)?;
    await_pong(&mut stream)?;
    Ok(stream)
}

/// Opens `count` connections, each with the `setup` of its number.
pub(crate) fn connect_all(
    broker: &Endpoint,
    count: usize,
    setup: impl Fn(usize) -> Vec<u8>,
) -> Result<Vec<Stream>> {
    connect_in_waves(broker, count, AT_ONCE, setup)
}

/// The same with so many at a time.
pub(crate) fn connect_in_waves(
    broker: &Endpoint,
    count: usize,
    at_once: usize,
    setup: impl Fn(usize) -> Vec<u8>,
) -> Result<Vec<Stream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let first = streams.len();
        for number in first..count.min(first + at_once) {
            streams.push(begin(broker, &setup(number))?);
        }
        streams[first..].iter_mut().try_for_each(await_pong)?;
    }
    Ok(streams)
}

/// Returns when the broker has processed all that was sent before.
pub(crate) fn ping(stream: &mut Stream) -> Result<()> {
    stream.write_all(b"PING\r\n").during("sending PING")?;
    await_pong(stream)
}

/// What a protocol line other than a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Info,
    Ok,
    Ping,
    Pong,
}

/// Reads a line (without its CRLF) that is no message; `-ERR` and unknown
/// lines are failures.
pub(crate) fn control(line: &[u8]) -> Result<Control> {
    match line {
        b"PING" => Ok(Control::Ping),
        b"PONG" => Ok(Control::Pong),
        b"+OK" => Ok(Control::Ok),
        _ if line.starts_with(b"INFO ") => Ok(Control::Info),
        _ => fail!(
            "the broker said {:?}",
            String::from_utf8_lossy(&line[..line.len().min(120)])
        ),
    }
}

fn begin(broker: &Endpoint, setup: &[u8]) -> Result<Stream> {
    let mut stream = broker.open()?;
    let hello = [CONNECT, setup, b"PING\r\n"].concat();
    stream.write_all(&hello).during("sending CONNECT")?;
    Ok(stream)
}

/// Reads lines until the answer to a PING; messages are not expected here.
pub(crate) fn await_pong(stream: &mut Stream) -> Result<()> {
    let mut buffer = [0; 4096];
    let mut held = 0;
    let mut answered = false;
    // Brokers may send another INFO around the PONG: read to a line's end.
    while !answered || held > 0 {
        let count = stream
            .read(&mut buffer[held..])
            .during("waiting for PONG")?;
        if count == 0 {
            fail!("the broker closed the connection instead of answering PING");
        }
        held += count;
        let mut done = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[done..held]) {
            let line = &buffer[done..done + length];
            done += length + 1;
            match control(line.strip_suffix(b"\r").unwrap_or(line))? {
                Control::Pong => answered = true,
                Control::Ping => stream.write_all(b"PONG\r\n").during("sending PONG")?,
                Control::Info | Control::Ok => {}
            }
        }
        buffer.copy_within(done..held, 0);
        held -= done;
        if held == buffer.len() {
            fail!("the broker sent a line of more than {} bytes", buffer.len());
        }
    }
    Ok(())
}
