//! What the other members see: each is asked now and then for its `/routez`
//! over the system account, as nats-server of every version and midge answer
//! it. A nats-server is also asked once for its `/varz`, which tells how long
//! control lines it takes.
//!
//! The diagnosis asks ([`Cluster::ask_views`]); what comes back is taken off a
//! route's messages ([`Cluster::hear`]) and noted in the [`super::membership`].

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
/// Bytes of the longest answer that is read.
const ANSWER_MAX: usize = 1024 * 1024;

/// Routes that are taken from one answer.
const SIGHTS_MAX: usize = 1024;

/// The answer to `$SYS.REQ.SERVER.<id>.ROUTEZ` or `VARZ`, as far as it counts here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    data: Option<Routes>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Routes {
    server_id: String,
    /// In the answer of VARZ it is a mere number.
    #[serde(deserialize_with = "first_routes")]
    routes: Option<Vec<RouteOf>>,
    /// In the answer of VARZ.
    max_control_line: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RouteOf {
    remote_id: String,
    remote_name: String,
    rtt: String,
    pending_size: i64,
    is_configured: bool,
}

impl Cluster {
    /// Asks every member what it sees, and once more for what it did not tell. To be
    /// called every few seconds, and while the thread's buffers are not in use.
    pub fn ask_views(&self) {
        self.keep_count();
        for route in self.routes() {
            let Some(question) = self.question(&route, "ROUTEZ") else {
                return;
            };
            self.membership.asked(&route);
            route.connection.send_now(question.as_bytes());
        }
    }

    /// Asks a member that did not tell how long control lines it takes. To be
    /// called with each new route.
    pub(super) fn ask_line_max(&self, buffers: &mut ThreadBuffers, route: &Route) {
        if !route.line_max_known.load(Ordering::Relaxed)
            && let Some(question) = self.question(route, "VARZ")
        {
            route.connection.send(buffers, question.as_bytes());
        }
    }

    /// A request to a service of the member behind a route; `None` without a
    /// system account.
    fn question(&self, route: &Route, service: &str) -> Option<String> {
        let account = &self.context.accounts.system()?.name;
        let (id, answers) = (&route.remote_id, &self.views_subject);
        Some(format!(
            "RMSG {account} $SYS.REQ.SERVER.{id}.{service} {answers} 2\r\n{{}}\r\n"
        ))
    }

    /// Wants what [`Cluster::hear`] takes. To be called with each new route,
    /// once it is told what the accounts want.
    pub(super) fn want_requests(&self, buffers: &mut ThreadBuffers) {
        let Some(account) = self.context.accounts.system() else {
            return;
        };
        let interest = &account.interest;
        interest.want(buffers, self.views_subject.as_bytes());
        // By it a member is known to stop.
        interest.want(buffers, b"$SYS.SERVER.*.SHUTDOWN");
    }

    /// Takes what members tell off the messages of the system account.
    pub(super) fn hear(&self, route: &Route, account: &Arc<Account>, batch: &SubjectBatch<'_>) {
        if !account.is_system || batch.subject != self.views_subject.as_bytes() {
            return;
        }
        for message in batch.messages {
            let start = message.header_len.unwrap_or(0) as usize;
            let body = batch.body(message);
            self.note_view(route, &body[start..body.len() - CRLF.len()]);
        }
    }

    fn note_view(&self, route: &Route, body: &[u8]) {
        if body.len() > ANSWER_MAX {
            return;
        }
        match serde_json::from_slice::<Told>(body) {
            // Members speak for themselves alone.
            Ok(Told { data: Some(data) }) if data.server_id == route.remote_id => {
                if let Some(bytes) = data.max_control_line {
                    self.note_line_max(route, bytes);
                }
                if let Some(routes) = data.routes {
                    self.membership.told(&route.remote_id, sights(routes));
                }
            }
            Ok(_) => {}
            Err(error) => debug!("{} told no routes: {error}", route.remote_name),
        }
    }

    /// A nats-server told what its clients may say: brokers may say more.
    fn note_line_max(&self, route: &Route, of_clients: usize) {
        if route.line_max_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let told = of_clients.saturating_mul(ROUTE_LINE_FACTOR);
        let bytes = self.failing.learn_line_max(&route.remote_id, told);
        let connection = &route.connection;
        let is_more = bytes > connection.line_max();
        connection.set_line_max(bytes);
        if is_more {
            for account in self.context.accounts.all_announced() {
                account.interest.tell_long_again(connection);
            }
        }
    }
}

/// Where members answer to the broker of this id.
pub(super) fn subject(server_id: &str) -> String {
    format!("$SYS._ROUTES.{server_id}")
}

/// The routes of an answer, as many as are taken; `None` if it is no list.
fn first_routes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<RouteOf>>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<Vec<RouteOf>>;

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
            while routes.len() < SIGHTS_MAX {
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

/// One sight for each member: nats-server shows several routes to the same.
fn sights(routes: Vec<RouteOf>) -> Vec<PeerRoute> {
    let mut sights: Vec<PeerRoute> = Vec::new();
    for route in routes {
        let pending = u64::try_from(route.pending_size).unwrap_or(0);
        let rtt = go_duration(&route.rtt);
        match sights.iter_mut().find(|known| known.id == route.remote_id) {
            Some(known) => {
                known.pending = known.pending.saturating_add(pending);
                known.rtt = [known.rtt, rtt].into_iter().flatten().min();
                known.configured |= route.is_configured;
            }
            None => sights.push(PeerRoute {
                id: shorten(&route.remote_id).into_owned(),
                name: shorten(&route.remote_name).into_owned(),
                rtt,
                pending,
                configured: route.is_configured,
            }),
        }
    }
    sights
}

/// A time as Go writes it, such as `1m2.5s` or `472µs`.
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
    /// When something last came from the other broker.
    pub fn last_heard(&self) -> MonotonicMillis {
        MonotonicMillis(self.heard.load(Ordering::Relaxed))
    }

    /// Notes that something came.
    pub(super) fn note_heard(&self) {
        self.heard
            .store(MonotonicMillis::now().0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
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
    fn of_a_long_answer_the_first_routes_are_taken() {
        let read = |routes: &str| {
            let text = format!("{{\"data\":{{\"server_id\":\"A\",\"routes\":{routes}}}}}");
            let told: Told = serde_json::from_str(&text).expect("JSON");
            told.data.expect("data").routes.map(|routes| routes.len())
        };
        assert_eq!(read("7"), None);
        assert_eq!(read("null"), None);
        assert_eq!(read("[]"), Some(0));
        let many = |number| read(&format!("[{}]", vec!["{}"; number].join(",")));
        assert_eq!(many(SIGHTS_MAX), Some(SIGHTS_MAX));
        assert_eq!(many(SIGHTS_MAX + 5), Some(SIGHTS_MAX));
    }

    #[test]
    fn several_routes_to_one_member_are_one_sight() {
        let route = |id: &str, rtt: &str, pending_size| RouteOf {
            remote_id: id.into(),
            rtt: rtt.into(),
            pending_size,
            ..RouteOf::default()
        };
        let sights = sights(vec![
            route("A", "", 1),
            route("B", "1ms", -5),
            route("A", "2ms", 2),
        ]);
        assert_eq!(sights.len(), 2);
        assert_eq!(sights[0].pending, 3);
        assert_eq!(sights[0].rtt, Some(Duration::from_millis(2)));
        assert_eq!(sights[1].pending, 0);
    }
}
