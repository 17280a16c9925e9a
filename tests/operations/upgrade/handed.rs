//! Connected clients that are handed over, with all that belongs to their sessions.

use test_support::{Broker, Frame, RawClient, raw_client};

use super::{LONG, id_of, traffic::texts_in_order};

/// Users of a test; the password of both is "s3cret", of one as a hash.
const USERS: &str = r#"
authorization {
  users = [
    { user: plain, password: "s3cret" }
    { user: hashed, password: "HASH" }
    {
      user: service
      password: "s3cret"
      permissions: { subscribe: "ask", publish: "nothing", allow_responses: true }
    }
  ]
}
"#;

fn login(broker: &Broker, user: &str, options: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"s3cret\",\"name\":\"of-{user}\",{options}}}\r\n"
    ));
    client.sync();
    client
}

/// The control lines of these frames, but pings of the broker.
fn lines(frames: Vec<Frame>) -> Vec<String> {
    let frames = frames.into_iter().filter(|frame| frame.line != b"PING");
    frames
        .map(|frame| String::from_utf8_lossy(&frame.line).into_owned())
        .collect()
}

#[test]
fn connected_clients_are_handed_over_with_all_that_they_have() {
    let users = USERS.replace("HASH", &bcrypt::hash("s3cret", 4).expect("a hash"));
    let mut broker = Broker::midge().config(format!("{LONG}{users}")).start();
    let mut publisher = login(&broker, "plain", "\"verbose\":false");
    let mut reader = login(&broker, "hashed", "\"verbose\":false,\"protocol\":1");
    reader.send("SUB data 1\r\nSUB few 2\r\nUNSUB 2 3\r\nSUB part worker 3\r\n");
    reader.sync();
    let mut verbose = login(&broker, "plain", "\"verbose\":true");
    let mut service = login(&broker, "service", "\"verbose\":false");
    service.send("SUB ask 1\r\n");
    service.sync();
    publisher.send("SUB answer 9\r\nPUB few 1\r\n1\r\nPUB ask answer 2\r\n??\r\n");
    publisher.sync();
    assert_eq!(texts_in_order(&reader.sync()), ["1"]);
    assert_eq!(texts_in_order(&service.sync()), ["??"]);
    // The half of a message.
    publisher.send("PUB part 10\r\n01234");
    let cid = reader.info()["client_id"].clone();
    let old_id = id_of(&reader);

    broker.upgrade();
    assert!(broker.wait_exit().success());

    publisher.send("56789\r\nPUB few 1\r\n2\r\nPUB few 1\r\n3\r\nPUB few 1\r\n4\r\n");
    publisher.sync();
    let frames = reader.sync();
    assert_eq!(texts_in_order(&frames), ["0123456789", "2", "3"]);
    let news = frames.iter().filter_map(raw_client::parse_info).next_back();
    let news = news.expect("an INFO of the new process");
    assert_ne!(news["server_id"], old_id);
    assert_eq!(news["client_id"], cid);
    service.send("PUB answer 2\r\n!!\r\n");
    assert_eq!(lines(service.sync()), [""; 0]);
    assert_eq!(texts_in_order(&publisher.sync()), ["!!"]);
    verbose.send("SUB data 1\r\n");
    assert_eq!(lines(verbose.sync()), ["+OK"]);

    // It is shown as before.
    let shown = broker.get_json(&format!("/connz?auth=1&subs=1&cid={cid}"));
    let shown = &shown["connections"][0];
    assert_eq!(shown["name"], "of-hashed");
    assert_eq!(shown["authorized_user"], "hashed");
    assert_eq!(
        shown["subscriptions_list"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(broker.get_json("/varz")["connections"], 4);
    // A later client gets another id.
    let later = login(&broker, "plain", "\"verbose\":false");
    assert!(later.info()["client_id"].as_u64() > cid.as_u64());
}

/// A request to a service of another account waits for its answer while both clients are moved: the
/// old process, which knows whose it is, stays for it.
#[test]
fn a_reply_from_another_account_reaches_its_requester() {
    let accounts = r#"
accounts {
  A { users: [{ user: a, password: "s3cret" }], exports: [{ service: help }] }
  B { users: [{ user: b, password: "s3cret" }], imports: [{ service: { account: A, subject: help } }] }
}
"#;
    let mut broker = Broker::midge().config(format!("{LONG}{accounts}")).start();
    let mut service = login(&broker, "a", "\"verbose\":false");
    service.send("SUB help 1\r\n");
    service.sync();
    let mut requester = login(&broker, "b", "\"verbose\":false");
    requester.send("SUB inbox 1\r\nPUB help inbox 2\r\n??\r\n");
    requester.sync();
    let request = service.next_message();
    broker.upgrade();
    // Behind the subject and the subscription's id.
    let reply = request.arguments()[2].clone();
    service.send(format!("PUB {reply} 2\r\n!!\r\n"));
    service.sync();
    assert_eq!(requester.next_message().body, b"!!");
    assert!(broker.wait_exit().success());
}

/// How often a client may answer a request, and until when, is counted on.
#[test]
fn what_a_client_may_still_answer_is_handed_over() {
    let users = r#"
authorization {
  users = [
    { user: plain, password: "s3cret" }
    {
      user: service
      password: "s3cret"
      permissions: {
        subscribe: "ask", publish: "nothing", allow_responses: { max: 3, expires: "1h" }
      }
    }
  ]
}
"#;
    let mut broker = Broker::midge().config(format!("{LONG}{users}")).start();
    let mut asking = login(&broker, "plain", "\"verbose\":false");
    asking.send("SUB answer.* 9\r\n");
    asking.sync();
    let mut service = login(&broker, "service", "\"verbose\":false");
    service.send("SUB ask 1\r\n");
    service.sync();
    asking.send("PUB ask answer.1 2\r\n??\r\nPUB ask answer.2 2\r\n??\r\n");
    asking.sync();
    let answer = |service: &mut RawClient, subject: &str| {
        service.send(format!("PUB {subject} 2\r\n!!\r\n"));
        let lines = lines(service.sync());
        lines
            .iter()
            .filter(|line| line.contains("Violation"))
            .count()
    };
    for _ in 0..2 {
        assert_eq!(answer(&mut service, "answer.1"), 0);
    }
    broker.upgrade();
    assert!(broker.wait_exit().success());
    let refused: Vec<usize> = (0..3).map(|_| answer(&mut service, "answer.1")).collect();
    assert_eq!(refused, [0, 1, 1], "one was left");
    let refused: Vec<usize> = (0..4).map(|_| answer(&mut service, "answer.2")).collect();
    assert_eq!(refused, [0, 0, 0, 1], "all were left");
    assert_eq!(texts_in_order(&asking.sync()).len(), 6);
}
