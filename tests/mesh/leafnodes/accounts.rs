//! Who is let in as a leafnode, into which account, and what its user may do.

use test_support::{Broker, free_port, wait_until};

use super::{client, expect_silence, hub, knows, leaf, message, subscriber, wait_for_leafs};

const ACCOUNTS: &str = "accounts {\n  A { users [ { user: a, password: pa } ] }\n  \
    B { users [ { user: b, password: pb, permissions { publish: [\"out.>\", \"_INBOX.>\"], \
    subscribe { allow: [\"in.>\", \"_INBOX.>\"], deny: \"in.secret.>\" } } } ] }\n}";

/// A client of a user.
fn client_of(broker: &Broker, user: &str) -> test_support::RawClient {
    let mut client = test_support::RawClient::connect(broker.client_addr());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"p{user}\"}}\r\n"
    ));
    client
}

/// A leafnode that logs in as a user of clients is in the account of that user.
#[test]
fn a_user_of_clients_decides_about_the_account() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", ACCOUNTS);
    let leaf = leaf("leaf", port, "a:pa@", "");
    wait_for_leafs(&hub, 1);
    assert_eq!(hub.get_json("/leafz")["leafs"][0]["account"], "A");
    let mut reader = subscriber(&leaf, &hub, "news");
    let mut other = client_of(&hub, "b");
    other.send("PUB out.x 1\r\nb\r\n");
    let mut writer = client_of(&hub, "a");
    writer.send("PUB news 1\r\na\r\n");
    assert_eq!(message(&mut reader).1, b"a");
    expect_silence(&mut reader);
    // The statistics of the account count it.
    let stats = hub.get_json("/accstatz?unused=1");
    let stats = stats["account_statz"].as_array().expect("a list").clone();
    let of_a = stats.iter().find(|stat| stat["acc"] == "A").expect("A");
    assert_eq!((&of_a["leafnodes"], &of_a["conns"]), (&1.into(), &1.into()));
    assert_eq!(of_a["sent"]["leafs"]["msgs"], 1);
    let limited = hub.get_json("/leafz?acc=B");
    assert_eq!(limited["leafnodes"], 0);
}

/// A token in the URL of a leafnode is what a client would log in with. It is shown nowhere.
#[test]
fn a_token_lets_a_leafnode_in() {
    let port = free_port();
    let hub = hub(
        Broker::midge(),
        port,
        "",
        "authorization { token: the-t0ken }",
    );
    let leaf = leaf("leaf", port, "the-t0ken@", "");
    wait_for_leafs(&hub, 1);
    let refused = super::leaf("refused", port, "an0ther@", "");
    wait_until("it is refused", || {
        refused
            .log()
            .to_string()
            .contains("Authorization Violation")
    });
    hub.log().wait_for("\"refused\": wrong token");
    let log = hub.log().to_string();
    assert!(!log.contains("t0ken") && !log.contains("an0ther"), "{log}");
    for path in ["/leafz", "/connz?auth=1&state=all", "/eventsz"] {
        let answer = hub.get_json(path).to_string();
        assert!(!answer.contains("t0ken"), "{path}: {answer}");
        assert!(!answer.contains("an0ther"), "{path}: {answer}");
    }
    drop(leaf);
}

/// The block has users of its own, each with its account; others are refused.
#[test]
fn the_block_has_its_own_users() {
    let port = free_port();
    let users = "authorization { users: [ { user: x, password: y, account: B }, { user: z, \
                 password: z } ] }";
    let hub = hub(Broker::midge(), port, users, ACCOUNTS);
    let of_b = leaf("of-b", port, "x:y@", "");
    let of_all = leaf("of-all", port, "z:z@", "");
    wait_for_leafs(&hub, 2);
    let leafs = hub.get_json("/leafz")["leafs"].clone();
    let accounts = leafs.as_array().expect("a list").iter();
    let mut accounts: Vec<_> = accounts
        .map(|leaf| (leaf["name"].clone(), leaf["account"].clone()))
        .collect();
    accounts.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(
        accounts,
        [("of-all".into(), "$G".into()), ("of-b".into(), "B".into())]
    );
    // No permissions: those are of users of clients.
    drop(subscriber(&of_b, &hub, "anything"));
    drop(of_all);
    for login in ["a:pa@", "x:wrong@", "nobody:y@", ""] {
        let refused = leaf("refused", port, login, "");
        wait_until("it is refused", || {
            refused
                .log()
                .to_string()
                .contains("Authorization Violation")
        });
        let leafz = hub.get_json("/leafz");
        assert!(!leafz.to_string().contains("refused"), "{login}: {leafz}");
    }
    let log = hub.log().to_string();
    assert!(log.contains("authentication failure") || log.contains("Authentication Failure"));
    assert!(
        !log.contains("wrong@") && !log.contains("\"wrong\""),
        "{log}"
    );
}

