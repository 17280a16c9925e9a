//! `/leafz`: empty, as there are no leafnode connections.

use monitor_client::Leafz;

use super::{super::Monitor, query::Query, refusal::Refusal};

/// The answer. The parameters select among leafnodes.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Leafz, Refusal> {
    query.boolean("subs")?;
    Ok(build(monitor))
}

/// The present values.
pub(in crate::monitor) fn build(monitor: &Monitor) -> Leafz {
    Leafz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        ..Leafz::default()
    }
}
