use serde_json::json;

use super::{
    super::{broker::tests::varz, table::METRICS},
    *,
};

/// What is read from these answers, by identifier.
fn readings(answers: &Answers, ranks: usize) -> (BTreeMap<String, Vec<Value>>, Vec<Wrong>) {
    let mut names = Names::default();
    let mut to = Readings::default();
    for metric in METRICS {
        read(metric, answers, &mut names, ranks, &mut to);
    }
    let new = to.readings.into_iter().filter(|reading| !reading.is_legacy);
    let named = new.map(|reading| {
        let name = format!("{}-{}", reading.kind, reading.type_instance);
        (name, reading.values)
    });
    let wrong = to.wrong.into_iter().map(|(_, wrong)| wrong);
    (named.collect(), wrong.collect())
}

fn of(endpoint: Endpoint, answer: Json) -> BTreeMap<String, Vec<Value>> {
    let (readings, wrong) = readings(&Answers::from([(endpoint, answer)]), 3);
    assert_eq!(wrong, []);
    readings
}

use Value::{Derive, Gauge};

#[test]
fn values_that_are_not_reported_are_absent() {
    let read = of(
        Endpoint::Varz,
        varz(json!({"in_bytes": 3, "cpu": 101.5, "slow_consumer_stats": {"clients": 4}})),
    );
    assert_eq!(read["if_packets-total"], [Derive(1), Derive(2)]);
    // An incomplete pair has no value.
    assert!(!read.contains_key("if_octets-total"));
    assert_eq!(read["gauge-cpu_percent"], [Gauge(101.5)]);
    assert_eq!(read["total_events-slow_consumers_clients"], [Derive(4)]);
    assert!(!read.contains_key("total_events-slow_consumers_leafs"));
    assert!(!read.contains_key("memory-rss"));
}

#[test]
fn what_cannot_be_a_value_is_left_out_and_named() {
    for (key, wrong) in [
        ("mem", json!(-5)),
        ("mem", json!("x")),
        ("mem", json!(null)),
        ("slow_consumers", json!(-5)),
        ("slow_consumers", json!(1.5)),
        ("total_connections", json!(u64::MAX)),
        ("cpu", json!(-0.5)),
    ] {
        let mut answer = varz(json!({"subscriptions": 7}));
        answer[key] = wrong.clone();
        let answers = Answers::from([(Endpoint::Varz, answer)]);
        let (readings, found) = readings(&answers, 0);
        assert_eq!(readings["pubsub-subscriptions"], [Gauge(7.0)]);
        assert!(!found.is_empty(), "{key} {wrong}");
        for found in found {
            assert_eq!((found.key, found.found), (key, wrong.to_string()));
        }
    }
}

#[test]
fn members_of_an_object_have_their_names() {
    let lost = json!({"dropped_msgs": {"closed": 1, "no_interest": 2}, "dropped_bytes": {}});
    let read = of(Endpoint::Varz, varz(lost));
    assert_eq!(read["total_events-lost-closed"], [Derive(1)]);
    assert_eq!(read["total_events-lost-no_interest"], [Derive(2)]);
}

#[test]
fn days_are_counted_by_the_brokers_clock() {
    let read = of(
        Endpoint::Varz,
        varz(json!({
            "tls_cert_not_after": "2026-01-03T12:00:00Z",
            "tls": {"ca_not_after": "2025-12-31T00:00:00Z"},
        })),
    );
    assert_eq!(read["gauge-tls_certificate_days"], [Gauge(2.5)]);
    assert_eq!(read["gauge-tls_ca_days"], [Gauge(-1.0)]);
}

/// nats-server has several routes to a member.
#[test]
fn routes_to_one_member_are_added_up() {
    let route = |rtt: &str| {
        json!({"remote_name": "east", "remote_id": "N", "ip": "1.2.3.4", "rtt": rtt,
            "in_msgs": 1, "out_msgs": 2, "in_bytes": 3, "out_bytes": 4, "pending_size": 5})
    };
    let read = of(
        Endpoint::Routez,
        json!({"routes": [route("2ms"), route("5ms"), route("472µs")]}),
    );
    assert_eq!(read["if_packets-route-east"], [Derive(3), Derive(6)]);
    assert_eq!(read["bytes-route_pending-east"], [Gauge(15.0)]);
    assert_eq!(read["latency-route_rtt-east"], [Gauge(0.005)]);
    assert_eq!(read["bool-route_up-east"], [Gauge(1.0)]);
}

