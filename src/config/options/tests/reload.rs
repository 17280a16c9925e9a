//! What a reload adopts, and what it reports.

use super::*;
use crate::config::options::{
    plan::{Change, changes},
    table::ReloadKind,
};

#[test]
fn what_needs_a_restart_stays_in_force() {
    let old = Options::default();
    let new = Options {
        port: 4333,
        max_payload: 77,
        ..Options::default()
    };
    let (changed, merged) = changes(&old, &new);
    let reported: Vec<_> = changed
        .iter()
        .map(|change| (&*change.name, change.takes == ReloadKind::Live))
        .collect();
    assert_eq!(reported, [("port", false), ("max_payload", true)]);
    assert_eq!((merged.port, merged.max_payload), (old.port, 77));
    assert!(changes(&old, &old).0.is_empty());
}

/// Accounts require a login for the broker; a cluster is configured so that its keys can
/// change.
const BASE: &str = "accounts { a { users: [ { user: a, password: b } ] } }\n";
const CLUSTER: &str = "port: 4223, name: base";

/// Values that are right for one key or another.
const VALUES: &[&str] = &[
    "true",
    "false",
    "7",
    "70000000",
    "-1",
    "0",
    "\"61s\"",
    "\"2h\"",
    "\"90m\"",
    "\"1500ms\"",
    "\"a\"",
    "\"local\"",
    "\"json\"",
    "\"a b\\\"c\"",
    "\"a,B\"",
    "\"0600\"",
    "\"a:5\"",
    "\"[::1]:5\"",
    "\"tcp://a:5\"",
    "\"udp://[::1]:5\"",
    "\"unix:///a\"",
];

/// The options of a file in which a key has a value; the block `cluster` is always
/// there.
fn with(block: &str, key: &str, value: &str) -> Option<Options> {
    let line = format!("{key}: {value}");
    let text = match block {
        "" => format!("{line}\ncluster {{ {CLUSTER} }}"),
        "cluster" => format!("cluster {{ {CLUSTER}\n{line} }}"),
        block => format!("{block} {{ {line} }}\ncluster {{ {CLUSTER} }}"),
    };
    let read = read(&format!("{BASE}{text}")).ok();
    read.map(|(options, _)| without_file(options))
}

/// The changes caused by a value of a key. Checks that adopted and pending changes are in
/// force as reported.
fn changed(base: &Options, options: &Options, text: &str) -> Vec<Change> {
    let (changed, merged) = changes(base, options);
    if changed.is_empty() {
        let same = Options {
            host_is_safe_default: base.host_is_safe_default,
            ..options.clone()
        };
        assert_eq!(same, *base, "{text}: something differs and is not reported");
    }
    let (live, late): (Vec<_>, Vec<_>) = changed
        .iter()
        .cloned()
        .partition(|change| change.takes == ReloadKind::Live);
    assert_eq!(changes(base, &merged).0, live, "{text}: what is taken over");
    assert_eq!(changes(&merged, options).0, late, "{text}: what waits");
    changed
}

