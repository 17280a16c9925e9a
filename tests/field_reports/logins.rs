//! Clients that were wrongly accepted, refused or disconnected.

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64URL_NOPAD;

use crate::{both, client, connections, findings, lines, login, number, publish, subjects, user};
use test_support::{Broker, RawClient, tools, wait_until};

/// A forbidden subscription was believed to close the whole connection. It is an error
/// that names the subject; other subscriptions continue.
#[test]
fn nats_node_530_a_forbidden_subscription_keeps_the_others() {
    let config = "authorization { users: [ { user: a, password: a, permissions: { subscribe: { \
                  deny: \"private.>\" } } } ] }";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut a = user(&broker, "a", "a");
        a.send("SUB open.> 1\r\n");
        for round in 0..5 {
            a.send(format!("SUB private.x {}\r\n", 2 + round));
            a.send(publish("open.x", 1));
            let reported = lines(&a.sync());
            assert!(
                reported[0]
                    .starts_with("-ERR 'Permissions Violation for Subscription to \"private.x\""),
                "{reported:?}"
            );
            assert_eq!(reported[1], "MSG open.x 1 1");
        }
        assert_eq!(connections(&broker, "subs=1")[0]["subscriptions"], 1);
    }
}

/// The program did not learn of a refused subscription, and only the log showed it. The
/// log line names the user and the subject; in midge it is an event and a finding as
/// well.
#[test]
fn nats_rs_1284_a_refused_subscription_is_logged_with_user_and_subject() {
    let config = "authorization { users: [ { user: meter, password: m, permissions: { subscribe: \
                  [\"readings.*\"], publish: [\"readings.*\"] } } ] }";
    for builder in both() {
        let is_midge = builder.program_path() == tools::midge();
        let broker = builder.config(config).start();
        let mut meter = user(&broker, "meter", "m");
        meter.send("SUB bills.7 9\r\nPUB bills.8 0\r\n\r\n".repeat(20));
        meter.sync();
        for subject in ["\"bills.7\"", "\"bills.8\""] {
            let words = ["Violation", "\"$G/user:meter\"", subject];
            broker.log().wait_for_line(&words);
        }
        if is_midge {
            let events = broker.get_json("/eventsz?type=auth.violation")["events"].to_string();
            assert!(
                events.contains("bills.7") && events.contains("meter"),
                "{events}"
            );
            wait_until("the finding", || {
                findings(&broker, "permission-violations")
                    .iter()
                    .any(|it| it["subject"] == "meter")
            });
        }
    }
}

/// A user with a denied subject received it anyway with a queue group on a matching
/// wildcard.
#[test]
fn advisory_2022_29946_a_queue_group_on_a_wildcard_gets_no_denied_subject() {
    let config = "authorization { users: [ { user: some, password: s, permissions: { subscribe: { \
                  deny: \"pay.secret\" } } }, { user: all, password: a } ] }";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut some = user(&broker, "some", "s");
        some.send("SUB pay.* g 1\r\nSUB > h 2\r\nSUB pay.* 3\r\n");
        assert!(some.sync().is_empty());
        let mut all = user(&broker, "all", "a");
        all.send(publish("pay.secret", 1) + &publish("pay.open", 1));
        all.sync();
        assert_eq!(subjects(&some.sync()), ["pay.open"; 3]);
    }
}

/// A program that died between connecting and its login stayed in the list with pending
/// bytes. It must be removed when its socket closes.
#[test]
fn nats_server_1384_a_client_that_leaves_before_the_login_is_not_listed() {
    for builder in both() {
        let broker = builder.start();
        for _ in 0..20 {
            // INFO was read, and then the process ended.
            drop(broker.connect());
        }
        wait_until("the list is empty", || connections(&broker, "").is_empty());
        assert_eq!(number(&broker.get_json("/varz")["connections"]), 0);
    }
}

/// A broker with users in the system account only accepts all other clients without a
/// login; a reload disconnected all of them.
#[test]
fn nats_server_2282_a_reload_keeps_clients_that_need_no_login() {
    let config = |tag: &str| {
        format!(
            "server_tags: [{tag}]\naccounts {{ $SYS {{ users: [ {{ user: sys, password: s }} ] }} }}\n"
        )
    };
    for builder in both() {
        let broker = builder.config(config("one")).start();
        let mut anonymous_client = client(&broker, "guest");
        anonymous_client.send("SUB a 1\r\n");
        anonymous_client.sync();
        let cid = connections(&broker, "")[0]["cid"].clone();
        broker.reload(&config("two"));
        assert_eq!(broker.get_json("/varz")["tags"][0], "two");
        let mut other = client(&broker, "other");
        other.send(publish("a", 1));
        other.sync();
        assert_eq!(subjects(&anonymous_client.sync()), ["a"]);
        assert_eq!(connections(&broker, "")[0]["cid"], cid);
    }
}

/// A user's public nkey, and its seed.
const KEY: &str = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";
const SEED: [u8; 32] = [1; 32];

