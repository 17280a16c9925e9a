//! Counts the connections of accounts at the other members of the cluster: a limit of an account
//! covers all of them, as in nats-server.
//!
//! Members publish the number in the system account whenever it changes, and are asked for it when
//! a route begins and when a limit is new ([`CountRequests`]). The answers are picked from a
//! route's messages ([`Cluster::handle_count`]). The numbers of a member whose route was lost
//! remain valid for a while: its clients are most likely still connected, and would have to be
//! closed if others took their places meanwhile. They are dropped immediately if the member
//! announced its stop or comes back with another id.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Deserialize;
use tracing::debug;

use super::{
    cluster::{Cluster, Route},
    introduction::with_port,
};
use crate::{
    account::Account,
    connection::buffers::ThreadBuffers,
    delivery::SubjectBatch,
    protocol::{CRLF, encode::route_message},
    telemetry::MonotonicMillis,
};

/// Limit of a message that is parsed, in bytes.
const COUNT_MAX: usize = 64 * 1024;

/// Number of accounts that a member is asked about at a time; its queue of requests is longer.
const ROUND_MAX: usize = 256;

/// How long the numbers of a member without a route remain valid: at least as long as nats-server
/// waits, which is five times the interval at which members publish them.
const LOST_FOR: Duration = Duration::from_secs(150);

/// Limit of members without a route whose numbers are kept; beyond it the oldest is dropped.
const LOST_MAX: usize = 256;

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
    /// Members whose routes were lost, by id.
    lost: Mutex<HashMap<String, Lost>>,
}

/// A member whose route was lost.
struct Lost {
    at: MonotonicMillis,
    identity: Identity,
}

/// What identifies a member although it has another id.
struct Identity {
    /// Its name, if one is configured.
    name: Option<String>,
    /// The address of its route listener. If it listens on all addresses, this may be the same for
    /// every member.
    address: String,
}

