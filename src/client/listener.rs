//! Settings of the client listener: authentication and TLS.
//!
//! Sessions read them while a client logs in; a reload replaces them (`server::reload`).

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    broker::password_queue::PasswordQueue, connection::tls_listener::TlsListener,
    security::authentication::Authentication,
};

/// The settings of the listener for clients, and the logins that wait there.
pub struct ClientListener {
    /// How clients are authenticated.
    pub authentication: RwLock<Arc<Authentication>>,
    /// Logins whose passwords take long to compare.
    pub passwords: PasswordQueue,
    /// TLS for clients; `None` for none.
    pub tls: RwLock<Option<Arc<TlsListener>>>,
    /// Whether clients may do without it.
    pub allow_non_tls: bool,
}
