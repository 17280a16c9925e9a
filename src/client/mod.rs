//! Clients: what a client may say and what it does.
//!
//! The server spawns one task per client ([`serve`]). The states of a session are
//! types: [`greeting`] sends INFO and does the TLS handshake, [`logging_in`] waits for
//! CONNECT where a login is required, [`active`] is a client that is in. What they
//! share is in [`base`] and [`login`] (passwords that take long to compare wait in
//! [`PasswordQueue`](crate::broker::password_queue::PasswordQueue)); the loop that drives them and the end of a connection are in
//! `peer`. An active client has verbs ([`verbs`]); its publishes are read ([`batch`]),
//! gathered ([`publish`]) and delivered ([`routing`]); a publisher that outruns its
//! readers is paused ([`back_pressure`]); a reload may change what it may do
//! ([`changed`]).

mod active;
mod back_pressure;
mod base;
mod batch;
mod changed;
mod connection_events;
mod greeting;
mod listener;
mod logging_in;
mod login;
mod member;
pub mod permission_cache;
mod publish;
mod routing;
mod service;
mod tls_upgrade;
mod trace;
mod verbs;

use std::sync::Arc;

use tokio::net::TcpStream;
use tracing::debug;

use crate::{
    broker::Broker,
    connection::Connection,
    peer::{self, Driven},
};
pub use changed::tell_all;
pub use listener::ClientListener;

/// Serves one client until its connection has ended.
pub fn serve(
    broker: Arc<Broker>,
    listener: Arc<ClientListener>,
    connection: Arc<Connection>,
    stream: Arc<TcpStream>,
) -> impl Future<Output = ()> {
    debug!("{} - Client connection created", connection.log_prefix());
    // Boxed, as all that is not needed for long: the task of a client at rest is small.
    let greeted = Box::pin(greeting::greet(
        broker,
        listener,
        connection,
        stream.clone(),
    ));
    async move {
        let mut session = greeted.await;
        while let Some(mut active) = session {
            session = match peer::drive(&mut *active, &stream).await {
                Driven::Over => Box::pin(active.log_in_again(&stream)).await,
                Driven::Closing => {
                    Box::pin(active.finish(&stream)).await;
                    None
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// What a client at rest takes in its task: ten thousand of them are connected to
    /// one broker.
    #[test]
    fn a_clients_task_is_small() {
        let size = future_size(serve) + size_of::<active::Active>();
        assert!(
            size <= 1360,
            "{size} bytes, {} of the session",
            size_of::<active::Active>()
        );
    }
}
