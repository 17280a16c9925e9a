//! The views of the other members: each is asked from time to time for its `/routez` over the
//! system account, which midge and every version of nats-server answer. A nats-server is also asked
//! once for its `/varz`, which contains its limit of control lines.
//!
//! The diagnosis sends the requests ([`Cluster::request_views`]); the answers are picked from a
//! route's messages ([`Cluster::handle_view`]) and recorded in the [`super::membership`].

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use tracing::debug;

use super::{
    cluster::{Cluster, Route},
    membership::PeerRoute,
};
use crate::{
    account::Account,
    connection::{buffers::ThreadBuffers, delivery::SubjectBatch},
    protocol::{CRLF, route::ROUTE_LINE_FACTOR},
    telemetry::{MonotonicMillis, pool::shorten},
};
/// Limit of an answer that is parsed, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// Limit of routes that are read from an answer.
const ROUTES_MAX: usize = 1024;

/// The answer to `$SYS.REQ.SERVER.<id>.ROUTEZ` or `VARZ`, as far as it is used.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Option<Routes>,
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
            route.connection.send_now(request.as_bytes());
        }
    }

    /// Asks a member that did not announce its limit of control lines for it. Called with each new
    /// route.
    pub(super) fn request_line_max(&self, buffers: &mut ThreadBuffers, route: &Route) {
        if !route.line_max_known.load(Ordering::Relaxed)
            && let Some(request) = self.request(route, "VARZ")
        {
            route.connection.send(buffers, request.as_bytes());
        }
    }

    /// A request to a service of a route's peer; `None` without a system account.
    fn request(&self, route: &Route, service: &str) -> Option<String> {
        let account = &self.context.accounts.system()?.name;
        let (id, reply) = (&route.remote_id, &self.views_subject);
        Some(format!(
            "RMSG {account} $SYS.REQ.SERVER.{id}.{service} {reply} 2\r\n{{}}\r\n"
        ))
    }

    /// Subscribes to what [`Cluster::handle_view`] handles. Called with each new route, after the
    /// interest of the accounts was announced.
    pub(super) fn subscribe_answers(&self, buffers: &mut ThreadBuffers) {
        let Some(account) = self.context.accounts.system() else {
            return;
        };
        let interest = &account.interest;
        interest.want(buffers, self.views_subject.as_bytes());
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
            Ok(Answer { data: Some(data) }) if data.server_id == route.remote_id => {
                if let Some(bytes) = data.max_control_line {
                    self.record_line_max(route, bytes);
                }
                if let Some(routes) = data.routes {
                    self.membership
                        .record_view(&route.remote_id, peer_routes(routes));
                }
            }
            Ok(_) => {}
            Err(error) => debug!("{} told no routes: {error}", route.remote_name),
        }
    }

    /// Records the limit of control lines that a nats-server has for clients; its limit for brokers
    /// is a multiple.
    fn record_line_max(&self, route: &Route, of_clients: usize) {
        if route.line_max_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let record_view = of_clients.saturating_mul(ROUTE_LINE_FACTOR);
        let bytes = self.failing.learn_line_max(&route.remote_id, record_view);
        let connection = &route.connection;
        let is_more = bytes > connection.line_max();
        connection.set_line_max(bytes);
        if is_more {
            for account in self.context.accounts.all_announced() {
                account.interest.resend_long_entries(connection);
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
        let rtt = go_duration(&route.rtt);
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

/// A duration in Go's format, such as `1m2.5s` or `472µs`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let scale = match unit {
            "ns" => 1e-9,
            "µs" | "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    match text.is_empty() {
        true => None,
        false => Duration::try_from_secs_f64(seconds).ok(),
    }
}

impl Route {
    /// When something was last received from the other broker.
    pub fn last_received(&self) -> MonotonicMillis {
        MonotonicMillis(self.received_at.load(Ordering::Relaxed))
    }

    /// Records that something was received.
    pub(super) fn record_received(&self) {
        self.received_at
            .store(MonotonicMillis::now().0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_gos_format_are_parsed() {
        for (text, micros) in [
            ("472µs", 472),
            ("1.5ms", 1500),
            ("2s", 2_000_000),
            ("1m0.5s", 60_500_000),
            ("100ns", 0),
        ] {
            let read = go_duration(text).map(|time| time.as_micros());
            assert_eq!(read, Some(micros), "{text}");
        }
        for text in ["", "5", "x", "5parsecs", "ms", "1..2s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_long_answer_is_cut_after_the_first_routes() {
        let read = |routes: &str| {
            let text = format!("{{\"data\":{{\"server_id\":\"A\",\"routes\":{routes}}}}}");
            let record_view: Answer = serde_json::from_str(&text).expect("JSON");
            record_view
                .data
                .expect("data")
                .routes
                .map(|routes| routes.len())
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
