//! midge as leafnode, beyond two brokers: several members on either side, queue groups, circles, and
//! members that end.

use test_support::{
    Broker, RawClient, free_port,
    mesh::{self, Kind, Member, Plan},
    wait_until,
};

use super::{
    client, expect_silence, knows, message,
    remotes::{HUBS, hub_of, remote, spoke},
    wait_for_leafs,
};

/// Members of a cluster with this name; each has the block `leafnodes` that it is given.
fn members(kind: Kind, cluster: &str, blocks: &[String]) -> Vec<Member> {
    let ports: Vec<u16> = blocks.iter().map(|_| free_port()).collect();
    let start = |(index, block): (usize, &String)| {
        let others: Vec<u16> = ports
            .iter()
            .copied()
            .filter(|port| *port != ports[index])
            .collect();
        let mut plan = Plan::new(kind, &format!("{cluster}{index}"), ports[index], &others);
        plan.cluster = format!("name: {cluster}");
        plan.config = format!("leafnodes {{ {block} }}\nport: -1");
        plan.start()
    };
    let members: Vec<Member> = blocks.iter().enumerate().map(start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

fn remotes_to(ports: &[u16]) -> String {
    let urls: Vec<String> = ports
        .iter()
        .map(|port| format!("\"nats-leaf://127.0.0.1:{port}\""))
        .collect();
    format!(
        "reconnect: 1, remotes: [ {{ urls: [{}] }} ]",
        urls.join(", ")
    )
}

/// Publishes at each broker until every reader is reached from there, then `count` messages that each
/// reader gets once, in their order.
fn reach_all(brokers: &[&Broker], readers: &mut [RawClient], count: usize) {
    for (index, from) in brokers.iter().enumerate() {
        let mut writer = client(from);
        let probe = format!("all.probe{index}");
        for reader in readers.iter_mut() {
            wait_until("it is reached", || {
                writer.send(format!("PUB {probe} 1\r\np\r\n"));
                writer.sync();
                reader.sync().iter().any(|frame| frame.body == b"p")
            });
        }
    }
    let next = |reader: &mut RawClient| loop {
        let (head, body) = message(reader);
        if !head.contains(".probe") {
            return (head, body);
        }
    };
    for (index, from) in brokers.iter().enumerate() {
        let mut writer = client(from);
        for number in 0..count {
            let text = number.to_string();
            writer.send(format!("PUB all.real{index} {}\r\n{text}\r\n", text.len()));
        }
        writer.sync();
        for reader in readers.iter_mut() {
            for number in 0..count {
                let (head, body) = next(reader);
                assert!(head.contains(&format!("all.real{index}")), "{head}");
                assert_eq!(body, number.to_string().as_bytes());
            }
        }
    }
    readers.iter_mut().for_each(expect_silence);
}

/// A mesh of two whose members both have the remote, and a hub with another leafnode: everybody gets
/// each message once.
#[test]
fn a_mesh_of_spokes_has_no_doubles() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let block = remotes_to(&[port]);
        let spokes = members(Kind::Midge, "site", &[block.clone(), block]);
        let other = spoke("other", port, "", "", "");
        wait_for_leafs(&hub, 3);
        let brokers = [&hub, &spokes[0].broker, &spokes[1].broker, &other];
        let mut readers = brokers.map(|broker| {
            let mut reader = client(broker);
            reader.send("SUB all.> 1\r\n");
            reader.sync();
            reader
        });
        reach_all(&brokers, &mut readers, 20);
        // Of a queue group over all of them, one member gets each message.
        let mut workers = brokers.map(|broker| {
            let mut worker = client(broker);
            worker.send("SUB work.* crew 1\r\nSUB end.* 2\r\n");
            worker.sync();
            worker
        });
        for from in brokers {
            wait_until("the groups are known", || {
                brokers.iter().all(|broker| {
                    std::ptr::eq(*broker, from) || knows_of(from, broker, &hub, &spokes, "work.*")
                })
            });
            let mut writer = client(from);
            writer.send("PUB work.a 1\r\nx\r\n".repeat(40));
            writer.sync();
            // What was published before arrives before it.
            let mut got = 0;
            for worker in &mut workers {
                wait_until("the end is known", || {
                    writer.send("PUB end.probe 1\r\ne\r\n");
                    writer.sync();
                    let frames = worker.sync();
                    got += frames
                        .iter()
                        .filter(|frame| frame.is_message() && frame.body == b"x")
                        .count();
                    frames.iter().any(|frame| frame.body == b"e")
                });
            }
            assert_eq!(got, 40);
        }
    }
}

/// Whether a broker knows of interest elsewhere in a subject: over its leafnode connections; routes tell
/// before those.
fn knows_of(from: &Broker, _: &Broker, hub: &Broker, spokes: &[Member], subject: &str) -> bool {
    let _ = spokes;
    match std::ptr::eq(from, hub) {
        true => {
            let leafz = hub.get_json("/leafz?subs=1");
            let leafs = leafz["leafs"].as_array().cloned().unwrap_or_default();
            leafs
                .iter()
                .all(|leaf| leaf["subscriptions_list"].to_string().contains(subject))
        }
        false => knows(from, subject),
    }
}

