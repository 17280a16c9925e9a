//! Replies and events have the fields that they have from nats-server.

use std::collections::BTreeMap;

use serde_json::Value;
use test_support::Broker;

use super::{CONFIG, Side, ask, fields, json, log_in};

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
    let variables = data("EXPVARZ");
    assert_eq!(variables["data"]["cmdline"], serde_json::json!([]));
    let text = variables["data"]["midge"].as_str().expect("a text");
    assert!(text.contains("no such variables"), "{text}");
    assert_eq!(data("IPQUEUESZ")["data"], serde_json::json!({}));
    let profile = data("PROFILEZ");
    let error = profile["data"]["error"].as_str().expect("a text");
    assert_eq!(error, "Profile name not specified");
}
