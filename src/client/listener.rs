//! What the listener for clients is set to: who is let in, and whether by TLS.
//!
//! Sessions look here while a client logs in; a reload puts other settings in force
//! (`server::reload`).

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    broker::password_queue::PasswordQueue, connection::tls_listener::TlsListener,
    security::authentication::Authentication,
};

/// The settings of the listener for clients, and the logins that wait there.
pub struct ClientListener {
    /// Who is let in.
    pub authentication: RwLock<Arc<Authentication>>,
    /// Logins whose passwords take long to compare.
    pub passwords: PasswordQueue,
    /// TLS for clients; `None` for none.
    pub tls: RwLock<Option<Arc<TlsListener>>>,
    /// Whether clients may do without it.
    pub allow_non_tls: bool,
}
