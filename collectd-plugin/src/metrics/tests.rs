//! Tests of the table.

use std::{collections::HashMap, fs};

use monitor_client::{
    AccountStat, Accstatz, Ceiling, ClusterMember, Clusterz, ConnInfo, Connz, Explainz,
    FederationVarz, Finding, HubsVarz, Latencyz, LoginsVarz, MemoryCause, Memz, NodesVarz,
    RouteInfo, Routez, Slowz, TlsVarz, Varz,
};
use serde_json::{Value as Json, json};

use super::{
    read::wanted,
    table::{Form, METRICS},
    *,
};
use crate::findings;

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

#[test]
fn types_exist_in_types_db() {
    let types = types_db();
    for metric in METRICS {
        let forms = types
            .get(metric.kind)
            .unwrap_or_else(|| panic!("{metric:?} has a type that types.db does not know"));
        let count = match &metric.source {
            Source::Answer(_, Figure::Keys(keys)) | Source::Each(_, Figure::Keys(keys)) => {
                keys.len()
            }
            _ => 1,
        };
        let form = match metric.form {
            Form::Counter => "COUNTER",
            Form::Derive => "DERIVE",
            Form::Gauge | Form::Signed => "GAUGE",
        };
        assert_eq!(*forms, vec![form; count], "{metric:?}");
    }
}

/// Only whether a route is up has two sources.
#[test]
fn identifiers_are_unique() {
    let mut names: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let is_legacy = metric.group == Group::Legacy;
            // Ceilings of different units have different names.
            let is_filtered = metric.type_instance.starts_with("ceiling");
            let unit = if is_filtered { metric.kind } else { "" };
            (is_legacy, unit, metric.kind, metric.type_instance)
        })
        .collect();
    names.sort();
    let twice: Vec<_> = names
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0].3)
        .collect();
    assert_eq!(twice, ["route_up"]);
}

/// An answer with everything that its type can have.
fn full_answer(endpoint: Endpoint) -> Json {
    let answer = match endpoint {
        Endpoint::Varz => serde_json::to_value(Varz {
            stale_connections: Some(0),
            stalled_clients: Some(0),
            slow_consumer_stats: Some(Default::default()),
            max_subscriptions: Some(0),
            dropped_msgs: Some(Default::default()),
            dropped_bytes: Some(Default::default()),
            federation: Some(FederationVarz {
                round_trip: Some(0.0),
                tls_cert_not_after: Some(String::new()),
                tls: Some(tls()),
                ..FederationVarz::default()
            }),
            logins: Some(LoginsVarz::default()),
            hubs: Some(HubsVarz::default()),
            nodes: Some(NodesVarz::default()),
            tls_cert_not_after: Some(String::new()),
            // No type has the keys of this block.
            cluster: json!({
                "cluster_port": 0, "revoked_closed": 0, "tls_cert_not_after": "",
                "tls": tls(),
            }),
            tls: Some(tls()),
            ..Varz::default()
        }),
        Endpoint::Explainz => serde_json::to_value(Explainz {
            findings: vec![Finding::default()],
            ..Explainz::default()
        }),
        Endpoint::Memz => serde_json::to_value(Memz {
            causes: vec![MemoryCause::default()],
            ceilings: vec![Ceiling {
                exhausted_in: Some(0.0),
                ..Ceiling::default()
            }],
            ..Memz::default()
        }),
        Endpoint::Routez => serde_json::to_value(Routez {
            routes: vec![RouteInfo {
                rtt: "1ms".to_owned(),
                ..RouteInfo::default()
            }],
            ..Routez::default()
        }),
        Endpoint::Clusterz => serde_json::to_value(Clusterz {
            members: vec![ClusterMember::default()],
            ..Clusterz::default()
        }),
        Endpoint::Connz => serde_json::to_value(Connz {
            connections: vec![ConnInfo::default()],
            ..Connz::default()
        }),
        Endpoint::Slowz => serde_json::to_value(Slowz::default()),
        Endpoint::Latencyz => serde_json::to_value(Latencyz::default()),
        Endpoint::Accstatz => serde_json::to_value(Accstatz {
            account_statz: vec![AccountStat {
                dropped_msgs: Some(0),
                no_interest_msgs: Some(0),
                ..AccountStat::default()
            }],
            ..Accstatz::default()
        }),
    };
    answer.expect("plain data")
}

fn tls() -> TlsVarz {
    TlsVarz {
        ca_not_after: Some(String::new()),
        crl_next_update: Some(String::new()),
        ..TlsVarz::default()
    }
}

/// A key that the answer's type does not have would never be found.
#[test]
fn keys_exist_in_the_answers() {
    let mut wanted = wanted(METRICS);
    for (endpoint, keys) in [
        (Endpoint::Varz, Broker::keys().collect::<Vec<_>>()),
        (Endpoint::Explainz, findings::KEYS.to_vec()),
    ] {
        let keys = keys.into_iter().map(str::to_owned);
        wanted.entry(endpoint).or_default().extend(keys);
    }
    assert_eq!(wanted.len(), 9);
    for (endpoint, keys) in wanted {
        let answer = full_answer(endpoint);
        for key in keys {
            let place = key.trim_end_matches(".*").replace(".*.", ".0.");
            let found = answer.pointer(&format!("/{}", place.replace('.', "/")));
            assert!(found.is_some(), "{endpoint:?}: {key} in {answer}");
        }
    }
}
