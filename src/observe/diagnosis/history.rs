//! State of the diagnosis from one sample to the next.

use std::{collections::HashMap, time::Duration};

use super::{
    memory,
    recent::Recent,
    silent_members::{SilentMembers, group_of},
    trend::Trend,
};
use crate::{
    broker::registry::FailureCounts,
    config::Diagnosis,
    connection::{CloseReason, Connection, admission::PlacesView, handshake::Handshakers},
    federation::{figures::Direction, refusal::Refusal},
    observe::sample::{Holder, Sample},
    security::failure::Cause as FailureCause,
    server::Server,
    sublist::Entry,
    telemetry::{MonotonicMillis, event::EventKind, load::Window, tally::Count},
};

/// Time over which the growth of one queue is measured.
const QUEUE_WINDOW: Duration = Duration::from_secs(30);

/// Subscriptions of a connection that are looked through for idle inboxes, and
/// connections at a time: a sample that holds the connection's lock briefly.
const INBOX_SAMPLE: usize = 4096;
const INBOX_CONNECTIONS_MAX: usize = 4;

/// Samples between two searches for idle inboxes.
const INBOX_EVERY: u64 = 10;

/// The state so far.
#[derive(Default)]
pub(super) struct History {
    /// Samples so far.
    samples: u64,
    last: Option<FailureCounts>,
    /// Bytes waiting, by connection, of those with long queues.
    pub(super) queues: HashMap<u64, Trend>,
    /// Number of subscriptions, by connection, of those with many.
    pub(super) subscriptions: HashMap<u64, Trend>,
    /// Inbox subscriptions that never got a message, by connection.
    pub(super) idle_inboxes: HashMap<u64, usize>,
    /// Times that publishers waited since the last sample, by the connection
    /// they waited for.
    pub(super) new_stalls: HashMap<u64, u64>,
    stalls: HashMap<u64, u64>,
    pub(super) slow_consumers: Recent,
    pub(super) stale_peers: Recent,
    /// Connections closed for their revoked certificates.
    pub(super) revoked: Recent,
    /// Handshakes that were refused for the same reason.
    pub(super) refused_as_revoked: Recent,
    /// Failed handshakes, by cause.
    pub(super) handshakes: Recent,
    /// The log text of the last one.
    pub(super) last_handshake: String,
    /// Of each listener.
    handshakes_seen: HashMap<(usize, FailureCause), u64>,
    /// Routes that were lost, by member.
    pub(super) route_losses: Recent,
    losses: HashMap<String, u64>,
    pub(super) login_failures: Recent,
    pub(super) violations: Recent,
    pub(super) unanswered: Recent,
    pub(super) large: Recent,
    /// Requests refused because too many replies are waited for, by account.
    pub(super) replies_full: Recent,
    /// Messages not taken through an import, so that they come to an end, by account.
    pub(super) pruned_paths: Recent,
    cut_paths_seen: HashMap<String, u64>,
    /// Counts of dropped entries, by table.
    pub(super) full_tables: Recent,
    full_tables_seen: HashMap<&'static str, usize>,
    /// Messages without receivers, by subject.
    pub(super) no_interest: Recent,
    no_interest_seen: HashMap<Box<[u8]>, u64>,
    /// Connections of leafnodes that were refused because they closed a circle, and those that were
    /// lost, by the name of the other broker.
    pub(super) leafnode_loops: Recent,
    pub(super) leafnode_losses: Recent,
    /// Messages that the federation refused, by direction and reason.
    pub(super) federation_refused: Recent,
    federation_refused_seen: HashMap<(Direction, Refusal), u64>,
    /// Replies that it dropped.
    pub(super) federation_dropped: Recent,
    federation_dropped_seen: u64,
    /// Members of federations' queue groups that only take.
    pub(super) silent_members: SilentMembers,
    /// Bytes of all these incidents and members.
    pub(super) memory: usize,
    /// Number of the last event that was taken in.
    events_seen: u64,
    /// The places before the login.
    pub(super) places: Vec<Crowding>,
}

/// The places of one port, and what is new since the last sample.
pub(super) struct Crowding {
    pub(super) now: PlacesView,
    /// Connections that were cut because they were silent.
    pub(super) silent: u64,
    /// Connections that were refused for lack of file descriptors.
    pub(super) refused: u64,
    /// Failed attempts to accept a connection.
    pub(super) failed: u64,
}

