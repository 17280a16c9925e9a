//! When another broker of the cluster is slow, or its route is lost too often.

use std::{thread, time::Duration};

use test_support::{
    free_port,
    mesh::{Kind, Plan, wait_for_mesh},
    wait_until,
};

use super::{Scene, Threshold, appears_while, config, stays_silent};
use crate::reload::effects::line_with;

/// A peer answers its first ping late.
#[test]
pub fn route_rtt() {
    let threshold = Threshold {
        key: "route_rtt",
        before: "1h",
        after: "50ms",
    };
    threshold.makes("route-slow", "", |scene| {
        let mut peer = scene.peer();
        line_with(&mut peer, "PING");
        thread::sleep(Duration::from_millis(200));
        peer.send("PONG\r\n");
        wait_until("the round trip is known", || {
            let routes = scene.member.routes();
            routes.iter().any(|route| route["rtt"].is_string())
        });
        peer
    });
}

/// A member has answered and is then stopped.
#[test]
pub fn route_silence() {
    let threshold = Threshold {
        key: "route_silence",
        before: "1h",
        after: "200ms",
    };
    threshold.makes("route-slow", "", |scene| {
        let seeds = [scene.member.route_port];
        let other = Plan::new(Kind::Midge, "n1", free_port(), &seeds).start();
        wait_for_mesh(&[&scene.member, &other]);
        wait_until("it has answered", || {
            let mesh = scene.member.broker.get_json("/clusterz");
            let members = mesh["members"].as_array().cloned().unwrap_or_default();
            members
                .iter()
                .any(|it| it["name"] == "n1" && it["reported"] != "")
        });
        other.broker.signal(libc::SIGSTOP);
        other
    });
}

/// A configured member said that it leaves and is gone.
#[test]
pub fn planned_absence() {
    const MISSING: (&str, &str) = ("route-missing", "critical");
    let port = free_port();
    let before = config("", "planned_absence: 1h");
    let mut scene = Scene::new(&before, "");
    scene.plan.routes = vec![port];
    let mut other = Plan::new(Kind::Midge, "n1", port, &[]).start();
    scene.reload(&before, "");
    wait_for_mesh(&[&scene.member, &other]);
    other.broker.signal(libc::SIGUSR2);
    other.broker.wait_exit();
    stays_silent(&scene, MISSING.0, MISSING.1);
    scene.reload(&config("", "planned_absence: 10ms"), "");
    appears_while(&scene, MISSING.0, MISSING.1, || {});
}

/// A peer leaves once.
#[test]
pub fn route_losses() {
    let threshold = Threshold {
        key: "route_losses",
        before: "100",
        after: "1",
    };
    threshold.makes("route-flapping", "", |scene: &Scene| {
        stays_silent(scene, "route-flapping", "");
        drop(scene.peer());
        scene.route_ends();
    });
}

/// A peer has no client, and this broker three.
#[test]
pub fn uneven_clients() {
    let threshold = Threshold {
        key: "uneven_clients",
        before: "100",
        after: "1",
    };
    threshold.makes("clients-uneven", "", |scene: &Scene| {
        let mut peer = scene.peer();
        let id = scene.member.broker.get_json("/varz")["server_id"].clone();
        let subject = format!("$SYS._ROUTES.{}", id.as_str().expect("an id"));
        let statistics = "{\"server\":{\"id\":\"PEER\"},\"statsz\":{\"connections\":0}}";
        let len = statistics.len();
        peer.send(format!("RMSG $SYS {subject} {len}\r\n{statistics}\r\n"));
        (peer, [scene.client(), scene.client(), scene.client()])
    });
}
