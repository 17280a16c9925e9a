//! The collectd plugin `nats.so`.
