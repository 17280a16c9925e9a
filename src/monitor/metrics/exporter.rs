//! The names of prometheus-nats-exporter, so that dashboards made for it work.
//!
//! As there, every number of `/varz`, `/subsz` and `/routez` is a gauge called
//! after its path in the answer, totals included, and its help is that path;
//! the other endpoints have a list of names. Types, helps and values are the
//! exporter's, also where their meaning is doubtful: the traffic of `connz` is
//! that of the open connections and falls when one leaves
//! (`midge_messages_total` does not), `accountz` knows limits only from JWTs of
//! accounts (`midge_account_limit` has those of the configuration). The label
//! `server_id` is the broker's name (its id, if it has none).
//!
//! One thing differs: the sums of `connz` are over all open connections, the
//! exporter's over the first page of 1024. Series for single connections, which
//! share a name with the sums, are there only on demand and for those that
//! lead. Gateways have no series as there are none of them, and of leafnodes there is their number.

use std::collections::BTreeMap;

use chrono::DateTime;
use monitor_client::{AccountStat, Healthz};
use serde_json::Value;

use super::{
    render::{Format, head, line},
    sample::Labels,
    snapshot::{AccountSettings, Snapshot},
};
use crate::{
    account::GLOBAL_ACCOUNT,
    broker::registry::ConnectionView,
    telemetry::{MonotonicMillis, WallClock},
};

/// The exporter's default prefix of its names.
pub(super) const DEFAULT_PREFIX: &str = "gnatsd";

/// Texts that become metrics: a time as milliseconds, all else as a label.
const TEXTS: &[&str] = &[
    "server_id",
    "server_name",
    "version",
    "domain",
    "leader",
    "name",
    "cluster_name",
    "start",
    "config_load_time",
];

/// Numbers that are left out.
const LEFT_OUT: &[&str] = &[
    "leaf",
    "trusted_operators_claim",
    "cluster_tls_timeout",
    "cluster_cluster_port",
    "cluster_auth_timeout",
];

/// Values by metric; a metric's values are consecutive.
#[derive(Default)]
struct Metrics(BTreeMap<String, Vec<(Labels, f64)>>);

/// Connections on a page of `/connz`, which the exporter does not turn.
const PAGE: f64 = 1024.0;

/// What is not a gauge, or whose help is not its path: the type and the help.
const DECLARED: &[(&str, &str, &str)] = &[
    ("connz_in_bytes", "counter", "in_bytes"),
    ("connz_in_msgs", "counter", "in_msgs"),
    ("connz_out_bytes", "counter", "out_bytes"),
    ("connz_out_msgs", "counter", "out_msgs"),
    (
        "connz_start",
        "untyped",
        "epoch time at which the connection was started",
    ),
    (
        "connz_last_activity",
        "untyped",
        "epoch time at which the last activity was registered",
    ),
    (
        "connz_rtt",
        "gauge",
        "response time latency in microseconds",
    ),
    ("connz_uptime", "untyped", "uptime duration in milliseconds"),
    ("connz_idle", "gauge", "idle time duration in milliseconds"),
    ("healthz_status_value", "gauge", "status"),
    ("healthz_js_enabled_only_status", "gauge", "status"),
    ("healthz_js_enabled_only_status_value", "gauge", "status"),
    ("healthz_js_server_only_status", "gauge", "status"),
    ("healthz_js_server_only_status_value", "gauge", "status"),
    ("leafz_conn_nodes_total", "gauge", "nodes_total"),
];

/// Writes all of them; `is_detailed` is whether connections that lead have series
/// of their own.
pub(super) fn render(
    text: &mut String,
    format: Format,
    snapshot: &Snapshot,
    prefix: &str,
    is_detailed: bool,
) {
    let mut metrics = collect(snapshot);
    if is_detailed {
        let now = MonotonicMillis::now();
        for view in &snapshot.connections.top {
            metrics.connection(view, now, &snapshot.varz.server_name);
        }
    }
    for (path, values) in metrics.0 {
        let name = format!("{prefix}_{path}");
        let (kind, help) = declared(&path);
        let kind = match format {
            Format::Text => kind,
            // A gauge's name must not have the suffix of a counter, and a counter's must.
            Format::OpenMetrics if kind == "gauge" && !name.ends_with("_total") => kind,
            Format::OpenMetrics => "unknown",
        };
        head(text, &name, kind, help);
        for (labels, value) in values {
            line(text, &name, "", &labels, value);
        }
    }
}

/// Type and help of a metric.
fn declared(path: &str) -> (&'static str, &str) {
    let found = DECLARED.iter().find(|(known, _, _)| *known == path);
    found.map_or(("gauge", field(path)), |(_, kind, help)| (*kind, *help))
}

