//! Counters: the same traffic must change the counters of `/varz` and `/connz` by the
//! same amounts. The expected amounts are written in the tests, and every test also runs
//! on a real nats-server, which proves them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use test_support::{Broker, BrokerBuilder, PATIENCE, RawClient, wait_until};

macro_rules! on_both_brokers {
    ($($traffic:ident),* $(,)?) => {
        mod midge {
            use test_support::Broker;
            $(#[test] fn $traffic() { super::$traffic(Broker::midge()); })*
        }
        mod nats_server {
            use test_support::Broker;
            $(#[test] fn $traffic() { super::$traffic(Broker::nats_server()); })*
        }
    };
}

on_both_brokers![
    one_publisher_one_subscriber,
    fan_out,
    messages_to_nobody,
    queue_group,
    headers,
    wildcards_and_echo,
    no_responders,
    refused_messages,
    unsubscribe_after_a_maximum,
    connections_come_and_go,
    refused_connections,
    subscriptions_by_detail,
    slow_consumer,
];

/// A hundred messages to one subscriber are counted once in and once out.
fn one_publisher_one_subscriber(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("sub", "SUB a 1\r\n");
    scene.client("pub", &"PUB a 10\r\n0123456789\r\n".repeat(100));
    scene.expect_varz([
        ("in_msgs", 100),
        ("in_bytes", 1000),
        ("out_msgs", 100),
        ("out_bytes", 1000),
    ]);
    scene.expect_connz("sub", [0, 0, 100, 1000, 1]);
    scene.expect_connz("pub", [100, 1000, 0, 0, 0]);
}

/// Each delivery is counted, also several to one connection.
fn fan_out(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("one", "SUB a.b 1\r\n");
    scene.client("three", "SUB a.b 1\r\nSUB a.* 2\r\nSUB > 3\r\n");
    scene.client("none", "SUB b 1\r\n");
    scene.client("pub", &"PUB a.b reply 4\r\n1234\r\n".repeat(50));
    scene.expect_varz([
        ("in_msgs", 50),
        ("in_bytes", 200),
        ("out_msgs", 200),
        ("out_bytes", 800),
    ]);
    scene.expect_connz("one", [0, 0, 50, 200, 1]);
    scene.expect_connz("three", [0, 0, 150, 600, 3]);
    scene.expect_connz("none", [0, 0, 0, 0, 1]);
    scene.expect_connz("pub", [50, 200, 0, 0, 0]);
}

/// Messages without subscribers are counted in, not out.
fn messages_to_nobody(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client(
        "pub",
        &"PUB nobody 3\r\nabc\r\nPUB nobody 0\r\n\r\n".repeat(20),
    );
    scene.expect_varz([
        ("in_msgs", 40),
        ("in_bytes", 60),
        ("out_msgs", 0),
        ("out_bytes", 0),
    ]);
    scene.expect_connz("pub", [40, 60, 0, 0, 0]);
}

/// A queue group gets each message once; which member gets it is not defined.
fn queue_group(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    for name in ["q1", "q2", "q3"] {
        scene.client(name, "SUB a q 1\r\n");
    }
    scene.client("pub", &"PUB a 2\r\nhi\r\n".repeat(300));
    scene.expect_varz([
        ("in_msgs", 300),
        ("in_bytes", 600),
        ("out_msgs", 300),
        ("out_bytes", 600),
    ]);
    let shares = ["q1", "q2", "q3"].map(|name| scene.connz(name)[2]);
    assert_eq!(shares.iter().sum::<i64>(), 300, "{shares:?}");
    assert!(shares.iter().all(|&share| share > 0), "{shares:?}");
}

/// Headers count as bytes. The total of bytes out is not tested here: nats-server
/// includes stripped headers, midge counts in `/varz` the bytes that its connections were
/// sent.
fn headers(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("with", "SUB a 1\r\n");
    scene.client_with("without", "\"headers\":false", "SUB a 1\r\n");
    scene.client("pub", &"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n".repeat(10));
    scene.expect_varz([("in_msgs", 10), ("in_bytes", 140), ("out_msgs", 20)]);
    scene.expect_connz("with", [0, 0, 10, 140, 1]);
    scene.expect_connz("without", [0, 0, 10, 20, 1]);
    scene.expect_connz("pub", [10, 140, 0, 0, 0]);
}

/// A connection's own messages count when they come back to it.
fn wildcards_and_echo(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    let traffic = "SUB a.> 1\r\nPUB a.b 5\r\nhello\r\nPUB a 5\r\nhello\r\n";
    scene.client("echo", traffic);
    scene.expect_connz("echo", [2, 10, 1, 5, 1]);
    scene.client_with("silent", "\"echo\":false", traffic);
    scene.expect_connz("echo", [2, 10, 2, 10, 1]);
    scene.expect_connz("silent", [2, 10, 0, 0, 1]);
    scene.expect_varz([
        ("in_msgs", 4),
        ("in_bytes", 20),
        ("out_msgs", 2),
        ("out_bytes", 10),
    ]);
}

/// The broker's own no-responders reply does not count as a message out.
fn no_responders(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client_with(
        "asks",
        "\"no_responders\":true",
        &format!("SUB r 1\r\n{}", "PUB nobody r 1\r\n?\r\n".repeat(5)),
    );
    scene.expect_varz([
        ("in_msgs", 5),
        ("in_bytes", 5),
        ("out_msgs", 0),
        ("out_bytes", 0),
    ]);
    scene.expect_connz("asks", [5, 5, 0, 0, 1]);
}

/// A message counts as received even if its subject is refused or matches nobody.
fn refused_messages(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("sub", "SUB > 1\r\n");
    scene.client_with(
        "pub",
        "\"pedantic\":true",
        "PUB a..b 3\r\nabc\r\nPUB _GR_.x 3\r\nabc\r\nPUB a _R_.x 3\r\nabc\r\nPUB a.* 3\r\nabc\r\n",
    );
    scene.expect_varz([
        ("in_msgs", 4),
        ("in_bytes", 12),
        ("out_msgs", 1),
        ("out_bytes", 3),
    ]);
    scene.expect_connz("sub", [0, 0, 1, 3, 1]);
    scene.expect_connz("pub", [4, 12, 0, 0, 0]);
}

/// Nothing is counted after the end of a subscription.
fn unsubscribe_after_a_maximum(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("sub", "SUB a 1\r\nUNSUB 1 3\r\nSUB a 2\r\nUNSUB 2\r\n");
    scene.client("pub", &"PUB a 1\r\nx\r\n".repeat(10));
    scene.expect_varz([("in_msgs", 10), ("out_msgs", 3), ("out_bytes", 3)]);
    scene.expect_connz("sub", [0, 0, 3, 3, 0]);
}

/// Every accepted connection counts in the total, an open one as open.
fn connections_come_and_go(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("stays", "SUB a 1\r\nSUB b 2\r\n");
    for _ in 0..5 {
        scene.client("goes", "SUB c 1\r\n");
        scene.clients.pop();
    }
    scene.expect_varz([
        ("connections", 1),
        ("total_connections", 6),
        ("subscriptions", 2),
        ("in_msgs", 0),
    ]);
    let closed = scene.broker.get_json("/connz?state=closed");
    let goes: Vec<&Value> = closed["connections"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|entry| entry["name"] == "goes")
        .collect();
    assert_eq!(goes.len(), 5);
    assert!(goes.iter().all(|entry| entry["reason"] == "Client Closed"));
}

/// A refused connection was accepted before it was refused.
fn refused_connections(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker.config("max_connections: 1\n"));
    scene.client("first", "");
    for _ in 0..3 {
        let mut refused = RawClient::connect(scene.broker.client_addr());
        assert_eq!(
            format!("{:?}", refused.read_to_end()),
            "[-ERR 'maximum connections exceeded']"
        );
    }
    scene.expect_varz([("connections", 1), ("total_connections", 4)]);
}

/// Each subscription counts its own deliveries.
fn subscriptions_by_detail(broker: BrokerBuilder) {
    let mut scene = Scene::start(broker);
    scene.client("sub", "SUB a 1\r\nSUB a q 2\r\nSUB > 3\r\nUNSUB 3 50\r\n");
    scene.client("pub", &"PUB a 1\r\nx\r\nPUB b 1\r\ny\r\n".repeat(10));
    scene.expect_connz("sub", [0, 0, 40, 40, 3]);
    let connz = scene.broker.get_json("/connz?subs=detail");
    let mut details: Vec<(Value, Value, Value, Value, Value)> =
        entry(&connz, "sub")["subscriptions_list_detail"]
            .as_array()
            .expect("the subscriptions")
            .iter()
            .map(|detail| {
                let field = |name: &str| detail[name].clone();
                (
                    field("sid"),
                    field("subject"),
                    field("qgroup"),
                    field("msgs"),
                    field("max"),
                )
            })
            .collect();
    details.sort_by_key(|detail| detail.0.to_string());
    let null = Value::Null;
    assert_eq!(
        details,
        [
            (
                "1".into(),
                "a".into(),
                null.clone(),
                10.into(),
                null.clone()
            ),
            ("2".into(), "a".into(), "q".into(), 10.into(), null.clone()),
            ("3".into(), ">".into(), null, 20.into(), 50.into()),
        ]
    );
}

/// A subscriber that stops reading is disconnected once, with a reason, and its publisher
/// is not. (nats-server still counts it as open while its last write blocks, so
/// `connections` is not tested.)
fn slow_consumer(broker: BrokerBuilder) {
    let mut scene = Scene::start(
        broker.config("max_pending: 1MB\nmax_payload: 64KB\nwrite_deadline: \"30s\"\n"),
    );
    scene.client("stuck", "SUB a 1\r\n");
    let mut publisher = RawClient::connect_quietly(scene.broker.client_addr());
    let message = format!("PUB a 65536\r\n{}\r\n", "x".repeat(65_536));
    let mut sent = 0;
    let deadline = Instant::now() + PATIENCE;
    // Socket buffers hold some megabytes before the broker has to queue.
    while scene.varz("slow_consumers") == 0 {
        assert!(Instant::now() < deadline, "no slow consumer after {sent}");
        for _ in 0..10 {
            publisher.send(&message);
            sent += 1;
        }
        publisher.sync();
    }
    scene.expect_varz([
        ("slow_consumers", 1),
        ("slow_consumer_stats/clients", 1),
        ("in_msgs", sent),
        ("in_bytes", sent * 65_536),
    ]);
    wait_until("the slow consumer is listed as closed", || {
        let closed = scene.broker.get_json("/connz?state=closed");
        entry(&closed, "stuck")["reason"] == "Slow Consumer (Pending Bytes)"
    });
}

/// A broker and its clients, with the counters from before.
struct Scene {
    broker: Broker,
    clients: Vec<RawClient>,
    before: BTreeMap<String, i64>,
}

impl Scene {
    fn start(broker: BrokerBuilder) -> Self {
        let broker = broker.start();
        broker.wait_for_connections(0);
        let before = counters(&broker.get_json("/varz"));
        Self {
            broker,
            clients: Vec::new(),
            before,
        }
    }

    /// A client with headers that sends these bytes; when this returns the broker has
    /// processed them.
    fn client(&mut self, name: &str, bytes: &str) {
        self.client_with(name, "\"echo\":true", bytes);
    }

    fn client_with(&mut self, name: &str, field: &str, bytes: &str) {
        let mut client = RawClient::connect(self.broker.client_addr());
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"name\":\"{name}\",{field}}}\r\n"
        ));
        client.send(bytes);
        client.sync();
        self.clients.push(client);
    }

    /// The change of a counter.
    fn varz(&self, name: &str) -> i64 {
        let now = counters(&self.broker.get_json("/varz"));
        now[name] - self.before[name]
    }

    /// Waits until the counters have changed by these amounts: they may lag a moment
    /// behind the traffic.
    fn expect_varz<const N: usize>(&self, expected: [(&str, i64); N]) {
        for (name, amount) in expected {
            settle(&format!("/varz {name}"), &amount, || self.varz(name));
        }
    }

    /// `in_msgs, in_bytes, out_msgs, out_bytes, subscriptions` of a client.
    fn connz(&self, name: &str) -> [i64; 5] {
        let connz = self.broker.get_json("/connz");
        let entry = entry(&connz, name);
        [
            "in_msgs",
            "in_bytes",
            "out_msgs",
            "out_bytes",
            "subscriptions",
        ]
        .map(|field| entry[field].as_i64().expect("a number"))
    }

    fn expect_connz(&self, name: &str, expected: [i64; 5]) {
        settle(&format!("/connz {name}"), &expected, || self.connz(name));
    }
}

/// Waits until `actual` is as expected; fails with the last value.
fn settle<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, actual: impl Fn() -> T) {
    let deadline = Instant::now() + PATIENCE;
    while actual() != *expected && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(actual(), *expected, "{what}");
}

/// The numbers of `/varz`, those of inner objects as `outer/inner`.
fn counters(varz: &Value) -> BTreeMap<String, i64> {
    let outer = varz.as_object().expect("an object");
    let inner = outer.iter().flat_map(|(name, value)| {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(move |(field, value)| (format!("{name}/{field}"), value))
    });
    outer
        .iter()
        .map(|(name, value)| (name.clone(), value))
        .chain(inner)
        .filter_map(|(name, value)| Some((name, value.as_i64()?)))
        .collect()
}

/// The first connection of that name; null if there is none.
fn entry(connz: &Value, name: &str) -> Value {
    connz["connections"]
        .as_array()
        .and_then(|entries| entries.iter().find(|entry| entry["name"] == name))
        .cloned()
        .unwrap_or_default()
}
