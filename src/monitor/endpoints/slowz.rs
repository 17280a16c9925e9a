//! `/slowz`: readers that fell behind, now and before.

use std::time::Duration;

use monitor_client::{Incident, PendingSample, Producer, Slowz, StalledPublisher, SubjectBytes};

use super::{super::Monitor, page::Page, query::Query, refusal::Refusal, time_text::rfc3339};
use crate::telemetry::{
    MonotonicMillis,
    slow::{self, State},
};

/// The answer; `limit` and `offset` select a part.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Slowz, Refusal> {
    let page = Page::parse(query)?;
    let now = MonotonicMillis::now();
    let (total, incidents) = monitor.server.broker.telemetry.slow.all();
    Ok(Slowz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        total,
        incidents: page.cut(&incidents).map(|known| info(known, now)).collect(),
    })
}

/// An incident as it is shown.
fn info(incident: &slow::Incident, now: MonotonicMillis) -> Incident {
    let reader = incident.reader.clone();
    let publishers = incident.publishers.iter();
    Incident {
        id: incident.id,
        state: incident.state.name().into(),
        cid: reader.cid,
        kind: reader.kind.name().into(),
        name: reader.name,
        user: reader.user,
        certificate: reader.certificate,
        address: reader.address,
        library: reader.library,
        account: reader.account,
        start: rfc3339(incident.start.time_of_day()),
        end: incident
            .end
            .map_or_else(String::new, |end| rfc3339(end.time_of_day())),
        duration: incident.duration(now).as_secs_f64(),
        cause: incident.cause.name().into(),
        evidence: incident.evidence.clone(),
        pending_bytes: match incident.state {
            State::Recovered => 0,
            _ => incident.pending,
        },
        pending_max: incident.pending_max,
        limit: incident.limit,
        curve: incident
            .curve
            .iter()
            .map(|point| PendingSample {
                after: incident.start.until(point.at).as_secs_f64(),
                pending_bytes: point.pending,
                written_bytes: point.written,
            })
            .collect(),
        subjects: incident
            .subjects
            .iter()
            .map(|share| SubjectBytes {
                subject: share.subject.clone(),
                msgs: share.msgs,
                bytes: share.bytes,
            })
            .collect(),
        publishers: publishers
            .clone()
            .filter(|known| known.bytes > 0)
            .map(|known| Producer {
                cid: known.cid,
                name: known.who.clone(),
                bytes: known.bytes,
            })
            .collect(),
        lost_msgs: incident.lost.msgs,
        lost_bytes: incident.lost.bytes,
        stalled: publishers
            .filter(|known| known.stalled > Duration::ZERO)
            .map(|known| StalledPublisher {
                cid: known.cid,
                name: known.who.clone(),
                count: known.stalls,
                seconds: known.stalled.as_secs_f64(),
            })
            .collect(),
    }
}
