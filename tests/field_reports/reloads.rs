//! Reloads that were refused although nothing had changed, or that changed too much.

use std::{collections::BTreeSet, io::Write};

use crate::{
    accepts_login, as_user, both, client, connections, publish, read_until, subjects, user,
};
use test_support::{
    Broker, free_port, http,
    mesh::{self, Kind, Member, Plan},
    pki::Pki,
    tls_client::Speaker,
    wait_until,
};

/// Only a user was changed, and the reload was refused: the cluster had a port and no
/// host, and the default host counted as a change.
#[test]
fn nats_server_1509_a_default_value_is_no_change() {
    for builder in both() {
        let config = |user: &str, port: u16| {
            format!(
                "cluster {{ name: c, port: {port}, routes: [] }}\nauthorization {{ users: [ {{ user: \
                 {user}, password: p }} ] }}\n"
            )
        };
        let port = free_port();
        let broker = builder.config(config("before", port)).start();
        assert!(accepts_login(&broker, &as_user("before", "p")));
        for user in ["after", "after", "later"] {
            broker.reload(&config(user, port));
            assert!(accepts_login(&broker, &as_user(user, "p")));
        }
        assert!(!accepts_login(&broker, &as_user("before", "p")));
        broker.log().assert_lacks("[ERR] Failed to reload");
    }
}

/// TLS blocks compared unequal to themselves, so that a reload of an unchanged file was
/// refused. It must succeed, and clients and routes stay.
#[test]
fn nats_server_981_a_reload_without_a_change_keeps_tls_as_it_is() {
    let pki = Pki::new(&["n0", "n1", "node"]);
    let tls = |name: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true, timeout: 5 }}",
            pki.text(&format!("{name}.pem")),
            pki.text(&format!("{name}.key")),
            pki.text("ca.pem")
        )
    };
    for kind in [Kind::Midge, Kind::Nats] {
        let ports = [free_port(), free_port()];
        let members: Vec<(Member, String)> = (0..2)
            .map(|at| {
                let name = format!("n{at}");
                let mut plan = Plan::new(kind, &name, ports[at], &[ports[1 - at]]);
                plan.cluster = format!("name: mesh\n {}", tls(&name));
                plan.config = tls(&name);
                let text = plan.text();
                (plan.start(), text)
            })
            .collect();
        mesh::wait_for_mesh(&members.iter().map(|it| &it.0).collect::<Vec<_>>());
        let address = members[0].0.broker.client_addr();
        let speaker = Speaker::believing(&pki.path("ca.pem"))
            .showing(&pki.path("node.pem"), &pki.path("node.key"));
        let (mut stream, _) = speaker.connect(address).expect("gets in");
        let hello = b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n";
        stream.write_all(hello).expect("write");
        read_until(&mut stream, "PONG\r\n");
        let seen = |member: &Member| {
            let routes = member.routes().into_iter().map(|it| it["rid"].to_string());
            let clients = connections(&member.broker, "").into_iter();
            let clients = clients.map(|it| it["cid"].to_string());
            routes.chain(clients).collect::<BTreeSet<String>>()
        };
        let before = seen(&members[0].0);
        for _ in 0..3 {
            members[0].0.reload(&members[0].1);
        }
        stream.write_all(b"PUB a 2\r\nok\r\n").expect("write");
        read_until(&mut stream, "MSG a 1 2\r\nok\r\n");
        // A nats-server may still be adding routes for its accounts.
        let after = seen(&members[0].0);
        assert!(before.is_subset(&after), "{before:?}, {after:?}");
    }
}

