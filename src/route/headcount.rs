//! How many connections an account has at the other members of the cluster: a limit
//! of an account counts over all of them, as nats-server has it.
//!
//! Members publish the number in the system account whenever it changes, and are
//! asked for it when a route begins and when a limit is new ([`Asking`]). What comes
//! is taken off a route's messages ([`Cluster::hear_count`]). The numbers of a member
//! whose route is lost count on for a while: its clients are most likely still there,
//! and would have to go if others took their places meanwhile. They are dropped at
//! once when the member said that it stops, or when it comes back as another run.

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
    connection::{buffers::ThreadBuffers, delivery::SubjectBatch},
    protocol::CRLF,
    telemetry::MonotonicMillis,
};

/// Bytes of the longest message that is read.
const COUNT_MAX: usize = 64 * 1024;

/// Accounts that a member is asked about at once; its queue of requests holds more.
const ROUND_MAX: usize = 256;

/// How long the numbers of a member without a route count: as long as nats-server waits
/// at least, which is five of the intervals in which members tell them.
const LOST_FOR: Duration = Duration::from_secs(150);

/// Members without a route whose numbers count; beyond it the oldest is forgotten.
const LOST_MAX: usize = 256;

/// Accounts that have too many connections in all of the cluster, by name.
pub(super) type Overfull = BTreeMap<String, Arc<Account>>;

/// What is known of counting, beside the numbers, which the accounts have.
pub(super) struct Headcount {
    /// What the subjects begin with that members answer to; the number of the round is
    /// the last token.
    answers: String,
    /// The accounts of which news are wanted, with the limits they are wanted for. Held
    /// while that is told, so that of two changes the later one stays.
    watched: Mutex<BTreeMap<String, u64>>,
    /// Members whose routes were lost, by id.
    lost: Mutex<HashMap<String, Lost>>,
}

/// A member whose route was lost.
struct Lost {
    at: MonotonicMillis,
    place: Place,
}

/// By what a member is the same one as before, though its id is another one.
struct Place {
    /// Its name, if it was given one.
    name: Option<String>,
    /// Where it takes routes. What it says of that may be true of every member, if it
    /// listens on all of its addresses.
    address: String,
}

/// The questions to one member. They go in rounds, each of which ends with a question
/// that every member answers, after the others: an account that was asked about and
/// not told of by then has no connections there, since a nats-server is silent about
/// none. The first round has nothing but its end: a member that still tells what it
/// wants answers nothing yet.
#[derive(Default)]
pub(super) struct Asking {
    round: u64,
    /// Whether the end of the round is waited for.
    is_open: bool,
    /// Accounts that were asked about in this round and not told of since.
    asked: BTreeSet<String>,
    /// Those that are asked about in later ones.
    ahead: BTreeSet<String>,
    /// The member said that it stops: its connections count no more, and clients
    /// cannot fall back to it.
    has_stopped: bool,
}

impl Route {
    /// Whether the member said that it stops.
    pub(super) fn has_stopped(&self) -> bool {
        self.asking.lock().has_stopped
    }
}

/// What a member tells of an account, or, without one, the end of a round.
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

