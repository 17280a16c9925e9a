//! Imports and exports over a mesh, compared with a mesh of nats-servers: who receives
//! what, with which subject and reply, and what is counted at which member.
//!
//! `MIDGE_BORDERS_SEED` repeats the generated scripts of a failed run, which prints its
//! seed. `MIDGE_BORDERS_ROUNDS` generates more of them.

use super::scripted_clients::{Cast, ScriptedClients};
use crate::accounts::comparison::log_in;
use test_support::mesh::Kind;

/// Meshes of two members; the first is the reference.
const PAIRS: [&[Kind]; 4] = [
    &[Kind::Nats, Kind::Nats],
    &[Kind::Midge, Kind::Midge],
    &[Kind::Midge, Kind::Nats],
    &[Kind::Nats, Kind::Midge],
];

/// Meshes of three members; the first is the reference.
const TRIPLES: [&[Kind]; 4] = [
    &[Kind::Nats, Kind::Nats, Kind::Nats],
    &[Kind::Midge, Kind::Midge, Kind::Midge],
    &[Kind::Midge, Kind::Nats, Kind::Midge],
    &[Kind::Nats, Kind::Midge, Kind::Nats],
];

/// The number of the client and what it sends.
type Line = (usize, String);

/// Runs a script in one of these meshes; returns what was received and counted.
fn run_script(kinds: &[Kind], accounts: &str, cast: Cast<'_>, script: &[Line]) -> Vec<String> {
    let mut scripted = ScriptedClients::new(kinds, accounts, cast);
    let mut seen = scripted.play(script);
    let mut counted = scripted.counted("msgs");
    if !seen.iter().any(|line| line.contains("<rtt>")) {
        counted.extend(scripted.counted("bytes"));
    }
    seen.extend(
        counted
            .iter()
            .map(|(what, count)| format!("{what}: {count}")),
    );
    seen
}

/// All meshes give the same result as the first.
#[track_caller]
fn all_play_the_same(
    meshes: &[&[Kind]],
    accounts: &str,
    cast: Cast<'_>,
    script: &[Line],
) -> Vec<String> {
    let wanted = run_script(meshes[0], accounts, cast, script);
    for kinds in &meshes[1..] {
        let seen = run_script(kinds, accounts, cast, script);
        for (at, (ours, theirs)) in seen.iter().zip(&wanted).enumerate() {
            assert_eq!(
                ours,
                theirs,
                "{kinds:?}, then {:?}, behind {:#?}\nof {accounts}\n{cast:?}",
                meshes[0],
                &wanted[at.saturating_sub(120)..at]
            );
        }
        assert_eq!(
            seen.len(),
            wanted.len(),
            "{kinds:?}: {accounts}\n{cast:?}\n{seen:#?}"
        );
    }
    wanted
}

fn lines(script: &[(usize, &str)]) -> Vec<Line> {
    let line = |(number, words): &(usize, &str)| (*number, (*words).to_owned());
    script.iter().map(line).collect()
}

const SERVICE: &str = "
  A { users: [ { user: a, password: a } ], imports: [ { service: { account: B, subject: svc } } ] }
  B { users: [ { user: b, password: b } ], exports: [ { service: svc, accounts: [A] } ] }
";

/// A requester at one member may receive the reply at another.
#[test]
fn a_reply_reaches_its_inbox_at_any_member() {
    let script = lines(&[
        (0, "SUB svc 1"),
        (1, "SUB _INBOX.x.r 7"),
        (2, "PUB svc _INBOX.x.r 4\r\nhelp"),
        (1, "PUB svc _INBOX.x.r 4\r\nhelp"),
    ]);
    let cast: [&[(usize, &str)]; 3] = [
        &[(0, "b"), (0, "a"), (1, "a")],
        &[(0, "b"), (1, "a"), (0, "a")],
        &[(1, "b"), (2, "a"), (0, "a")],
    ];
    for (cast, meshes) in cast.iter().zip([PAIRS, PAIRS, TRIPLES]) {
        let seen = all_play_the_same(&meshes, SERVICE, cast, &script);
        let answered = |line: &&String| line.starts_with("1: MSG _INBOX.x.r 7");
        assert_eq!(seen.iter().filter(answered).count(), 2, "{seen:#?}");
    }
}

