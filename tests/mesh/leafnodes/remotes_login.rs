//! midge as leafnode: how it logs in at hubs, TLS, and what its user may do there.

use test_support::{Broker, BrokerBuilder, RawClient, free_port, pki::Pki, wait_until};

use super::{
    delivery::every_form,
    expect_silence, knows, leaf_with, message,
    remotes::{HUBS, hub_of, remote, spoke},
    subscriber, wait_for_leafs,
};

/// The text of a user's seed.
fn seed(byte: u8) -> String {
    // What it is, a seed, and whose, a user's.
    let kind = [0x90 | 160 >> 5, (160 & 31) << 3];
    monitor_client::nkey::encode(&[&kind[..], &[byte; 32]].concat())
}

const ACCOUNTS: &str = "accounts {\n  A { users [ { user: a, password: pa }, { user: free, \
    password: pfree } ] }\n  B { users [ { user: b, password: pb, permissions { publish: \
    [\"out.>\", \"_INBOX.>\"], subscribe { allow: [\"in.>\", \"_INBOX.>\"], deny: \
    \"in.secret.>\" } } }, { user: open, password: popen } ] }\n}";

fn client_of(broker: &Broker, user: &str) -> RawClient {
    let mut client = RawClient::connect(broker.client_addr());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"p{user}\"}}\r\n"
    ));
    client
}

fn tls(pki: &Pki, name: &str, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, timeout: 2, {more} }}",
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key")),
        pki.text("ca.pem")
    )
}

/// Users with a password decide about the hub's account, and `account` about the one here.
#[test]
fn accounts_are_joined_by_users() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", ACCOUNTS);
        let own = "accounts { LOCAL { users [ { user: l, password: pl } ] } }\nno_auth_user: l\n";
        let leaf = spoke("leaf", port, "a:pa@", "account: LOCAL", own);
        wait_for_leafs(&leaf, 1);
        let leafz = leaf.get_json("/leafz");
        assert_eq!(leafz["leafs"][0]["account"], "LOCAL", "{leafz}");
        assert_eq!(leafz["leafs"][0]["remote_account"], "A", "{leafz}");
        let mut reader = subscriber(&leaf, &hub, "news");
        client_of(&hub, "open").send("PUB news 1\r\nb\r\n");
        client_of(&hub, "a").send("PUB news 1\r\na\r\n");
        assert_eq!(message(&mut reader).1, b"a");
        expect_silence(&mut reader);
    }
}

/// A user without a password is a token as well, and percent signs stand for other characters.
#[test]
fn users_of_the_block_with_every_kind_of_login() {
    let (key, other) = (public_key(&seed(1)), seed(2));
    for kind in HUBS {
        for (users, login, more) in [
            ("user: x, password: \"a/b@c\"", "x:a%2Fb%40c@", ""),
            ("user: x, password: y", "x:y@", ""),
        ] {
            let port = free_port();
            let block = format!("authorization {{ {users} }}");
            let hub = hub_of(kind, port, &block, "");
            let leaf = spoke("leaf", port, login, more, "");
            wait_for_leafs(&hub, 1);
            drop(subscriber(&leaf, &hub, "anything"));
        }
        // One that logs in with another key is refused.
        let port = free_port();
        let block = format!("authorization {{ nkey: {key} }}");
        let hub = hub_of(kind, port, &block, "");
        let refused = spoke("refused", port, "", &format!("nkey: {other}"), "");
        wait_until("it is refused", || {
            let log = refused.log().to_string();
            log.contains("it refuses: \"Authorization Violation\"")
        });
        assert_eq!(hub.get_json("/leafz")["leafnodes"], 0);
        assert!(!refused.log().to_string().contains(&other));
    }
}

/// The signature of an nkey lets this broker in.
#[test]
fn nkeys_log_in() {
    let (own, other) = (seed(1), seed(2));
    let public = public_key(&own);
    for kind in HUBS {
        let port = free_port();
        let block = format!("authorization {{ nkey: {public}, account: A }}");
        let hub = hub_of(kind, port, &block, ACCOUNTS);
        let leaf = spoke("leaf", port, "", &format!("nkey: {own}"), "");
        wait_for_leafs(&hub, 1);
        wait_for_leafs(&leaf, 1);
        assert_eq!(hub.get_json("/leafz")["leafs"][0]["account"], "A");
        let refused = spoke("refused", port, "", &format!("nkey: {other}"), "");
        wait_until("it is refused", || {
            let log = refused.log().to_string();
            log.contains("it refuses: \"Authorization Violation\"")
        });
    }
}

/// The public key that belongs to a seed.
fn public_key(seed: &str) -> String {
    let seed = midge::protocol::nkey::UserSeed::parse(seed).expect("a seed");
    seed.public_key()
}

