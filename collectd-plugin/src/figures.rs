//! What is dispatched: one table from figures of the broker to identifiers of
//! collectd, and the reading of those figures from an answer of `/varz`.
//!
//! Types are only those of collectd's own types.db. Running totals are DERIVE,
//! because a COUNTER that falls to zero with a restarted broker draws a spike.

use chrono::DateTime;
use monitor_client::Varz;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value as Json;

use crate::daemon::Value;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Which option it belongs to.
    pub(crate) group: Group,
    /// Where its values come from.
    pub(crate) source: Source,
    /// collectd's type.
    pub(crate) kind: &'static str,
    /// collectd's type instance; may be empty.
    pub(crate) type_instance: &'static str,
    /// Form of the type's data sources.
    pub(crate) form: Form,
    /// Meaning and unit, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) doc: &'static str,
}

/// Which option asks for a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// Always dispatched.
    Basic,
    /// With `LegacyNames`, under the plugin name of an old configuration.
    Legacy,
    /// With `ReportLimits`.
    Limits,
}

/// Where the values of a figure come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The code of `/healthz`: 1 for 200, 0 for 500 and 503, else not known.
    Healthy,
    /// Seconds the answer of `/varz` took.
    ResponseTime,
    /// 1 when `/varz` was read, else 0. The only figure of a broker that is down.
    Up,
    /// `now` − `start` of `/varz`, in seconds.
    Uptime,
    /// These keys of `/varz`, one for each data source of the type.
    Varz(&'static [&'static str]),
}

/// Form of a figure's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Running total, of old identifiers only.
    Counter,
    /// Running total.
    Derive,
    /// Level.
    Gauge,
}

use Form::{Counter, Derive, Gauge};
use Group::{Basic, Legacy, Limits};

const fn varz(
    group: Group,
    kind: &'static str,
    type_instance: &'static str,
    form: Form,
    keys: &'static [&'static str],
    doc: &'static str,
) -> Figure {
    Figure {
        group,
        source: Source::Varz(keys),
        kind,
        type_instance,
        form,
        doc,
    }
}

const fn own(
    source: Source,
    kind: &'static str,
    type_instance: &'static str,
    doc: &'static str,
) -> Figure {
    Figure {
        group: Basic,
        source,
        kind,
        type_instance,
        form: Gauge,
        doc,
    }
}

