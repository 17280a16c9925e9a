//! Counts the connections of accounts at the other members of the cluster: a limit of an account
//! covers all of them, as in nats-server.
//!
//! Members publish the number in the system account whenever it changes, and are asked for it when
//! a route begins and when a limit is new ([`CountRequests`]). The answers are picked from a
//! route's messages ([`Cluster::handle_count`]). The numbers of a member whose route was lost
//! remain valid for a while: its clients are most likely still connected, and would have to be
//! closed if others took their places meanwhile. They are dropped immediately if the member
//! announced its stop or comes back with another id.

mod lost;
mod requests;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing::debug;

use super::cluster::{Cluster, Route};
use crate::{
    account::Account,
    connection::buffers::ThreadBuffers,
    delivery::SubjectBatch,
    protocol::{CRLF, encode::route_message},
    telemetry::MonotonicMillis,
};
use lost::{Identity, Lost, LostMembers};
pub(super) use requests::CountRequests;

/// Limit of a message that is parsed, in bytes.
const COUNT_MAX: usize = 64 * 1024;

/// Accounts that exceed their limit over the whole cluster, by name.
pub(super) type OverLimit = BTreeMap<String, Arc<Account>>;

/// The state of counting; the numbers themselves are in the accounts.
pub(super) struct ConnectionCounts {
    /// Prefix of the subjects that members send answers to; the last token is the number of the
    /// round.
    answers: String,
    /// The accounts whose counts are subscribed to, with the generation of their limit. Locked
    /// while the interest is announced, so that of two changes the later one wins.
    watched: Mutex<BTreeMap<String, u64>>,
    /// Members whose routes were lost.
    lost: LostMembers,
}

impl Route {
    /// Whether the member announced its stop.
    pub(super) fn has_stopped(&self) -> bool {
        self.requests.lock().has_stopped
    }
}

/// A count of an account or, without an account, the end of a round.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CountMessage {
    server: Sender,
    acc: String,
    conns: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sender {
    id: String,
}

impl ConnectionCounts {
    /// Without any counts. `server_id` is the id of this broker.
    pub(super) fn new(server_id: &str) -> Self {
        Self {
            answers: format!("$SYS._CONNS.{server_id}."),
            watched: Mutex::default(),
            lost: LostMembers::default(),
        }
    }
}

impl Cluster {
    /// Requests all counts when a route begins.
    pub(super) fn begin_counting(&self, buffers: &mut ThreadBuffers, route: &Route) {
        if self.broker.accounts.system().is_none() {
            // Without a system account there is no way to ask.
            return;
        }
        let other_ids = self
            .connection_counts
            .lost
            .remove_returned(&route.remote_id, &Identity::of(route));
        other_ids.iter().for_each(|id| self.drop_counts(id));
        self.watch_limits(buffers);
        let accounts = self.limited_accounts();
        let names = accounts.map(|(account, _)| account.name.clone());
        let questions = {
            let mut requests = route.requests.lock();
            requests.queued.extend(names);
            requests.is_open = !requests.queued.is_empty();
            requests.is_open.then(|| self.questions(route, &requests))
        };
        if let Some(questions) = questions {
            route.connection.send(buffers, &questions);
        }
    }

    /// Requests the counts for limits that may have changed.
    pub(super) fn request_counts(&self, buffers: &mut ThreadBuffers, route: &Route) {
        self.watch_limits(buffers);
        self.continue_requests(buffers, route);
    }

    /// Sends the next round, if there is one and none is open.
    fn continue_requests(&self, buffers: &mut ThreadBuffers, route: &Route) {
        let questions = {
            let mut requests = route.requests.lock();
            let begins = requests.begin_round();
            begins.then(|| self.questions(route, &requests))
        };
        if let Some(questions) = questions {
            route.connection.send(buffers, &questions);
        }
    }

    /// Repeats unanswered requests, and drops members that were lost for too long. Called every few
    /// seconds, while the thread's buffers are not in use.
    pub(super) fn repeat_requests(&self) {
        for route in self.routes() {
            let questions = {
                let requests = route.requests.lock();
                requests.is_open.then(|| self.questions(&route, &requests))
            };
            if let Some(questions) = questions {
                route.connection.send_now(&questions);
            }
        }
        for id in self.connection_counts.lost.expire(MonotonicMillis::now()) {
            // One that has just come back is not lost.
            if self.route(&id).is_none() {
                self.drop_counts(&id);
            }
        }
    }

    /// Subscribes to the counts of exactly the accounts that have a limit, and schedules requests
    /// for those whose limit is new.
    fn watch_limits(&self, buffers: &mut ThreadBuffers) {
        let Some(system) = self.broker.accounts.system() else {
            return;
        };
        let mut watched = self.connection_counts.watched.lock();
        let limited = self.limited_accounts();
        let limited: BTreeMap<String, u64> = limited
            .map(|(account, since)| (account.name.clone(), since))
            .collect();
        let answers = format!("{}*", self.connection_counts.answers);
        match limited.is_empty() {
            true => system.interest.unwant(buffers, answers.as_bytes()),
            false => system.interest.want(buffers, answers.as_bytes()),
        }
        for name in watched.keys().filter(|name| !limited.contains_key(*name)) {
            system
                .interest
                .unwant(buffers, count_subject(name).as_bytes());
        }
        // Also repeated for known ones: without a route there was no effect.
        for name in limited.keys() {
            system
                .interest
                .want(buffers, count_subject(name).as_bytes());
        }
        let is_new = |(name, since): &(&String, &u64)| watched.get(*name) != Some(since);
        let new: Vec<&String> = limited
            .iter()
            .filter(is_new)
            .map(|(name, _)| name)
            .collect();
        for route in self.routes() {
            // The route's own task sends them when it applies the new limits.
            let names = new.iter().map(|name| (*name).clone());
            route.requests.lock().queued.extend(names);
        }
        drop(new);
        *watched = limited;
    }

