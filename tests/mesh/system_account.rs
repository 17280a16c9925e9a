//! The system account compared with a real nats-server 2.15: the same requests and
//! incidents give replies and events with the same fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use test_support::mesh::{self, Kind, Plan};
use test_support::{Broker, Frame, RawClient, free_port, raw_client::Next, wait_until};

const CONFIG: &str = r#"
accounts {
  A { users: [ { user: a, password: a } ] }
  B { users: [ { user: b, password: b } ] }
  $SYS { users: [ { user: s, password: s } ] }
}
"#;

/// Fields that only one of the two has, by the last part of their path, with the reason.
const DECLARED: &[(&str, &str)] = &[
    ("dropped_bytes", "midge counts loss"),
    ("dropped_msgs", "midge counts loss"),
    ("logins", "midge counts logins"),
    ("no_interest_msgs", "midge counts what reached nobody"),
    ("permission_violations", "midge counts violations"),
    ("written_bytes", "midge counts what it wrote"),
    ("written_msgs", "midge counts what it wrote"),
    ("feature_flags", "switches of JetStream"),
    ("midge", "midge's own version"),
    (
        "responses",
        "services of the system account are no imports here",
    ),
];

fn log_in(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":\"n\",\"lang\":\"l\",\"version\":\"1\",\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\n"
    ));
    client.sync();
    client
}

/// Sends a request and waits for the reply; `None` without responders.
fn ask(client: &mut RawClient, subject: &str, body: &str) -> Option<Value> {
    client.send(format!(
        "SUB inbox.* 77\r\nPUB {subject} inbox.1 {}\r\n{body}\r\n",
        body.len()
    ));
    let frame = client.next_message();
    client.send("UNSUB 77\r\n");
    client.sync();
    (frame.verb() == b"MSG").then(|| json(&frame))
}

fn json(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.body).unwrap_or_else(|error| panic!("{error}: {frame:?}"))
}

/// The paths in a JSON value and their types; elements of lists share one path.
fn fields(value: &Value) -> BTreeMap<String, &'static str> {
    fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, &'static str>) {
        let kind = match value {
            Value::Array(items) => {
                items.iter().for_each(|item| walk(path, item, found));
                "list"
            }
            Value::Bool(_) => "boolean",
            Value::Null => "null",
            Value::Number(_) => "number",
            Value::Object(map) => {
                for (name, value) in map {
                    if !DECLARED.iter().any(|(declared, _)| declared == name) {
                        walk(&format!("{path}.{name}"), value, found);
                    }
                }
                "object"
            }
            Value::String(_) => "string",
        };
        found.entry(path.to_owned()).or_insert(kind);
    }
    let mut found = BTreeMap::new();
    walk("", value, &mut found);
    found
}

struct Side {
    broker: Broker,
    system: RawClient,
    client: RawClient,
    id: String,
}

impl Side {
    fn new(broker: Broker) -> Self {
        let mut system = log_in(&broker, "s");
        let client = log_in(&broker, "a");
        let identity = ask(&mut system, "$SYS.REQ.SERVER.PING.IDZ", "").expect("an answer");
        Self {
            id: identity["id"].as_str().expect("an id").to_owned(),
            broker,
            system,
            client,
        }
    }

    fn both() -> [Self; 2] {
        [
            Self::new(Broker::midge().config(CONFIG).start()),
            Self::new(Broker::nats_server().config(CONFIG).start()),
        ]
    }
}

