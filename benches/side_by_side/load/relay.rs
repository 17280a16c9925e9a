//! No broker: a thread that copies the bytes of a publisher's socket to a receiver's. This measures
//! the kernel's part, which no broker can avoid.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use super::WARM_UP;
use crate::{
    endpoint::{Stream, connect_plain},
    failure::{During, Result, fail},
    flow::Flow,
    inbox::{Expect, Inbox},
    publisher::Publisher,
    receivers::Tally,
    sample::{Sample, measure},
    sys::CpuClock,
};

/// Bytes per read and write.
const BLOCK: usize = 64 * 1024;

/// Measures the relay with messages of this payload.
pub(crate) fn run(seconds: f64, payload: usize) -> Result<Sample> {
    let listener = TcpListener::bind("127.0.0.1:0").during("cannot listen")?;
    let address = listener.local_addr().during("cannot listen")?;
    let sender = connect_plain(address).during("connecting to the relay")?;
    let (from, _) = listener.accept().during("cannot accept")?;
    let receiver = connect_plain(address).during("connecting to the relay")?;
    let (to, _) = listener.accept().during("cannot accept")?;
    let hang_up = sender.try_clone().during("cannot share a socket")?;

    let relay = thread::spawn(move || copy(from, to));
    let clock = CpuClock::of_thread(&relay).during("no CPU clock of the relay")?;
    let publisher = Publisher::new(Stream::plain(sender), "bench.0", payload, usize::MAX);
    let header = format!("PUB bench.0 {payload}\r\n");
    let inbox = Inbox::new(Stream::plain(receiver), Expect::All { header }, payload);
    let mut flow = Flow::new(vec![publisher], vec![inbox], Tally::Each, payload)?;
    flow.run(seconds * WARM_UP)?;
    let (run, mut usage) = measure(&[clock], || flow.run(seconds))?;
    // The relay is a thread of this process.
    usage.load = usage.load.saturating_sub(usage.broker);

    hang_up.shutdown(Shutdown::Both).during("cannot hang up")?;
    match relay.join() {
        Ok(result) => result.during("relay")?,
        Err(_) => fail!("the relay panicked"),
    }
    Ok(Sample::of_units(run.published, run.seconds, usage))
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> std::io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match from.read(&mut block)? {
            0 => return Ok(()),
            count => to.write_all(&block[..count])?,
        }
    }
}
