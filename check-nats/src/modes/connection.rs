//! Connections as `/connz` lists them, open and closed, with what modes read of them.

use std::collections::HashSet;

use monitor_client::{Kind, text::cut};
use serde::Deserialize;

use super::{
    Check, Failure, Status,
    need::{Need, for_names, must},
};
use crate::{
    baseline::Span,
    deadline::Step,
    text::{listed_of, plural, quoted, quoted_subject},
};

/// Closed connections, the latest first. A nats-server keeps 10000, a midge fewer.
pub(super) const CLOSED: List = List {
    query: "/connz?state=closed&sort=stop",
    entries_max: 10_000,
};

/// Fewer of them, with the subjects that they had subscribed to.
pub(super) const CLOSED_WITH_SUBJECTS: List = List {
    query: "/connz?state=closed&sort=stop&subs=1",
    entries_max: 256,
};

/// Entries of the first page. A page that is longer than an answer may be is asked again with
/// a part of them: names have up to the length of a control line.
const PAGE_ENTRIES: usize = 1024;
const PAGE_SHRINKS_BY: usize = 8;

/// Requests for one list.
const PAGES_MAX: usize = 64;

/// Bytes of a text of a connection that are kept: less is shown.
const TEXT_BYTES_MAX: usize = 512;

/// Subjects of a connection that are named.
const SUBJECTS_MAX: usize = 3;

/// Closed connections, only to name them.
pub(super) const CLOSED_NEED: Need = for_names(
    "/connz",
    Step::Connz,
    &[
        must("connections", Kind::List),
        must("connections.*.cid", Kind::Count),
    ],
);

/// A list of `/connz` that is read in pages.
pub(super) struct List {
    /// With what it is sorted by.
    pub(super) query: &'static str,
    /// Entries that are read at most.
    pub(super) entries_max: usize,
}

/// What was read of a list.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// In its order.
    pub(super) connections: Vec<Connection>,
    /// Whether more than the most that is read may follow.
    pub(super) is_cut: bool,
    /// Why some are missing; empty if none is.
    pub(super) gap: String,
}

/// A page of `/connz`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    connections: Vec<Connection>,
}

/// A connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub(super) cid: u64,
    pub(super) name: String,
    pub(super) ip: String,
    pub(super) pending_bytes: u64,
    pub(super) stop: Option<String>,
    pub(super) reason: String,
    pub(super) dropped_msgs: u64,
    pub(super) dropped_bytes: u64,
    pub(super) subscriptions: usize,
    pub(super) subscriptions_list: Vec<String>,
}

impl Connection {
    /// Itself without what nobody sees of long texts, since a list of such would fill the memory.
    fn shortened(mut self) -> Self {
        for text in [&mut self.name, &mut self.ip, &mut self.reason] {
            shorten(text);
        }
        self.subscriptions = self.subscriptions.max(self.subscriptions_list.len());
        self.subscriptions_list.truncate(SUBJECTS_MAX);
        self.subscriptions_list.iter_mut().for_each(shorten);
        self
    }

    /// A connection as people know it: its name, else its number, and its address.
    pub(super) fn who(&self) -> String {
        let name = match self.name.as_str() {
            "" => format!("cid {}", self.cid),
            name => quoted(name),
        };
        match self.ip.as_str() {
            "" => name,
            ip => format!("{name} {}", shown_address(ip)),
        }
    }
}

impl List {
    /// Reads the list up to its end, or to the first connection that is not `wanted`. Entries
    /// that move from page to page meanwhile are read once.
    ///
    /// # Errors
    /// As [`Check::ask`], if nothing could be read.
    pub(super) fn read(
        &self,
        check: &mut Check,
        wanted: impl Fn(&Connection) -> bool,
    ) -> Result<Read, Failure> {
        let mut read = Read::default();
        let mut known = HashSet::new();
        let (mut offset, mut entries) = (0, PAGE_ENTRIES.min(self.entries_max));
        for _ in 0..PAGES_MAX {
            let path = format!("{}&limit={entries}&offset={offset}", self.query);
            let page = match check.ask_page::<Page>(&path) {
                Ok(Some(page)) => page.connections,
                Ok(None) if entries > 1 => {
                    entries = (entries / PAGE_SHRINKS_BY).max(1);
                    continue;
                }
                Ok(None) => {
                    read.gap = format!(
                        "{}: an entry is longer than an answer may be",
                        check.place("/connz")
                    );
                    offset += 1;
                    continue;
                }
                Err(failure) if offset == 0 => return Err(failure),
                Err(failure) => {
                    read.gap = failure.text;
                    return Ok(read);
                }
            };
            let is_last = page.len() < entries;
            offset += page.len();
            let before = known.len();
            for connection in page {
                if !wanted(&connection) {
                    return Ok(read);
                }
                if known.insert(connection.cid) {
                    read.connections.push(connection.shortened());
                }
            }
            // A broker that does not know offsets says the same again.
            if is_last || known.len() == before {
                return Ok(read);
            }
            if offset >= self.entries_max {
                read.is_cut = true;
                return Ok(read);
            }
        }
        read.gap = format!(
            "{}: entries too long for {PAGES_MAX} requests",
            check.place("/connz")
        );
        Ok(read)
    }

    /// Those that were closed in the span; the list is that of closed ones, the latest first.
    ///
    /// # Errors
    /// As [`List::read`].
    pub(super) fn closed_in(&self, check: &mut Check, span: &Span) -> Result<Read, Failure> {
        let is_closed_since = |connection: &Connection| {
            let stop = connection.stop.as_deref();
            stop.is_none_or(|stop| !span.is_after(stop))
        };
        let mut read = self.read(check, is_closed_since)?;
        read.connections.retain(|connection| {
            let stop = connection.stop.as_deref();
            stop.is_some_and(|stop| span.includes(stop))
        });
        Ok(read)
    }
}

impl Read {
    /// States what was not read: the verdict is one about the rest.
    pub(super) fn say_gap(&self, check: &mut Check) {
        if !self.gap.is_empty() {
            let text = format!(
                "only {} could be read: {}",
                plural(self.connections.len(), "connection"),
                self.gap
            );
            check.report.say(Status::Unknown, &text);
        }
    }
}

/// The first ones of so many subjects: `"a", "b" and 5 more`.
pub(super) fn subjects<'a>(subjects: impl IntoIterator<Item = &'a str>, all: usize) -> String {
    let first = subjects.into_iter().take(SUBJECTS_MAX).map(quoted_subject);
    listed_of(&first.collect::<Vec<_>>(), all)
}

fn shorten(text: &mut String) {
    text.truncate(cut(text, TEXT_BYTES_MAX).len());
    text.shrink_to_fit();
}

/// An address without the quotes that a name has: it has no blanks.
fn shown_address(address: &str) -> String {
    quoted(address).trim_matches('"').replace(' ', "?")
}