#[test]
fn system_services_reply_with_the_same_fields() {
    let mut sides = Side::both();
    for side in &mut sides {
        side.client
            .send("SUB x.y q 1\r\nSUB x 2\r\nPUB x 2\r\nhi\r\n");
        side.client.sync();
        // A client that has disconnected.
        drop(log_in(&side.broker, "b"));
        side.broker.wait_for_connections(2);
    }
    for (subject, body) in [
        ("SERVER.PING.IDZ", ""),
        ("SERVER.PING", ""),
        ("SERVER.PING.STATSZ", ""),
        ("SERVER.ID.STATSZ", ""),
        ("SERVER.PING.HEALTHZ", ""),
        ("SERVER.PING.VARZ", ""),
        ("SERVER.ID.VARZ", "{}"),
        ("SERVER.PING.CONNZ", ""),
        (
            "SERVER.PING.CONNZ",
            "{\"auth\":true,\"subscriptions\":true,\"user\":\"a\"}",
        ),
        (
            "SERVER.PING.CONNZ",
            "{\"subscriptions\":true,\"subscriptions_detail\":true,\"acc\":\"A\"}",
        ),
        ("SERVER.PING.CONNZ", "{\"state\":2,\"sort\":\"bytes_to\"}"),
        ("SERVER.PING.CONNZ", "{\"sort\":\"nonsense\"}"),
        ("SERVER.PING.CONNZ", "{\"limit\":\"x\"}"),
        (
            "SERVER.PING.CONNZ",
            "{\"limit\":9223372036854775807,\"offset\":-9223372036854775808}",
        ),
        (
            "SERVER.PING.CONNZ",
            "{\"offset\":9223372036854775807,\"limit\":9223372036854775807}",
        ),
        ("SERVER.PING.CONNZ", "{\"cid\":18446744073709551615}"),
        ("SERVER.PING.CONNZ", "{\"offset\":99999999999999999999999}"),
        (
            "SERVER.PING.SUBSZ",
            "{\"offset\":9223372036854775807,\"subscriptions\":true}",
        ),
        (
            "SERVER.PING.SUBSZ",
            "{\"subscriptions\":true,\"account\":\"A\",\"test\":\"x.y\"}",
        ),
        ("SERVER.PING.ROUTEZ", ""),
        ("SERVER.PING.LEAFZ", ""),
        ("SERVER.PING.GATEWAYZ", ""),
        ("SERVER.PING.ACCOUNTZ", ""),
        ("SERVER.PING.ACCOUNTZ", "{\"account\":\"A\"}"),
        ("SERVER.PING.VARZ", "not json"),
        ("SERVER.ID.KICK", "{\"cid\":999999}"),
        ("SERVER.ID.KICK", "{\"cid\":18446744073709551615}"),
        ("SERVER.ID.LDM", "{\"cid\":999999}"),
        ("SERVER.ID.RELOAD", ""),
        ("SERVER.ID.JSZ", ""),
        ("ACCOUNT.A.JSZ", ""),
        ("ACCOUNT.A.LEAFZ", ""),
        ("SERVER.ID.HEALTHZ", "{\"details\":true,\"stream\":\"S\"}"),
        ("SERVER.ID.CONNZ", "{\"filter_subject\":\"x.y\"}"),
        (
            "SERVER.ID.CONNZ",
            "{\"filter_subject\":\"x.y\",\"acc\":\"A\"}",
        ),
        (
            "SERVER.ID.CONNZ",
            "{\"filter_subject\":\"nobody\",\"acc\":\"A\"}",
        ),
        ("SERVER.ID.CONNZ", "{\"state\":\"open\"}"),
        ("SERVER.ID.CONNZ", "{\"auth\":1}"),
        ("SERVER.ID.CONNZ", "{\"cid\":-1}"),
        ("SERVER.ID.CONNZ", "{\"user\":5}"),
        ("SERVER.ID.VARZ", "null"),
        ("SERVER.ID.VARZ", "[]"),
        ("SERVER.PING.VARZ", "{\"host\":\"127\"}"),
        ("SERVER.ID.NOPE", ""),
        ("SERVER.PING.RAFTZ", ""),
        ("SERVER.ID.RAFTZ", "{\"acc\":\"A\"}"),
        ("SERVER.PING.PROFILEZ", ""),
        ("SERVER.ID.PROFILEZ", "{\"name\":\"nope\"}"),
        ("ACCOUNT.A.CONNZ", ""),
        ("ACCOUNT.A.STATZ", ""),
        ("ACCOUNT.A.SUBSZ", ""),
        ("ACCOUNT.A.INFO", ""),
        ("ACCOUNT.A.CONNS", ""),
        ("ACCOUNT.PING.STATZ", ""),
        ("USER.INFO", ""),
    ] {
        let [ours, theirs] = sides.each_mut().map(|side| {
            let subject = format!(
                "$SYS.REQ.{}",
                subject.replace("ID.", &format!("{}.", side.id))
            );
            let mut answer = ask(&mut side.system, &subject, body);
            if let Some(answer) = &mut answer {
                // With an error, nats-server sometimes adds an empty answer.
                if !answer["error"].is_null() && answer["data"].is_null() {
                    answer.as_object_mut().expect("an object").remove("data");
                }
            }
            answer
        });
        let code = |answer: &Option<Value>| {
            answer
                .as_ref()
                .map(|answer| answer["error"]["code"].clone())
        };
        assert_eq!(
            code(&ours),
            code(&theirs),
            "{subject} {body}: {ours:?}, {theirs:?}"
        );
        let fields = |answer: &Option<Value>| answer.as_ref().map(fields);
        assert_eq!(
            fields(&ours),
            fields(&theirs),
            "{subject} {body}: midge, then nats-server"
        );
    }
}

