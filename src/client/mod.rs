//! Clients: their connections, login and operations.
//!
//! The server spawns one task per client ([`serve`]). The states of a session are
//! types: [`greeting`] sends INFO and does the handshakes, [`logging_in`] waits for
//! CONNECT where a login is required, [`active`] is a client that is in. What they
//! share is in [`base`] and [`login`] (passwords that take long to compare wait in
//! [`PasswordQueue`](crate::broker::password_queue::PasswordQueue)); the loop that drives them and the end of a connection are in
//! `peer`. An active client has verbs ([`verbs`]); its publishes are read ([`batch`]),
//! gathered ([`publish`]) and delivered ([`routing`]); a publisher that outruns its
//! readers is paused ([`back_pressure`]); a reload may change what it may do
//! ([`changed`]); an upgrade may hand it over to another process ([`moving`]).

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
mod message_trace;
mod moving;
pub mod permission_cache;
mod place;
mod publish;
mod routing;
mod service;
mod tls_upgrade;
mod trace;
mod verbs;
mod websocket_upgrade;

use std::{sync::Arc, time::Duration};

use tokio::net::TcpStream;

use crate::{
    broker::Broker,
    connection::Connection,
    log,
    peer::{self, Driven},
};
use active::Active;
pub use changed::notify_all;
use greeting::{Begun, Greeting};
pub use listener::{ClientListener, WebSocketPort};
use logging_in::{LoggingIn, log_in, log_in_again};
pub use moving::{Taken, take_over};
pub use publish::is_reserved;
pub use service::is_served;

/// Serves one client until its connection has ended.
pub fn serve(
    broker: Arc<Broker>,
    listener: Arc<ClientListener>,
    connection: Arc<Connection>,
    stream: Arc<TcpStream>,
) -> impl Future<Output = ()> {
    log::about(&connection).debug(format_args!("Client connection created"));
    // Boxed, as all that is not needed for long: the task of a client at rest is small.
    let greeted = Box::pin(greet(broker, listener, connection, stream.clone()));
    run(greeted, stream)
}

/// Serves a client once it is in, until its connection has ended.
// An async fn would have room for its arguments twice, in every client's task.
#[allow(clippy::manual_async_fn)]
fn run(
    client: impl Future<Output = Option<Box<Active>>>,
    stream: Arc<TcpStream>,
) -> impl Future<Output = ()> {
    async move {
        let mut session = client.await;
        while let Some(mut active) = session {
            session = match peer::drive(&mut *active, &stream).await {
                Driven::Over => Box::pin(log_in_again(*active, &stream)).await,
                Driven::Closing => {
                    Box::pin(active.finish(&stream)).await;
                    None
                }
            };
        }
    }
}

/// Greets a client and has it log in, where it has to. `None`: its connection has ended.
async fn greet(
    broker: Arc<Broker>,
    listener: Arc<ClientListener>,
    connection: Arc<Connection>,
    stream: Arc<TcpStream>,
) -> Option<Box<Active>> {
    let greeting = Greeting::new(broker, listener, connection.clone());
    let (admitted, tls) = {
        // Register under the same lock: a reload that enables TLS cuts all clients
        // registered by then.
        let tls = greeting.listener.tls.read();
        let admitted = greeting.admit();
        // At the port for WebSockets nothing is said before the handshakes.
        let has_tls = admitted || greeting.listener.websocket.is_some();
        (admitted, tls.clone().filter(|_| has_tls))
    };
    let listener = greeting.listener.clone();
    let (begun, place) = match (&listener.websocket, tls) {
        (Some(port), tls) => {
            let place = greeting.take_place(port.options.handshake_timeout());
            let begun =
                websocket_upgrade::begin(&greeting, &stream, port, tls.as_deref(), admitted).await;
            place.mark_active();
            (begun, greeting.must_log_in().then_some(place))
        }
        (None, Some(tls)) => {
            let place = greeting.take_place(tls.store.current().options.timeout);
            let nonce = tls_upgrade::begin(&greeting, &stream, &tls).await;
            place.mark_active();
            (
                nonce.map(without_cookies),
                greeting.must_log_in().then_some(place),
            )
        }
        (None, None) => {
            let place =
                (admitted && greeting.must_log_in()).then(|| greeting.take_place(Duration::ZERO));
            let nonce = greeting.begin(admitted);
            (Some(without_cookies(nonce)), place)
        }
    };
    let Some(begun) = begun.filter(|_| !connection.is_closing()) else {
        peer::finish(greeting, &connection, &stream).await;
        return None;
    };
    let base = greeting.done(begun);
    match place {
        None => Some(Box::new(Active::silent(base))),
        // What the handshake took, much of it perhaps waiting for others', does not
        // count.
        Some(place) => log_in(LoggingIn::new(base, place), &stream).await,
    }
}

fn without_cookies(nonce: Box<str>) -> Begun {
    Begun {
        nonce,
        cookies: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Memory of an idle client's task: ten thousand clients may be connected to one
    /// broker.
    #[test]
    fn a_clients_task_is_small() {
        let size = future_size(serve) + size_of::<active::Active>();
        assert!(
            size <= 1368,
            "{size} bytes, {} of the session",
            size_of::<active::Active>()
        );
    }
}