/// A missing member is known to midge only.
#[test]
fn a_missing_member_is_down() {
    let member = |name: &str, connected: bool| {
        json!({"name": name, "id": "N", "address": "", "own": false, "leaving": false,
            "connected": connected})
    };
    let clusterz = json!({"expected": 3, "present": 2,
        "members": [member("east", true), member("west", false)]});
    let routez = json!({"routes": [{"remote_name": "east"}]});
    let answers = Answers::from([(Endpoint::Clusterz, clusterz), (Endpoint::Routez, routez)]);
    let (read, _) = readings(&answers, 0);
    assert_eq!(read["bool-route_up-east"], [Gauge(1.0)]);
    assert_eq!(read["bool-route_up-west"], [Gauge(0.0)]);
    assert_eq!(read["count-members_expected"], [Gauge(3.0)]);
}

#[test]
fn ceilings_are_told_in_their_units_and_in_percent() {
    let ceiling = |name: &str, unit: &str, used: f64, limit: f64| json!({"name": name, "unit": unit, "used": used, "limit": limit});
    let mut growing = ceiling("fds", "count", 50.0, 200.0);
    growing["exhausted_in"] = 30.into();
    let all = [
        growing,
        ceiling("queues", "bytes", 9.0, 6.0),
        ceiling("pending", "bytes", 0.0, 0.0),
        ceiling("certificate", "seconds", 1.0, 2.0),
    ];
    let read = of(Endpoint::Memz, json!({"ceilings": all}));
    let expected = [
        ("bytes-ceiling_limit-pending", 0.0),
        ("bytes-ceiling_limit-queues", 6.0),
        ("bytes-ceiling_used-pending", 0.0),
        ("bytes-ceiling_used-queues", 9.0),
        ("count-ceiling_limit-fds", 200.0),
        ("count-ceiling_used-fds", 50.0),
        ("percent-ceiling-fds", 25.0),
        ("percent-ceiling-queues", 100.0),
        ("timeleft-ceiling-fds", 30.0),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), vec![Gauge(value)]));
    assert_eq!(read, BTreeMap::from(expected));
}

#[test]
fn ranks_without_a_connection_are_zero() {
    let connz = json!({"connections": [{"pending_bytes": 700}, {"pending_bytes": 5}]});
    let read = of(Endpoint::Connz, connz);
    let expected = [(1, 700.0), (2, 5.0), (3, 0.0)];
    for (rank, bytes) in expected {
        assert_eq!(read[&format!("bytes-pending_top-{rank}")], [Gauge(bytes)]);
    }
    assert_eq!(read.len(), 3);
}

#[test]
fn without_samples_there_is_no_latency() {
    let latencyz = |count: u64| {
        let times = json!({"last_minute": {"count": count, "p50": 0.1, "p99": 0.2, "max": 0.3}});
        json!({"total": times})
    };
    let read = of(Endpoint::Latencyz, latencyz(7));
    assert_eq!(read["latency-messages_p99"], [Gauge(0.2)]);
    assert_eq!(of(Endpoint::Latencyz, latencyz(0)), BTreeMap::new());
}

#[test]
fn everything_that_is_read_is_wanted() {
    let wanted = wanted(METRICS);
    for (endpoint, keys) in [
        (
            Endpoint::Varz,
            ["connections", "dropped_msgs.*", "tls.ca_not_after"],
        ),
        (
            Endpoint::Memz,
            ["ceilings.*.used", "ceilings.*.unit", "causes.*.bytes"],
        ),
        (
            Endpoint::Routez,
            ["routes.*.remote_name", "routes.*.rtt", "routes.*.ip"],
        ),
    ] {
        for key in keys {
            assert!(wanted[&endpoint].contains(key), "{key}");
        }
    }
}
