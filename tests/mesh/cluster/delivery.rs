//! A message published at one member reaches the subscribers at the others exactly once
//! and complete, with queue groups, replies and headers.

use std::time::Duration;

use test_support::mesh::{self, Kind, Member};
use test_support::{Frame, RawClient, free_port, raw_client::Next, wait_until};

/// The client receives nothing more before the PONG.
#[track_caller]
fn expect_silence(client: &mut RawClient) {
    match client.poll_frame(Duration::from_millis(100)) {
        Next::Nothing => {}
        other => panic!("something came: {other:?}"),
    }
}

#[track_caller]
fn subscribe(member: &Member, others: &[&Member], subject: &str) -> RawClient {
    let mut client = member.client();
    client.send(format!("SUB {subject} 1\r\n"));
    client.sync();
    for other in others {
        wait_until(&format!("{} knows of {subject}", other.name), || {
            other.knows(subject)
        });
    }
    client
}

fn line(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.line).into_owned()
}

/// Every pair of a mesh, in both directions: messages, replies, headers, large payloads.
pub fn every_way(members: &[Member]) {
    for (from, to) in pairs(members) {
        let subject = format!("way.{}.{}", from.name, to.name);
        let mut subscriber = subscribe(to, &[from], &subject);
        let mut publisher = from.client();
        let large = "x".repeat(300_000);
        publisher.send(format!("PUB {subject} 5\r\nhello\r\n"));
        publisher.send(format!("PUB {subject} answer.here 0\r\n\r\n"));
        publisher.send(format!(
            "HPUB {subject} 17 21\r\nNATS/1.0\r\na: b\r\n\rbody\r\n"
        ));
        publisher.send(format!("PUB {subject} {}\r\n{large}\r\n", large.len()));
        publisher.send(format!("PUB {subject} 3\r\nend\r\n"));
        let expected = [
            (format!("MSG {subject} 1 5"), "hello".to_owned()),
            (format!("MSG {subject} 1 answer.here 0"), String::new()),
            (
                format!("HMSG {subject} 1 17 21"),
                "NATS/1.0\r\na: b\r\n\rbody".into(),
            ),
            (format!("MSG {subject} 1 300000"), large.clone()),
            (format!("MSG {subject} 1 3"), "end".into()),
        ];
        for (expected_line, body) in expected {
            let frame = subscriber.next_message();
            assert_eq!(line(&frame), expected_line, "{} to {}", from.name, to.name);
            assert_eq!(frame.body, body.as_bytes());
        }
        expect_silence(&mut subscriber);
    }
}

fn pairs(members: &[Member]) -> impl Iterator<Item = (&Member, &Member)> {
    members.iter().flat_map(move |from| {
        let others = members.iter().filter(move |to| to.name != from.name);
        others.map(move |to| (from, to))
    })
}

#[test]
fn messages_cross_a_mesh_of_mixed_brokers() {
    let members = mesh::start(&[Kind::Midge, Kind::Midge, Kind::Nats, Kind::Nats29]);
    every_way(&members);
    requests(&members);
    queue_groups(&members);
    interest_ends(&members);
}

/// A request is answered by a service at another member; without one the requester gets a
/// no-responders reply immediately at every member.
fn requests(members: &[Member]) {
    for (from, to) in pairs(members) {
        let service = format!("service.{}.{}", from.name, to.name);
        let mut client = from.client();
        client.send("SUB inbox.* 7\r\n");
        client.send(format!("PUB {service} inbox.none 0\r\n\r\n"));
        let nobody = client.next_message();
        assert!(nobody.body.starts_with(b"NATS/1.0 503"), "{nobody:?}");
        let mut server = subscribe(to, &[from], &service);
        client.send(format!("PUB {service} inbox.one 2\r\nhi\r\n"));
        let request = server.next_message();
        assert_eq!(line(&request), format!("MSG {service} 1 inbox.one 2"));
        // The requester's inbox is known here before its request arrives.
        server.send("PUB inbox.one 3\r\nyes\r\n");
        let answer = client.next_message();
        assert_eq!(
            (line(&answer), &*answer.body),
            ("MSG inbox.one 7 3".into(), &b"yes"[..])
        );
    }
}

