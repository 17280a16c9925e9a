//! The loads of the scenario table, one file per kind.

pub(crate) mod relay;
mod stream;

use crate::{broker::Broker, failure::Result, sample::Sample, scenario::BrokerLoad};

/// A running broker and how much load it gets.
pub(crate) struct Stage<'a> {
    pub(crate) broker: &'a Broker,
    /// How long the measured part of a load publishes.
    pub(crate) seconds: f64,
    /// By what large numbers of connections and subscriptions are divided.
    pub(crate) divisor: usize,
}

/// Puts the load on the broker.
pub(crate) fn run(load: BrokerLoad, stage: &Stage) -> Result<Sample> {
    match load {
        BrokerLoad::Publish { payload } => stream::publish(stage, payload),
        BrokerLoad::Pairs { pairs, payload } => stream::pairs(stage, pairs, payload),
        BrokerLoad::FanOut {
            subscribers,
            payload,
        } => stream::fan_out(stage, subscribers, payload),
        BrokerLoad::Queue { members, payload } => stream::queue(stage, members, payload),
    }
}
