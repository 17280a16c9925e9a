//! Imports and exports between accounts, and mapping of subjects.

use super::comparison::Comparison;
use test_support::Broker;

const USERS: &[&str] = &["a", "b", "c"];

/// A exports; B and C import in every possible way.
const CONFIG: &str = r#"
accounts {
  A {
    users: [ { user: a, password: a } ]
    exports: [
      { stream: "s.>" }
      { service: "q.>" }
      { service: "many.*", response: stream }
      { stream: "own.*", accounts: [B] }
    ]
    mappings {
      "map.me": "mapped.to"
      "map.*.*": "mapped.$2.$1"
      "part.*": "part.{{wildcard(1)}}.{{partition(7,1)}}"
      "lost": [ { destination: "found", weight: 0 }, { destination: "lost", weight: 0 } ]
      "half": [ { destination: "half.a", weight: 50% }, { destination: "half.b", weight: 50% } ]
    }
  }
  B {
    users: [ { user: b, password: b } ]
    imports: [
      { stream: { account: A, subject: "s.plain" } }
      { stream: { account: A, subject: "s.pre.*" }, prefix: "from.a" }
      { stream: { account: A, subject: "s.to.*.*" }, to: "to.$2.$1" }
      { stream: { account: A, subject: "s.rest.>" }, to: "rest.>" }
      { stream: { account: A, subject: "s.one" }, to: "another" }
      { stream: { account: A, subject: "own.b" } }
      { service: { account: A, subject: "q.plain" } }
      { service: { account: A, subject: "q.to.*.*" }, to: "ask.*.*" }
      { service: { account: A, subject: "q.shared" }, share: true, to: shared }
      { service: { account: A, subject: "q.any" }, to: "any.*" }
      { service: { account: A, subject: "many.x" } }
      { service: { account: A, subject: "q.twice" } }
    ]
    exports: [ { service: "q.twice" }, { stream: "s.plain" } ]
  }
  C {
    users: [ { user: c, password: c } ]
    imports: [
      { service: { account: B, subject: "q.twice" }, to: "deep" }
      { stream: { account: B, subject: "s.plain" }, to: "deep.s" }
    ]
  }
}
"#;

#[test]
fn stream_imports_apply_prefixes_and_renames() {
    let mut stage = Comparison::new(CONFIG, USERS);
    let seen = stage.plays_the_same(&[
        (1, "SUB s.plain 1"),
        (1, "SUB from.a.s.pre.* 2"),
        (1, "SUB to.*.x 3"),
        (1, "SUB rest.> 4"),
        (1, "SUB > 5"),
        (1, "SUB another q 6"),
        (1, "SUB own.b 7"),
        (2, "SUB > 8"),
        (0, "PUB s.plain 1\r\nx"),
        (0, "PUB s.pre.k r.x 1\r\nx"),
        (0, "PUB s.to.x.y 1\r\nx"),
        (0, "HPUB s.to.y.x 12 13\r\nNATS/1.0\r\n\r\nx"),
        (0, "PUB s.rest.u.v 1\r\nx"),
        (0, "PUB s.one 1\r\nx"),
        (0, "PUB own.b 1\r\nx"),
        (0, "PUB own.c 1\r\nx"),
        (0, "PUB s.none reply 1\r\nx"),
        (1, "UNSUB 5"),
        (1, "UNSUB 4"),
        (0, "PUB s.rest.u.v 1\r\nx"),
        (0, "PUB s.plain 1\r\nx"),
        (1, "UNSUB 1"),
        (0, "PUB s.plain 1\r\nx"),
    ]);
    let delivered = seen
        .iter()
        .filter(|line| line.starts_with("1: MSG"))
        .count();
    assert!(delivered > 10, "{seen:#?}");
}

/// nats-server keeps a subscription to an import open beyond its maximum; midge ends it
/// at the maximum that the client set.
#[test]
fn a_subscription_to_an_import_ends_at_its_maximum() {
    let mut stage = Comparison::new(CONFIG, USERS);
    let seen = stage.midge.play(&[
        (1, "SUB rest.*.* 9"),
        (1, "UNSUB 9 2"),
        (
            0,
            "PUB s.rest.u.v 1\r\nx\r\nPUB s.rest.u.w 1\r\nx\r\nPUB s.rest.u.x 1\r\nx",
        ),
        (0, "PUB s.rest.u.y 1\r\nx"),
    ]);
    assert_eq!(seen, ["1: MSG rest.u.v 9 | x", "1: MSG rest.u.w 9 | x"]);
    let detail = stage.midge.broker.get_json("/accountz?acc=A");
    assert_eq!(
        detail["account_detail"]["subscriptions"], 0,
        "no shadow stays"
    );
}

