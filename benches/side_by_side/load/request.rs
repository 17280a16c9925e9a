//! Requests and replies: every requester has one outstanding request on its own connection; one
//! responder answers them all.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use super::{Stage, WARM_UP, mesh};
use crate::{
    clock::now_ns,
    endpoint::{Endpoint, Stream},
    failure::{During, Result, fail},
    inbox::{Expect, Inbox},
    publisher::Publisher,
    sample::{Sample, measure},
    sys::Epoll,
    wire::{self, Control, TIMEOUT, connect, control},
};

/// Bytes of a request and of its reply.
const PAYLOAD: usize = 16;
const SCRATCH: usize = 64 * 1024;

/// Measures round trips; per round trip.
pub(super) fn run(stage: &Stage, requesters: usize) -> Result<Sample> {
    let responder = connect(stage.receiver_endpoint(), b"SUB bench.request 1\r\n")?;
    let hang_up = responder
        .socket()
        .try_clone()
        .during("cannot share a socket")?;
    let finished = AtomicBool::new(false);
    let mut requesters = Requesters::new(stage.sender_endpoint(), requesters)?;
    mesh::await_interest(stage)?;
    thread::scope(|scope| {
        let responder = scope.spawn(|| respond(responder, &finished));
        let sample = measure_requests(stage, &mut requesters);
        finished.store(true, SeqCst);
        let hung_up = hang_up.shutdown(Shutdown::Both);
        match responder.join() {
            Ok(result) => result.map_err(|failure| failure.prefixed("responder"))?,
            Err(_) => fail!("the responder panicked"),
        }
        hung_up.during("cannot hang up")?;
        sample
    })
}

fn measure_requests(stage: &Stage, requesters: &mut Requesters) -> Result<Sample> {
    requesters.run(stage.seconds * WARM_UP)?;
    requesters.latencies_ns();
    let ((trips, seconds), usage) = measure(&stage.clocks(), || requesters.run(stage.seconds))?;
    Ok(Sample::of_units(trips, seconds, usage)
        .with_memory(stage.memory()?)
        .with_latencies(requesters.latencies_ns()))
}

/// Requesting connections, served by one thread.
struct Requesters {
    all: Vec<(Publisher, Inbox)>,
    epoll: Epoll,
    scratch: Vec<u8>,
}

impl Requesters {
    fn new(broker: &Endpoint, count: usize) -> Result<Self> {
        let epoll = Epoll::new().during("epoll")?;
        let inbox = |number| format!("_INBOX.bench.{number}");
        let setup = |number| format!("SUB {} 1\r\n", inbox(number)).into_bytes();
        let mut all = Vec::new();
        for (number, stream) in wire::connect_all(broker, count, setup)?
            .into_iter()
            .enumerate()
        {
            epoll.add(&stream, number).during("epoll")?;
            let sender = stream.share_plain()?;
            let inbox = inbox(number);
            // The reply subject follows the subject in the line.
            let subject = format!("bench.request {inbox}");
            let header = format!("MSG {inbox} 1 {PAYLOAD}\r\n");
            all.push((
                Publisher::new(sender, &subject, PAYLOAD, 1),
                Inbox::new(stream, Expect::All { header }, PAYLOAD).with_latencies(),
            ));
        }
        Ok(Self {
            all,
            epoll,
            scratch: vec![0; SCRATCH],
        })
    }

    /// Sends requests for `seconds`; returns the number of round trips and the duration.
    fn run(&mut self, seconds: f64) -> Result<(u64, f64)> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        for (publisher, _) in &mut self.all {
            publisher.send_stamped(now_ns())?;
        }
        let mut under_way = self.all.len();
        let mut trips = 0;
        let mut last = start;
        while under_way > 0 {
            for token in self.epoll.wait(TIMEOUT / 10).during("epoll")? {
                let (publisher, inbox) = &mut self.all[token];
                inbox
                    .read(&mut self.scratch)
                    .map_err(|failure| failure.prefixed(format_args!("requester {token}")))?;
                if inbox.received < publisher.sent() {
                    continue;
                }
                trips += 1;
                last = Instant::now();
                if last < end {
                    publisher.send_stamped(now_ns())?;
                } else {
                    under_way -= 1;
                }
            }
            if last.elapsed() > TIMEOUT {
                fail!("{under_way} requests were not answered");
            }
        }
        Ok((trips, last.duration_since(start).as_secs_f64()))
    }

    /// Takes the latencies measured since the last call.
    fn latencies_ns(&mut self) -> Vec<u64> {
        self.all
            .iter_mut()
            .filter_map(|(_, inbox)| inbox.latencies_ns.as_mut())
            .flat_map(std::mem::take)
            .collect()
    }
}

/// Sends every request's payload back, the replies of a read in one write, until the socket is
/// closed after `finished`.
fn respond(mut stream: Stream, finished: &AtomicBool) -> Result<()> {
    let mut buffer = vec![0; SCRATCH];
    let mut replies = Vec::new();
    let mut len = 0;
    loop {
        let count = match stream.read(&mut buffer[len..]) {
            Ok(0) | Err(_) if finished.load(SeqCst) => return Ok(()),
            Ok(0) => fail!("the broker closed the connection"),
            result => result.during("receiving requests")?,
        };
        len += count;
        let done = answer(&buffer[..len], &mut replies)?;
        buffer.copy_within(done..len, 0);
        len -= done;
        stream.write_all(&replies).during("replying")?;
        replies.clear();
    }
}

/// Appends the replies to all complete requests and returns the length of the requests.
fn answer(bytes: &[u8], replies: &mut Vec<u8>) -> Result<usize> {
    let mut done = 0;
    while let Some(length) = memchr::memchr(b'\n', &bytes[done..]) {
        let line = &bytes[done..done + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let next = done + length + 1;
        let Some(request) = line.strip_prefix(b"MSG bench.request 1 ") else {
            if control(line)? == Control::Ping {
                replies.extend_from_slice(b"PONG\r\n");
            }
            done = next;
            continue;
        };
        // The rest of the line, reply subject and size, is exactly the arguments of a PUB.
        let Some(payload) = bytes.get(next..next + PAYLOAD + 2) else {
            break;
        };
        replies.extend_from_slice(b"PUB ");
        replies.extend_from_slice(request);
        replies.extend_from_slice(b"\r\n");
        replies.extend_from_slice(payload);
        done = next + payload.len();
    }
    Ok(done)
}
