//! Several subject spaces and several brokers: accounts, clusters and the system account.

mod accounts;
mod cluster;
mod message_trace;
mod system_account;
