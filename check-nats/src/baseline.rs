//! What a run knows of the runs before it, and what happened since.
//!
//! A [`Look`] is one sample of a broker's totals. A [`State`] is what is kept between runs:
//! the last look at each broker, and the alerts that are held. A [`Span`] is the time
//! between two looks, or since the broker's start if that was in between: then the new totals
//! are themselves the difference. [`super::state_file`] stores the state; the modes use both
//! through `modes::since`.

use std::{collections::BTreeMap, fmt, time::Duration};

use monitor_client::{Varz, text::cut};
use serde::{Deserialize, Serialize};

use super::{
    modes::{seconds_between, uptime_of},
    report::Statement,
    status::{Failure, Status},
    text::{duration, quoted, shortened},
};

/// Brokers of which the last look is kept: more than one answer only where a balancer or a
/// name with several addresses stands in between.
const LOOKS_MAX: usize = 8;

/// Alerts that are held at a time.
const HELD_MAX: usize = 16;

/// Characters of a held alert.
const HELD_CHARS_MAX: usize = 400;

/// Bytes of a text of a broker that are kept: an id has 56, a time 30.
const TEXT_BYTES_MAX: usize = 128;

/// The totals of a broker at one moment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Look {
    /// Names the run of the broker: it is new at each start.
    pub server_id: String,
    /// Start of the broker, RFC 3339, by its wall clock at the sample.
    pub start: String,
    /// Time of the sample on the broker's wall clock, RFC 3339.
    pub now: String,
    /// Seconds since the start, whatever the wall clock says.
    pub uptime: f64,
    /// Totals since the start by their names.
    pub totals: BTreeMap<String, u64>,
}

/// What is kept between runs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct State {
    /// The last look at each broker, the latest at the end.
    looks: Vec<Look>,
    /// Alerts that are said again.
    held: Vec<Held>,
}

/// An alert that is said again.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Held {
    /// When it was said first, in seconds since 1970 by the clock of this machine.
    at: u64,
    /// [`Status::word`].
    status: String,
    text: String,
}

/// The time between two looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The earlier look; of a broker that was started since, an empty one.
    then: Look,
    now: Look,
    /// Whether the broker was started since the last look.
    pub restarted: bool,
    /// Its length in seconds by the broker's uptime; 0 for two looks at the same moment.
    pub seconds: f64,
}

impl Look {
    /// A look with these totals.
    ///
    /// # Errors
    /// The broker's times make no uptime: unknown.
    pub fn of<'a>(
        varz: &Varz,
        totals: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Result<Self, Failure> {
        let text = |text: &str| cut(text, TEXT_BYTES_MAX).to_owned();
        let totals = totals.into_iter();
        Ok(Self {
            server_id: text(&varz.server_id),
            start: text(&varz.start),
            now: text(&varz.now),
            uptime: uptime_of(varz)?,
            totals: totals
                .map(|(name, total)| (name.to_owned(), total))
                .collect(),
        })
    }

    fn total(&self, name: &str) -> u64 {
        self.totals.get(name).copied().unwrap_or(0)
    }
}

impl Span {
    /// By how much a total has grown.
    pub fn new_of(&self, name: &str) -> u64 {
        // A total that runs backwards was forged, or overflowed.
        self.now.total(name).saturating_sub(self.then.total(name))
    }

    /// Whether something at this time of the broker's clock was in the span.
    pub fn includes(&self, time: &str) -> bool {
        seconds_between(&self.then.now, time).is_some_and(|seconds| seconds >= 0.0)
    }
}

impl fmt::Display for Span {
    /// `in 61 s` or `since its restart 61 s ago`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = duration(self.seconds);
        match self.restarted {
            true => write!(f, "since its restart {time} ago"),
            false => write!(f, "in {time}"),
        }
    }
}

impl State {
    /// The span from the last look at the broker of `now`.
    ///
    /// # Errors
    /// Why there is nothing to compare with, for the words `no baseline yet`.
    pub fn span(&self, now: &Look) -> Result<Span, String> {
        let known = |look: &&Look| look.server_id == now.server_id;
        if let Some(then) = self.looks.iter().find(known) {
            return Ok(Span {
                seconds: (now.uptime - then.uptime).max(0.0),
                then: then.clone(),
                now: now.clone(),
                restarted: false,
            });
        }
        let Some(last) = self.looks.last() else {
            return Err("first run".to_owned());
        };
        // An older broker than the last look is no new one: another one answers here.
        let started_since = seconds_between(&last.now, &now.start).is_some_and(|gap| gap >= 0.0);
        if !started_since {
            return Err(format!(
                "another broker answers here, started {}",
                quoted(&now.start)
            ));
        }
        let then = Look {
            server_id: now.server_id.clone(),
            start: now.start.clone(),
            now: now.start.clone(),
            ..Look::default()
        };
        Ok(Span {
            seconds: now.uptime,
            then,
            now: now.clone(),
            restarted: true,
        })
    }

    /// Keeps a look for the next run.
    pub fn remember(&mut self, look: Look) {
        self.looks.retain(|known| known.server_id != look.server_id);
        self.looks.push(look);
        let surplus = self.looks.len().saturating_sub(LOOKS_MAX);
        self.looks.drain(..surplus);
    }