/// Every message over a route is counted for its account at both ends, with its bytes.
#[test]
fn route_traffic_is_counted_by_account() {
    let accounts = "
  A { users: [ { user: a, password: a } ], exports: [ { stream: \"s.>\" } ] }
  B { users: [ { user: b, password: b } ], imports: [ { stream: { account: A, subject: \"s.>\" } } ] }
";
    let script = lines(&[
        (0, "SUB s.x 1"),
        (1, "SUB s.x q 2"),
        (2, "SUB s.* 3"),
        (3, "SUB other 4"),
        (0, "PUB s.x 3\r\nabc"),
        (1, "HPUB s.x 12 15\r\nNATS/1.0\r\n\r\nabc"),
        (2, "PUB s.x 5\r\nabcde"),
        (2, "PUB other 5\r\nabcde"),
        (0, "PUB nobody 5\r\nabcde"),
    ]);
    let cast = [(0, "a"), (1, "a"), (1, "b"), (0, "b")];
    all_play_the_same(&PAIRS, accounts, &cast, &script);
    let cast = [(0, "a"), (1, "a"), (2, "b"), (0, "b")];
    all_play_the_same(&TRIPLES, accounts, &cast, &script);
}

/// A member without a connection of an account does not reply about it, except to
/// requests that include such members.
#[test]
fn a_server_without_connections_of_an_account_does_not_reply() {
    let accounts = "
  A { users: [ { user: a, password: a } ] }
  B { users: [ { user: b, password: b } ] }
  $SYS { users: [ { user: s, password: s } ] }
";
    for kinds in PAIRS {
        let scripted = ScriptedClients::new(kinds, accounts, &[(0, "a")]);
        for member in &scripted.members {
            let mut client = log_in(&member.broker, "s");
            client.send("SUB in.* 1\r\n");
            for (number, (request, options, answers)) in [
                ("A.STATZ", "", 1),
                ("A.STATZ", "{\"include_unused\":true}", 2),
                ("B.STATZ", "", 0),
                ("B.STATZ", "{\"include_unused\":true}", 2),
                ("A.CONNS", "", 1),
                ("B.CONNS", "", 0),
                ("PING.STATZ", "{\"accounts\":[\"A\"]}", 1),
                ("PING.STATZ", "{\"accounts\":[\"B\"]}", 0),
                (
                    "PING.STATZ",
                    "{\"accounts\":[\"B\"],\"include_unused\":true}",
                    2,
                ),
            ]
            .into_iter()
            .enumerate()
            {
                let len = options.len();
                client.send(format!(
                    "PUB $SYS.REQ.ACCOUNT.{request} in.{number} {len}\r\n{options}\r\n"
                ));
                for _ in 0..answers {
                    let answer = String::from_utf8_lossy(&client.next_message().line).into_owned();
                    assert!(
                        answer.contains(&format!(" in.{number} ")),
                        "{kinds:?}: {answer}"
                    );
                }
            }
            // Excess replies would have arrived before these.
            client.send("PUB $SYS.REQ.SERVER.PING.IDZ in.last 0\r\n\r\n");
            for _ in 0..2 {
                let answer = String::from_utf8_lossy(&client.next_message().line).into_owned();
                assert!(answer.contains(" in.last "), "{kinds:?}: {answer}");
            }
        }
    }
}

/// A service request to another account does not return as a message of an imported
/// stream, even if both are configured: neither to members of a queue group nor to
/// others.
#[test]
fn service_requests_do_not_return_as_stream_messages() {
    let accounts = "
  A { users: [ { user: a, password: a } ]
      imports: [ { service: { account: B, subject: svc } }, { stream: { account: B, subject: \">\" } } ] }
  B { users: [ { user: b, password: b } ], exports: [ { service: svc }, { stream: \">\" } ] }
";
    let cast = [(0, "b"), (0, "a"), (1, "a"), (1, "b")];
    let often = |kinds: &[Kind]| {
        let mut scripted = ScriptedClients::new(kinds, accounts, &cast);
        for (number, words) in [(0, "SUB svc q 1"), (1, "SUB svc q 2"), (1, "SUB > 3")] {
            scripted.says(number, words);
        }
        [0, 1, 2, 3].map(|number| scripted.says_often(number, "PUB svc 1\r\nx"))
    };
    let wanted = often(PAIRS[0]);
    for kinds in &PAIRS[1..] {
        assert_eq!(often(kinds), wanted, "{kinds:?}");
    }
}

/// An account may import its own service; a request is delivered once.
#[test]
fn an_account_can_import_its_own_service() {
    let accounts = "
  A { users: [ { user: a, password: a } ]
      exports: [ { service: svc }, { service: other } ]
      imports: [ { service: { account: A, subject: svc } }
                 { service: { account: A, subject: other }, to: mine } ] }
";
    let script = lines(&[
        (0, "SUB svc 1"),
        (1, "SUB in.> 2"),
        (2, "SUB other 3"),
        (1, "PUB svc in.1 1\r\nx"),
        (2, "PUB svc in.2 1\r\nx"),
        (0, "PUB mine in.3 1\r\nx"),
        (0, "PUB svc 1\r\nx"),
    ]);
    all_play_the_same(&PAIRS, accounts, &[(0, "a"), (0, "a"), (1, "a")], &script);
}

/// Exports, imports, prefixes, mappings, clients and messages are random.
#[test]
fn generated_scripts_give_the_same_result() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("MIDGE_BORDERS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("MIDGE_BORDERS_ROUNDS").unwrap_or(4);
    for round in 0..rounds {
        let seed = seed + round;
        // Printed if the test fails.
        println!("MIDGE_BORDERS_SEED={seed} MIDGE_BORDERS_ROUNDS=1");
        let mut random = fastrand::Rng::with_seed(seed);
        let meshes = [PAIRS, TRIPLES][random.usize(..2)];
        let play = Play::draw(&mut random, meshes[0].len());
        let cast: Vec<(usize, &str)> = play.cast.clone();
        all_play_the_same(&meshes, &play.accounts, &cast, &play.script);
    }
}

/// A random script with its accounts and clients.
struct Play {
    accounts: String,
    cast: Vec<(usize, &'static str)>,
    script: Vec<Line>,
}

/// Subjects that a client of the account may use.
const SUBJECTS: [&str; 14] = [
    "svc",
    "svc.a",
    "svc.b",
    "many.a",
    "own.svc",
    "own.a",
    "ask.b",
    "str.a",
    "str.b.c",
    "pre.str.a",
    "mine.a",
    "map.me",
    "map.it.a",
    "deep",
];

/// Subjects of subscriptions.
const PATTERNS: [&str; 12] = [
    "svc", "svc.*", "many.>", "own.>", "str.>", "str.*", "pre.>", "mine.*", "b.>", "c.>", ">",
    "mapped.>",
];

impl Play {
    fn draw(random: &mut fastrand::Rng, members: usize) -> Self {
        let accounts = accounts(random);
        let users = ["a", "a", "b", "b", "c", "c"];
        let cast: Vec<(usize, &'static str)> = users
            .iter()
            .map(|user| (random.usize(..members), *user))
            .collect();
        let mut script = Vec::new();
        for number in 0..cast.len() {
            script.push((number, format!("SUB in.{number} 99")));
        }
        let mut sid = 0;
        for _ in 0..30 {
            let number = random.usize(..cast.len());
            if random.u8(..3) == 0 {
                sid += 1;
                let subject = *pick(random, &PATTERNS);
                // A group of one member: which member of a larger group gets a message is
                // random.
                let queue = match random.u8(..4) {
                    0 => format!("q{sid} "),
                    _ => String::new(),
                };
                script.push((number, format!("SUB {subject} {queue}{sid}")));
                // With imports, nats-server continues beyond the maximum; A has no
                // imports.
                if cast[number].1 == "a" && random.u8(..4) == 0 {
                    script.push((number, format!("UNSUB {sid} 2")));
                }
            } else {
                let subject = *pick(random, &SUBJECTS);
                // The client's own inbox, or one at another member.
                let inbox = match random.u8(..4) {
                    0 => String::new(),
                    1 => format!("in.{} ", number ^ 1),
                    _ => format!("in.{number} "),
                };
                script.push((
                    number,
                    match random.bool() {
                        true => format!("PUB {subject} {inbox}2\r\nhi"),
                        false => {
                            format!("HPUB {subject} {inbox}18 20\r\nNATS/1.0\r\na: b\r\n\r\nhi")
                        }
                    },
                ));
            }
        }
        Self {
            accounts,
            cast,
            script,
        }
    }
}

fn pick<'a, T>(random: &mut fastrand::Rng, list: &'a [T]) -> &'a T {
    &list[random.usize(..list.len())]
}

/// Three accounts: A exports, B imports from A and exports again, C imports from both.
fn accounts(random: &mut fastrand::Rng) -> String {
    let response = |random: &mut fastrand::Rng| match random.bool() {
        true => ", response: stream",
        false => "",
    };
    let offers = format!(
        "{{ service: svc{} }}, {{ service: \"svc.*\"{} }}, {{ service: \"many.>\", response: stream }}, \
         {{ stream: \"str.>\" }}",
        response(random),
        response(random)
    );
    // One of each kind, or none.
    let share = |random: &mut fastrand::Rng| [", share: true", ""][random.usize(..2)];
    let mut taken = Vec::new();
    for way in [
        pick(
            random,
            &[
                "",
                "{ service: { account: A, subject: svc }SHARE }",
                "{ service: { account: A, subject: svc }, to: own.svc }",
            ],
        ),
        pick(
            random,
            &[
                "",
                "{ service: { account: A, subject: \"svc.*\" }, to: \"own.*\" }",
                "{ service: { account: A, subject: \"svc.b\" }, to: ask.b }",
            ],
        ),
        pick(
            random,
            &["", "{ service: { account: A, subject: \"many.>\" }SHARE }"],
        ),
        pick(
            random,
            &[
                "",
                "{ stream: { account: A, subject: \"str.>\" } }",
                "{ stream: { account: A, subject: \"str.a\" }, prefix: pre }",
                "{ stream: { account: A, subject: \"str.*\" }, to: \"mine.$1\" }",
            ],
        ),
    ] {
        if !way.is_empty() {
            taken.push(way.replace("SHARE", share(random)));
        }
    }
    let c: Vec<&str> = [
        pick(
            random,
            &[
                "",
                "{ service: { account: A, subject: svc }, to: deep }",
                "{ service: { account: B, subject: own.svc }, to: deep }",
            ],
        ),
        pick(
            random,
            &[
                "",
                "{ stream: { account: B, subject: \"str.>\" }, prefix: b }",
                "{ stream: { account: A, subject: \"str.>\" }, prefix: c }",
            ],
        ),
    ]
    .into_iter()
    .copied()
    .filter(|way| !way.is_empty())
    .collect();
    let mut mappings = |on: &str| match random.usize(..3) {
        0 => String::new(),
        1 => format!("mappings {{ \"map.me\": \"{on}\" }}"),
        _ => "mappings { \"map.it.*\": \"mapped.$1\", \"svc.a\": \"svc.b\" }".into(),
    };
    format!(
        "A {{ users: [ {{ user: a, password: a }} ], exports: [ {offers} ]\n {} }}\n\
         B {{ users: [ {{ user: b, password: b }} ], imports: [ {} ]\n\
            exports: [ {{ service: own.svc }}, {{ stream: \"str.>\" }} ]\n {} }}\n\
         C {{ users: [ {{ user: c, password: c }} ], imports: [ {} ]\n {} }}",
        mappings("svc"),
        taken.join(", "),
        mappings("own.svc"),
        c.join(", "),
        mappings("deep"),
    )
}
