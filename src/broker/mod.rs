//! The state that every kind of peer shares.
//!
//! `server` makes one [`Broker`]; the sessions of clients and of routes work on it, and
//! everything that observes the broker reads it. It contains connections and accounts, and
//! no session: what only clients need, such as authentication, is in
//! [`ClientListener`](crate::client::ClientListener), what only routes need in
//! [`Cluster`](crate::route::Cluster).

pub mod client_info;
pub mod dialling;
pub mod halt;
pub mod incident;
pub mod info;
pub mod limits;
pub mod memory;
pub mod password_queue;
pub mod registry;
pub mod resolve;
pub mod server_info;
pub mod surplus;
pub mod system_queue;
pub mod turned_away;

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{
    account::Accounts,
    connection::{admission::Admission, gate::Gate},
    nodes::Nodes,
    protocol::info::Info,
    telemetry::Telemetry,
};
use halt::Halt;
use info::WebSocketInfo;
use limits::LimitsInForce;
use registry::Registry;
use server_info::Description;
use system_queue::SystemQueue;

/// State shared by all connections, whatever their peer is.
pub struct Broker {
    /// The subject spaces.
    pub accounts: Accounts,
    /// Counters and events.
    pub telemetry: Telemetry,
    /// Requests and notices for the system account, until `system` handles them.
    pub system: SystemQueue,
    /// Open and closed connections.
    pub registry: Registry,
    /// The places for connections before login, of all ports.
    pub admission: Admission,
    /// Whether connections are accepted, on all ports.
    pub gate: Gate,
    /// Whether clients halt.
    pub halt: Halt,
    /// The limits in force.
    pub limits: LimitsInForce,
    /// The nodes that are connected here and elsewhere.
    pub nodes: Arc<Nodes>,
    /// INFO as every client gets it; the client's own fields are filled in.
    pub info: RwLock<Info>,
    /// What differs in it at the port for WebSockets; `None` if there is none.
    pub websocket: RwLock<Option<WebSocketInfo>>,
    /// Where leafnodes connect to it and to the other members of its cluster.
    pub leafnode_urls: LeafnodeUrls,
    /// The words and pairs by which an operator distinguishes brokers.
    pub description: RwLock<Description>,
}

/// Addresses for leafnodes, as INFO lists them.
#[derive(Default)]
pub struct LeafnodeUrls {
    /// `host:port`, this broker's first.
    pub list: RwLock<Vec<String>>,
    /// The list has changed.
    pub changed: Notify,
}
