//! How many connections an account has at the other members of the cluster: a limit
//! of an account counts over all of them, as nats-server has it.
//!
//! Members publish the number in the system account whenever it changes, and are
//! asked for it when a route begins and when a limit is new. What comes is taken off
//! a route's messages ([`Cluster::hear_count`]); a member that has no route any more
//! has no connections.

use std::sync::Arc;

use serde::Deserialize;
use tracing::debug;

use super::cluster::{Cluster, Route};
use crate::{
    account::Account,
    connection::{delivery::Run, worker::Worker},
    protocol::CRLF,
};

/// Bytes of the longest message that is read.
const COUNT_MAX: usize = 64 * 1024;

/// What a member tells of an account.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    server: Teller,
    acc: String,
    conns: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Teller {
    id: String,
}

impl Cluster {
    /// Wants to be told the numbers that count for a limit, and asks the member
    /// behind a route for them.
    pub(super) fn ask_counts(&self, worker: &mut Worker, route: &Route) {
        let Some(system) = self.context.accounts.system() else {
            return;
        };
        let answers = self.counts_subject();
        for account in self.limited_accounts() {
            let name = &account.name;
            let news = format!("$SYS.SERVER.ACCOUNT.{name}.CONNS");
            for subject in [&news, &answers] {
                system.interest.want(worker, subject.as_bytes());
            }
            let question = format!(
                "RMSG {} $SYS.REQ.ACCOUNT.{name}.CONNS {answers} 2\r\n{{}}\r\n",
                system.name
            );
            route.connection.send(worker, question.as_bytes());
        }
    }

    /// Takes a number off the messages of the system account. Returns the account if
    /// it has too many connections now.
    pub(super) fn hear_count(&self, route: &Route, run: &Run<'_>) -> Option<Arc<Account>> {
        let is_news = run.subject.starts_with(b"$SYS.SERVER.ACCOUNT.");
        if !is_news && run.subject != self.counts_subject().as_bytes() {
            return None;
        }
        let mut overfull = None;
        for message in run.messages {
            let start = message.header_len.unwrap_or(0) as usize;
            let body = run.body(message);
            let body = &body[start..body.len() - CRLF.len()];
            if body.len() > COUNT_MAX {
                continue;
            }
            match serde_json::from_slice::<Told>(body) {
                // Members speak for themselves alone.
                Ok(told) if told.server.id == route.remote_id => {
                    overfull = self.note_count(route, &told).or(overfull);
                }
                Ok(_) => {}
                Err(error) => debug!("{} told no connections: {error}", route.remote_name),
            }
        }
        overfull
    }

    fn note_count(&self, route: &Route, told: &Told) -> Option<Arc<Account>> {
        let account = self.context.accounts.find(&told.acc)?;
        account.limits().max_connections?;
        let connections = usize::try_from(told.conns).unwrap_or(0);
        account.note_elsewhere(&route.remote_id, connections, &self.node.server_id);
        // A route that has just ended has taken its numbers along.
        if self.route(&route.remote_id).is_none() {
            account.note_elsewhere(&route.remote_id, 0, &self.node.server_id);
        }
        (account.surplus(account.connections()) > 0).then_some(account)
    }

    /// A member has no route any more.
    pub(super) fn forget_counts(&self, route: &Route) {
        for account in self.context.accounts.all() {
            account.note_elsewhere(&route.remote_id, 0, &self.node.server_id);
        }
    }

    fn limited_accounts(&self) -> impl Iterator<Item = Arc<Account>> {
        let accounts = self.context.accounts.all().into_iter();
        accounts.filter(|account| account.limits().max_connections.is_some())
    }

    /// Where members answer to.
    fn counts_subject(&self) -> String {
        format!("$SYS._CONNS.{}", self.node.server_id)
    }
}
