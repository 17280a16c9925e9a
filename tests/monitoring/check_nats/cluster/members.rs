//! Mode `cluster`: routes, versions and configurations of several brokers.

use test_support::mesh::Kind;

use super::{Cluster, Difference, line_of};

const MIXED: [Kind; 3] = [Kind::Midge, Kind::Nats, Kind::Midge];

#[test]
fn a_complete_cluster_is_ok() {
    let cluster = Cluster::start_with_one_file(&MIXED, &[]);
    let result = cluster.check(&["--mode", "cluster"]);
    result.expect(
        0,
        "OK: 3 brokers have routes to each other; same version; same configuration; 3 of 3 brokers OK",
    );
    assert_eq!(result.value("routes_missing"), "0");
    // A midge and a nats-server have no version in common, and need none.
    assert_eq!(result.fields("versions"), "1;1");
    assert_eq!(result.fields("configs"), "1;1");
    for name in &cluster.names {
        let label = format!("{}::members", name.replace(':', "_"));
        assert_eq!(result.value(&label), "3");
        assert!(
            line_of(&result, name).contains("3 members of 3"),
            "{result:?}"
        );
    }
}

/// The file of one host was changed: it is named, and who still has the other one.
#[test]
fn another_configuration_is_reported_with_who_has_it() {
    let changed = Difference {
        number: 1,
        config: "max_payload: 2048",
        ..Difference::default()
    };
    let cluster = Cluster::start_with_one_file(&MIXED, &[changed]);
    let [first, second, third] = [0, 1, 2].map(|number| cluster.names[number].as_str());
    let result = cluster.check(&["--mode", "cluster"]);
    result
        .expect(1, "different configurations: ")
        .expect(1, &format!(" at {first}, {third}"))
        .expect(1, &format!(" at {second}"));
    assert_eq!(result.value("configs"), "2");
    let intended = cluster.check(&["--mode", "cluster", "--configs-warning", "2"]);
    assert_eq!(intended.code, 0, "{intended:?}");
}

#[test]
fn different_versions_of_a_program_are_reported() {
    let kinds = [Kind::Nats, Kind::Midge, Kind::Nats29];
    let cluster = Cluster::start_with_one_file(&kinds, &[]);
    let result = cluster.check(&["--mode", "cluster"]);
    result
        .expect(1, "different versions: ")
        .expect(1, &format!("nats-server 2.15.1 at {}", cluster.names[0]))
        .expect(1, "nats-server 2.9");
    assert_eq!(result.value("versions"), "2");
    let during_an_upgrade = cluster.check(&["--mode", "cluster", "--versions-warning", "2"]);
    assert_eq!(during_an_upgrade.code, 0, "{during_an_upgrade:?}");
}

#[test]
fn a_member_that_is_gone_is_named_by_itself_and_by_the_others() {
    let mut cluster = Cluster::start(&MIXED);
    cluster.brokers[2].kill();
    let result = test_support::wait_for("the others have noticed it", || {
        let result = cluster.check(&["--mode", "cluster"]);
        result
            .line
            .contains("127.0.0.1: 2 members of 3")
            .then_some(result)
    });
    result
        .expect(2, "CRITICAL: 2 of 3 brokers answered; ")
        .expect(2, "127.0.0.3: http://127.0.0.3:")
        .expect(2, "connection refused");
    assert_eq!(result.value("127.0.0.3::members"), "U");
    assert_eq!(result.value("routes_missing"), "0");
    // Of several that find the same one text is enough.
    let result = cluster.check(&["--mode", "connections", "-w", "1:"]);
    result.expect(2, "; 127.0.0.1, 127.0.0.2: 0 connections (warning 1:)");
}

/// Brokers that are in no cluster together: the culprit is named with all whom it does not
/// see.
#[test]
fn a_broker_without_routes_is_named() {
    let apart = Difference {
        number: 2,
        cluster: "name: other",
        ..Difference::default()
    };
    let cluster = Cluster::start_with(&MIXED, &[apart]);
    let result = test_support::wait_for("the other two have a route", || {
        let result = cluster.check(&["--mode", "cluster"]);
        (result.value("routes_missing") == "4").then_some(result)
    });
    result
        .expect(2, "no route between 127.0.0.3 and 127.0.0.1, 127.0.0.2")
        .expect(
            2,
            "different clusters: \"mesh\" at 127.0.0.1, 127.0.0.2, \"other\" at 127.0.0.3",
        );
}

/// Two addresses of one broker are no cluster of two.
#[test]
fn one_broker_given_twice_is_reported() {
    let cluster = Cluster::start(&[Kind::Midge, Kind::Nats]);
    let result = cluster.check(&["--mode", "cluster", "-H", "localhost"]);
    result.expect(1, "127.0.0.1 and localhost are the same broker");
    assert_eq!(result.value("routes_missing"), "0");
}
