//! The roll of the cluster: who ought to be there, who is, and what each of
//! them sees.
//!
//! Dialling, routes and the members' own words ([`super::views`]) are noted
//! here; the diagnosis and monitoring read it. Nothing here is done per message.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;

use super::{cluster::Route, introduction::with_port};
use crate::{
    config::options::cluster::RouteUrl, connection::CloseReason, protocol::route::RouteInfo,
    telemetry::MonotonicMillis,
};

/// A member that the configuration does not name is missed for so long.
const MISSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Members without a route that are remembered.
const ABSENT_MAX: usize = 256;

/// Addresses of which it is remembered what certificate was shown there.
const CERTNAMES_MAX: usize = 512;

/// Everybody that is known of.
#[derive(Default)]
pub struct Membership(Mutex<State>);

#[derive(Default)]
struct State {
    /// By address.
    targets: BTreeMap<String, Target>,
    /// By id.
    members: BTreeMap<String, Member>,
    /// What brokers without a name show in their certificates, by the addresses where
    /// they take routes.
    certnames: BTreeMap<String, Shown>,
}

struct Shown {
    certname: String,
    at: MonotonicMillis,
}

/// A broker that the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Id of the broker that was last found there.
    pub leads_to: Option<String>,
    /// Whether that is this broker.
    pub is_ourselves: bool,
    /// Tries in a row that led to nobody.
    pub failures: u32,
    /// Why the last one did not.
    pub error: String,
}

/// Another broker of the cluster.
#[derive(Clone, Debug)]
pub struct Member {
    /// Id of its subject batch.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Whether it gave itself that name.
    pub named: bool,
    /// `host:port` where it takes routes, as it says.
    pub address: String,
    /// Version of nats-server whose features it serves.
    pub version: String,
    /// Version of midge; empty for others.
    pub midge: String,
    /// Bytes of the largest payload it takes.
    pub max_payload: i64,
    /// Whether there is a route to it.
    pub connected: bool,
    /// Since when that is so.
    pub since: MonotonicMillis,
    /// When something last came from it.
    pub last_heard: MonotonicMillis,
    /// Times that a route to it was lost.
    pub losses: u64,
    /// Why it was lost last.
    pub lost_by: Option<CloseReason>,
    /// Whether it said that it leaves.
    pub leaving: bool,
    /// Since when it has been asked what it sees and has not answered.
    pub asked: Option<MonotonicMillis>,
    /// What it sees, as far as it told.
    pub view: Option<PeerView>,
}

impl Member {
    /// Whether it is a nats-server and no midge.
    pub fn is_nats_server(&self) -> bool {
        self.midge.is_empty()
    }
}

/// What a member sees.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// When it told.
    pub at: MonotonicMillis,
    /// Time from the question to the answer.
    pub took: Duration,
    /// Its routes, one for each member.
    pub sees: Vec<PeerRoute>,
}

/// One member as another sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRoute {
    /// Id of the member that is seen.
    pub id: String,
    /// Its name, if that was told.
    pub name: String,
    /// Round trip time.
    pub rtt: Option<Duration>,
    /// Bytes that wait for it.
    pub pending: u64,
    /// Whether the seer's configuration names it.
    pub configured: bool,
}

/// The roll at one moment.
#[derive(Clone, Debug, Default)]
pub struct MembershipSnapshot {
    /// The brokers that the configuration names.
    pub targets: Vec<Target>,
    /// The others of the cluster, those without a route too.
    pub members: Vec<Member>,
}

impl MembershipSnapshot {
    /// The member of that id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

impl Membership {
    /// Everybody at this moment; the configuration names these.
    pub(super) fn snapshot(&self, configured: &[RouteUrl]) -> MembershipSnapshot {
        let mut state = self.0.lock();
        state.forget(MonotonicMillis::now());
        let targets = configured.iter().map(|url| {
            let address = url.to_string();
            let known = state.targets.get(&address).cloned();
            Target {
                address,
                ..known.unwrap_or_default()
            }
        });
        MembershipSnapshot {
            targets: targets.collect(),
            members: state.members.values().cloned().collect(),
        }
    }

