//! The configuration of the broker: the file, the command line, and the typed
//! [`Options`] that both end in.
//!
//! `main` calls [`parse`] once and, for a reload, again with the same
//! arguments; the server sees only [`Options`]. This module does not
//! depend on a running server.
//!
//! * [`syntax`] reads the nats-server configuration language into values that
//!   know where they were written;
//! * [`options`] holds the table of keys and turns values into [`Options`];
//! * [`accounts`] reads the accounts of the file;
//! * [`explain`] says where each setting comes from;
//! * [`nats_context`] makes the settings of the command `nats` out of them;
//! * [`flags`] holds the table of flags and lays them over the file.

pub mod accounts;
pub mod explain;
pub mod flags;
mod nats_context;
pub mod options;
pub mod syntax;

pub use flags::{Diff, Invocation, Parsed, Signal, Target, UsageError, parse, parse_with};
pub use options::{ConfigErrors, Diagnosis, Diagnostic, HttpPort, Options, load};