    /// The requests of the open round.
    fn questions(&self, route: &Route, requests: &CountRequests) -> Vec<u8> {
        let system = self.broker.accounts.system_name();
        let reply = format!("{}{}", self.connection_counts.answers, requests.round);
        let ask = |what: String| route_message(&system, &format!("$SYS.REQ.{what}"), &reply, b"{}");
        let accounts = requests.requested.iter();
        let mut questions: Vec<Vec<u8>> = accounts
            .map(|name| ask(format!("ACCOUNT.{name}.CONNS")))
            .collect();
        // A request that every version answers briefly and after those for accounts.
        questions.push(ask(format!("SERVER.{}.SUBSZ", route.remote_id)));
        questions.concat()
    }

    /// Picks counts from the messages of the system account. Accounts that exceed their limit are
    /// added to `over_limit`.
    pub(super) fn handle_count(
        &self,
        buffers: &mut ThreadBuffers,
        route: &Route,
        batch: &SubjectBatch<'_>,
        over_limit: &mut OverLimit,
    ) {
        let Some(event) = batch.subject.strip_prefix(b"$SYS.") else {
            return;
        };
        let round = batch
            .subject
            .strip_prefix(self.connection_counts.answers.as_bytes());
        if let Some(server) = event.strip_prefix(b"SERVER.") {
            if server.strip_suffix(b".SHUTDOWN") == Some(route.remote_id.as_bytes()) {
                route.requests.lock().has_stopped = true;
                return self.drop_counts(&route.remote_id);
            }
            if !server.starts_with(b"ACCOUNT.") {
                return;
            }
        } else if round.is_none() {
            return;
        }
        for message in batch.messages {
            let start = message.header_len.unwrap_or(0) as usize;
            let body = batch.body(message);
            let body = &body[start..body.len() - CRLF.len()];
            if body.len() > COUNT_MAX {
                continue;
            }
            match serde_json::from_slice::<CountMessage>(body) {
                // A member can only report its own connections.
                Ok(message) if message.server.id != route.remote_id => {}
                Ok(message) if !message.acc.is_empty() => {
                    self.record_count(route, &message, over_limit)
                }
                Ok(_) => {
                    if let Some(round) = round {
                        self.end_round(buffers, route, round);
                    }
                }
                Err(error) => debug!(
                    "{} sent an invalid answer about its connections: {error}",
                    route.remote_name
                ),
            }
        }
    }

    fn record_count(&self, route: &Route, message: &CountMessage, over_limit: &mut OverLimit) {
        let has_stopped = {
            let mut requests = route.requests.lock();
            requests.requested.remove(&message.acc);
            requests.has_stopped
        };
        let Some(account) = self.broker.accounts.find(&message.acc) else {
            return;
        };
        if has_stopped {
            return;
        }
        let connections = usize::try_from(message.conns).unwrap_or(0);
        account.record_remote_connections(&route.remote_id, connections, &self.node.server_id);
        if account.excess(account.connections()) > 0 && !over_limit.contains_key(&message.acc) {
            over_limit.insert(message.acc.clone(), account);
        }
    }

    /// Handles the end of a round.
    fn end_round(&self, buffers: &mut ThreadBuffers, route: &Route, round: &[u8]) {
        let unanswered = route.requests.lock().end_round(round);
        for name in unanswered {
            if let Some(account) = self.broker.accounts.find(&name) {
                account.record_remote_connections(&route.remote_id, 0, &self.node.server_id);
            }
        }
        self.continue_requests(buffers, route);
    }

    /// A member's route has ended: its counts are kept for a while, unless it has stopped.
    pub(super) fn keep_lost_counts(&self, route: &Route) {
        let id = &route.remote_id;
        if route.has_stopped() {
            return self.drop_counts(id);
        }
        let lost = Lost {
            at: MonotonicMillis::now(),
            identity: Identity::of(route),
        };
        if let Some(oldest) = self.connection_counts.lost.add(id, lost) {
            self.drop_counts(&oldest);
        }
    }

    /// The member is not expected any more.
    pub(super) fn forget_counts(&self, id: &str) {
        self.connection_counts.lost.forget(id);
        self.drop_counts(id);
    }

    /// Drops the counts of a member.
    fn drop_counts(&self, id: &str) {
        for account in self.broker.accounts.all() {
            account.record_remote_connections(id, 0, &self.node.server_id);
        }
    }

    /// The accounts with a limit, each with the generation of its limit.
    fn limited_accounts(&self) -> impl Iterator<Item = (Arc<Account>, u64)> {
        let accounts = self.broker.accounts.all().into_iter();
        accounts.filter_map(|account| {
            let since = account.limit_generation()?;
            Some((account, since))
        })
    }
}

/// The subject on which members publish the number of an account's connections.
fn count_subject(account: &str) -> String {
    format!("$SYS.SERVER.ACCOUNT.{account}.CONNS")
}
