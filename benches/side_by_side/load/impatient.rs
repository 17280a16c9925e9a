//! Clients that give up a handshake that takes too long, and come again, as nodes do after an
//! outage.

use std::{
    io::{self, Write},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::Stage;
use crate::{
    endpoint::{Endpoint, Stream},
    failure::{During, Failure, Result, fail},
    sample::{Metric, Sample, measure},
    scenario::Impatient,
    wire::{await_pong, hello},
};

/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// The time after which a broker is taken to serve nobody any more.
const LIMIT: Duration = Duration::from_secs(600);

/// What all clients share.
struct Crowd<'a> {
    endpoint: &'a Endpoint,
    patience: Duration,
    clients: usize,
    next: AtomicUsize,
    gave_up: AtomicUsize,
    latencies_ns: Mutex<Vec<u64>>,
}

/// Connects all clients, so many at a time; per client. Latencies are from a client's first attempt
/// until it is logged in.
pub(super) fn run(stage: &Stage, clients: Impatient) -> Result<Sample> {
    let endpoint = Endpoint {
        tls: Some(stage.certificates()?.client(clients.node, false)?),
        ..stage.sender_endpoint().clone()
    };
    let crowd = Crowd {
        endpoint: &endpoint,
        patience: Duration::from_secs(clients.patience) * stage.patience,
        clients: stage.connections(clients.clients),
        next: AtomicUsize::new(0),
        gave_up: AtomicUsize::new(0),
        latencies_ns: Mutex::new(Vec::new()),
    };
    let work = || {
        let start = Instant::now();
        let streams = thread::scope(|scope| {
            let places = (0..clients.at_once).map(|_| scope.spawn(|| crowd.connect_some()));
            let places: Vec<_> = places.collect();
            let mut streams = Vec::new();
            for place in places {
                let Ok(connected) = place.join() else {
                    fail!("a connecting thread panicked");
                };
                streams.extend(connected?);
            }
            Ok(streams)
        })?;
        Ok((streams, start.elapsed().as_secs_f64()))
    };
    let ((streams, seconds), usage) = measure(&stage.clocks(), work)?;
    let latencies_ns = std::mem::take(&mut *crowd.latencies_ns.lock().expect("no thread panicked"));
    Ok(Sample::of_units(streams.len() as u64, seconds, usage)
        .with(Metric::GaveUp, crowd.gave_up.load(SeqCst) as f64)
        .with(Metric::TimeMs, seconds * 1e3)
        .with_latencies(latencies_ns))
}

impl Crowd<'_> {
    /// One of the places: connects one client after the other.
    fn connect_some(&self) -> Result<Vec<Stream>> {
        let mut streams = Vec::new();
        while self.next.fetch_add(1, SeqCst) < self.clients {
            let start = Instant::now();
            streams.push(self.connect_one(start)?);
            let took = start.elapsed().as_nanos() as u64;
            self.latencies_ns
                .lock()
                .expect("no thread panicked")
                .push(took);
        }
        Ok(streams)
    }

    fn connect_one(&self, start: Instant) -> Result<Stream> {
        while start.elapsed() < LIMIT {
            let deadline = Instant::now() + self.patience;
            match self.attempt(deadline) {
                Ok(stream) => return Ok(stream),
                Err(_) if Instant::now() >= deadline => {
                    self.gave_up.fetch_add(1, SeqCst);
                    thread::sleep(PAUSE);
                }
                Err(Failure(text)) => fail!("a client did not give up but failed: {text}"),
            }
        }
        fail!("a client got no connection in {} s", LIMIT.as_secs())
    }

    fn attempt(&self, deadline: Instant) -> Result<Stream> {
        let open = || -> io::Result<Stream> {
            let mut stream = self.endpoint.open_before(Some(deadline))?;
            stream.write_all(&hello(b""))?;
            Ok(stream)
        };
        let mut stream = open().during("connecting")?;
        await_pong(&mut stream)?;
        stream.remove_deadline().during("connecting")?;
        Ok(stream)
    }
}