impl Headcount {
    /// Nothing is known. `server_id` is the id of this broker.
    pub(super) fn new(server_id: &str) -> Self {
        Self {
            answers: format!("$SYS._CONNS.{server_id}."),
            watched: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// Notes a member whose route was lost; returns who is forgotten for it.
    fn lose(&self, id: &str, lost: Lost) -> Option<String> {
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

    /// A member has a route again, or as another run for the first time; returns the
    /// ids of runs of it that are over.
    fn regain(&self, id: &str, place: &Place) -> Vec<String> {
        let mut members = self.lost.lock();
        members.remove(id);
        let is_same = |_: &String, lost: &mut Lost| lost.place.is_same(place);
        members.extract_if(is_same).map(|(id, _)| id).collect()
    }

    /// Members that are lost for too long.
    fn expire(&self, now: MonotonicMillis) -> Vec<String> {
        let mut members = self.lost.lock();
        let is_late = |_: &String, lost: &mut Lost| lost.at.until(now) >= LOST_FOR;
        members.extract_if(is_late).map(|(id, _)| id).collect()
    }
}

impl Cluster {
    /// A route has begun: asks for all numbers that count.
    pub(super) fn begin_count(&self, buffers: &mut ThreadBuffers, route: &Route) {
        if self.context.accounts.system().is_none() {
            // Nobody could be asked.
            return;
        }
        let over = self.headcount.regain(&route.remote_id, &Place::of(route));
        over.iter().for_each(|id| self.drop_counts(id));
        self.watch_limits(buffers);
        let accounts = self.limited_accounts();
        let names = accounts.map(|(account, _)| account.name.clone());
        let questions = {
            let mut asking = route.asking.lock();
            asking.ahead.extend(names);
            asking.is_open = !asking.ahead.is_empty();
            asking.is_open.then(|| self.questions(route, &asking))
        };
        if let Some(questions) = questions {
            route.connection.send(buffers, questions.as_bytes());
        }
    }

    /// Limits may be other ones: asks for the numbers that count for new ones.
    pub(super) fn ask_counts(&self, buffers: &mut ThreadBuffers, route: &Route) {
        self.watch_limits(buffers);
        self.go_on_asking(buffers, route);
    }

    /// Asks the next round, if there is one and none is open.
    fn go_on_asking(&self, buffers: &mut ThreadBuffers, route: &Route) {
        let questions = {
            let mut asking = route.asking.lock();
            let begins = asking.begin_round();
            begins.then(|| self.questions(route, &asking))
        };
        if let Some(questions) = questions {
            route.connection.send(buffers, questions.as_bytes());
        }
    }

    /// Asks once more what was not answered, and forgets members that are lost for
    /// long. To be called every few seconds, and while the thread's buffers are not in use.
    pub(super) fn keep_count(&self) {
        for route in self.routes() {
            let questions = {
                let asking = route.asking.lock();
                asking.is_open.then(|| self.questions(&route, &asking))
            };
            if let Some(questions) = questions {
                route.connection.send_now(questions.as_bytes());
            }
        }
        for id in self.headcount.expire(MonotonicMillis::now()) {
            // One that has come back in this moment is not lost.
            if self.route(&id).is_none() {
                self.drop_counts(&id);
            }
        }
    }

    /// Wants news of the accounts that have a limit, and of no others. About those
    /// whose limit is new all members are to be asked.
    fn watch_limits(&self, buffers: &mut ThreadBuffers) {
        let Some(system) = self.context.accounts.system() else {
            return;
        };
        let mut watched = self.headcount.watched.lock();
        let limited = self.limited_accounts();
        let limited: BTreeMap<String, u64> = limited
            .map(|(account, since)| (account.name.clone(), since))
            .collect();
        let answers = format!("{}*", self.headcount.answers);
        match limited.is_empty() {
            true => system.interest.unwant(buffers, answers.as_bytes()),
            false => system.interest.want(buffers, answers.as_bytes()),
        }
        for name in watched.keys().filter(|name| !limited.contains_key(*name)) {
            system
                .interest
                .unwant(buffers, news_subject(name).as_bytes());
        }
        // Also what was wanted already: it was not, if there was no route before.
        for name in limited.keys() {
            system.interest.want(buffers, news_subject(name).as_bytes());
        }
        let is_new = |(name, since): &(&String, &u64)| watched.get(*name) != Some(since);
        let new: Vec<&String> = limited
            .iter()
            .filter(is_new)
            .map(|(name, _)| name)
            .collect();
        for route in self.routes() {
            // Its own task goes on with them: it takes over the new limits as well.
            let names = new.iter().map(|name| (*name).clone());
            route.asking.lock().ahead.extend(names);
        }
        drop(new);
        *watched = limited;
    }

    /// The questions of the round that is open.
    fn questions(&self, route: &Route, asking: &Asking) -> String {
        let system = self.context.accounts.system_name();
        let (answers, round) = (&self.headcount.answers, asking.round);
        let ask =
            |what: String| format!("RMSG {system} $SYS.REQ.{what} {answers}{round} 2\r\n{{}}\r\n");
        let accounts = asking.asked.iter();
        let mut questions: Vec<String> = accounts
            .map(|name| ask(format!("ACCOUNT.{name}.CONNS")))
            .collect();
        // A short answer of every version, made behind those of the accounts.
        questions.push(ask(format!("SERVER.{}.SUBSZ", route.remote_id)));
        questions.concat()
    }

    /// Takes numbers off the messages of the system account. Accounts that have too
    /// many connections now are added to `overfull`.
    pub(super) fn hear_count(
        &self,
        buffers: &mut ThreadBuffers,
        route: &Route,
        batch: &SubjectBatch<'_>,
        overfull: &mut Overfull,
    ) {
        let Some(event) = batch.subject.strip_prefix(b"$SYS.") else {
            return;
        };
        let round = batch
            .subject
            .strip_prefix(self.headcount.answers.as_bytes());
        if let Some(server) = event.strip_prefix(b"SERVER.") {
            if server.strip_suffix(b".SHUTDOWN") == Some(route.remote_id.as_bytes()) {
                route.asking.lock().has_stopped = true;
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
            match serde_json::from_slice::<Told>(body) {
                // Members speak for themselves alone.
                Ok(told) if told.server.id != route.remote_id => {}
                Ok(told) if !told.acc.is_empty() => self.note_count(route, &told, overfull),
                Ok(_) => {
                    if let Some(round) = round {
                        self.end_round(buffers, route, round);
                    }
                }
                Err(error) => debug!("{} told no connections: {error}", route.remote_name),
            }
        }
    }

    fn note_count(&self, route: &Route, told: &Told, overfull: &mut Overfull) {
        let has_stopped = {
            let mut asking = route.asking.lock();
            asking.asked.remove(&told.acc);
            asking.has_stopped
        };
        let Some(account) = self.context.accounts.find(&told.acc) else {
            return;
        };
        if has_stopped {
            return;
        }
        let connections = usize::try_from(told.conns).unwrap_or(0);
        account.record_remote_connections(&route.remote_id, connections, &self.node.server_id);
        if account.excess(account.connections()) > 0 && !overfull.contains_key(&told.acc) {
            overfull.insert(told.acc.clone(), account);
        }
    }

    /// The member has answered what it was asked in a round.
    fn end_round(&self, buffers: &mut ThreadBuffers, route: &Route, round: &[u8]) {
        let silent = route.asking.lock().end_round(round);
        for name in silent {
            if let Some(account) = self.context.accounts.find(&name) {
                account.record_remote_connections(&route.remote_id, 0, &self.node.server_id);
            }
        }
        self.go_on_asking(buffers, route);
    }

    /// A member has no route any more: its numbers are kept for a while, unless it
    /// stopped.
    pub(super) fn lose_counts(&self, route: &Route) {
        let id = &route.remote_id;
        if route.has_stopped() {
            return self.drop_counts(id);
        }
        let lost = Lost {
            at: MonotonicMillis::now(),
            place: Place::of(route),
        };
        if let Some(oldest) = self.headcount.lose(id, lost) {
            self.drop_counts(&oldest);
        }
    }

    /// Nobody is to miss this member any more.
    pub(super) fn forget_counts(&self, id: &str) {
        self.headcount.lost.lock().remove(id);
        self.drop_counts(id);
    }

    /// A member's connections count no more.
    fn drop_counts(&self, id: &str) {
        for account in self.context.accounts.all() {
            account.record_remote_connections(id, 0, &self.node.server_id);
        }
    }

    /// The accounts with a limit, each with the number of it.
    fn limited_accounts(&self) -> impl Iterator<Item = (Arc<Account>, u64)> {
        let accounts = self.context.accounts.all().into_iter();
        accounts.filter_map(|account| {
            let since = account.limit_generation()?;
            Some((account, since))
        })
    }
}

impl Place {
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

impl Asking {
    /// Begins the next round, if there is anything to ask and none is open; whether
    /// that is so.
    fn begin_round(&mut self) -> bool {
        if self.is_open || self.ahead.is_empty() {
            return false;
        }
        self.round += 1;
        self.is_open = true;
        while self.asked.len() < ROUND_MAX
            && let Some(name) = self.ahead.pop_first()
        {
            self.asked.insert(name);
        }
        true
    }

    /// Ends the round, if it is this one; returns the accounts that were not told of.
    fn end_round(&mut self, round: &[u8]) -> BTreeSet<String> {
        if !self.is_open || round != self.round.to_string().as_bytes() {
            return BTreeSet::new();
        }
        self.is_open = false;
        std::mem::take(&mut self.asked)
    }
}

/// Where members publish the number of an account's connections.
fn news_subject(account: &str) -> String {
    format!("$SYS.SERVER.ACCOUNT.{account}.CONNS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, address: &str) -> Place {
        Place {
            name: (!name.is_empty()).then(|| name.to_owned()),
            address: address.to_owned(),
        }
    }

    /// Who is lost counts until it has been for long, or is there again as another run.
    #[test]
    fn who_is_lost_counts_for_a_while() {
        let headcount = Headcount::new("M");
        let at = MonotonicMillis::now();
        for (id, name, address) in [
            ("A", "a", "h:1"),
            ("B", "b", "h:2"),
            ("C", "", "h:3"),
            ("D", "", "h:4"),
        ] {
            let place = place(name, address);
            assert_eq!(headcount.lose(id, Lost { at, place }), None);
        }
        // The same run, one of the same name, one from the same place, and a stranger.
        assert!(headcount.regain("A", &place("a", "h:1")).is_empty());
        assert_eq!(headcount.regain("B2", &place("b", "h:9")), ["B"]);
        assert_eq!(headcount.regain("C2", &place("", "h:3")), ["C"]);
        assert!(headcount.regain("X", &place("", "h:8")).is_empty());
        let later = |time: Duration| MonotonicMillis(at.0 + time.as_millis() as u64);
        assert!(headcount.expire(later(LOST_FOR / 2)).is_empty());
        assert_eq!(headcount.expire(later(LOST_FOR * 2)), ["D"]);
        assert!(headcount.expire(later(LOST_FOR * 2)).is_empty());
    }

    #[test]
    fn no_more_than_so_many_lost_members_count() {
        let headcount = Headcount::new("M");
        for number in 0..=LOST_MAX {
            let name = format!("m{number}");
            let lost = Lost {
                at: MonotonicMillis(number as u64),
                place: place(&name, &name),
            };
            let forgotten = headcount.lose(&name, lost);
            let oldest = (number == LOST_MAX).then(|| "m0".to_owned());
            assert_eq!(forgotten, oldest);
        }
    }

    /// Who is not told of until the end of the round has none; an end of another round
    /// tells nothing.
    #[test]
    fn questions_go_in_rounds() {
        let mut asking = Asking::default();
        assert!(!asking.begin_round());
        let names = (0..=ROUND_MAX).map(|number| format!("A{number:04}"));
        asking.ahead.extend(names);
        assert!(asking.begin_round() && !asking.begin_round());
        assert_eq!(asking.asked.len(), ROUND_MAX);
        asking.asked.remove("A0000");
        assert!(asking.end_round(b"0").is_empty());
        assert!(asking.end_round(b"x").is_empty());
        let silent = asking.end_round(b"1");
        assert_eq!(silent.len(), ROUND_MAX - 1);
        assert!(!silent.contains("A0000") && asking.end_round(b"1").is_empty());
        assert!(asking.begin_round());
        assert_eq!(asking.end_round(b"2").len(), 1);
        assert!(!asking.begin_round());
    }
}
