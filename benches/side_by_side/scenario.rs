//! The table of scenarios: their loads and midge's goals.

use crate::{certificates::Node, sample::Metric};

/// A load, its name and its goals.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What is counted: rate and CPU time are per this unit.
    pub(crate) unit: &'static str,
    pub(crate) load: Load,
    pub(crate) goals: &'static [Goal],
}

/// A goal for midge.
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
}

/// How a goal is evaluated.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// midge's value is at least this, whatever the peer's.
    AtLeast(f64),
    /// midge's value is at most this, whatever the peer's.
    AtMost(f64),
    /// midge's value divided by the peer's is at most this.
    RatioAtMost(f64),
    /// midge's value is at most so much above the peer's.
    AboveAtMost(f64),
}

impl Bound {
    /// The number of the bound.
    pub(crate) fn limit(self) -> f64 {
        match self {
            Self::AtLeast(limit)
            | Self::AtMost(limit)
            | Self::RatioAtMost(limit)
            | Self::AboveAtMost(limit) => limit,
        }
    }
}

/// What is measured. Payload sizes are in bytes.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// A load on every broker.
    Broker(BrokerLoad),
    /// The same with mutual TLS and RSA-4096 certificates.
    Tls(BrokerLoad),
    /// The same, but the broker has a key of P-256.
    TlsEc(BrokerLoad),
    /// The same with clients that connect by WebSocket.
    WebSocket(WebSocket, BrokerLoad),
    /// The same on a full mesh: publishers and requesters connect to the first member, subscribers
    /// and responders to the last. CPU time is that of all members.
    Mesh { members: usize, load: BrokerLoad },
    /// The same over a leafnode connection: publishers and requesters connect to the leafnode,
    /// subscribers and responders to its hub. CPU time is that of both.
    Leafnode(BrokerLoad),
    /// The same bytes between two sockets, without a broker.
    Relay { payload: usize },
}

/// What is beneath and in a WebSocket.
#[derive(Clone, Copy)]
pub(crate) enum WebSocket {
    Plain,
    /// Both sides compress.
    Compressed,
    /// TLS with a key of P-256.
    Tls,
}

/// The kinds of load on a broker, with their sizes.
#[derive(Clone, Copy)]
pub(crate) enum BrokerLoad {
    /// A pair, with and without an unrelated burden.
    Burdened { burden: Burden, payload: usize },
    /// Subscribing and unsubscribing while a pair exchanges messages.
    Churn,
    /// One publisher, and subscribers on connections of their own; in a cluster this many at each
    /// member.
    FanOut { subscribers: usize, payload: usize },
    /// Nodes with eight subscriptions each; a broadcast of 1 KiB that each answers with 2 KiB.
    Fleet { nodes: usize },
    /// Connect, complete the handshake, log in and disconnect, one after the other; `resume`: the
    /// client resumes its TLS session if possible.
    Handshakes { resume: bool },
    /// A member of the cluster is killed and restarted.
    Heal,
    /// No load.
    Idle,
    /// Idle connections with four subscriptions each.
    IdleConnections { count: usize },
    /// Clients that give up a handshake that takes too long, and come again.
    Impatient(Impatient),
    /// A pair, with and without reading of the monitoring pages, while idle connections are open.
    Monitored { connections: usize, payload: usize },
    /// A monitoring page is read while idle connections are open and a pair exchanges messages.
    Page { page: Page, connections: usize },
    /// A pair at a steady rate of messages per second.
    Paced { rate: u32 },
    /// Publishers with one subscriber each on separate subjects.
    Pairs { pairs: usize, payload: usize },
    /// Publishing without a subscriber.
    Publish { payload: usize },
    /// One publisher, and a queue group with a connection for each member.
    Queue { members: usize, payload: usize },
    /// Publish to random subjects among many subscriptions.
    RandomSubjects,
    /// Requesters with one outstanding request each, and a responder.
    Requests { requesters: usize },
    /// What a fleet of so many nodes costs: handshakes, memory, broadcasts and answers.
    Sizing { nodes: usize },
    /// A fan-out with and without subscribers that do not read.
    SlowConsumer { healthy: usize, payload: usize },
    /// Nodes that all connect at once while a pair exchanges messages at a steady rate.
    Storm { nodes: usize },
    /// Many subscriptions at the last member, until the others know them.
    PropagateSubscriptions,
}