impl History {
    /// Adds a sample.
    pub(super) fn add(&mut self, server: &Server, thresholds: &Diagnosis, sample: &Sample) {
        follow(&mut self.queues, sample.at, &sample.by_pending, |holder| {
            let trend = Trend::new(QUEUE_WINDOW, thresholds.interval);
            (holder.backlog.pending, trend)
        });
        follow(
            &mut self.subscriptions,
            sample.at,
            &sample.by_subscriptions,
            |holder| {
                let trend = Trend::new(thresholds.growth_window, thresholds.interval);
                (holder.subscriptions, trend)
            },
        );
        if self.samples.is_multiple_of(INBOX_EVERY) {
            self.find_idle_inboxes(thresholds, sample);
        }
        self.samples += 1;
        self.add_stalls(sample);
        self.add_route_losses(sample);
        self.add_totals(server, sample);
        self.add_tallies(server, sample.at);
        self.add_cut_paths(server, sample.at);
        self.add_full_tables(sample.at);
        self.add_handshakes(server, sample.at);
        self.add_no_interest(server, thresholds, sample.at);
        self.add_federation(server, sample.at);
        self.add_members(server, sample);
        self.add_events(server, sample.at);
        for recent in self.incidents() {
            recent.expire(sample.at, thresholds.incident_window);
        }
        let incidents = self.incidents();
        let incidents: usize = incidents.iter().map(|recent| recent.memory()).sum();
        self.memory = incidents + self.silent_members.memory();
        self.add_places(server);
    }

    fn add_places(&mut self, server: &Server) {
        let before = std::mem::take(&mut self.places);
        let ports = server.broker.admission.all().map(|port| port.view());
        let long = Handshakers::long_places().map(|long| long.view());
        let views = ports.into_iter().chain(long);
        self.places = views
            .map(|now| {
                let before = before.iter().find(|it| it.now.name == now.name);
                let before = |count: fn(&PlacesView) -> u64| before.map_or(0, |it| count(&it.now));
                Crowding {
                    silent: now.silent - before(|it| it.silent),
                    refused: now.refused - before(|it| it.refused),
                    failed: now.failed - before(|it| it.failed),
                    now,
                }
            })
            .collect();
    }

    /// All incidents, by their kinds.
    fn incidents(&mut self) -> [&mut Recent; 18] {
        [
            &mut self.slow_consumers,
            &mut self.stale_peers,
            &mut self.revoked,
            &mut self.refused_as_revoked,
            &mut self.handshakes,
            &mut self.route_losses,
            &mut self.login_failures,
            &mut self.violations,
            &mut self.unanswered,
            &mut self.large,
            &mut self.no_interest,
            &mut self.replies_full,
            &mut self.pruned_paths,
            &mut self.full_tables,
            &mut self.leafnode_loops,
            &mut self.leafnode_losses,
            &mut self.federation_refused,
            &mut self.federation_dropped,
        ]
    }

    fn find_idle_inboxes(&mut self, thresholds: &Diagnosis, sample: &Sample) {
        self.idle_inboxes = sample
            .by_subscriptions
            .iter()
            .take(INBOX_CONNECTIONS_MAX)
            .filter(|holder| holder.subscriptions as u64 >= thresholds.leak_subscriptions)
            .map(|holder| {
                let idle = idle_inboxes(&holder.connection, thresholds);
                (holder.connection.cid, idle)
            })
            .collect();
    }

    fn add_stalls(&mut self, sample: &Sample) {
        let now: HashMap<u64, u64> = sample
            .waited_for
            .iter()
            .map(|holder| (holder.connection.cid, holder.stalls))
            .collect();
        self.new_stalls = now
            .iter()
            .filter_map(|(cid, stalls)| {
                let before = self.stalls.get(cid).copied().unwrap_or(0);
                Some((*cid, stalls.checked_sub(before).filter(|new| *new > 0)?))
            })
            .collect();
        self.stalls = now;
    }

    fn add_route_losses(&mut self, sample: &Sample) {
        let mut losses = HashMap::new();
        for member in &sample.mesh.snapshot.members {
            let before = self.losses.get(&member.name).copied().unwrap_or(0);
            let new = member.losses.saturating_sub(before);
            if new > 0 {
                let count = Count {
                    times: new,
                    ..once(0, 0)
                };
                self.route_losses.add(sample.at, member.name.clone(), count);
            }
            losses.insert(member.name.clone(), member.losses);
        }
        self.losses = losses;
    }

