//! The metrics: one table that maps values of the broker to identifiers of collectd, and the
//! reading of these values from `/varz`.
//!
//! Only types of collectd's own types.db are used. Running totals are DERIVE, because a COUNTER
//! that falls to zero when a broker restarts would show a spike.

use chrono::DateTime;
use monitor_client::{Client, Error, Field, Found, Kind};

use crate::daemon::Value;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The option that enables it.
    pub(crate) group: Group,
    /// Where its values come from.
    pub(crate) source: Source,
    /// collectd's type.
    pub(crate) kind: &'static str,
    /// collectd's type instance; may be empty.
    pub(crate) type_instance: &'static str,
    /// Kind of the type's data sources.
    pub(crate) form: Form,
    /// Meaning and unit, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) doc: &'static str,
}

/// The option that enables a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    /// Always dispatched.
    Basic,
    /// With `LegacyNames`, under the plugin name of an old configuration.
    Legacy,
    /// With `ReportLimits`.
    Limits,
}

/// The source of a metric's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The code of `/healthz`: 1 for 200, 0 for 500 and 503, otherwise unknown.
    Healthy,
    /// Duration of the request of `/varz` in seconds.
    ResponseTime,
    /// 1 if `/varz` was read, otherwise 0. The only metric of a broker that is down.
    Up,
    /// `now` − `start` of `/varz`, in seconds.
    Uptime,
    /// These keys of `/varz`, one per data source of the type.
    Varz(&'static [&'static str]),
}