/// For every value of every key a reload reports the change under the key's name; the
/// reported value can be written into a file and has the same meaning there.
#[test]
fn values_are_reported_as_they_are_written() {
    let base = with("", "debug", "false").expect("it is valid");
    let check = |block: &str, key: &str, value: &str| {
        let options = with(block, key, value)?;
        let text = format!("{block} {key}: {value}");
        let changed = changed(&base, &options, &text);
        for Change { name, values, .. } in &changed {
            let (of, changed_key) = name.split_once(' ').unwrap_or(("", name));
            assert_eq!(of, block, "{text}: reported as {name}");
            let Some((_, new)) = values else { continue };
            // A removed key has no value to write.
            if new == "unset" {
                continue;
            }
            let again =
                with(of, changed_key, new).unwrap_or_else(|| panic!("{text}: reported as {new}"));
            let differences = changes(&again, &options).0;
            let differs = differences.iter().any(|it| it.name == *name);
            assert!(
                !differs,
                "{text}: reported as {new}, which is {differences:?}"
            );
        }
        (!changed.is_empty()).then_some(())
    };
    let mut unreported = Vec::new();
    let mut try_all = |block: &'static str, key: &'static str| {
        let values = VALUES
            .iter()
            .filter(|value| check(block, key, value).is_some());
        if values.count() == 0 {
            unreported.push((block, key));
        }
    };
    for key in served() {
        match key.kind {
            Kind::Block(block) => block.keys().for_each(|inner| try_all(key.name, inner.name)),
            Kind::Structure { .. } => {}
            _ => try_all("", key.name),
        }
    }
    for key in cluster::CLUSTER.keys().filter(|key| key.is_served()) {
        if !matches!(key.kind, Kind::Structure { .. }) {
            try_all("cluster", key.name);
        }
    }
    // One without the other is refused, and there is no such user.
    let alone = [
        ("", "no_auth_user"),
        ("monitor", "user"),
        ("monitor", "password"),
    ];
    unreported.retain(|key| !alone.contains(key));
    assert!(unreported.is_empty(), "{unreported:?}");
    for (key, value) in [
        ("server_tags", "[a, \"b c\"]"),
        ("server_metadata", "{ \"a b\": \"c: d\" }"),
        ("host", "\"::1\""),
        ("max_payload", "2MB"),
    ] {
        assert!(check("", key, value).is_some(), "{key}: {value}");
    }
}

/// Each key with its own reader is compared: its changes are reported.
#[test]
fn each_structure_is_reported() {
    let base = |more: &str| {
        let read = read(&format!("{BASE}cluster {{ {CLUSTER} }}\n{more}"));
        without_file(read.unwrap_or_else(|errors| panic!("{more}: {errors:?}")).0)
    };
    let with_cluster = |more: &str| {
        let read = read(&format!("{BASE}cluster {{ {CLUSTER}, {more} }}"));
        without_file(read.unwrap_or_else(|errors| panic!("{more}: {errors:?}")).0)
    };
    let user = "authorization { users: [{ user: u, password: p }] }";
    for (options, expected) in [
        (base(user), &["authorization"][..]),
        (base("authorization { timeout: 3 }"), &["authorization"]),
        (
            base(&format!("{user}\nno_auth_user: u")),
            &["authorization", "no_auth_user"],
        ),
        (base("tls { cert_file: c, key_file: k }"), &["tls"]),
        (base("mappings { a: b }"), &["mappings"]),
        (base("accounts { a {} }"), &["accounts"]),
        (
            base("federation { name: a, upstream: \"b:1\" }"),
            &["federation"],
        ),
        (with_cluster("routes: [\"a:1\"]"), &["cluster routes"]),
        (
            with_cluster("tls { cert_file: c, key_file: k }"),
            &["cluster tls"],
        ),
        (
            with_cluster("authorization { user: u, password: p }"),
            &["cluster authorization"],
        ),
        (
            with_cluster("permissions { import: a }"),
            &["cluster permissions"],
        ),
    ] {
        let changed = changed(&base(""), &options, expected[0]);
        let names: Vec<&str> = changed.iter().map(|change| &*change.name).collect();
        assert_eq!(names, expected);
        let hidden = changed.iter().filter(|it| it.name != "no_auth_user");
        assert!(hidden.clone().all(|it| it.values.is_none()), "{changed:?}");
    }
}

/// The same value in another line of the file is not a change.
#[test]
fn lines_that_move_change_nothing() {
    let text = "accounts { A { exports: [{ stream: a }], mappings { c: d } }, B { imports: [{ \
                stream: { account: A, subject: a } }], users: [{ user: b, password: b }] } }\n\
                tls { cert_file: c, key_file: k }\nmappings { m: n }\n\
                cluster { port: 1, routes: [\"nats://a:1\"], tls { cert_file: c, key_file: k } }\n\
                federation { name: a, upstream: \"tls://b\", tls { cert_file: c, key_file: k } }";
    let moved = format!("# A line.\n\n{text}");
    assert_eq!(changes(&options(text), &options(&moved)).0, []);
    let alone = options("port: 5");
    let (changed, merged) = changes(&alone, &options("port: 5\ncluster { port: 1 }"));
    assert_eq!(changed[0].name, "cluster");
    assert!(merged.cluster.is_none());
}