#[test]
fn an_account_can_query_only_itself() {
    let mut sides = Side::both();
    let _others = sides.each_ref().map(|side| log_in(&side.broker, "b"));
    for (subject, body) in [
        ("$SYS.REQ.SERVER.PING", ""),
        ("$SYS.REQ.SERVER.PING.VARZ", ""),
        ("$SYS.REQ.SERVER.PING.CONNZ", ""),
        ("$SYS.REQ.SERVER.PING.CONNZ", "{\"acc\":\"B\"}"),
        (
            "$SYS.REQ.SERVER.PING.CONNZ",
            "{\"account\":\"B\",\"acc\":\"B\"}",
        ),
        ("$SYS.REQ.ACCOUNT.PING.CONNZ", ""),
        ("$SYS.REQ.ACCOUNT.PING.STATZ", ""),
        ("$SYS.REQ.ACCOUNT.PING.STATZ", "{\"accounts\":[\"B\"]}"),
        ("$SYS.REQ.ACCOUNT.B.CONNZ", ""),
        ("$SYS.REQ.USER.INFO", ""),
    ] {
        let [ours, theirs] = sides.each_mut().map(|side| {
            let answer = ask(&mut side.client, subject, body)?;
            let data = &answer["data"];
            Some((
                data["total"].clone(),
                data["account"].clone(),
                data["account_statz"][0]["acc"].clone(),
            ))
        });
        assert_eq!(ours, theirs, "{subject} {body}: midge, then nats-server");
        if let Some((total, ..)) = ours.filter(|(total, ..)| !total.is_null()) {
            assert_eq!(total, 1, "{subject} {body}");
        }
    }
}

/// The first message on each matching subject; a broker's id in the subject is replaced
/// by `ID`.
fn gather(side: &mut Side, wanted: &[&str]) -> BTreeMap<String, BTreeMap<String, &'static str>> {
    let mut found = BTreeMap::new();
    while wanted.iter().any(|subject| !found.contains_key(*subject)) {
        let frame = side.system.next_message();
        let subject = frame.arguments()[0].replace(&side.id, "ID");
        if wanted.contains(&&*subject) {
            found.insert(subject, fields(&json(&frame)));
        }
    }
    found
}

#[test]
fn events_have_the_same_fields() {
    let [ours, theirs] = Side::both().map(|mut side| {
        side.system
            .send("SUB $SYS.SERVER.> 1\r\nSUB $SYS.ACCOUNT.> 2\r\n");
        side.system.sync();
        let mut coming = log_in(&side.broker, "b");
        coming.send("PUB x 2\r\nhi\r\n");
        coming.sync();
        let mut found = gather(
            &mut side,
            &[
                "$SYS.ACCOUNT.B.CONNECT",
                "$SYS.ACCOUNT.B.SERVER.CONNS",
                "$SYS.SERVER.ACCOUNT.B.CONNS",
            ],
        );
        drop(coming);
        found.extend(gather(
            &mut side,
            &["$SYS.ACCOUNT.B.DISCONNECT", "$SYS.SERVER.ID.STATSZ"],
        ));
        let mut untrusted_peer = side.broker.connect();
        untrusted_peer.send("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"wrong\"}\r\n");
        untrusted_peer.read_to_end();
        let failed = gather(&mut side, &["$SYS.SERVER.ID.CLIENT.AUTH.ERR"]);
        let failed = &failed["$SYS.SERVER.ID.CLIENT.AUTH.ERR"];
        assert!(failed.contains_key(".reason") && failed.contains_key(".client.host"));
        side.broker.signal(libc::SIGTERM);
        found.extend(gather(&mut side, &["$SYS.SERVER.ID.SHUTDOWN"]));
        found
    });
    assert_eq!(ours, theirs, "midge, then nats-server");
}

