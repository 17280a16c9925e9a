//! A reload leaves the broker in the same state as a fresh start with the new file, and
//! every peer that would still be accepted stays connected. The configurations are
//! random; each is applied and reverted, with clients here and at another member of the
//! mesh.
//!
//! `MIDGE_RELOAD_CASES` runs more of them, `MIDGE_RELOAD_SEED` repeats those of a failed
//! run.

use std::{collections::BTreeMap, env, time::Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use test_support::{Frame, PATIENCE, RawClient, wait_until};
use test_support::{
    free_port,
    mesh::{Kind, Member, Plan, wait_for_mesh},
};

/// Subjects that clients publish to and, apart from wildcards, subscribe to.
const SUBJECTS: [&str; 8] = ["a.x", "a.y", "b.x", "s.1", "in.s.1", "svc", "m", "mapped"];

/// Subscriptions, by sid, and whether in a queue group, which is the client's own: which
/// of several members gets a message is random.
const WANTED: [(&str, bool); 9] = [
    ("a.x", false),
    ("a.*", false),
    (">", false),
    ("b.x", false),
    ("s.>", false),
    ("in.s.1", false),
    ("svc", false),
    ("mapped", false),
    ("a.y", true),
];

/// The clients: name and password.
const CLIENTS: [(&str, &str); 6] = [
    ("u0", "p0"),
    ("u1", "p0"),
    ("u1", "p1"),
    ("u2", "p0"),
    ("", ""),
    ("u0", "p0"),
];

/// A random configuration.
fn configuration(rng: &mut Rng) -> String {
    let patterns = [
        "\"a.*\"",
        "a.x",
        "\"b.>\"",
        "\"s.>\"",
        "svc",
        "\">\"",
        "\"in.>\"",
        "m",
        "\"a.y q0\"",
    ];
    let some = |rng: &mut Rng, queues: bool| -> String {
        let of = patterns.len() - usize::from(!queues);
        let chosen: Vec<&str> = (0..rng.usize(1..4))
            .map(|_| patterns[rng.usize(..of)])
            .collect();
        chosen.join(", ")
    };
    let rules = |rng: &mut Rng, queues: bool| match rng.u8(..4) {
        0 => format!("{{ allow: [{}] }}", some(rng, queues)),
        1 => format!("{{ deny: [{}] }}", some(rng, queues)),
        2 => format!("{{ allow: [\">\"], deny: [{}] }}", some(rng, queues)),
        _ => format!("[{}]", some(rng, queues)),
    };
    let mut accounts: BTreeMap<&str, Vec<String>> = BTreeMap::from([("A", vec![]), ("B", vec![])]);
    let mut names = Vec::new();
    for name in ["u0", "u1", "u2"] {
        if rng.u8(..5) == 0 {
            continue;
        }
        let mut user = format!(
            "user: {name}, password: p{}",
            u8::from(name == "u1" && rng.bool())
        );
        if rng.bool() {
            let mut permissions = Vec::new();
            if rng.bool() {
                permissions.push(format!("publish: {}", rules(rng, false)));
            }
            if rng.bool() {
                permissions.push(format!("subscribe: {}", rules(rng, true)));
            }
            if rng.u8(..4) == 0 {
                permissions.push("allow_responses: true".into());
            }
            user += &format!(", permissions: {{ {} }}", permissions.join(", "));
        }
        let account = if rng.bool() { "A" } else { "B" };
        names.push(name);
        accounts
            .entry(account)
            .or_default()
            .push(format!("{{ {user} }}"));
    }
    let mut text = format!("max_payload: {}\n", 100 + rng.u32(..3));
    if rng.bool() {
        text += &format!("max_subscriptions: {}\n", [0, 6, 20][rng.usize(..3)]);
    }
    if !names.is_empty() && rng.bool() {
        text += &format!("no_auth_user: {}\n", names[rng.usize(..names.len())]);
    }
    let streams = [
        "",
        "{ stream: { account: A, subject: \"s.>\" } }",
        "{ stream: { account: A, subject: \"s.>\" }, prefix: in }",
    ];
    let services = ["", "{ service: { account: A, subject: svc } }"];
    let mut imports = vec![streams[rng.usize(..3)], services[rng.usize(..2)]];
    imports.retain(|import| !import.is_empty());
    let mapped = [
        "",
        "mappings { m: mapped }",
        "mappings { m: a.x, a.y: b.x }",
    ];
    text += &format!(
        "accounts {{\n A {{ users: [{}], exports: [{{ stream: \"s.>\" }}, {{ service: svc }}]\n {} }}\n B {{ \
         users: [{}], imports: [{}]\n {} }}\n SYS {{ users: [{{ user: sys, password: p }}] \
         }}\n}}\nsystem_account: SYS\n",
        accounts["A"].join(", "),
        mapped[rng.usize(..3)],
        accounts["B"].join(", "),
        imports.join(", "),
        mapped[rng.usize(..3)],
    );
    let mut cluster = Vec::new();
    for direction in ["import", "export"] {
        if rng.bool() {
            // The barrier is always permitted.
            let allow = format!("allow: [barrier, \"$SYS.>\", {}]", some(rng, false));
            let deny = format!("deny: [{}]", some(rng, false).replace("\">\"", "b.y"));
            cluster.push(match rng.u8(..3) {
                0 => format!("{direction}: {{ {allow} }}"),
                1 => format!("{direction}: {{ {deny} }}"),
                _ => format!("{direction}: {{ {allow}, {deny} }}"),
            });
        }
    }
    let cluster = cluster.join(", ");
    // After a marker, since it belongs in another block.
    format!("{text}#cluster permissions {{ {cluster} }}")
}

/// The other member, which does not change.
const OTHERS: &str = "accounts {
 A { users: [{ user: pa, password: p }] }
 B { users: [{ user: pb, password: p }] }
 SYS { users: [{ user: sys, password: p }] }
}
system_account: SYS";