fn collect(snapshot: &Snapshot) -> Metrics {
    let mut metrics = Metrics::default();
    let server = || vec![("server_id", snapshot.varz.server_name.clone())];
    for (endpoint, answer) in &snapshot.answers {
        metrics.flatten(endpoint, answer, &server());
    }
    let varz = &snapshot.varz;
    let connections = &snapshot.connections;
    for (name, value) in [
        ("connz_num_connections", varz.connections as f64),
        ("connz_total", varz.connections as f64),
        ("connz_offset", 0.0),
        ("connz_limit", PAGE),
        ("connz_pending_bytes", connections.pending as f64),
        ("connz_subscriptions", connections.subscriptions as f64),
        ("connz_in_msgs", connections.traffic.in_msgs as f64),
        ("connz_out_msgs", connections.traffic.out_msgs as f64),
        ("connz_in_bytes", connections.traffic.in_bytes as f64),
        ("connz_out_bytes", connections.traffic.out_bytes as f64),
        ("leafz_conn_nodes_total", snapshot.leafz.leafnodes as f64),
    ] {
        metrics.add(name, server(), value);
    }
    metrics.health("healthz", &snapshot.health, &server());
    for (name, health) in &snapshot.jetstream_health {
        metrics.health(name, health, &server());
    }
    let accounts = snapshot.accounts.iter();
    for (account, settings) in accounts.zip(&snapshot.account_settings) {
        metrics.traffic(account, server());
        metrics.account(account, settings, server());
    }
    metrics
}

impl Metrics {
    fn add(&mut self, name: &str, labels: Labels, value: f64) {
        self.0
            .entry(name.to_owned())
            .or_default()
            .push((labels, value));
    }

