//! Limits and logging of clients. A reload replaces them while clients are connected,
//! before all other settings: each session adopts the new ones with its next turn, and is
//! woken for it.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;

use crate::{
    connection::payload,
    security::sources::{Network, is_within},
};

/// Limits of a client, and how it is traced.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections.
    pub max_connections: usize,
    /// Where clients may connect from; empty for anywhere.
    pub sources: Vec<Network>,
    /// Bytes of a control line after its verb.
    pub max_control_line: usize,
    /// Bytes of headers and payload.
    pub max_payload: usize,
    /// Bytes of headers and payload, not above `max_payload`, from which on a
    /// message is counted as a large one.
    pub large_payload: usize,
    /// Bytes in one connection's outbound queue.
    pub max_pending: usize,
    /// Subscriptions of one connection; `None` is unlimited.
    pub max_subscriptions: Option<usize>,
    /// Tokens in a subscription's subject; 0 is unlimited.
    pub max_sub_tokens: usize,
    /// Between keepalive pings.
    pub ping_interval: Duration,
    /// Pings that may go unanswered.
    pub ping_max: u32,
    /// How long a socket may take nothing while something waits for it.
    pub write_deadline: Duration,
    /// Time to log in.
    pub auth_timeout: Duration,
    /// Whether headers are supported.
    pub headers: bool,
    /// Whether protocol traces are logged.
    pub trace: bool,
    /// Payload bytes shown in a trace; 0 is all.
    pub max_traced_msg_len: usize,
    /// Whether a trace shows of each message its headers alone.
    pub trace_headers: bool,
    /// Whether a publisher is paused for readers that are behind.
    pub pauses_publishers: bool,
}

impl Limits {
    /// Whether clients may connect from this address.
    pub fn admits(&self, source: IpAddr) -> bool {
        is_within(&self.sources, source)
    }
}

/// The limits in force.
pub struct LimitsInForce {
    current: RwLock<Arc<Limits>>,
    generation: AtomicU64,
}

impl LimitsInForce {
    /// These limits, until others come.
    pub fn new(limits: Limits) -> Self {
        payload::admit_up_to(limits.max_payload);
        Self {
            current: RwLock::new(Arc::new(limits)),
            generation: AtomicU64::new(0),
        }
    }

    /// The limits now.
    pub fn current(&self) -> Arc<Limits> {
        self.current.read().clone()
    }

    /// Puts other limits in force, and with them all that a reload has put in force
    /// before.
    pub fn replace(&self, limits: Limits) {
        payload::admit_up_to(limits.max_payload);
        *self.current.write() = Arc::new(limits);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Counts the exchanges; cheaper to ask for than the limits.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
