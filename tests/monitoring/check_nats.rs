//! The real `check_nats` program in situations that an operator can meet; each exit code
//! is covered: brokers that are healthy, full or stopped or have slow consumers, and
//! peers that are silent or send invalid data.

mod bad_peers;
mod brokers;
mod certificates;
mod cluster;
mod command_line;
mod completions;
mod events;
mod formats;
mod getopt;
mod incomplete_answers;
mod logins;
mod long_lists;
mod places;
mod plugin;
mod process;
mod puppet;
mod slow_readers;
mod states;
mod tls;
mod tls_peers;
mod values;
