//! Memory: everything that clients can fill is bounded in bytes, counted correctly at
//! `/memz`, does not affect others, and is released afterwards.
//!
//! Each test makes a load that once used memory without limit.

mod address_space;
mod imports;
mod replies;
mod tables;

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use test_support::{Broker, RawClient, wait_until};

const MIB: u64 = 1 << 20;

/// Memory according to the broker and to the system.
#[derive(Clone, Debug)]
struct Memory {
    resident: u64,
    causes: BTreeMap<String, u64>,
}

impl Memory {
    /// From a sample that started after this call.
    fn of(broker: &Broker) -> Self {
        let sampled = || broker.get_json("/explainz")["sampled"].clone();
        for _ in 0..2 {
            let before = sampled();
            wait_until("the broker takes a sample", || sampled() != before);
        }
        let memz = broker.get_json("/memz");
        let causes = memz["causes"].as_array().expect("causes").iter();
        Self {
            resident: memz["resident"].as_u64().expect("a number"),
            causes: causes
                .map(|cause| {
                    let name = cause["cause"].as_str().expect("a name").to_owned();
                    (name, cause["bytes"].as_u64().expect("a number"))
                })
                .collect(),
        }
    }

    fn cause(&self, name: &str) -> u64 {
        self.causes[name]
    }

    /// Memory with a known cause.
    fn known(&self) -> u64 {
        self.causes.values().sum::<u64>() - self.cause("other")
    }
}

/// A broker, and its memory before the load.
struct LoadTest {
    broker: Broker,
    before: Memory,
}

impl LoadTest {
    fn new(config: &str) -> Self {
        let config = format!("diagnosis {{ interval: 100ms }}\n{config}");
        let broker = Broker::midge().config(config).start();
        let before = Memory::of(&broker);
        Self { broker, before }
    }

    /// Waits until the named causes add up to the resident memory, within 15 %, in total
    /// and for the load; returns the values.
    fn adds_up(&self) -> Memory {
        let mut last = None;
        let is_near = |known: u64, real: u64| known.abs_diff(real) * 100 <= real * 15;
        // Freed memory is released after a while, on a busy machine later.
        for _ in 0..100 {
            let now = Memory::of(&self.broker);
            let grown = now.resident.saturating_sub(self.before.resident);
            let reported = now.known().saturating_sub(self.before.known());
            // With a small load, the rest of the broker dominates.
            let load_is_reported = grown < 24 * MIB || is_near(reported, grown);
            if is_near(now.known(), now.resident) && load_is_reported {
                return now;
            }
            last = Some(now);
        }
        panic!(
            "it does not add up: before {:#?}, now {last:#?}",
            self.before
        );
    }

    /// Waits until at most this many bytes more than before are used.
    fn is_given_back(&self, within: u64) {
        let held = || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.broker.pid()));
            let status = status.expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            kib.expect("a figure").parse::<u64>().expect("a number") * 1024
        };
        wait_until("the memory is released", || {
            held() < self.before.resident + within
        });
    }

    /// A client pings the broker while `work` runs; each ping is answered within the
    /// timeout of the tests.
    fn while_others_are_served<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        let address = self.broker.client_addr();
        let connect = self.client("other");
        thread::scope(|scope| {
            let pings = scope.spawn(|| {
                let mut other = RawClient::connect(address);
                other.send(connect);
                let mut count = 0;
                // The work may be done before this thread starts.
                loop {
                    other.sync();
                    count += 1;
                    if done.load(Ordering::Relaxed) {
                        return count;
                    }
                }
            });
            let set = SetAtEnd(&done);
            let result = work();
            drop(set);
            assert!(pings.join().expect("pings are answered") > 0);
            result
        })
    }

    /// A CONNECT of this user; some tests have several users.
    fn client(&self, user: &str) -> String {
        format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"user\":{user:?},\
             \"pass\":\"p\"}}\r\n"
        )
    }

    fn log_in(&self, user: &str) -> RawClient {
        let mut client = self.broker.connect();
        client.send(self.client(user));
        client.sync();
        client
    }
}

/// Sets the flag also when the work fails: a scope waits for its threads.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
