//! Leafnodes of a mesh: clients at all members are reached, once, whichever member serves the leafnode
//! and while members go and come back.

use test_support::{
    Broker, free_port,
    mesh::{self, Kind, Member, Plan},
    raw_client::parse_info,
    wait_until,
};

use super::{
    RawClient, client, expect_silence, knows, leaf_with, message, scripted::joined, subscriber,
    wait_for_leafs,
};

/// Members of these kinds that serve leafnodes on the ports.
fn members(kinds: &[Kind], leaf_ports: &[u16]) -> Vec<Member> {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let plans = kinds.iter().enumerate().map(|(index, kind)| {
        let others: Vec<u16> = ports
            .iter()
            .copied()
            .filter(|it| *it != ports[index])
            .collect();
        plan(*kind, index, ports[index], &others, leaf_ports[index])
    });
    let members: Vec<Member> = plans.map(|plan| plan.start()).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

fn plan(kind: Kind, index: usize, port: u16, others: &[u16], leaf_port: u16) -> Plan {
    let mut plan = Plan::new(kind, &format!("n{index}"), port, others);
    plan.config = format!("leafnodes {{ listen: \"127.0.0.1:{leaf_port}\" }}\nport: -1");
    plan
}

/// A nats-server that is a leafnode of one of these ports, whichever answers.
fn leaf_of(name: &str, ports: &[u16]) -> Broker {
    let urls: Vec<String> = ports
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let text = format!(
        "server_name: {name}\nleafnodes {{ reconnect: 1, remotes: [ {{ urls: [{}], no_randomize: \
         true }} ] }}\n",
        urls.join(", ")
    );
    Broker::nats_server().config(text).start()
}

/// Clients at every member and at two leafnodes of different members exchange messages, each once.
#[test]
fn a_leafnode_reaches_all_members_and_other_leafnodes() {
    let leaf_ports = [free_port(), free_port(), free_port()];
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats, Kind::Midge],
    ] {
        let members = members(&kinds, &leaf_ports);
        let leafs = [
            leaf_of("first", &leaf_ports[..1]),
            leaf_of("second", &leaf_ports[2..]),
        ];
        leafs.iter().for_each(|leaf| wait_for_leafs(leaf, 1));
        let brokers: Vec<&Broker> = members
            .iter()
            .map(|member| &member.broker)
            .chain(&leafs)
            .collect();
        let mut readers: Vec<_> = brokers
            .iter()
            .map(|broker| {
                let mut reader = client(broker);
                reader.send("SUB all.* 1\r\nSUB work.* crew 2\r\n");
                reader.sync();
                reader
            })
            .collect();
        for (index, from) in brokers.iter().enumerate() {
            let mut writer = client(from);
            // Until everybody is reached: interest travels a moment.
            for reader in &mut readers {
                let subject = format!("all.probe{index}");
                wait_until("it is reached", || {
                    writer.send(format!("PUB {subject} 1\r\np\r\n"));
                    writer.sync();
                    reader.sync().iter().any(|frame| frame.body == b"p")
                });
            }
        }
        // What is left of the probes of a broker arrives before what is published there later.
        let next = |reader: &mut RawClient| loop {
            let (head, body) = message(reader);
            if !head.contains(".probe") {
                return (head, body);
            }
        };
        for (index, from) in brokers.iter().enumerate() {
            let mut writer = client(from);
            let subject = format!("all.real{index}");
            writer.send(format!("PUB {subject} 1\r\nx\r\n").repeat(20));
            writer.send(format!("PUB {subject} 3\r\nend\r\n"));
            writer.sync();
            for reader in &mut readers {
                for _ in 0..20 {
                    assert_eq!(next(reader), (format!("MSG {subject} 1 1"), b"x".to_vec()));
                }
                assert_eq!(next(reader).1, b"end");
            }
        }
        readers.iter_mut().for_each(expect_silence);
    }
}

