//! Operation of a broker: configuration, start, reload, signals, files, addresses and upgrades.

mod addresses;
mod blocked;
mod clock;
mod completions;
mod config_differential;
mod config_files;
mod fail2ban;
mod fleet;
mod lifecycle;
mod plan;
mod puppet;
mod reload;
mod safe_start;
mod service_files;
mod service_manager;
mod socket_activation;
mod unit_files;
mod upgrade;