/// One member of a queue group gets each message, at whichever broker it is.
fn queue_groups(members: &[Member]) {
    const COUNT: usize = 300;
    for from in members {
        let others: Vec<&Member> = members.iter().filter(|to| to.name != from.name).collect();
        let subject = format!("work.{}", from.name);
        // One, two and three members.
        let mut workers: Vec<RawClient> = others.iter().map(|member| member.client()).collect();
        for (index, worker) in workers.iter_mut().enumerate() {
            for sid in 0..=index {
                worker.send(format!("SUB {subject} crew {sid}\r\n"));
            }
            worker.sync();
        }
        wait_until("all workers are known", || {
            from.knowing(&subject) == others.len()
        });
        // The weights follow the first interest in a group.
        for member in &others {
            let mut client = member.client();
            client.sync();
        }
        let mut publisher = from.client();
        publisher.send("SUB inbox.> 1\r\n");
        let mut text = String::new();
        for number in 0..COUNT {
            let reply = ["", "inbox.x "][number % 2];
            text.push_str(&format!("PUB {subject} {reply}4\r\n{number:04}\r\n"));
        }
        publisher.send(text);
        assert!(
            publisher.sync().is_empty(),
            "no message was without a worker"
        );
        let mut taken = vec![0; COUNT];
        let counts: Vec<usize> = workers
            .iter_mut()
            .map(|worker| {
                let mut count = 0;
                while let Next::Frame(frame) = worker.poll_frame(Duration::from_millis(300)) {
                    let number = String::from_utf8_lossy(&frame.body).parse::<usize>();
                    taken[number.expect("a number")] += 1;
                    count += 1;
                }
                count
            })
            .collect();
        assert!(
            taken.iter().all(|count| *count == 1),
            "{}: {taken:?}",
            from.name
        );
        assert!(
            counts.iter().all(|count| *count > 10),
            "{}: {counts:?}",
            from.name
        );
    }
}

/// A removed subscription is removed everywhere; nothing is sent for it.
fn interest_ends(members: &[Member]) {
    for (from, to) in pairs(members) {
        let subject = format!("gone.{}.{}", from.name, to.name);
        let mut subscriber = subscribe(to, &[from], &subject);
        subscriber.send("UNSUB 1\r\n");
        wait_until("the unsubscribe is known", || !from.knows(&subject));
        subscriber.send(format!("SUB {subject} 1\r\nUNSUB 1 2\r\n"));
        subscriber.sync();
        wait_until("the new subscription is known", || from.knows(&subject));
        let mut publisher = from.client();
        publisher.send(format!("PUB {subject} 1\r\n1\r\nPUB {subject} 1\r\n2\r\n").repeat(2));
        assert_eq!(subscriber.next_message().body, b"1");
        assert_eq!(subscriber.next_message().body, b"2");
        expect_silence(&mut subscriber);
        wait_until("its unsubscribe is known too", || !from.knows(&subject));
    }
}

/// Accounts stay separate across the mesh, and imports are served by the exporting
/// account's clients at any member.
#[test]
fn accounts_stay_separate_across_a_mesh() {
    const ACCOUNTS: &str = "accounts {\n  A { users: [{user: a, password: a}]\n    exports: [{service: \"help.*\"}, {stream: \"news.>\"}] }\n  B { users: [{user: b, password: b}]\n    imports: [{service: {account: A, subject: \"help.*\"}}, {stream: {account: A, subject: \"news.>\"}}] }\n}";
    let ports = [free_port(), free_port(), free_port()];
    let kinds = [Kind::Midge, Kind::Midge, Kind::Nats];
    let members: Vec<Member> = kinds
        .into_iter()
        .enumerate()
        .map(|(index, kind)| {
            let mut plan = mesh::Plan::new(kind, &format!("n{index}"), ports[index], &ports);
            plan.config = ACCOUNTS.into();
            plan.start()
        })
        .collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    for (from, to) in pairs(&members) {
        let login = |member: &Member, name: &str| {
            let mut client = RawClient::connect(member.broker.client_addr());
            client.send(format!(
                "CONNECT {{\"user\":\"{name}\",\"pass\":\"{name}\",\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\n"
            ));
            client
        };
        let way = format!("{}{}", from.name, to.name);
        let (mut a, mut b) = (login(to, "a"), login(to, "b"));
        a.send(format!("SUB own.{way} 1\r\nSUB help.{way} 2\r\n"));
        b.send(format!("SUB own.{way} 1\r\nSUB news.{way} 3\r\n"));
        a.sync();
        b.sync();
        wait_until("all is known", || {
            from.knowing(&format!("own.{way}")) == 2
                && from.knows(&format!("help.{way}"))
                && from.knows(&format!("news.{way}"))
        });
        login(from, "a").send(format!("PUB own.{way} 1\r\na\r\nPUB news.{way} 1\r\nn\r\n"));
        assert_eq!(a.next_message().body, b"a", "{way}");
        assert_eq!(b.next_message().body, b"n", "{way}");
        let mut asker = login(from, "b");
        asker.send(format!("SUB inbox 9\r\nPUB help.{way} inbox 2\r\nhi\r\n"));
        let request = a.next_message();
        assert!(request.body.ends_with(b"hi"), "{way}: {request:?}");
        let reply = request.arguments()[2].clone();
        a.send(format!("PUB {reply} 3\r\nyes\r\n"));
        assert_eq!(asker.next_message().body, b"yes", "{way}");
        expect_silence(&mut b);
    }
}