    fn add_totals(&mut self, server: &Server, sample: &Sample) {
        let troubles = sample.troubles;
        let before = self.last.replace(troubles).unwrap_or(troubles);
        let slow = troubles.slow_consumers - before.slow_consumers;
        let stale = troubles.stale_connections - before.stale_connections;
        if slow + stale == 0 {
            return;
        }
        // The latest closed connections are those that ended since; of more
        // than the ring holds the names are lost, not the number.
        let closed = server.broker.registry.closed();
        let latest = |count: u64, of_kind: fn(CloseReason) -> bool| {
            let of_kind = closed.iter().rev().filter(move |c| of_kind(c.reason));
            of_kind.take(usize::try_from(count).unwrap_or(usize::MAX))
        };
        for gone in latest(slow, |reason| reason.is_slow_consumer()) {
            let count = once(gone.last.pending as u64, gone.last.cid);
            self.slow_consumers.add(sample.at, gone.last.who(), count);
        }
        for gone in latest(stale, |reason| reason == CloseReason::StaleConnection) {
            let count = once(0, gone.last.cid);
            self.stale_peers.add(sample.at, gone.last.who(), count);
        }
    }

    fn add_tallies(&mut self, server: &Server, now: MonotonicMillis) {
        let telemetry = &server.broker.telemetry;
        for (subject, count) in telemetry.unanswered.drain() {
            self.unanswered.add(now, subject, count);
        }
        for (subject, count) in telemetry.large.drain() {
            self.large.add(now, subject, count);
        }
        for (account, count) in telemetry.replies_full.drain() {
            self.replies_full.add(now, account, count);
        }
        for (name, count) in telemetry.leafnode_loops.drain() {
            self.leafnode_loops.add(now, name, count);
        }
        for (name, count) in telemetry.leafnode_losses.drain() {
            self.leafnode_losses.add(now, name, count);
        }
        for (who, count) in telemetry.revoked.drain() {
            self.revoked.add(now, who, count);
        }
        for (who, count) in telemetry.refused_as_revoked.drain() {
            self.refused_as_revoked.add(now, who, count);
        }
    }

    /// A reload may have begun another federation, whose counts begin anew.
    fn add_federation(&mut self, server: &Server, now: MonotonicMillis) {
        let mut seen = HashMap::new();
        let mut dropped = 0;
        if let Some(federation) = server.federation() {
            federation.judge_nodes();
            for direction in Direction::ALL {
                let counts = federation.figures.of(direction);
                dropped += counts.dropped.value();
                for (refusal, count) in counts.refused() {
                    let key = (direction, refusal);
                    let before = self.federation_refused_seen.get(&key).copied().unwrap_or(0);
                    let times = count.checked_sub(before).unwrap_or(count);
                    if times > 0 {
                        let subject = format!("{}: {}", direction.name(), refusal.name());
                        let count = Count {
                            times,
                            ..once(0, 0)
                        };
                        self.federation_refused.add(now, subject, count);
                    }
                    seen.insert(key, count);
                }
            }
        }
        let times = dropped.saturating_sub(self.federation_dropped_seen);
        if times > 0 {
            let count = Count {
                times,
                ..once(0, 0)
            };
            self.federation_dropped.add(now, String::new(), count);
        }
        self.federation_refused_seen = seen;
        self.federation_dropped_seen = dropped;
    }

    /// Adds what the members of federations' queue groups moved.
    fn add_members(&mut self, server: &Server, sample: &Sample) {
        let registry = &server.broker.registry;
        self.silent_members
            .retain(|cid| registry.find(cid).is_some());
        for moved in &sample.moved {
            let connection = moved.connection();
            if let Some(group) = group_of(connection) {
                let new = moved.new_traffic();
                self.silent_members
                    .add(connection.cid, group, new, sample.at);
            }
        }
    }

    fn add_cut_paths(&mut self, server: &Server, now: MonotonicMillis) {
        let mut seen = HashMap::new();
        for account in server.broker.accounts.all() {
            let cut = account.pruned_paths();
            let before = self.cut_paths_seen.get(&account.name).copied();
            // Another account of the name after a reload begins anew.
            let times = cut.checked_sub(before.unwrap_or(0)).unwrap_or(cut);
            if times > 0 {
                let count = Count {
                    times,
                    ..once(0, 0)
                };
                self.pruned_paths.add(now, account.name.clone(), count);
            }
            seen.insert(account.name.clone(), cut);
        }
        self.cut_paths_seen = seen;
    }