/// An account was added by a reload of all members, with an export to an existing
/// account: through some members its messages were lost silently, for good. They must
/// arrive, in any order of reloads and from any member.
#[test]
fn nats_server_8560_a_new_account_reaches_its_importer_at_every_member() {
    let accounts = |new: bool| {
        let (exporter, import) = match new {
            true => (
                "site { users: [ { user: s, password: s } ], exports: [ { stream: \"data.>\" } ] }",
                ", imports: [ { stream: { account: site, subject: \"data.>\" } } ]",
            ),
            false => ("", ""),
        };
        format!(
            "accounts {{ hub {{ users: [ {{ user: h, password: h }} ] {import} }}\n {exporter} }}"
        )
    };
    for first in [0, 1] {
        let ports = [free_port(), free_port()];
        let plan = |at: usize, new: bool| {
            let routes = [ports[1 - at]];
            let mut plan = Plan::new(Kind::Midge, &format!("n{at}"), ports[at], &routes);
            plan.config = accounts(new);
            plan
        };
        let members = [plan(0, false).start(), plan(1, false).start()];
        mesh::wait_for_mesh(&[&members[0], &members[1]]);
        // Subscribed at one member, long before there is anything to import.
        let mut hub = user(&members[0].broker, "h", "h");
        hub.send("SUB data.> 1\r\n");
        hub.sync();
        for at in [first, 1 - first] {
            members[at].reload(&plan(at, true).text());
        }
        for (at, member) in members.iter().enumerate() {
            let subject = format!("data.from.{at}");
            let mut site = user(&member.broker, "s", "s");
            let mut received = Vec::new();
            wait_until(&format!("a message published at n{at} is received"), || {
                site.send(publish(&subject, 1));
                site.sync();
                received.extend(subjects(&hub.sync()));
                received.contains(&subject)
            });
            // From now on each of them arrives, once.
            let mark = format!("data.mark.{at}");
            site.send(publish(&mark, 1).repeat(20));
            site.sync();
            let mut marks = 0;
            wait_until("all are received", || {
                let received = subjects(&hub.sync());
                marks += received.iter().filter(|it| **it == mark).count();
                marks >= 20
            });
            assert_eq!(marks, 20);
        }
    }
}

/// Where processes cannot send signals to each other, as between containers, there was no
/// way to request a reload. With access to the broker's socket it is possible, and the
/// response says what was done.
#[test]
fn nats_server_3950_a_reload_can_be_requested_without_a_signal() {
    let config = |payload: u64| format!("monitor {{ unix: ask.sock }}\nmax_payload: {payload}\n");
    let broker = Broker::midge().config(config(5000)).start();
    let file = broker.folder().join("broker.conf");
    std::fs::write(file, config(6000)).expect("write");
    let answer = http::request_unix(&broker.folder().join("ask.sock"), "POST", "/reload");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["applied"][0]["name"], "max_payload");
    assert_eq!(broker.get_json("/varz")["max_payload"], 6000);
}

/// Only the source showed which options a reload changes, and one that it does not change
/// made the whole file invalid. Those must be named, all others applied, and the finding
/// stays until the restart.
#[test]
fn nats_docs_539_settings_that_need_a_restart_are_named_and_block_nothing() {
    let config = |name: &str, payload: u64| {
        format!(
            "diagnosis {{ interval: 50ms, appear_after: 100ms, config_check: 50ms }}\n\
             server_name: {name}\nmax_payload: {payload}\n"
        )
    };
    let broker = Broker::midge().config(config("first", 5000)).start();
    let mut stays = client(&broker, "stays");
    stays.send("SUB a 1\r\n");
    stays.sync();
    broker.reload(&config("second", 6000));
    assert_eq!(broker.get_json("/varz")["max_payload"], 6000);
    assert_eq!(broker.get_json("/varz")["server_name"], "first");
    let reported = |line: &str| line.contains("server name") || line.contains("server_name");
    wait_until("a warning names it", || {
        let log = broker.log().so_far();
        let mut warnings = log.lines().filter(|line| line.contains("[WRN]"));
        warnings.any(reported)
    });
    wait_until("the finding", || {
        let findings = crate::findings(&broker, "config-differs");
        findings.iter().any(|it| reported(&it.to_string()))
    });
    stays.send(publish("a", 1));
    assert_eq!(subjects(&stays.sync()), ["a"]);
}
