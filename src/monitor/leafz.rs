//! `/leafz`: empty, as there are no leafnode connections.

use monitor_client::Leafz;

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
};

/// The answer. The parameters select among leafnodes.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    query.boolean("subs")?;
    Answer::pretty_json(&build(monitor))
}

/// What there is at this moment.
pub(super) fn build(monitor: &Monitor) -> Leafz {
    Leafz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        ..Leafz::default()
    }
}
