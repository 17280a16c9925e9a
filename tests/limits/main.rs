//! Loads that a broker must withstand: floods, slow consumers, unauthenticated peers,
//! expensive batches, and the memory that all of them use.
//!
//! These tests are a separate program so that they do not run in parallel with other
//! tests.

mod before_login;
mod fairness;
mod floods;
mod memory;
mod slow_consumers;
mod threads;
mod unauthenticated;
