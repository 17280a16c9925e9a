//! A mesh of nats-servers is replaced by midge, one member after the other, with the same
//! configuration files, and one member back again.
//!
//! Each client numbers what it publishes and receives what all of them publish. While a member
//! is replaced, the clients that were connected to it connect to another one by themselves. For
//! a pair of clients that stay connected, nothing may be missing, ever. For a pair of which one
//! lost its server, one piece may be missing, from the loss until the pair's path is there
//! again. Nothing may come twice or out of order.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, ServerAddr};
use futures_util::StreamExt;
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
    wait_until,
};

/// Between two messages of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// Messages of each client by which a state of the mesh is tried.
const ENOUGH: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_nats_servers_are_replaced_without_a_loss() {
    replace_all(Kind::Nats29).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn current_nats_servers_are_replaced_without_a_loss() {
    replace_all(Kind::Nats).await;
}

async fn replace_all(kind: Kind) {
    let mut upgrade = Upgrade::start(kind);
    for index in 0..upgrade.plans.len() {
        upgrade.connect(index).await;
    }
    for (index, kind) in [
        (0, Kind::Midge),
        (1, Kind::Midge),
        (2, Kind::Midge),
        (0, kind),
    ] {
        upgrade.replace(index, kind);
        // From now on the new member has clients, too.
        upgrade.connect(index).await;
    }
    upgrade.wait_until_all_receive("at the end");
    upgrade.check().await;
}

/// The mesh, its clients, and what each replacement may have cost.
struct Upgrade {
    plans: Vec<Plan>,
    members: Vec<Option<Member>>,
    counters: Vec<Counter>,
    losses: Vec<Loss>,
}

/// The clients that lost their server, and which numbers each client published meanwhile.
struct Loss {
    losers: Vec<usize>,
    published: Vec<Range<usize>>,
}

/// A client that counts.
struct Counter {
    client: Client,
    published: Arc<AtomicUsize>,
    /// The numbers received, by the client that published them.
    received: Arc<Mutex<BTreeMap<usize, Vec<usize>>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Upgrade {
    fn start(kind: Kind) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let plans: Vec<Plan> = (0..ports.len())
            .map(|index| {
                let mut others = ports.to_vec();
                others.remove(index);
                let mut plan = Plan::new(kind, &format!("n{index}"), ports[index], &others);
                plan.port = free_port();
                plan
            })
            .collect();
        let members = plans.iter().map(|plan| Some(plan.start())).collect();
        let upgrade = Self {
            plans,
            members,
            counters: Vec::new(),
            losses: Vec::new(),
        };
        upgrade.wait_for_mesh();
        upgrade
    }

    fn wait_for_mesh(&self) {
        mesh::wait_for_mesh(&self.members.iter().flatten().collect::<Vec<_>>());
    }

    /// Adds a client that knows all members and begins with this one.
    async fn connect(&mut self, member: usize) {
        let mut servers: Vec<ServerAddr> = self
            .plans
            .iter()
            .map(|plan| {
                format!("127.0.0.1:{}", plan.port)
                    .parse()
                    .expect("an address")
            })
            .collect();
        servers.rotate_left(member);
        let counter = Counter::start(self.counters.len(), servers).await;
        assert_eq!(counter.server(), self.plans[member].name);
        self.counters.push(counter);
    }

    fn replace(&mut self, index: usize, kind: Kind) {
        let name = self.plans[index].name.clone();
        let places: Vec<_> = self.counters.iter().map(Counter::server).collect();
        let losers: Vec<_> = (0..places.len()).filter(|at| places[*at] == name).collect();
        assert!(!losers.is_empty(), "nobody is at {name}");
        let begin = self.published();
        // Nothing from before this moment is on its way any more.
        self.wait_until_all_receive("in the whole mesh");
        let mut old = self.members[index].take().expect("it runs");
        old.broker.stop();
        self.wait_until_all_receive("without the member");
        for (counter, place) in self.counters.iter().zip(&places) {
            assert!(counter.server() != name, "nobody is where nobody can be");
            assert!(*place == name || counter.server() == *place, "it has moved");
        }
        let end = self.published();
        let published = begin.into_iter().zip(end).map(|(begin, end)| begin..end);
        self.losses.push(Loss {
            losers,
            published: published.collect(),
        });
        // The return of a member costs nobody anything.
        self.plans[index].kind = kind;
        self.members[index] = Some(self.plans[index].start());
        self.wait_for_mesh();
    }

    fn published(&self) -> Vec<usize> {
        let published = self.counters.iter().map(Counter::published);
        published.collect()
    }

    /// Waits until each client has received from each some of what was published after this
    /// call.
    fn wait_until_all_receive(&self, when: &str) {
        let before = self.published();
        for (to, counter) in self.counters.iter().enumerate() {
            for (from, before) in before.iter().enumerate() {
                wait_until(&format!("{to} receives from {from} {when}"), || {
                    let received = counter.received.lock().expect("the numbers");
                    let last = received.get(&from).and_then(|all| all.last());
                    last.is_some_and(|last| *last > before + ENOUGH)
                });
            }
        }
    }

    async fn check(mut self) {
        for counter in &mut self.counters {
            counter.stop().await;
        }
        for (to, counter) in self.counters.iter().enumerate() {
            let received = counter.received.lock().expect("the numbers");
            for (from, numbers) in received.iter() {
                self.check_pair(*from, to, numbers);
            }
        }
    }

    fn check_pair(&self, from: usize, to: usize, numbers: &[usize]) {
        for pair in numbers.windows(2) {
            let (last, next) = (pair[0], pair[1]);
            assert!(last < next, "{to} received {next} of {from} after {last}");
            let missing = last + 1..next;
            if missing.is_empty() {
                continue;
            }
            let excuse = self.losses.iter().find(|loss| {
                let published = loss.published.get(from);
                let during = |published: &Range<usize>| {
                    published.start <= missing.start && missing.end <= published.end
                };
                published.is_some_and(during)
                    && (loss.losers.contains(&from) || loss.losers.contains(&to))
            });
            assert!(
                excuse.is_some(),
                "{to} has not received {missing:?} of {from}"
            );
        }
        let pieces = numbers.windows(2).filter(|pair| pair[0] + 1 < pair[1]);
        let losses = self
            .losses
            .iter()
            .filter(|loss| loss.losers.contains(&from) || loss.losers.contains(&to));
        assert!(
            pieces.count() <= losses.count(),
            "{to} lacks pieces of {from}"
        );
    }
}

impl Counter {
    async fn start(index: usize, servers: Vec<ServerAddr>) -> Self {
        let client = ConnectOptions::new()
            .retain_servers_order()
            .ignore_discovered_servers()
            .reconnect_delay_callback(|_| Duration::from_millis(20))
            .connect(servers)
            .await
            .expect("connect");
        let mut subscriber = client.subscribe("count.*").await.expect("subscribe");
        client.flush().await.expect("flush");
        let counter = Self {
            client: client.clone(),
            published: Arc::default(),
            received: Arc::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        let received = counter.received.clone();
        let receiving = tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                let text = String::from_utf8_lossy(&message.payload);
                let number = text.parse().expect("a number");
                let from = message.subject.as_str().strip_prefix("count.");
                let from = from.and_then(|from| from.parse().ok()).expect("a client");
                let mut received = received.lock().expect("the numbers");
                received.entry(from).or_default().push(number);
            }
        });
        let (stop, published) = (counter.stop.clone(), counter.published.clone());
        let sending = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = published.fetch_add(1, Ordering::Relaxed);
                let text = number.to_string().into();
                let sent = client.publish(format!("count.{index}"), text).await;
                sent.expect("publish");
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            tasks: vec![sending, receiving],
            ..counter
        }
    }

    /// How many numbers it has begun to publish.
    fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }

    /// The name of the member that it is connected to.
    fn server(&self) -> String {
        self.client.server_info().server_name
    }

    async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let receiving = self.tasks.pop().expect("the receiving task");
        for task in self.tasks.drain(..) {
            task.await.expect("it publishes to its end");
        }
        receiving.abort();
    }
}
