//! Operation of a broker: configuration, start, reload, signals, files, addresses and upgrades.

mod addresses;
mod blocked;
mod clock;
mod config_differential;
mod lifecycle;
mod puppet;
mod reload;
mod safe_start;
mod unit_files;
mod upgrade;