#[test]
fn queue_group_members_share_imported_messages() {
    let mut stage = Comparison::new(CONFIG, USERS);
    stage.plays_the_same(&[
        (1, "SUB s.plain workers 1"),
        (0, "PUB s.plain 1\r\nx"),
        (0, "SUB s.* workers 2"),
    ]);
    for side in [&mut stage.midge, &mut stage.nats] {
        let seen = side.publish(0, &"PUB s.plain 1\r\nx\r\n".repeat(200));
        let (here, there): (Vec<_>, Vec<_>) = seen.iter().partition(|line| line.starts_with("0:"));
        assert_eq!(
            here.len() + there.len(),
            200,
            "one member takes each message"
        );
        assert!(
            here.len() > 20 && there.len() > 20,
            "{} {}",
            here.len(),
            there.len()
        );
    }
}

#[test]
fn requests_reach_an_imported_service_and_replies_return() {
    let mut stage = Comparison::new(CONFIG, USERS);
    stage.plays_the_same(&[
        (0, "SUB q.> 1"),
        (0, "SUB many.> 2"),
        (1, "SUB inbox.> 3"),
        (2, "SUB inbox.> 4"),
        (1, "PUB q.plain 2\r\nhi"),
        (1, "PUB q.plain inbox.1 2\r\nhi"),
        (1, "PUB ask.x.y inbox.1 2\r\nhi"),
        (1, "PUB shared.no inbox.1 2\r\nhi"),
        (1, "PUB any.what inbox.1 2\r\nhi"),
        (
            1,
            "HPUB q.plain inbox.1 38 40\r\nNATS/1.0\r\nNats-Request-Info: spoof\r\n\r\nhi",
        ),
        (
            1,
            "HPUB q.plain inbox.1 20 22\r\nNATS/1.0\r\nA: bcd\r\n\r\nhi",
        ),
        // A client cannot make another account's brokers publish an undelivered message.
        (
            1,
            "HPUB q.plain inbox.1 39 41\r\nNATS/1.0\r\nNats-Trace-Dest: trace.me\r\n\r\nhi",
        ),
        (2, "PUB deep inbox.2 2\r\nhi"),
        (2, "PUB q.plain inbox.2 2\r\nhi"),
        (0, "PUB _R_.abc.def 2\r\nhi"),
        (1, "PUB q.plain _R_.abc.def 2\r\nhi"),
    ]);
    for (responder, request, answers) in [
        (0, (1, "PUB q.plain inbox.1 2\r\nhi"), &["one", "two"][..]),
        (0, (1, "PUB ask.x.y inbox.2 2\r\nhi"), &["one"]),
        (
            0,
            (1, "PUB many.x inbox.3 2\r\nhi"),
            &["one", "two", "", "three"],
        ),
        (0, (2, "PUB deep inbox.4 2\r\nhi"), &["one", "two"]),
    ] {
        let ours = stage.midge.answer(responder, request, answers);
        let theirs = stage.nats.answer(responder, request, answers);
        assert_eq!(ours, theirs, "{request:?}");
        assert!(ours.iter().any(|line| line.contains("| one")), "{ours:?}");
    }
}

#[test]
fn a_request_to_an_unserved_import_gets_no_responders() {
    let mut stage = Comparison::new(CONFIG, USERS);
    let seen = stage.plays_the_same(&[
        (1, "SUB inbox.> 3"),
        (1, "PUB q.plain inbox.1 2\r\nhi"),
        (1, "PUB ask.x.y inbox.1 2\r\nhi"),
        (2, "SUB inbox.> 3"),
        (2, "PUB deep inbox.1 2\r\nhi"),
    ]);
    assert!(seen.iter().any(|line| line.contains("503")), "{seen:?}");
}