/// Class "redirect" of nats-server's advisories (2026-15, -20): a header makes
/// nats-servers publish a derived message. A nats-server that receives it over a route
/// relies on midge to have checked the sender's permission, and to have removed the
/// header from messages that leave an account.
#[test]
fn permissions_also_apply_to_messages_for_other_members() {
    const ACCOUNTS: &str = "accounts {\n  A { users: [ {user: a, password: a}, {user: limited, password: limited, permissions: {publish: \"ok.>\"}} ]\n    imports: [{service: {account: B, subject: help}}] }\n  B { users: [{user: b, password: b}]\n    exports: [{service: help}] }\n}";
    let ports = [free_port(), free_port()];
    let start = |(index, kind): (usize, Kind)| {
        let mut plan = mesh::Plan::new(kind, &format!("n{index}"), ports[index], &ports);
        plan.config = ACCOUNTS.into();
        plan.start()
    };
    let [midge, nats] = [(0, Kind::Midge), (1, Kind::Nats)].map(start);
    mesh::wait_for_mesh(&[&midge, &nats]);
    let login = |member: &Member, name: &str| {
        let mut client = RawClient::connect(member.broker.client_addr());
        client.send(format!(
            "CONNECT {{\"user\":\"{name}\",\"pass\":\"{name}\",\"verbose\":false,\"headers\":true}}\r\n"
        ));
        client
    };
    let (mut a, mut b) = (login(&nats, "a"), login(&nats, "b"));
    a.send("SUB ok.> 1\r\nSUB secret.> 2\r\n");
    b.send("SUB help 1\r\nSUB secret.> 2\r\n");
    a.sync();
    b.sync();
    wait_until("all is known", || {
        midge.knows("ok.>") && midge.knows("help")
    });
    let traced = |subject: &str, dest: &str| {
        let headers = format!("NATS/1.0\r\nNats-Trace-Dest: {dest}\r\n\r\n");
        let len = headers.len();
        format!("HPUB {subject} {len} {}\r\n{headers}x\r\n", len + 1)
    };
    let mut limited = login(&midge, "limited");
    limited.send(traced("ok.a", "secret.a"));
    let reported = limited.sync();
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert_eq!(
        reported[0].line,
        b"-ERR 'Permissions Violation for Publish to \"secret.a\"'"
    );
    limited.send(traced("ok.a", "ok.trace") + "PUB ok.end 0\r\n\r\n");
    assert!(limited.sync().is_empty());
    // Where it is permitted, both members do it.
    let mut seen: Vec<String> = (0..4)
        .map(|_| a.next_message().arguments()[0].clone())
        .collect();
    seen.sort();
    assert_eq!(seen, ["ok.a", "ok.end", "ok.trace", "ok.trace"]);
    let mut asker = login(&midge, "a");
    asker.send(traced("help", "secret.b") + "PUB help 3\r\nend\r\n");
    for end in ["x", "end"] {
        let request = b.next_message();
        assert_eq!(request.arguments()[0], "help");
        assert!(request.body.ends_with(end.as_bytes()), "{request:?}");
    }
    // The account of the service does not allow traces, so they stay in the requester's.
    assert_eq!(a.next_message().arguments()[0], "secret.b");
    expect_silence(&mut a);
    expect_silence(&mut b);
}

/// The metrics count local subscriptions, in total and by account; `/varz` includes the
/// peers' interest, as nats-server does.
#[test]
fn metrics_count_local_subscriptions_only() {
    let members = mesh::start(&[Kind::Midge, Kind::Midge]);
    let _subscriber = subscribe(&members[0], &[&members[1]], "a.b");
    let sum = |member: &Member, name: &str| -> u64 {
        let metrics = member.broker.get("/metrics").body;
        let series = metrics.lines().filter(|line| line.starts_with(name));
        let values = series.filter_map(|line| line.rsplit(' ').next());
        values
            .map(|value| value.parse::<u64>().expect("a number"))
            .sum()
    };
    for (member, count) in members.iter().zip([1, 0]) {
        assert_eq!(sum(member, "midge_subscriptions "), count);
        assert_eq!(sum(member, "midge_account_subscriptions{"), count);
        let all = member.broker.get_json("/varz")["subscriptions"].clone();
        assert!(all.as_u64() > Some(count), "{all}");
    }
}
