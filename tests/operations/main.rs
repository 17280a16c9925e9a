//! Operation of a broker: configuration, start, reload, signals, files and addresses.

mod addresses;
mod blocked;
mod clock;
mod config_differential;
mod fail2ban;
mod lifecycle;
mod plan;
mod puppet;
mod reload;
mod safe_start;
mod unit_files;
