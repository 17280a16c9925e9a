//! Many subscriptions: random subjects in a large index, and an index that changes continuously
//! while messages are exchanged.

use std::io::Write;

use super::{
    Stage,
    stream::{measure_flow, measure_with, pair_flow},
};
use crate::{
    endpoint::{Endpoint, Stream},
    failure::{During, Result},
    flow::Flow,
    inbox::{Expect, Inbox},
    publisher::Publisher,
    receivers::Tally,
    sample::Sample,
    wire::{self, connect},
};

/// Subjects are `dev.<site>.<rack>.<host>`.
const SITES: usize = 30;
const RACKS: usize = 30;
pub(super) const HOSTS: usize = 100;
/// Connections that hold the subscriptions.
const HOLDERS: usize = 4;
/// Number of different subjects, far more than a broker caches.
const SUBJECTS: usize = 200_000;
const PAYLOAD: usize = 16;

/// Publishes to random subjects; per publish.
pub(super) fn random_subjects(stage: &Stage) -> Result<Sample> {
    let hosts = HOSTS / stage.divisor;
    let broker = &stage.broker().clients;
    let inboxes = subscribe(broker, &patterns(hosts))?
        .into_iter()
        .map(|stream| Inbox::new(stream, Expect::AnySubject, PAYLOAD))
        .collect();
    let stream = connect(broker, b"")?;
    let publisher = Publisher::of_subjects(stream, &subjects(hosts), PAYLOAD);
    let mut flow = Flow::new(vec![publisher], inboxes, Tally::Sum, PAYLOAD)?;
    measure_flow(stage, &mut flow, |run| run.published)
}

/// Subscribes and unsubscribes while a stream sends one message per operation; per operation.
pub(super) fn churn(stage: &Stage) -> Result<Sample> {
    let mut churner = Churner::new(&stage.broker().clients)?;
    let mut flow = pair_flow(stage, 1, 128, Churner::OPERATIONS)?;
    measure_with(
        stage,
        &mut flow,
        |run| run.published,
        |flow, seconds| flow.run_beside(seconds, || churner.step()),
    )
}

/// Opens a few connections with these subscriptions, distributed evenly.
pub(super) fn subscribe(broker: &Endpoint, patterns: &[String]) -> Result<Vec<Stream>> {
    wire::connect_all(broker, HOLDERS, |holder| {
        let own = patterns.iter().enumerate().skip(holder).step_by(HOLDERS);
        own.flat_map(|(sid, pattern)| format!("SUB {pattern} {sid}\r\n").into_bytes())
            .collect()
    })
}

/// With 100 hosts: 90 000 literal subjects, 9000 with `*`, 1800 with `>`.
pub(super) fn patterns(hosts: usize) -> Vec<String> {
    let mut patterns = Vec::new();
    for site in 0..SITES {
        for rack in 0..RACKS {
            patterns.extend((0..hosts).map(|host| subject(site, rack, host)));
            patterns.push(format!("dev.{site:03}.{rack:03}.>"));
            patterns.push(format!("alt.{site:03}.{rack:03}.>"));
        }
        for host in 0..hosts {
            patterns.push(format!("dev.{site:03}.*.{host:03}"));
            patterns.push(format!("alt.{site:03}.*.{host:03}"));
            patterns.push(format!("alt.*.{site:03}.{host:03}"));
        }
    }
    patterns
}

/// Random subjects. Half of them have three matching subscriptions: a literal one, one with `*` and
/// one with `>`; the others have only the last.
fn subjects(hosts: usize) -> Vec<(String, u64)> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut one = || {
        let host = random.usize(..2 * hosts);
        let subject = subject(random.usize(..SITES), random.usize(..RACKS), host);
        (subject, if host < hosts { 3 } else { 1 })
    };
    (0..SUBJECTS).map(|_| one()).collect()
}

fn subject(site: usize, rack: usize, host: usize) -> String {
    format!("dev.{site:03}.{rack:03}.{host:03}")
}

/// A connection whose subscriptions are replaced continuously.
struct Churner {
    stream: Stream,
    /// The next subscription; the oldest present one is [`Churner::LIVE`] before it.
    next_sid: usize,
    /// Whether a PING was not answered yet.
    waiting: bool,
}

impl Churner {
    /// Operations in a step, and messages in a chunk of the stream.
    const OPERATIONS: usize = 256;
    /// Subscriptions at any time.
    const LIVE: usize = 1000;

    fn new(broker: &Endpoint) -> Result<Self> {
        let setup: String = (0..Self::LIVE).map(Self::subscribe).collect();
        Ok(Self {
            stream: connect(broker, setup.as_bytes())?,
            next_sid: Self::LIVE,
            waiting: false,
        })
    }

    /// Replaces some subscriptions, once the broker has processed the last step.
    fn step(&mut self) -> Result<()> {
        if self.waiting {
            wire::await_pong(&mut self.stream)?;
        }
        let mut operations = String::new();
        for sid in self.next_sid..self.next_sid + Self::OPERATIONS / 2 {
            operations += &Self::subscribe(sid);
            operations += &format!("UNSUB {}\r\n", sid - Self::LIVE);
        }
        operations += "PING\r\n";
        self.next_sid += Self::OPERATIONS / 2;
        self.waiting = true;
        self.stream
            .write_all(operations.as_bytes())
            .during("subscribing")
    }

    /// One in ten has a wildcard.
    fn subscribe(sid: usize) -> String {
        match sid % 10 {
            0 => format!("SUB churn.{sid}.* {sid}\r\n"),
            _ => format!("SUB churn.{sid} {sid}\r\n"),
        }
    }
}
