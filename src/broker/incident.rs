//! Incidents while they happen: which reader is behind, since when, which publishers fill
//! its queue, and at its end what was lost.
//!
//! The recorder inspects the readers ([`inspect`]) several times a second at first, then
//! once a second; a connection's own task reports its end ([`conclude`]). Nothing here is
//! done per message.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use monitor_client::text::plural;
use tokio::net::TcpStream;

use crate::{
    broker::registry::Registry,
    connection::{CloseReason, Connection, outbound::Backlog},
    telemetry::{
        MonotonicMicros, MonotonicMillis, Telemetry,
        event::EventKind,
        loss::Lost,
        pool::shorten,
        producers::Producers,
        slow::{Incident, Publisher, Reader, State, Untracked, find_cause},
    },
};

/// A reader has caught up when it was not found behind for this long.
const RECOVERED_AFTER: Duration = Duration::from_secs(1);

/// For this long an incident is looked at with every call, then less often.
const YOUNG: Duration = Duration::from_secs(5);

/// Interval between two inspections of an incident that is no longer new.
const INSPECT_EVERY: Duration = Duration::from_secs(1);

/// Subjects and publishers named in an incident.
const NAMED_MAX: usize = 16;

/// Inspects one reader: begins an incident, follows it, and ends it when the reader has
/// caught up.
pub fn inspect(
    telemetry: &Telemetry,
    registry: &Registry,
    connection: &Connection,
    now: MonotonicMillis,
) {
    let backlog = connection.outbound().backlog();
    if backlog.closed {
        // The connection's own task concludes.
        return;
    }
    match telemetry.slow.ongoing(connection.cid) {
        Some(incident) => follow(telemetry, registry, connection, &backlog, incident, now),
        None if backlog.is_incident(now) => begin(telemetry, registry, connection, &backlog, now),
        None => {}
    }
}

/// Whether the recorder should inspect a reader again soon.
pub fn is_behind(connection: &Connection) -> bool {
    let backlog = connection.outbound().backlog();
    backlog.behind_since.is_some() && !backlog.closed
}

/// Ends the incident of a connection that ends; a reader that was cut gets one even if the
/// recorder did not inspect it in time. To be called by the connection's own task when
/// nothing is written any more.
pub fn conclude(
    telemetry: &Telemetry,
    registry: &Registry,
    connection: &Connection,
    reason: CloseReason,
) -> Option<Arc<Incident>> {
    let now = MonotonicMillis::now();
    let backlog = connection.outbound().backlog();
    let ongoing = telemetry.slow.ongoing(connection.cid);
    if ongoing.is_none() && !reason.is_slow_consumer() {
        return None;
    }
    let mut incident = ongoing.unwrap_or_else(|| Incident {
        id: counted(connection, &backlog).unwrap_or_default(),
        ..new(connection, &backlog, now)
    });
    let dropped = connection.outbound().traffic().loss.dropped();
    incident.lost = Lost {
        msgs: dropped.msgs,
        bytes: dropped.bytes,
    };
    // The pending bytes are discarded already: they were pending until now.
    let lost = usize::try_from(dropped.bytes).unwrap_or(usize::MAX);
    let backlog = Backlog {
        pending: lost,
        ..backlog
    };
    incident.subjects_at = 0;
    let mut incident = filled_in(telemetry, registry, connection, &backlog, incident, now);
    incident.end = Some(now);
    incident.state = match reason.is_slow_consumer() {
        true => State::Evicted,
        false => State::Closed,
    };
    let incident = telemetry.slow.end(incident)?;
    let text = format!(
        "{} after {:.1} s behind: lost {} ({}), most of {}; {}: {}",
        incident.state.name(),
        incident.duration(now).as_secs_f64(),
        plural(incident.lost.msgs, "message"),
        plural(incident.lost.bytes, "byte"),
        incident.top_subject().unwrap_or("no subject"),
        incident.cause.name(),
        incident.evidence
    );
    record(telemetry, connection.cid, &incident.reader.who, &text);
    Some(incident)
}

/// Counts an incident, and tracks it if there is room. One for which there was none is counted
/// once, and tracked as soon as there is.
fn begin(
    telemetry: &Telemetry,
    registry: &Registry,
    connection: &Connection,
    backlog: &Backlog,
    now: MonotonicMillis,
) {
    let slow = &telemetry.slow;
    let id = counted(connection, backlog).unwrap_or_else(|| slow.count());
    if !slow.has_room() {
        let behind_at = now;
        *connection.untracked_incident.lock() = Some(Untracked { id, behind_at });
        return;
    }
    *connection.untracked_incident.lock() = None;
    connection.outbound().keep_producers(true);
    let incident = Incident {
        id,
        ..new(connection, backlog, now)
    };
    let incident = filled_in(telemetry, registry, connection, backlog, incident, now);
    let text = format!(
        "fell behind: {} of at most {} bytes waiting, most of {}; {}",
        incident.pending,
        incident.limit,
        incident.top_subject().unwrap_or("no subject"),
        incident.evidence
    );
    record(telemetry, connection.cid, &incident.reader.who, &text);
    slow.track(incident);
}

