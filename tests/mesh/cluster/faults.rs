//! Members that are killed, stopped, disconnected and restarted: messages published while
//! the mesh was complete arrive exactly once, and the mesh recovers by itself.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::tls;
use test_support::{PATIENCE, RawClient, pki::Pki, raw_client::Next, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// Duration of the random faults without `MIDGE_FAULT_SECONDS`.
const FAULTS_FOR: Duration = Duration::from_secs(20);

/// Pings that detect a silent member within seconds.
const QUICK_PINGS: &str = "name: mesh\n  ping_interval: \"1s\"\n  ping_max: 2";

/// A hanging member is dropped within seconds, and reconnected when it continues.
#[test]
fn a_hanging_member_is_dropped_and_reconnected() {
    let ports = [free_port(), free_port()];
    let plan = |index: usize| {
        let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), ports[index], &ports);
        plan.cluster = QUICK_PINGS.into();
        plan
    };
    let (healthy, hanging) = (plan(0).start(), plan(1).start());
    mesh::wait_for_mesh(&[&healthy, &hanging]);
    hanging.broker.signal(libc::SIGSTOP);
    wait_until("the hanging member is dropped", || {
        healthy.peers().is_empty()
    });
    // Nobody else is delayed.
    let mut client = healthy.client();
    client.send("SUB here 1\r\nPUB here 0\r\n\r\n");
    assert_eq!(client.next_message().line, b"MSG here 1 0");
    hanging.broker.signal(libc::SIGCONT);
    mesh::wait_for_mesh(&[&healthy, &hanging]);
    let varz = healthy.broker.get_json("/varz");
    assert_eq!(varz["stale_connection_stats"]["routes"], 1, "{varz}");
}

/// A proxy between two members that forwards bytes, drops them, or is closed.
pub struct Wire {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

pub const PASS: u8 = 0;
pub const SWALLOW: u8 = 1;
pub const CUT: u8 = 2;
pub const SLOW: u8 = 3;
/// Data arrives as late as after the loss of a first packet.
pub const LATE: u8 = 4;

impl Wire {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let mode = Arc::new(AtomicU8::new(PASS));
        let shared = mode.clone();
        thread::spawn(move || {
            for inbound in listener.incoming().flatten() {
                if shared.load(Ordering::Relaxed) == CUT {
                    continue;
                }
                let Ok(outbound) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
                    continue;
                };
                let pairs = [
                    (inbound.try_clone(), outbound.try_clone()),
                    (Ok(outbound), Ok(inbound)),
                ];
                for (from, to) in pairs {
                    let (Ok(from), Ok(to), mode) = (from, to, shared.clone()) else {
                        break;
                    };
                    thread::spawn(move || pump(from, to, &mode));
                }
            }
        });
        Self { port, mode }
    }

    pub fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::Relaxed);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8) {
    let mut buffer = vec![0; 65536];
    let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
    loop {
        let read = from.read(&mut buffer);
        let quiet = |kind| {
            matches!(
                kind,
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            )
        };
        let len = match read {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if quiet(error.kind()) => 0,
            Err(_) => break,
        };
        match mode.load(Ordering::Relaxed) {
            CUT => break,
            // After bytes were dropped the connection is unusable.
            SWALLOW if len > 0 => {
                while mode.load(Ordering::Relaxed) == SWALLOW {
                    thread::sleep(Duration::from_millis(5));
                }
                break;
            }
            SLOW if len > 0 => {
                thread::sleep(Duration::from_millis(20));
                if to.write_all(&buffer[..len]).is_err() {
                    break;
                }
            }
            LATE if len > 0 => {
                thread::sleep(Duration::from_millis(500));
                if to.write_all(&buffer[..len]).is_err() {
                    break;
                }
            }
            _ if to.write_all(&buffer[..len]).is_err() => break,
            _ => {}
        }
    }
    let _ = (
        from.shutdown(std::net::Shutdown::Both),
        to.shutdown(std::net::Shutdown::Both),
    );
}

/// A subscriber that counts how often it received each message.
struct Count {
    client: RawClient,
    seen: HashMap<String, usize>,
}

