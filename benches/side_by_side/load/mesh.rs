//! Loads of a cluster besides carrying messages: propagating subscriptions and recovering from a
//! crash.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use super::{Stage, subscriptions};
use crate::{
    broker::Broker,
    endpoint::{Endpoint, Stream},
    failure::{During, Result, fail},
    sample::{Metric, Sample, measure},
    wire::{TIMEOUT, connect},
};

/// Interval of trying whether a message is delivered.
const TRY_INTERVAL: Duration = Duration::from_millis(1);

/// Waits until every broker knows the earlier subscriptions at the others: interest is announced in
/// order.
pub(super) fn await_interest(stage: &Stage) -> Result<()> {
    for (index, to) in stage.brokers.iter().enumerate() {
        for (other, from) in stage.brokers.iter().enumerate() {
            if index != other {
                let subject = format!("bench.ready.{index}.{other}");
                let setup = format!("SUB {subject} 1\r\n");
                let mut subscriber = connect(&to.clients, setup.as_bytes())?;
                await_delivery(&from.clients, &mut subscriber, &subject)?;
            }
        }
    }
    Ok(())
}

/// Subscribes to a hundred thousand subjects at the last member and waits until the others deliver
/// to them; per subscription.
pub(super) fn propagate_subscriptions(stage: &Stage) -> Result<Sample> {
    await_interest(stage)?;
    let patterns = subscriptions::patterns(subscriptions::HOSTS / stage.divisor);
    let others = &stage.brokers[..stage.brokers.len() - 1];
    let subscribe = |(sid, subject): (usize, &String)| format!("SUB {subject} {sid}\r\n");
    let mut setup: String = patterns.iter().enumerate().map(subscribe).collect();
    for number in 0..others.len() {
        setup += &format!("SUB bench.known.{number} known{number}\r\n");
    }
    let mut subscriber = connect(stage.receiver_endpoint(), b"")?;
    let work = || {
        let start = Instant::now();
        subscriber
            .write_all(setup.as_bytes())
            .during("subscribing")?;
        for (number, other) in others.iter().enumerate() {
            let subject = format!("bench.known.{number}");
            await_delivery(&other.clients, &mut subscriber, &subject)?;
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let (seconds, usage) = measure(&stage.clocks(), work)?;
    Ok(Sample::of_units(patterns.len() as u64, seconds, usage)
        .with_memory(stage.memory()?)
        .with(Metric::TimeMs, seconds * 1e3))
}

/// Kills a member, restarts it, and waits until the others deliver to a client that connects there.
pub(super) fn heal(stage: &Stage) -> Result<Sample> {
    await_interest(stage)?;
    let [others @ .., victim] = stage.brokers else {
        fail!("a mesh has members");
    };
    victim.kill();
    let start = Instant::now();
    let again = Broker::start(stage.program, victim.arguments.clone(), None)?;
    for (number, other) in others.iter().enumerate() {
        let subject = format!("bench.healed.{number}");
        let setup = format!("SUB {subject} 1\r\n");
        let mut subscriber = connect(&again.clients, setup.as_bytes())?;
        await_delivery(&other.clients, &mut subscriber, &subject)?;
    }
    Ok(Sample::default().with(Metric::TimeMs, start.elapsed().as_secs_f64() * 1e3))
}

/// Publishes to `subject` until a message arrives at `subscriber`.
fn await_delivery(from: &Endpoint, subscriber: &mut Stream, subject: &str) -> Result<()> {
    let mut publisher = connect(from, b"")?;
    let message = format!("PUB {subject} 0\r\n\r\n");
    let wanted = format!("MSG {subject} ");
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    let start = Instant::now();
    let timeout = |stream: &Stream, time| {
        let set = stream.socket().set_read_timeout(Some(time));
        set.during("setting a timeout")
    };
    timeout(subscriber, TRY_INTERVAL)?;
    while memchr::memmem::find(&received, wanted.as_bytes()).is_none() {
        if start.elapsed() > TIMEOUT {
            fail!("nothing came through the mesh on {subject}");
        }
        publisher
            .write_all(message.as_bytes())
            .during("publishing")?;
        match subscriber.read(&mut buffer) {
            Ok(0) => fail!("the broker closed a subscriber's connection"),
            Ok(len) => received.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).during("waiting for a message"),
        }
    }
    timeout(subscriber, TIMEOUT)
}