/// The member that serves a leafnode is killed and comes back: meanwhile another one serves it. What is
/// published while there is a way arrives, and nothing arrives twice.
#[test]
fn members_come_and_go_without_doubles() {
    let leaf_ports = [free_port(), free_port()];
    let ports = [free_port(), free_port()];
    let start = |index: usize| {
        plan(
            Kind::Midge,
            index,
            ports[index],
            &[ports[1 - index]],
            leaf_ports[index],
        )
        .start()
    };
    let mut members = [start(0), start(1)];
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    let leaf = leaf_of("leaf", &leaf_ports);
    wait_for_leafs(&leaf, 1);
    let mut up = subscriber(&leaf, &members[0].broker, "down.>");
    for round in 0..3 {
        let (gone, stays) = (round % 2, 1 - round % 2);
        members[gone].broker.kill();
        wait_until("another member serves the leafnode", || {
            knows(&members[stays].broker, "down.>")
        });
        let mut down = client(&members[stays].broker);
        down.send("SUB up.> 1\r\n");
        down.sync();
        wait_until("it is told", || knows(&leaf, "up.>"));
        down.send(format!("PUB down.a 1\r\n{round}\r\n").repeat(50));
        down.sync();
        for _ in 0..50 {
            assert_eq!(message(&mut up).1, format!("{round}").as_bytes());
        }
        expect_silence(&mut up);
        let mut writer = client(&leaf);
        writer.send(format!("PUB up.a 1\r\n{round}\r\n").repeat(50));
        writer.sync();
        for _ in 0..50 {
            assert_eq!(message(&mut down).1, format!("{round}").as_bytes());
        }
        expect_silence(&mut down);
        drop(down);
        members[gone] = start(gone);
        mesh::wait_for_mesh(&[&members[0], &members[1]]);
    }
}

/// Two members of a site's cluster, each a leafnode of another member of the hub's mesh: what one of them
/// sends does not come back to the other one, which has it over its own routes; others get it once, as it
/// was sent.
#[test]
fn a_message_does_not_come_back_to_the_cluster_of_its_leafnode() {
    const SITE: &str = "\"cluster\":\"site\",\"headers\":true,\"version\":\"2.15.1\"";
    for kinds in [
        [Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats],
        [Kind::Nats, Kind::Midge],
    ] {
        let leaf_ports = [free_port(), free_port()];
        let members = members(&kinds, &leaf_ports);
        let (mut one, _) = joined(leaf_ports[0], &format!("\"name\":\"S1\",{SITE}"));
        let (mut two, _) = joined(leaf_ports[1], &format!("\"name\":\"S2\",{SITE}"));
        let (mut far, _) = joined(leaf_ports[1], "\"name\":\"FAR\",\"headers\":true");
        for leaf in [&mut one, &mut two, &mut far] {
            leaf.send("LS+ x.>\r\n");
            leaf.sync();
        }
        let mut reader = client(&members[1].broker);
        reader.send("SUB x.> 1\r\n");
        reader.sync();
        wait_until("all of the other member is known", || {
            one.send("LMSG x.probe 1\r\np\r\n");
            one.sync();
            [&mut far, &mut reader]
                .iter_mut()
                .all(|it| it.sync().iter().any(|frame| frame.is_message()))
        });
        let big = "b".repeat(100_000);
        one.send(format!(
            "LMSG x.a 1\r\na\r\nLMSG x.b rep 1\r\nb\r\n\
             HMSG x.c rep 18 19\r\nNATS/1.0\r\nK: v\r\n\r\nc\r\nLMSG x.d {}\r\n{big}\r\n\
             LMSG x.end 3\r\nend\r\n",
            big.len()
        ));
        one.sync();
        for (reader, verb, sid) in [(&mut far, "L", ""), (&mut reader, "", " 1")] {
            let mut next = || loop {
                let (head, body) = message(reader);
                if !head.contains("x.probe") {
                    return (head, body.len());
                }
            };
            let expected = [
                (format!("{verb}MSG x.a{sid} 1"), 1),
                (format!("{verb}MSG x.b{sid} rep 1"), 1),
                (format!("HMSG x.c{sid} rep 18 19"), 19),
                (format!("{verb}MSG x.d{sid} {}", big.len()), big.len()),
                (format!("{verb}MSG x.end{sid} 3"), 3),
            ];
            for line in expected {
                assert_eq!(next(), line, "{kinds:?}");
            }
        }
        expect_silence(&mut two);
        // What comes from elsewhere reaches both.
        let mut writer = client(&members[0].broker);
        writer.send("PUB x.all 1\r\ny\r\n");
        writer.sync();
        for leaf in [&mut one, &mut two, &mut far] {
            assert_eq!(message(leaf).1, b"y", "{kinds:?}");
        }
        // The probes came from the one itself; it gets nothing back either.
        expect_silence(&mut one);
    }
}

