//! INFO as a client gets it, when it connects and whenever it changes.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use super::Broker;
use crate::{
    connection::{Connection, buffers::with_buffers},
    protocol::info::Info,
};

/// What INFO says to clients that connect by WebSocket, in place of what it says to others.
#[derive(Clone, Debug, Default)]
pub struct WebSocketInfo {
    /// Host of their port.
    pub host: String,
    /// Their port.
    pub port: u16,
    /// Whether it has TLS.
    pub has_tls: bool,
    /// Whether they must show a certificate.
    pub tls_verify: bool,
    /// Whether they have to log in.
    pub auth_required: bool,
    /// `host:port` of all brokers of the cluster that accept them.
    pub connect_urls: Vec<String>,
}

/// INFO as this client gets it now.
pub fn info_for(broker: &Broker, connection: &Connection) -> Info {
    let mut info = broker.info.read().clone();
    if connection.is_websocket()
        && let Some(own) = &*broker.websocket.read()
    {
        info.host.clone_from(&own.host);
        info.port = own.port;
        info.auth_required = own.auth_required;
        // Both, as nats-server has it: what is required is also possible.
        info.tls_required = own.has_tls;
        info.tls_available = own.has_tls;
        info.tls_verify = own.tls_verify;
        info.connect_urls.clone_from(&own.connect_urls);
    }
    info.client_id = Some(connection.cid);
    info.client_ip = match connection.peer.ip() {
        IpAddr::V6(ip) => ip.to_canonical().to_string(),
        ip => ip.to_string(),
    };
    info
}

/// Sends the present INFO to a client that accepts it at any time.
pub fn notify_info(broker: &Broker, connection: &Arc<Connection>) {
    send_info(connection, &info_for(broker, connection));
}

/// Notifies one client that the broker is about to leave, so that it connects to another
/// one; returns whether the client accepts INFO at any time.
pub fn send_away(broker: &Broker, connection: &Arc<Connection>) -> bool {
    let mut info = info_for(broker, connection);
    info.ldm = true;
    send_info(connection, &info)
}

/// The same, with the addresses of the brokers that it should connect to.
pub fn send_away_to(broker: &Broker, connection: &Arc<Connection>, urls: &[String]) -> bool {
    let mut info = info_for(broker, connection);
    info.ldm = true;
    // These are client ports; the list of a client by WebSocket has the others' as well.
    if !connection.is_websocket() {
        info.connect_urls = urls.to_vec();
    }
    send_info(connection, &info)
}

fn send_info(connection: &Arc<Connection>, info: &Info) -> bool {
    let takes_info = connection.takes_info.load(Ordering::Relaxed);
    if takes_info {
        with_buffers(|buffers| {
            connection.send(buffers, &info.line());
            buffers.flush_touched();
        });
    }
    takes_info
}