/// Requests to one member. They are sent in rounds, each of which ends with a request that every
/// member answers after the others: an account that was requested and not answered by then has no
/// connections there, since a nats-server does not answer in that case. The first round has only
/// its end: a member that still announces its interest does not answer yet.
#[derive(Default)]
pub(super) struct CountRequests {
    round: u64,
    /// Whether the end of the round has not been answered.
    is_open: bool,
    /// Accounts requested in this round and not answered yet.
    requested: BTreeSet<String>,
    /// Accounts for later rounds.
    queued: BTreeSet<String>,
    /// The member announced its stop: its connections do not count any more, and clients cannot use
    /// it.
    has_stopped: bool,
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
            lost: Mutex::default(),
        }
    }

    /// Adds a member whose route was lost; returns the one that is dropped for it.
    fn add_lost(&self, id: &str, lost: Lost) -> Option<String> {
        let mut members = self.lost.lock();
        members.insert(id.to_owned(), lost);
        if members.len() <= LOST_MAX {
            return None;
        }
        let oldest = members.iter().min_by_key(|(_, lost)| lost.at);
        let oldest = oldest.map(|(id, _)| id.clone())?;
        members.remove(&oldest);
        Some(oldest)
    }

    /// Removes a member that has a route again, and other ids of the same member; returns these.
    fn remove_returned(&self, id: &str, identity: &Identity) -> Vec<String> {
        let mut members = self.lost.lock();
        members.remove(id);
        let is_same = |_: &String, lost: &mut Lost| lost.identity.is_same(identity);
        members.extract_if(is_same).map(|(id, _)| id).collect()
    }

    /// Removes the members that were lost for too long.
    fn expire(&self, now: MonotonicMillis) -> Vec<String> {
        let mut members = self.lost.lock();
        let is_expired = |_: &String, lost: &mut Lost| lost.at.until(now) >= LOST_FOR;
        members.extract_if(is_expired).map(|(id, _)| id).collect()
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
        for id in self.connection_counts.expire(MonotonicMillis::now()) {
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
        if let Some(oldest) = self.connection_counts.add_lost(id, lost) {
            self.drop_counts(&oldest);
        }
    }

    /// The member is not expected any more.
    pub(super) fn forget_counts(&self, id: &str) {
        self.connection_counts.lost.lock().remove(id);
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

impl Identity {
    fn of(route: &Route) -> Self {
        let info = route.info.lock();
        let is_named = !info.server_name.is_empty() && info.server_name != info.server_id;
        let host = route.connection.peer.ip().to_canonical().to_string();
        Self {
            name: is_named.then(|| info.server_name.clone()),
            address: match info.ip.is_empty() {
                true => with_port(&host, info.port),
                false => info.ip.clone(),
            },
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.address == other.address || self.name.is_some() && self.name == other.name
    }
}

impl CountRequests {
    /// Begins the next round, if there is anything to request and none is open. Returns whether it
    /// did.
    fn begin_round(&mut self) -> bool {
        if self.is_open || self.queued.is_empty() {
            return false;
        }
        self.round += 1;
        self.is_open = true;
        while self.requested.len() < ROUND_MAX
            && let Some(name) = self.queued.pop_first()
        {
            self.requested.insert(name);
        }
        true
    }

    /// Ends this round; returns the accounts that were not answered.
    fn end_round(&mut self, round: &[u8]) -> BTreeSet<String> {
        if !self.is_open || round != self.round.to_string().as_bytes() {
            return BTreeSet::new();
        }
        self.is_open = false;
        std::mem::take(&mut self.requested)
    }
}

/// The subject on which members publish the number of an account's connections.
fn count_subject(account: &str) -> String {
    format!("$SYS.SERVER.ACCOUNT.{account}.CONNS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, address: &str) -> Identity {
        Identity {
            name: (!name.is_empty()).then(|| name.to_owned()),
            address: address.to_owned(),
        }
    }

    /// The counts of a lost member are valid until too much time has passed or it comes back with
    /// another id.
    #[test]
    fn counts_of_a_lost_member_are_kept_for_a_while() {
        let connection_counts = ConnectionCounts::new("M");
        let at = MonotonicMillis::now();
        for (id, name, address) in [
            ("A", "a", "h:1"),
            ("B", "b", "h:2"),
            ("C", "", "h:3"),
            ("D", "", "h:4"),
        ] {
            let identity = identity(name, address);
            assert_eq!(connection_counts.add_lost(id, Lost { at, identity }), None);
        }
        // The same id, one with the same name, one with the same address, and an unrelated one.
        assert!(
            connection_counts
                .remove_returned("A", &identity("a", "h:1"))
                .is_empty()
        );
        assert_eq!(
            connection_counts.remove_returned("B2", &identity("b", "h:9")),
            ["B"]
        );
        assert_eq!(
            connection_counts.remove_returned("C2", &identity("", "h:3")),
            ["C"]
        );
        assert!(
            connection_counts
                .remove_returned("X", &identity("", "h:8"))
                .is_empty()
        );
        let later = |time: Duration| MonotonicMillis(at.0 + time.as_millis() as u64);
        assert!(connection_counts.expire(later(LOST_FOR / 2)).is_empty());
        assert_eq!(connection_counts.expire(later(LOST_FOR * 2)), ["D"]);
        assert!(connection_counts.expire(later(LOST_FOR * 2)).is_empty());
    }

    #[test]
    fn lost_members_are_limited() {
        let connection_counts = ConnectionCounts::new("M");
        for number in 0..=LOST_MAX {
            let name = format!("m{number}");
            let lost = Lost {
                at: MonotonicMillis(number as u64),
                identity: identity(&name, &name),
            };
            let dropped = connection_counts.add_lost(&name, lost);
            let oldest = (number == LOST_MAX).then(|| "m0".to_owned());
            assert_eq!(dropped, oldest);
        }
    }

    /// An account that is not answered by the end of its round has no connections; the end of
    /// another round has no effect.
    #[test]
    fn requests_are_sent_in_rounds() {
        let mut requests = CountRequests::default();
        assert!(!requests.begin_round());
        let names = (0..=ROUND_MAX).map(|number| format!("A{number:04}"));
        requests.queued.extend(names);
        assert!(requests.begin_round() && !requests.begin_round());
        assert_eq!(requests.requested.len(), ROUND_MAX);
        requests.requested.remove("A0000");
        assert!(requests.end_round(b"0").is_empty());
        assert!(requests.end_round(b"x").is_empty());
        let unanswered = requests.end_round(b"1");
        assert_eq!(unanswered.len(), ROUND_MAX - 1);
        assert!(!unanswered.contains("A0000") && requests.end_round(b"1").is_empty());
        assert!(requests.begin_round());
        assert_eq!(requests.end_round(b"2").len(), 1);
        assert!(!requests.begin_round());
    }
}
