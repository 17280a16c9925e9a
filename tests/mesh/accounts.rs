//! Accounts against a real nats-server 2.15: both brokers start with the same
//! configuration, the same clients say the same, and what each of them sees is
//! the same.

mod borders;
pub(crate) mod comparison;
mod members;
