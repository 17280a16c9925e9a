//! Mode `cluster` on one nats-server, which has no list of members but its configuration.

use test_support::{Broker, BrokerBuilder, free_port, mesh::Kind, wait_until};

use super::{
    super::plugin::{PluginOutput, check},
    builder,
};

const KINDS: [Kind; 2] = [Kind::Nats, Kind::Nats29];

fn start(builder: BrokerBuilder, listen: &str, routes: &[String]) -> Broker {
    let routes: Vec<String> = routes
        .iter()
        .map(|at| format!("nats-route://{at}"))
        .collect();
    let routes = routes.join(", ");
    let config = format!("cluster {{ name: mesh, listen: {listen:?}, routes: [ {routes} ] }}\n");
    builder.config(config).start()
}

fn cluster(broker: &Broker, arguments: &[&str]) -> PluginOutput {
    check(broker, &[&["--mode", "cluster"], arguments].concat())
}

/// A configured peer that is dead is missing, whether the broker's own address is in the list or
/// not and whatever it is called there; once it is there, all is well.
#[test]
fn a_configured_peer_without_a_route_is_missing() {
    for kind in KINDS {
        for (listen, own) in [
            ("127.0.0.1", None),
            ("127.0.0.1", Some("127.0.0.1")),
            ("0.0.0.0", Some("localhost")),
        ] {
            let [own_port, port] = [free_port(), free_port()];
            let mut routes = vec![format!("localhost:{port}")];
            routes.extend(own.map(|host| format!("{host}:{own_port}")));
            let broker = start(builder(kind), &format!("{listen}:{own_port}"), &routes);
            let result = cluster(&broker, &[]);
            result
                .expect(2, "1 member of 2")
                .expect(2, &format!("no route to localhost:{port}"))
                .tell("\n  do: the configuration names it: look at that broker");
            assert_eq!(result.value("members_missing"), "1");
            cluster(&broker, &["--expect", "1"]).expect(0, "1 member of 1");
            let back = [format!("127.0.0.1:{own_port}")];
            let mut peer = start(builder(kind), &format!("127.0.0.1:{port}"), &back);
            wait_until("the peer is there", || cluster(&broker, &[]).code == 0);
            cluster(&broker, &[]).expect(0, "2 members of 2");
            cluster(&peer, &[]).expect(0, "2 members of 2");
            peer.kill();
            wait_until("it is missing again", || cluster(&broker, &[]).code == 2);
        }
    }
}

/// A peer that only gossip has told of is no configured one: of those, none is hidden.
#[test]
fn a_discovered_peer_replaces_no_configured_one() {
    for kind in KINDS {
        let [first, second, third, dead] = [(); 4].map(|()| free_port());
        let at = |port: u16| format!("127.0.0.1:{port}");
        let broker = start(builder(kind), &at(first), &[at(second), at(dead)]);
        let _second = start(builder(kind), &at(second), &[at(first)]);
        let _third = start(builder(kind), &at(third), &[at(second)]);
        wait_until("both are there", || {
            cluster(&broker, &[]).value("members") == "3"
        });
        // A new route may be that of any peer for some seconds. All are at one host, so the dead
        // one may be named together with a live one.
        wait_until("the dead one is missing", || {
            let result = cluster(&broker, &[]);
            result.line.contains("3 members of 4") && result.line.contains(&at(dead))
        });
    }
}

/// Where the broker cannot know its members, that is said; without a cluster there are none.
#[test]
fn without_configured_peers_the_number_is_asked_for() {
    for kind in KINDS {
        let seed = start(builder(kind), &format!("127.0.0.1:{}", free_port()), &[]);
        let result = cluster(&seed, &[]);
        result
            .expect(3, "names no other member")
            .tell("\n  do: give --expect NUMBER");
        assert_eq!(result.value("members"), "1");
        assert_eq!(result.value("members_missing"), "U");
        cluster(&seed, &["--expect", "1"]).expect(0, "1 member of 1");
        cluster(&seed, &["--expect", "2"]).expect(2, "1 member of 2");
        cluster(&builder(kind).start(), &[]).expect(0, "1 member of 1");
    }
}
