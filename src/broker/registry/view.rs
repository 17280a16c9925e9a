//! Snapshots of connections and subscriptions as plain values, for display.

use std::sync::{Arc, atomic::Ordering};

use chrono::{DateTime, Utc};

use crate::{
    connection::{CloseReason, Connection, Identity, Subscription},
    sublist::Entry,
    telemetry::{MonotonicMicros, MonotonicMillis, Traffic, WallClock, pool::shorten_bytes},
};

/// The record of a closed connection.
#[derive(Clone, Debug)]
pub struct ClosedConnection {
    /// Its state at its end.
    pub last: ConnectionView,
    /// Its subscriptions at its end; of many the first ones, and none if they took
    /// too much memory since.
    pub subscriptions: Vec<SubscriptionView>,
    /// Time of the close.
    pub stop: MonotonicMicros,
    /// Why.
    pub reason: CloseReason,
}

/// A connection at one moment, as plain values.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Connection id.
    pub cid: u64,
    /// The peer's address.
    pub peer: std::net::SocketAddr,
    /// Time of the accept.
    pub start: MonotonicMicros,
    /// Time of the last message or subscription.
    pub last_activity: MonotonicMillis,
    /// Round trip time, if known.
    pub rtt: Option<std::time::Duration>,
    /// Bytes waiting in the outbound queue.
    pub pending: usize,
    /// Its traffic.
    pub traffic: Traffic,
    /// Times publishers waited for it.
    pub stalls: u64,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// The identity that the peer states.
    pub identity: Identity,
    /// How its bytes travel: `nats` or `websocket`.
    pub client_type: &'static str,
    /// Version and cipher suite of TLS, and whether the handshake preceded INFO.
    pub tls: Option<(&'static str, &'static str, bool)>,
}

/// A subscription at one moment, as plain values.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    /// Subject, wildcards included.
    pub subject: String,
    /// Queue group.
    pub queue: Option<String>,
    /// The client's id for it.
    pub sid: String,
    /// Messages delivered.
    pub delivered: u64,
    /// Deliveries after which it ends; 0 is endless.
    pub max: u64,
    /// The subscriber's connection id.
    pub cid: u64,
}

impl ConnectionView {
    /// The time of day of its last activity: not before its start, which is known
    /// more exactly.
    pub fn last_active(&self, clock: WallClock) -> DateTime<Utc> {
        let start = clock.at_micros(self.start);
        clock.at_millis(self.last_activity).max(start)
    }

    /// Its name, in one word; see [`Connection::who`].
    pub fn who(&self) -> String {
        self.identity.who(self.peer)
    }
}

impl Connection {
    /// The connection at this moment.
    pub fn view(&self) -> ConnectionView {
        ConnectionView {
            cid: self.cid,
            peer: self.peer,
            start: self.start,
            last_activity: self.last_activity(),
            rtt: self.rtt(),
            pending: self.outbound().backlog().pending,
            traffic: self.traffic(),
            stalls: self.stalls.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.lock().len(),
            identity: self.identity.lock().clone(),
            client_type: self.client_type(),
            tls: self
                .tls()
                .map(|tls| (tls.version, tls.cipher_suite, tls.is_first)),
        }
    }
}

impl Subscription {
    /// The same as it is remembered when its connection has ended: long texts are
    /// cut.
    pub(super) fn remembered(self: &Arc<Self>) -> SubscriptionView {
        SubscriptionView {
            subject: shorten_bytes(self.subject()),
            queue: self.queue().map(shorten_bytes),
            sid: shorten_bytes(self.sid()),
            ..self.metrics()
        }
    }

    /// Its counts at this moment, without texts.
    fn metrics(self: &Arc<Self>) -> SubscriptionView {
        SubscriptionView {
            subject: String::new(),
            queue: None,
            sid: String::new(),
            delivered: self.origin().delivered.value(),
            max: self.origin().max(),
            cid: self.connection.cid,
        }
    }

    /// The subscription at this moment.
    pub fn view(self: &Arc<Self>) -> SubscriptionView {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        SubscriptionView {
            subject: text(self.subject()),
            queue: self.queue().map(text),
            sid: text(self.sid()),
            ..self.metrics()
        }
    }
}
