//! `/gatewayz`: empty, as there are no gateways.

use monitor_client::Gatewayz;

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
};

/// The answer. The parameters select among gateways.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    query.boolean("accs")?;
    query.listing("subs")?;
    Answer::pretty_json(&Gatewayz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        ..Gatewayz::default()
    })
}
