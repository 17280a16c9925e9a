//! midge as leafnode: of a nats-server and of another midge, alone. What is asked of each hub is the
//! same.

use test_support::{Broker, BrokerBuilder, free_port, wait_until};

use super::{
    client, delivery::every_form, expect_silence, knows, message, subscriber, wait_for_leafs,
};

/// The hubs that are tried.
pub(super) const HUBS: [fn() -> BrokerBuilder; 2] = [Broker::nats_server, Broker::midge];

/// A hub of this kind. `more` is more of its block, `config` of its file.
pub(super) fn hub_of(kind: fn() -> BrokerBuilder, port: u16, more: &str, config: &str) -> Broker {
    super::hub(kind(), port, more, config)
}

/// A midge that is a leafnode of the broker on this port. `login` is `user:password@`, or nothing;
/// `more` is more of its remote, `config` of its file.
pub(super) fn spoke(name: &str, port: u16, login: &str, more: &str, config: &str) -> Broker {
    super::leaf_with(Broker::midge(), name, port, login, more, config)
}

/// What a broker says of its first remote.
pub(super) fn remote(broker: &Broker) -> serde_json::Value {
    broker.get_json("/varz")["leaf"]["remotes"][0].clone()
}

fn pairs() -> impl Iterator<Item = (Broker, Broker)> {
    HUBS.into_iter().map(|kind| {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let leaf = spoke("leaf", port, "", "", "");
        wait_for_leafs(&hub, 1);
        wait_for_leafs(&leaf, 1);
        (hub, leaf)
    })
}

#[test]
fn messages_go_both_ways_with_replies_and_headers() {
    for (hub, leaf) in pairs() {
        for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
            every_form(from, to, "way");
        }
        let leafz = leaf.get_json("/leafz");
        assert_eq!(leafz["leafs"][0]["is_spoke"], true, "{leafz}");
        assert_eq!(leafz["leafs"][0]["name"], "hub", "{leafz}");
        assert_eq!(hub.get_json("/leafz")["leafs"][0]["name"], "leaf");
        let remote = remote(&leaf);
        assert_eq!(remote["connected"], true, "{remote}");
        assert_eq!(remote["local_account"], "$G", "{remote}");
        assert_eq!(remote["connects"], 1, "{remote}");
        assert!(remote["last_error"].is_null(), "{remote}");
    }
}

/// The oldest hub that is tried, Debian's.
#[test]
fn an_old_nats_server_is_a_hub() {
    let port = free_port();
    let hub = hub_of(Broker::nats_server_29, port, "", "");
    let leaf = spoke("leaf", port, "", "", "");
    wait_for_leafs(&hub, 1);
    wait_for_leafs(&leaf, 1);
    for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
        every_form(from, to, "old");
    }
}

/// A hub that is killed and comes back is dialled again, and both know all interest again.
#[test]
fn the_hub_is_dialled_again_after_its_end() {
    for kind in HUBS {
        let port = free_port();
        let mut first = hub_of(kind, port, "", "");
        let leaf = spoke("leaf", port, "", "", "");
        let mut reader = subscriber(&leaf, &first, "after.all");
        first.kill();
        wait_for_leafs(&leaf, 0);
        wait_until("the failure shows", || {
            let remote = remote(&leaf);
            remote["connected"] == false && remote["attempts"].as_u64() > Some(0)
        });
        let mut second = hub_of(kind, port, "", "");
        wait_until("it is known again", || knows(&second, "after.all"));
        client(&second).send("PUB after.all 2\r\nhi\r\n");
        assert_eq!(message(&mut reader).1, b"hi");
        every_form(&leaf, &second, "again");
        assert!(second.stop().success());
        let third = hub_of(kind, port, "", "");
        wait_until("it is known once more", || knows(&third, "after.all"));
        let remote = remote(&leaf);
        assert_eq!(remote["connects"], 3, "{remote}");
        assert_eq!(remote["attempts"], 0, "{remote}");
    }
}

/// The first reason of failing attempts is in the log once, however many follow.
#[test]
fn attempts_that_fail_alike_are_logged_once() {
    let port = free_port();
    let leaf = spoke("leaf", port, "", "", "");
    wait_until("some attempts", || {
        remote(&leaf)["attempts"].as_u64() > Some(2)
    });
    let log = leaf.log().to_string();
    let words = "Error trying to connect as leafnode to remote server";
    assert_eq!(log.matches(words).count(), 1, "{log}");
    assert!(log.contains("(attempt 1): Connection refused"), "{log}");
}