/// A client that logs in with its key.
fn with_key(broker: &Broker) -> RawClient {
    let mut client = broker.connect();
    let nonce = client.info()["nonce"].as_str().expect("a nonce").to_owned();
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key");
    let signature = BASE64URL_NOPAD.encode(pair.sign(nonce.as_bytes()).as_ref());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"keyed\",\"nkey\":{KEY:?},\"sig\":{signature:?}}}\r\n"
    ));
    client.sync();
    client
}

/// Each reload closed exactly the clients that had logged in with a key. They must stay
/// as long as the key is configured.
#[test]
fn nats_server_8606_a_reload_keeps_clients_with_an_nkey() {
    let config = |keys: &str, payload: u64| {
        format!(
            "max_payload: {payload}\nauthorization {{ users: [ {keys} {{ user: u, password: p }} ] }}\n"
        )
    };
    let known = format!("{{ nkey: {KEY} }}, ");
    for builder in both() {
        let broker = builder.config(config(&known, 5000)).start();
        let mut keyed = with_key(&broker);
        keyed.send("SUB a 1\r\n");
        keyed.sync();
        for payload in [6000, 7000] {
            broker.reload(&config(&known, payload));
            assert_eq!(broker.get_json("/varz")["max_payload"], payload);
            let mut other = user(&broker, "u", "p");
            other.send(publish("a", 1));
            other.sync();
            assert_eq!(subjects(&keyed.sync()), ["a"]);
        }
        broker.reload(&config("", 8000));
        keyed.read_to_end();
        wait_until("it is gone", || connections(&broker, "").is_empty());
    }
}

/// `/connz?auth=1` showed no user, or a wrong one, for clients without a password. Each
/// must be shown with its identity.
#[test]
fn nats_server_1799_each_kind_of_user_is_shown() {
    let config =
        format!("authorization {{ users: [ {{ nkey: {KEY} }}, {{ user: u, password: p }} ] }}\n");
    for builder in both() {
        let broker = builder.config(config.clone()).start();
        let _keyed = with_key(&broker);
        let mut named = login(&broker, ",\"name\":\"named\",\"user\":\"u\",\"pass\":\"p\"");
        named.sync();
        let listed = connections(&broker, "auth=1");
        let shown = |name: &str| {
            let entry = listed.iter().find(|it| it["name"] == name);
            entry.expect("listed").to_string()
        };
        assert!(shown("keyed").contains(KEY), "{}", shown("keyed"));
        assert!(shown("named").contains("\"u\""), "{}", shown("named"));
        assert!(!format!("{listed:?}").contains("\"p\""));
    }
}

/// A user for clients without credentials was refused as soon as its password was a hash.
/// Its password does not matter for them.
#[test]
fn nats_server_6928_the_no_auth_user_may_have_a_hashed_password() {
    let hash = bcrypt::hash("s3cret", 4).expect("a hash");
    for password in ["plain", &hash] {
        let config = format!(
            "no_auth_user: guest\nauthorization {{ users: [ {{ user: guest, password: \
             \"{password}\", permissions: {{ subscribe: \"open.>\" }} }} ] }}"
        );
        let broker = Broker::midge().config(config).start();
        let mut anonymous_client = client(&broker, "guest");
        anonymous_client.send("SUB open.a 1\r\nSUB closed.a 2\r\n");
        let reported = lines(&anonymous_client.sync());
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(reported[0].contains("\"closed.a\""), "{reported:?}");
    }
}

/// Default permissions applied only to users with a password; users with a key had no
/// restrictions. They must apply to both.
#[test]
fn nats_server_1390_default_permissions_apply_to_nkeys_too() {
    let config = format!(
        "authorization {{ default_permissions {{ subscribe: {{ deny: closed }} }}\n users: [ {{ nkey: \
         {KEY} }}, {{ user: u, password: p }} ] }}"
    );
    for builder in both() {
        let broker = builder.config(config.clone()).start();
        for mut client in [with_key(&broker), user(&broker, "u", "p")] {
            client.send("SUB open 1\r\nSUB closed 2\r\n");
            let reported = lines(&client.sync());
            assert_eq!(reported.len(), 1, "{reported:?}");
            assert!(
                reported[0].contains("Permissions Violation"),
                "{reported:?}"
            );
        }
    }
}

/// As soon as the system account had a user, everybody was accepted without a login,
/// despite a block `authorization`. A login must be required.
#[test]
fn nats_server_4535_a_system_account_user_does_not_disable_logins() {
    let config = "accounts { $SYS { users: [ { user: sys, password: s } ] } }\n\
                  authorization { users: [ { user: one, password: p } ] }";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut anonymous_client = login(&broker, "");
        anonymous_client.send("SUB > 1\r\nPING\r\n");
        let reported = lines(&anonymous_client.read_to_end());
        assert_eq!(reported, ["-ERR 'Authorization Violation'"]);
        user(&broker, "one", "p");
        user(&broker, "sys", "s");
    }
}