/// Every figure the plugin can dispatch.
#[rustfmt::skip]
pub(crate) const FIGURES: &[Figure] = &[
    own(Source::Up, "bool", "up", "1 when the broker answered, 0 when it did not; always dispatched"),
    own(Source::Healthy, "bool", "healthy", "1 when /healthz says ok, 0 when it reports trouble, not a number when it cannot be read"),
    own(Source::ResponseTime, "response_time", "varz", "seconds until the answer of /varz was read"),
    own(Source::Uptime, "uptime", "", "seconds since the broker started"),
    varz(Basic, "current_connections", "clients", Gauge, &["connections"], "open client connections"),
    varz(Basic, "current_connections", "routes", Gauge, &["routes"], "route connections; nats-server pools several for each peer"),
    varz(Basic, "current_connections", "remotes", Gauge, &["remotes"], "distinct brokers behind the routes"),
    varz(Basic, "current_connections", "leafnodes", Gauge, &["leafnodes"], "leafnode connections"),
    varz(Basic, "total_connections", "", Derive, &["total_connections"], "client connections accepted, refused ones included"),
    varz(Basic, "if_packets", "total", Derive, &["in_msgs", "out_msgs"], "messages received and delivered"),
    varz(Basic, "if_octets", "total", Derive, &["in_bytes", "out_bytes"], "payload and header bytes received and delivered"),
    varz(Basic, "if_packets", "clients", Derive, &["in_client_msgs", "out_client_msgs"], "messages received from and delivered to clients"),
    varz(Basic, "if_octets", "clients", Derive, &["in_client_bytes", "out_client_bytes"], "bytes received from and delivered to clients"),
    varz(Basic, "total_events", "slow_consumers", Derive, &["slow_consumers"], "connections found to read too slowly"),
    varz(Basic, "total_events", "slow_consumers_clients", Derive, &["slow_consumer_stats.clients"], "of these, clients"),
    varz(Basic, "total_events", "slow_consumers_routes", Derive, &["slow_consumer_stats.routes"], "of these, routes"),
    varz(Basic, "total_events", "slow_consumers_gateways", Derive, &["slow_consumer_stats.gateways"], "of these, gateways"),
    varz(Basic, "total_events", "slow_consumers_leafs", Derive, &["slow_consumer_stats.leafs"], "of these, leafnodes"),
    varz(Basic, "total_events", "stale_connections", Derive, &["stale_connections"], "connections cut because they answered no ping"),
    varz(Basic, "total_events", "stalled_clients", Derive, &["stalled_clients"], "times a publisher waited for a slow reader"),
    varz(Basic, "gauge", "tls_certificate_days", Gauge, &["tls.cert_days_left"], "days until the broker's certificate ends, negative afterwards; midge with TLS only, as the next ones"),
    varz(Basic, "gauge", "tls_ca_days", Gauge, &["tls.ca_days_left"], "days until its CA ends"),
    varz(Basic, "gauge", "tls_crl_days", Gauge, &["tls.crl_days_left"], "days until the successor of the CRL is due"),
    varz(Basic, "total_events", "tls_handshakes", Derive, &["tls.handshakes"], "TLS handshakes finished"),
    varz(Basic, "total_events", "tls_failures", Derive, &["tls.failures"], "TLS handshakes that failed, and probes of the port"),
    varz(Basic, "total_events", "tls_revoked_closed", Derive, &["tls.revoked_closed"], "clients closed because their certificate was revoked meanwhile"),
    varz(Basic, "total_events", "routes_revoked_closed", Derive, &["cluster.revoked_closed"], "routes closed because their certificate was revoked meanwhile"),
    varz(Basic, "pubsub", "subscriptions", Gauge, &["subscriptions"], "subscriptions of all accounts"),
    varz(Basic, "memory", "rss", Gauge, &["mem"], "resident memory in bytes"),
    varz(Basic, "gauge", "cpu_percent", Gauge, &["cpu"], "processor use in percent of one core; may exceed 100"),
    varz(Limits, "count", "max_connections", Gauge, &["max_connections"], "most client connections"),
    varz(Limits, "bytes", "max_payload", Gauge, &["max_payload"], "bytes of the largest message"),
    varz(Limits, "bytes", "max_pending", Gauge, &["max_pending"], "bytes that may wait for one connection"),
    varz(Legacy, "gauge", "connections", Gauge, &["connections"], "as current_connections-clients"),
    varz(Legacy, "counter", "total_connections", Counter, &["total_connections"], "as total_connections"),
    varz(Legacy, "counter", "in_msgs", Counter, &["in_msgs"], "as if_packets-total, rx"),
    varz(Legacy, "counter", "out_msgs", Counter, &["out_msgs"], "as if_packets-total, tx"),
    varz(Legacy, "bytes", "in_bytes", Gauge, &["in_bytes"], "as if_octets-total, rx"),
    varz(Legacy, "bytes", "out_bytes", Gauge, &["out_bytes"], "as if_octets-total, tx"),
    varz(Legacy, "gauge", "slow_consumers", Gauge, &["slow_consumers"], "as total_events-slow_consumers"),
    varz(Legacy, "gauge", "subscriptions", Gauge, &["subscriptions"], "as pubsub-subscriptions"),
    varz(Legacy, "gauge", "routes", Gauge, &["routes"], "as current_connections-routes"),
    varz(Legacy, "gauge", "remotes", Gauge, &["remotes"], "as current_connections-remotes"),
    varz(Legacy, "bytes", "mem", Gauge, &["mem"], "as memory-rss"),
    varz(Legacy, "bytes", "max_payload", Gauge, &["max_payload"], "as bytes-max_payload"),
    varz(Legacy, "gauge", "max_control_line", Gauge, &["max_control_line"], "bytes of the longest protocol line"),
    varz(Legacy, "bytes", "max_pending_size", Gauge, &["max_pending"], "as bytes-max_pending; the key was renamed"),
];

