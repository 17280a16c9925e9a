//! Requests data from the broker on a thread of its own and passes on the answers.
//!
//! A round requests what every view needs, plus what the current one needs. An endpoint that the
//! broker does not have is requested only once: a nats-server has none of midge's own endpoints,
//! and an older one lacks some others.

use std::{
    collections::HashSet,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use monitor_client::{
    Client, ConnInfo, Connz, Error, Eventsz, Explainz, Field, Kind, Latencyz, Memz, Routez, Slowz,
    Topz, Varz,
};
use serde_json::Value;

use crate::{clean, sort::Sort};

/// Connections that a filter is applied to; no more are requested.
pub(crate) const FILTERED_MAX: usize = 16 * 1024;

/// Entries per request, few enough that an answer never exceeds the size limit.
const PAGE: usize = 1024;

/// Events per request.
const EVENTS: usize = 500;

/// Required fields of `/varz`: without them the view would show meaningless zeros.
const NEEDED: &[Field<'_>] = &[
    Field {
        name: "server_id",
        kind: Kind::Text,
    },
    Field {
        name: "connections",
        kind: Kind::Count,
    },
];

/// The data that the views need.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Connections, if they are shown.
    pub(crate) connections: Option<WantedConnections>,
    /// Whether incidents are shown.
    pub(crate) incidents: bool,
    /// Parameters of `/topz`, if it is shown.
    pub(crate) load: Option<String>,
    /// Whether routes are shown.
    pub(crate) routes: bool,
}

/// Which connections are needed.
#[derive(Clone, Debug)]
pub(crate) struct WantedConnections {
    /// `open`, `closed` or `any`.
    pub(crate) state: &'static str,
    /// The sort order.
    pub(crate) sort: &'static Sort,
    /// Their number.
    pub(crate) limit: usize,
    /// Whether all are needed, because a filter is applied.
    pub(crate) all: bool,
    /// Whether the list shows their subjects.
    pub(crate) subjects: bool,
    /// The one that is shown in detail.
    pub(crate) cid: Option<u64>,
}

/// The answers of one round; absent ones were not available or not needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) varz: Varz,
    pub(crate) explainz: Option<Explainz>,
    pub(crate) latencyz: Option<Latencyz>,
    pub(crate) memz: Option<Memz>,
    pub(crate) events: Option<Eventsz>,
    pub(crate) connz: Option<Connz>,
    /// The one that is shown in detail.
    pub(crate) connection: Option<ConnInfo>,
    pub(crate) slowz: Option<Slowz>,
    pub(crate) topz: Option<Topz>,
    pub(crate) routez: Option<Routez>,
}

/// A broker that is polled.
pub(crate) struct Feed {
    client: Client,
    /// Id of the broker in the previous round.
    server_id: String,
    missing: HashSet<&'static str>,
    last_event: u64,
}