/// The number of the incident that the reader already has without being tracked: it has not
/// caught up since it was last seen to be behind.
fn counted(connection: &Connection, backlog: &Backlog) -> Option<u64> {
    let untracked = (*connection.untracked_incident.lock())?;
    let since = backlog.behind_since?;
    (untracked.behind_at.until(since) < RECOVERED_AFTER).then_some(untracked.id)
}

/// An incident that is not counted.
fn new(connection: &Connection, backlog: &Backlog, now: MonotonicMillis) -> Incident {
    let start = backlog.behind_since.unwrap_or(now);
    let mut incident = Incident::begin(reader(connection), start, backlog.max_pending);
    incident.written_before = connection.outbound().traffic().written_bytes;
    incident.record(start, 0, 0);
    incident
}

fn follow(
    telemetry: &Telemetry,
    registry: &Registry,
    connection: &Connection,
    backlog: &Backlog,
    mut incident: Incident,
    now: MonotonicMillis,
) {
    let last = incident.curve.last().map_or(incident.start, |last| last.at);
    if incident.duration(now) > YOUNG && last.until(now) < INSPECT_EVERY {
        return;
    }
    if backlog.behind_since.is_some() {
        incident.behind_at = now;
    }
    if incident.behind_at.until(now) < RECOVERED_AFTER {
        let incident = filled_in(telemetry, registry, connection, backlog, incident, now);
        telemetry.slow.update(incident);
        return;
    }
    incident.record(
        now,
        backlog.pending,
        connection.outbound().traffic().written_bytes,
    );
    incident.state = State::Recovered;
    incident.end = Some(incident.behind_at);
    connection.outbound().keep_producers(false);
    if let Some(incident) = telemetry.slow.end(incident) {
        let text = format!(
            "caught up after {:.1} s behind with at most {} waiting",
            incident.duration(now).as_secs_f64(),
            plural(incident.pending_max, "byte")
        );
        record(telemetry, connection.cid, &incident.reader.who, &text);
    }
}

/// Notes how things are now.
fn filled_in(
    telemetry: &Telemetry,
    registry: &Registry,
    connection: &Connection,
    backlog: &Backlog,
    mut incident: Incident,
    now: MonotonicMillis,
) -> Incident {
    let outbound = connection.outbound();
    incident.record(now, backlog.pending, outbound.traffic().written_bytes);
    incident.publishers = publishers(&outbound.producers(), registry);
    // Looked at anew when it has grown by half.
    if backlog.pending > incident.subjects_at / 2 * 3 {
        let mut subjects = outbound.subjects();
        subjects.sort_by_key(|share| Reverse(share.bytes));
        subjects.truncate(NAMED_MAX);
        incident.subjects = subjects;
        incident.subjects_at = backlog.pending;
    }
    let socket = outbound.socket_stats();
    if socket.is_some() || incident.evidence.is_empty() {
        let delay = telemetry.latency.worst_scheduling(MonotonicMicros::now());
        (incident.cause, incident.evidence) = find_cause(incident.socket_before, socket, delay);
    }
    if incident.socket_before.is_none() && incident.curve.len() > 2 {
        incident.socket_before = socket;
    }
    incident
}

fn publishers(producers: &Producers, registry: &Registry) -> Vec<Publisher> {
    let mut found: Vec<Publisher> = Vec::new();
    for fed in &producers.fed {
        found.push(Publisher {
            cid: fed.cid,
            bytes: fed.bytes,
            ..Publisher::default()
        });
    }
    for stalled in &producers.stalled {
        let known = found.iter().position(|known| known.cid == stalled.cid);
        let at = known.unwrap_or_else(|| {
            found.push(Publisher {
                cid: stalled.cid,
                ..Publisher::default()
            });
            found.len() - 1
        });
        found[at].stalls = stalled.count;
        found[at].stalled = stalled.time;
    }
    for publisher in &mut found {
        let who = registry.who(publisher.cid).unwrap_or_default();
        publisher.who = shorten(&who).into_owned();
    }
    found.sort_by_key(|publisher| Reverse((publisher.bytes, publisher.stalled)));
    found
}

fn reader(connection: &Connection) -> Reader {
    let cut = |text: &str| shorten(text).into_owned();
    let who = connection.who();
    let identity = connection.identity.lock();
    Reader {
        cid: connection.cid,
        kind: connection.kind,
        who: cut(&who),
        name: cut(&identity.name),
        user: cut(&identity.user),
        certificate: connection
            .certificate
            .get()
            .map(|certificate| cut(certificate.certname()))
            .unwrap_or_default(),
        address: connection.peer.to_string(),
        library: cut([&*identity.lang, &*identity.version].join(" ").trim()),
        account: identity.account.clone(),
    }
}

fn record(telemetry: &Telemetry, cid: u64, who: &str, text: &str) {
    let events = &telemetry.events;
    events.record(EventKind::SlowConsumer, cid, who, text);
}

impl Connection {
    /// Ends a connection that its own task has removed from all registries: writes what is
    /// pending, concludes its incident and releases its memory. Its counters are final
    /// then. Returns its incident, if there is one.
    pub async fn end(
        &self,
        telemetry: &Telemetry,
        registry: &Registry,
        stream: &TcpStream,
        reason: CloseReason,
    ) -> Option<Arc<Incident>> {
        self.drain_and_close(stream).await;
        let incident = conclude(telemetry, registry, self, reason);
        self.outbound().release();
        incident
    }
}

#[cfg(test)]
mod tests;