/// The broker under test, another member of its mesh, and their clients.
struct Scene {
    member: Member,
    other: Member,
    plan: Plan,
    /// By index in [`CLIENTS`].
    clients: BTreeMap<usize, RawClient>,
    others: Vec<RawClient>,
    /// Clients of the system account at both members.
    barriers: [RawClient; 2],
}

impl Scene {
    fn new(configuration: &str) -> Self {
        let ports = [free_port(), free_port()];
        let plan = Plan::new(Kind::Midge, "looked-at", ports[0], &[]);
        let member = plan.start_with(text(&plan, configuration));
        let mut other = Plan::new(Kind::Midge, "other", ports[1], &ports[..1]);
        other.config = OTHERS.into();
        let other = other.start();
        wait_for_mesh(&[&member, &other]);
        let mut others: Vec<RawClient> = Vec::new();
        for (index, name) in ["pa", "pb"].into_iter().enumerate() {
            let mut client = connect(&other, name, "p").expect("the client is accepted");
            let all: Vec<usize> = (0..WANTED.len()).collect();
            client.send(subscriptions(CLIENTS.len() + index, &all));
            client.sync();
            others.push(client);
        }
        let barriers = [&member, &other].map(|member| {
            let mut client = connect(member, "sys", "p").expect("the client is accepted");
            client.send("SUB barrier 1\r\n");
            client.sync();
            client
        });
        wait_until("both are reported", || {
            member.knows("barrier") && other.knows("barrier")
        });
        Self {
            member,
            other,
            plan,
            clients: BTreeMap::new(),
            others,
            barriers,
        }
    }

    /// Connects these clients, as far as they are accepted, and subscribes each to its
    /// part of [`WANTED`].
    fn connect(&mut self, who: &BTreeMap<usize, Vec<usize>>) {
        for (index, sids) in who {
            let (name, password) = CLIENTS[*index];
            if let Some(mut client) = connect(&self.member, name, password) {
                client.send(subscriptions(*index, sids));
                client.sync();
                self.clients.insert(*index, client);
            }
        }
    }