/// midge has no data about a Go runtime, and says so; nats-server shows its arguments
/// there.
#[test]
fn go_runtime_fields_are_not_invented() {
    let mut side = Side::new(Broker::midge().config(CONFIG).start());
    let mut data = |topic: &str| {
        let answer = ask(
            &mut side.system,
            &format!("$SYS.REQ.SERVER.PING.{topic}"),
            "",
        );
        answer.expect("an answer")
    };
    assert_eq!(data("EXPVARZ")["error"]["code"], 501);
    assert_eq!(data("IPQUEUESZ")["data"], serde_json::json!({}));
    let profile = data("PROFILEZ");
    let error = profile["data"]["error"].as_str().expect("a text");
    assert!(error.contains("no such profiles"), "{error}");
}

/// A client may request its user and permissions, with the same reply as from
/// nats-server.
#[test]
fn a_users_permissions_are_returned_to_that_user() {
    const CONFIG: &str = r#"
        authorization { users: [
          { user: all, password: p }
          { user: some, password: p, permissions: {
            publish: { allow: ["x.>", "$SYS.REQ.USER.INFO"], deny: ["x.no", "x.never.*"] }
            subscribe: ["inbox.*", "q.* crew"]
          } }
          { user: not_z, password: p, permissions: { subscribe: { deny: "z.>" } } }
          { user: responder, password: p, permissions: {
            publish: "$SYS.REQ.USER.INFO", subscribe: ">", allow_responses: { max: 3, expires: "1m" }
          } }
          { user: usual, password: p, permissions: {
            publish: "$SYS.REQ.USER.INFO", allow_responses: true
          } }
          { user: unlimited, password: p, permissions: {
            publish: "$SYS.REQ.USER.INFO", allow_responses: { max: -1, expires: "-1ns" }
          } }
        ] }
    "#;
    let brokers = [Broker::midge(), Broker::nats_server()];
    let brokers = brokers.map(|broker| broker.config(CONFIG).start());
    for user in ["all", "some", "not_z", "responder", "usual", "unlimited"] {
        let [ours, theirs] = brokers.each_ref().map(|broker| {
            let mut client = broker.connect();
            client.send(format!(
                "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"p\"}}\r\n"
            ));
            client.sync();
            let answer = ask(&mut client, "$SYS.REQ.USER.INFO", "");
            let mut data = answer.expect("an answer")["data"].take();
            for kind in ["publish", "subscribe"] {
                for list in ["allow", "deny"] {
                    let list = &mut data["permissions"][kind][list];
                    if let Some(list) = list.as_array_mut() {
                        list.sort_by_key(Value::to_string);
                    }
                }
            }
            data
        });
        assert_eq!(ours, theirs, "{user}: midge, then nats-server");
    }
}

/// Clients outside the system account receive nothing from it and cannot publish to it.
#[test]
fn other_accounts_cannot_reach_the_system_account() {
    for mut side in Side::both() {
        side.client.send("SUB $SYS.> 1\r\nSUB > 2\r\n");
        side.client.sync();
        side.system.send("SUB $SYS.FAKE 3\r\n");
        side.system.sync();
        log_in(&side.broker, "b");
        side.client.send("PUB $SYS.FAKE 2\r\nhi\r\n");
        let frames = side.client.sync();
        let mut seen: Vec<String> = frames.iter().map(|frame| format!("{frame:?}")).collect();
        seen.sort();
        assert_eq!(seen, ["MSG $SYS.FAKE 1 2 | hi", "MSG $SYS.FAKE 2 2 | hi"]);
        assert!(side.system.sync().is_empty());
    }
}

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

#[test]
fn without_a_system_account_requests_get_no_responders() {
    let broker = Broker::midge().config("no_system_account: true").start();
    let mut client = broker.connect();
    client.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    assert_eq!(ask(&mut client, "$SYS.REQ.SERVER.PING.CONNZ", ""), None);
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

/// One client is told to reconnect elsewhere, and stays connected.
#[test]
fn an_ldm_request_tells_a_client_to_reconnect() {
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