/// Clients that connect, so many at a time.
#[derive(Clone, Copy)]
pub(crate) struct Impatient {
    pub(crate) clients: usize,
    pub(crate) at_once: usize,
    /// After as many seconds they give up.
    pub(crate) patience: u64,
    pub(crate) node: Node,
}

/// A monitoring page.
#[derive(Clone, Copy)]
pub(crate) enum Page {
    /// 1024 connections with their subscriptions.
    Connz,
    /// What Prometheus reads; for a broker without `/metrics`, the pages that
    /// prometheus-nats-exporter reads.
    Metrics,
    Varz,
}

/// The burden in addition to a pair.
#[derive(Clone, Copy)]
pub(crate) enum Burden {
    /// This many idle connections with four subscriptions each.
    Connections(usize),
    /// The 100 000 subscriptions of [`BrokerLoad::RandomSubjects`].
    Subscriptions,
}

const fn cpu(ratio: f64) -> Goal {
    Goal {
        metric: Metric::BrokerCpuUs,
        bound: Bound::RatioAtMost(ratio),
    }
}

const fn p50(ratio: f64) -> Goal {
    Goal {
        metric: Metric::P50Us,
        bound: Bound::RatioAtMost(ratio),
    }
}

const fn impatient(name: &'static str, clients: usize, at_once: usize, node: Node) -> Scenario {
    Scenario {
        name,
        what: match node {
            Node::Light => "clients that give up after 2 s and come again, so many at a time",
            Node::Puppet => "the same, and clients that need as long as the broker, on its cores",
        },
        unit: "client",
        load: Load::Tls(BrokerLoad::Impatient(Impatient {
            clients,
            at_once,
            patience: 2,
            node,
        })),
        goals: &[Goal {
            metric: Metric::GaveUp,
            bound: Bound::AboveAtMost(0.0),
        }],
    }
}

const fn sizing(name: &'static str, load: Load) -> Scenario {
    Scenario {
        name,
        what: "a fleet: its handshakes, memory, and broadcasts that all nodes answer",
        unit: "node and round",
        load,
        goals: &[],
    }
}

const fn at_most(metric: Metric, limit: f64) -> Goal {
    Goal {
        metric,
        bound: Bound::AtMost(limit),
    }
}

const fn at_least(metric: Metric, limit: f64) -> Goal {
    Goal {
        metric,
        bound: Bound::AtLeast(limit),
    }
}

const fn publish(name: &'static str, payload: usize, goals: &'static [Goal]) -> Scenario {
    Scenario {
        name,
        what: "publish without a subscriber",
        unit: "message",
        load: Load::Broker(BrokerLoad::Publish { payload }),
        goals,
    }
}

const fn p2p(name: &'static str, payload: usize, goals: &'static [Goal]) -> Scenario {
    Scenario {
        name,
        what: "one publisher to one subscriber",
        unit: "message",
        load: Load::Broker(BrokerLoad::Pairs { pairs: 1, payload }),
        goals,
    }
}

const fn fan(
    name: &'static str,
    subscribers: usize,
    payload: usize,
    goals: &'static [Goal],
) -> Scenario {
    Scenario {
        name,
        what: "one publisher to many subscribers",
        unit: "delivery",
        load: Load::Broker(BrokerLoad::FanOut {
            subscribers,
            payload,
        }),
        goals,
    }
}

const fn websocket(
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    (kind, load): (WebSocket, BrokerLoad),
    goals: &'static [Goal],
) -> Scenario {
    Scenario {
        name,
        what,
        unit,
        load: Load::WebSocket(kind, load),
        goals,
    }
}

const WEBSOCKET_PAIR: BrokerLoad = BrokerLoad::Pairs {
    pairs: 1,
    payload: 128,
};
const WEBSOCKET_FAN: BrokerLoad = BrokerLoad::FanOut {
    subscribers: 100,
    payload: 128,
};