    /// A configured address led to the broker of that id.
    pub(super) fn found(&self, url: &RouteUrl, id: &str, is_ourselves: bool) {
        let mut state = self.0.lock();
        let target = state.targets.entry(url.to_string()).or_default();
        target.leads_to = Some(id.to_owned());
        target.is_ourselves = is_ourselves;
        target.failures = 0;
        target.error.clear();
    }

    /// A configured address led to nobody.
    pub(super) fn failed(&self, url: &RouteUrl, why: &str) {
        let mut state = self.0.lock();
        let target = state.targets.entry(url.to_string()).or_default();
        target.failures += 1;
        target.error = why.to_owned();
    }

    /// There is a route to a member.
    pub(super) fn entered(&self, route: &Route) {
        let now = MonotonicMillis::now();
        let info = route.info.lock().clone();
        let named = info.configured_name().is_some();
        let mut state = self.0.lock();
        // A broker that was started anew has another id. What it did not name itself
        // by may be another one's, too.
        let mut losses = 0;
        let mut lost_by = None;
        state.members.retain(|id, known| {
            let is_same = *id == route.remote_id
                || !known.connected
                    && (known.address == route.address
                        || named && known.named && known.name == route.remote_name);
            if is_same {
                losses += known.losses;
                lost_by = known.lost_by.or(lost_by);
            }
            !is_same
        });
        let member = Member {
            id: route.remote_id.clone(),
            name: route.remote_name.clone(),
            named,
            address: route.address.clone(),
            version: info.version.clone(),
            midge: info.midge.clone(),
            max_payload: info.max_payload,
            connected: true,
            since: now,
            last_heard: now,
            losses,
            lost_by,
            leaving: info.ldm,
            asked: None,
            view: None,
        };
        state.members.insert(route.remote_id.clone(), member);
    }

    /// The member behind a route said something new of itself.
    pub(super) fn informed(&self, id: &str, info: &RouteInfo) {
        if let Some(member) = self.0.lock().members.get_mut(id) {
            member.leaving = info.ldm;
            member.max_payload = info.max_payload;
        }
    }

    /// The route to a member has ended.
    pub(super) fn left(&self, route: &Route, reason: CloseReason) {
        let mut state = self.0.lock();
        if let Some(member) = state.members.get_mut(&route.remote_id) {
            member.connected = false;
            member.since = MonotonicMillis::now();
            member.last_heard = route.last_heard();
            // Of two routes at the same moment one goes: nothing was lost.
            member.losses += u64::from(reason != CloseReason::DuplicateRoute);
            member.lost_by = Some(reason);
            // Taken out of the configuration: nobody misses it.
            member.leaving |= reason == CloseReason::RouteRemoved;
            member.asked = None;
            member.view = None;
        }
    }

    /// Whether the broker at `address`, which has no name, is the only one that shows
    /// a certificate with this certname.
    pub(super) fn is_alone(&self, address: &str, certname: &str) -> bool {
        let now = MonotonicMillis::now();
        let mut state = self.0.lock();
        state.forget(now);
        let mut others = state.certnames.iter().filter(|(at, _)| *at != address);
        let is_alone = !others.any(|(_, shown)| shown.certname == certname);
        if state.certnames.len() >= CERTNAMES_MAX && !state.certnames.contains_key(address) {
            let oldest = state.certnames.iter().min_by_key(|(_, shown)| shown.at);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                state.certnames.remove(&oldest);
            }
        }
        let shown = Shown {
            certname: certname.to_owned(),
            at: now,
        };
        state.certnames.insert(address.to_owned(), shown);
        is_alone
    }

