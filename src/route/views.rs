//! The views of the other members: each is asked from time to time for its `/routez` over the
//! system account, which midge and every version of nats-server answer, and for its statistics, which
//! contain the number of its clients. A nats-server is also asked once for its `/varz`, which contains
//! its limit of control lines.
//!
//! `server::housekeeping` has them sent ([`Cluster::request_views`]); the answers are picked from a
//! route's messages ([`Cluster::handle_view`]) and recorded in the [`super::membership`].

use std::sync::{Arc, atomic::Ordering};

use monitor_client::text::go_duration;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use tracing::debug;

use super::{
    cluster::{Cluster, Route},
    membership::PeerRoute,
    node_lists,
};
use crate::{
    account::Account,
    connection::buffers::ThreadBuffers,
    delivery::SubjectBatch,
    protocol::{CRLF, encode::route_message, route::ROUTE_LINE_FACTOR},
    telemetry::{MonotonicMillis, pool::shorten},
};
/// Limit of an answer that is parsed, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// Limit of routes that are read from an answer.
const ROUTES_MAX: usize = 1024;

/// The answer to `$SYS.REQ.SERVER.<id>.ROUTEZ`, `VARZ` or `STATSZ`, as far as it is used.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    server: Sender,
    data: Option<Routes>,
    /// In the answer to STATSZ.
    statsz: Option<Statistics>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Sender {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Statistics {
    connections: u64,
    midge: MidgeStatistics,
}

/// What only midge tells.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MidgeStatistics {
    /// Clients that are in an account.
    clients: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Routes {
    server_id: String,
    /// In the answer to VARZ this is a number.
    #[serde(deserialize_with = "first_routes")]
    routes: Option<Vec<RouteEntry>>,
    /// In the answer to VARZ.
    max_control_line: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RouteEntry {
    remote_id: String,
    remote_name: String,
    rtt: String,
    pending_size: i64,
    is_configured: bool,
}

impl Cluster {
    /// Asks every member for its view and repeats unanswered requests for counts. Called every few
    /// seconds, while the thread's buffers are not in use.
    pub fn request_views(&self) {
        self.repeat_requests();
        for route in self.routes() {
            let Some(request) = self.request(&route, "ROUTEZ") else {
                return;
            };
            self.membership.record_request(&route);
            route.connection.send_now(&request);
            if let Some(request) = self.request(&route, "STATSZ") {
                route.connection.send_now(&request);
            }
        }
    }

    /// Asks a member that did not announce its limit of control lines for it. Called with each new
    /// route.
    pub(super) fn request_line_max(&self, buffers: &mut ThreadBuffers, route: &Route) {
        if !route.line_max_known.load(Ordering::Relaxed)
            && let Some(request) = self.request(route, "VARZ")
        {
            route.connection.send(buffers, &request);
        }
    }

    /// A request to a service of a route's peer; `None` without a system account.
    fn request(&self, route: &Route, service: &str) -> Option<Vec<u8>> {
        let account = &self.broker.accounts.system()?.name;
        let subject = format!("$SYS.REQ.SERVER.{}.{service}", route.remote_id);
        Some(route_message(account, &subject, &self.views_subject, b"{}"))
    }

    /// Subscribes to what [`Cluster::handle_view`] and [`Cluster::handle_node_list`] handle. Called with each new route, after the
    /// interest of the accounts was announced.
    pub(super) fn subscribe_answers(&self, buffers: &mut ThreadBuffers) {
        let Some(account) = self.broker.accounts.system() else {
            return;
        };
        let interest = &account.interest;
        interest.want(buffers, self.views_subject.as_bytes());
        let nodes = node_lists::subject_of_answers(&self.node.server_id);
        interest.want(buffers, nodes.as_bytes());
        // It announces that a member stops.
        interest.want(buffers, b"$SYS.SERVER.*.SHUTDOWN");
    }

    /// Picks members' views from the messages of the system account.
    pub(super) fn handle_view(
        &self,
        route: &Route,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
    ) {
        if !account.is_system || batch.subject != self.views_subject.as_bytes() {
            return;
        }
        for message in batch.messages {
            let start = message.header_len.unwrap_or(0) as usize;
            let body = batch.body(message);
            self.record_view(route, &body[start..body.len() - CRLF.len()]);
        }
    }

    fn record_view(&self, route: &Route, body: &[u8]) {
        if body.len() > ANSWER_MAX {
            return;
        }
        match serde_json::from_slice::<Answer>(body) {
            // A member can only report its own view.
            Ok(Answer {
                data: Some(data), ..
            }) if data.server_id == route.remote_id => {
                if let Some(bytes) = data.max_control_line {
                    self.record_line_max(route, bytes);
                }
                if let Some(routes) = data.routes {
                    self.membership
                        .record_view(&route.remote_id, peer_routes(routes));
                }
            }
            Ok(Answer {
                server,
                statsz: Some(statistics),
                ..
            }) if server.id == route.remote_id => {
                // Those of a nats-server may include some that have not logged in.
                let clients = statistics.midge.clients;
                let clients = clients.unwrap_or(statistics.connections);
                self.membership.record_clients(&route.remote_id, clients);
            }
            Ok(_) => {}
            Err(error) => debug!(
                "{} sent an invalid answer about its routes: {error}",
                route.remote_name
            ),
        }
    }

    /// Records the limit of control lines that a nats-server has for clients; its limit for brokers
    /// is a multiple.
    fn record_line_max(&self, route: &Route, of_clients: usize) {
        if route.line_max_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let of_routes = of_clients.saturating_mul(ROUTE_LINE_FACTOR);
        let bytes = self.failing.learn_line_max(&route.remote_id, of_routes);
        let connection = &route.connection;
        let is_more = bytes > connection.line_max();
        connection.set_line_max(bytes);
        if is_more {
            for account in self.broker.accounts.all_announced() {
                account.interest.announce_long_again(connection);
            }
        }
    }
}

/// The subject that members send their views to; it contains this broker's id.
pub(super) fn subject(server_id: &str) -> String {
    format!("$SYS._ROUTES.{server_id}")
}

/// The routes of an answer, up to the limit; `None` if it is not a list.
fn first_routes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<RouteEntry>>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<Vec<RouteEntry>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of routes, or their number")
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut routes = Vec::new();
            while routes.len() < ROUTES_MAX {
                match list.next_element()? {
                    Some(route) => routes.push(route),
                    None => return Ok(Some(routes)),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Some(routes))
        }
    }
    from.deserialize_any(First)
}

