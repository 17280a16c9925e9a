//! Several subject spaces and several brokers: accounts, clusters, the federation and the system
//! account.

mod accounts;
mod cluster;
mod federation;
mod message_trace;
mod path;
mod service_latency;
mod system_account;
