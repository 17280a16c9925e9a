//! Places for connections before login: how many each port has, which connection gets one,
//! and which has to give one up.
//!
//! Every port reserves a [`Place`] for a connection as soon as it is accepted and releases
//! it with the login (the client's and the route's accept), or at the end where there is no
//! login (monitoring). A full port does not refuse the newcomer: of the source with most
//! places, the connection that has been silent for longest is cut. So idle connections keep
//! nobody out, and a source with many connections yields to one with few. Members of the
//! cluster have places that others cannot use. No place is held for longer than `hold`,
//! which includes waiting in the broker's own queues.

mod places;
mod ranking;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::telemetry::{logins::network, process::open_files_max};
pub use places::{Place, Places, PlacesView};

/// Clients that have not logged in or not finished the TLS handshake: more than
/// handshakes and logins are done within any client's patience.
const CLIENTS_MAX: usize = 8192;

/// The same of routes, and the places that only members' addresses get.
const ROUTES_MAX: usize = 1024;
const ROUTES_RESERVED: usize = 64;

/// The same of leafnodes.
const LEAFNODES_MAX: usize = 1024;

/// Monitoring connections at a time: pollers and open browsers are a handful;
/// each may hold an answer in memory.
const MONITOR_MAX: usize = 64;

/// What clients may wait in the broker's own queues, beyond the times that the
/// configuration gives them for the handshake and the login.
pub const QUEUE_TIME: Duration = Duration::from_secs(30);

/// The places of all ports.
pub struct Admission {
    /// Clients before the login.
    pub clients: Arc<Places>,
    /// Routes before the login.
    pub routes: Arc<Places>,
    /// Leafnodes before the login.
    pub leafnodes: Arc<Places>,
    /// The monitoring port.
    pub monitor: Arc<Places>,
    /// The monitoring socket.
    pub monitor_socket: Arc<Places>,
}

impl Default for Admission {
    fn default() -> Self {
        // With few descriptors, connections before the login must not use them up.
        let files = open_files_max().map_or(CLIENTS_MAX, |max| max as usize / 2);
        Self {
            clients: Places::new("client", CLIENTS_MAX.min(files.max(1)), 0),
            routes: Places::new("route", ROUTES_MAX.min(files.max(1)), ROUTES_RESERVED),
            leafnodes: Places::new("leafnode", LEAFNODES_MAX.min(files.max(1)), 0),
            monitor: Places::new("monitor", MONITOR_MAX, 0),
            monitor_socket: Places::new("monitor_socket", MONITOR_MAX, 0),
        }
    }
}

impl Admission {
    /// All of them.
    pub fn all(&self) -> [&Arc<Places>; 5] {
        [
            &self.clients,
            &self.routes,
            &self.leafnodes,
            &self.monitor,
            &self.monitor_socket,
        ]
    }
}

/// The source of a connection, for shares between sources.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// An address, or the IPv6 network around it.
    Address(IpAddr),
    /// A user of this machine, at a Unix socket.
    User(u32),
}

impl Source {
    /// The source behind an address.
    pub fn of(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// Why a place is taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// The port was full, and it had been silent for longest.
    Silent,
    /// It was held for too long.
    Late,
}