/// Kind of a metric's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Running total; only for old identifiers.
    Counter,
    /// Running total.
    Derive,
    /// Current value.
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
) -> Metric {
    Metric {
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
) -> Metric {
    Metric {
        group: Basic,
        source,
        kind,
        type_instance,
        form: Gauge,
        doc,
    }
}

/// All metrics that the plugin can dispatch.
#[rustfmt::skip]
pub(crate) const METRICS: &[Metric] = &[
    own(Source::Up, "bool", "up", "1 when the broker answered, 0 when it did not; always dispatched"),
    own(Source::Healthy, "bool", "healthy", "1 when /healthz says ok, 0 when it reports trouble, not a number when it cannot be read"),
    own(Source::ResponseTime, "response_time", "varz", "seconds until the whole answer of /varz was read"),
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
    varz(Basic, "total_events", "slow_consumers", Derive, &["slow_consumers"], "slow consumers"),
    varz(Basic, "total_events", "slow_consumers_clients", Derive, &["slow_consumer_stats.clients"], "of these, clients"),
    varz(Basic, "total_events", "slow_consumers_routes", Derive, &["slow_consumer_stats.routes"], "of these, routes"),
    varz(Basic, "total_events", "slow_consumers_gateways", Derive, &["slow_consumer_stats.gateways"], "of these, gateways"),
    varz(Basic, "total_events", "slow_consumers_leafs", Derive, &["slow_consumer_stats.leafs"], "of these, leafnodes"),
    varz(Basic, "total_events", "stale_connections", Derive, &["stale_connections"], "connections cut because they answered no ping"),
    varz(Basic, "total_events", "stalled_clients", Derive, &["stalled_clients"], "times a publisher waited for a slow reader"),
    varz(Basic, "gauge", "tls_certificate_days", Gauge, &["tls.cert_days_left"], "days until the broker's certificate expires, negative afterwards; only from midge with TLS, like the next ones"),
    varz(Basic, "gauge", "tls_ca_days", Gauge, &["tls.ca_days_left"], "days until its CA expires"),
    varz(Basic, "gauge", "tls_crl_days", Gauge, &["tls.crl_days_left"], "days until the CRL expires"),
    varz(Basic, "gauge", "routes_tls_certificate_days", Gauge, &["cluster.tls.cert_days_left"], "days until the certificate of the route port expires; only from midge with TLS there, like the next ones"),
    varz(Basic, "gauge", "routes_tls_ca_days", Gauge, &["cluster.tls.ca_days_left"], "days until its CA expires"),
    varz(Basic, "gauge", "routes_tls_crl_days", Gauge, &["cluster.tls.crl_days_left"], "days until its CRL expires"),
    varz(Basic, "total_events", "tls_handshakes", Derive, &["tls.handshakes"], "TLS handshakes completed"),
    varz(Basic, "total_events", "tls_failures", Derive, &["tls.failures"], "TLS handshakes that failed, and probes of the port"),
    varz(Basic, "total_events", "routes_tls_failures", Derive, &["cluster.tls.failures"], "TLS handshakes of routes that failed, and probes of the port"),
    varz(Basic, "total_events", "tls_revoked_closed", Derive, &["tls.revoked_closed"], "clients closed because their certificate was revoked while they were connected"),
    varz(Basic, "total_events", "routes_revoked_closed", Derive, &["cluster.revoked_closed"], "routes closed because their certificate was revoked while they were connected"),
    varz(Basic, "pubsub", "subscriptions", Gauge, &["subscriptions"], "subscriptions of all accounts, and the interest of the cluster's other brokers"),
    varz(Basic, "memory", "rss", Gauge, &["mem"], "resident memory in bytes"),
    varz(Basic, "gauge", "cpu_percent", Gauge, &["cpu"], "CPU use in percent of one core; may exceed 100"),
    varz(Limits, "count", "max_connections", Gauge, &["max_connections"], "limit of client connections"),
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

/// Fields that an answer of `/varz` must have to be accepted. Other absent fields just have no
/// value.
const NEEDED: &[Field<'_>] = &[
    field("server_id", Kind::Text),
    field("version", Kind::Text),
    field("start", Kind::Text),
    field("now", Kind::Text),
    field("connections", Kind::Count),
    field("in_msgs", Kind::Count),
    field("out_msgs", Kind::Count),
    // From here on optional.
    field("server_name", Kind::Any),
];

/// Number of required ones.
const NEEDED_COUNT: usize = 7;

/// Values that may be negative: -1 for no limit, and days after an expiry.
const SIGNED: &[&str] = &[
    "max_connections",
    "tls.cert_days_left",
    "tls.ca_days_left",
    "tls.crl_days_left",
    "cluster.tls.cert_days_left",
    "cluster.tls.ca_days_left",
    "cluster.tls.crl_days_left",
];

/// Values that every broker reports: if one is absent, that is logged.
const EXPECTED: &[&str] = &[
    "total_connections",
    "in_bytes",
    "out_bytes",
    "slow_consumers",
    "subscriptions",
    "mem",
    "cpu",
];

/// The values of an answer of `/varz`.
#[derive(Debug)]
pub(crate) struct Report {
    /// Id of the broker, new at each start.
    pub(crate) server_id: String,
    /// Name of the broker.
    pub(crate) server_name: String,
    /// Version of the broker.
    pub(crate) version: String,
    /// Start of the broker, as it reported it.
    pub(crate) start: String,
    /// Seconds since then by the broker's own clock, never negative.
    pub(crate) uptime: Option<f64>,
    /// The values in the order of the table; those that the broker does not report are absent.
    pub(crate) readings: Vec<(&'static Metric, Vec<Value>)>,
    /// Keys of [`EXPECTED`] that this broker does not report.
    pub(crate) missing: Vec<&'static str>,
}

const fn field(name: &'static str, kind: Kind) -> Field<'static> {
    Field { name, kind }
}

/// Requests `/varz` and keeps only what the table needs.
///
///  # Errors
///
/// There is no answer, it is not that of a broker, or a value is out of range for its kind.
pub(crate) fn fetch(client: &Client) -> Result<Report, Error> {
    let path = "/varz";
    let mut fields = NEEDED.to_vec();
    fields.extend(keys().map(|(key, form)| field(key, kind_of(key, form))));
    let found = client.inspect(path, &fields)?;
    client.require(path, &NEEDED[..NEEDED_COUNT], &found)?;
    Report::new(&found).map_err(|detail| Error::Field {
        url: client.target(path),
        detail,
    })
}

/// All keys of the table, in its order.
fn keys() -> impl Iterator<Item = (&'static str, Form)> {
    METRICS.iter().flat_map(|metric| {
        let keys = match metric.source {
            Source::Varz(keys) => keys,
            _ => &[],
        };
        keys.iter().map(|key| (*key, metric.form))
    })
}

fn kind_of(key: &str, form: Form) -> Kind {
    match form {
        Gauge if SIGNED.contains(&key) => Kind::Number,
        Counter | Derive | Gauge => Kind::Count,
    }
}

impl Report {
    /// Creates it from the values of the fields of [`NEEDED`], followed by those of [`keys`].
    fn new(found: &[Found]) -> Result<Self, String> {
        let (needed, metrics) = found.split_at(NEEDED.len());
        let text = |name: &str| {
            let index = NEEDED.iter().position(|field| field.name == name);
            let found = index.and_then(|index| needed.get(index));
            found.map_or("", Found::text).to_owned()
        };
        let start = text("start");
        let uptime = uptime(&start, &text("now"));
        let missing = keys()
            .zip(metrics)
            .filter(|((key, _), found)| **found == Found::Absent && EXPECTED.contains(key))
            .map(|((key, _), _)| key);
        let mut missing: Vec<_> = missing.collect();
        missing.sort_unstable();
        missing.dedup();
        Ok(Self {
            readings: readings(metrics, uptime)?,
            server_id: text("server_id"),
            server_name: text("server_name"),
            version: text("version"),
            start,
            uptime,
            missing,
        })
    }
}

fn readings(
    found: &[Found],
    uptime: Option<f64>,
) -> Result<Vec<(&'static Metric, Vec<Value>)>, String> {
    let mut readings = Vec::with_capacity(METRICS.len());
    let mut found = found.iter();
    for metric in METRICS {
        let values = match metric.source {
            Source::Varz(keys) => {
                // All of them must be consumed, even if one is absent.
                let values: Vec<_> = keys
                    .iter()
                    .zip(found.by_ref())
                    .map(|(key, found)| value(key, found, metric.form))
                    .collect::<Result<_, _>>()?;
                values.into_iter().collect()
            }
            Source::Uptime => uptime.map(|seconds| vec![Value::Gauge(seconds)]),
            Source::Healthy | Source::ResponseTime | Source::Up => None,
        };
        readings.extend(values.map(|values| (metric, values)));
    }
    Ok(readings)
}

/// The value, if the field is present.
fn value(key: &str, found: &Found, form: Form) -> Result<Option<Value>, String> {
    let value = match (form, found) {
        (_, Found::Absent) => return Ok(None),
        (Counter, Found::Count(number)) => Some(Value::Counter(*number)),
        (Derive, Found::Count(number)) => i64::try_from(*number).ok().map(Value::Derive),
        (Gauge, found) => found.number().map(Value::Gauge),
        _ => None,
    };
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(format!("\"{key}\" is {found}, which is out of range")),
    }
}

/// Seconds since the start; `None` if the broker's clock was set back before the start or a time is
/// not RFC 3339.
fn uptime(start: &str, now: &str) -> Option<f64> {
    let now = DateTime::parse_from_rfc3339(now).ok()?;
    let start = DateTime::parse_from_rfc3339(start).ok()?;
    let seconds = (now - start).as_seconds_f64();
    (seconds >= 0.0).then_some(seconds)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        collections::HashMap,
        fs,
        io::{Read, Write},
        net::TcpListener,
        thread,
        time::Duration,
    };

    use monitor_client::Varz;
    use serde_json::Value as Json;

    use super::*;

    const TYPES_DB: &str = "/usr/share/collectd/types.db";

    /// Kinds of the data sources of each type.
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

    /// The report for an answer, requested over HTTP.
    pub(crate) fn report(json: &Json) -> Result<Report, String> {
        let body = json.to_string();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a request");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a whole request");
                request.extend(byte);
            }
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        });
        let client = Client::new(&url, Duration::from_secs(10)).expect("a good URL");
        let report = fetch(&client).map_err(|error| error.to_string());
        server.join().expect("served");
        report
    }

    /// The smallest acceptable answer, plus these fields.
    fn minimal(more: Json) -> Json {
        let mut json = serde_json::json!({
            "server_id": "N", "version": "2", "start": "2026-01-01T00:00:00Z",
            "now": "2026-01-01T00:00:00Z", "connections": 1, "in_msgs": 1, "out_msgs": 2,
        });
        let (Json::Object(all), Json::Object(more)) = (&mut json, more) else {
            panic!("objects");
        };
        all.extend(more);
        json
    }

    fn find(report: &Report, kind: &str, type_instance: &str) -> Option<Vec<Value>> {
        let wanted = |metric: &Metric| {
            metric.group != Legacy && metric.kind == kind && metric.type_instance == type_instance
        };
        let found = report.readings.iter().find(|(metric, _)| wanted(metric));
        found.map(|(_, values)| values.clone())
    }

    #[test]
    fn types_exist_in_types_db() {
        let types = types_db();
        for metric in METRICS {
            let forms = types
                .get(metric.kind)
                .unwrap_or_else(|| panic!("{metric:?} has a type that types.db does not know"));
            let count = match metric.source {
                Source::Varz(keys) => keys.len(),
                _ => 1,
            };
            let expected = vec![format!("{:?}", metric.form).to_uppercase(); count];
            assert_eq!(*forms, expected, "{metric:?}");
        }
    }

    #[test]
    fn identifiers_are_unique() {
        let mut names: Vec<_> = METRICS
            .iter()
            .map(|metric| (metric.group == Legacy, metric.kind, metric.type_instance))
            .collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    /// A key that the answer's type does not have would never be found.
    #[test]
    fn keys_exist_in_the_answer() {
        let full = Varz {
            stale_connections: Some(0),
            stalled_clients: Some(0),
            slow_consumer_stats: Some(Default::default()),
            // midge and nats-server have this block; no type has its keys.
            cluster: serde_json::json!({ "revoked_closed": 0, "tls": {
                "cert_days_left": 0, "ca_days_left": 0, "crl_days_left": 0, "failures": 0
            } }),
            tls: Some(monitor_client::TlsVarz {
                cert_days_left: Some(0.0),
                ca_days_left: Some(0.0),
                crl_days_left: Some(0.0),
                ..Default::default()
            }),
            ..Varz::default()
        };
        let json = serde_json::to_value(full).expect("plain data");
        for (key, _) in keys() {
            let found = json.pointer(&format!("/{}", key.replace('.', "/")));
            assert!(found.is_some_and(Json::is_number), "{key}");
        }
        for key in NEEDED
            .iter()
            .map(|field| field.name)
            .chain(EXPECTED.iter().copied())
        {
            assert!(json.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn values_that_are_not_reported_are_absent() {
        let report = report(&minimal(serde_json::json!({
            "in_bytes": 3, "cpu": 101.5, "slow_consumer_stats": {"clients": 4},
        })))
        .expect("a sparse answer");
        assert_eq!(
            find(&report, "if_packets", "total"),
            Some(vec![Value::Derive(1), Value::Derive(2)])
        );
        // An incomplete pair has no value.
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
        assert_eq!(find(&report, "memory", "rss"), None);
        let missing = [
            "mem",
            "out_bytes",
            "slow_consumers",
            "subscriptions",
            "total_connections",
        ];
        assert_eq!(report.missing, missing);
    }

    #[test]
    fn uptime_uses_the_brokers_own_clock() {
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
        ] {
            let json = minimal(serde_json::json!({"start": start, "now": now}));
            let report = report(&json).expect("an answer");
            let expected = expected.map(|seconds| vec![Value::Gauge(seconds)]);
            assert_eq!(find(&report, "uptime", ""), expected, "{start} {now}");
        }
    }

    #[test]
    fn invalid_answers_are_rejected() {
        let wrong = |key: &str, value: Json| {
            let mut json = minimal(serde_json::json!({}));
            json[key] = value;
            json
        };
        let mut cases = vec![
            (serde_json::json!({}), "no \"server_id\"".to_owned()),
            (
                serde_json::json!({"status": "ok"}),
                "no \"server_id\"".into(),
            ),
            (wrong("server_id", 5.into()), "\"server_id\" is 5".into()),
            (
                wrong("server_id", "".into()),
                "\"server_id\" is \"\"".into(),
            ),
            (
                wrong("total_connections", u64::MAX.into()),
                "\"total_connections\" is 18446744073709551615".into(),
            ),
        ];
        for field in &NEEDED[..NEEDED_COUNT] {
            let mut json = minimal(serde_json::json!({}));
            json.as_object_mut().expect("an object").remove(field.name);
            cases.push((json, format!("no \"{}\"", field.name)));
        }
        for key in ["connections", "in_msgs", "mem", "cpu", "slow_consumers"] {
            for value in [Json::Null, "x".into(), (-5).into(), true.into()] {
                cases.push((wrong(key, value), format!("\"{key}\" is ")));
            }
        }
        for (json, reason) in cases {
            let error = report(&json).expect_err(&reason);
            assert!(error.contains(&reason), "{error}: not {reason}");
            assert!(
                error.contains("/varz: not the answer of a NATS broker: "),
                "{error}"
            );
        }
    }
}
