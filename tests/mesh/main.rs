//! Several subject spaces and several brokers: accounts, clusters, leafnodes, those found by DNS, the
//! federation and the system account.

mod accounts;
mod cluster;
mod dns;
mod federation;
mod leafnodes;
mod message_trace;
mod nodes;
mod path;
mod rebalance;
mod service_latency;
mod system_account;
