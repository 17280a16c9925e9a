//! The client protocol as far as the loads need it: connect, subscribe, wait for PONG. Uses
//! blocking sockets, with or without TLS.

use std::{
    io::{Read, Write},
    time::Duration,
};

use crate::{
    endpoint::{Endpoint, Stream},
    failure::{During, Result, fail},
};

/// Time limit of a broker's answers and of writes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\
    \"name\":\"side_by_side\",\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1,\
    \"headers\":true,\"no_responders\":true}\r\n";

/// Number of connections that [`connect_all`] sets up at a time: less than the accept queue of any
/// listener.
const AT_ONCE: usize = 100;

/// Connects and waits until the broker has processed `setup` (subscriptions; may be empty).
pub(crate) fn connect(broker: &Endpoint, setup: &[u8]) -> Result<Stream> {
    let mut stream = begin(broker, setup)?;
    await_pong(&mut stream)?;
    Ok(stream)
}

/// Opens `count` connections, each with the `setup` for its number.
pub(crate) fn connect_all(
    broker: &Endpoint,
    count: usize,
    setup: impl Fn(usize) -> Vec<u8>,
) -> Result<Vec<Stream>> {
    connect_in_waves(broker, count, AT_ONCE, setup)
}

/// The same, `at_once` at a time.
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

/// Waits until the broker has processed everything sent before.
pub(crate) fn ping(stream: &mut Stream) -> Result<()> {
    stream.write_all(b"PING\r\n").during("sending PING")?;
    await_pong(stream)
}

/// A protocol line other than a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Info,
    Ok,
    Ping,
    Pong,
}

/// Parses a line (without its CRLF) that is not a message; `-ERR` and unknown lines are failures.
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
    stream.write_all(&hello(setup)).during("sending CONNECT")?;
    Ok(stream)
}

/// What a client sends first.
pub(crate) fn hello(setup: &[u8]) -> Vec<u8> {
    [CONNECT, setup, b"PING\r\n"].concat()
}

/// Reads lines until PONG; messages are not expected here.
pub(crate) fn await_pong(stream: &mut Stream) -> Result<()> {
    let mut buffer = [0; 4096];
    let mut len = 0;
    let mut answered = false;
    // Brokers may send another INFO before or after the PONG: read to the end of a line.
    while !answered || len > 0 {
        let count = stream.read(&mut buffer[len..]).during("waiting for PONG")?;
        if count == 0 {
            fail!("the broker closed the connection instead of answering PING");
        }
        len += count;
        let mut done = 0;
        while let Some(length) = memchr::memchr(b'\n', &buffer[done..len]) {
            let line = &buffer[done..done + length];
            done += length + 1;
            match control(line.strip_suffix(b"\r").unwrap_or(line))? {
                Control::Pong => answered = true,
                Control::Ping => stream.write_all(b"PONG\r\n").during("sending PONG")?,
                Control::Info | Control::Ok => {}
            }
        }
        buffer.copy_within(done..len, 0);
        len -= done;
        if len == buffer.len() {
            fail!("the broker sent a line of more than {} bytes", buffer.len());
        }
    }
    Ok(())
}
