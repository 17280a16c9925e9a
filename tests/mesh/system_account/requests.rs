//! Requests that change something, and requests to some of the servers.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use test_support::{
    Broker, free_port,
    mesh::{self, Kind, Plan},
    raw_client::Next,
    wait_until,
};

use super::{CONFIG, Side, ask, fields, json, log_in};

#[test]
fn a_kick_request_disconnects_a_client() {
    let mut side = Side::new(Broker::midge().config(CONFIG).start());
    let port = u64::from(side.client.local_port());
    let connz = side.broker.get_json("/connz");
    let cid = connz["connections"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|entry| entry["port"] == port)
        .expect("the client is listed")["cid"]
        .clone();
    let subject = format!("$SYS.REQ.SERVER.{}.KICK", side.id);
    let answer = ask(&mut side.system, &subject, &format!("{{\"cid\":{cid}}}"));
    assert!(answer.expect("an answer")["error"].is_null());
    assert!(
        side.client.read_to_end().is_empty(),
        "closed without a word"
    );
    let closed = side
        .broker
        .get_json(&format!("/connz?state=closed&cid={cid}"));
    assert_eq!(closed["connections"][0]["reason"], "Kicked");
}

/// One client gets the request to reconnect elsewhere, and stays connected.
#[test]
fn an_ldm_request_makes_a_client_reconnect() {
    for mut side in Side::both() {
        let mut client = side.broker.connect();
        client.send("CONNECT {\"verbose\":false,\"protocol\":1,\"user\":\"a\",\"pass\":\"a\"}\r\n");
        client.sync();
        client.send("PONG\r\n");
        client.sync();
        let connz = side.broker.get_json("/connz?user=a&sort=uptime");
        let port = u64::from(client.local_port());
        let mut listed = connz["connections"].as_array().expect("a list").iter();
        let cid = &listed.find(|entry| entry["port"] == port).expect("it")["cid"];
        let subject = format!("$SYS.REQ.SERVER.{}.LDM", side.id);
        let answer = ask(&mut side.system, &subject, &format!("{{\"cid\":{cid}}}"));
        assert!(answer.expect("an answer")["error"].is_null());
        let reported = client.sync();
        assert!(
            reported.iter().any(|frame| {
                let line = String::from_utf8_lossy(&frame.line);
                line.starts_with("INFO ") && line.contains("\"ldm\":true")
            }),
            "{reported:?}"
        );
    }
}

/// The number of subscribers is returned as text, and statistics on request.
#[test]
fn subscriber_counts_and_statistics_are_sent_on_request() {
    for mut side in Side::both() {
        side.system
            .send("SUB x.* crew 1\r\nSUB x.> 2\r\nSUB y 3\r\n");
        side.system.sync();
        for (body, expected) in [
            ("x.a", "2"),
            ("x.a crew", "1"),
            ("x.a other", "0"),
            ("x.>", "2"),
            ("nobody", "0"),
        ] {
            side.system.send(format!(
                "SUB inbox.* 77\r\nPUB $SYS.DEBUG.SUBSCRIBERS inbox.1 {}\r\n{body}\r\n",
                body.len()
            ));
            let frame = side.system.next_message();
            assert_eq!(String::from_utf8_lossy(&frame.body), expected, "{body}");
            side.system.send("UNSUB 77\r\n");
            side.system.sync();
        }
        let statsz = format!("$SYS.SERVER.{}.STATSZ", side.id);
        side.system.send(format!("SUB {statsz} 9\r\n"));
        side.system.sync();
        side.system
            .send(format!("PUB $SYS.REQ.SERVER.{}.STATSZ 0\r\n\r\n", side.id));
        loop {
            let frame = side.system.next_message();
            if frame.arguments()[0] == statsz {
                break;
            }
        }
    }
}

/// A request for other servers is ignored. midge processes requests in order, so the
/// reply to the next one proves it.
#[test]
fn a_server_that_the_filter_excludes_does_not_reply() {
    let mut side = Side::new(Broker::midge().config(CONFIG).start());
    for (topic, body) in [
        ("SERVER.PING.VARZ", "{\"server_name\":\"zz\"}"),
        (
            "SERVER.PING.VARZ",
            "{\"server_name\":\"N\",\"exact_match\":true}",
        ),
        ("SERVER.PING.VARZ", "{\"cluster\":\"zz\"}"),
        ("SERVER.PING.VARZ", "{\"host\":\"zz\"}"),
        ("SERVER.PING.VARZ", "{\"tags\":[\"zz\"]}"),
        ("SERVER.PING.VARZ", "{\"domain\":\"zz\"}"),
        ("SERVER.PING.JSZ", "{\"leader_only\":true}"),
        ("SERVER.ID.VARZ", "{\"server_name\":\"zz\"}"),
        ("ACCOUNT.A.CONNZ", "{\"server_name\":\"zz\"}"),
    ] {
        let topic = topic.replace("ID.", &format!("{}.", side.id));
        side.system.send(format!(
            "SUB inbox.* 77\r\nPUB $SYS.REQ.{topic} inbox.1 {}\r\n{body}\r\n\
             PUB $SYS.REQ.SERVER.PING.IDZ inbox.2 0\r\n\r\n",
            body.len()
        ));
        let frame = side.system.next_message();
        assert_eq!(frame.arguments()[0], "inbox.2", "{topic} {body}: {frame:?}");
        side.system.send("UNSUB 77\r\n");
        side.system.sync();
    }
}

