//! Messages between accounts that were duplicated, misdirected or lost.

use serde_json::Value;

use crate::{both, lines, publish, subjects, user};
use test_support::{
    Broker, Frame, RawClient, free_port,
    mesh::{self, Kind, Plan},
    wait_until,
};

/// One account exports a subject as a stream and as a service, another imports both and
/// maps the service to a name below its own: a message arrived a second time, as a
/// request with a token missing in its subject. It must arrive once.
#[test]
fn nats_server_4674_a_message_does_not_come_back_through_the_service() {
    let config = "accounts {\n\
         site { users: [ { user: s, password: s } ], exports: [ { stream: \"ev.>\" }, { service: \"ev.>\" } ] }\n\
         hub { users: [ { user: h, password: h } ], imports: [\n\
           { stream: { account: site, subject: \"ev.>\" }, prefix: site }\n\
           { service: { account: site, subject: \"ev.>\" }, to: \"site.ev.>\" } ] }\n}\n";
    for builder in both() {
        let broker = builder.config(config).start();
        let (mut site, mut hub) = (user(&broker, "s", "s"), user(&broker, "h", "h"));
        site.send("SUB > 1\r\n");
        site.sync();
        hub.send("SUB > 1\r\n");
        hub.sync();
        let mut sender = user(&broker, "s", "s");
        sender.send(publish("ev.door.7", 2));
        sender.sync();
        assert_eq!(lines(&site.sync()), ["MSG ev.door.7 1 2"]);
        // There it arrives as a stream message, once.
        let received = subjects(&hub.sync());
        assert_eq!(received, ["site.ev.door.7"], "{received:?}");
    }
}

/// Two accounts export the same subject; an account that imported both got only the last
/// one. Both must arrive.
#[test]
fn nats_server_1273_the_same_stream_import_from_two_accounts_delivers_both() {
    let config = "accounts {\n\
         north { users: [ { user: n, password: n } ], exports: [ { stream: \"temp.>\" } ] }\n\
         south { users: [ { user: s, password: s } ], exports: [ { stream: \"temp.>\" } ] }\n\
         all { users: [ { user: a, password: a } ], imports: [\n\
           { stream: { account: north, subject: \"temp.>\" } }\n\
           { stream: { account: south, subject: \"temp.>\" } } ] }\n}\n";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut all = user(&broker, "a", "a");
        all.send("SUB temp.* 1\r\n");
        all.sync();
        for name in ["n", "s"] {
            let mut sender = user(&broker, name, name);
            sender.send(publish(&format!("temp.{name}"), 1));
            sender.sync();
        }
        let mut received = subjects(&all.sync());
        received.sort();
        assert_eq!(received, ["temp.n", "temp.s"]);
    }
}

/// The same with a service was refused as a duplicate. Both must serve, and the replies
/// of both arrive.
#[test]
fn nats_server_6704_the_same_service_import_from_two_accounts_reaches_both() {
    let config = "accounts {\n\
         one { users: [ { user: o, password: o } ], exports: [ { service: \"time.now\" } ] }\n\
         two { users: [ { user: t, password: t } ], exports: [ { service: \"time.now\" } ] }\n\
         asks { users: [ { user: a, password: a } ], imports: [\n\
           { service: { account: one, subject: \"time.now\" } }\n\
           { service: { account: two, subject: \"time.now\" } } ] }\n}\n";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut servers = ["o", "t"].map(|name| {
            let mut server = user(&broker, name, name);
            server.send("SUB time.now 1\r\n");
            server.sync();
            server
        });
        let mut asks = user(&broker, "a", "a");
        asks.send("SUB in.* 1\r\nPUB time.now in.1 0\r\n\r\n");
        asks.sync();
        for (index, server) in servers.iter_mut().enumerate() {
            answer(server, &format!("answer {index}"));
        }
        let mut bodies: Vec<Vec<u8>> = (0..2).map(|_| asks.next_message().body).collect();
        bodies.sort();
        assert_eq!(bodies, [b"answer 0".to_vec(), b"answer 1".to_vec()]);
    }
}

