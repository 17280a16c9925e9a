//! Where the values of a metric come from: the endpoints of the monitoring port, the lists in their
//! answers, and what the plugin measures itself.

use monitor_client::text;
use serde_json::Value as Json;

/// An endpoint, in the order of the requests of a poll.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Endpoint {
    /// Settings and totals; always requested, before all others.
    Varz,
    /// Findings.
    Explainz,
    /// Ceilings, and memory by cause.
    Memz,
    /// Route connections.
    Routez,
    /// Members of the cluster.
    Clusterz,
    /// The connections for which the most bytes wait.
    Connz,
    /// Readers that fell behind.
    Slowz,
    /// How long messages stay in the broker.
    Latencyz,
    /// Traffic by account.
    Accstatz,
}

impl Endpoint {
    /// Its path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Varz => "/varz",
            Self::Explainz => "/explainz",
            Self::Memz => "/memz",
            Self::Routez => "/routez",
            Self::Clusterz => "/clusterz",
            Self::Connz => "/connz",
            Self::Slowz => "/slowz",
            Self::Latencyz => "/latencyz",
            Self::Accstatz => "/accstatz",
        }
    }

    /// Path and query of a request for `connections` connections.
    pub(crate) fn request(self, connections: usize) -> String {
        match self {
            Self::Connz => format!("/connz?sort=pending&limit={connections}"),
            // The total is wanted, not the incidents.
            Self::Slowz => "/slowz?limit=1".to_owned(),
            Self::Accstatz => "/accstatz?unused=1".to_owned(),
            other => other.path().to_owned(),
        }
    }

    /// Whether only a member of a cluster is asked.
    pub(crate) fn is_about_cluster(self) -> bool {
        matches!(self, Self::Routez | Self::Clusterz)
    }
}

/// The source of a metric's values.
#[derive(Debug)]
pub(crate) enum Source {
    /// The plugin itself.
    Own(Own),
    /// One figure of an answer.
    Answer(Endpoint, Figure),
    /// One figure of each element of a list.
    Each(&'static List, Figure),
    /// Each member of an object of totals, such as a count for each reason.
    Members(&'static Members),
    /// The number of findings of these severities.
    Findings(&'static [&'static str]),
    /// The value of the elements of a list by rank, in the answer's order.
    Ranked(&'static Ranked),
}

/// What the plugin measures itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Own {
    /// Whether `/varz` was read.
    Up,
    /// Whether the broker is up, `/healthz` says ok, and no finding is critical.
    Healthy,
    /// Seconds for the request of `/varz`.
    ResponseTime,
    /// Seconds for all requests of the poll.
    PollTime,
    /// Seconds from `start` to `now` of `/varz`.
    Uptime,
}

/// Which values of an object make a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// These keys, one for each data source of the type. Durations and flags are numbers too.
    Keys(&'static [&'static str]),
    /// The first in percent of the second, at most 100.
    Percent(&'static str, &'static str),
    /// Days from the broker's time to this one.
    DaysUntil(&'static str),
    /// The first, unless the second is 0: without samples there is no value.
    Sampled(&'static str, &'static str),
    /// 1: the element exists.
    One,
}

impl Figure {
    /// The keys that it needs, separated by dots.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        match self {
            Self::Keys(keys) => keys.to_vec(),
            Self::Percent(one, other) | Self::Sampled(one, other) => vec![one, other],
            Self::DaysUntil(key) => vec![key],
            Self::One => Vec::new(),
        }
    }
}

/// A list in an answer whose elements have names.
#[derive(Debug)]
pub(crate) struct List {
    /// What its elements are, for the log and for counting their names.
    pub(crate) what: &'static str,
    /// What stands for a name in the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) placeholder: &'static str,
    pub(crate) endpoint: Endpoint,
    /// The list's key.
    pub(crate) key: &'static str,
    /// The keys that [`List::name`] needs.
    pub(crate) name_keys: &'static [&'static str],
    /// The name of an element; `None` for one without values.
    pub(crate) name: fn(&Json) -> Option<&str>,
}

/// An object of totals in an answer.
#[derive(Debug)]
pub(crate) struct Members {
    /// What its members are, for the log and for counting their names.
    pub(crate) what: &'static str,
    /// What stands for a name in the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) placeholder: &'static str,
    pub(crate) endpoint: Endpoint,
    /// The object's key, separated by dots.
    pub(crate) key: &'static str,
}

/// A list that is read by rank: its first elements, however they are called.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(crate) endpoint: Endpoint,
    pub(crate) list: &'static str,
    pub(crate) figure: Figure,
}

pub(crate) const ROUTES: List = List {
    what: "routes",
    placeholder: "NAME",
    endpoint: Endpoint::Routez,
    key: "routes",
    name_keys: &["remote_name", "remote_id", "ip"],
    name: |route| named(route, "remote_name", "remote_id", "ip"),
};

pub(crate) const MEMBERS: List = List {
    what: "members",
    placeholder: "NAME",
    endpoint: Endpoint::Clusterz,
    key: "members",
    name_keys: &["name", "id", "address", "own", "connected", "leaving"],
    name: |member| {
        let is = |key: &str| member[key].as_bool().unwrap_or(false);
        // One that said that it leaves is not expected any more.
        let is_expected = is("connected") || !is("leaving");
        let is_named = !is("own") && is_expected;
        is_named
            .then(|| named(member, "name", "id", "address"))
            .flatten()
    },
};

