//! `/eventsz`: what happened, as a page or, asked with
//! `Accept: text/event-stream`, as server-sent events.

use monitor_client::{EventInfo, Eventsz};

use super::{
    Monitor,
    answer::{Answer, Refusal},
    event_stream::EventStream,
    page::Page,
    query::Query,
    time_text,
};
use crate::telemetry::event::{Event, EventKind};

/// The answer. `since=ID` begins behind that event (without it, a page shows
/// the latest and a stream what is to come), `type=a,b` chooses kinds, `limit`
/// bounds a page. `Last-Event-ID` is a `since` that a browser sends by itself.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    let limit = Page::parse(query)?.limit;
    let kinds = parse_kinds(&query.text("type"))?;
    let since = match query.bytes("since") {
        b"" => query.last_event_id,
        _ => Some(query.unsigned("since")?),
    };
    if query.accepts("text/event-stream") {
        let stream = EventStream::open(monitor, query.last_event_id.or(since), kinds)?;
        return Ok(Answer::events(stream));
    }
    let log = &monitor.server.broker.telemetry.events;
    let selection = log.select(since, limit, &kinds);
    Answer::pretty_json(&Eventsz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        last_id: selection.last_id,
        missed: selection.missed,
        events: selection.events.iter().map(|event| info(event)).collect(),
    })
}

/// An event as it is shown.
pub(super) fn info(event: &Event) -> EventInfo {
    EventInfo {
        id: event.id,
        time: time_text::rfc3339(event.at.time_of_day()),
        kind: event.kind.name().into(),
        cid: event.cid,
        subject: event.subject.clone(),
        text: event.text.clone(),
    }
}

/// Kinds by their names, separated by commas; none stands for all.
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
                    "'type' is a list of these, separated by commas: {}",
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
