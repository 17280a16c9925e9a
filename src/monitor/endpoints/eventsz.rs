//! `/eventsz`: what happened, a page at a time. Over HTTP it can also be followed
//! as a stream of events (`http::event_stream`).

use monitor_client::{EventInfo, Eventsz};

use super::{super::Monitor, page::Page, query::Query, refusal::Refusal, time_text};
use crate::telemetry::event::{Event, EventKind};

/// Which events are asked for.
pub(in crate::monitor) struct Selected {
    /// The ones after the one with this number; without it the latest.
    pub(in crate::monitor) since: Option<u64>,
    /// Of these kinds; of all if there is none.
    pub(in crate::monitor) kinds: Vec<EventKind>,
}

impl Selected {
    /// The events selected by `since=ID` and `type=a,b`.
    ///
    /// # Errors
    ///
    /// One of them is wrong.
    pub(in crate::monitor) fn parse(query: &Query) -> Result<Self, Refusal> {
        Ok(Self {
            kinds: parse_kinds(&query.text("type"))?,
            since: match query.bytes("since") {
                b"" => None,
                _ => Some(query.unsigned("since")?),
            },
        })
    }
}

/// A page of the events of these kinds behind `since`; `limit` bounds it.
pub(in crate::monitor) fn page(
    monitor: &Monitor,
    query: &Query,
    since: Option<u64>,
    kinds: &[EventKind],
) -> Result<Eventsz, Refusal> {
    let limit = Page::parse(query)?.limit;
    let log = &monitor.server.broker.telemetry.events;
    let selection = log.select(since, limit, kinds);
    Ok(Eventsz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        last_id: selection.last_id,
        missed: selection.missed,
        events: selection.events.iter().map(|event| info(event)).collect(),
    })
}

/// An event as it is shown.
pub(in crate::monitor) fn info(event: &Event) -> EventInfo {
    EventInfo {
        id: event.id,
        time: time_text::rfc3339(event.at.time_of_day()),
        kind: event.kind.name().into(),
        cid: event.cid,
        subject: event.subject.clone(),
        text: event.text.clone(),
    }
}

/// Kinds by their names, separated by commas; empty means all.
fn parse_kinds(names: &str) -> Result<Vec<EventKind>, Refusal> {
    names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .take(EventKind::ALL.len())
        .map(|name| {
            EventKind::parse(name).ok_or_else(|| {
                let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
                Refusal::bad_request(format!(
                    "'type' must be a list of these, separated by commas: {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named() {
        assert_eq!(parse_kinds("").unwrap(), []);
        assert_eq!(
            parse_kinds("auth.failed, storm,").unwrap(),
            [EventKind::AuthenticationFailed, EventKind::Storm]
        );
        let refusal = parse_kinds("storm,nonsense").unwrap_err();
        assert!(refusal.message.contains("client.connected"));
        let many = "storm,".repeat(1000);
        assert_eq!(parse_kinds(&many).unwrap().len(), EventKind::ALL.len());
    }
}
