//! The table of scenarios: what load each one is, and what midge is to reach
//! in it.

use crate::sample::Metric;

/// A load, its name and its goals.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// What is counted: rate and CPU time are per this.
    pub(crate) unit: &'static str,
    pub(crate) load: Load,
    pub(crate) goals: &'static [Goal],
}

/// What midge is to reach.
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    pub(crate) bound: Bound,
}

/// How a goal is judged.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// midge's figure is at least this, whatever the peer's.
    AtLeast(f64),
    /// midge's figure is at most this, whatever the peer's.
    AtMost(f64),
    /// midge's figure divided by the peer's is at most this.
    RatioAtMost(f64),
}

impl Bound {
    /// The number of the bound.
    pub(crate) fn limit(self) -> f64 {
        match self {
            Self::AtLeast(limit) | Self::AtMost(limit) | Self::RatioAtMost(limit) => limit,
        }
    }
}

/// What is measured. Payloads are bytes.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// Something on every broker.
    Broker(BrokerLoad),
    /// The same bytes between two sockets without a broker.
    Relay { payload: usize },
}

/// The kinds of load on a broker, with their sizes.
#[derive(Clone, Copy)]
pub(crate) enum BrokerLoad {
    /// Publish what nobody has subscribed to.
    Publish { payload: usize },
    /// Publishers with one subscriber each on subjects of their own.
    Pairs { pairs: usize, payload: usize },
    /// One publisher, every subscriber on a connection of its own.
    FanOut { subscribers: usize, payload: usize },
    /// One publisher, a queue group with a connection for each member.
    Queue { members: usize, payload: usize },
}

const fn cpu(ratio: f64) -> Goal {
    Goal {
        metric: Metric::BrokerCpuUs,
        bound: Bound::RatioAtMost(ratio),
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
    relay("relay-16", 16),
    relay("relay-128", 128),
    relay("relay-1k", 1024),
];
