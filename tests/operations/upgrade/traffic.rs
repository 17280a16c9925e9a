//! Clients that count what they publish and read while processes take over from each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use test_support::{Broker, Frame, RawClient, wait_until};

use super::{LONG, staying, subscribe, watcher};

/// The texts of the messages among these frames.
pub(super) fn texts_in_order(frames: &[Frame]) -> Vec<String> {
    let messages = frames.iter().filter(|frame| frame.is_message());
    messages
        .map(|frame| String::from_utf8_lossy(&frame.body).into_owned())
        .collect()
}

/// Clients that publish numbers, each with its own before a dot, until they are ended.
pub(super) struct Publishers {
    ends: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<u32>>,
}

impl Publishers {
    /// Publishes to `subject`; the last message of each goes to `end`.
    pub(super) fn start(clients: Vec<RawClient>, subject: &'static str, end: &'static str) -> Self {
        let (ends, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let start = |(number, client): (usize, RawClient)| {
            let (ends, count) = (ends.clone(), count.clone());
            thread::spawn(move || publish_until(&ends, &count, client, number, (subject, end)))
        };
        let threads = clients.into_iter().enumerate().map(start).collect();
        Self {
            ends,
            count,
            threads,
        }
    }

    /// How many messages were published by now.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends all; how many each has published.
    pub(super) fn end(self) -> Vec<u32> {
        self.ends.store(true, Ordering::Relaxed);
        let sent = self.threads.into_iter();
        let sent: Vec<u32> = sent
            .map(|thread| thread.join().expect("a publisher"))
            .collect();
        for (number, count) in sent.iter().enumerate() {
            assert!(*count > 0, "publisher {number} has published nothing");
        }
        sent
    }
}

fn publish_until(
    ends: &AtomicBool,
    all: &AtomicU32,
    mut client: RawClient,
    number: usize,
    (subject, end): (&str, &str),
) -> u32 {
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let text = format!("{number}.{count}");
            client.send(format!("PUB {subject} {}\r\n{text}\r\n", text.len()));
            count += 1;
        }
        client.sync();
        all.fetch_add(20, Ordering::Relaxed);
    }
    client.send(format!("PUB {end} 3\r\nend\r\n"));
    client.sync();
    count
}

/// Publishers and readers, of which each reader checks that it gets everything once and in order.
pub(super) struct Traffic {
    publishers: Publishers,
    readers: Vec<thread::JoinHandle<Vec<u32>>>,
}

impl Traffic {
    pub(super) fn start(publishers: Vec<RawClient>, readers: Vec<RawClient>) -> Self {
        let count = publishers.len();
        let read = |mut client: RawClient| {
            subscribe(&mut client, "data");
            thread::spawn(move || read_in_order(client, count))
        };
        let readers = readers.into_iter().map(read).collect();
        Self {
            readers,
            publishers: Publishers::start(publishers, "data", "data"),
        }
    }

    /// Ends it, and compares.
    pub(super) fn end(self) {
        let sent = self.publishers.end();
        for reader in self.readers {
            assert_eq!(reader.join().expect("a reader"), sent);
        }
    }
}

/// Reads until each of the publishers has ended; how many messages came from each.
pub(super) fn read_in_order(mut client: RawClient, publishers: usize) -> Vec<u32> {
    let mut next = vec![0; publishers];
    let mut ended = 0;
    while ended < publishers {
        let text = client.next_message().body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some((of, number)) = text.split_once('.') else {
            ended += 1;
            continue;
        };
        let of: usize = of.parse().expect("the number of a publisher");
        assert_eq!(number, next[of].to_string(), "of publisher {of}");
        next[of] += 1;
    }
    next
}

#[test]
fn no_message_is_lost_or_doubled_and_none_overtakes_another() {
    let mut broker = Broker::midge().config(LONG).start();
    let clients = || (0..3).map(|_| watcher(&broker)).collect();
    let traffic = Traffic::start(clients(), clients());
    let second = broker.upgrade();
    assert!(broker.wait_exit().success());
    let third = broker.upgrade_again(second.pid.unsigned_abs());
    wait_until("the second process ends", || !second.is_running());
    traffic.end();
    assert!(third.is_running());
}

/// The same where some clients stay with the old process.
#[test]
fn clients_that_stay_lose_no_message() {
    let broker = Broker::midge().config(LONG).start();
    let clients = || vec![staying(&broker), watcher(&broker), watcher(&broker)];
    let traffic = Traffic::start(clients(), clients());
    broker.upgrade();
    let mut newcomer = watcher(&broker);
    newcomer.sync();
    traffic.end();
}
