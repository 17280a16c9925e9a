//! Several subject spaces and several brokers: accounts, clusters and the system account.

mod accounts;
mod cluster;
mod system_account;
