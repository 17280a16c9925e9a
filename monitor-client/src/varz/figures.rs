//! What each number of `/varz` is: a running total or a level, and in which unit. The one place
//! that says so: `check_nats` picks the unit of `--figure` here.
//!
//! A nats-server has numbers that midge has not; those that matter are listed too.

/// A number of `/varz`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Figure {
    /// Its keys, separated by dots; `*` stands for any key.
    pub path: &'static str,
    /// What it measures.
    pub unit: FigureUnit,
    /// Whether it only grows, from 0 at the broker's start.
    pub is_total: bool,
}

/// What a number of `/varz` measures.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FigureUnit {
    /// Bytes.
    Bytes,
    /// A number of things, a setting without a unit, or days.
    Count,
    /// Nanoseconds.
    Nanoseconds,
    /// Percent of one core.
    Percent,
    /// Seconds.
    Seconds,
}

use FigureUnit::{Bytes, Count, Nanoseconds, Percent, Seconds};

const fn level(path: &'static str, unit: FigureUnit) -> Figure {
    Figure {
        path,
        unit,
        is_total: false,
    }
}

const fn total(path: &'static str, unit: FigureUnit) -> Figure {
    Figure {
        path,
        unit,
        is_total: true,
    }
}

/// All numbers of midge's answer, and `pinned_account_fails` of nats-server. Those of
/// `cluster.tls` and `federation.tls` are the ones of `tls`.
pub const FIGURES: &[Figure] = &[
    level("auth_timeout", Seconds),
    level("cluster.auth_timeout", Seconds),
    level("cluster.cluster_port", Count),
    level("cluster.pool_size", Count),
    total("cluster.revoked_closed", Count),
    level("cluster.tls_timeout", Seconds),
    level("connections", Count),
    level("cores", Count),
    level("cpu", Percent),
    level("disk_io_wait_stats.max_wait_time", Nanoseconds),
    total("disk_io_wait_stats.wait_time", Nanoseconds),
    level("disk_io_wait_stats.waiters", Count),
    total("disk_io_wait_stats.waits", Count),
    total("dropped_bytes.*", Bytes),
    total("dropped_msgs.*", Count),
    total("federation.dropped", Count),
    level("federation.nodes_silent", Count),
    level("federation.pending", Bytes),
    total("federation.refused", Count),
    total("federation.replies", Count),
    total("federation.requests", Count),
    level("federation.round_trip", Seconds),
    level("gomaxprocs", Count),
    level("http_port", Count),
    total("http_req_stats.*", Count),
    level("https_port", Count),
    level("hubs.configured", Count),
    level("hubs.connected", Count),
    level("hubs.missing", Count),
    total("in_bytes", Bytes),
    total("in_client_bytes", Bytes),
    total("in_client_msgs", Count),
    total("in_msgs", Count),
    level("leafnodes", Count),
    total("logins.accepted", Count),
    total("logins.delayed", Count),
    total("logins.held", Count),
    total("logins.refused.*", Count),
    level("max_connections", Count),
    level("max_control_line", Bytes),
    level("max_payload", Bytes),
    level("max_pending", Bytes),
    level("max_subscriptions", Count),
    level("mem", Bytes),
    level("nodes.expected", Count),
    level("nodes.missing", Count),
    level("nodes.present", Count),
    total("out_bytes", Bytes),
    total("out_client_bytes", Bytes),
    total("out_client_msgs", Count),
    total("out_msgs", Count),
    total("permission_violations", Count),
    level("ping_interval", Nanoseconds),
    level("ping_max", Count),
    total("pinned_account_fails", Count),
    level("port", Count),
    level("proto", Count),
    level("remotes", Count),
    level("routes", Count),
    total("slow_consumer_stats.*", Count),
    total("slow_consumers", Count),
    total("stale_connection_stats.*", Count),
    total("stale_connections", Count),
    total("stalled_clients", Count),
    level("subscriptions", Count),
    level("tls.ca_days_left", Count),
    level("tls.cert_days_left", Count),
    level("tls.crl_days_left", Count),
    total("tls.failed.*", Count),
    total("tls.failures", Count),
    total("tls.handshake_seconds", Seconds),
    level("tls.handshake_slowest", Seconds),
    total("tls.handshakes", Count),
    total("tls.resumed", Count),
    level("tls.revoked", Count),
    total("tls.revoked_closed", Count),
    level("tls.unfinished", Count),
    level("tls_timeout", Seconds),
    total("total_connections", Count),
    level("write_deadline", Nanoseconds),
    total("written_bytes", Bytes),
    total("written_msgs", Count),
];

