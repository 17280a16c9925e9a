//! The loads of the scenario table, one file per kind.

mod disturbed;
mod fleet;
mod handshakes;
mod impatient;
mod memory;
mod mesh;
mod paced;
mod page;
pub(crate) mod relay;
mod request;
mod sizing;
mod stream;
mod subscriptions;

use crate::{
    broker::{Broker, Memory, Program},
    certificates::Certificates,
    endpoint::Endpoint,
    failure::{Result, fail},
    sample::Sample,
    scenario::BrokerLoad,
    sys::CpuClock,
};

/// Duration of the warm-up, as a fraction of the measured time.
const WARM_UP: f64 = 0.3;

/// The running brokers and the size of the load.
pub(crate) struct Stage<'a> {
    /// The brokers: one, or the members of a cluster, all of the same program.
    pub(crate) brokers: &'a [Broker],
    pub(crate) program: &'a Program,
    /// Certificates for TLS.
    pub(crate) certificates: Option<&'a Certificates>,
    /// How long the measured part of a load publishes.
    pub(crate) seconds: f64,
    /// Divisor of large numbers of connections and subscriptions.
    pub(crate) divisor: usize,
    /// Multiple of the time that impatient clients wait.
    pub(crate) patience: u32,
    /// Limit of connections due to the limit of open files.
    pub(crate) connections_max: usize,
}

impl Stage<'_> {
    /// The only broker, or the first.
    fn broker(&self) -> &Broker {
        &self.brokers[0]
    }

    /// Where publishers and requesters connect.
    fn sender_endpoint(&self) -> &Endpoint {
        &self.brokers[0].clients
    }

    /// Where subscribers and responders connect: another broker in a cluster.
    fn receiver_endpoint(&self) -> &Endpoint {
        &self.brokers[self.brokers.len() - 1].clients
    }

    /// The certificates for scenarios with TLS.
    fn certificates(&self) -> Result<&Certificates> {
        match self.certificates {
            Some(certificates) => Ok(certificates),
            None => fail!("no certificates were made"),
        }
    }

    /// The CPU clocks of all brokers.
    fn clocks(&self) -> Vec<CpuClock> {
        self.brokers.iter().map(|broker| broker.cpu).collect()
    }

    /// The total memory of all brokers.
    fn memory(&self) -> Result<Memory> {
        let mut sum = Memory::default();
        for broker in self.brokers {
            let memory = broker.memory()?;
            sum.current += memory.current;
            sum.peak += memory.peak;
        }
        Ok(sum)
    }

    /// The number of connections to use for `count` in this run.
    fn connections(&self, count: usize) -> usize {
        (count / self.divisor).min(self.connections_max)
    }
}

/// Runs the load.
pub(crate) fn run(load: BrokerLoad, stage: &Stage) -> Result<Sample> {
    match load {
        BrokerLoad::Burdened { burden, payload } => disturbed::burdened(stage, burden, payload),
        BrokerLoad::Churn => subscriptions::churn(stage),
        BrokerLoad::FanOut {
            subscribers,
            payload,
        } => stream::fan_out(stage, subscribers, payload),
        BrokerLoad::Fleet { nodes } => fleet::run(stage, nodes),
        BrokerLoad::Handshakes { resume } => handshakes::one_by_one(stage, resume),
        BrokerLoad::Heal => mesh::heal(stage),
        BrokerLoad::Idle => memory::idle(stage),
        BrokerLoad::IdleConnections { count } => memory::connections(stage, count),
        BrokerLoad::Impatient(clients) => impatient::run(stage, clients),
        BrokerLoad::Monitored {
            connections,
            payload,
        } => disturbed::monitored(stage, connections, payload),
        BrokerLoad::Page { page, connections } => page::run(stage, page, connections),
        BrokerLoad::Paced { rate } => paced::run(stage, rate),
        BrokerLoad::Pairs { pairs, payload } => stream::pairs(stage, pairs, payload),
        BrokerLoad::Publish { payload } => stream::publish(stage, payload),
        BrokerLoad::Queue { members, payload } => stream::queue(stage, members, payload),
        BrokerLoad::RandomSubjects => subscriptions::random_subjects(stage),
        BrokerLoad::Requests { requesters } => request::run(stage, requesters),
        BrokerLoad::Sizing { nodes } => sizing::run(stage, nodes),
        BrokerLoad::SlowConsumer { healthy, payload } => {
            disturbed::slow_consumer(stage, healthy, payload)
        }
        BrokerLoad::Storm { nodes } => handshakes::storm(stage, nodes),
        BrokerLoad::PropagateSubscriptions => mesh::propagate_subscriptions(stage),
    }
}