/// A leafnode of a cluster of the same name is refused, as with nats-server.
#[test]
fn a_cluster_is_no_leafnode_of_itself() {
    let leaf_ports = [free_port()];
    let members = members(&[Kind::Midge], &leaf_ports);
    let config = format!(
        "cluster {{ name: mesh, listen: \"127.0.0.1:{}\" }}",
        free_port()
    );
    let leaf = leaf_with(
        Broker::nats_server(),
        "same",
        leaf_ports[0],
        "",
        "",
        &config,
    );
    wait_until("it is refused", || {
        leaf.log().to_string().contains("same cluster name")
    });
    assert_eq!(members[0].broker.get_json("/leafz")["leafnodes"], 0);
}

/// A leafnode that knows one member learns of the others, and is served by another one when its own is
/// gone: members of both kinds tell each other where they serve leafnodes.
#[test]
fn a_leafnode_learns_where_the_other_members_are() {
    let leaf_ports = [free_port(), free_port()];
    for kinds in [[Kind::Midge, Kind::Midge], [Kind::Midge, Kind::Nats]] {
        let mut members = members(&kinds, &leaf_ports);
        let leaf = leaf_of("leaf", &leaf_ports[..1]);
        wait_for_leafs(&leaf, 1);
        let mut up = subscriber(&leaf, &members[0].broker, "news");
        members[0].broker.kill();
        wait_until("the other member serves it", || {
            knows(&members[1].broker, "news")
        });
        client(&members[1].broker).send("PUB news 1\r\ny\r\n");
        assert_eq!(message(&mut up).1, b"y");
    }
}

/// The list of addresses in INFO: the member's own first, those of others as they come and go, and
/// none of a member that does not announce its own.
#[test]
fn the_addresses_in_info_are_those_of_the_members() {
    let (leaf_ports, ports) = ([free_port(), free_port()], [free_port(), free_port()]);
    let url = |index: usize| format!("127.0.0.1:{}", leaf_ports[index]);
    let first = plan(Kind::Midge, 0, ports[0], &[], leaf_ports[0]).start();
    let (mut leaf, info) = joined(leaf_ports[0], "\"name\":\"FL\",\"server_id\":\"NF\"");
    assert_eq!(info["leafnode_urls"], serde_json::json!([url(0)]));
    let mut listed = move || loop {
        let frame = leaf.next_frame().expect("an INFO");
        if let Some(info) = parse_info(&frame) {
            assert_eq!(info["remote_account"], "$G", "{info}");
            return info["leafnode_urls"].clone();
        }
    };
    for advertise in ["no_advertise: false", "advertise: \"leafs.example.net:7\""] {
        let mut second = plan(Kind::Midge, 1, ports[1], &[ports[0]], leaf_ports[1]);
        // What is said about clients has no say here.
        second.cluster += "\n  no_advertise: true";
        second.config = format!(
            "leafnodes {{ listen: \"127.0.0.1:{}\", {advertise} }}\nport: -1",
            leaf_ports[1]
        );
        let second = second.start();
        let other = match advertise.starts_with("no") {
            true => url(1),
            false => "leafs.example.net:7".to_owned(),
        };
        assert_eq!(listed(), serde_json::json!([url(0), other]));
        wait_until("the second one lists both", || {
            let (_, info) = joined(leaf_ports[1], "\"name\":\"OTHER\"");
            info["leafnode_urls"] == serde_json::json!([other, url(0)])
        });
        drop(second);
        assert_eq!(listed(), serde_json::json!([url(0)]));
    }
    let mut silent = plan(Kind::Midge, 1, ports[1], &[ports[0]], leaf_ports[1]);
    silent.config = format!(
        "leafnodes {{ listen: \"127.0.0.1:{}\", no_advertise: true }}\nport: -1",
        leaf_ports[1]
    );
    let silent = silent.start();
    mesh::wait_for_mesh(&[&first, &silent]);
    wait_until("the silent one lists the other", || {
        let (_, info) = joined(leaf_ports[1], "\"name\":\"OTHER\"");
        info["leafnode_urls"] == serde_json::json!([url(0)])
    });
    let (_, info) = joined(leaf_ports[0], "\"name\":\"OTHER\"");
    assert_eq!(info["leafnode_urls"], serde_json::json!([url(0)]));
}
