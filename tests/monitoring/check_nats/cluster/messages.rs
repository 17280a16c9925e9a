//! Mode `roundtrip`: messages from each broker to each of the others.

use test_support::mesh::Kind;

use super::{Cluster, Difference};

const MIXED: [Kind; 3] = [Kind::Midge, Kind::Nats, Kind::Midge];

#[test]
fn messages_arrive_at_all_brokers() {
    for kinds in [&MIXED[..], &[Kind::Nats29, Kind::Midge, Kind::Nats]] {
        let cluster = Cluster::start(kinds);
        let result = cluster.check(&["--mode", "roundtrip"]);
        result
            .expect(0, "OK: messages arrive between 3 brokers, slowest answer ")
            .expect(0, "3 of 3 brokers OK");
        assert_eq!(result.value("mesh_lost"), "0");
        assert!(
            result.fields("mesh_time").ends_with("s;0.5;1"),
            "{result:?}"
        );
        for broker in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            assert_ne!(result.value(&format!("{broker}::request_time")), "U");
        }
        let slow = cluster.check(&["--mode", "roundtrip", "--mesh-warning", "1h:"]);
        slow.expect(1, "(warning 1h:)");
        let slow = cluster.check(&["--mode", "roundtrip", "--mesh-critical", "@0:10"]);
        slow.expect(2, "(critical @0:10)");
    }
}

/// Brokers that answer, each for itself, but have no routes.
#[test]
fn a_partition_is_named() {
    let apart = Difference {
        number: 0,
        cluster: "name: other",
        ..Difference::default()
    };
    let cluster = Cluster::start_with(&MIXED, &[apart]);
    let result = test_support::wait_for("the other two have a route", || {
        let result = cluster.check(&["--mode", "roundtrip", "-t", "2"]);
        (result.value("mesh_lost") == "4").then_some(result)
    });
    result
        .expect(
            2,
            "no message arrives between 127.0.0.1 and 127.0.0.2, 127.0.0.3",
        )
        .expect(2, "slowest answer ");
    // Each for itself is well.
    result.expect(2, "3 of 3 brokers OK");
}

/// A route that lets messages through in one direction only.
#[test]
fn messages_that_are_lost_in_one_direction_are_named() {
    for kinds in [MIXED, [Kind::Nats, Kind::Midge, Kind::Nats]] {
        let deaf = Difference {
            number: 2,
            cluster: "permissions { import: { deny: \"_INBOX.check_nats.>\" } }",
            ..Difference::default()
        };
        let cluster = Cluster::start_with(&kinds, &[deaf]);
        cluster.wait_for_routes();
        let result = cluster.check(&["--mode", "roundtrip", "-t", "5"]);
        result.expect(2, "no message arrives from ");
    }
}

/// Published messages arrive, but not the requests of the queue groups.
#[test]
fn requests_that_are_not_answered_are_named() {
    for kinds in [MIXED, [Kind::Nats, Kind::Midge, Kind::Nats]] {
        let without_requests = Difference {
            number: 2,
            cluster: "permissions { export: { deny: \"_INBOX.check_nats.*.request.*\" } }",
            ..Difference::default()
        };
        let cluster = Cluster::start_with(&kinds, &[without_requests]);
        cluster.wait_for_routes();
        let result = cluster.check(&["--mode", "roundtrip", "-t", "2"]);
        result.expect(2, "no request to a queue group is answered from ");
        assert!(!result.line.contains("no message arrives"), "{result:?}");
        assert!(
            result.output.contains("  do: see --mode cluster"),
            "{result:?}"
        );
    }
}

#[test]
fn a_broker_that_is_gone_leaves_the_others() {
    let mut cluster = Cluster::start(&MIXED);
    cluster.brokers[1].kill();
    let result = cluster.check(&["--mode", "roundtrip"]);
    result
        .expect(2, "2 of 3 brokers answered; ")
        .expect(2, "127.0.0.2: client port 127.0.0.2:")
        .expect(2, "messages arrive between 2 brokers");
    assert_eq!(result.value("mesh_lost"), "0");
    assert_eq!(result.value("127.0.0.2::request_time"), "U");
    // With only one left there is nothing to compare.
    cluster.brokers[2].kill();
    let result = cluster.check(&["--mode", "roundtrip"]);
    result.expect(2, "1 of 3 brokers answered; ");
    assert_eq!(result.value("mesh_lost"), "U");
}