    fn add_full_tables(&mut self, now: MonotonicMillis) {
        for (name, pool) in memory::REPORTED_WHEN_FULL {
            let refused = pool.refused();
            let before = self.full_tables_seen.insert(name, refused);
            let times = refused - before.unwrap_or(0).min(refused);
            if times > 0 {
                let count = Count {
                    times: times as u64,
                    ..once(pool.limit() as u64, 0)
                };
                self.full_tables.add(now, name.to_owned(), count);
            }
        }
    }

    fn add_handshakes(&mut self, server: &Server, now: MonotonicMillis) {
        for (index, (_, tls)) in server.tls_listeners().iter().enumerate() {
            for (cause, count) in tls.view().failed {
                let seen = self.handshakes_seen.insert((index, cause), count);
                // Another listener after a reload begins anew.
                let times = count.checked_sub(seen.unwrap_or(0)).unwrap_or(count);
                // Revoked certificates have a finding of their own.
                if times > 0 && cause.is_fault() && cause != FailureCause::Revoked {
                    let count = Count {
                        times,
                        ..once(0, 0)
                    };
                    self.handshakes.add(now, cause.name().to_owned(), count);
                }
            }
        }
    }

    /// Adds the messages without receivers since the last sample, of the subjects with most
    /// of them.
    fn add_no_interest(&mut self, server: &Server, thresholds: &Diagnosis, now: MonotonicMillis) {
        let hits = server.broker.telemetry.subjects.no_interest(Window::Start);
        let mut seen = HashMap::new();
        for hit in hits {
            // At least so many; a subject that took another's place adds nothing.
            let sure = hit.msgs - hit.error.min(hit.msgs);
            if sure < thresholds.no_interest {
                continue;
            }
            let before = self
                .no_interest_seen
                .get(&hit.subject)
                .copied()
                .unwrap_or(0);
            if let Some(times) = sure.checked_sub(before).filter(|new| *new > 0) {
                let subject = String::from_utf8_lossy(&hit.subject).into_owned();
                let count = Count {
                    times,
                    ..once(0, hit.publisher)
                };
                self.no_interest.add(now, subject, count);
            }
            seen.insert(hit.subject, sure);
        }
        self.no_interest_seen = seen;
    }

    fn add_events(&mut self, server: &Server, now: MonotonicMillis) {
        const KINDS: [EventKind; 3] = [
            EventKind::AuthenticationFailed,
            EventKind::HandshakeFailed,
            EventKind::PermissionViolation,
        ];
        let log = &server.broker.telemetry.events;
        let new = log.select(Some(self.events_seen), usize::MAX, &KINDS);
        self.events_seen = new.position;
        for event in new.events {
            let recent = match event.kind {
                EventKind::AuthenticationFailed => &mut self.login_failures,
                // Counted with those that make no event.
                EventKind::HandshakeFailed => {
                    self.last_handshake = format!("{}: {}", event.subject, event.text);
                    continue;
                }
                _ => &mut self.violations,
            };
            recent.add(now, event.subject.clone(), once(0, event.cid));
        }
    }
}

fn once(peak: u64, cid: u64) -> Count {
    Count {
        times: 1,
        peak,
        cid,
    }
}

/// Continues the trends of the largest holders and removes the others.
fn follow(
    courses: &mut HashMap<u64, Trend>,
    now: MonotonicMillis,
    holders: &[Holder],
    begin: impl Fn(&Holder) -> (usize, Trend),
) {
    let mut before = std::mem::take(courses);
    for holder in holders {
        let cid = holder.connection.cid;
        let (value, fresh) = begin(holder);
        let mut trend = before.remove(&cid).unwrap_or(fresh);
        trend.add(now, value as f64);
        courses.insert(cid, trend);
    }
}

/// Inbox subscriptions that never got a message, estimated from a part.
fn idle_inboxes(connection: &Connection, thresholds: &Diagnosis) -> usize {
    let subscriptions = connection.subscriptions.lock();
    let sample = subscriptions.iter().take(INBOX_SAMPLE);
    let idle = sample.filter(|known| known.delivered.value() == 0);
    let idle = idle.filter(|known| thresholds.is_reply_subject(known.subject()));
    let idle = idle.count();
    match subscriptions.len() > INBOX_SAMPLE {
        true => idle * (subscriptions.len() / INBOX_SAMPLE),
        false => idle,
    }
}