/// A wrong password is logged once, without the password, and tried again with growing pauses.
#[test]
fn a_refused_login_is_reported_once() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "authorization { user: x, password: y }", "");
        let leaf = spoke("leaf", port, "x:wrongword@", "", "");
        wait_until("some attempts", || {
            remote(&leaf)["attempts"].as_u64() > Some(1)
        });
        let log = leaf.log().to_string();
        let words = "(attempt 1): it refuses: \"Authorization Violation\"";
        assert!(log.contains(words), "{log}");
        // A finding may name it as well.
        let line = "Error trying to connect as leafnode";
        assert_eq!(log.matches(line).count(), 1, "{log}");
        assert!(!log.contains("wrongword"), "{log}");
        assert!(!leaf.get_json("/varz").to_string().contains("wrongword"));
        assert_eq!(hub.get_json("/leafz")["leafnodes"], 0);
    }
}

/// That no endpoint and no line of the log has this text.
fn shows_nowhere(broker: &Broker, secret: &str) {
    for path in broker.endpoints() {
        let answer = broker.get(&path).body;
        assert!(!answer.contains(secret), "{path}: {answer}");
    }
    for path in [
        "/leafz?subs=1",
        "/connz?auth=1&state=all&subs=1",
        "/explainz",
        "/eventsz",
        "/slowz",
        "/topz",
        "/varz",
    ] {
        let answer = broker.get(path).body;
        assert!(!answer.contains(secret), "{path}: {answer}");
    }
    broker.log().assert_lacks(secret);
}

/// A user without a password may be a token, which is shown nowhere, on either side, whether the hub
/// lets it in or not.
#[test]
fn a_token_logs_in_and_is_not_shown() {
    let is_midge =
        |builder: &BrokerBuilder| builder.program_path() == Broker::midge().program_path();
    // The hub wants a token, or it lets everybody in.
    let token = "authorization { token: hushhush }";
    for config in [token, ""] {
        for kinds in [
            [Broker::nats_server, Broker::midge],
            [Broker::midge, Broker::nats_server],
            [Broker::midge, Broker::midge],
        ] {
            let port = free_port();
            let [hub, leaf, refused] = [kinds[0], kinds[1], kinds[1]].map(|kind| kind());
            let are_midge = [&hub, &leaf].map(is_midge);
            let hub = super::hub(hub.flag("-DV"), port, "", config);
            let leaf = leaf_with(leaf.flag("-DV"), "leaf", port, "hushhush@", "", "");
            wait_for_leafs(&hub, 1);
            wait_for_leafs(&leaf, 1);
            let other = leaf_with(refused, "other", port, "wrongword@", "", "");
            match config {
                "" => wait_for_leafs(&hub, 2),
                _ => other.log().wait_for("Authorization Violation"),
            }
            for (broker, is_midge) in [(&hub, are_midge[0]), (&leaf, are_midge[1])] {
                if is_midge {
                    shows_nowhere(broker, "hushhush");
                    shows_nowhere(broker, "wrongword");
                }
            }
            if are_midge[1] {
                shows_nowhere(&other, "wrongword");
            }
        }
    }
}

/// TLS behind INFO and before it; both sides verify each other, and the certificate may name the user.
#[test]
fn both_sides_verify_each_other() {
    let pki = Pki::new(&["hub", "leaf", "stranger"]);
    for kind in HUBS {
        for first in ["", "handshake_first: true"] {
            let port = free_port();
            let hub_tls = tls(&pki, "hub", &format!("verify_and_map: true, {first}"));
            let more = format!(
                "{hub_tls}, authorization {{ users: [ {{ user: \"CN=leaf\", account: A }} ] }}"
            );
            let hub = hub_of(kind, port, &more, ACCOUNTS);
            let leaf = spoke("leaf", port, "", &tls(&pki, "leaf", first), "");
            wait_for_leafs(&hub, 1);
            wait_for_leafs(&leaf, 1);
            assert_eq!(hub.get_json("/leafz")["leafs"][0]["account"], "A");
            let leafz = leaf.get_json("/leafz");
            assert_eq!(leafz["leafs"][0]["certname"], "hub", "{leafz}");
            drop(subscriber(&leaf, &hub, "secured"));
            let stranger = spoke("stranger", port, "", &tls(&pki, "stranger", first), "");
            wait_until("it is refused", || {
                stranger
                    .log()
                    .to_string()
                    .contains("Error trying to connect")
            });
            assert_eq!(hub.get_json("/leafz")["leafnodes"], 1);
        }
    }
}

/// A hub with a certificate of another CA is not joined; the log says why.
#[test]
fn a_hub_of_another_ca_is_not_joined() {
    let (pki, foreign) = (Pki::new(&["leaf"]), Pki::new(&["hub"]));
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, &tls(&foreign, "hub", ""), "");
        let leaf = spoke("leaf", port, "", &tls(&pki, "leaf", ""), "");
        wait_until("it is not joined", || {
            leaf.log()
                .to_string()
                .contains("TLS handshake error: the peer's certificate is not signed")
        });
        // Without a block the CAs of this host count, which do not know it either.
        let plain = spoke("plain", port, "", "", "");
        wait_until("it is not joined", || {
            plain
                .log()
                .to_string()
                .contains("TLS handshake error: the peer's certificate is not signed")
        });
        assert_eq!(hub.get_json("/leafz")["leafnodes"], 0);
    }
}

