//! Who gets what from the system account.

use serde_json::Value;
use test_support::Broker;

use super::{Side, ask, log_in};

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
fn without_a_system_account_requests_get_no_responders() {
    let broker = Broker::midge().config("no_system_account: true").start();
    let mut client = broker.connect();
    client.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    assert_eq!(ask(&mut client, "$SYS.REQ.SERVER.PING.CONNZ", ""), None);
}