    /// The connected clients, and the subscriptions of each.
    fn present(&self) -> BTreeMap<usize, Vec<usize>> {
        let connz = self.member.broker.get_json("/connz?subs=detail");
        let connections = connz["connections"].as_array().cloned().unwrap_or_default();
        let mut present = BTreeMap::new();
        for (index, client) in &self.clients {
            let port = client.local_port();
            let Some(known) = connections.iter().find(|known| known["port"] == port) else {
                continue;
            };
            let list = known["subscriptions_list_detail"].as_array();
            let sids = list
                .into_iter()
                .flatten()
                .filter_map(|it| it["sid"].as_str());
            let mut sids: Vec<usize> = sids.filter_map(|sid| sid.parse().ok()).collect();
            sids.sort();
            present.insert(*index, sids);
        }
        present
    }

    /// The messages that each client at both members receives when all publish, and the
    /// errors.
    fn exchange(&mut self) -> BTreeMap<String, Vec<Frame>> {
        let mut got: BTreeMap<String, Vec<Frame>> = BTreeMap::new();
        let here = self.clients.iter_mut();
        let here = here.map(|(index, client)| (format!("client {index}"), client));
        let there = self.others.iter_mut().enumerate();
        let there = there.map(|(index, client)| (format!("other {index}"), client));
        let mut all: Vec<(String, &mut RawClient)> = here.chain(there).collect();
        for (name, client) in &mut all {
            for subject in SUBJECTS {
                client.send(format!("PUB {subject} {}\r\n{name}\r\n", name.len()));
            }
            got.entry(name.clone()).or_default().extend(client.sync());
        }
        // Everything sent before has arrived with these.
        for from in 0..2 {
            self.barriers[from].send("PUB barrier 0\r\n\r\n");
            self.barriers[from].sync();
            self.barriers[1 - from].next_message();
        }
        for (name, client) in &mut all {
            let got = got.entry(name.clone()).or_default();
            got.extend(client.sync());
            // Pings arrive at any time.
            got.retain(|frame| frame.is_message() || frame.verb() == b"-ERR");
            // The order between several publishers is not defined.
            got.sort();
        }
        got
    }

    /// The monitoring data that must be the same on both brokers.
    fn monitored(&self) -> Value {
        let broker = &self.member.broker;
        let varz = broker.get_json("/varz");
        let kept = [
            "auth_required",
            "max_payload",
            "max_subscriptions",
            "connections",
            "tls_required",
        ];
        let varz: Value = kept.iter().map(|key| (*key, varz[key].clone())).collect();
        let connz = broker.get_json("/connz?auth=1&subs=1&sort=cid");
        let connections = connz["connections"].as_array().cloned().unwrap_or_default();
        let connections: Vec<Value> = self
            .clients
            .iter()
            .filter_map(|(index, client)| {
                let port = client.local_port();
                let known = connections.iter().find(|known| known["port"] == port)?;
                let user = &known["authorized_user"];
                Some(json!([
                    index,
                    user,
                    known["account"],
                    sorted(&known["subscriptions_list"])
                ]))
            })
            .collect();
        let accounts = broker.get_json("/accountz")["accounts"].clone();
        let routes = |member: &Member| {
            let routes = member.routes();
            let reported = |route: &Value| {
                json!({
                    "subscriptions": route["subscriptions"],
                    "list": sorted(&route["subscriptions_list"]),
                    "import": route["import"],
                    "export": route["export"],
                })
            };
            routes.iter().map(reported).collect::<Vec<_>>()
        };
        json!({
            "varz": varz,
            "connections": connections,
            "accounts": accounts,
            "routes": routes(&self.member),
            "routes of the other": routes(&self.other),
        })
    }
}

/// Sorted subjects, without the ids of brokers.
fn sorted(list: &Value) -> Vec<String> {
    let texts = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let is_upper = |token: &str| {
        token
            .bytes()
            .all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
    };
    // The whole id, or as much of it as names a broker in subjects of measured services.
    let is_id =
        |token: &&str| matches!(token.len(), 16 | 56) && token.starts_with('N') && is_upper(token);
    let without_ids = |text: &str| -> String {
        let tokens = text
            .split('.')
            .map(|token| if is_id(&token) { "ID" } else { token });
        tokens.collect::<Vec<_>>().join(".")
    };
    let mut texts: Vec<String> = texts.map(without_ids).collect();
    texts.sort();
    texts
}

