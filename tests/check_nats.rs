//! The real `check_nats` against real situations. Every exit code is reached by
//! one that an operator can meet: brokers that serve, are full, end, or have
//! slow readers; peers that are mute, or talk rubbish.

mod support;

#[path = "check_nats/brokers.rs"]
mod brokers;
#[path = "check_nats/certificates.rs"]
mod certificates;
#[path = "check_nats/command_line.rs"]
mod command_line;
#[path = "check_nats/hollow.rs"]
mod hollow;
#[path = "check_nats/plugin.rs"]
mod plugin;
#[path = "check_nats/slow_readers.rs"]
mod slow_readers;
#[path = "check_nats/strangers.rs"]
mod strangers;
