//! `/pathz`: what it predicts is what delivery does, and it says why.

use std::{collections::BTreeSet, fmt::Write};

use monitor_client::{PathQueue, PathWay, Pathz};
use test_support::{
    Broker, Frame, RawClient,
    mesh::{self, Kind, Member, Plan},
    ports::free_port,
    wait_until,
};

/// Accounts with all that changes the way of a message.
const CONFIG: &str = r#"
authorization { timeout: 60 }
accounts {
  A {
    users: [
      { user: a, password: p }
      { user: limited, password: p, permissions: {
          publish: { allow: ["a.>", "b.*", "m.*"], deny: ["a.secret"] }
          subscribe: { deny: ["a.x", "b.y q"] } } }
      { user: certified, password: p, permissions: { publish: "{{certname}}.>" } }
    ]
    mappings {
      "m.one": "a.x"
      "m.drawn": [ { destination: "a.x", weight: "50%" }, { destination: "b.y", weight: "30%" } ]
      "m.deep.*": [ { destination: "a.$1", weight: "50%" }, { destination: "svc.one", weight: "50%" } ]
    }
    exports: [ { stream: "a.>" }, { service: "svc.*" } ]
  }
  B {
    users: [ { user: b, password: p } ]
    mappings { "alias": "req.one" }
    imports: [
      { stream: { account: A, subject: "a.>" }, prefix: "from" }
      { service: { account: A, subject: "svc.one" }, to: "req.one" }
    ]
  }
  C {
    users: [ { user: c, password: p } ]
    imports: [ { stream: { account: A, subject: "a.*" } } ]
  }
}
"#;

const PATTERNS: &[&str] = &[
    "a.x", "a.y", "a.*", "a.>", ">", "*.y", "b.y", "svc.one", "svc.*", "from.a.>", "from.a.x",
    "req.one", "m.one",
];

const SUBJECTS: &[&str] = &[
    "a.x", "a.y", "a.secret", "b.y", "m.one", "m.drawn", "m.deep.x", "m.deep.q", "svc.one",
    "req.one", "alias", "from.a.x", "nobody",
];

/// A subscriber or publisher.
struct Client {
    cid: u64,
    connection: RawClient,
}

fn log_in(broker: &Broker, user: &str, options: &str) -> Client {
    let mut connection = RawClient::connect(broker.client_addr());
    connection.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"user\":\"{user}\",\"pass\":\"p\"{options}}}\r\n"
    ));
    connection.sync();
    Client {
        cid: connection.info()["client_id"].as_u64().expect("a cid"),
        connection,
    }
}

