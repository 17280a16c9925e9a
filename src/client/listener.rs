//! Settings of a listener for clients: authentication, TLS, WebSockets.
//!
//! Sessions read them while a client logs in; a reload replaces them (`server::reload`).

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::{
    broker::{Broker, limits::Limits, password_queue::PasswordQueue},
    config::options::WebSocketOptions,
    connection::tls_listener::TlsListener,
    security::{authentication::Authentication, users::ConnectionType},
};

/// The settings of a listener for clients, and the logins that wait there.
pub struct ClientListener {
    /// How clients are authenticated.
    pub authentication: RwLock<Arc<Authentication>>,
    /// Logins whose passwords take long to compare, of all listeners for clients.
    pub passwords: Arc<PasswordQueue>,
    /// TLS for clients; `None` for none.
    pub tls: RwLock<Option<Arc<TlsListener>>>,
    /// Whether clients may do without it.
    pub allow_non_tls: bool,
    /// How WebSockets begin here; `None` at the client port.
    pub websocket: Option<WebSocketPort>,
}

/// What the port for WebSockets has and the client port has not.
pub struct WebSocketPort {
    /// The settings, from the start on.
    pub options: WebSocketOptions,
    /// Limits in force, and those that were made of them for this port.
    adapted: Mutex<Option<(Arc<Limits>, Arc<Limits>)>>,
}

impl WebSocketPort {
    /// A port with these settings.
    pub fn new(options: WebSocketOptions) -> Self {
        Self {
            options,
            adapted: Mutex::default(),
        }
    }

    /// The limits in force, as they are here.
    fn adapt(&self, current: Arc<Limits>) -> Arc<Limits> {
        let mut adapted = self.adapted.lock();
        if let Some((of, adapted)) = &*adapted
            && Arc::ptr_eq(of, &current)
        {
            return adapted.clone();
        }
        let own = Arc::new(Limits {
            ping_interval: self.options.ping_interval.unwrap_or(current.ping_interval),
            auth_timeout: self.options.auth_timeout.unwrap_or(current.auth_timeout),
            ..(*current).clone()
        });
        *adapted = Some((current, own.clone()));
        own
    }
}

impl ClientListener {
    /// The limits in force for clients of this listener.
    pub(super) fn limits(&self, broker: &Broker) -> Arc<Limits> {
        let current = broker.limits.current();
        match &self.websocket {
            None => current,
            Some(port) => port.adapt(current),
        }
    }

    /// How clients are connected here, for the users that are restricted in that.
    pub(super) fn connection_type(&self) -> ConnectionType {
        match &self.websocket {
            None => ConnectionType::Standard,
            Some(_) => ConnectionType::Websocket,
        }
    }
}