/// A member of the hub's mesh is killed and comes back: its leafnode goes to the other one, whose
/// address it knows from the configuration or from the hub.
#[test]
fn a_hub_of_several_members_may_lose_one() {
    for (kind, configures_both) in [(Kind::Midge, true), (Kind::Nats, true), (Kind::Nats, false)] {
        let ports = [free_port(), free_port()];
        let blocks = ports.map(|port| format!("listen: \"127.0.0.1:{port}\""));
        let mut hubs = members(kind, "hub", &blocks);
        let known = match configures_both {
            true => &ports[..],
            false => &ports[..1],
        };
        let text = format!("server_name: leaf\nleafnodes {{ {} }}\n", remotes_to(known));
        let leaf = Broker::midge().config(text).start();
        wait_for_leafs(&leaf, 1);
        let mut reader = client(&leaf);
        reader.send("SUB all.> 1\r\n");
        reader.sync();
        for round in 0..2 {
            let serving =
                (0..2).find(|index| hubs[*index].broker.get_json("/leafz")["leafnodes"] == 1);
            let gone = serving.expect("one has the leafnode");
            let stays = 1 - gone;
            {
                let brokers = [&hubs[stays].broker, &hubs[gone].broker, &leaf];
                let mut at_hub = client(&hubs[stays].broker);
                at_hub.send("SUB all.> 1\r\n");
                at_hub.sync();
                let mut readers = [at_hub, reader];
                reach_all(&brokers, &mut readers, 5);
                let [_, back] = readers;
                reader = back;
            }
            hubs[gone].broker.kill();
            wait_for_leafs(&hubs[stays].broker, 1);
            {
                let brokers = [&hubs[stays].broker, &leaf];
                let mut at_hub = client(&hubs[stays].broker);
                at_hub.send("SUB all.> 1\r\n");
                at_hub.sync();
                let mut readers = [at_hub, reader];
                reach_all(&brokers, &mut readers, 5);
                let [_, back] = readers;
                reader = back;
            }
            assert_eq!(remote(&leaf)["connects"], 2 + round);
            if round == 0 {
                let other = hubs[stays].route_port;
                let mut plan =
                    Plan::new(kind, &format!("hub{gone}"), hubs[gone].route_port, &[other]);
                plan.cluster = "name: hub".into();
                plan.config = format!("leafnodes {{ {} }}\nport: -1", blocks[gone]);
                hubs[gone] = plan.start();
                mesh::wait_for_mesh(&hubs.iter().collect::<Vec<_>>());
                if !configures_both {
                    // Its address is told again.
                    wait_until("the hub knows of both", || {
                        hubs[stays].broker.get_json("/routez")["num_routes"] != 0
                    });
                }
            }
        }
    }
}

/// A broker that is a leafnode of two hubs which are joined themselves is in a circle: it is found, and
/// the attempt is repeated later.
#[test]
fn a_circle_is_found() {
    for kind in HUBS {
        let ports = [free_port(), free_port()];
        let first = hub_of(kind, ports[0], "", "");
        let text = format!(
            "server_name: second\nleafnodes {{ listen: \"127.0.0.1:{}\", {} }}\n",
            ports[1],
            remotes_to(&ports[..1])
        );
        let second = kind().config(text).start();
        wait_for_leafs(&second, 1);
        let text = format!(
            "server_name: leaf\nleafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{}\" }}, {{ url: \
             \"nats://127.0.0.1:{}\" }} ] }}\n",
            ports[0], ports[1]
        );
        let leaf = Broker::midge().config(text).start();
        wait_until("it is found", || {
            [&leaf, &first, &second]
                .iter()
                .any(|broker| broker.log().to_string().contains("Loop detected"))
        });
        drop((first, second, leaf));
    }
}

/// A leafnode of the cluster that it is in itself is refused, and waits for a while.
#[test]
fn a_cluster_is_no_leafnode_of_itself() {
    let port = free_port();
    let hub = members(
        Kind::Nats,
        "same",
        &[format!("listen: \"127.0.0.1:{port}\"")],
    );
    let config = format!(
        "cluster {{ name: same, listen: \"127.0.0.1:{}\" }}",
        free_port()
    );
    let leaf = spoke("leaf", port, "", "", &config);
    wait_until("it is refused", || {
        leaf.log().to_string().contains("same cluster name")
    });
    let state = remote(&leaf);
    assert_eq!(state["connected"], false, "{state}");
    drop(hub);
}

/// Weights of queue groups cross the connection: a side with more members gets more of what a third
/// broker publishes.
#[test]
fn members_behind_leafnodes_are_drawn_by_their_number() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let leafs = [spoke("a", port, "", "", ""), spoke("b", port, "", "", "")];
        wait_for_leafs(&hub, 2);
        let join = |at: &Broker, members: usize| {
            let mut worker = client(at);
            for sid in 0..members {
                worker.send(format!("SUB jobs crew {sid}\r\n"));
            }
            worker.send("SUB done 100\r\n");
            worker.sync();
            worker
        };
        let mut workers = [join(&leafs[0], 1), join(&leafs[1], 3)];
        wait_until("both are known", || {
            let leafz = hub.get_json("/leafz?subs=1");
            let leafs = leafz["leafs"].as_array().cloned().unwrap_or_default();
            leafs.len() == 2
                && leafs
                    .iter()
                    .all(|leaf| leaf["subscriptions_list"].to_string().contains("\"done\""))
        });
        let mut writer = client(&hub);
        writer.send("PUB jobs 1\r\nx\r\n".repeat(400));
        writer.send("PUB done 0\r\n\r\n");
        writer.sync();
        let counts = workers.each_mut().map(|worker| {
            let mut count = 0;
            while message(worker).1 == b"x" {
                count += 1;
            }
            count
        });
        assert_eq!(counts[0] + counts[1], 400, "{counts:?}");
        assert!(counts[0] > 0, "{counts:?}");
        // By weight the second one gets 300 on the average.
        if std::ptr::fn_addr_eq(kind, HUBS[1]) {
            assert!(counts[1] > 2 * counts[0], "{counts:?}");
        }
    }
}
