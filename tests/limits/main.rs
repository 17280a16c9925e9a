//! Loads that a broker must bear: floods, slow readers, peers before their
//! login, batches that make much work, and what all of them cost in memory.
//!
//! A program of its own, so that these loads run beside each other only.

mod before_login;
mod fairness;
mod floods;
mod memory;
mod slow_consumers;
mod unauthenticated;
