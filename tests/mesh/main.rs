//! More than one subject space and more than one broker: accounts, clusters and
//! the system account.

mod accounts;
mod cluster;
mod system_account;