    /// The alerts of earlier runs that are still held at `now`, with the time since each.
    pub fn held(&mut self, now: u64, hold: Duration) -> Vec<(Status, String)> {
        for held in &mut self.held {
            // A clock that was set back must not hold an alert for longer.
            held.at = held.at.min(now);
        }
        self.held
            .retain(|held| Duration::from_secs(now - held.at) < hold);
        let said = self.held.iter().filter_map(|held| {
            let ago = match now - held.at {
                0 => "a moment".to_owned(),
                seconds => duration(seconds as f64),
            };
            Some((
                Status::parse(&held.status)?,
                format!("{}, {ago} ago", held.text),
            ))
        });
        said.collect()
    }

    /// Holds the alerts among these statements.
    pub fn hold<'a>(&mut self, now: u64, statements: impl IntoIterator<Item = &'a Statement>) {
        for statement in statements {
            if statement.status < Status::Warning {
                continue;
            }
            self.held.push(Held {
                at: now,
                status: statement.status.word().to_owned(),
                text: shortened(&statement.text, HELD_CHARS_MAX, usize::MAX),
            });
        }
        let surplus = self.held.len().saturating_sub(HELD_MAX);
        self.held.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(server_id: &str, start: &str, now: &str, uptime: f64, total: u64) -> Look {
        Look {
            server_id: server_id.into(),
            start: format!("2026-01-01T{start}Z"),
            now: format!("2026-01-01T{now}Z"),
            uptime,
            totals: BTreeMap::from([("x".to_owned(), total)]),
        }
    }

    fn state(looks: &[Look]) -> State {
        let mut state = State::default();
        for look in looks {
            state.remember(look.clone());
        }
        state
    }

    #[test]
    fn a_clock_that_was_set_does_not_matter() {
        let then = look("N1", "10:00:00", "10:05:00", 300.0, 5);
        for (start, now) in [
            ("10:00:00", "10:06:00"),
            ("09:00:00", "09:06:00"),
            ("11:00:00", "11:06:00"),
        ] {
            let now = look("N1", start, now, 360.0, 7);
            let span = state(std::slice::from_ref(&then)).span(&now).unwrap();
            assert_eq!((span.seconds, span.new_of("x")), (60.0, 2));
            assert_eq!(span.to_string(), "in 60 s");
        }
    }

    #[test]
    fn after_a_restart_the_total_is_the_difference() {
        let then = look("N1", "10:00:00", "10:05:00", 300.0, 50);
        let now = look("N2", "10:05:30", "10:06:00", 30.0, 7);
        let span = state(&[then]).span(&now).unwrap();
        assert!(span.restarted);
        assert_eq!((span.seconds, span.new_of("x")), (30.0, 7));
        assert_eq!(span.to_string(), "since its restart 30 s ago");
        assert!(span.includes("2026-01-01T10:05:40Z"));
        assert!(!span.includes("2026-01-01T10:05:20Z"));
    }

    /// Brokers that take turns behind one address are compared each with itself.
    #[test]
    fn another_broker_is_no_restart() {
        let first = look("N1", "10:00:00", "10:05:00", 300.0, 50);
        let second = look("N2", "09:00:00", "10:06:00", 3960.0, 1000);
        let mut state = state(&[first]);
        let why = state.span(&second).unwrap_err();
        assert!(why.starts_with("another broker answers here"), "{why}");
        state.remember(second);
        let later = |id, uptime, total| look(id, "10:00:00", "10:07:00", uptime, total);
        assert_eq!(state.span(&later("N1", 420.0, 51)).unwrap().new_of("x"), 1);
        assert_eq!(
            state.span(&later("N2", 4020.0, 1002)).unwrap().new_of("x"),
            2
        );
    }

    #[test]
    fn the_state_is_bounded() {
        let mut state = State::default();
        let statement = Statement {
            status: Status::Warning,
            text: "x".repeat(10_000),
            lines: Vec::new(),
            remedy: String::new(),
        };
        for number in 0..100 {
            state.remember(look(&number.to_string(), "10:00:00", "10:00:01", 1.0, 0));
            state.hold(1, [&statement]);
        }
        assert_eq!((state.looks.len(), state.held.len()), (LOOKS_MAX, HELD_MAX));
        assert_eq!(state.looks.last().unwrap().server_id, "99");
        let written = serde_json::to_vec(&state).unwrap();
        assert!(written.len() < 32 * 1024, "{}", written.len());
    }

    #[test]
    fn what_was_forged_is_no_event() {
        let then = look("N1", "10:00:00", "10:05:00", 300.0, 50);
        let now = look("N1", "10:00:00", "10:04:00", 240.0, 7);
        let span = state(&[then]).span(&now).unwrap();
        assert_eq!(
            (span.seconds, span.new_of("x"), span.new_of("y")),
            (0.0, 0, 0)
        );
    }

    #[test]
    fn alerts_are_held_for_their_time() {
        let alert = |status, text: &str| Statement {
            status,
            text: text.into(),
            lines: Vec::new(),
            remedy: String::new(),
        };
        let statements = [
            alert(Status::Critical, "worst"),
            alert(Status::Unknown, "not known"),
            alert(Status::Ok, "fine"),
        ];
        let mut state = State::default();
        state.hold(1000, &statements);
        let hold = Duration::from_secs(60);
        let held = vec![(Status::Critical, "worst, 59 s ago".to_owned())];
        assert_eq!(state.clone().held(1059, hold), held);
        assert_eq!(state.clone().held(1060, hold), []);
        // The clock was set back: the time begins anew.
        assert_eq!(state.held(10, hold).len(), 1);
        assert_eq!(state.held(69, hold).len(), 1);
        assert_eq!(state.held(70, hold), []);
    }
}
