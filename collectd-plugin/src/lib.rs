//! The collectd plugin `nats.so`: figures, condition and restarts of NATS brokers.
//!
//! collectd loads the library and calls [`ffi`], the only module that knows its
//! types; configuration, figures and judgement live in the others, which see
//! collectd through the trait [`daemon::Daemon`].
//!
//! Build with `cargo build --release -p collectd-plugin`. cargo names the file
//! `libnats.so`; collectd looks for `nats.so` and refuses symbolic links, so
//! install it as a copy:
//! `install -m 644 target/release/libnats.so /usr/lib/collectd/nats.so`.

mod config;
mod daemon;
mod ffi;
#[cfg(test)]
mod manual;
mod metrics;
mod poll;
