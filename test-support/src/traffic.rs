//! Clients that keep the threads of a broker busy.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::Broker;

/// Clients beyond any number of threads of a test's broker.
const CLIENTS: usize = 4;

/// Bytes of a message.
const LEN: usize = 1_000_000;

/// They publish large messages until this is dropped, on a subject without subscribers: so the
/// broker's threads read nearly all of the time, and hold no lock then that others need.
pub struct Traffic {
    ends: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Begins.
    pub fn start(broker: &Broker) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let client = |_| {
            let (ends, address) = (ends.clone(), broker.client_addr());
            thread::spawn(move || publish(address, &ends))
        };
        Self {
            clients: (0..CLIENTS).map(client).collect(),
            ends,
        }
    }
}

fn publish(address: SocketAddr, ends: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("connect");
    // A thread that serves it may be held: then nothing is taken.
    let timeout = stream.set_write_timeout(Some(Duration::from_millis(100)));
    timeout.expect("a timeout");
    // Without acknowledgements, which nobody would read.
    let connect = stream.write_all(b"CONNECT {\"verbose\":false}\r\n");
    connect.expect("the first write");
    let text = format!("PUB nobody.listens {LEN}\r\n{}\r\n", "x".repeat(LEN));
    let mut rest = text.as_bytes();
    while !ends.load(Ordering::Relaxed) {
        let taken = stream.write(rest).unwrap_or(0);
        rest = &rest[taken..];
        if rest.is_empty() {
            rest = text.as_bytes();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // A panic was reported by its thread.
            let _ = client.join();
        }
    }
}
