//! The metrics: one [`table`] that maps figures of the broker to identifiers of collectd, where the
//! figures are ([`source`]), and how they are read ([`mod@read`]).

mod broker;
mod names;
mod read;
mod source;
mod table;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::source::Figure;
pub(crate) use self::{
    broker::Broker,
    names::{NAMES_MAX, Names},
    read::{Answers, Reading, Readings, read, wanted},
    source::{Endpoint, Own, Source},
    table::{Group, METRICS, Metric},
};
