//! The collectd plugin `nats.so`: metrics, condition and restarts of NATS brokers.
//!
//! collectd loads the library and calls [`ffi`], the only module that knows its types;
//! configuration, metrics and evaluation are in the others, which use collectd through the trait
//! [`daemon::Daemon`].
//!
//! Build with `cargo build --release -p collectd-plugin`. cargo names the file `libnats.so`;
//! collectd expects `nats.so` and refuses symbolic links, so install a copy: `install -m 644
//! target/release/libnats.so /usr/lib/collectd/nats.so`.

mod changes;
mod config;
mod daemon;
mod ffi;
#[cfg(test)]
mod manual;
mod metrics;
mod poll;
mod runs;