/// An answer of `/varz`: who answered, and every figure it holds. Reading it
/// from JSON fails when the answer is not a broker's or a figure has a value
/// that its form cannot hold.
#[derive(Debug)]
pub(crate) struct Report {
    /// Id of this run of the broker.
    pub(crate) server_id: String,
    /// Name of the broker.
    pub(crate) server_name: String,
    /// Version of the broker.
    pub(crate) version: String,
    /// When this run began, as the broker wrote it.
    pub(crate) start: String,
    /// The figures, in the order of the table. What the broker does not report is absent.
    pub(crate) readings: Vec<(&'static Figure, Vec<Value>)>,
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let varz = Varz::deserialize(&json).map_err(D::Error::custom)?;
        if varz.server_id.is_empty() {
            return Err(D::Error::custom("no server_id, so not a NATS broker's"));
        }
        Ok(Self {
            readings: readings(&varz, &json).map_err(D::Error::custom)?,
            server_id: varz.server_id,
            server_name: varz.server_name,
            version: varz.version,
            start: varz.start,
        })
    }
}

fn readings(varz: &Varz, json: &Json) -> Result<Vec<(&'static Figure, Vec<Value>)>, String> {
    let mut readings = Vec::with_capacity(FIGURES.len());
    for figure in FIGURES {
        let values = match figure.source {
            Source::Varz(keys) => keys
                .iter()
                .map(|key| key_value(json, key, figure.form).transpose())
                .collect::<Option<Result<Vec<_>, _>>>()
                .transpose()?,
            Source::Uptime => uptime(varz).map(|seconds| vec![Value::Gauge(seconds)]),
            Source::Healthy | Source::ResponseTime | Source::Up => None,
        };
        readings.extend(values.map(|values| (figure, values)));
    }
    Ok(readings)
}

/// The number at `key` (a dot leads into an object), if there is one.
fn key_value(json: &Json, key: &str, form: Form) -> Result<Option<Value>, String> {
    let found = key.split('.').try_fold(json, |json, part| json.get(part));
    let Some(json) = found else {
        return Ok(None);
    };
    let value = match form {
        Counter => json.as_u64().map(Value::Counter),
        Derive => json.as_i64().map(Value::Derive),
        Gauge => json.as_f64().map(Value::Gauge),
    };
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(format!("{key} is {json}, which is out of range")),
    }
}

