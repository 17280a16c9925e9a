//! `/jsz`: reports that there is no JetStream.

use monitor_client::Jsz;

use super::{super::Monitor, query::Query, refusal::Refusal};

const FLAGS: &[&str] = &[
    "accounts",
    "streams",
    "consumers",
    "direct-consumers",
    "config",
    "leader-only",
    "raft",
    "stream-leader-only",
];

/// The error for requests restricted to the leader of the streams.
pub const NOT_LEADER: &str = "filtered response: not leader";

/// The answer. The parameters select what is shown of JetStream.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Jsz, Refusal> {
    for flag in FLAGS {
        query.boolean(flag)?;
    }
    query.integer("offset")?;
    query.integer("limit")?;
    if query.boolean("leader-only")? {
        return Err(Refusal::bad_request(NOT_LEADER.into()));
    }
    Ok(Jsz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        disabled: true,
        ..Jsz::default()
    })
}
