//! Reports clients that connect and disconnect: as single events, or summed up when there
//! are many.

use std::sync::Arc;

use monitor_client::text::plural;

use crate::{
    broker::{Broker, system_queue::Notice},
    connection::{CloseReason, Connection},
    telemetry::{MonotonicMillis, churn::Change, event::EventKind},
};

/// A client logged in.
pub(super) fn report_connected(broker: &Broker, connection: &Arc<Connection>) {
    broker.system.leave(Notice::Connected(connection.clone()));
    let telemetry = &broker.telemetry;
    let source = connection.peer.ip();
    if !telemetry
        .churn
        .count(Change::Connected, source, MonotonicMillis::now())
    {
        return;
    }
    let text = {
        let identity = connection.identity.lock();
        let library = match (&*identity.lang, &*identity.version) {
            ("", "") => "an unnamed library".to_owned(),
            (lang, version) => format!("{lang} {version}"),
        };
        let user = match &*identity.user {
            "" => String::new(),
            user => format!(", user {user:?}"),
        };
        format!(
            "connected from {} with {library}{user}, account {}",
            connection.peer, identity.account
        )
    };
    telemetry.events.record(
        EventKind::ClientConnected,
        connection.cid,
        &connection.who(),
        &text,
    );
}

/// The same of a client that another process of this broker has handed over: to the system account
/// alone, since it has not connected.
pub(super) fn report_taken_over(broker: &Broker, connection: &Arc<Connection>) {
    broker.system.leave(Notice::Connected(connection.clone()));
}

/// Reports that a client which had sent CONNECT is gone, with its `subscriptions`.
pub(super) fn report_closed(
    broker: &Broker,
    connection: &Arc<Connection>,
    subscriptions: usize,
    reason: CloseReason,
) {
    let notice = Notice::Closed(connection.clone(), reason);
    broker.system.leave(notice);
    if reason == CloseReason::HandedOver {
        return;
    }
    let telemetry = &broker.telemetry;
    let now = MonotonicMillis::now();
    if !telemetry
        .churn
        .count(Change::Closed, connection.peer.ip(), now)
    {
        return;
    }
    let text = format!(
        "{reason} {}, {}, from {}",
        connection.ended(reason),
        plural(subscriptions, "subscription"),
        connection.peer,
    );
    telemetry.events.record(
        EventKind::ClientClosed,
        connection.cid,
        &connection.who(),
        &text,
    );
}
