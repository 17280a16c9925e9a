//! The effect of a reload on connected clients: those that would still be accepted stay,
//! and lose only what would now be refused. Where possible, the same is tested on a real
//! nats-server.

use std::{thread, time::Duration};

use serde_json::Value;

use super::reload;
use test_support::{
    Broker, BrokerBuilder, Frame, RawClient, pki::Pki, tls_client::Speaker, wait_until,
};

const DONE: &str = "Reloaded server configuration (sha256:";

/// Connects and logs in; without a login if the names are empty.
pub fn login(broker: &Broker, user: &str, password: &str) -> RawClient {
    let mut client = RawClient::connect(broker.client_addr());
    let who = match user {
        "" => String::new(),
        user => format!(",\"user\":\"{user}\",\"pass\":\"{password}\""),
    };
    client.send(format!("CONNECT {{\"verbose\":false{who}}}\r\n"));
    client
}

fn lines(frames: &[Frame]) -> Vec<String> {
    let text = |frame: &Frame| String::from_utf8_lossy(&frame.line).into_owned();
    let mut lines: Vec<String> = frames.iter().map(text).collect();
    // The broker measures the round trip when it likes.
    lines.retain(|line| line != "PING");
    lines.sort();
    lines
}

fn cids(broker: &Broker) -> Vec<Value> {
    let connz = broker.get_json("/connz");
    let open = connz["connections"].as_array().cloned().unwrap_or_default();
    open.iter().map(|known| known["cid"].clone()).collect()
}

fn both() -> [BrokerBuilder; 2] {
    [Broker::midge(), Broker::nats_server()]
}

fn users(permissions: &str) -> String {
    format!(
        "authorization {{ users: [{{ user: u, password: p, permissions: {{ {permissions} }} }}, {{ user: \
         all, password: p }}] }}"
    )
}

/// Subscriptions that a lower `max_sub_tokens` ends are no permission violations; the text is the
/// one that a new subscription gets.
#[test]
fn a_reload_that_lowers_max_sub_tokens_counts_no_violation() {
    let permissions = "subscribe: [bar, \"w.>\"]";
    let config =
        |max: u8, permissions: &str| format!("max_sub_tokens: {max}\n{}", users(permissions));
    let broker = Broker::midge().config(config(4, permissions)).start();
    let violations = || broker.get_json("/varz")["permission_violations"].clone();
    let mut client = login(&broker, "u", "p");
    client.send("SUB w.a.b 1\r\nSUB w.a 2\r\nSUB bar 3\r\n");
    assert!(client.sync().is_empty());
    reload(&broker, &config(2, permissions), DONE);
    assert_eq!(
        lines(&client.sync()),
        ["-ERR 'Permissions Violation for Subscription to \"w.a.b\", too many tokens'"]
    );
    assert_eq!(violations(), 0);
    broker.log().assert_lacks("no longer permitted");
    // One that is also forbidden is a violation.
    reload(&broker, &config(1, "subscribe: bar"), DONE);
    assert_eq!(
        lines(&client.sync()),
        ["-ERR 'Permissions Violation for Subscription to \"w.a\" (sid \"2\")'"]
    );
    assert_eq!(violations(), 1);
}

/// Narrower permissions remove the subscriptions that are now forbidden, and no others.
#[test]
fn a_reload_removes_only_forbidden_subscriptions() {
    for builder in both() {
        let broker = builder
            .config(users("subscribe: [foo, bar, \"w.>\"]"))
            .start();
        let mut client = login(&broker, "u", "p");
        client.send("SUB foo 1\r\nSUB foo q 2\r\nSUB bar 3\r\nSUB w.> 4\r\n");
        assert!(client.sync().is_empty());
        let before = cids(&broker);
        let denies = "subscribe: { allow: [bar, \"w.>\"], deny: [w.x] }";
        reload(&broker, &users(denies), DONE);
        let reported = client.sync();
        assert_eq!(
            lines(&reported),
            [
                "-ERR 'Permissions Violation for Subscription to \"foo\" (sid \"1\")'",
                "-ERR 'Permissions Violation for Subscription to \"foo\" using queue \"q\" (sid \"2\")'",
            ]
        );
        assert_eq!(cids(&broker), before);
        broker.log().wait_for("\"foo\" (sid \"1\")");
        let mut publisher = login(&broker, "all", "p");
        for subject in ["foo", "bar", "w.x", "w.y"] {
            publisher.send(format!("PUB {subject} 0\r\n\r\n"));
        }
        publisher.sync();
        assert_eq!(lines(&client.sync()), ["MSG bar 3 0", "MSG w.y 4 0"]);
        // Publish permissions are separate: nothing is removed or reported.
        reload(&broker, &users(&format!("{denies}, publish: pub")), DONE);
        assert!(client.sync().is_empty());
        client.send("PUB pub 0\r\n\r\nPUB other 0\r\n\r\n");
        let reported = lines(&client.sync());
        assert_eq!(
            reported,
            ["-ERR 'Permissions Violation for Publish to \"other\"'"]
        );
        // And back: partially denied subjects are delivered again.
        reload(&broker, &users("subscribe: [foo, bar, \"w.>\"]"), DONE);
        publisher.send("PUB w.x 0\r\n\r\nPUB foo 0\r\n\r\n");
        publisher.sync();
        assert_eq!(lines(&client.sync()), ["MSG w.x 4 0"]);
    }
}

