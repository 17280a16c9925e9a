//! `/topz`: which connections, accounts, users and subjects carry the load.

use std::{cmp::Reverse, collections::HashMap};

use monitor_client::{Load, SubjectLoad, Topz};

use super::{super::Monitor, query::Query, refusal::Refusal};
use crate::{
    broker::Broker,
    connection::{Connection, Kind},
    telemetry::{
        MonotonicMicros, MonotonicMillis,
        load::{Name, TrafficDelta, Window},
        metrics,
        sketch::Hit,
        subject_groups::{Group, grouped},
    },
};

/// Entries of each list, unless asked otherwise, and at most.
const ENTRIES: usize = 20;
const ENTRIES_MAX: usize = 1024;

/// The sort key of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sort {
    Bytes,
    Connects,
    Latency,
    Msgs,
    Pending,
    Subs,
}

const SORTS: [(&str, Sort); 6] = [
    ("msgs", Sort::Msgs),
    ("bytes", Sort::Bytes),
    ("pending", Sort::Pending),
    ("subs", Sort::Subs),
    ("connects", Sort::Connects),
    ("latency", Sort::Latency),
];

const WINDOWS: [(&str, Window); 4] = [
    ("1s", Window::Second),
    ("1m", Window::Minute),
    ("5m", Window::FiveMinutes),
    ("start", Window::Start),
];

/// The parameters of a request.
struct Request {
    sort: (&'static str, Sort),
    window: (&'static str, Window),
    entries: usize,
    /// Whether subjects of one form are one row.
    groups: bool,
}

/// The answer. `sort` is what the lists are sorted by, `window` the time they
/// cover, `n` the entries of each.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Topz, Refusal> {
    Ok(build(monitor, &Request::parse(query)?))
}

impl Request {
    fn parse(query: &Query) -> Result<Self, Refusal> {
        let entries = match query.unsigned("n")? {
            0 => ENTRIES,
            n => usize::try_from(n).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX),
        };
        Ok(Self {
            sort: one_of(query, "sort", &SORTS, SORTS[0])?,
            window: one_of(query, "window", &WINDOWS, WINDOWS[1])?,
            entries,
            groups: query.text("group").is_empty() || query.boolean("group")?,
        })
    }

    fn rank(&self, load: &Load) -> u64 {
        match self.sort.1 {
            Sort::Bytes => load.in_bytes + load.out_bytes,
            Sort::Connects => load.connects,
            Sort::Latency => (load.latency * 1e6) as u64,
            Sort::Msgs => load.in_msgs + load.out_msgs,
            Sort::Pending => load.pending_bytes as u64,
            Sort::Subs => load.subscriptions as u64,
        }
    }

