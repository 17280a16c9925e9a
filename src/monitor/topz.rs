//! `/topz`: who and what carries the load.

use std::{cmp::Reverse, sync::Arc};

use monitor_client::{Load, SubjectLoad, Topz};

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
};
use crate::{
    client::Context,
    connection::Connection,
    telemetry::{
        Clock, Stamp, figures,
        load::{Moved, Name, Window},
        sketch::Hit,
    },
};

/// Entries of each list, unless asked otherwise, and at most.
const ENTRIES: usize = 20;
const ENTRIES_MAX: usize = 1024;

/// What a list is sorted by.
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
}

/// The answer. `sort` is what the lists are sorted by, `window` the time they
/// cover, `n` the entries of each.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    Answer::pretty_json(&build(monitor, &Request::parse(query)?))
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
        Refusal::bad_request(format!("'{name}' is one of: {}", words.join(", ")))
    })
}

fn build(monitor: &Monitor, request: &Request) -> Topz {
    let context = &monitor.server.clients;
    let telemetry = &context.telemetry;
    let window = request.window.1;
    let open = context.registry.open();
    let loads = open.iter().map(|known| connection(context, known, window));
    let connections: Vec<_> = loads.collect();
    let (mut users, mut accounts) = (Vec::new(), Vec::new());
    for (name, moved) in telemetry.loads.of_holders(window) {
        let load = holder(&name, moved, &open, &connections);
        match name.user.is_empty() {
            true if name.account.is_empty() => {}
            true => accounts.push(load),
            false => users.push(load),
        }
    }
    let mut connections = request.top(connections);
    for load in &mut connections {
        load.name = context.registry.who(load.cid).unwrap_or_default();
    }
    let seconds = match window {
        Window::Start => Clock::now().0 as f64 / 1000.0,
        window => telemetry.loads.seconds(window),
    };
    Topz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        sort: request.sort.0.into(),
        window: request.window.0.into(),
        seconds,
        connections,
        users: request.top(users),
        accounts: request.top(accounts),
        subjects: subjects(context, request, telemetry.subjects.heard(window)),
        no_interest: subjects(context, request, telemetry.subjects.unheard(window)),
    }
}

/// A connection's load; its name comes later, for those that are shown.
fn connection(context: &Context, connection: &Connection, window: Window) -> Load {
    let moved = match window {
        Window::Start => Moved::from(connection.traffic()),
        window => context
            .telemetry
            .loads
            .of_connection(connection.cid, window),
    };
    let peak = connection.outbound().latency(Stamp::now());
    Load {
        cid: connection.cid,
        account: connection.identity.lock().account.clone(),
        pending_bytes: connection.outbound().backlog().pending,
        subscriptions: connection.subscriptions.lock().len(),
        connects: u64::from(opened_within(context, connection, window)),
        latency: peak.micros as f64 / 1e6,
        ..load(moved)
    }
}

fn opened_within(context: &Context, connection: &Connection, window: Window) -> bool {
    let age = connection.start.clock().until(Clock::now()).as_secs_f64();
    window == Window::Start || age <= context.telemetry.loads.seconds(window)
}

/// The load of a user or an account: what it moved, and what its open
/// connections hold.
fn holder(name: &Name, moved: Moved, open: &[Arc<Connection>], loads: &[Load]) -> Load {
    let mut sum = Load {
        name: match name.user.is_empty() {
            true => name.account.clone(),
            false => name.user.clone(),
        },
        account: name.account.clone(),
        connects: moved.connects,
        ..load(moved)
    };
    for (connection, load) in open.iter().zip(loads) {
        let belongs = load.account == name.account
            && (name.user.is_empty() || connection.identity.lock().user == name.user);
        if belongs {
            sum.pending_bytes += load.pending_bytes;
            sum.subscriptions += load.subscriptions;
            sum.latency = sum.latency.max(load.latency);
        }
    }
    sum
}

fn load(moved: Moved) -> Load {
    Load {
        in_msgs: moved.in_msgs,
        in_bytes: moved.in_bytes,
        out_msgs: moved.out_msgs,
        out_bytes: moved.out_bytes,
        ..Load::default()
    }
}

/// Subjects are sorted by bytes or messages: they have nothing else.
fn subjects(context: &Context, request: &Request, mut hits: Vec<Hit>) -> Vec<SubjectLoad> {
    hits.sort_by(|a, b| {
        let rank = |hit: &Hit| match request.sort.1 {
            Sort::Bytes => Reverse(hit.bytes),
            _ => Reverse(hit.msgs),
        };
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.subject.cmp(&b.subject))
    });
    let series = figures::series();
    let shown = hits.into_iter().take(request.entries);
    shown
        .map(|hit| SubjectLoad {
            subject: String::from_utf8_lossy(&hit.subject).into_owned(),
            account: series
                .get(hit.series as usize)
                .map_or_else(String::new, |series| series.account.clone()),
            msgs: hit.msgs,
            bytes: hit.bytes,
            error: hit.error,
            publisher_cid: hit.publisher,
            publisher: context
                .registry
                .who(hit.publisher)
                .or_else(|| context.telemetry.subjects.publisher(hit.publisher))
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
                "'sort' is one of: msgs, bytes, pending, subs, connects, latency",
            ),
            ("window=2m", "'window' is one of: 1s, 1m, 5m, start"),
        ] {
            assert_eq!(parse(text).err().unwrap().message, message);
        }
        assert!(parse("n=-1").is_err());
    }
}