/// One more permitted subject for users without a login disconnects none of them.
#[test]
fn users_without_a_login_stay_connected() {
    let config = |more: &str| {
        format!(
            "authorization {{ users: [{{ user: g, password: x, permissions: {{ publish: [a{more}], \
             subscribe: [\"_INBOX.>\"] }} }}] }}\nno_auth_user: g"
        )
    };
    for builder in both() {
        let broker = builder.config(config("")).start();
        let mut anonymous_clients: Vec<_> = (0..20).map(|_| login(&broker, "", "")).collect();
        for anonymous_client in &mut anonymous_clients {
            anonymous_client.send("SUB _INBOX.x 1\r\n");
            assert!(anonymous_client.sync().is_empty());
        }
        let before = cids(&broker);
        reload(&broker, &config(", b"), DONE);
        for anonymous_client in &mut anonymous_clients {
            anonymous_client.send("PUB b 0\r\n\r\n");
            assert!(anonymous_client.sync().is_empty());
        }
        assert_eq!(cids(&broker), before);
    }
}

/// A permission to respond survives a reload that keeps it.
#[test]
fn a_pending_request_can_still_be_answered() {
    let broker = Broker::midge()
        .config(users("subscribe: [ask], allow_responses: true"))
        .start();
    let (mut responder, mut asker) = (login(&broker, "u", "p"), login(&broker, "all", "p"));
    responder.send("SUB ask 1\r\n");
    responder.sync();
    asker.send("SUB reply 1\r\nPUB ask reply 0\r\n\r\n");
    asker.sync();
    assert_eq!(lines(&responder.sync()), ["MSG ask 1 reply 0"]);
    reload(
        &broker,
        &users("subscribe: [ask, more], allow_responses: true"),
        DONE,
    );
    responder.send("PUB reply 0\r\n\r\n");
    assert!(responder.sync().is_empty());
    assert_eq!(lines(&asker.sync()), ["MSG reply 1 0"]);
}

/// A changed password, in any notation, disconnects the client; an unchanged one does
/// not.
#[test]
fn changed_credentials_disconnect_clients() {
    let hash = |password: &str| bcrypt::hash(password, 5).expect("a hash");
    let config = |a: &str, b: &str, c: &str| {
        format!(
            "authorization {{ users: [{{ user: a, password: {a:?} }}, {{ user: b, password: {b:?} }}, {{ \
             user: c, password: {c:?} }}] }}"
        )
    };
    let kept = hash("p");
    let broker = Broker::midge()
        .config(config("p", &kept, &hash("p")))
        .start();
    let mut clients = ["a", "b", "c"].map(|name| login(&broker, name, "p"));
    for client in &mut clients {
        assert!(client.sync().is_empty());
    }
    reload(&broker, &config(&hash("p"), &kept, "p"), DONE);
    for client in &mut clients {
        assert!(client.sync().is_empty());
    }
    let log = reload(&broker, &config("q", &hash("q"), "p"), DONE);
    let [a, b, c] = &mut clients;
    for out in [a, b] {
        let reported = lines(&out.read_to_end());
        assert_eq!(reported, ["-ERR 'Authorization Violation'"], "{log}");
    }
    assert!(c.sync().is_empty());
    broker
        .log()
        .wait_for("User \"a\": wrong password, after a reload");
    // When a login becomes required, clients that had sent valid credentials stay.
    let open = Broker::midge().config("max_payload: 1000").start();
    let mut right = login(&open, "a", "p");
    let mut none = login(&open, "", "");
    right.send("SUB x 1\r\n");
    right.sync();
    none.sync();
    let mut silent = RawClient::connect(open.client_addr());
    reload(&open, &config("p", "p", "p"), DONE);
    assert!(right.sync().is_empty());
    assert_eq!(
        lines(&none.read_to_end()),
        ["-ERR 'Authorization Violation'"]
    );
    silent.send("CONNECT {\"verbose\":false,\"user\":\"b\",\"pass\":\"p\"}\r\n");
    assert!(silent.sync().is_empty());
}