#[test]
fn subjects_are_mapped() {
    let mut stage = Comparison::new(CONFIG, USERS);
    let seen = stage.plays_the_same(&[
        (0, "SUB > 1"),
        (0, "SUB inbox.x 2"),
        (0, "PUB map.me 1\r\nx"),
        (0, "PUB map.x.y inbox.x 1\r\nx"),
        (0, "PUB map.x 1\r\nx"),
        (0, "PUB part.a 1\r\nx"),
        (0, "PUB part.abcdef 1\r\nx"),
        (0, "PUB part.12345 1\r\nx"),
        (0, "PUB lost 1\r\nx"),
        (1, "SUB > 1"),
        (1, "PUB map.me 1\r\nx"),
    ]);
    assert!(
        seen.iter().any(|line| line.contains("mapped.y.x")),
        "{seen:?}"
    );
    for side in [&mut stage.midge, &mut stage.nats] {
        let seen = side.publish(0, &"PUB half 1\r\nx\r\n".repeat(200));
        let first = seen.iter().filter(|line| line.contains("half.a")).count();
        let second = seen.iter().filter(|line| line.contains("half.b")).count();
        assert_eq!(first + second, 200);
        assert!(first > 50 && second > 50, "{first} {second}");
    }
}

/// The no-responders reply names the mapped subject.
#[test]
fn a_request_to_an_unserved_mapped_subject_gets_no_responders() {
    let mut stage = Comparison::new(CONFIG, USERS);
    let seen = stage.plays_the_same(&[
        (0, "SUB inbox.x 1"),
        (0, "PUB map.me inbox.x 1\r\nx"),
        (0, "PUB lost inbox.x 1\r\nx"),
    ]);
    assert!(seen.iter().any(|line| line.contains("503")), "{seen:?}");
}

/// Payloads of every size are imported, including sizes that take separate read and
/// delivery paths, and a batch of many messages keeps its order.
#[test]
fn large_payloads_and_long_batches_are_imported() {
    let mut stage = Comparison::new(CONFIG, USERS);
    let setup = [
        (0, "SUB q.plain 1"),
        (0, "SUB mapped.> 2"),
        (1, "SUB s.plain 3"),
        (1, "SUB > 4"),
    ];
    for size in [100, 5000, 40_000] {
        let payload = "x".repeat(size);
        let publishes = [
            format!("PUB s.plain {size}\r\n{payload}"),
            format!("PUB map.me {size}\r\n{payload}"),
            format!(
                "HPUB s.plain r 12 {}\r\nNATS/1.0\r\n\r\n{payload}",
                size + 12
            ),
        ];
        let request = format!("PUB q.plain reply.x {size}\r\n{payload}");
        let mut script = setup.to_vec();
        script.extend(publishes.iter().map(|words| (0, words.as_str())));
        script.push((1, &request));
        let seen = stage.plays_the_same(&script);
        let crossed = seen.iter().filter(|line| line.contains(&payload)).count();
        // Two streams twice, the mapped one, the request in both accounts.
        assert_eq!(crossed, 2 * 2 + 1 + 2, "{size}");
    }
    let run: String = (100..300)
        .map(|number| format!("PUB s.plain 3\r\n{number}\r\n"))
        .collect();
    for side in [&mut stage.midge, &mut stage.nats] {
        let seen = side.publish(0, &run);
        let numbers = |sid: &str| -> Vec<String> {
            let of_sid = seen
                .iter()
                .filter(|line| line.contains(&format!("s.plain {sid} ")));
            of_sid
                .filter_map(|line| Some(line.rsplit_once(' ')?.1.to_owned()))
                .collect()
        };
        let expected: Vec<String> = (100..300).map(|number| number.to_string()).collect();
        assert_eq!(numbers("3"), expected);
        assert_eq!(numbers("4"), expected);
    }
}

#[test]
fn monitoring_shows_imports_and_exports() {
    let stage = Comparison::new(CONFIG, &[]);
    let shown = |broker: &Broker| {
        let mut shown = Vec::new();
        for name in ["A", "B", "C"] {
            let detail =
                broker.get_json(&format!("/accountz?acc={name}"))["account_detail"].clone();
            let list = |field: &str| detail[field].as_array().cloned().unwrap_or_default();
            for entry in list("exports").into_iter().chain(list("imports")) {
                // Services of the system account are not counted as imports here.
                if entry["account"] != "$SYS" {
                    shown.push(format!("{name} {entry}"));
                }
            }
            let mappings = detail["mappings"].as_object().cloned().unwrap_or_default();
            shown.extend(mappings.keys().map(|subject| format!("{name} {subject}")));
        }
        shown.sort();
        shown
    };
    let ours = shown(&stage.midge.broker);
    assert_eq!(ours, shown(&stage.nats.broker));
    assert!(ours.len() > 20, "{ours:?}");
}