/// A remote with TLS joins no hub without it.
#[test]
fn a_hub_without_tls_is_not_joined_with_a_block_for_it() {
    let pki = Pki::new(&["leaf"]);
    for kind in HUBS {
        let port = free_port();
        let _hub = hub_of(kind, port, "", "");
        let leaf = spoke("leaf", port, "", &tls(&pki, "leaf", ""), "");
        wait_until("it is not joined", || {
            leaf.log().to_string().contains("it does not offer TLS")
        });
        assert_eq!(leaf.get_json("/leafz")["leafnodes"], 0);
    }
}

/// The permissions that the hub tells of hold here, so that the hub has no reason to end the connection.
#[test]
fn the_permissions_of_the_hub_hold() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", ACCOUNTS);
        let leaf = spoke("leaf", port, "b:pb@", "", "");
        wait_for_leafs(&leaf, 1);
        let mut up = client_of(&hub, "open");
        up.send("SUB out.x 1\r\nSUB other.x 2\r\nSUB > 3\r\n");
        up.sync();
        wait_until("it is told", || knows(&leaf, "out.x"));
        let mut writer = super::client(&leaf);
        writer.send("PUB other.x 1\r\nn\r\nPUB out.x 1\r\ny\r\n");
        for _ in 0..2 {
            let (line, body) = message(&mut up);
            assert!(line.starts_with("MSG out.x ") && body == b"y", "{line}");
        }
        let mut down = super::client(&leaf);
        down.send("SUB nope.a 3\r\nSUB > 4\r\nSUB in.a 1\r\nSUB in.> 2\r\n");
        down.sync();
        wait_until("it is told", || knows(&hub, "in.a"));
        let mut from_hub = client_of(&hub, "open");
        from_hub.send("PUB nope.a 1\r\nn\r\nPUB in.secret.a 1\r\nn\r\nPUB in.a 1\r\ny\r\n");
        for _ in 0..3 {
            let (line, body) = message(&mut down);
            assert!(line.starts_with("MSG in.a ") && body == b"y", "{line}");
        }
        expect_silence(&mut down);
        assert!(!knows(&hub, "nope.a"));
        let remote = remote(&leaf);
        assert_eq!(remote["connects"], 1, "{remote}");
    }
}

/// Two remotes join two accounts of one hub with two accounts here.
#[test]
fn each_account_has_a_remote_of_its_own() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", ACCOUNTS);
        let text = format!(
            "server_name: leaf\naccounts {{ X {{ users [ {{ user: a, password: pa }} ] }}\n Y {{ \
             users [ {{ user: open, password: popen }} ] }} }}\nleafnodes {{ reconnect: 1, remotes: \
             [ {{ url: \"nats-leaf://a:pa@127.0.0.1:{port}\", account: X }}, {{ urls: \
             [\"nats-leaf://open:popen@127.0.0.1:{port}\"], account: Y }} ] }}\n"
        );
        let leaf = Broker::midge().config(text).start();
        wait_for_leafs(&leaf, 2);
        wait_for_leafs(&hub, 2);
        for user in ["a", "open"] {
            let mut reader = client_of(&leaf, user);
            reader.send(format!("SUB to.{user} 1\r\nSUB both 2\r\n"));
            reader.sync();
            wait_until("it is known", || knows(&hub, &format!("to.{user}")));
            client_of(&hub, user).send(format!("PUB to.{user} 1\r\nx\r\nPUB both 1\r\ny\r\n"));
            assert_eq!(message(&mut reader).1, b"x");
            assert_eq!(message(&mut reader).1, b"y");
            expect_silence(&mut reader);
        }
        assert_eq!(
            leaf.get_json("/varz")["leaf"]["remotes"][1]["connected"],
            true
        );
    }
}

/// The block `tls` with the scheme tls:// and large messages both ways.
#[test]
fn tls_carries_every_form() {
    let pki = Pki::new(&["hub", "leaf"]);
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, &tls(&pki, "hub", ""), "");
        let text = format!(
            "server_name: leaf\nleafnodes {{ remotes: [ {{ url: \"tls://127.0.0.1:{port}\", {} }} ] \
             }}\n",
            tls(&pki, "leaf", "")
        );
        let leaf = Broker::midge().config(text).start();
        wait_for_leafs(&hub, 1);
        wait_for_leafs(&leaf, 1);
        every_form(&hub, &leaf, "down");
        every_form(&leaf, &hub, "up");
    }
}
