//! `/gatewayz`: empty, as there are no gateways.

use monitor_client::Gatewayz;

use super::{super::Monitor, query::Query, refusal::Refusal};

/// The answer. The parameters select among gateways.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Gatewayz, Refusal> {
    query.boolean("accs")?;
    query.listing("subs")?;
    Ok(Gatewayz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        ..Gatewayz::default()
    })
}
