//! Places of clients that have not logged in.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::{Broker, limits::Limits},
    connection::{
        CloseReason, Connection,
        admission::{Lost, Place, QUEUE_TIME, Source},
    },
};

/// Reserves one of the places for connections before login. It is held for the maximum
/// duration of the handshake and the login, including the broker's own queues.
pub(super) fn take_place(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    limits: &Limits,
    handshake: Duration,
) -> Place {
    let weak = Arc::downgrade(connection);
    let known = broker.clone();
    let cut = move |why| {
        let Some(connection) = weak.upgrade() else {
            return;
        };
        if why == Lost::Late {
            connection.close(CloseReason::AuthenticationTimeout);
        } else if connection.close(CloseReason::TooManyBeforeLogin) {
            // Removed from the registry immediately to free its slot. It is counted with
            // the places: many of these do not push clients out of the records of closed
            // connections. A client that logged in at this moment is recorded.
            if connection.identity.lock().account.is_empty() {
                known.registry.forget(&connection);
            }
        }
    };
    let source = Source::of(connection.peer.ip());
    let hold = handshake + limits.auth_timeout + QUEUE_TIME;
    broker.admission.clients.take(source, false, hold, cut)
}
