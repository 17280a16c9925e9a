//! midge: a NATS-compatible message broker that is built to be watched.
//!
//! The rooms and who may use whom are drawn in `ARCHITECTURE.md`.