/// A request may select the servers that have all given tags.
#[test]
fn a_tags_filter_selects_servers() {
    for builder in [Broker::midge(), Broker::nats_server()] {
        let config = format!("server_tags: [\"one\", \"Two\"]\n{CONFIG}");
        let mut side = Side::new(builder.config(config).start());
        for (tags, is_meant) in [
            ("[]", true),
            ("null", true),
            ("[\"one\"]", true),
            ("[\"two\", \"ONE\"]", true),
            ("[\"one\", \"three\"]", false),
            ("[\"on\"]", false),
        ] {
            let body = format!("{{\"tags\":{tags}}}");
            side.system.send(format!(
                "SUB inbox.* 77\r\nPUB $SYS.REQ.SERVER.PING.VARZ inbox.1 {}\r\n{body}\r\n",
                body.len()
            ));
            let mut answers = Vec::new();
            let patience = Duration::from_millis(500);
            while let Next::Frame(frame) = side.system.poll_frame(patience) {
                if frame.is_message() {
                    answers.push(frame.arguments()[0].clone());
                }
            }
            let answered = answers.iter().any(|subject| subject == "inbox.1");
            assert_eq!(answered, is_meant, "{tags} {answers:?}");
            side.system.send("UNSUB 77\r\n");
            side.system.sync();
        }
    }
}

/// In a cluster the statistics name it, and a request may select servers by its name.
#[test]
fn cluster_members_report_their_cluster() {
    let kinds = [
        [Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats],
        [Kind::Nats, Kind::Midge],
        [Kind::Nats, Kind::Nats],
    ];
    let [ours, mixed, asked_elsewhere, theirs] = kinds.map(|kinds| {
        let ports = [free_port(), free_port()];
        let members = [(0, 1), (1, 0)].map(|(own, other)| {
            let mut plan = Plan::new(kinds[own], &format!("n{own}"), ports[own], &[ports[other]]);
            plan.config = CONFIG.into();
            plan.start()
        });
        mesh::wait_for_mesh(&[&members[0], &members[1]]);
        wait_until(
            "each member has the interest of the other's services",
            || {
                members
                    .iter()
                    .all(|member| member.knows("$SYS.REQ.SERVER.PING"))
            },
        );
        let mut system = log_in(&members[0].broker, "s");
        // Both members reply to a request to all.
        let mut all = |subject: &str, body: &str| {
            system.send(format!(
                "SUB inbox.* 77\r\nPUB {subject} inbox.1 {}\r\n{body}\r\n",
                body.len()
            ));
            let mut found = Vec::new();
            while found.len() < 2 {
                found.push(json(&system.next_message()));
            }
            let names: BTreeSet<_> = found.iter().map(name).collect();
            assert_eq!(names, BTreeSet::from(["n0", "n1"]), "{subject} {kinds:?}");
            system.send("UNSUB 77\r\n");
            system.sync();
            let own = found.into_iter().find(|found| name(found) == "n0");
            own.expect("an answer of the asked broker")
        };
        let statsz = all("$SYS.REQ.SERVER.PING", "");
        assert_eq!(statsz["server"]["cluster"], "mesh");
        // nats-server counts discovered members for a while.
        if kinds[0] == Kind::Midge {
            assert_eq!(statsz["statsz"]["active_servers"], 2);
        }
        assert_eq!(statsz["statsz"]["routes"][0]["name"], "n1");
        all("$SYS.REQ.SERVER.PING.IDZ", "");
        all("$SYS.REQ.SERVER.PING.VARZ", "{\"cluster\":\"mesh\"}");
        fields(&statsz)
    });
    assert_eq!(ours, theirs, "midge, then nats-server");
    assert_eq!(mixed, theirs);
    assert_eq!(asked_elsewhere, theirs);
}

/// The name of the responder.
fn name(answer: &Value) -> &str {
    let name = answer["server"]["name"].as_str();
    name.or(answer["name"].as_str()).expect("a name")
}
