//! What a run knows of the runs before it, and what happened since.
//!
//! A [`Look`] is one sample of a broker's totals. A [`State`] is what is kept between runs:
//! the last look at each broker, and the alerts that are held. A [`Span`] is the time
//! between two looks, or since the broker's start if that was in between: then the new totals
//! are themselves the difference. [`super::state_file`] stores the state; the modes use both
//! through `modes::since`.
//!
//! No result depends on a clock that can be set. The run of a broker is known by its id, its
//! age by its uptime, and the time since a look by the time since this host was started
//! ([`moment`]).

mod moment;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, time::Duration};

use monitor_client::{Varz, text::cut};
use serde::{Deserialize, Serialize};

pub use self::moment::Moment;

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

/// A wall clock that is behind the uptime by more than this many seconds was set back. Uptimes
/// have whole seconds then.
const CLOCK_WAS_SET: f64 = 2.0;

/// The totals of a broker at one moment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Look {
    /// Names the run of the broker: it is new at each start.
    pub server_id: String,
    /// The configured name, which the broker keeps over a restart; empty without one.
    #[serde(default)]
    pub name: String,
    /// When it was, by the clocks of this host.
    #[serde(default)]
    pub at: Moment,
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
            // A name that was not configured is the id, or absent.
            name: match varz.server_name == varz.server_id {
                true => String::new(),
                false => text(&varz.server_name),
            },
            at: Moment::now(),
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

    /// Whether something at this time of the broker's clock was in the span. What is later than
    /// the sample belongs to the next span. If the clock was set back in between, it has shown
    /// times before the earlier look again.
    pub fn includes(&self, time: &str) -> bool {
        let since = seconds_between(&self.then.now, time);
        let until = seconds_between(time, &self.now.now);
        let (Some(since), Some(until)) = (since, until) else {
            return false;
        };
        let was_set_back = self.seconds - (since + until) > CLOCK_WAS_SET;
        until >= 0.0 && (since >= 0.0 || (was_set_back && until <= self.seconds + CLOCK_WAS_SET))
    }

    /// Whether the span is after this time of the broker's clock, for the end of a list in the
    /// order of times.
    pub fn is_after(&self, time: &str) -> bool {
        let seconds = seconds_between(time, &self.now.now);
        seconds.is_some_and(|seconds| seconds >= 0.0) && !self.includes(time)
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
        if self.looks.is_empty() {
            return Err("first run".to_owned());
        }
        if self.predecessor(now).is_none() {
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

    /// The last look at the broker in whose place the one of `now`, whose id is not known, was
    /// started since: the one of the same name, else any broker. `None` if it ran before that:
    /// several brokers take turns behind one address.
    fn predecessor(&self, now: &Look) -> Option<&Look> {
        let same_name = |look: &&Look| !now.name.is_empty() && look.name == now.name;
        let named = self.looks.iter().rfind(same_name);
        // Without a name it may follow any of those without one, and most likely the one that
        // has not been seen for longest.
        let nameless = |look: &&Look| now.name.is_empty() && look.name.is_empty();
        let before = named
            .or_else(|| self.looks.iter().find(nameless))
            .or(self.looks.last())?;
        let started_since = match before.at.until(&now.at) {
            Some(passed) => now.uptime <= passed,
            // This host was restarted, and its clock set.
            None => named.is_some() || self.looks.len() == 1,
        };
        started_since.then_some(before)
    }

    /// Keeps a look for the next run.
    pub fn remember(&mut self, look: Look) {
        let same = self
            .looks
            .iter()
            .find(|known| known.server_id == look.server_id);
        if let Some(before) = same.or_else(|| self.predecessor(&look)) {
            let gone = before.server_id.clone();
            self.looks.retain(|known| known.server_id != gone);
        }
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