const fn page(name: &'static str, what: &'static str, page: Page) -> Scenario {
    Scenario {
        name,
        what,
        unit: "request",
        load: Load::Broker(BrokerLoad::Page {
            page,
            connections: 10_000,
        }),
        goals: &[],
    }
}

const fn relay(name: &'static str, payload: usize) -> Scenario {
    Scenario {
        name,
        what: "the machine's limit: the same bytes between two sockets, no broker",
        unit: "message",
        load: Load::Relay { payload },
        goals: &[],
    }
}

/// All scenarios, in the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    publish("pub-16", 16, &[cpu(0.4)]),
    publish("pub-128", 128, &[cpu(0.4)]),
    publish("pub-1k", 1024, &[cpu(0.6)]),
    p2p("p2p-16", 16, &[cpu(0.2)]),
    p2p("p2p-128", 128, &[cpu(0.25)]),
    p2p("p2p-1k", 1024, &[cpu(0.45)]),
    p2p("p2p-64k", 64 * 1024, &[cpu(0.7)]),
    Scenario {
        name: "multi-4x4",
        what: "four publishers to four subscribers, a subject for each pair, 128 B",
        unit: "message",
        load: Load::Broker(BrokerLoad::Pairs {
            pairs: 4,
            payload: 128,
        }),
        goals: &[cpu(0.25)],
    },
    fan("fan-10-16", 10, 16, &[cpu(0.3)]),
    fan("fan-10", 10, 128, &[cpu(0.3)]),
    fan("fan-10-1k", 10, 1024, &[cpu(0.3)]),
    fan("fan-100-16", 100, 16, &[cpu(0.25)]),
    fan("fan-100", 100, 128, &[cpu(0.25)]),
    fan("fan-100-1k", 100, 1024, &[cpu(0.25)]),
    fan("fan-1000", 1000, 128, &[cpu(0.15)]),
    Scenario {
        name: "queue-8",
        what: "a queue group of eight members, a connection for each, 128 B",
        unit: "message",
        load: Load::Broker(BrokerLoad::Queue {
            members: 8,
            payload: 128,
        }),
        goals: &[cpu(0.25)],
    },
    Scenario {
        name: "reqrep-1",
        what: "one request under way, 16 B",
        unit: "round trip",
        load: Load::Broker(BrokerLoad::Requests { requesters: 1 }),
        goals: &[p50(0.8)],
    },
    Scenario {
        name: "reqrep-64",
        what: "64 requests under way, a connection for each, 16 B",
        unit: "round trip",
        load: Load::Broker(BrokerLoad::Requests { requesters: 64 }),
        goals: &[cpu(0.6)],
    },
    Scenario {
        name: "latency-load",
        what: "one to one at a pace of 50 000 messages/s, ten at a time, 128 B",
        unit: "message",
        load: Load::Broker(BrokerLoad::Paced { rate: 50_000 }),
        goals: &[p50(0.5), cpu(0.5)],
    },
    Scenario {
        name: "subs-100k",
        what: "random subjects among 100 000 subscriptions, 16 B",
        unit: "publish",
        load: Load::Broker(BrokerLoad::RandomSubjects),
        goals: &[cpu(0.3)],
    },
    Scenario {
        name: "sub-churn",
        what: "subscribe or unsubscribe, with one message one to one for each",
        unit: "operation",
        load: Load::Broker(BrokerLoad::Churn),
        goals: &[cpu(0.5)],
    },
    Scenario {
        name: "conns-10k",
        what: "10 000 idle connections with four subscriptions each",
        unit: "connection",
        load: Load::Broker(BrokerLoad::IdleConnections { count: 10_000 }),
        goals: &[at_most(Metric::ConnectionKib, 5.0)],
    },
    Scenario {
        name: "idle",
        what: "a broker that has just started",
        unit: "broker",
        load: Load::Broker(BrokerLoad::Idle),
        goals: &[at_most(Metric::MemoryMib, 5.0)],
    },
    Scenario {
        name: "slow-consumer",
        what: "fan-out to ten, with none, one and two more that do not read, 1 KiB",
        unit: "delivery",
        load: Load::Broker(BrokerLoad::SlowConsumer {
            healthy: 10,
            payload: 1024,
        }),
        goals: &[
            at_least(Metric::KeptWithOneStalled, 0.97),
            at_least(Metric::KeptWithTwoStalled, 0.97),
        ],
    },
    Scenario {
        name: "monitor-load",
        what: "one to one while /varz and /connz of 2000 connections are read at 10 Hz, 128 B",
        unit: "message",
        load: Load::Broker(BrokerLoad::Monitored {
            connections: 2000,
            payload: 128,
        }),
        goals: &[at_most(Metric::LossPercent, 2.0)],
    },
    Scenario {
        name: "idle-cost-conns",
        what: "one to one beside 10 000 idle connections, CPU × that without, 128 B",
        unit: "message",
        load: Load::Broker(BrokerLoad::Burdened {
            burden: Burden::Connections(10_000),
            payload: 128,
        }),
        goals: &[],
    },
    Scenario {
        name: "idle-cost-subs",
        what: "one to one beside 100 000 other subscriptions, CPU × that without, 128 B",
        unit: "message",
        load: Load::Broker(BrokerLoad::Burdened {
            burden: Burden::Subscriptions,
            payload: 128,
        }),
        goals: &[],
    },
    page("page-varz", "/varz", Page::Varz),
    page("page-connz", "/connz?limit=1024&subs=1", Page::Connz),
    page(
        "page-metrics",
        "/metrics (or the pages an exporter reads for it)",
        Page::Metrics,
    ),
    Scenario {
        name: "tls-handshake",
        what: "mutual TLS with RSA-4096: connect, log in and leave",
        unit: "connection",
        load: Load::Tls(BrokerLoad::Handshakes { resume: false }),
        goals: &[cpu(0.3)],
    },
    Scenario {
        name: "tls-resume",
        what: "the same by a client that takes its session up again where it may",
        unit: "connection",
        load: Load::Tls(BrokerLoad::Handshakes { resume: true }),
        goals: &[],
    },
    Scenario {
        name: "tls-fleet",
        what: "2000 mutual-TLS nodes with eight subscriptions each; 1 KiB to all, 2 KiB from each",
        unit: "round",
        load: Load::Tls(BrokerLoad::Fleet { nodes: 2000 }),
        goals: &[
            cpu(0.45),
            at_most(Metric::ConnectionKib, 20.0),
            at_most(Metric::MemoryMib, 45.0),
        ],
    },
    Scenario {
        name: "tls-storm",
        what: "2000 mutual-TLS nodes connect at once; latency of a pair beside them, 5000 messages/s",
        unit: "node",
        load: Load::Tls(BrokerLoad::Storm { nodes: 2000 }),
        goals: &[at_most(Metric::P99Factor, 3.0)],
    },
    impatient("impatient-64", 600, 64, Node::Light),
    impatient("impatient-110", 800, 110, Node::Light),
    impatient("impatient-256", 800, 256, Node::Light),
    impatient("impatient-rsa-64", 600, 64, Node::Puppet),
    impatient("impatient-rsa-110", 800, 110, Node::Puppet),
    impatient("impatient-rsa-256", 800, 256, Node::Puppet),
    Scenario {
        name: "patient-256",
        what: "256 of 800 clients at a time that wait for 30 s, mutual TLS with RSA-4096",
        unit: "client",
        load: Load::Tls(BrokerLoad::Impatient(Impatient {
            clients: 800,
            at_once: 256,
            patience: 30,
            node: Node::Light,
        })),
        goals: &[],
    },
    sizing(
        "sizing-2k-rsa",
        Load::Tls(BrokerLoad::Sizing { nodes: 2000 }),
    ),
    sizing(
        "sizing-10k-rsa",
        Load::Tls(BrokerLoad::Sizing { nodes: 10_000 }),
    ),
    sizing(
        "sizing-2k-ec",
        Load::TlsEc(BrokerLoad::Sizing { nodes: 2000 }),
    ),
    sizing(
        "sizing-10k-ec",
        Load::TlsEc(BrokerLoad::Sizing { nodes: 10_000 }),
    ),
    Scenario {
        name: "tls-p2p-128",
        what: "one publisher to one subscriber, mutual TLS",
        unit: "message",
        load: Load::Tls(BrokerLoad::Pairs {
            pairs: 1,
            payload: 128,
        }),
        goals: &[],
    },
    Scenario {
        name: "tls-p2p-1k",
        what: "one publisher to one subscriber, mutual TLS",
        unit: "message",
        load: Load::Tls(BrokerLoad::Pairs {
            pairs: 1,
            payload: 1024,
        }),
        goals: &[cpu(0.4)],
    },
    Scenario {
        name: "tls-fan-100",
        what: "one publisher to many subscribers, mutual TLS, 128 B",
        unit: "delivery",
        load: Load::Tls(BrokerLoad::FanOut {
            subscribers: 100,
            payload: 128,
        }),
        goals: &[],
    },
    Scenario {
        name: "mesh-p2p-128",
        what: "one to one across a route, two members, 128 B",
        unit: "message",
        load: Load::Mesh {
            members: 2,
            load: BrokerLoad::Pairs {
                pairs: 1,
                payload: 128,
            },
        },
        goals: &[cpu(0.35)],
    },
    Scenario {
        name: "mesh-fan",
        what: "one publisher to ten subscribers at each of three members, 128 B",
        unit: "delivery",
        load: Load::Mesh {
            members: 3,
            load: BrokerLoad::FanOut {
                subscribers: 10,
                payload: 128,
            },
        },
        goals: &[],
    },
    Scenario {
        name: "mesh-reqrep-1",
        what: "one request under way, across a route, 16 B",
        unit: "round trip",
        load: Load::Mesh {
            members: 2,
            load: BrokerLoad::Requests { requesters: 1 },
        },
        goals: &[],
    },
    Scenario {
        name: "mesh-subs-100k",
        what: "100 000 subscriptions at one member, until the two others know them",
        unit: "subscription",
        load: Load::Mesh {
            members: 3,
            load: BrokerLoad::PropagateSubscriptions,
        },
        goals: &[],
    },
    Scenario {
        name: "mesh-heal",
        what: "one of three members is killed and started again, until both others deliver to it",
        unit: "kill",
        load: Load::Mesh {
            members: 3,
            load: BrokerLoad::Heal,
        },
        goals: &[],
    },
    Scenario {
        name: "leaf-p2p-128",
        what: "one to one from a leafnode to its hub, 128 B",
        unit: "message",
        load: Load::Leafnode(BrokerLoad::Pairs {
            pairs: 1,
            payload: 128,
        }),
        goals: &[cpu(0.2)],
    },
    Scenario {
        name: "leaf-reqrep-1",
        what: "one request under way, from a leafnode to its hub, 16 B",
        unit: "round trip",
        load: Load::Leafnode(BrokerLoad::Requests { requesters: 1 }),
        goals: &[],
    },
    websocket(
        "ws-p2p-128",
        "one publisher to one subscriber, by WebSocket",
        "message",
        (WebSocket::Plain, WEBSOCKET_PAIR),
        &[cpu(0.3)],
    ),
    websocket(
        "ws-p2p-128-deflate",
        "the same, compressed in both directions",
        "message",
        (WebSocket::Compressed, WEBSOCKET_PAIR),
        &[],
    ),
    websocket(
        "ws-fan-100",
        "one publisher to many subscribers, by WebSocket, 128 B",
        "delivery",
        (WebSocket::Plain, WEBSOCKET_FAN),
        &[cpu(0.3)],
    ),
    websocket(
        "ws-fan-100-deflate",
        "the same, compressed in both directions",
        "delivery",
        (WebSocket::Compressed, WEBSOCKET_FAN),
        &[],
    ),
    websocket(
        "ws-conns-5k",
        "idle connections by WebSocket",
        "connection",
        (
            WebSocket::Plain,
            BrokerLoad::IdleConnections { count: 5000 },
        ),
        &[at_most(Metric::ConnectionKib, 12.0)],
    ),
    websocket(
        "ws-conns-5k-tls",
        "idle connections by WebSocket over TLS",
        "connection",
        (WebSocket::Tls, BrokerLoad::IdleConnections { count: 5000 }),
        &[at_most(Metric::ConnectionKib, 25.0)],
    ),
    relay("relay-16", 16),
    relay("relay-128", 128),
    relay("relay-1k", 1024),
];
