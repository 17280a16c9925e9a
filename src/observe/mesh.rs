//! The mesh in one sample: the members and the routes to them, and where what one
//! member sees is not what another does.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use crate::{
    connection::outbound::Backlog,
    route::{
        Cluster, Failed, Route,
        interest::UnknownInterest,
        membership::{Member, MembershipSnapshot, PeerView},
        records::Record,
    },
    telemetry::{MonotonicMillis, loss::LossReason},
};

/// A member's view is out of date after so many questions without an answer.
const STALE_AFTER: u32 = 4;

/// Most brokers that are reported because members see them and this one does not.
const UNKNOWN_MAX: usize = 64;

/// Most pairs of members that are reported because one does not see the other.
const GAPS_MAX: usize = 256;

/// The mesh at one moment.
#[derive(Default)]
pub(in crate::observe) struct Mesh {
    /// Id of this broker.
    id: String,
    /// Its name.
    name: String,
    pub(in crate::observe) snapshot: MembershipSnapshot,
    pub(in crate::observe) routes: Vec<RouteNow>,
    /// Members whose routes fail again and again.
    pub(in crate::observe) failed: Vec<Failed>,
    /// The SRV records that list members.
    pub(in crate::observe) records: Vec<Record>,
}

/// One route.
pub(in crate::observe) struct RouteNow {
    /// Id of its member.
    pub(in crate::observe) id: String,
    pub(in crate::observe) cid: u64,
    pub(in crate::observe) rtt: Option<Duration>,
    pub(in crate::observe) backlog: Backlog,
    /// Its interest in accounts that this broker does not have.
    pub(in crate::observe) unknown: UnknownInterest,
    /// Times that part of its interest was not kept because its table was full.
    pub(in crate::observe) dropped_for_memory: usize,
    /// Bytes of the longest control line that it accepts.
    pub(in crate::observe) line_max: usize,
    /// Subjects and queue groups that were not announced to it, as they are too long.
    pub(in crate::observe) unannounced: usize,
    /// Messages that it did not get, as they had too long control lines.
    pub(in crate::observe) too_long: u64,
}

/// Two members, the first of which has no route to the second by its own answer.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::observe) struct Gap<'a> {
    pub(in crate::observe) from: &'a str,
    pub(in crate::observe) to: &'a str,
    /// Whether the second one has one to the first; `None` if it did not answer.
    pub(in crate::observe) is_seen_back: Option<bool>,
}

impl Mesh {
    /// The mesh now. A member that said that it leaves may be gone for `planned_absence`.
    pub(in crate::observe) fn of(cluster: &Cluster, planned_absence: Duration) -> Self {
        let now = MonotonicMillis::now();
        let routes = cluster.routes();
        let accounts = cluster.broker.accounts.all();
        let unannounced = |route: &Route| {
            let interests = accounts.iter().map(|account| &account.interest);
            interests
                .map(|interest| interest.too_long_for(&route.connection))
                .sum()
        };
        Self {
            id: cluster.node.server_id.clone(),
            name: cluster.node.called.clone(),
            snapshot: cluster.snapshot().with_overdue(now, planned_absence),
            failed: cluster.failed(now),
            records: cluster.records(),
            routes: routes
                .iter()
                .map(|route| RouteNow {
                    id: route.remote_id.clone(),
                    cid: route.connection.cid,
                    rtt: route.connection.rtt(),
                    backlog: route.connection.outbound().backlog(),
                    unknown: route.interest.in_unknown_accounts(),
                    dropped_for_memory: route.interest.dropped_for_memory(),
                    line_max: route.connection.line_max(),
                    unannounced: unannounced(route),
                    too_long: {
                        let loss = route.connection.traffic().loss;
                        loss.of(LossReason::TooLong).msgs
                    },
                })
                .collect(),
        }
    }

    /// The route to a member.
    pub(in crate::observe) fn route(&self, id: &str) -> Option<&RouteNow> {
        self.routes.iter().find(|route| route.id == id)
    }

