//! The loads of the scenario table, one file per kind.

mod disturbed;
mod memory;
mod paced;
pub(crate) mod relay;
mod request;
mod stream;
mod subscriptions;

use crate::{broker::Broker, failure::Result, sample::Sample, scenario::BrokerLoad};

/// Part of the measured time that a load runs before it is measured.
const WARM_UP: f64 = 0.3;

/// A running broker and how much load it gets.
pub(crate) struct Stage<'a> {
    pub(crate) broker: &'a Broker,
    /// How long the measured part of a load publishes.
    pub(crate) seconds: f64,
    /// By what large numbers of connections and subscriptions are divided.
    pub(crate) divisor: usize,
    /// How many connections the limit of open files allows.
    pub(crate) connections_most: usize,
}

impl Stage<'_> {
    /// How many connections stand for `count` in this run.
    fn connections(&self, count: usize) -> usize {
        (count / self.divisor).min(self.connections_most)
    }
}

/// Puts the load on the broker.
pub(crate) fn run(load: BrokerLoad, stage: &Stage) -> Result<Sample> {
    match load {
        BrokerLoad::Burdened { burden, payload } => disturbed::burdened(stage, burden, payload),
        BrokerLoad::Churn => subscriptions::churn(stage),
        BrokerLoad::FanOut {
            subscribers,
            payload,
        } => stream::fan_out(stage, subscribers, payload),
        BrokerLoad::Idle => memory::idle(stage),
        BrokerLoad::IdleConnections { count } => memory::connections(stage, count),
        BrokerLoad::Monitored {
            connections,
            payload,
        } => disturbed::monitored(stage, connections, payload),
        BrokerLoad::Paced { rate } => paced::run(stage, rate),
        BrokerLoad::Pairs { pairs, payload } => stream::pairs(stage, pairs, payload),
        BrokerLoad::Publish { payload } => stream::publish(stage, payload),
        BrokerLoad::Queue { members, payload } => stream::queue(stage, members, payload),
        BrokerLoad::RandomSubjects => subscriptions::random_subjects(stage),
        BrokerLoad::Requests { requesters } => request::run(stage, requesters),
        BrokerLoad::SlowConsumer { healthy, payload } => {
            disturbed::slow_consumer(stage, healthy, payload)
        }
    }
}