    /// Whether the broker of that id is or was a member.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.0.lock().members.contains_key(id)
    }

    /// Forgets members without a route that the configuration does not name, and
    /// what was noted of addresses that it names no more.
    pub(super) fn forget_unnamed(&self, configured: &[RouteUrl]) {
        let named: Vec<String> = configured.iter().map(ToString::to_string).collect();
        let mut state = self.0.lock();
        state.targets.retain(|address, _| named.contains(address));
        let State {
            targets, members, ..
        } = &mut *state;
        members.retain(|id, member| {
            let leads_here = |target: &Target| target.leads_to.as_ref() == Some(id);
            member.connected || named.contains(&member.address) || targets.values().any(leads_here)
        });
    }

    /// Forgets members without a route by name, id or address; the configuration
    /// must not name them. Returns their names.
    pub(super) fn forget(&self, which: &str) -> Vec<String> {
        let mut forgotten = Vec::new();
        self.0.lock().members.retain(|id, member| {
            let is_meant = [id, &member.name, &member.address].map(|it| it == which);
            let goes = !member.connected && is_meant.contains(&true);
            if goes {
                forgotten.push(member.name.clone());
            }
            !goes
        });
        forgotten
    }

    /// A member is asked what it sees.
    pub(super) fn asked(&self, route: &Route) {
        if let Some(member) = self.0.lock().members.get_mut(&route.remote_id) {
            member.last_heard = route.last_heard();
            member.asked.get_or_insert_with(MonotonicMillis::now);
        }
    }

    /// A member told what it sees. What was not asked for is passed over.
    pub(super) fn told(&self, id: &str, sees: Vec<PeerRoute>) {
        let now = MonotonicMillis::now();
        if let Some(member) = self.0.lock().members.get_mut(id)
            && let Some(asked) = member.asked.take()
        {
            member.last_heard = now;
            member.view = Some(PeerView {
                at: now,
                took: asked.until(now),
                sees,
            });
        }
    }
}

impl State {
    /// Forgets members that are gone for long, and the surplus of others.
    fn forget(&mut self, now: MonotonicMillis) {
        self.members
            .retain(|_, member| member.connected || member.since.until(now) < MISSED_FOR);
        let mut absent: Vec<(MonotonicMillis, String)> = self
            .members
            .values()
            .filter(|member| !member.connected)
            .map(|member| (member.since, member.id.clone()))
            .collect();
        absent.sort();
        let surplus = absent.len().saturating_sub(ABSENT_MAX);
        for (_, id) in absent.drain(..surplus) {
            self.members.remove(&id);
        }
        let Self {
            members, certnames, ..
        } = self;
        certnames.retain(|address, shown| {
            shown.at.until(now) < MISSED_FOR || members.values().any(|it| it.address == *address)
        });
    }
}

/// Where a broker takes routes, as it says. One that takes them everywhere is where it
/// was met.
pub(super) fn address(info: &RouteInfo, met_at: IpAddr) -> String {
    if let Ok(url) = RouteUrl::parse(&info.ip) {
        return url.to_string();
    }
    let is_everywhere = info.host.is_empty()
        || (info.host.parse()).is_ok_and(|address: IpAddr| address.is_unspecified());
    match is_everywhere {
        true => with_port(&met_at.to_canonical().to_string(), info.port),
        false => with_port(&info.host, info.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certname_is_the_name_of_one_broker_alone() {
        let membership = Membership::default();
        assert!(membership.is_alone("a:1", "node"));
        assert!(membership.is_alone("a:1", "node"), "started anew");
        assert!(!membership.is_alone("b:1", "node"));
        assert!(!membership.is_alone("a:1", "node"), "not any more");
        assert!(membership.is_alone("b:1", "other"));
        assert!(membership.is_alone("a:1", "node"));
        for number in 0..2 * CERTNAMES_MAX {
            membership.is_alone(&number.to_string(), "crowd");
        }
        assert_eq!(membership.0.lock().certnames.len(), CERTNAMES_MAX);
    }

    #[test]
    fn who_takes_routes_everywhere_is_where_it_was_met() {
        let met_at = IpAddr::from([10, 0, 0, 7]);
        for (host, ip, expected) in [
            ("0.0.0.0", "", "10.0.0.7:6222"),
            ("::", "", "10.0.0.7:6222"),
            ("", "", "10.0.0.7:6222"),
            ("10.1.1.1", "", "10.1.1.1:6222"),
            ("0.0.0.0", "nats-route://nats7:7000/", "nats7:7000"),
        ] {
            let info = RouteInfo {
                host: host.into(),
                port: 6222,
                ip: ip.into(),
                ..RouteInfo::default()
            };
            assert_eq!(address(&info, met_at), expected);
        }
    }
}