fn ask(broker: &Broker, query: &str) -> Pathz {
    let answer = broker.get(&format!("/pathz?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    serde_json::from_str(&answer.body).expect("an answer")
}

/// A delivery: the client, its id for the subscription, and the subject.
type Delivery = (u64, String, String);

/// The messages among these frames of a client.
fn deliveries(cid: u64, frames: &[Frame]) -> Vec<Delivery> {
    let messages = frames.iter().filter(|frame| frame.is_message());
    let deliveries = messages.map(|frame| {
        let words = frame.arguments();
        (cid, words[1].clone(), words[0].clone())
    });
    deliveries.collect()
}

/// What these clients have received.
fn received(clients: &mut [Client]) -> BTreeSet<Delivery> {
    let mut all = BTreeSet::new();
    for client in clients {
        for delivery in deliveries(client.cid, &client.connection.sync()) {
            assert!(
                all.insert(delivery.clone()),
                "delivered twice: {delivery:?}"
            );
        }
    }
    all
}

/// The ways that one message may take together: one destination of each mapping.
fn alternatives(ways: &[PathWay]) -> Vec<Vec<&PathWay>> {
    fn of<'a>(ways: &'a [PathWay], at: &'a PathWay) -> Vec<Vec<&'a PathWay>> {
        let next = || ways.iter().filter(|way| way.from == Some(at.id));
        let (mapped, all): (Vec<_>, Vec<_>) = next().partition(|way| way.step == "mapping");
        if !mapped.is_empty() {
            assert!(all.is_empty() && at.subscriptions.is_empty() && at.queues.is_empty());
            let sum: u64 = mapped.iter().map(|way| way.weight).sum();
            assert_eq!(sum, 100);
            return mapped.into_iter().flat_map(|way| of(ways, way)).collect();
        }
        let mut together = vec![vec![at]];
        for way in all {
            let each = of(ways, way);
            together = together
                .iter()
                .flat_map(|before| each.iter().map(|more| [&before[..], more].concat()))
                .collect();
        }
        together
    }
    ways.first()
        .map_or(vec![Vec::new()], |first| of(ways, first))
}

/// Those of these deliveries that a queue group's members had.
fn of_queue(queue: &PathQueue, deliveries: &BTreeSet<Delivery>) -> Vec<Delivery> {
    let members = queue.members.iter().filter(|member| member.gets);
    let possible = members.map(|it| (it.cid, it.sid.clone(), it.subject.clone()));
    possible.filter(|it| deliveries.contains(it)).collect()
}

/// Whether the deliveries at both members are what these ways predict. `other` tells what the other
/// member has for a subject in an account.
fn fits(
    ways: &[&PathWay],
    here: &BTreeSet<Delivery>,
    there: &BTreeSet<Delivery>,
    other: &dyn Fn(&PathWay) -> PathWay,
) -> Result<(), String> {
    let (mut left_here, mut left_there) = (here.clone(), there.clone());
    for way in ways {
        let remote = other(way);
        let sees = way.members.iter().any(|member| member.gets);
        for (list, left) in [
            (&way.subscriptions, &mut left_here),
            (&remote.subscriptions, &mut left_there),
        ] {
            for row in list.iter().filter(|row| row.gets) {
                let delivery = (row.cid, row.sid.clone(), row.subject.clone());
                if !left.remove(&delivery) {
                    return Err(format!("not delivered: {delivery:?} at {}", way.subject));
                }
            }
        }
        if !sees && remote.delivered > 0 {
            return Err(format!(
                "{} is not seen to have subscribers there",
                way.subject
            ));
        }
        let names = way.queues.iter().chain(&remote.queues);
        let names: BTreeSet<&str> = names.map(|queue| &*queue.queue).collect();
        for name in names {
            let called = |queues: &[PathQueue]| {
                let found = queues.iter().find(|queue| queue.queue == name);
                found.cloned().unwrap_or_default()
            };
            let (ours, theirs) = (called(&way.queues), called(&remote.queues));
            let had_here = of_queue(&ours, &left_here);
            let had_there = of_queue(&theirs, &left_there);
            let may_there = ours.peers.iter().any(|peer| peer.candidate);
            // Drawn for the other member, it is lost if none may get it there.
            let is_lost = may_there && theirs.candidates == 0;
            let least = usize::from(ours.candidates + theirs.candidates > 0 && !is_lost);
            let total = had_here.len() + had_there.len();
            if total > 1 || total < least || (!may_there && !had_there.is_empty()) {
                return Err(format!(
                    "queue group {name} of {}: {had_here:?}, {had_there:?}",
                    way.subject
                ));
            }
            left_here.retain(|it| !had_here.contains(it));
            left_there.retain(|it| !had_there.contains(it));
        }
    }
    match left_here.is_empty() && left_there.is_empty() {
        true => Ok(()),
        false => Err(format!("not predicted: {left_here:?}, {left_there:?}")),
    }
}

/// A client for each of some users, with subscriptions drawn at random.
fn subscribers(random: &mut fastrand::Rng, broker: &Broker) -> Vec<Client> {
    let users = [
        ("a", ""),
        ("a", ",\"echo\":false"),
        ("limited", ""),
        ("b", ""),
        ("c", ""),
    ];
    let mut clients = Vec::new();
    for (user, options) in users {
        let mut client = log_in(broker, user, options);
        let mut lines = String::new();
        for sid in 0..random.usize(..4) {
            let pattern = random.choice(PATTERNS).expect("a pattern");
            let queue = random.choice(["", "", "q", "r"]).expect("a queue");
            let _ = write!(lines, "SUB {pattern} {queue} {sid}\r\n");
        }
        client.connection.send(lines);
        client.connection.sync();
        clients.push(client);
    }
    clients
}

/// Two members with the same accounts.
fn two_members(cluster: &str) -> [Member; 2] {
    let ports = [free_port(), free_port()];
    let members = [("east", 0), ("west", 1)].map(|(name, index)| {
        let mut plan = Plan::new(Kind::Midge, name, ports[index], &ports);
        plan.config = CONFIG.into();
        plan.cluster += cluster;
        plan.start()
    });
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    members
}

/// A client at the other member that learns that all before has arrived there.
fn watcher(member: &Member, user: &str) -> Client {
    let mut client = log_in(&member.broker, user, "");
    client.connection.send("SUB end 1\r\n");
    client.connection.sync();
    client
}

/// Subscriptions, queue groups, permissions, mappings, imports and two members, drawn at random:
/// each message goes where `/pathz` said just before.
#[test]
fn what_is_predicted_is_what_delivery_does() {
    let mut random = fastrand::Rng::with_seed(22);
    let (mut delivered, mut refused, mut drawn) = (0, 0, 0);
    for (cluster, rounds) in [("", 12), ("\n  queue_policy: local", 5)] {
        let [east, west] = two_members(cluster);
        let mut watchers = ["a", "b", "c"].map(|user| (user, watcher(&west, user)));
        let mut ready = 0;
        for _ in 0..rounds {
            let mut here = subscribers(&mut random, &east.broker);
            let mut there = subscribers(&mut random, &west.broker);
            for (_, watcher) in &mut watchers {
                ready += 1;
                let subject = format!("ready.{ready}");
                watcher
                    .connection
                    .send(format!("SUB {subject} r{ready}\r\n"));
                watcher.connection.sync();
                wait_until("interest is known", || east.knows(&subject));
            }
            for index in 0..here.len() {
                let user = ["a", "a", "limited", "b", "c"][index];
                for subject in SUBJECTS {
                    let cid = here[index].cid;
                    let pathz = ask(&east.broker, &format!("subject={subject}&cid={cid}"));
                    here[index]
                        .connection
                        .send(format!("PUB {subject} 2\r\nhi\r\nPUB end 0\r\n\r\n"));
                    let frames = here[index].connection.sync();
                    let is_refused = frames.iter().any(|frame| {
                        let line = String::from_utf8_lossy(&frame.line).into_owned();
                        line.contains("Permissions Violation") && line.contains(subject)
                    });
                    assert_eq!(is_refused, !pathz.permitted, "{user} {subject}: {pathz:?}");
                    let of_account = match user {
                        "limited" => None,
                        user => Some(user),
                    };
                    // That user may not publish the end: it is sent by the one before.
                    let of_account = of_account.unwrap_or("a");
                    let mut at_east = BTreeSet::from_iter(deliveries(cid, &frames));
                    if user == "limited" {
                        here[0].connection.send("PUB end 0\r\n\r\n");
                        let frames = here[0].connection.sync();
                        at_east.extend(deliveries(here[0].cid, &frames));
                    }
                    let watcher = watchers.iter_mut().find(|(user, _)| *user == of_account);
                    watcher.expect("a watcher").1.connection.next_message();
                    at_east.extend(received(&mut here));
                    let mut at_west = received(&mut there);
                    for deliveries in [&mut at_east, &mut at_west] {
                        // Subscriptions to everything get the end as well.
                        deliveries.retain(|(_, _, subject)| subject != "end");
                    }
                    let other = |way: &PathWay| {
                        if way.subject.is_empty() {
                            return PathWay::default();
                        }
                        let query =
                            format!("routed=1&subject={}&account={}", way.subject, way.account);
                        let mut answer = ask(&west.broker, &query);
                        answer.ways.swap_remove(0)
                    };
                    let mut why = Vec::new();
                    let ways = alternatives(&pathz.ways);
                    drawn += usize::from(ways.len() > 1);
                    let found = ways.iter().any(|ways| {
                        fits(ways, &at_east, &at_west, &other)
                            .map_err(|reason| why.push(reason))
                            .is_ok()
                    });
                    assert!(
                        found,
                        "{user} {subject}: {why:?}\n{pathz:#?}\n{at_east:?}\n{at_west:?}"
                    );
                    delivered += at_east.len() + at_west.len();
                    refused += usize::from(is_refused);
                }
            }
            drop((here, there));
            east.broker.wait_for_connections(0);
            west.broker.wait_for_connections(watchers.len() as u64);
        }
    }
    assert!(
        delivered > 500 && refused > 50 && drawn > 100,
        "{delivered} {refused} {drawn}"
    );
}

/// The reasons are those of the configuration, and nothing is sent by asking.
#[test]
fn the_reasons_are_told() {
    let [east, west] = two_members("");
    let mut shop = log_in(&east.broker, "a", ",\"name\":\"shop\",\"echo\":false");
    let subscriptions = "SUB a.x 1\r\nSUB a.* q 2\r\n";
    shop.connection.send(subscriptions);
    let mut limited = log_in(&east.broker, "limited", ",\"name\":\"till\"");
    limited.connection.send("SUB a.* 1\r\n");
    let mut importer = log_in(&west.broker, "b", "");
    importer.connection.send("SUB from.a.x 1\r\n");
    for client in [&mut shop, &mut limited, &mut importer] {
        client.connection.sync();
    }
    wait_until("interest is known", || east.knows("a.x"));
    let text = |query: &str| {
        let answer = east.broker.get(&format!("/pathz?format=text&{query}"));
        (answer.status, answer.body)
    };
    let (cid, limited_cid) = (shop.cid, limited.cid);
    for (query, status, parts) in [
        (
            format!("subject=a.x&cid={cid}"),
            200,
            vec![
                format!(
                    "east: a message to a.x from cid {cid}, user a (account A) reaches 1 receiver"
                ),
                "permission: the user has no restrictions".into(),
                format!(
                    "cid {cid} shop, subscribed to a.x, does not get it: Not delivered because of no echo"
                ),
                format!(
                    "cid {limited_cid} till, subscribed to a.*, does not get it: Not delivered because \
                         subscription denies this subject: subscribe.deny \"a.x\""
                ),
                "queue group q: no member can take it (0 of 1 member here)".into(),
                "broker west gets it for its subscribers".into(),
                "note: account C imports this stream as a.x, and nobody there has subscribed to it"
                    .into(),
            ],
        ),
        (
            "subject=m.drawn&user=limited".into(),
            200,
            vec![
                "from user limited (account A) reaches 0 to 3 receivers".into(),
                "permission: allowed by publish.allow \"m.*\"".into(),
                "  mapping m.drawn to a.x: a.x in account A (50 % of the messages)".into(),
                "  mapping m.drawn to b.y: b.y in account A (30 % of the messages)".into(),
                "    nobody has subscribed to it".into(),
                "  mapping m.drawn to m.drawn: m.drawn in account A (20 % of the messages)".into(),
            ],
        ),
        (
            "subject=a.secret&user=limited".into(),
            200,
            vec!["reaches nobody\npermission: denied by publish.deny \"a.secret\"".into()],
        ),
        (
            "subject=other&user=limited".into(),
            200,
            vec!["permission: denied: no rule of publish.allow matches".into()],
        ),
        (
            "subject=web.x&user=certified&certname=web".into(),
            200,
            vec!["permission: allowed by publish.allow \"web.>\"".into()],
        ),
        (
            "subject=web.x&user=certified".into(),
            400,
            vec!["give 'certname'".into()],
        ),
        (
            "subject=alias&account=B".into(),
            200,
            vec![
                "permission: no user was asked about".into(),
                "    import of the service req.one of account A: svc.one in account A".into(),
            ],
        ),
        (
            "subject=$SYS.REQ.USER.INFO&user=a".into(),
            200,
            vec![
                "reaches 1 receiver".into(),
                "  the broker itself answers".into(),
            ],
        ),
        (
            "subject=a.*".into(),
            400,
            vec!["'subject' \"a.*\" is not one".into()],
        ),
        (
            "subject=a&user=nobody".into(),
            400,
            vec!["has no user \"nobody\"".into()],
        ),
        (
            "subject=a&account=Z".into(),
            400,
            vec!["there is no account \"Z\"".into()],
        ),
        (
            "subject=a&cid=99".into(),
            400,
            vec!["no client has the cid 99".into()],
        ),
        (
            "subject=a&cid=1&user=a".into(),
            400,
            vec!["give one of".into()],
        ),
        (
            format!("subject={}", "x".repeat(5000)),
            400,
            vec!["'subject' has 5000 bytes".into()],
        ),
        ("".into(), 200, vec!["no subject is given".into()]),
    ] {
        let (told, body) = text(&query);
        assert_eq!(told, status, "{query}: {body}");
        for part in parts {
            assert!(body.contains(&part), "{query}: {part}: {body}");
        }
    }
    for client in [&mut shop, &mut limited, &mut importer] {
        let frames = client.connection.sync();
        assert_eq!(deliveries(client.cid, &frames), [], "nothing was sent");
    }
    let varz = east.broker.get_json("/varz");
    assert_eq!(
        (&varz["in_msgs"], &varz["out_msgs"]),
        (&0.into(), &0.into())
    );
}

/// Of many subscriptions a bounded number is listed; all are counted.
#[test]
fn the_list_is_bounded_and_the_counts_are_not() {
    let broker = Broker::midge().start();
    let mut client = broker.connect();
    let mut lines = String::new();
    for sid in 0..3000 {
        let queue = match sid % 3 {
            0 => String::new(),
            _ => format!("q{}", sid % 1500),
        };
        let _ = write!(lines, "SUB a.b {queue} {sid}\r\n");
    }
    client.send(lines);
    client.sync();
    let pathz = ask(&broker, "subject=a.b&limit=10");
    let way = &pathz.ways[0];
    assert_eq!((way.delivered, pathz.receivers), (1000, 2000));
    assert_eq!((way.subscriptions.len(), way.queues.len()), (10, 0));
    assert_eq!(pathz.left_out, 3000 - 10 + 1000);
}
