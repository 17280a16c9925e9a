//! `/eventsz`: numbered events, as a page or as server-sent events. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/eventsz`: one page of events.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Eventsz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Number of the latest event; 0 if there was none.
    pub last_id: u64,
    /// Events between the requested number and the first of this page that are no longer stored.
    pub missed: u64,
    /// Events, the oldest first.
    pub events: Vec<EventInfo>,
}

/// One event. Also the data of a server-sent event, whose id is `id` and whose
/// event name is `type`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EventInfo {
    /// Number, counted from 1 since the broker started.
    pub id: u64,
    /// When it happened, RFC 3339.
    pub time: String,
    /// Kind, dotted and stable: `client.connected`, `client.closed`,
    /// `auth.failed`, `auth.violation`, `slow`, `storm`, `route`, `federation`,
    /// `reload`, `certificate`, `worker.stall`, `server`, `finding`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The connection concerned; 0 for none.
    pub cid: u64,
    /// What it concerns: name, user, address or peer.
    pub subject: String,
    /// A sentence with numbers.
    pub text: String,
}

/// Data of the server-sent event `gap`: events are missing between the previous and the next one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct EventGap {
    /// Events of any kind that are no longer stored.
    pub missed: u64,
    /// `forgotten`: the reader was too slow or disconnected for too long; `restarted`: the broker
    /// was restarted, and numbers begin at 1 again.
    pub reason: String,
}
