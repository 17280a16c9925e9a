//! The members of the cluster: which are expected, which are connected, and what each of them sees.
//!
//! Dialling, routes and the members' own reports ([`super::views`]) are recorded here; diagnosis
//! and monitoring read it. Nothing here runs per message.

mod forget;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;

use super::{cluster::Route, introduction::with_port};
use crate::{
    config::options::cluster::RouteUrl, connection::CloseReason, protocol::route::RouteInfo,
    telemetry::MonotonicMillis,
};

/// Limit of addresses whose certificate names are remembered.
const CERTNAMES_MAX: usize = 512;

/// All known members.
#[derive(Default)]
pub struct Membership(Mutex<State>);

#[derive(Default)]
struct State {
    /// By address.
    targets: BTreeMap<String, Target>,
    /// By id.
    members: BTreeMap<String, Member>,
    /// The certificate names of brokers without a name, by the addresses of their route listeners.
    certnames: BTreeMap<String, SeenCertname>,
}

struct SeenCertname {
    certname: String,
    at: MonotonicMillis,
}

/// A broker that the configuration names, or an SRV record lists.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// The record that lists it; `None` if the configuration names it.
    pub record: Option<String>,
    /// Id of the broker that was last found there.
    pub leads_to: Option<String>,
    /// Whether that is this broker.
    pub is_ourselves: bool,
    /// Number of consecutive failed attempts.
    pub failures: u32,
    /// The error of the last one.
    pub error: String,
}

/// Another broker of the cluster.
#[derive(Clone, Debug)]
pub struct Member {
    /// Id of the broker, new at each start.
    pub id: String,
    /// Its name in this broker's logs and metrics.
    pub name: String,
    /// Whether that name is configured there.
    pub named: bool,
    /// `host:port` of its route listener, as it announced.
    pub address: String,
    /// The nats-server version whose features it supports.
    pub version: String,
    /// Version of midge; empty for a nats-server.
    pub midge: String,
    /// The largest payload that it accepts, in bytes.
    pub max_payload: i64,
    /// Whether there is a route to it.
    pub connected: bool,
    /// Since when that is so.
    pub since: MonotonicMillis,
    /// When something was last received from it.
    pub last_received: MonotonicMillis,
    /// Number of times that a route to it was lost.
    pub losses: u64,
    /// The reason of the last loss.
    pub lost_by: Option<CloseReason>,
    /// Whether it is in lame duck mode.
    pub leaving: bool,
    /// When it was asked for its view, if it has not answered.
    pub requested_at: Option<MonotonicMillis>,
    /// Its view, if it has reported one.
    pub view: Option<PeerView>,
    /// How many clients it has, and when it told that; `None` if it has not.
    pub clients: Option<(u64, MonotonicMillis)>,
}

impl Member {
    /// Whether it is a nats-server and not a midge.
    pub fn is_nats_server(&self) -> bool {
        self.midge.is_empty()
    }
}

/// What a member reported about the cluster.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// When it answered.
    pub at: MonotonicMillis,
    /// Time from the request to the answer.
    pub took: Duration,
    /// Its routes, one per member.
    pub routes: Vec<PeerRoute>,
}

impl PeerView {
    /// Whether it is the answer to a question after `begin`. One of the same millisecond may be
    /// from before.
    pub(super) fn was_asked_after(&self, begin: MonotonicMillis) -> bool {
        begin.until(self.at) > self.took
    }
}

/// A route of another member.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRoute {
    /// Id of the member it leads to.
    pub id: String,
    /// Name of that member, if reported.
    pub name: String,
    /// Round trip time.
    pub rtt: Option<Duration>,
    /// Bytes queued for it.
    pub pending: u64,
    /// Whether that member is in the reporter's configuration.
    pub configured: bool,
}

/// The members at one moment.
#[derive(Clone, Debug, Default)]
pub struct MembershipSnapshot {
    /// The brokers that the configuration names, or SRV records list.
    pub targets: Vec<Target>,
    /// All other members, including those without a route.
    pub members: Vec<Member>,
}

impl MembershipSnapshot {
    /// The member with this id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }
}

impl Membership {
    /// All members; `configured` are the brokers that are dialled until they answer.
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

    /// The id of the broker that a configured address led to last.
    pub(super) fn leads_to(&self, address: &str) -> Option<String> {
        self.0.lock().targets.get(address)?.leads_to.clone()
    }

    /// A configured address led to the broker of that id.
    pub(super) fn record_found(&self, url: &RouteUrl, id: &str, is_ourselves: bool) {
        let mut state = self.0.lock();
        let target = state.targets.entry(url.to_string()).or_default();
        target.leads_to = Some(id.to_owned());
        target.is_ourselves = is_ourselves;
        target.failures = 0;
        target.error.clear();
    }

    /// Records that a configured address could not be reached.
    pub(super) fn record_failure(&self, url: &RouteUrl, why: &str) {
        let mut state = self.0.lock();
        let target = state.targets.entry(url.to_string()).or_default();
        target.failures += 1;
        target.error = why.to_owned();
    }