    /// Members with a route, by what they say and what this broker knows.
    pub(in crate::observe) fn present(&self) -> impl Iterator<Item = &Member> {
        let members = self.snapshot.members.iter();
        members.filter(|member| member.connected)
    }

    /// The newest nats-server among the members.
    pub(in crate::observe) fn newest_nats_server(&self) -> Option<&Member> {
        let members = self.present().filter(|member| member.is_nats_server());
        members.max_by_key(|member| version_numbers(&member.version))
    }

    /// Names of members that have a route to the broker of that id or name.
    pub(in crate::observe) fn seen_by(&self, id: &str, name: &str) -> Vec<&str> {
        let sees = |view: &PeerView| {
            let is =
                |seen: &str, reported: &str| seen == id || (!name.is_empty() && reported == name);
            view.routes.iter().any(|sight| is(&sight.id, &sight.name))
        };
        let members = self.present();
        members
            .filter(|member| member.view.as_ref().is_some_and(sees))
            .map(|member| &*member.name)
            .collect()
    }

    /// Pairs of members of which one at least has no route to the other.
    /// `asked_every` is the time between two questions. Members that are new,
    /// or did not answer lately, are not judged.
    pub(in crate::observe) fn gaps(
        &self,
        now: MonotonicMillis,
        asked_every: Duration,
    ) -> Vec<Gap<'_>> {
        let judged: Vec<&Member> = self
            .present()
            .filter(|member| {
                let fresh = |view: &PeerView| view.at.until(now) <= asked_every * STALE_AFTER;
                member.view.as_ref().is_some_and(fresh)
            })
            .collect();
        // Each member's list is read once, however many pairs there are.
        let seen: HashMap<&str, HashSet<&str>> = judged
            .iter()
            .map(|member| (&*member.id, seen_ids(member)))
            .collect();
        let mut gaps = Vec::new();
        for member in &judged {
            let sees = &seen[&*member.id];
            if !sees.contains(&*self.id) {
                gaps.push(Gap {
                    from: &member.name,
                    to: &self.name,
                    is_seen_back: Some(true),
                });
            }
            for other in self.present().filter(|other| other.id != member.id) {
                if other.leaving || member.leaving || sees.contains(&*other.id) {
                    continue;
                }
                let back = seen.get(&*other.id);
                let is_seen_back = back.map(|back| back.contains(&*member.id));
                // Both without: reported once, in the order of their names.
                let comes_later = (&member.name, &member.id) > (&other.name, &other.id);
                if is_seen_back == Some(false) && comes_later {
                    continue;
                }
                gaps.push(Gap {
                    from: &member.name,
                    to: &other.name,
                    is_seen_back,
                });
            }
            if gaps.len() >= GAPS_MAX {
                break;
            }
        }
        gaps.truncate(GAPS_MAX);
        gaps
    }

    /// Names of brokers that members have routes to, and this one knows nothing
    /// of, each with a member that does.
    pub(in crate::observe) fn unknown_members(&self) -> Vec<(&str, &str)> {
        let known = &self.snapshot.members;
        let ids: HashSet<&str> = known.iter().map(|known| &*known.id).collect();
        let names: HashSet<&str> = known.iter().map(|known| &*known.name).collect();
        let mut found = HashSet::new();
        let mut unknown: Vec<(&str, &str)> = Vec::new();
        for member in self.present() {
            let sights = member.view.iter().flat_map(|view| &view.routes);
            for sight in sights {
                let name = match &*sight.name {
                    "" => &*sight.id,
                    name => name,
                };
                let is_known = sight.id == self.id
                    || ids.contains(&*sight.id)
                    || (!sight.name.is_empty() && names.contains(&*sight.name));
                if !is_known && unknown.len() < UNKNOWN_MAX && found.insert(name) {
                    unknown.push((name, &member.name));
                }
            }
        }
        unknown
    }
}