/// A user moved to another account takes its subscriptions along.
#[test]
fn a_user_moves_with_its_subscriptions() {
    let config = |account: &str| {
        let user = |name: &str| format!("{{ user: {name}, password: p }}");
        let (a, b) = match account {
            "A" => (format!("{}, {}", user("u"), user("a")), user("b")),
            _ => (user("a"), format!("{}, {}", user("u"), user("b"))),
        };
        format!("accounts {{ A {{ users: [{a}] }}, B {{ users: [{b}] }} }}")
    };
    let broker = Broker::midge().config(config("A")).start();
    let [mut u, mut a, mut b] = ["u", "a", "b"].map(|name| login(&broker, name, "p"));
    u.send("SUB x 1\r\nSUB x q 2\r\nUNSUB 2 3\r\n");
    u.sync();
    a.send("PUB x 0\r\n\r\n");
    a.sync();
    assert_eq!(u.sync().len(), 2);
    let before = cids(&broker);
    reload(&broker, &config("B"), DONE);
    assert_eq!(cids(&broker), before);
    a.send("PUB x 0\r\n\r\n");
    a.sync();
    assert!(u.sync().is_empty());
    b.send("PUB x 1\r\n1\r\nPUB x 1\r\n2\r\nPUB x 1\r\n3\r\n");
    b.sync();
    // The second one had received one of its three messages before.
    assert_eq!(u.sync().len(), 5);
}

/// Clients disconnected by lowered limits get the reason.
#[test]
fn lowered_limits_give_the_clients_they_disconnect_the_reason() {
    let config = |limits: &str| {
        format!("accounts {{ A {{ limits {{ {limits} }}, users: [{{ user: a, password: p }}] }} }}")
    };
    let broker = Broker::midge()
        .config(config("max_conn: 10, max_subs: 5"))
        .start();
    let mut clients: Vec<_> = (0..4).map(|_| login(&broker, "a", "p")).collect();
    for client in &mut clients {
        client.send("SUB x 1\r\n");
        client.sync();
    }
    clients[3].send("SUB y 2\r\n");
    clients[3].sync();
    let log = reload(&broker, &config("max_conn: 2, max_subs: 1"), DONE);
    let reported = lines(&clients[3].read_to_end());
    assert_eq!(reported, ["-ERR 'maximum subscriptions exceeded'"]);
    let reported = lines(&clients[0].read_to_end());
    assert_eq!(
        reported,
        ["-ERR 'maximum account active connections exceeded'"]
    );
    assert!(
        log.contains("Closed 1 connection of account \"A\""),
        "{log}"
    );
    assert!(clients[1].sync().is_empty() && clients[2].sync().is_empty());

    let log = reload(
        &broker,
        &format!("{}\nmax_connections: 1", config("")),
        DONE,
    );
    let reported = lines(&clients[2].read_to_end());
    assert_eq!(reported, ["-ERR 'maximum connections exceeded'"]);
    assert!(
        log.contains("Closed 1 connection to fall within max_connections 1"),
        "{log}"
    );
    assert!(clients[1].sync().is_empty());
}

/// Unchanged stream imports lose nothing while others are added and removed.
#[test]
fn unchanged_imports_lose_no_message() {
    let config = |more: &str| {
        format!(
            "accounts {{ A {{ users: [{{ user: a, password: p }}], exports: [{{ stream: \"s.>\" }}, {{ \
             stream: \"t.>\" }}] }}, B {{ users: [{{ user: b, password: p }}], imports: [{{ stream: {{ \
             account: A, subject: \"s.>\" }} }}{more}] }} }}"
        )
    };
    let more = ", { stream: { account: A, subject: \"t.>\" }, prefix: in }";
    let broker = Broker::midge().config(config("")).start();
    let (mut a, mut b) = (login(&broker, "a", "p"), login(&broker, "b", "p"));
    b.send("SUB > 1\r\n");
    b.sync();
    let publisher = thread::spawn(move || {
        for number in 0..2000 {
            let text = number.to_string();
            a.send(format!("PUB s.x {}\r\n{text}\r\n", text.len()));
            if number % 20 == 0 {
                a.sync();
                thread::sleep(Duration::from_millis(1));
            }
        }
        a.sync();
        a
    });
    for round in 0..8 {
        reload(
            &broker,
            &config(if round % 2 == 0 { more } else { "" }),
            DONE,
        );
    }
    let mut a = publisher.join().expect("the publisher");
    reload(&broker, &config(more), DONE);
    a.send("PUB t.x 0\r\n\r\n");
    a.sync();
    let got = b.sync();
    let numbers: Vec<String> = got
        .iter()
        .map(|it| String::from_utf8_lossy(&it.body).into())
        .collect();
    let mut all: Vec<String> = (0..2000).map(|number: u32| number.to_string()).collect();
    all.push(String::new());
    assert_eq!(numbers, all);
    assert_eq!(got[2000].line, b"MSG in.t.x 1 0");
}

