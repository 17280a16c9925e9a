//! Connections as `/connz` lists them, open and closed, with what modes read of them.

use monitor_client::Kind;
use serde::Deserialize;

use super::{
    Check, Failure,
    need::{Need, for_names, must},
};
use crate::{
    baseline::Span,
    deadline::Step,
    text::{listed, quoted, quoted_subject},
};

/// The latest closed connections.
pub(super) const CLOSED: &str = "/connz?state=closed&sort=stop&limit=1024";

/// How many these are at most.
pub(super) const CLOSED_MAX: usize = 1024;

/// Fewer of them, with the subjects that they had subscribed to.
pub(super) const CLOSED_WITH_SUBJECTS: &str = "/connz?state=closed&sort=stop&subs=1&limit=256";

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

/// A page of `/connz`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    pub(super) connections: Vec<Connection>,
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
    pub(super) subscriptions_list: Vec<String>,
}

impl Connection {
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

/// The connections of a page of closed ones that were closed in the span, the latest first.
///
/// # Errors
/// As [`Check::ask`].
pub(super) fn closed_in(
    check: &mut Check,
    page: &str,
    span: &Span,
) -> Result<Vec<Connection>, Failure> {
    let mut closed = check.ask::<Page>(page)?.connections;
    closed.retain(|connection| {
        let stop = connection.stop.as_deref();
        stop.is_some_and(|stop| span.includes(stop))
    });
    Ok(closed)
}

/// The first subjects: `"a", "b" and 5 more`.
pub(super) fn subjects<'a>(subjects: impl IntoIterator<Item = &'a str>) -> String {
    let subjects: Vec<String> = subjects.into_iter().map(quoted_subject).collect();
    listed(&subjects, SUBJECTS_MAX)
}

/// An address without the quotes that a name has: it has no blanks.
fn shown_address(address: &str) -> String {
    quoted(address).trim_matches('"').replace(' ', "?")
}
