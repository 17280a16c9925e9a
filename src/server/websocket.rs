//! The port where clients connect by WebSocket: what it is set to, and what is announced of it. Its
//! clients are accepted by `listener` and served by `client`, like all others.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::RwLock;
use tracing::{info, warn};

use super::{Server, advertised, leafnodes};
use crate::{
    broker::{info::WebSocketInfo, password_queue::PasswordQueue},
    client::{ClientListener, WebSocketPort},
    config::{Options, options::WebSocketOptions},
    connection::{Connection, Kind, tls_listener::TlsListener},
    route::client_urls::ClientUrls,
    security::authentication::Authentication,
};

/// The port, if there is one.
pub struct WebSocketServer {
    /// What it is set to.
    pub listener: Arc<ClientListener>,
    /// Its address.
    pub address: SocketAddr,
}

impl WebSocketServer {
    /// The port at `address`, with the settings of `options`.
    pub(super) fn new(
        options: &Options,
        address: Option<SocketAddr>,
        tls: Option<Arc<TlsListener>>,
        passwords: Arc<PasswordQueue>,
    ) -> Option<Self> {
        let (own, address) = options.websocket.as_ref().zip(address)?;
        Some(Self {
            listener: Arc::new(ClientListener {
                authentication: RwLock::new(Arc::new(authentication(own, options))),
                passwords,
                tls: RwLock::new(tls),
                allow_non_tls: false,
                websocket: Some(WebSocketPort::new(own.clone())),
            }),
            address,
        })
    }

    /// What INFO says about it, but for addresses.
    pub(super) fn describe(&self, options: &Options) -> Option<WebSocketInfo> {
        let own = options.websocket.as_ref()?;
        let authentication = self.listener.authentication.read();
        Some(WebSocketInfo {
            host: own.host.clone(),
            port: self.address.port(),
            has_tls: own.tls.is_some(),
            tls_verify: own.tls.as_ref().is_some_and(|tls| tls.verify),
            auth_required: match own.overrides_logins() {
                true => authentication.is_required(),
                false => authentication.asks_for_login(),
            },
            connect_urls: Vec::new(),
        })
    }
}

/// How clients of the port are authenticated.
fn authentication(own: &WebSocketOptions, options: &Options) -> Authentication {
    Authentication::new(&own.authorization(&options.authorization))
}

/// Where clients and leafnodes connect to this broker.
pub(super) fn client_urls(
    options: &Options,
    clients: SocketAddr,
    websocket: Option<SocketAddr>,
    leafnodes: Option<SocketAddr>,
) -> ClientUrls {
    let own = options.websocket.as_ref().zip(websocket);
    ClientUrls {
        plain: advertised::urls(options, clients),
        websocket: own.map_or_else(Vec::new, |(own, address)| {
            advertised::urls_of(own.advertise.as_deref(), &own.host, address)
        }),
        leafnodes: leafnodes.map_or_else(Vec::new, |address| leafnodes::urls(options, address)),
    }
}

impl Server {
    /// Applies new options to the port, whose own settings but TLS stay as they are.
    pub(super) fn apply_websocket(&self, options: &Options) {
        let own = options.websocket.as_ref();
        let Some((server, own)) = self.websocket.as_ref().zip(own) else {
            return;
        };
        let authentication = Arc::new(authentication(own, options));
        *server.listener.authentication.write() = authentication;
        let described = server.describe(options);
        let mut info = self.broker.websocket.write();
        if let (Some(info), Some(described)) = (&mut *info, described) {
            info.auth_required = described.auth_required;
            info.tls_verify = described.tls_verify;
        }
    }

    /// The clients that are connected by WebSocket, or those that are not.
    pub(super) fn clients(&self, by_websocket: bool) -> Vec<Arc<Connection>> {
        let mut clients = self.broker.registry.open(Kind::Client);
        clients.retain(|connection| connection.is_websocket() == by_websocket);
        clients
    }

    /// Logs where WebSockets are served.
    pub(super) fn announce_websocket(&self) {
        let Some(WebSocketServer { listener, address }) = &self.websocket else {
            return;
        };
        let has_tls = listener.tls.read().is_some();
        let scheme = if has_tls { "wss" } else { "ws" };
        info!("Listening for websocket clients on {scheme}://{address}");
        if !has_tls {
            warn!("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
        }
    }
}