    /// Records a new route to a member.
    pub(super) fn record_connected(&self, route: &Route) {
        let now = MonotonicMillis::now();
        let info = route.info.lock().clone();
        let named = info.configured_name().is_some();
        let mut state = self.0.lock();
        // A broker that was restarted has another id. Only a configured name identifies it; a
        // default name may belong to another one.
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
            last_received: now,
            losses,
            lost_by,
            leaving: info.ldm,
            requested_at: None,
            view: None,
            clients: None,
        };
        state.members.insert(route.remote_id.clone(), member);
    }

    /// Records a new INFO of a member.
    pub(super) fn record_info(&self, id: &str, info: &RouteInfo) {
        if let Some(member) = self.0.lock().members.get_mut(id) {
            member.leaving = info.ldm;
            member.max_payload = info.max_payload;
        }
    }

    /// Records the end of a route.
    pub(super) fn record_lost(&self, route: &Route, reason: CloseReason) {
        let mut state = self.0.lock();
        // Another process of the same broker has taken over, and is connected already.
        let is_replaced = state.members.values().any(|other| {
            let is_same = other.address == route.address && other.name == route.remote_name;
            other.connected && other.id != route.remote_id && is_same
        });
        if is_replaced {
            state.members.remove(&route.remote_id);
        }
        if let Some(member) = state.members.get_mut(&route.remote_id) {
            member.connected = false;
            member.since = MonotonicMillis::now();
            member.last_received = route.last_received();
            // One of two simultaneous connections was closed: nothing was lost.
            member.losses += u64::from(reason != CloseReason::DuplicateRoute);
            member.lost_by = Some(reason);
            // Removed from the configuration: it is not expected any more.
            member.leaving |= reason == CloseReason::RouteRemoved;
            member.requested_at = None;
            member.view = None;
            member.clients = None;
        }
    }

    /// Whether the broker at `address`, which has no name, is the only one with this certificate
    /// name.
    pub(super) fn is_unique(&self, address: &str, certname: &str) -> bool {
        let now = MonotonicMillis::now();
        let mut state = self.0.lock();
        state.forget(now);
        let mut others = state.certnames.iter().filter(|(at, _)| *at != address);
        let is_unique = !others.any(|(_, certname_seen)| certname_seen.certname == certname);
        if state.certnames.len() >= CERTNAMES_MAX && !state.certnames.contains_key(address) {
            let oldest = state
                .certnames
                .iter()
                .min_by_key(|(_, certname_seen)| certname_seen.at);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                state.certnames.remove(&oldest);
            }
        }
        let certname_seen = SeenCertname {
            certname: certname.to_owned(),
            at: now,
        };
        state.certnames.insert(address.to_owned(), certname_seen);
        is_unique
    }

    /// Whether the broker with this id is or was a member.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.lock().members.contains_key(id)
    }

    /// Records that a member was asked for its view.
    pub(super) fn record_request(&self, route: &Route) {
        if let Some(member) = self.0.lock().members.get_mut(&route.remote_id) {
            member.last_received = route.last_received();
            member.requested_at.get_or_insert_with(MonotonicMillis::now);
        }
    }

    /// Records how many clients a member has.
    pub(super) fn record_clients(&self, id: &str, clients: u64) {
        if let Some(member) = self.0.lock().members.get_mut(id) {
            member.clients = Some((clients, MonotonicMillis::now()));
        }
    }

    /// Records a member's view, if it was asked for.
    pub(super) fn record_view(&self, id: &str, routes: Vec<PeerRoute>) {
        let now = MonotonicMillis::now();
        if let Some(member) = self.0.lock().members.get_mut(id)
            && let Some(requested_at) = member.requested_at.take()
        {
            member.last_received = now;
            member.view = Some(PeerView {
                at: now,
                took: requested_at.until(now),
                routes,
            });
        }
    }
}

/// The address of a broker's route listener, as it announced; if that is a wildcard, the address of
/// the connection.
pub(super) fn address(info: &RouteInfo, peer_address: IpAddr) -> String {
    if let Ok(url) = RouteUrl::parse(&info.ip) {
        return url.to_string();
    }
    let is_wildcard = info.host.is_empty()
        || (info.host.parse()).is_ok_and(|address: IpAddr| address.is_unspecified());
    match is_wildcard {
        true => with_port(&peer_address.to_canonical().to_string(), info.port),
        false => with_port(&info.host, info.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_a_later_question_is_new() {
        let begin = MonotonicMillis(1000);
        for (at, took, is_new) in [
            (900, 0, false),
            (900, 100, false),
            (1000, 0, false),
            (1000, 5, false),
            (1001, 0, true),
            (1010, 10, false),
            (1010, 9, true),
            (1010, 20, false),
        ] {
            let view = PeerView {
                at: MonotonicMillis(at),
                took: Duration::from_millis(took),
                routes: Vec::new(),
            };
            assert_eq!(view.was_asked_after(begin), is_new, "{at} {took}");
        }
    }

    #[test]
    fn a_certname_is_unique_to_one_broker() {
        let membership = Membership::default();
        assert!(membership.is_unique("a:1", "node"));
        assert!(membership.is_unique("a:1", "node"), "started anew");
        assert!(!membership.is_unique("b:1", "node"));
        assert!(!membership.is_unique("a:1", "node"), "not any more");
        assert!(membership.is_unique("b:1", "other"));
        assert!(membership.is_unique("a:1", "node"));
        for number in 0..2 * CERTNAMES_MAX {
            membership.is_unique(&number.to_string(), "crowd");
        }
        assert_eq!(membership.0.lock().certnames.len(), CERTNAMES_MAX);
    }

    #[test]
    fn a_wildcard_address_is_replaced_by_the_peers_address() {
        let peer_address = IpAddr::from([10, 0, 0, 7]);
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
            assert_eq!(address(&info, peer_address), expected);
        }
    }
}