    /// Adds the numbers of an answer, and the texts that are known.
    fn flatten(&mut self, path: &str, value: &Value, labels: &Labels) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let path = joined(path, name);
                    if !LEFT_OUT.contains(&field(&path)) {
                        self.flatten(&path, member, labels);
                    }
                }
            }
            Value::Number(number) => {
                if let Some(number) = number.as_f64() {
                    self.add(path, labels.clone(), number);
                }
            }
            Value::String(text) => self.text(path, text, labels),
            Value::Array(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn text(&mut self, path: &str, text: &str, labels: &Labels) {
        if !TEXTS.contains(&field(path)) || text.is_empty() {
            return;
        }
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => self.add(path, labels.clone(), time.timestamp_millis() as f64),
            Err(_) => {
                let mut labels = labels.clone();
                labels.push(("value", text.to_owned()));
                self.add(path, labels, 1.0);
            }
        }
    }

    /// Adds a verdict: in `status` 0 is well, in `status_value` one.
    fn health(&mut self, name: &str, health: &Healthz, labels: &Labels) {
        let healthy = f64::from(u8::from(health.status == "ok"));
        self.add(&format!("{name}_status"), labels.clone(), 1.0 - healthy);
        let mut labels = labels.clone();
        labels.push(("value", health.status.clone()));
        self.add(&format!("{name}_status_value"), labels, healthy);
    }

    /// Adds one connection, with the exporter's units: milliseconds, and
    /// microseconds of a round trip.
    fn connection(&mut self, view: &ConnectionView, now: MonotonicMillis, server: &str) {
        let identity = &view.identity;
        let account = match &*identity.account {
            GLOBAL_ACCOUNT => "",
            account => account,
        };
        let (tls_version, tls_cipher_suite, _) = view.tls.unwrap_or_default();
        let labels: Labels = [
            ("server_id", server),
            ("cid", &view.cid.to_string()),
            ("kind", "Client"),
            ("type", "nats"),
            ("ip", &view.peer.ip().to_canonical().to_string()),
            ("port", &view.peer.port().to_string()),
            ("name", &identity.name),
            ("name_tag", &identity.account),
            ("account", account),
            ("account_id", account),
            ("lang", &identity.lang),
            ("version", &identity.version),
            ("tls_version", tls_version),
            ("tls_cipher_suite", tls_cipher_suite),
        ]
        .map(|(name, of)| (name, of.to_owned()))
        .into();
        let traffic = &view.traffic;
        let start = view.start.time_of_day().timestamp_millis() as f64;
        let last_activity = view.last_activity;
        for (name, value) in [
            ("connz_pending_bytes", view.pending as f64),
            ("connz_subscriptions", view.subscriptions as f64),
            ("connz_in_bytes", traffic.in_bytes as f64),
            ("connz_out_bytes", traffic.out_bytes as f64),
            ("connz_in_msgs", traffic.in_msgs as f64),
            ("connz_out_msgs", traffic.out_msgs as f64),
            ("connz_start", start),
            (
                "connz_last_activity",
                view.last_active(WallClock::read()).timestamp_millis() as f64,
            ),
            ("connz_rtt", view.rtt.unwrap_or_default().as_micros() as f64),
            (
                "connz_uptime",
                view.start.millis().until(now).as_millis() as f64,
            ),
            ("connz_idle", last_activity.until(now).as_millis() as f64),
        ] {
            self.add(name, labels.clone(), value);
        }
    }

    /// Adds what an account is and may.
    fn account(&mut self, stat: &AccountStat, settings: &AccountSettings, mut labels: Labels) {
        labels.push(("account_id", stat.acc.clone()));
        labels.push(("account_name", stat.name.clone()));
        for (name, value) in [
            ("accountz_client_connections", stat.conns as f64),
            ("accountz_leafnode_connections", stat.leafnodes as f64),
            ("accountz_subscriptions", stat.num_subscriptions as f64),
            (
                "accountz_is_system",
                f64::from(u8::from(settings.is_system)),
            ),
            ("accountz_expired", 0.0),
            ("accountz_complete", 1.0),
            ("accountz_jetstream_enabled", 0.0),
            // The exporter reads them from the account's JWT, and there is none.
            ("accountz_limit_subs", 0.0),
            ("accountz_limit_data", 0.0),
            ("accountz_limit_payload", 0.0),
            ("accountz_limit_imports", 0.0),
            ("accountz_limit_exports", 0.0),
            ("accountz_limit_wildcards", 0.0),
            ("accountz_limit_conn", 0.0),
            ("accountz_limit_leaf", 0.0),
        ] {
            self.add(name, labels.clone(), value);
        }
    }

    /// Adds what an account moved.
    fn traffic(&mut self, stat: &AccountStat, mut labels: Labels) {
        labels.push(("account", stat.acc.clone()));
        labels.push(("account_id", stat.acc.clone()));
        labels.push(("account_name", stat.name.clone()));
        for (name, value) in [
            ("accstatz_current_connections", stat.conns as f64),
            ("accstatz_total_connections", stat.total_conns as f64),
            ("accstatz_subscriptions", stat.num_subscriptions as f64),
            ("accstatz_leaf_nodes", stat.leafnodes as f64),
            ("accstatz_sent_messages", stat.sent.msgs as f64),
            ("accstatz_sent_bytes", stat.sent.bytes as f64),
            ("accstatz_received_messages", stat.received.msgs as f64),
            ("accstatz_received_bytes", stat.received.bytes as f64),
            ("accstatz_slow_consumers", stat.slow_consumers as f64),
        ] {
            self.add(name, labels.clone(), value);
        }
    }
}

/// The path after the endpoint's name.
fn field(path: &str) -> &str {
    path.split_once('_').map_or(path, |(_, field)| field)
}

/// The name of a member: slashes become underscores, several become one.
fn joined(path: &str, name: &str) -> String {
    let name = name.replace('/', "_");
    let name = name.trim_matches('_');
    match name {
        "" => path.to_owned(),
        name => format!("{path}_{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_flattened_as_the_exporter_does() {
        let mut metrics = Metrics::default();
        let answer = json!({
            "in_msgs": 7, "cpu": 0.5, "git_commit": "abc", "auth_required": true,
            "server_name": "n", "start": "1970-01-01T00:00:02Z", "leaf": {"port": 1},
            "slow_consumer_stats": {"clients": 1},
            "http_req_stats": {"/": 3, "/varz": 2},
            "cluster": {"name": "c", "cluster_port": 6222, "pool_size": 3},
            "connect_urls": [1],
        });
        metrics.flatten("varz", &answer, &Vec::new());
        let found: Vec<_> = metrics
            .0
            .iter()
            .map(|(name, values)| (name.as_str(), values[0].1))
            .collect();
        assert_eq!(
            found,
            [
                ("varz_cluster_name", 1.0),
                ("varz_cluster_pool_size", 3.0),
                ("varz_cpu", 0.5),
                ("varz_http_req_stats", 3.0),
                ("varz_http_req_stats_varz", 2.0),
                ("varz_in_msgs", 7.0),
                ("varz_server_name", 1.0),
                ("varz_slow_consumer_stats_clients", 1.0),
                ("varz_start", 2000.0),
            ]
        );
        assert_eq!(metrics.0["varz_server_name"][0].0, [("value", "n".into())]);
    }
}
