//! The state of the screen and its changes by keys and answers. It knows neither the terminal nor
//! the network; [`view::draw`](crate::view::draw) draws it.

mod keys;

use std::{collections::HashMap, time::Instant};

use monitor_client::Error;

use crate::{
    feed::{Answers, Wanted, WantedConnections},
    history::History,
    options::Options,
    sort::{Row, Sort},
    view::{View, theme::Theme},
};

/// Windows of `/topz`.
pub(crate) const WINDOWS: [&str; 4] = ["1s", "1m", "5m", "start"];

/// Orders of `/topz`.
pub(crate) const LOAD_SORTS: [&str; 6] =
    ["msgs", "bytes", "pending", "subs", "connects", "latency"];

/// Lists of `/topz`.
pub(crate) const LOAD_LISTS: [&str; 5] = [
    "subjects",
    "connections",
    "users",
    "accounts",
    "no subscriber",
];

/// A line of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A filter text.
    Filter,
    /// The number of connections to request.
    Limit,
    /// The name of a sort order.
    Sort,
}

/// The state of the screen.
pub(crate) struct App {
    pub(crate) place: String,
    pub(crate) theme: Theme,
    pub(crate) view: View,
    pub(crate) help: bool,
    pub(crate) input: Option<(Input, String)>,
    /// The error of the last key.
    pub(crate) key_error: String,
    /// The latest answers, however old.
    pub(crate) answers: Option<Answers>,
    /// Why there is no current answer, and since when.
    pub(crate) failure: Option<(String, Instant)>,
    pub(crate) history: History,
    /// The connections in the present order.
    pub(crate) rows: Vec<Row>,
    pub(crate) route_rates: HashMap<u64, (f64, f64)>,
    pub(crate) state: &'static str,
    pub(crate) sort: &'static Sort,
    pub(crate) reversed: bool,
    pub(crate) filter: String,
    pub(crate) limit: usize,
    pub(crate) raw: bool,
    pub(crate) totals: bool,
    pub(crate) subjects: bool,
    pub(crate) lookup: bool,
    /// Names of addresses, as far as they are known.
    pub(crate) names: HashMap<String, String>,
    pub(crate) paused: bool,
    /// The connection that is shown in detail.
    pub(crate) detail: Option<u64>,
    pub(crate) load_list: usize,
    pub(crate) load_sort: usize,
    pub(crate) load_window: usize,
    cursors: [usize; View::ALL.len()],
    /// Rounds of requests so far.
    pub(crate) rounds: u64,
    pub(crate) quit: bool,
}

impl App {
    /// An initial state without any answers.
    pub(crate) fn new(options: &Options, theme: Theme) -> Self {
        Self {
            place: options.place.clone(),
            theme,
            view: options.view,
            help: false,
            input: None,
            key_error: String::new(),
            answers: None,
            failure: None,
            history: History::default(),
            rows: Vec::new(),
            route_rates: HashMap::new(),
            state: options.state,
            sort: options.sort,
            reversed: false,
            filter: options.filter.clone(),
            limit: options.limit,
            raw: options.raw,
            totals: false,
            subjects: options.subjects,
            lookup: options.lookup,
            names: HashMap::new(),
            paused: false,
            detail: None,
            load_list: 0,
            load_sort: 0,
            load_window: 1,
            cursors: [0; View::ALL.len()],
            rounds: 0,
            quit: false,
        }
    }

    /// The endpoints that the current view needs.
    pub(crate) fn wanted(&self) -> Wanted {
        // A nats-server has no findings: its overview shows connections instead.
        let connections = matches!(self.view, View::Connections | View::Overview);
        Wanted {
            connections: connections.then(|| WantedConnections {
                state: self.state,
                sort: self.sort,
                limit: match self.view {
                    View::Connections => self.limit,
                    _ => self.limit.min(30),
                },
                all: !self.filter.is_empty(),
                subjects: self.subjects,
                cid: self.detail,
            }),
            incidents: self.view == View::Incidents,
            load: (self.view == View::Load).then(|| {
                let (sort, window) = (LOAD_SORTS[self.load_sort], WINDOWS[self.load_window]);
                format!("sort={sort}&window={window}&n=100")
            }),
            routes: self.view == View::Routes,
        }
    }

    /// Everything, for the report.
    pub(crate) fn wanted_all(&self) -> Wanted {
        Wanted {
            connections: Some(WantedConnections {
                state: self.state,
                sort: self.sort,
                limit: self.limit,
                all: !self.filter.is_empty(),
                subjects: self.subjects,
                cid: None,
            }),
            incidents: true,
            load: Some("sort=msgs&window=1m&n=10".into()),
            routes: true,
        }
    }

    /// Handles the result of a round of requests.
    pub(crate) fn handle_answers(&mut self, result: Result<Answers, Error>) {
        self.rounds += 1;
        match result {
            // While paused, rates are still computed; only the display stops.
            Ok(answers) => {
                self.failure = None;
                self.history.add(&answers);
                if !self.paused {
                    self.show(answers);
                }
            }
            Err(error) => {
                let since = self
                    .failure
                    .take()
                    .map_or_else(Instant::now, |(_, since)| since);
                self.failure = Some((explain(&error), since));
            }
        }
    }

    fn show(&mut self, answers: Answers) {
        if let Some(connz) = &answers.connz {
            self.rows = self.history.rows(connz);
            if !self.filter.is_empty() {
                let needle = self.filter.to_lowercase();
                self.rows.retain(|row| row.matches(&needle));
            }
            self.sort.apply(&mut self.rows, self.reversed);
        }
        if let Some(routez) = &answers.routez {
            self.route_rates = self.history.route_rates(routez);
        }
        // Answers for other views are kept until they are requested again.
        let before = self
            .answers
            .take()
            .filter(|before| before.varz.server_id == answers.varz.server_id);
        let mut answers = answers;
        if let Some(before) = before {
            answers.slowz = answers.slowz.or(before.slowz);
            answers.topz = answers.topz.or(before.topz);
            answers.routez = answers.routez.or(before.routez);
            answers.connz = answers.connz.or(before.connz);
        }
        self.answers = Some(answers);
    }

    fn move_cursor(&mut self, by: isize) {
        let cursor = &mut self.cursors[self.view as usize];
        *cursor = match by {
            isize::MIN => 0,
            isize::MAX => usize::MAX / 2,
            by => cursor.saturating_add_signed(by),
        };
    }

    /// The cursor of the current view in a list of `length` entries.
    pub(crate) fn cursor(&self, length: usize) -> usize {
        self.cursors[self.view as usize].min(length.saturating_sub(1))
    }

    /// Limits the stored cursor to the list, so that the next key has an immediate effect.
    pub(crate) fn clamp_cursor(&mut self, length: usize) {
        self.cursors[self.view as usize] = self.cursor(length);
    }
}

/// The error with a hint.
fn explain(error: &Error) -> String {
    let hint = match error {
        Error::Status { code: 401, .. } => " (--token-file FILE, or --user NAME)",
        _ => "",
    };
    // It may contain text from the peer.
    crate::clean::text(&format!("{error}{hint}"))
}