fn text(plan: &Plan, configuration: &str) -> String {
    let (config, cluster) = configuration.split_once('#').expect("both parts");
    let cluster = cluster.strip_prefix("cluster ").expect("the mark");
    let whole = plan
        .text()
        .replace("name: mesh", &format!("name: mesh\n  {cluster}"));
    format!("{whole}\n{config}")
}

fn connect(member: &Member, name: &str, password: &str) -> Option<RawClient> {
    let mut client = RawClient::connect(member.broker.client_addr());
    let who = match name {
        "" => String::new(),
        name => format!(",\"user\":\"{name}\",\"pass\":\"{password}\""),
    };
    client.send(format!("CONNECT {{\"verbose\":false{who}}}\r\nPING\r\n"));
    loop {
        match client.next_frame()?.line {
            line if line == b"PONG" => return Some(client),
            _ => {}
        }
    }
}

fn subscriptions(client: usize, sids: &[usize]) -> String {
    let line = |sid: &usize| match WANTED[*sid] {
        (subject, true) => format!("SUB {subject} q{client} {sid}\r\n"),
        (subject, false) => format!("SUB {subject} {sid}\r\n"),
    };
    sids.iter().map(line).collect()
}

/// One reload: compares with a broker that starts with the new file.
fn check(scene: &mut Scene, configuration: &str) {
    let before = scene.present();
    scene.member.reload(&text(&scene.plan, configuration));
    let mut fresh = Scene::new(configuration);
    fresh.connect(&before);
    let mut expected = fresh.present();
    let max = fresh.member.broker.get_json("/varz")["max_subscriptions"].as_u64();
    if let Some(max) = max {
        // A client with too many subscriptions is closed, as in nats-server.
        let is_over = |index: &usize| before[index].len() as u64 > max;
        expected.retain(|index, _| !is_over(index));
        fresh.clients.retain(|index, _| !is_over(index));
    }
    wait_until("the same clients stay as with a fresh start", || {
        scene.present() == expected
    });
    wait_until("the fresh start has as many clients", || {
        fresh.present() == expected
    });
    let gone: Vec<usize> = scene
        .clients
        .keys()
        .copied()
        .filter(|it| !expected.contains_key(it))
        .collect();
    for index in gone {
        scene
            .clients
            .remove(&index)
            .expect("it was there")
            .read_to_end();
    }
    for (index, client) in &mut scene.clients {
        let removed = before[index].len() - expected[index].len();
        let reported = client.sync();
        let complaints = reported
            .iter()
            .filter(|frame| frame.verb() == b"-ERR")
            .count();
        assert_eq!(complaints, removed, "client {index}: {reported:?}");
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (one, other) = (scene.monitored(), fresh.monitored());
        if one == other {
            break;
        }
        if Instant::now() > deadline {
            assert_eq!(one, other, "what monitoring says");
        }
    }
    let (mut one, mut other) = (scene.exchange(), fresh.exchange());
    for (name, got) in &mut one {
        let expected = other.get_mut(name).expect("the same client");
        let both: Vec<Frame> = got
            .iter()
            .filter(|it| expected.contains(it))
            .cloned()
            .collect();
        if got != expected {
            got.retain(|frame| !both.contains(frame));
            expected.retain(|frame| !both.contains(frame));
            panic!("{name} got {got:?} after the reload, {expected:?} after a fresh start");
        }
    }
}

#[test]
fn a_reload_equals_a_fresh_start() {
    let number = |name: &str, usual: u64| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(usual)
    };
    let seed = number("MIDGE_RELOAD_SEED", 1);
    let mut rng = Rng::with_seed(seed);
    let first = configuration(&mut rng);
    let mut scene = Scene::new(&first);
    let mut current = first;
    for case in 0..number("MIDGE_RELOAD_CASES", 8) {
        let next = configuration(&mut rng);
        println!("seed {seed}, case {case}:\n{current}\n---- to\n{next}");
        scene.clients.clear();
        wait_until("they have disconnected", || {
            scene.member.broker.get_json("/connz")["num_connections"] == 1
        });
        let all = (0..CLIENTS.len()).map(|index| (index, (0..WANTED.len()).collect()));
        scene.connect(&all.collect());
        check(&mut scene, &next);
        println!("and back");
        check(&mut scene, &current);
        check(&mut scene, &next);
        current = next;
    }
}
