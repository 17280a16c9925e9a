//! Accounts compared with a real nats-server 2.15: both brokers have the same
//! configuration, their clients send the same, and each client must receive the same.

mod borders;
pub(crate) mod comparison;
mod members;
