//! `/latencyz`: how long messages stay in the broker.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use monitor_client::{
    Bucket, Latency, Latencyz, MeasuredService, NamedLatency, RecentLatency, SlowSubscription,
};

use super::{super::Monitor, query::Query, refusal::Refusal};
use crate::{
    connection::{Connection, Kind},
    sublist::Entry,
    telemetry::{
        MonotonicMicros,
        histogram::Distribution,
        latency::{Peak, Times},
    },
};

/// Connections listed as the worst.
const WORST_MAX: usize = 20;

/// The answer. It has no parameters.
pub fn answer(monitor: &Monitor, _query: &Query) -> Result<Latencyz, Refusal> {
    let broker = &monitor.server.broker;
    let measured = broker.telemetry.latency.measured();
    let mut total = Times::default();
    let mut by_kind: BTreeMap<&str, Times> = BTreeMap::new();
    let mut by_account: BTreeMap<&str, Times> = BTreeMap::new();
    for (series, times) in &measured.series {
        total.add(times);
        by_kind.entry(series.kind.name()).or_default().add(times);
        if !series.account.is_empty() {
            by_account.entry(&series.account).or_default().add(times);
        }
    }
    let open = broker.registry.open(Kind::Client);
    let mut rtt = Distribution::default();
    for measured in open.iter().filter_map(|connection| connection.rtt()) {
        rtt.record(u64::try_from(measured.as_micros()).unwrap_or(u64::MAX));
    }
    Ok(Latencyz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        total: latency(&total),
        by_kind: named(by_kind),
        by_account: named(by_account),
        by_service: by_service(monitor),
        worst: worst(&open),
        // Of every client the last one: as many as there are clients.
        client_rtt: latency(&Times {
            recent: rtt.clone(),
            all: rtt,
        }),
        scheduling_delay: latency(&measured.scheduling),
    })
}

fn by_service(monitor: &Monitor) -> Vec<MeasuredService> {
    let figures = monitor.server.broker.accounts.latencies.figures();
    let services = figures.into_iter();
    services
        .map(|((account, service), figures)| MeasuredService {
            account,
            service,
            latency: latency(&figures.times()),
            requests: figures.by_status,
        })
        .collect()
}

fn named(times: BTreeMap<&str, Times>) -> Vec<NamedLatency> {
    times
        .into_iter()
        .map(|(name, times)| NamedLatency {
            name: name.to_owned(),
            latency: latency(&times),
        })
        .collect()
}

fn latency(times: &Times) -> Latency {
    let all = &times.all;
    Latency {
        count: all.count(),
        sum: all.sum(),
        p50: all.quantile(0.5),
        p90: all.quantile(0.9),
        p99: all.quantile(0.99),
        p999: all.quantile(0.999),
        max: all.quantile(1.0),
        last_minute: RecentLatency {
            count: times.recent.count(),
            p50: times.recent.quantile(0.5),
            p99: times.recent.quantile(0.99),
            max: times.recent.quantile(1.0),
        },
        buckets: all
            .cumulative()
            .into_iter()
            .map(|(le, count)| Bucket { le, count })
            .collect(),
    }
}

fn worst(open: &[Arc<Connection>]) -> Vec<SlowSubscription> {
    let now = MonotonicMicros::now();
    let mut ranked: Vec<(Peak, &Arc<Connection>)> = open
        .iter()
        .map(|connection| (connection.outbound().latency(now), connection))
        .filter(|(peak, _)| peak.count > 0)
        .collect();
    ranked.sort_by_key(|(peak, connection)| (Reverse(peak.micros), connection.cid));
    ranked
        .into_iter()
        .take(WORST_MAX)
        .map(|(peak, connection)| SlowSubscription {
            cid: connection.cid,
            name: connection.who(),
            account: connection.identity.lock().account.clone(),
            subject: late_subject(connection),
            max: peak.micros as f64 / 1e6,
            count: peak.count,
        })
        .collect()
}

/// The subject with the most bytes waiting, else one that was subscribed to.
fn late_subject(connection: &Connection) -> String {
    let waiting = connection.outbound().subjects();
    let most = waiting.into_iter().max_by_key(|share| share.bytes);
    most.map(|share| share.subject).unwrap_or_else(|| {
        let subscriptions = connection.subscriptions.lock();
        let first = subscriptions.iter().next();
        first.map_or_else(String::new, |known| {
            String::from_utf8_lossy(known.subject()).into_owned()
        })
    })
}
