//! `/eventsz`: what happened, numbered; as a page or as server-sent events.
//! Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/eventsz`: one page of events.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Eventsz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Number of the last event so far; 0 before the first.
    pub last_id: u64,
    /// Events between the asked-for number and the first of this page that are
    /// no longer remembered.
    pub missed: u64,
    /// Events, the oldest first.
    pub events: Vec<EventInfo>,
}

/// One event. Also the data of a server-sent event, whose id is `id` and whose
/// event name is `type`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EventInfo {
    /// Number, counted from 1 in this run of the broker.
    pub id: u64,
    /// When, RFC 3339.
    pub time: String,
    /// Kind, dotted and stable: `client.connected`, `client.closed`,
    /// `auth.failed`, `auth.violation`, `slow`, `storm`, `route`, `reload`,
    /// `certificate`, `worker.stall`, `server`, `finding`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The connection concerned; 0 for none.
    pub cid: u64,
    /// Who it is about: name, user, address or peer.
    pub subject: String,
    /// A plain sentence with numbers.
    pub text: String,
}

/// Data of the server-sent event `gap`: what comes next does not follow on what
/// came before.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct EventGap {
    /// Events of any kind that are no longer remembered.
    pub missed: u64,
    /// `forgotten`: the reader was too slow or away for too long; `restarted`:
    /// the broker was, and its numbers begin anew.
    pub reason: String,
}
