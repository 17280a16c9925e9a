//! The real `check_nats` against real situations. Every exit code is reached by
//! one that an operator can meet: brokers that serve, are full, end, or have
//! slow readers; peers that are mute, or talk rubbish.

mod bad_peers;
mod brokers;
mod certificates;
mod command_line;
mod incomplete_answers;
mod plugin;
mod slow_readers;
