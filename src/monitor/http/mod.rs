//! The monitoring port and its Unix socket: HTTP, with TLS or without.
//!
//! [`listener`] accepts connections and bounds each of them ([`stream`], [`lenient`]);
//! [`access`] and [`host`] decide whether a request is permitted; [`service`] answers a
//! request by the [`table`] of paths, long answers on a second thread, with sources in
//! [`turns`].

pub(super) mod access;
mod answer;
mod event_stream;
pub(super) mod host;
mod lenient;
pub(super) mod listener;
mod pretty;
mod request;
pub(super) mod service;
mod slot;
mod stream;
pub(super) mod table;
pub(super) mod turns;
mod unwritten;