/// Answers the next request.
fn answer(server: &mut RawClient, text: &str) {
    let request = server.next_message();
    let reply = reply_of(&request);
    server.send(format!("PUB {reply} {}\r\n{text}\r\n", text.len()));
    server.sync();
}

/// The reply subject of a request.
fn reply_of(request: &Frame) -> String {
    let arguments = request.arguments();
    let from_the_end = if request.verb() == b"HMSG" { 3 } else { 2 };
    arguments[arguments.len() - from_the_end].clone()
}

/// Accounts that import from each other: after some starts everything connected and
/// subscribed, but no message arrived until the next start. Every start must work, in any
/// order of connections.
#[test]
fn nats_server_5480_accounts_that_import_from_each_other_work_after_every_start() {
    const ACCOUNTS: usize = 10;
    let part = |at: usize| {
        format!(
            "part{at} {{ users: [ {{ user: p{at}, password: p }} ]\n exports: [ {{ stream: \
             \"internal.*\" }} ]\n imports: [ {{ stream: {{ account: main, subject: \
             \"city.{at}-1.*\" }} }} ] }}\n"
        )
    };
    let internal =
        |at: usize| format!("{{ stream: {{ account: part{at}, subject: \"internal.{at}\" }} }}\n");
    let config = format!(
        "accounts {{\n main {{ users: [ {{ user: m, password: m }} ]\n exports: [ {{ stream: \
         \"city.>\" }} ]\n imports: [\n {} ] }}\n {} }}\n",
        (0..ACCOUNTS).map(internal).collect::<String>(),
        (0..ACCOUNTS).map(part).collect::<String>()
    );
    for start in 0..6 {
        let broker = Broker::midge().config(config.clone()).start();
        let listen = |at: usize| {
            let mut part = user(&broker, &format!("p{at}"), "p");
            part.send("SUB city.> 1\r\n");
            part.sync();
            part
        };
        // Some of them connect before the account that they import from, each time more.
        let mut parts: Vec<RawClient> = (0..start).map(listen).collect();
        let mut main = user(&broker, "m", "m");
        main.send("SUB internal.> 1\r\n");
        main.sync();
        parts.extend((start..ACCOUNTS).map(listen));
        for at in 0..ACCOUNTS {
            main.send(publish(&format!("city.{at}-1.news"), 1));
        }
        main.sync();
        for (at, part) in parts.iter_mut().enumerate() {
            assert_eq!(subjects(&part.sync()), [format!("city.{at}-1.news")]);
            part.send(publish(&format!("internal.{at}"), 1) + &publish("internal.other", 1));
            part.sync();
            assert_eq!(subjects(&main.sync()), [format!("internal.{at}")]);
        }
    }
}

/// A service with only a permission to respond could reply within its own account but not
/// to other accounts.
#[test]
fn nats_server_1486_a_responder_can_reply_to_other_accounts() {
    let config = "accounts {\n\
         serves { users: [ { user: s, password: s, permissions: { subscribe: { allow: api.v1 }, \
           publish: { allow: log.s }, allow_responses: true } }, { user: near, password: n } ]\n\
           exports: [ { service: api.v1 } ] }\n\
         asks { users: [ { user: far, password: f } ], imports: [ { service: { account: serves, \
           subject: api.v1 }, to: remote.api } ] }\n}\n";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut server = user(&broker, "s", "s");
        server.send("SUB api.v1 1\r\n");
        server.sync();
        for (name, password, subject) in [("near", "n", "api.v1"), ("far", "f", "remote.api")] {
            let mut asks = user(&broker, name, password);
            asks.send(format!("SUB in.1 1\r\nPUB {subject} in.1 0\r\n\r\n"));
            asks.sync();
            answer(&mut server, "yes");
            assert_eq!(asks.next_message().body, b"yes");
            // Once only.
            server.send("PUB in.1 2\r\nno\r\n");
            let reported = lines(&server.sync());
            assert!(
                reported.concat().contains("Permissions Violation"),
                "{reported:?}"
            );
            assert!(asks.sync().is_empty());
        }
    }
}

