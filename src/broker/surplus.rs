//! Connected clients that exceed a limit: one that a reload has put in force, or one
//! that counts clients at other members of the cluster.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use monitor_client::text::plural;
use tracing::warn;

use super::Broker;
use crate::{
    account::Account,
    connection::{CloseReason, Connection, Kind, buffers::with_buffers},
    protocol::error::{ClientError, error_line},
};

/// Cuts the clients that exceed the limits: of an account those that connected first, as
/// nats-server does, of all clients those that connected last.
pub fn keep_limits(broker: &Broker) {
    let mut open = broker.registry.open(Kind::Client);
    cut_from_elsewhere(broker, &open);
    open.retain(|connection| !connection.is_closing());
    open.sort_unstable_by_key(|connection| connection.cid);
    let mut of_accounts: HashMap<String, Vec<Arc<Connection>>> = HashMap::new();
    for connection in &open {
        let account = connection.identity.lock().account.clone();
        of_accounts
            .entry(account)
            .or_default()
            .push(connection.clone());
    }
    for (name, members) in of_accounts {
        if let Some(account) = broker.accounts.find(&name) {
            let surplus = account.excess(members.len());
            cut_of_account(&account, &members[..surplus]);
        }
    }
    open.retain(|connection| !connection.is_closing());
    let max = broker.limits.current().max_connections;
    let surplus = open.len().saturating_sub(max);
    for connection in open.iter().rev().take(surplus) {
        let reason = CloseReason::MaxConnections;
        cut(connection, Some(&ClientError::MaxConnections), reason);
    }
    if surplus > 0 {
        let closed = plural(surplus, "connection");
        warn!("Closed {closed} to fall within max_connections {max}");
    }
}

/// Cuts the clients from addresses that are not in the port's `allowed_sources`.
fn cut_from_elsewhere(broker: &Broker, open: &[Arc<Connection>]) {
    let limits = broker.limits.current();
    let elsewhere = open.iter().filter(|it| !limits.admits(it.peer.ip()));
    let (error, reason) = (
        ClientError::AuthorizationViolation,
        CloseReason::AuthenticationFailure,
    );
    let count = elsewhere
        .filter(|connection| cut(connection, Some(&error), reason))
        .count();
    if count > 0 {
        let closed = plural(count, "connection");
        warn!("Closed {closed} from addresses that are not in allowed_sources");
    }
}

/// Cuts the latest clients of each account that, together with those at other members of
/// the cluster, has too many.
pub fn keep_account_limits(broker: &Broker, accounts: &BTreeMap<String, Arc<Account>>) {
    let mut of_accounts: HashMap<&str, Vec<Arc<Connection>>> = HashMap::new();
    for connection in broker.registry.open(Kind::Client) {
        if connection.is_closing() {
            continue;
        }
        let known = accounts.get_key_value(&connection.identity.lock().account);
        if let Some((name, _)) = known {
            of_accounts.entry(name).or_default().push(connection);
        }
    }
    for (name, mut members) in of_accounts {
        let account = &accounts[name];
        members.sort_unstable_by_key(|connection| std::cmp::Reverse(connection.cid));
        members.truncate(account.excess(members.len()));
        cut_of_account(account, &members);
    }
}

fn cut_of_account(account: &Account, connections: &[Arc<Connection>]) {
    for connection in connections {
        let reason = CloseReason::MaxAccountConnections;
        let error = ClientError::MaxAccountConnections;
        cut(connection, Some(&error), reason);
    }
    if !connections.is_empty() {
        warn!(
            "Closed {} of account {:?} to fall within its {}",
            plural(connections.len(), "connection"),
            account.name,
            account.limit_text()
        );
    }
}

/// Cuts clients that speak without TLS, where that is wanted from now on.
pub fn cut_plain(connections: &[Arc<Connection>]) {
    let mut count = 0;
    for connection in connections {
        let reason = CloseReason::TlsHandshakeFailure;
        count += usize::from(cut(connection, Some(&ClientError::TlsRequired), reason));
    }
    if count > 0 {
        let closed = plural(count, "connection");
        warn!("Closed {closed} without TLS, which is required now");
    }
}

/// Closes a client and sends it the reason. Returns whether it was open.
fn cut(connection: &Arc<Connection>, error: Option<&ClientError>, reason: CloseReason) -> bool {
    if connection.is_closing() {
        return false;
    }
    with_buffers(|buffers| {
        if let Some(error) = error {
            connection.send(buffers, &error_line(error));
        }
        let was_open = connection.close(reason);
        buffers.flush_touched();
        was_open
    })
}