/// What is at a path of `/varz` (keys separated by dots); `None` if it is not known.
pub fn figure(path: &str) -> Option<&'static Figure> {
    let of_block = ["cluster.", "federation."].into_iter();
    let of_tls = of_block.filter_map(|block| path.strip_prefix(block));
    let mut of_tls = of_tls.filter(|path| path.starts_with("tls."));
    let path = of_tls.next().unwrap_or(path);
    FIGURES.iter().find(|figure| matches(figure.path, path))
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(block) => path.strip_prefix(block).is_some_and(|key| !key.is_empty()),
        None => pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::{FederationVarz, HubsVarz, LoginsVarz, NodesVarz, TlsVarz, Varz};

    /// An answer with every number.
    fn full() -> Value {
        let by_key = || BTreeMap::from([("some_key".to_owned(), 0)]);
        let tls = TlsVarz {
            cert_days_left: Some(0.0),
            ca_days_left: Some(0.0),
            crl_days_left: Some(0.0),
            failed: by_key(),
            ..TlsVarz::default()
        };
        let varz = Varz {
            max_subscriptions: Some(0),
            written_msgs: Some(0),
            written_bytes: Some(0),
            dropped_msgs: Some(by_key()),
            dropped_bytes: Some(by_key()),
            stale_connections: Some(0),
            stalled_clients: Some(0),
            federation: Some(FederationVarz {
                round_trip: Some(0.0),
                tls: Some(tls.clone()),
                ..FederationVarz::default()
            }),
            logins: Some(LoginsVarz {
                refused: by_key(),
                ..LoginsVarz::default()
            }),
            hubs: Some(HubsVarz::default()),
            nodes: Some(NodesVarz::default()),
            permission_violations: Some(0),
            http_req_stats: by_key(),
            slow_consumer_stats: Some(Default::default()),
            stale_connection_stats: Some(Default::default()),
            disk_io_wait_stats: Some(Default::default()),
            cluster: json!({
                "auth_timeout": 0, "cluster_port": 0, "pool_size": 0, "revoked_closed": 0,
                "tls_timeout": 0, "tls": &tls,
            }),
            tls: Some(tls),
            ..Varz::default()
        };
        serde_json::to_value(varz).unwrap()
    }

    /// The paths of all numbers.
    fn numbers(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Number(_) => {
                found.insert(path.trim_start_matches('.').to_owned());
            }
            Value::Object(members) => {
                for (key, member) in members {
                    numbers(member, &format!("{path}.{key}"), found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_number_is_listed_once_and_nothing_else() {
        let mut paths = BTreeSet::new();
        numbers(&full(), "", &mut paths);
        for path in &paths {
            assert!(figure(path).is_some(), "{path} is not listed");
        }
        // A number of nats-server.
        paths.insert("pinned_account_fails".to_owned());
        for listed in FIGURES {
            let found = paths.iter().any(|path| figure(path) == Some(listed));
            assert!(found, "{} is no number of /varz", listed.path);
        }
        assert!(FIGURES.is_sorted_by_key(|figure| figure.path));
    }

    #[test]
    fn paths_are_found() {
        assert!(figure("tls.failed.expired").unwrap().is_total);
        assert!(figure("cluster.tls.failures").unwrap().is_total);
        assert_eq!(
            figure("cluster.tls.handshake_slowest").unwrap().unit,
            Seconds
        );
        assert_eq!(figure("mem").unwrap().unit, Bytes);
        for unknown in ["", "logins.refused.", "logins", "gateway.port", "memory"] {
            assert_eq!(figure(unknown), None, "{unknown}");
        }
    }
}
