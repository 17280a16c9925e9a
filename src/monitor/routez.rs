//! `/routez`: empty, as there are no routes.

use monitor_client::Routez;

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
};

/// The answer. The parameters select what is shown of a route.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    if !query.bytes("subs").eq_ignore_ascii_case(b"detail") {
        query.boolean("subs")?;
    }
    Answer::pretty_json(&build(monitor))
}

/// What there is at this moment.
pub(super) fn build(monitor: &Monitor) -> Routez {
    Routez {
        server_id: monitor.server.id.clone(),
        server_name: monitor.server.name.clone(),
        now: monitor.now_text(),
        ..Routez::default()
    }
}
