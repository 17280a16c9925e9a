//! Several brokers in one call: which ones, how each is checked beside the others, and one report
//! about all of them.
//!
//! [`run`](crate::run) checks each broker on a thread of its own, as if it were the only one. What
//! a mode compares between them is collected in [`Shared`] meanwhile, and judged when all
//! have ended ([`merge`]), so one that hangs delays no other. `output` draws the result.

mod exchange;
mod merged;
pub mod names;
pub mod parallel;
mod srv;
pub mod words;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use self::{
    exchange::{Arrivals, Exchange, Slowest},
    merged::{Ended, merge},
    srv::Srv,
};
use crate::{modes::Member, target::Target};

/// Most brokers of one call: each has a thread and a few connections.
pub const BROKERS_MAX: usize = 64;

/// The brokers of a run.
#[derive(Clone, Debug)]
pub enum Brokers {
    /// One, in the form of output that names no broker.
    One(Box<Target>),
    /// Those of several `-H` or `-u`.
    Several(Vec<Target>),
    /// Those that a DNS SRV record lists.
    Srv {
        /// The record.
        srv: Srv,
        /// How each of them is reached, but for host and port.
        access: Box<Target>,
    },
}

/// What the checks of the brokers share while they run.
pub struct Shared {
    names: Vec<String>,
    members: Mutex<Vec<Option<Member>>>,
    /// Messages between them, in mode `roundtrip`.
    pub exchange: Exchange,
}

/// The place of one check among those of several brokers.
#[derive(Clone)]
pub struct Place {
    /// Its number in [`Shared::names`].
    pub number: usize,
    /// What all share.
    pub shared: Arc<Shared>,
}

impl Shared {
    /// For the brokers of these names.
    pub fn new(names: Vec<String>) -> Self {
        Self {
            members: Mutex::new(names.iter().map(|_| None).collect()),
            exchange: Exchange::new(names.len()),
            names,
        }
    }

    /// The names of the brokers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The brokers as they describe themselves, in mode `cluster`; `None` for one that has
    /// not answered.
    pub fn with_members<T>(&self, look: impl FnOnce(&mut Vec<Option<Member>>) -> T) -> T {
        look(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