/// A port for clients is no hub, and the log says so.
#[test]
fn a_port_for_clients_is_no_hub() {
    for kind in HUBS {
        let other = kind().start();
        let leaf = spoke("leaf", other.client_addr().port(), "", "", "");
        wait_until("it is refused", || {
            leaf.log()
                .to_string()
                .contains("attempted to connect to wrong port")
        });
        assert_eq!(leaf.get_json("/leafz")["leafnodes"], 0);
    }
}

/// Services on either side answer clients on the other one; a request that nobody serves is answered
/// at once.
#[test]
fn requests_are_answered_by_way_of_the_hub() {
    for (hub, leaf) in pairs() {
        for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
            let service = format!("service.{}", from.client_addr().port());
            let mut requester = client(from);
            requester.send("SUB inbox.* 7\r\n");
            requester.send(format!("PUB {service} inbox.none 0\r\n\r\n"));
            assert!(message(&mut requester).1.starts_with(b"NATS/1.0 503"));
            let mut server = subscriber(to, from, &service);
            requester.send(format!("PUB {service} inbox.one 2\r\nhi\r\n"));
            assert_eq!(
                message(&mut server).0,
                format!("MSG {service} 1 inbox.one 2")
            );
            server.send("PUB inbox.one 3\r\nyes\r\n");
            let answer = message(&mut requester);
            assert_eq!(answer, ("MSG inbox.one 7 3".into(), b"yes".to_vec()));
            server.send("UNSUB 1\r\n");
            server.sync();
            wait_until("it is known no more", || !knows(from, &service));
            requester.send(format!("PUB {service} inbox.none 0\r\n\r\n"));
            assert!(message(&mut requester).1.starts_with(b"NATS/1.0 503"));
        }
    }
}

/// Subjects of `deny_imports` do not arrive, and those of `deny_exports` do not leave.
#[test]
fn denied_subjects_stay_where_they_are() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let more = "deny_imports: [\"in.secret.>\"], deny_exports: \"out.secret.>\"";
        let leaf = spoke("leaf", port, "", more, "");
        wait_for_leafs(&leaf, 1);
        for (from, to, word) in [(&hub, &leaf, "in"), (&leaf, &hub, "out")] {
            let mut reader = subscriber(to, from, &format!("{word}.>"));
            let mut narrow = client(to);
            narrow.send(format!("SUB {word}.secret.a 1\r\n"));
            narrow.sync();
            let mut writer = client(from);
            writer.send(format!("PUB {word}.secret.a 1\r\nx\r\n"));
            writer.send(format!("PUB {word}.open.a 1\r\ny\r\n"));
            writer.sync();
            assert_eq!(message(&mut reader).1, b"y");
            expect_silence(&mut reader);
            expect_silence(&mut narrow);
        }
        // Neither side took offence.
        assert_eq!(remote(&leaf)["connects"], 1);
        let deny = remote(&leaf)["deny"].clone();
        assert_eq!(deny["imports"][0], "in.secret.>", "{deny}");
        assert_eq!(deny["exports"][0], "out.secret.>", "{deny}");
    }
}

/// With `hub: true` the broker that dials is the hub: what it knows from its cluster or from other
/// leafnodes is told.
#[test]
fn the_side_that_dials_may_be_the_hub() {
    for kind in HUBS {
        let (port, own) = (free_port(), free_port());
        let acceptor = hub_of(kind, port, "", "");
        let text = format!(
            "server_name: dialler\nleafnodes {{ listen: \"127.0.0.1:{own}\", reconnect: 1, \
             remotes: [ {{ url: \"nats://127.0.0.1:{port}\", hub: true }} ] }}\n"
        );
        let dialler = Broker::midge().config(text).start();
        wait_for_leafs(&dialler, 1);
        assert_eq!(dialler.get_json("/leafz")["leafs"][0]["is_spoke"], false);
        assert_eq!(acceptor.get_json("/leafz")["leafs"][0]["is_spoke"], true);
        for (from, to) in [(&acceptor, &dialler), (&dialler, &acceptor)] {
            every_form(from, to, "swapped");
        }
        // Another leafnode of the dialler, and the acceptor, are two spokes of one hub.
        let other = super::leaf("other", own, "", "");
        wait_for_leafs(&dialler, 2);
        for (from, to) in [(&acceptor, &other), (&other, &acceptor)] {
            every_form(from, to, "across");
        }
    }
}