/// Seconds since the start; none when the broker's clock stepped back behind
/// it or the times are not in the form of RFC 3339.
fn uptime(varz: &Varz) -> Option<f64> {
    let now = DateTime::parse_from_rfc3339(&varz.now).ok()?;
    let start = DateTime::parse_from_rfc3339(&varz.start).ok()?;
    let seconds = (now - start).as_seconds_f64();
    (seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use super::*;

    const TYPES_DB: &str = "/usr/share/collectd/types.db";

    /// Type → forms of its data sources, in order.
    fn types_db() -> HashMap<String, Vec<String>> {
        let text = fs::read_to_string(TYPES_DB)
            .unwrap_or_else(|error| panic!("{TYPES_DB}: {error}: install collectd-core"));
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(char::is_whitespace))
            .map(|(name, sources)| {
                let forms = sources
                    .split(',')
                    .filter_map(|source| source.split(':').nth(1))
                    .map(str::to_owned);
                (name.to_owned(), forms.collect())
            })
            .collect()
    }

    fn report(json: Json) -> Result<Report, String> {
        Report::deserialize(json).map_err(|error| error.to_string())
    }

    fn find(report: &Report, kind: &str, type_instance: &str) -> Option<Vec<Value>> {
        let wanted = |figure: &Figure| {
            figure.group != Legacy && figure.kind == kind && figure.type_instance == type_instance
        };
        let found = report.readings.iter().find(|(figure, _)| wanted(figure));
        found.map(|(_, values)| values.clone())
    }

    #[test]
    fn types_are_collectds_own() {
        let types = types_db();
        for figure in FIGURES {
            let forms = types
                .get(figure.kind)
                .unwrap_or_else(|| panic!("{figure:?} has a type that types.db does not know"));
            let count = match figure.source {
                Source::Varz(keys) => keys.len(),
                _ => 1,
            };
            let expected = vec![format!("{:?}", figure.form).to_uppercase(); count];
            assert_eq!(*forms, expected, "{figure:?}");
        }
    }

    #[test]
    fn identifiers_are_unique() {
        let mut names: Vec<_> = FIGURES
            .iter()
            .map(|figure| (figure.group == Legacy, figure.kind, figure.type_instance))
            .collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    /// A key that the type of the answer does not have would never arrive.
    #[test]
    fn keys_are_those_of_the_answer() {
        let full = Varz {
            stale_connections: Some(0),
            stalled_clients: Some(0),
            slow_consumer_stats: Some(Default::default()),
            // The block is midge's and nats-server's; no type has its keys.
            cluster: serde_json::json!({ "revoked_closed": 0 }),
            tls: Some(monitor_client::TlsVarz {
                cert_days_left: Some(0.0),
                ca_days_left: Some(0.0),
                crl_days_left: Some(0.0),
                ..Default::default()
            }),
            ..Varz::default()
        };
        let json = serde_json::to_value(full).expect("plain data");
        for figure in FIGURES {
            let Source::Varz(keys) = figure.source else {
                continue;
            };
            for key in keys {
                assert!(
                    matches!(key_value(&json, key, figure.form), Ok(Some(_))),
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_reported_is_absent() {
        let report = report(serde_json::json!({
            "server_id": "N", "in_msgs": 1, "out_msgs": 2, "in_bytes": 3,
            "cpu": 101.5, "slow_consumer_stats": {"clients": 4},
        }))
        .expect("a sparse answer");
        assert_eq!(
            find(&report, "if_packets", "total"),
            Some(vec![Value::Derive(1), Value::Derive(2)])
        );
        // Half of a pair is none.
        assert_eq!(find(&report, "if_octets", "total"), None);
        assert_eq!(
            find(&report, "gauge", "cpu_percent"),
            Some(vec![Value::Gauge(101.5)])
        );
        assert_eq!(
            find(&report, "total_events", "slow_consumers_clients"),
            Some(vec![Value::Derive(4)])
        );
        assert_eq!(find(&report, "total_events", "slow_consumers_leafs"), None);
        assert_eq!(find(&report, "uptime", ""), None);
    }

    #[test]
    fn uptime_is_taken_from_the_brokers_own_clock() {
        for (start, now, expected) in [
            (
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00.5Z",
                Some(86_400.5),
            ),
            (
                "2026-01-01T00:00:00-05:00",
                "2026-01-01T05:00:09.000000001Z",
                Some(9.000_000_001),
            ),
            ("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", None),
            ("yesterday", "2026-01-01T00:00:00Z", None),
            ("", "", None),
        ] {
            let json = serde_json::json!({"server_id": "N", "start": start, "now": now});
            let report = report(json).expect("an answer");
            let expected = expected.map(|seconds| vec![Value::Gauge(seconds)]);
            assert_eq!(find(&report, "uptime", ""), expected, "{start} {now}");
        }
    }

    #[test]
    fn answers_of_the_wrong_shape_are_refused() {
        for (json, reason) in [
            (serde_json::json!({}), "no server_id"),
            (serde_json::json!({"server_id": 5}), "invalid type"),
            (
                serde_json::json!({"server_id": "N", "in_msgs": "x"}),
                "invalid type",
            ),
            (
                serde_json::json!({"server_id": "N", "total_connections": u64::MAX}),
                "total_connections is 18446744073709551615",
            ),
        ] {
            let error = report(json).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