/// Combines several routes to the same member, which nats-server lists separately.
fn peer_routes(routes: Vec<RouteEntry>) -> Vec<PeerRoute> {
    let mut peer_routes: Vec<PeerRoute> = Vec::new();
    for route in routes {
        let pending = u64::try_from(route.pending_size).unwrap_or(0);
        let rtt = go_duration(&route.rtt).ok();
        match peer_routes
            .iter_mut()
            .find(|known| known.id == route.remote_id)
        {
            Some(known) => {
                known.pending = known.pending.saturating_add(pending);
                known.rtt = [known.rtt, rtt].into_iter().flatten().min();
                known.configured |= route.is_configured;
            }
            None => peer_routes.push(PeerRoute {
                id: shorten(&route.remote_id).into_owned(),
                name: shorten(&route.remote_name).into_owned(),
                rtt,
                pending,
                configured: route.is_configured,
            }),
        }
    }
    peer_routes
}

impl Route {
    /// When something last came from the other broker.
    pub fn last_received(&self) -> MonotonicMillis {
        MonotonicMillis(self.received_at.load(Ordering::Relaxed))
    }

    /// Notes that something came.
    pub(super) fn record_received(&self) {
        self.received_at
            .store(MonotonicMillis::now().0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_a_long_answer_the_first_routes_are_taken() {
        let read = |routes: &str| {
            let text = format!("{{\"data\":{{\"server_id\":\"A\",\"routes\":{routes}}}}}");
            let answer: Answer = serde_json::from_str(&text).expect("JSON");
            answer.data.expect("data").routes.map(|routes| routes.len())
        };
        assert_eq!(read("7"), None);
        assert_eq!(read("null"), None);
        assert_eq!(read("[]"), Some(0));
        let many = |number| read(&format!("[{}]", vec!["{}"; number].join(",")));
        assert_eq!(many(ROUTES_MAX), Some(ROUTES_MAX));
        assert_eq!(many(ROUTES_MAX + 5), Some(ROUTES_MAX));
    }

    #[test]
    fn several_routes_to_one_member_are_combined() {
        let route = |id: &str, rtt: &str, pending_size| RouteEntry {
            remote_id: id.into(),
            rtt: rtt.into(),
            pending_size,
            ..RouteEntry::default()
        };
        let peer_routes = peer_routes(vec![
            route("A", "", 1),
            route("B", "1ms", -5),
            route("A", "2ms", 2),
        ]);
        assert_eq!(peer_routes.len(), 2);
        assert_eq!(peer_routes[0].pending, 3);
        assert_eq!(peer_routes[0].rtt, Some(Duration::from_millis(2)));
        assert_eq!(peer_routes[1].pending, 0);
    }
}