impl Count {
    fn of(member: &Member) -> Self {
        let mut client = member.client();
        client.send("SUB model.> 1\r\n");
        client.sync();
        Self {
            client,
            seen: HashMap::new(),
        }
    }

    /// Reads until all of these have arrived, and what follows directly.
    fn take_all(&mut self, texts: &[String]) {
        let mut deadline = Instant::now() + PATIENCE;
        let mut complete = false;
        while Instant::now() < deadline {
            match self.client.poll_frame(Duration::from_millis(20)) {
                Next::Frame(frame) if frame.is_message() => {
                    let text = String::from_utf8_lossy(&frame.body).into_owned();
                    *self.seen.entry(text).or_default() += 1;
                }
                Next::Frame(_) => {}
                _ if complete => return,
                _ if texts.iter().all(|text| self.seen.contains_key(text)) => {
                    complete = true;
                    deadline = Instant::now() + Duration::from_millis(100);
                }
                _ => {}
            }
        }
    }
}

/// Two midges and a nats-server whose connections are cut and muted, and which are
/// killed, restarted and stopped, at random. Every message is delivered at most once at
/// any time; messages published while the mesh is complete are delivered exactly once
/// everywhere, and no stale interest remains.
#[test]
fn random_faults_lose_no_message_sent_on_a_complete_mesh() {
    random_faults(None);
}

/// The same with TLS.
#[test]
fn random_faults_with_tls() {
    random_faults(Some(&Pki::new(&["n0", "n1", "n2"])));
}

/// Faults of a mesh.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection between the midges is closed.
    Cut,
    /// Bytes on it are dropped.
    Mute,
    /// A member is killed and restarted.
    Kill(usize),
    /// A member hangs for a while.
    Stop(usize),
}

impl Fault {
    const ALL: [Self; 7] = [
        Self::Cut,
        Self::Mute,
        Self::Kill(0),
        Self::Kill(1),
        Self::Kill(2),
        Self::Stop(0),
        Self::Stop(1),
    ];
}

/// A mesh under test, with publishers and counting subscribers at its members.
struct Trial {
    plans: Vec<Plan>,
    wires: [Wire; 2],
    members: Vec<Member>,
    counts: Vec<Count>,
    publishers: Vec<RawClient>,
}

/// Messages of each publisher in each part of a round.
const PER_PART: usize = 50;

