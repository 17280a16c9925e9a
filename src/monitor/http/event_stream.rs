//! Server-sent events: a response body without an end.
//!
//! A stream polls the log of events: the code that records an event does not depend on
//! readers, and a reader that does not read uses only the memory of one number. Events that
//! the log has dropped by then are reported as a gap.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    StatusCode,
    body::{Body, Frame},
};
use monitor_client::EventGap;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::slot::Slot;
use crate::monitor::{
    Monitor,
    endpoints::{eventsz, refusal::Refusal},
};
use crate::{
    server::Server,
    telemetry::event::{EventKind, Selection},
};

/// Readers at a time, of all monitoring connections: browsers and followers.
const READERS_MAX: usize = 16;

/// How often a stream polls for new events.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Polls without anything new until a comment shows that the stream lives: 10 s.
const SILENT_POLLS_MAX: u32 = 50;

/// Events per write; with the limit of an event's texts this bounds what is pending for one
/// reader.
const EVENTS_AT_ONCE: usize = 16;

/// The beginning of a stream: browsers reconnect two seconds after its end.
const BEGINNING: &str = "retry: 2000\n\n";

/// Events as they happen.
pub(super) struct EventStream {
    server: Arc<Server>,
    kinds: Vec<EventKind>,
    /// Number of the event up to which the reader has everything.
    position: u64,
    /// The bytes to send first.
    beginning: Option<String>,
    polls: Interval,
    /// Polls since the last bytes.
    silent_polls: u32,
    /// The last poll did not return all.
    more: bool,
    _slot: Slot,
}

impl EventStream {
    /// A stream of events of these kinds (all if there is none) after the one
    /// numbered `since`, or from now on.
    ///
    /// # Errors
    ///
    /// There are too many already.
    pub(super) fn open(
        monitor: &Monitor,
        since: Option<u64>,
        kinds: Vec<EventKind>,
    ) -> Result<Self, Refusal> {
        let slot = Slot::take(&monitor.event_readers, READERS_MAX).ok_or_else(|| Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: format!("{READERS_MAX} readers already follow the events; try again later."),
        })?;
        let last_id = monitor.server.broker.telemetry.events.last_id();
        let position = since.unwrap_or(last_id);
        let mut beginning = BEGINNING.to_owned();
        if position > last_id {
            beginning += &gap(0, "restarted", 0);
        }
        let mut polls = interval(POLL_EVERY);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            server: monitor.server.clone(),
            kinds,
            position,
            beginning: Some(beginning),
            polls,
            silent_polls: 0,
            more: false,
            _slot: slot,
        })
    }

    /// The new events, as text; empty if there are none.
    fn poll_log(&mut self) -> String {
        let log = &self.server.broker.telemetry.events;
        let selection = log.select(Some(self.position), EVENTS_AT_ONCE, &self.kinds);
        let text = text(&selection, self.position);
        self.more = selection.position < selection.last_id;
        self.position = selection.position;
        self.silent_polls = match text.is_empty() {
            true => self.silent_polls + 1,
            false => 0,
        };
        if self.silent_polls < SILENT_POLLS_MAX {
            return text;
        }
        self.silent_polls = 0;
        ":\n\n".to_owned()
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(beginning) = this.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning.into()))));
        }
        loop {
            if !this.more {
                std::task::ready!(this.polls.poll_tick(context));
            }
            let text = this.poll_log();
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
        }
    }
}

/// The events of a selection made behind number `position`.
fn text(selection: &Selection, position: u64) -> String {
    let mut text = String::new();
    if selection.missed > 0 {
        text += &gap(selection.missed, "forgotten", position + selection.missed);
    }
    for event in &selection.events {
        let data = json(&eventsz::info(event));
        let (id, name) = (event.id, event.kind.name());
        text += &format!("id: {id}\nevent: {name}\ndata: {data}\n\n");
    }
    text
}

fn gap(missed: u64, reason: &str, id: u64) -> String {
    let data = json(&EventGap {
        missed,
        reason: reason.into(),
    });
    format!("id: {id}\nevent: gap\ndata: {data}\n\n")
}

/// JSON on one line, as the format requires.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::event::EventLog;

    #[test]
    fn events_and_gaps_are_written_in_the_format() {
        let log = EventLog::default();
        log.record(EventKind::Storm, 0, "10.0.0.7", "two\nlines");
        let selection = Selection {
            missed: 3,
            ..log.select(Some(0), 9, &[])
        };
        let text = text(&selection, 2);
        let mut messages = text.split_terminator("\n\n");
        assert_eq!(
            messages.next(),
            Some("id: 5\nevent: gap\ndata: {\"missed\":3,\"reason\":\"forgotten\"}")
        );
        let event = messages.next().unwrap();
        assert!(event.starts_with("id: 1\nevent: storm\ndata: {"), "{event}");
        assert_eq!(event.lines().count(), 3);
        assert!(event.contains("two\\\\nlines"));
        assert_eq!(messages.next(), None);
    }
}