pub(crate) const ACCOUNTS: List = List {
    what: "accounts",
    placeholder: "NAME",
    endpoint: Endpoint::Accstatz,
    key: "account_statz",
    name_keys: &["acc"],
    name: |account| text_of(account, "acc"),
};

/// The ceilings that are counted in items.
pub(crate) const COUNT_CEILINGS: List = List {
    name: |ceiling| named_with_unit(ceiling, &["count"]),
    ..CEILINGS
};

/// The ceilings that are counted in bytes.
pub(crate) const BYTE_CEILINGS: List = List {
    name: |ceiling| named_with_unit(ceiling, &["bytes"]),
    ..CEILINGS
};

/// All ceilings except validity periods: certificates have metrics of their own.
pub(crate) const CEILINGS: List = List {
    what: "ceilings",
    placeholder: "NAME",
    endpoint: Endpoint::Memz,
    key: "ceilings",
    name_keys: &["name", "unit"],
    name: |ceiling| named_with_unit(ceiling, &["count", "bytes"]),
};

pub(crate) const CAUSES: List = List {
    what: "causes of memory",
    placeholder: "CAUSE",
    endpoint: Endpoint::Memz,
    key: "causes",
    name_keys: &["cause"],
    name: |cause| text_of(cause, "cause"),
};

pub(crate) const LOST_MESSAGES: Members = varz_members("reasons of losses", "dropped_msgs");
pub(crate) const LOST_BYTES: Members = varz_members("reasons of losses", "dropped_bytes");
pub(crate) const REFUSED_LOGINS: Members = varz_members("reasons of refusals", "logins.refused");
pub(crate) const FAILED_HANDSHAKES: Members = varz_members("causes of failures", "tls.failed");
pub(crate) const FAILED_ROUTE_HANDSHAKES: Members =
    varz_members("causes of failures", "cluster.tls.failed");

pub(crate) const LONGEST_QUEUES: Ranked = Ranked {
    endpoint: Endpoint::Connz,
    list: "connections",
    figure: Figure::Keys(&["pending_bytes"]),
};

const fn varz_members(what: &'static str, key: &'static str) -> Members {
    Members {
        what,
        placeholder: "REASON",
        endpoint: Endpoint::Varz,
        key,
    }
}

fn text_of<'a>(object: &'a Json, key: &str) -> Option<&'a str> {
    object[key].as_str().filter(|text| !text.is_empty())
}

/// The name of a broker, or its host: one without a configured name has its id as its name, which is
/// new at each start, and one that was never connected has its address. nats-server 2.9 has no
/// names.
fn named<'a>(broker: &'a Json, name: &str, id: &str, address: &str) -> Option<&'a str> {
    let address = text_of(broker, address);
    let name = text_of(broker, name);
    let name = name.filter(|name| broker[id] != **name && Some(*name) != address);
    name.or_else(|| address.map(host))
}

/// A host without its port.
fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let is_v6 = host.contains(':') && !host.starts_with('[');
            if is_v6 { address } else { host }
        }
        _ => address,
    }
}

fn named_with_unit<'a>(ceiling: &'a Json, units: &[&str]) -> Option<&'a str> {
    let unit = text_of(ceiling, "unit")?;
    text_of(ceiling, "name").filter(|_| units.contains(&unit))
}

/// The seconds of a duration as the endpoints write it (`472µs`).
pub(crate) fn seconds(duration: &str) -> Option<f64> {
    let duration = text::go_duration(duration).ok()?;
    Some(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn brokers_are_named_by_what_stays() {
        let route = |name: &str| json!({"remote_name": name, "remote_id": "NAB", "ip": "10.0.0.2"});
        let name = |route: &Json| (ROUTES.name)(route).map(str::to_owned);
        assert_eq!(name(&route("east")).as_deref(), Some("east"));
        for unnamed in ["NAB", ""] {
            assert_eq!(name(&route(unnamed)).as_deref(), Some("10.0.0.2"));
        }
        assert_eq!(name(&json!({"remote_id": "NAB"})), None);

        let member = |name: &str, own, connected, leaving| {
            let member = json!({"name": name, "id": "NAB", "address": "10.0.0.2:6222",
                "own": own, "connected": connected, "leaving": leaving});
            (MEMBERS.name)(&member).map(str::to_owned)
        };
        assert_eq!(member("east", false, true, false).as_deref(), Some("east"));
        for unnamed in ["NAB", "10.0.0.2:6222"] {
            let found = member(unnamed, false, false, false);
            assert_eq!(found.as_deref(), Some("10.0.0.2"));
        }
        assert_eq!(member("east", true, true, false), None);
        assert_eq!(member("east", false, false, true), None);
        assert!(member("east", false, true, true).is_some());
    }

    #[test]
    fn hosts_are_without_their_ports() {
        for (address, expected) in [
            ("10.0.0.2:6222", "10.0.0.2"),
            ("east.example.net:6222", "east.example.net"),
            ("[::1]:6222", "[::1]"),
            ("::1", "::1"),
            ("10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