/// Required TLS, pinned keys and trusted CAs also apply to connected clients.
#[test]
pub fn tls_settings_apply_to_connected_clients() {
    let pki = Pki::new(&["broker", "node", "other"]);
    let foreign = Pki::new(&["broker"]);
    let block = |ca: &Pki, more: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
            pki.text("broker.pem"),
            pki.text("broker.key"),
            ca.text("ca.pem")
        )
    };
    let broker = Broker::midge()
        .config("max_payload: 1000")
        .without_greeting()
        .start();
    let mut plain = login(&broker, "", "");
    plain.sync();
    reload(&broker, &block(&pki, ""), DONE);
    let reported = lines(&plain.read_to_end());
    assert_eq!(reported, ["-ERR 'Secure Connection - TLS Required'"]);
    let speaker = |name: &str| {
        let file = |end: &str| pki.path(&format!("{name}.{end}"));
        Speaker::believing(&pki.path("ca.pem")).showing(&file("pem"), &file("key"))
    };
    let connect = |speaker: Speaker| {
        use std::io::{Read, Write};
        let (mut stream, _) = speaker.connect(broker.client_addr()).expect("gets in");
        stream
            .write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
            .expect("write");
        stream.read_exact(&mut [0; 6]).expect("an answer");
        stream
    };
    let open = || {
        broker.get_json("/connz")["connections"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let _bare = connect(Speaker::believing(&pki.path("ca.pem")));
    let stays = |text: &str, count: usize| {
        reload(&broker, text, DONE);
        wait_until(&format!("{count} clients stay"), || open() == count);
    };
    stays(&block(&pki, "verify: true"), 0);
    let _both = (connect(speaker("node")), connect(speaker("other")));
    let pinned = |names: &[&str]| {
        let keys: Vec<String> = names
            .iter()
            .map(|name| format!("{:?}", pki.key_digest(name)))
            .collect();
        format!("verify: true, pinned_certs: [{}]", keys.join(", "))
    };
    stays(&block(&pki, &pinned(&["node", "other"])), 2);
    stays(&block(&pki, &pinned(&["other"])), 1);
    broker.log().wait_for("no longer in pinned_certs: CN=node");
    stays(&block(&foreign, "verify: true"), 0);
    broker.log().wait_for("no longer trusted: CN=other");
}

/// A hash with a slow comparison.
const SLOW_HASH: &str = "$2a$12$abcdefghijklmnopqrstuuUCnuixm4ngvxv5GQ9LK1yFHBonHULYe";

/// When a reload removes the login requirement, clients before their login are accepted,
/// whether they are idle, in the middle of CONNECT, or waiting for their password check;
/// when it adds one, clients in the middle of CONNECT log in with it.
#[test]
fn a_login_that_is_no_longer_required_is_not_awaited() {
    let slow = format!(
        "authorization {{ timeout: 60, users: [{{ user: a, password: \"{SLOW_HASH}\" }}] }}"
    );
    let broker = Broker::midge().config(slow).start();
    let connect = |user: &str| {
        format!("CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"wrong\"}}\r\n")
    };
    let mut silent = RawClient::connect(broker.client_addr());
    let mut half = RawClient::connect(broker.client_addr());
    let whole = connect("b");
    let (begin, end) = whole.split_at(12);
    half.send(begin);
    // One comparison per source at a time: most of these wait for theirs.
    let mut waiting: Vec<RawClient> = (0..4)
        .map(|_| RawClient::connect(broker.client_addr()))
        .collect();
    for client in &mut waiting {
        client.send(connect("a"));
    }
    wait_until("logins wait", || {
        let metrics = broker.get("/metrics").body;
        let mut lines = metrics.lines();
        let waiting = lines.find_map(|line| line.strip_prefix("midge_password_checks_waiting "));
        waiting.is_some_and(|count| count != "0")
    });
    reload(&broker, "max_payload: 1000", DONE);
    half.send(end);
    for client in [&mut silent, &mut half].into_iter().chain(&mut waiting) {
        assert_eq!(lines(&client.sync()), Vec::<String>::new());
    }

    // The opposite direction.
    let mut half = RawClient::connect(broker.client_addr());
    let good = "CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"p\"}\r\n";
    let (begin, end) = good.split_at(12);
    half.send(begin);
    wait_until("it was loaded", || {
        broker.get_json("/connz")["num_connections"] == 7
    });
    reload(&broker, "authorization { user: u, password: p }", DONE);
    half.send(end);
    assert!(half.sync().is_empty());
}
