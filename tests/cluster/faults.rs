//! Members that are killed, stopped, cut off and restarted: what was published
//! while the way was whole comes exactly once, and the mesh heals by itself.

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

use crate::{
    mesh::{self, Kind, Member, Plan, free_port},
    support::{RawClient, raw_client::Next, wait_until},
};

/// How long the random faults go on.
const FAULTS_FOR: Duration = Duration::from_secs(12);

/// Pings that find a silent member within some seconds.
const QUICK_PINGS: &str = "name: mesh\n  ping_interval: \"1s\"\n  ping_max: 2";

/// A member that hangs is given up within some seconds, and found again when it
/// goes on.
#[test]
fn a_hanging_member_is_given_up_and_found_again() {
    let ports = [free_port(), free_port()];
    let plan = |index: usize| {
        let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), ports[index], &ports);
        plan.cluster = QUICK_PINGS.into();
        plan
    };
    let (healthy, hanging) = (plan(0).start(), plan(1).start());
    mesh::wait_for_mesh(&[&healthy, &hanging]);
    hanging.broker.signal(libc::SIGSTOP);
    wait_until("the hanging member is given up", || {
        healthy.peers().is_empty()
    });
    // Nobody else is held up meanwhile.
    let mut client = healthy.client();
    client.send("SUB here 1\r\nPUB here 0\r\n\r\n");
    assert_eq!(client.next_message().line, b"MSG here 1 0");
    hanging.broker.signal(libc::SIGCONT);
    mesh::wait_for_mesh(&[&healthy, &hanging]);
    let varz = healthy.broker.get_json("/varz");
    assert_eq!(varz["stale_connection_stats"]["routes"], 1, "{varz}");
}

/// A way between two members on which bytes pass, vanish, or which is closed.
pub struct Wire {
    pub port: u16,
    mode: Arc<AtomicU8>,
}

pub const PASS: u8 = 0;
pub const SWALLOW: u8 = 1;
pub const CUT: u8 = 2;

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
            // Once bytes are gone the way never is whole again.
            SWALLOW if len > 0 => {
                while mode.load(Ordering::Relaxed) == SWALLOW {
                    thread::sleep(Duration::from_millis(5));
                }
                break;
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

/// A subscriber that counts how often each message came.
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

    fn take(&mut self, patience: Duration) {
        while let Next::Frame(frame) = self.client.poll_frame(patience) {
            if frame.is_message() {
                let text = String::from_utf8_lossy(&frame.body).into_owned();
                *self.seen.entry(text).or_default() += 1;
            }
        }
    }
}

/// Two midges and a nats-server; the way from one midge to the other is cut and
/// muted at random. Everything is delivered at most once at any time; what is
/// published while all know each other is delivered exactly once everywhere.
#[test]
fn random_faults_lose_nothing_that_was_sent_on_a_whole_mesh() {
    let ports = [free_port(), free_port(), free_port()];
    // Whichever of the two midges dials the other, it dials a wire: each is
    // known to the others by the wire before it.
    let wires = [Wire::to(ports[0]), Wire::to(ports[1])];
    let midge = |index: usize, routes: &[u16]| {
        let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), ports[index], routes);
        let advertise = format!("cluster_advertise: \"127.0.0.1:{}\"", wires[index].port);
        plan.cluster = format!("{QUICK_PINGS}\n  {advertise}");
        plan.start()
    };
    let members = [
        midge(0, &[wires[1].port, ports[2]]),
        midge(1, &[ports[2]]),
        Plan::new(Kind::Nats, "n2", ports[2], &[]).start(),
    ];
    let all: Vec<&Member> = members.iter().collect();
    mesh::wait_for_mesh(&all);
    let mut counts: Vec<Count> = all.iter().map(|member| Count::of(member)).collect();
    let mut publishers: Vec<RawClient> = all.iter().map(|member| member.client()).collect();
    let start = Instant::now();
    let mut round = 0;
    let mut checked = 0;
    while start.elapsed() < FAULTS_FOR {
        round += 1;
        let fault = [CUT, SWALLOW][round % 2];
        wires.iter().for_each(|wire| wire.set(fault));
        publish(&mut publishers, &format!("fault-{round}"), 50);
        for (member, other) in [(0, "n1"), (1, "n0")] {
            wait_until("the fault is noticed at both ends", || {
                !all[member].peers().contains(other)
            });
        }
        wires.iter().for_each(|wire| wire.set(PASS));
        mesh::wait_for_mesh(&all);
        for member in &all {
            wait_until("all subscriptions are known again", || {
                member.knowing("model.>") == 2
            });
        }
        let name = format!("whole-{round}");
        publish(&mut publishers, &name, 50);
        for count in &mut counts {
            count.take(Duration::from_millis(200));
        }
        for count in &counts {
            for text in texts(&name, publishers.len(), 50) {
                assert_eq!(count.seen.get(&text), Some(&1), "{text}");
                checked += 1;
            }
            let twice: Vec<_> = count.seen.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{twice:?}");
        }
    }
    assert!(checked >= 900, "{checked} deliveries in {round} rounds");
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
        for number in 0..count {
            let text = format!("{name}-{from}-{number}");
            publisher.send(format!("PUB model.{number} {}\r\n{text}\r\n", text.len()));
        }
        publisher.sync();
    }
}