/// The permissions of the leafnode's user hold in both directions, whatever the leafnode asks for.
#[test]
fn permissions_hold_in_both_directions() {
    let port = free_port();
    let more = "accounts { A { users [ { user: a, password: pa } ] }\n B { users [ { user: b, \
                password: pb, permissions { publish: [\"out.>\", \"_INBOX.>\"], subscribe { allow: \
                [\"in.>\", \"_INBOX.>\"], deny: \"in.secret.>\" } } }, { user: free, password: \
                pfree } ] } }";
    let hub = hub(Broker::midge(), port, "", more);
    let leaf = leaf("leaf", port, "b:pb@", "");
    wait_for_leafs(&hub, 1);
    // Up: only what it may publish.
    let mut up = client_of(&hub, "free");
    up.send("SUB out.x 1\r\nSUB other.x 2\r\n");
    up.sync();
    wait_until("it is told", || knows(&leaf, "out.x"));
    let mut writer = client(&leaf);
    writer.send("PUB other.x 1\r\nn\r\nPUB out.x 1\r\ny\r\n");
    assert_eq!(message(&mut up), ("MSG out.x 1 1".into(), b"y".to_vec()));
    expect_silence(&mut up);
    // Down: only what it may receive; of a subject with wildcards that part.
    let mut down = client(&leaf);
    down.send("SUB in.a 1\r\nSUB in.> 2\r\nSUB nope.a 3\r\n");
    down.sync();
    wait_until("it is told", || knows(&hub, "in.a"));
    let mut from_hub = client_of(&hub, "free");
    from_hub.send("PUB nope.a 1\r\nn\r\nPUB in.secret.a 1\r\nn\r\nPUB in.a 1\r\ny\r\n");
    for _ in 0..2 {
        let (line, body) = message(&mut down);
        assert!(line.starts_with("MSG in.a ") && body == b"y", "{line}");
    }
    expect_silence(&mut down);
    // Nothing of that has ended the connection.
    assert_eq!(hub.get_json("/leafz")["leafnodes"], 1);
    assert_eq!(
        hub.log()
            .to_string()
            .matches("Leafnode \"leaf\" left")
            .count(),
        0
    );
}

/// A reload that takes the user away, or changes what it may do, ends the connection; one that changes
/// nothing about it does not.
#[test]
fn a_reload_checks_leafnodes_again() {
    let port = free_port();
    let text = |password: &str, more: &str| {
        format!(
            "server_name: hub\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}\n{more}\naccounts {{ A \
             {{ users [ {{ user: a, password: {password} }} ] }} }}\n"
        )
    };
    let hub = Broker::midge().config(text("pa", "")).start();
    let leaf = leaf("leaf", port, "a:pa@", "");
    wait_for_leafs(&hub, 1);
    let id = || hub.get_json("/leafz")["leafs"][0]["id"].clone();
    let first = id();
    hub.reload(&text("pa", "max_payload: 2MB"));
    drop(subscriber(&leaf, &hub, "still.here"));
    assert_eq!(id(), first);
    hub.reload(&text("other", "max_payload: 2MB"));
    wait_until("it is refused", || {
        leaf.log().to_string().contains("Authorization Violation")
    });
    wait_for_leafs(&hub, 0);
    hub.reload(&text("pa", ""));
    wait_for_leafs(&hub, 1);
}

/// An account may have so many leafnodes.
#[test]
fn an_account_may_limit_its_leafnodes() {
    let port = free_port();
    let more =
        "accounts { A { users [ { user: a, password: pa } ], limits { max_leafnodes: 1 } } }";
    let hub = hub(Broker::midge(), port, "", more);
    let _first = leaf("first", port, "a:pa@", "");
    wait_for_leafs(&hub, 1);
    let second = leaf("second", port, "a:pa@", "");
    wait_until("it is refused", || {
        let log = second.log().to_string();
        log.contains("maximum account active connections exceeded")
    });
    assert_eq!(hub.get_json("/leafz")["leafnodes"], 1);
}
