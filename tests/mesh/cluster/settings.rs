//! Settings of the cluster end to end: flags, permissions, and reloads while routes are
//! up.

use std::fs;

use serde_json::json;

use super::{
    faults::{CUT, PASS, Wire},
    tls,
};
use test_support::{Broker, pki::Pki, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// Every cluster flag works without a file.
#[test]
fn command_line_flags_configure_a_member() {
    let (seed, port) = (free_port(), free_port());
    let wire = Wire::to(port);
    let first = Plan::new(Kind::Midge, "first", seed, &[]).start();
    let builder = Broker::midge()
        .flag("--server_name=flags")
        .flag(format!("--cluster=nats://routes:s3cret@127.0.0.1:{port}"))
        .flag("--cluster_name=mesh")
        .flag(format!(
            "--routes=nats-route://routes:s3cret@127.0.0.1:{seed}, nats://127.0.0.1:{port}"
        ))
        .flag(format!("--cluster_advertise=127.0.0.1:{}", wire.port))
        .flag("--no_advertise")
        .flag("--queue_policy=local")
        .flag("--connect_retries=30");
    let flags = Member {
        name: "flags".into(),
        broker: builder.start(),
        route_port: port,
    };
    mesh::wait_for_mesh(&[&first, &flags]);
    // Members that discover it dial the address that it advertises.
    wire.set(CUT);
    let mut third = Plan::new(Kind::Midge, "third", free_port(), &[seed]);
    third.cluster = "name: mesh\n  connect_retries: 30\n  connect_backoff: false".into();
    let third = third.start();
    let failed = format!("(attempt 1): 127.0.0.1:{}", wire.port);
    let fails = || {
        [&third, &flags]
            .iter()
            .any(|it| it.broker.log().so_far().already_has(&failed))
    };
    if flags.peers().len() < 2 {
        wait_until("the advertised address is dialled", || {
            fails() || third.peers().len() == 2
        });
    }
    wire.set(PASS);
    mesh::wait_for_mesh(&[&first, &flags, &third]);
    // Its local members of a queue group get what is published at it.
    let (mut here, mut elsewhere) = (flags.client(), first.client());
    for client in [&mut here, &mut elsewhere] {
        client.send("SUB work crew 1\r\n");
        client.sync();
    }
    wait_until("the other member is known", || flags.knows("work"));
    flags.client().send("PUB work 0\r\n\r\n".repeat(50));
    for _ in 0..50 {
        here.next_message();
    }
    assert!(elsewhere.sync().is_empty());
    // It announces no member to its clients, and is not announced to others' clients.
    assert!(flags.client().info()["connect_urls"].is_null());
    let urls = first.client().info()["connect_urls"].to_string();
    assert!(
        !urls.contains(&flags.broker.client_addr().to_string()),
        "{urls}"
    );
    assert!(
        urls.contains(&third.broker.client_addr().to_string()),
        "{urls}"
    );
    let untrusted_peer = Plan::new(Kind::Midge, "stranger", free_port(), &[port]);
    let text = untrusted_peer.text().replace("s3cret@", "wrong@");
    let _stranger = untrusted_peer.start_with(text);
    flags.broker.log().wait_for("wrong password");
}

/// Interest is sent as `import` permits and accepted as `export` permits, with midges and
/// nats-servers; other subjects are delivered.
#[test]
fn permissions_limit_interest() {
    for kind in [Kind::Midge, Kind::Nats] {
        let ports = [free_port(), free_port()];
        let mut limited = Plan::new(Kind::Midge, "limited", ports[0], &[]);
        limited.cluster = "name: mesh\n  permissions { import: { deny: [\"mine.>\"] }, export: \
                           { allow: [\"$SYS.>\", \"_INBOX.>\", \"open.*\"] } }"
            .into();
        let limited = limited.start();
        let other = Plan::new(kind, "other", ports[1], &ports[..1]).start();
        mesh::wait_for_mesh(&[&limited, &other]);
        let subjects = ["mine.a", "open.a", "shut.a"];
        let lines: Vec<String> = subjects
            .iter()
            .enumerate()
            .map(|(sid, subject)| format!("SUB {subject} {sid}\r\nSUB {subject} q q{sid}\r\n"))
            .collect();
        let mut clients = [limited.client(), other.client()];
        for client in &mut clients {
            client.send(lines.concat());
            client.sync();
        }
        wait_until("the last is known", || other.knowing("shut.a") > 0);
        wait_until("the permitted subject is known", || {
            limited.knowing("open.a") > 0
        });
        let known = |member: &Member| subjects.map(|subject| member.knows(subject));
        assert_eq!(known(&other), [false, true, true], "{kind:?}");
        assert_eq!(known(&limited), [false, true, false], "{kind:?}");
        let text = fs::read_to_string(limited.broker.folder().join("broker.conf"));
        let text = text
            .expect("its configuration")
            .replace("deny: [\"mine.>\"]", "deny: [\"shut.>\"]");
        limited.reload(&text);
        wait_until("interest matches the new permissions", || {
            known(&other) == [true, true, false]
        });
    }
}

/// Permissions changed by a reload apply immediately in each direction, also to interest
/// that the peer sent earlier.
#[test]
fn a_reload_of_permissions_affects_both_directions() {
    for kind in [Kind::Midge, Kind::Nats] {
        let ports = [free_port(), free_port()];
        let text = |index: usize, permissions: &str| {
            let (kind, routes) = match index {
                0 => (Kind::Midge, &[][..]),
                _ => (kind, &ports[..1]),
            };
            let mut plan = Plan::new(kind, ["n0", "n1"][index], ports[index], routes);
            plan.cluster = format!("name: mesh\n  permissions {{ {permissions} }}");
            (plan.text(), plan)
        };
        let start = |index: usize| {
            let (text, plan) = text(index, "export: { allow: [foo, bar, end] }");
            plan.start_with(text)
        };
        let members = [start(0), start(1)];
        mesh::wait_for_mesh(&[&members[0], &members[1]]);
        let mut clients = [members[0].client(), members[1].client()];
        for client in &mut clients {
            client.send("SUB foo 1\r\nSUB bar 2\r\nSUB * 3\r\nSUB end 4\r\n");
            client.sync();
        }
        wait_until("both are reported", || {
            members.iter().all(|it| it.knows("end"))
        });
        // What the other member's client receives of `foo` and `bar` from here, and ours
        // from there.
        let mut pass = |from: usize| {
            clients[from].send("PUB foo 0\r\n\r\nPUB bar 0\r\n\r\nPUB end 0\r\n\r\n");
            clients[from].sync();
            clients[from].sync();
            let mut got = String::new();
            loop {
                let message = clients[1 - from].next_message();
                match &*message.arguments()[0] {
                    "end" => return got,
                    subject if got.contains(subject) => {}
                    subject => got += subject,
                }
            }
        };
        for (index, permissions, out, back) in [
            (0, "export: { allow: [bar, end] }", "bar", "foobar"),
            (
                0,
                "export: { allow: [foo, bar, end], deny: [foo] }",
                "bar",
                "foobar",
            ),
            (0, "export: { allow: \">\", deny: [bar] }", "foo", "foobar"),
            (0, "export: { allow: \">\" }", "foobar", "foobar"),
            (0, "import: { allow: [foo, end] }", "foobar", "foo"),
            (
                0,
                "import: { allow: [bar, end] }, export: { allow: [foo, end] }",
                "foo",
                "bar",
            ),
            // Permitted on both sides, one after the other.
            (
                1,
                "import: { allow: [foo, end] }, export: { allow: [foo, end] }",
                "foo",
                "",
            ),
            (
                0,
                "import: { allow: [foo, bar, end] }, export: { allow: [foo, bar, end] }",
                "foo",
                "foo",
            ),
            (
                1,
                "import: { allow: [foo, bar, end] }, export: { allow: [foo, bar, end] }",
                "foobar",
                "foobar",
            ),
            (0, "", "foobar", "foobar"),
        ] {
            members[index].reload(&text(index, permissions).0);
            let mut passed = (String::new(), String::new());
            for _ in 0..200 {
                passed = (pass(0), pass(1));
                if passed == (out.into(), back.into()) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            assert_eq!(
                passed,
                (out.into(), back.into()),
                "{kind:?} {index}: {permissions}"
            );
        }
    }
}

/// A reload adds and removes routes; the password and TLS apply immediately; settings
/// that need a restart are named.
#[test]
fn a_reload_changes_the_mesh() {
    let ports = [free_port(), free_port()];
    let pki = Pki::new(&["n0", "n1"]);
    let plan = |index: usize, routes: &[u16]| {
        Plan::new(Kind::Midge, &format!("n{index}"), ports[index], routes)
    };
    let alone = plan(0, &[]).text();
    let dialling = plan(0, &ports[1..]).text();
    let members = [plan(0, &[]).start(), plan(1, &[]).start()];
    members[0].reload(&dialling);
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    assert_eq!(members[0].routes()[0]["is_configured"], true);
    members[0].reload(&alone);
    wait_until("the route has closed", || {
        members.iter().all(|member| member.peers().is_empty())
    });
    let log = members[0].broker.log();
    log.wait_for("closed: Route Removed");
    members[0].reload(&dialling);
    mesh::wait_for_mesh(&[&members[0], &members[1]]);

    // A new password disconnects peers that used the old one.
    let other_password = |text: &str| text.replace("s3cret", "n3w");
    members[1].reload(&other_password(&plan(1, &[]).text()));
    members[1].broker.log().wait_for("wrong password");
    assert!(members[1].peers().is_empty());
    members[0].reload(&other_password(&dialling));
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    log.assert_lacks("n3w");

    // TLS is enabled at both, one after the other.
    let with_tls = |text: &str, name: &str| {
        let block = tls::block(&pki, name, &pki, "");
        other_password(text).replace("name: mesh", &format!("name: mesh\n  {block}"))
    };
    members[1].reload(&with_tls(&plan(1, &[]).text(), "n1"));
    wait_until("the plain route has closed", || {
        members[1].peers().is_empty()
    });
    members[0].reload(&with_tls(&dialling, "n0"));
    mesh::wait_for_mesh(&[&members[0], &members[1]]);

    members[0].reload(&with_tls(&dialling, "n0").replace("name: mesh", "name: other"));
    let reported = "cluster name is \"other\" in the configuration but stays \"mesh\" until";
    log.wait_for(reported);
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
}

/// An account added by a reload is propagated over existing routes.
#[test]
fn a_new_account_uses_existing_routes() {
    let port = free_port();
    let accounts = "accounts { A { users: [{user: a, password: a}] } }\nno_auth_user: a";
    let mut first = Plan::new(Kind::Midge, "n0", port, &[]);
    first.config = accounts.into();
    let second = Plan::new(Kind::Midge, "n1", free_port(), &[port]);
    let members = [first.start(), second.start()];
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    let mut changed = Plan::new(Kind::Midge, "n1", members[1].route_port, &[port]);
    changed.config = accounts.into();
    members[1].reload(&changed.text());
    let mut subscriber = members[1].client();
    subscriber.send("SUB news 1\r\n");
    subscriber.sync();
    wait_until("the new account's subscription is known", || {
        members[0].knows("news")
    });
    members[0].client().send("PUB news 2\r\nhi\r\n");
    assert_eq!(subscriber.next_message().body, b"hi");
}

/// The password that members must send may be a bcrypt hash: the dialling side sends the
/// plain password from its configured routes, also to a discovered member.
#[test]
fn the_route_password_may_be_a_hash() {
    let hash = bcrypt::hash("s3cret", 4).expect("a hash");
    let (seed, other) = (free_port(), free_port());
    let start = |kind, name: &str, port, routes: &[u16]| {
        let plan = Plan::new(kind, name, port, routes);
        let hashed = format!("password: {hash:?}");
        plan.start_with(plan.text().replace("password: s3cret", &hashed))
    };
    let first = start(Kind::Midge, "first", seed, &[]);
    let second = start(Kind::Midge, "second", other, &[seed]);
    let third = start(Kind::Nats, "third", free_port(), &[seed]);
    mesh::wait_for_mesh(&[&first, &second, &third]);
    let wrong = Plan::new(Kind::Midge, "wrong", free_port(), &[seed]);
    let _wrong = wrong.start_with(wrong.text().replace("routes:s3cret@", "routes:other@"));
    first.broker.log().wait_for("or wrong password");
}

/// The broker's own permissions are announced, and subjects they forbid are not counted,
/// until a reload permits them.
#[test]
fn unexported_subjects_are_not_counted() {
    for kind in [Kind::Midge, Kind::Nats] {
        let ports = [free_port(), free_port()];
        let mut plan = Plan::new(kind, "limited", ports[0], &[]);
        plan.config = "no_system_account: true".into();
        let open = plan.text();
        plan.cluster += "\n  permissions { import: [\"foo\"], export: { allow: [\"bar\", \
                         \"baz\"], deny: \"baz\" } }";
        let limited = plan.start();
        let mut other = Plan::new(Kind::Midge, "other", ports[1], &ports[..1]);
        other.config = "no_system_account: true".into();
        let other = other.start();
        mesh::wait_for_mesh(&[&limited, &other]);
        let routez = limited.broker.get_json("/routez");
        assert_eq!(routez["import"], json!({ "allow": ["foo"] }), "{kind:?}");
        let export = json!({ "allow": ["bar", "baz"], "deny": ["baz"] });
        assert_eq!(routez["export"], export, "{kind:?}");
        let mut client = other.client();
        client.send("SUB other 1\r\nSUB other q 2\r\nSUB bar 3\r\nSUB bar q 4\r\n");
        client.sync();
        let mut own = limited.client();
        own.send("SUB own 1\r\n");
        own.sync();
        let counts = || {
            let figure = |path: &str, name: &str| limited.broker.get_json(path)[name].as_u64();
            [
                figure("/varz", "subscriptions"),
                figure("/subsz", "num_subscriptions"),
            ]
        };
        wait_until("what is exported is known", || limited.knowing("bar") == 2);
        assert_eq!(counts(), [Some(3); 2], "{kind:?}");
        if kind == Kind::Midge {
            limited.reload(&open);
            assert_eq!(counts(), [Some(5); 2]);
            limited.reload(&plan.text());
            client.send("SUB other.two 5\r\nUNSUB 1\r\nUNSUB 3\r\n");
            client.sync();
            wait_until("it has disconnected", || limited.knowing("bar") == 1);
            assert_eq!(counts(), [Some(2); 2]);
            limited.reload(&open);
            assert_eq!(counts(), [Some(4); 2]);
        }
    }
}

/// A standalone broker announces no address to its clients; after another member has
/// connected, its own address stays.
#[test]
fn a_standalone_broker_announces_no_address() {
    for kind in [Kind::Midge, Kind::Nats] {
        let ports = [free_port(), free_port()];
        let member = Plan::new(kind, "n0", ports[0], &ports[1..]).start();
        let urls = || member.client().info()["connect_urls"].to_string();
        assert_eq!(urls(), "null", "{kind:?}");
        let own = member.broker.client_addr().to_string();
        let mut other = Plan::new(Kind::Midge, "n1", ports[1], &[]).start();
        let theirs = other.broker.client_addr().to_string();
        wait_until("both are named", || {
            urls().contains(&own) && urls().contains(&theirs)
        });
        other.broker.kill();
        wait_until("its own address stays", || urls() == format!("[{own:?}]"));
    }
}