/// `/accountz` showed an imported service the wrong way round: as if the local subject
/// were that of the other account. `subject` is the exported subject, `local_subject` the
/// name in this account.
#[test]
fn nats_server_4144_accountz_shows_imports_the_right_way_round() {
    let config = "accounts {\n\
         cloud { exports: [ { service: \"down.>\" }, { stream: \"up.>\" } ] }\n\
         app { imports: [ { service: { account: cloud, subject: \"down.>\" }, to: \"event.>\" }\n\
           { stream: { account: cloud, subject: \"up.>\" }, to: \"seen.>\" } ] }\n}\n";
    for builder in both() {
        let broker = builder.config(config).start();
        let accountz = broker.get_json("/accountz?acc=app");
        let imports = accountz["account_detail"]["imports"].as_array().cloned();
        let imports = imports.unwrap_or_default();
        for (kind, there, here) in [
            ("service", "down.>", "event.>"),
            ("stream", "up.>", "seen.>"),
        ] {
            let ours = |it: &&Value| it["account"] == "cloud" && it["type"] == kind;
            let import = imports.iter().find(ours).expect("the import");
            assert_eq!(import["subject"], there, "{import}");
            assert_eq!(import["local_subject"], here, "{import}");
        }
    }
}

/// Requests to another account over a route, with a queue group on the reply subject: the
/// replies were dropped. Choria's clients read replies this way.
#[test]
fn nats_server_847_replies_over_a_route_reach_a_queue_group() {
    let accounts = "accounts {\n\
         serves { users: [ { user: s, password: s } ], exports: [ { service: facts } ] }\n\
         asks { users: [ { user: a, password: a } ], imports: [ { service: { account: serves, subject: facts } } ] }\n}";
    for kinds in [
        [Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats],
        [Kind::Nats, Kind::Midge],
    ] {
        let ports = [free_port(), free_port()];
        let members: Vec<_> = (0..2)
            .map(|at| {
                let mut plan = Plan::new(kinds[at], &format!("n{at}"), ports[at], &[ports[1 - at]]);
                plan.config = accounts.into();
                plan.start()
            })
            .collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        let (here, there): (&Broker, &Broker) = (&members[0].broker, &members[1].broker);
        let mut server = user(there, "s", "s");
        server.send("SUB facts 1\r\n");
        server.sync();
        // The client has one connection to send requests with and others to receive
        // replies.
        let mut receivers = [here, here, there].map(|broker| {
            let mut receiver = user(broker, "a", "a");
            receiver.send("SUB in.7 readers 1\r\n");
            receiver.sync();
            receiver
        });
        let mut asks = user(here, "a", "a");
        // Requests sent before the service was known are lost; several may be on their way
        // when the first arrives.
        let mut answered = 0;
        wait_until(&format!("{kinds:?}: the service is known"), || {
            asks.send("PUB facts in.7 0\r\n\r\n");
            asks.sync();
            let received = server.sync();
            for request in received.iter().filter(|frame| frame.is_message()) {
                server.send(format!("PUB {} 2\r\nok\r\n", reply_of(request)));
                answered += 1;
            }
            server.sync();
            answered > 0
        });
        for _ in 0..40 {
            asks.send("PUB facts in.7 0\r\n\r\n");
            answer(&mut server, "ok");
            answered += 1;
        }
        let mut received = 0;
        wait_until(&format!("{kinds:?}: all answers are there"), || {
            received += receivers
                .iter_mut()
                .map(|it| subjects(&it.sync()).len())
                .sum::<usize>();
            received >= answered
        });
        assert_eq!(received, answered, "{kinds:?}");
    }
}