fn random_faults(pki: Option<&Pki>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("MIDGE_FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let time = number("MIDGE_FAULT_SECONDS").map_or(FAULTS_FOR, Duration::from_secs);
    // Printed if the test fails: it repeats the same faults.
    println!("MIDGE_FAULT_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut trial = Trial::new(pki);
    let (start, mut rounds, mut checked) = (Instant::now(), 0, 0);
    while start.elapsed() < time || rounds < 3 {
        rounds += 1;
        let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
        println!("round {rounds} at {:?}: {fault:?}", start.elapsed());
        trial.cause(fault, &format!("fault-{rounds}"));
        trial.wait_until_complete();
        checked += trial.check(&format!("whole-{rounds}"));
    }
    println!("{checked} deliveries in {rounds} rounds");
    assert_eq!(checked, rounds * 3 * 3 * PER_PART);
}

impl Trial {
    fn new(pki: Option<&Pki>) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        // Each of the two midges dials the other through a proxy: the others know each by
        // the address of its proxy.
        let wires = [Wire::to(ports[0]), Wire::to(ports[1])];
        let routes = [
            vec![wires[1].port, ports[2]],
            vec![wires[0].port, ports[2]],
            vec![],
        ];
        let kinds = [Kind::Midge, Kind::Midge, Kind::Nats];
        let plans: Vec<Plan> = (0..3)
            .map(|index| {
                let name = format!("n{index}");
                let mut plan = Plan::new(kinds[index], &name, ports[index], &routes[index]);
                plan.cluster = QUICK_PINGS.into();
                if let Some(pki) = pki {
                    plan.cluster += &format!("\n  {}", tls::block(pki, &name, pki, ""));
                }
                if let Some(wire) = wires.get(index) {
                    plan.cluster += &format!("\n  cluster_advertise: \"127.0.0.1:{}\"", wire.port);
                }
                plan
            })
            .collect();
        let members: Vec<Member> = plans.iter().map(Plan::start).collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        let trial = Self {
            counts: members.iter().map(Count::of).collect(),
            publishers: members.iter().map(Member::client).collect(),
            plans,
            wires,
            members,
        };
        trial.wait_until_complete();
        trial
    }

    /// Causes a fault, publishes meanwhile, waits until the peers that can detect it
    /// have, and ends it.
    fn cause(&mut self, fault: Fault, name: &str) {
        let mode = match fault {
            Fault::Cut => CUT,
            Fault::Mute => SWALLOW,
            Fault::Kill(index) => return self.kill(index, name),
            Fault::Stop(index) => return self.stop(index, name),
        };
        self.wires.iter().for_each(|wire| wire.set(mode));
        publish(&mut self.publishers, name, PER_PART);
        self.wait_until_lost(0, 1);
        self.wait_until_lost(1, 0);
        self.wires.iter().for_each(|wire| wire.set(PASS));
    }

    fn kill(&mut self, index: usize, name: &str) {
        self.members[index].broker.kill();
        let mut others: Vec<usize> = (0..3).collect();
        others.remove(index);
        for from in others {
            publish_from(&mut self.publishers[from], from, name, PER_PART);
            self.wait_until_lost(from, index);
        }
        self.members[index] = self.plans[index].start();
        self.counts[index] = Count::of(&self.members[index]);
        self.publishers[index] = self.members[index].client();
    }

    fn stop(&mut self, index: usize, name: &str) {
        self.members[index].broker.signal(libc::SIGSTOP);
        let mut others: Vec<usize> = (0..3).collect();
        others.remove(index);
        for from in others {
            publish_from(&mut self.publishers[from], from, name, PER_PART);
            self.wait_until_lost(from, index);
        }
        self.members[index].broker.signal(libc::SIGCONT);
    }

    fn wait_until_lost(&self, member: usize, other: usize) {
        let (member, other) = (&self.members[member], &self.members[other].name);
        wait_until(&format!("{} has lost {other}", member.name), || {
            !member.peers().contains(other)
        });
    }

    /// Waits until the mesh is complete and interest is exact again.
    fn wait_until_complete(&self) {
        mesh::wait_for_mesh(&self.members.iter().collect::<Vec<_>>());
        for member in &self.members {
            wait_until(&format!("interest is exact at {}", member.name), || {
                member.knowing("model.>") == 2 && member.peers().len() == 2
            });
        }
    }

    /// Publishes at every member; returns the number of deliveries that arrived exactly
    /// once.
    fn check(&mut self, name: &str) -> usize {
        publish(&mut self.publishers, name, PER_PART);
        let mut checked = 0;
        for count in &mut self.counts {
            let texts: Vec<String> = texts(name, 3, PER_PART).collect();
            count.take_all(&texts);
            for text in texts {
                assert_eq!(count.seen.get(&text), Some(&1), "{text}");
                checked += 1;
            }
            let twice: Vec<_> = count.seen.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{twice:?}");
        }
        checked
    }
}

/// A member that reads slowly gets everything late and delays nobody.
#[test]
fn a_slow_member_gets_every_message_and_delays_nobody() {
    const COUNT: usize = 200;
    const LEN: usize = 50_000;
    let ports = [free_port(), free_port(), free_port()];
    let wire = Wire::to(ports[1]);
    let slow = Plan::new(Kind::Midge, "slow", ports[1], &[]).start();
    let quick = Plan::new(Kind::Midge, "quick", ports[2], &[]).start();
    let from = Plan::new(Kind::Midge, "from", ports[0], &[wire.port, ports[2]]).start();
    wait_until("the member in the middle has both", || {
        from.peers().len() == 2
    });
    let mut readers = [slow.client(), quick.client()];
    for reader in &mut readers {
        reader.send("SUB bulk.> 1\r\n");
        reader.sync();
    }
    wait_until("both are known", || from.knowing("bulk.>") == 2);
    wire.set(SLOW);
    let payload = "x".repeat(LEN);
    let mut publisher = from.client();
    for number in 0..COUNT {
        publisher.send(format!("PUB bulk.{number} {LEN}\r\n{payload}\r\n"));
    }
    publisher.sync();
    let all_come = |reader: &mut RawClient| {
        for number in 0..COUNT {
            let message = reader.next_message();
            let line = String::from_utf8_lossy(&message.line).into_owned();
            assert_eq!(line, format!("MSG bulk.{number} 1 {LEN}"));
        }
    };
    all_come(&mut readers[1]);
    // The fast subscriber has everything while messages for the slow one are still
    // pending.
    let pending = |member: &Member, other: &str| {
        let routes = member.routes();
        let route = routes.iter().find(|route| route["remote_name"] == other);
        route.map_or(0, |route| route["pending_size"].as_u64().unwrap_or(0))
    };
    assert!(pending(&from, "slow") > 0, "the slow one was not slow");
    all_come(&mut readers[0]);
    assert_eq!(from.peers().len(), 2);
}

/// Many clients whose member dies move to the others; interest is exact and every message
/// arrives once.
#[test]
fn many_clients_reconnect_to_other_members() {
    const CLIENTS: usize = 300;
    let mut members = mesh::start(&[Kind::Midge, Kind::Midge, Kind::Nats]);
    let subscribe = |member: &Member, number: usize| {
        let mut client = member.client();
        client.send(format!("SUB node.{number} 1\r\nSUB node.all 2\r\n"));
        client
    };
    let clients: Vec<RawClient> = (0..CLIENTS)
        .map(|number| subscribe(&members[0], number))
        .collect();
    let reported = |from: &Member, by: &str| {
        let routes = from.routes();
        let route = routes.iter().find(|route| route["remote_name"] == by);
        let list = route.and_then(|route| route["subscriptions_list"].as_array().cloned());
        let is_ours = |subject: &&Value| {
            let subject = subject.as_str().unwrap_or_default();
            subject.starts_with("node.")
        };
        list.unwrap_or_default().iter().filter(is_ours).count()
    };
    wait_until("all are known", || {
        reported(&members[1], "n0") == CLIENTS + 1
    });
    let mut dead = members.remove(0);
    dead.broker.kill();
    drop(clients);
    // They reconnect to the other members immediately, alternating.
    let mut clients: Vec<RawClient> = (0..CLIENTS)
        .map(|number| subscribe(&members[number % 2], number))
        .collect();
    for client in &mut clients {
        client.sync();
    }
    wait_until("each has exactly the other's interest", || {
        reported(&members[0], "n2") == CLIENTS / 2 + 1
            && reported(&members[1], "n1") == CLIENTS / 2 + 1
    });
    let mut publisher = members[0].client();
    for number in 0..CLIENTS {
        publisher.send(format!("PUB node.{number} 0\r\n\r\n"));
    }
    publisher.send("PUB node.all 0\r\n\r\n");
    publisher.sync();
    for (number, client) in clients.iter_mut().enumerate() {
        let next = client.next_message().line;
        assert_eq!(next, format!("MSG node.{number} 1 0").into_bytes());
        assert_eq!(client.next_message().line, b"MSG node.all 2 0");
        let extra = client.poll_frame(Duration::from_millis(1));
        let is_message = matches!(&extra, Next::Frame(frame) if frame.is_message());
        assert!(!is_message, "{extra:?}");
    }
}

fn texts(name: &str, publishers: usize, count: usize) -> impl Iterator<Item = String> {
    let each = move |from: usize| (0..count).map(move |number| (from, number));
    let name = name.to_owned();
    (0..publishers)
        .flat_map(each)
        .map(move |(from, number)| format!("{name}-{from}-{number}"))
}

fn publish(publishers: &mut [RawClient], name: &str, count: usize) {
    for (from, publisher) in publishers.iter_mut().enumerate() {
        publish_from(publisher, from, name, count);
    }
}

fn publish_from(publisher: &mut RawClient, from: usize, name: &str, count: usize) {
    for number in 0..count {
        let text = format!("{name}-{from}-{number}");
        publisher.send(format!("PUB model.{number} {}\r\n{text}\r\n", text.len()));
    }
    publisher.sync();
}