    /// The first entries in their order; those that moved nothing and hold
    /// nothing are no load.
    fn top(&self, mut loads: Vec<Load>) -> Vec<Load> {
        loads.retain(|load| self.rank(load) > 0);
        loads.sort_by(|a, b| {
            let key = |load: &Load| (Reverse(self.rank(load)), load.cid);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        loads.truncate(self.entries);
        loads
    }
}

/// One of some words.
fn one_of<T: Copy>(
    query: &Query,
    name: &str,
    known: &[(&'static str, T)],
    default: (&'static str, T),
) -> Result<(&'static str, T), Refusal> {
    let text = query.text(name);
    if text.is_empty() {
        return Ok(default);
    }
    let found = known.iter().find(|(word, _)| *word == text).copied();
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        Refusal::bad_request(format!("'{name}' must be one of: {}", words.join(", ")))
    })
}

fn build(monitor: &Monitor, request: &Request) -> Topz {
    let broker = &monitor.server.broker;
    let telemetry = &broker.telemetry;
    let window = request.window.1;
    let mut open = broker.registry.open(Kind::Client);
    // A leafnode has an account, in which it counts like a client.
    open.extend(broker.registry.open(Kind::Leafnode));
    let mut connections = Vec::with_capacity(open.len());
    let mut held: HashMap<Name, Holdings> = HashMap::new();
    for known in &open {
        let (load, user) = connection(broker, known, window);
        Holdings::count(&mut held, &load, user);
        connections.push(load);
    }
    let (mut users, mut accounts) = (Vec::new(), Vec::new());
    for (name, moved) in telemetry.loads.of_holders(window) {
        let load = holder(&name, moved, held.get(&name));
        match name.user.is_empty() {
            true if name.account.is_empty() => {}
            true => accounts.push(load),
            false => users.push(load),
        }
    }
    let mut connections = request.top(connections);
    let mut names = broker
        .registry
        .names(connections.iter().map(|load| load.cid));
    for load in &mut connections {
        load.name = names.remove(&load.cid).unwrap_or_default();
    }
    let seconds = match window {
        Window::Start => MonotonicMillis::now().0 as f64 / 1000.0,
        window => telemetry.loads.seconds(window),
    };
    Topz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        sort: request.sort.0.into(),
        window: request.window.0.into(),
        seconds,
        age: telemetry.loads.age(MonotonicMicros::now()).as_secs_f64(),
        connections,
        users: request.top(users),
        accounts: request.top(accounts),
        subjects: subjects(broker, request, telemetry.subjects.delivered(window)),
        no_interest: subjects(broker, request, telemetry.subjects.no_interest(window)),
    }
}

/// A connection's load, and its user; its name is added later, for those that are shown.
fn connection(broker: &Broker, connection: &Connection, window: Window) -> (Load, String) {
    let moved = match window {
        Window::Start => TrafficDelta::from(connection.traffic()),
        window => broker.telemetry.loads.of_connection(connection.cid, window),
    };
    let peak = connection.outbound().latency(MonotonicMicros::now());
    let identity = connection.identity.lock();
    let (account, user) = (identity.account.clone(), identity.user.clone());
    drop(identity);
    let load = Load {
        cid: connection.cid,
        account,
        pending_bytes: connection.outbound().backlog().pending,
        subscriptions: connection.subscriptions.lock().len(),
        connects: u64::from(opened_within(broker, connection, window)),
        latency: peak.micros as f64 / 1e6,
        ..load(moved)
    };
    (load, user)
}

/// The totals of the open connections of a user or an account.
#[derive(Default)]
struct Holdings {
    pending_bytes: usize,
    subscriptions: usize,
    latency: f64,
}

impl Holdings {
    /// Counts a connection for its account and for its user: each connection is visited
    /// once, however many users there are.
    fn count(held: &mut HashMap<Name, Self>, load: &Load, user: String) {
        let account = load.account.clone();
        if !user.is_empty() {
            let account = account.clone();
            held.entry(Name { account, user }).or_default().add(load);
        }
        let user = String::new();
        held.entry(Name { account, user }).or_default().add(load);
    }

    fn add(&mut self, load: &Load) {
        self.pending_bytes += load.pending_bytes;
        self.subscriptions += load.subscriptions;
        self.latency = self.latency.max(load.latency);
    }
}

fn opened_within(broker: &Broker, connection: &Connection, window: Window) -> bool {
    let age = connection
        .start
        .millis()
        .until(MonotonicMillis::now())
        .as_secs_f64();
    window == Window::Start || age <= broker.telemetry.loads.seconds(window)
}

/// The load of a user or an account: what it moved, and what its open
/// connections hold.
fn holder(name: &Name, moved: TrafficDelta, held: Option<&Holdings>) -> Load {
    let mut sum = Load {
        name: match name.user.is_empty() {
            true => name.account.clone(),
            false => name.user.clone(),
        },
        account: name.account.clone(),
        connects: moved.connects,
        ..load(moved)
    };
    if let Some(held) = held {
        sum.pending_bytes = held.pending_bytes;
        sum.subscriptions = held.subscriptions;
        sum.latency = held.latency;
    }
    sum
}

fn load(moved: TrafficDelta) -> Load {
    Load {
        in_msgs: moved.in_msgs,
        in_bytes: moved.in_bytes,
        out_msgs: moved.out_msgs,
        out_bytes: moved.out_bytes,
        ..Load::default()
    }
}

/// Subjects are sorted by bytes or messages: they have nothing else.
fn subjects(broker: &Broker, request: &Request, hits: Vec<Hit>) -> Vec<SubjectLoad> {
    let mut rows = match request.groups {
        true => grouped(&hits),
        false => hits
            .into_iter()
            .map(|hit| Group { hit, subjects: 1 })
            .collect(),
    };
    rows.sort_by(|a, b| {
        let rank = |row: &Group| match request.sort.1 {
            Sort::Bytes => Reverse(row.hit.bytes),
            _ => Reverse(row.hit.msgs),
        };
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.hit.subject.cmp(&b.hit.subject))
    });
    let series = metrics::series();
    rows.truncate(request.entries);
    let names = broker
        .registry
        .names(rows.iter().map(|row| row.hit.publisher));
    rows.into_iter()
        .map(|Group { hit, subjects }| SubjectLoad {
            subject: String::from_utf8_lossy(&hit.subject).into_owned(),
            subjects,
            account: series
                .get(hit.series as usize)
                .map_or_else(String::new, |series| series.account.clone()),
            msgs: hit.msgs,
            bytes: hit.bytes,
            error: hit.error,
            publisher_cid: hit.publisher,
            publisher: names
                .get(&hit.publisher)
                .cloned()
                .or_else(|| broker.telemetry.subjects.publisher(hit.publisher))
                .unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_words_of_a_list() {
        let parse = |text| Request::parse(&Query::parse(text));
        let request = parse("").unwrap();
        assert_eq!((request.sort.0, request.window.0), ("msgs", "1m"));
        assert_eq!(request.entries, ENTRIES);
        let request = parse("sort=latency&window=start&n=99999999").unwrap();
        assert_eq!(
            (request.sort.1, request.window.1),
            (Sort::Latency, Window::Start)
        );
        assert_eq!(request.entries, ENTRIES_MAX);
        for (text, message) in [
            (
                "sort=x",
                "'sort' must be one of: msgs, bytes, pending, subs, connects, latency",
            ),
            ("window=2m", "'window' must be one of: 1s, 1m, 5m, start"),
        ] {
            assert_eq!(parse(text).err().unwrap().message, message);
        }
        assert!(parse("n=-1").is_err());
    }

    /// Six thousand connections of two thousand users: each is counted once, for its
    /// user and for its account, and a user of another account is another one.
    #[test]
    fn connections_are_summed_up_in_one_pass() {
        let mut held = HashMap::new();
        for number in 0..6000_usize {
            let load = Load {
                account: ["A", "B"][number % 2].into(),
                pending_bytes: number,
                subscriptions: 1,
                latency: number as f64,
                ..Load::default()
            };
            Holdings::count(&mut held, &load, format!("u{}", number % 1000));
        }
        let of = |account: &str, user: &str| {
            let (account, user) = (account.to_owned(), user.to_owned());
            let name = Name { account, user };
            let load = holder(&name, TrafficDelta::default(), held.get(&name));
            (load.subscriptions, load.pending_bytes, load.latency)
        };
        assert_eq!(
            of("A", "u2"),
            (6, 2 + 1002 + 2002 + 3002 + 4002 + 5002, 5002.0)
        );
        assert_eq!(of("B", "u2"), (0, 0, 0.0));
        assert_eq!(
            of("B", ""),
            (3000, (0..3000).map(|n| 2 * n + 1).sum(), 5999.0)
        );
        assert_eq!(of("", ""), (0, 0, 0.0));
    }
}