/// `2.10.0` is newer than `2.9.10`.
fn version_numbers(version: &str) -> Vec<u64> {
    let numbers = version.split(|c: char| !c.is_ascii_digit());
    numbers.map_while(|number| number.parse().ok()).collect()
}

/// Ids of the brokers that a member has routes to, by its own answer.
fn seen_ids(member: &Member) -> HashSet<&str> {
    let sights = member.view.iter().flat_map(|view| &view.routes);
    sights.map(|sight| &*sight.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::membership::PeerRoute;

    const EVERY: Duration = Duration::from_secs(5);

    fn member(id: &str, reported_at: u64, sees: &[&str]) -> Member {
        let sees = sees.iter().map(|id| PeerRoute {
            id: (*id).into(),
            name: String::new(),
            rtt: None,
            pending: 0,
            configured: false,
        });
        Member {
            id: id.into(),
            name: id.to_lowercase(),
            named: true,
            address: String::new(),
            version: String::new(),
            midge: String::new(),
            max_payload: 0,
            connected: true,
            since: MonotonicMillis(0),
            last_received: MonotonicMillis(0),
            losses: 0,
            lost_by: None,
            leaving: false,
            requested_at: None,
            clients: None,
            view: Some(PeerView {
                at: MonotonicMillis(reported_at),
                took: Duration::ZERO,
                routes: sees.collect(),
            }),
        }
    }

    fn mesh(members: Vec<Member>) -> Mesh {
        Mesh {
            id: "A".into(),
            name: "a".into(),
            snapshot: MembershipSnapshot {
                targets: Vec::new(),
                members,
            },
            routes: Vec::new(),
            failed: Vec::new(),
            records: Vec::new(),
        }
    }

    #[test]
    fn each_missing_route_is_found_once() {
        let healthy = mesh(vec![
            member("B", 0, &["A", "C"]),
            member("C", 0, &["A", "B"]),
        ]);
        assert_eq!(healthy.gaps(MonotonicMillis(0), EVERY), []);
        let no_echo = mesh(vec![member("B", 0, &["C"]), member("C", 0, &["A", "B"])]);
        let gap = |from, to, is_seen_back| Gap {
            from,
            to,
            is_seen_back,
        };
        assert_eq!(
            no_echo.gaps(MonotonicMillis(0), EVERY),
            [gap("b", "a", Some(true))]
        );
        let apart = mesh(vec![member("B", 0, &["A"]), member("C", 0, &["A"])]);
        assert_eq!(
            apart.gaps(MonotonicMillis(0), EVERY),
            [gap("b", "c", Some(false))]
        );
        let one_sided = mesh(vec![member("B", 0, &["A"]), member("C", 0, &["A", "B"])]);
        assert_eq!(
            one_sided.gaps(MonotonicMillis(0), EVERY),
            [gap("b", "c", Some(true))]
        );
        assert_eq!(
            apart.gaps(MonotonicMillis(60_000), EVERY),
            [],
            "out of date"
        );
    }

    #[test]
    fn the_newest_nats_server_is_found() {
        let of = |id, midge: &str, version: &str| Member {
            midge: midge.into(),
            version: version.into(),
            ..member(id, 0, &[])
        };
        let mesh = mesh(vec![
            of("B", "", "2.9.10"),
            of("C", "", "2.10.0-RC.2"),
            of("D", "0.1.0", "2.15.0"),
        ]);
        let newest = mesh.newest_nats_server().map(|member| &*member.id);
        assert_eq!(newest, Some("C"));
    }

    #[test]
    fn unknown_members_are_seen_by_others_only() {
        let mesh = mesh(vec![
            member("B", 0, &["A", "C", "D"]),
            member("C", 0, &["A", "B", "D"]),
        ]);
        assert_eq!(mesh.unknown_members(), [("D", "b")]);
        assert_eq!(mesh.seen_by("D", "").len(), 2);
    }
}