impl Feed {
    /// A feed that has requested nothing yet.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            server_id: String::new(),
            missing: HashSet::new(),
            last_event: 0,
        }
    }

    /// Runs a round every `delay` and whenever `news` brings other needs, until the sender is
    /// dropped. If the broker answers slowly, rounds are less frequent, so that they take at most a
    /// third of the time.
    pub(crate) fn run(
        mut self,
        mut wanted: Wanted,
        news: &Receiver<Wanted>,
        delay: Duration,
        mut deliver: impl FnMut(Result<Answers, Error>) -> bool,
    ) {
        loop {
            let began = Instant::now();
            if !deliver(self.round(&wanted)) {
                return;
            }
            let pause = delay
                .saturating_sub(began.elapsed())
                .max(began.elapsed() * 2);
            match news.recv_timeout(pause) {
                Ok(newer) => wanted = news.try_iter().last().unwrap_or(newer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Runs one round.
    ///
    ///  # Errors
    ///
    /// The broker does not answer `/varz`, or an answer is not valid.
    pub(crate) fn round(&mut self, wanted: &Wanted) -> Result<Answers, Error> {
        let varz: Varz = self.get_with("/varz", NEEDED)?;
        if varz.server_id != self.server_id {
            self.server_id.clone_from(&varz.server_id);
            self.missing.clear();
            self.last_event = 0;
        }
        let mut answers = Answers::default();
        if varz.midge.is_some() {
            answers.explainz = self.optional("/explainz", "")?;
            answers.latencyz = self.optional("/latencyz", "")?;
            answers.memz = self.optional("/memz", "")?;
            answers.events = self.events()?;
            if wanted.incidents {
                answers.slowz = self.optional("/slowz", "")?;
            }
            if let Some(query) = &wanted.load {
                answers.topz = self.optional("/topz", query)?;
            }
        }
        if wanted.routes {
            answers.routez = self.optional("/routez", "")?;
        }
        if let Some(wanted) = &wanted.connections {
            answers.connz = Some(self.connections(wanted)?);
            answers.connection = self.connection(wanted)?;
        }
        answers.varz = varz;
        Ok(answers)
    }

    fn events(&mut self) -> Result<Option<Eventsz>, Error> {
        // Without a number it returns the latest events, with one the events after it.
        let query = match self.last_event {
            0 => format!("limit={EVENTS}"),
            since => format!("since={since}&limit={EVENTS}"),
        };
        let answer: Option<Eventsz> = self.optional("/eventsz", &query)?;
        if let Some(last) = answer.as_ref().and_then(|answer| answer.events.last()) {
            self.last_event = last.id;
        }
        Ok(answer)
    }

    fn connections(&mut self, wanted: &WantedConnections) -> Result<Connz, Error> {
        let limit = if wanted.all {
            FILTERED_MAX
        } else {
            wanted.limit
        };
        let mut all = Connz::default();
        // A connection that moves to the next page between two requests would appear twice.
        let mut seen = HashSet::new();
        loop {
            let page = (limit - all.connections.len()).min(PAGE);
            let offset = seen.len();
            let mut query = format!(
                "/connz?auth=1&state={}&sort={}&limit={page}&offset={offset}",
                wanted.state, wanted.sort.request
            );
            if wanted.subjects {
                query.push_str("&subs=1");
            }
            let mut answer: Connz = self.get(&query)?;
            let found = answer.connections.len();
            answer.connections.retain(|info| seen.insert(info.cid));
            let grown = !answer.connections.is_empty();
            all.connections.append(&mut answer.connections);
            let full = all.connections.len() >= limit || found < page || !grown;
            if full {
                let connections = all.connections;
                return Ok(Connz {
                    connections,
                    ..answer
                });
            }
        }
    }

    fn connection(&mut self, wanted: &WantedConnections) -> Result<Option<ConnInfo>, Error> {
        let Some(cid) = wanted.cid else {
            return Ok(None);
        };
        let query = format!("/connz?cid={cid}&auth=1&subs=1&state=any");
        let answer: Connz = self.get(&query)?;
        Ok(answer.connections.into_iter().find(|info| info.cid == cid))
    }

    /// The answer of an endpoint that some brokers do not have.
    fn optional<T: serde::de::DeserializeOwned>(
        &mut self,
        path: &'static str,
        query: &str,
    ) -> Result<Option<T>, Error> {
        if self.missing.contains(path) {
            return Ok(None);
        }
        let target = match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        match self.get(&target) {
            Err(error) if error.is_missing() => {
                self.missing.insert(path);
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.get_with(path, &[])
    }

    fn get_with<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        needed: &[Field<'_>],
    ) -> Result<T, Error> {
        let (value, found): (Value, _) = self.client.get_with(path, needed)?;
        self.client.require(path, needed, &found)?;
        serde_json::from_value(clean::answer(value)).map_err(|error| Error::NotJson {
            url: self.client.target(path),
            detail: error.to_string(),
        })
    }
}
