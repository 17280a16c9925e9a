//! From files to accounts: what is read, and what is refused with its place.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::{Options, load};

fn read(text: &str) -> Result<Options, Vec<String>> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("test.conf");
    fs::write(&path, text).expect("it can be written");
    let prefix = format!("{}:", path.display());
    load(&path, &|_| None)
        .map(|(options, _)| options)
        .map_err(|errors| {
            let texts = errors.0.iter().map(ToString::to_string);
            texts.map(|text| text.replace(&prefix, "")).collect()
        })
}

#[track_caller]
fn options(text: &str) -> Options {
    read(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let errors = read(text).map(|_| ()).expect_err(text);
    assert!(
        errors.iter().any(|error| error.contains(expected)),
        "{text}: {errors:?}"
    );
}

#[test]
fn accounts_have_names_and_limits() {
    let names = |options: Options| -> Vec<String> {
        let accounts = options.accounts.into_iter();
        accounts.map(|account| account.name).collect()
    };
    assert_eq!(names(options("accounts: [B, A]")), ["B", "A"]);
    assert_eq!(
        names(options("accounts { B {}, A {}, $SYS {} }")),
        ["B", "A", "$SYS"]
    );
    let options =
        options("accounts { A { limits { max_conn: 5, max_subs: -1, max_payload: 1KB } } }");
    let expected = AccountLimits {
        max_connections: Some(5),
        max_subscriptions: None,
        max_payload: Some(1024),
        max_leafs: None,
    };
    assert_eq!(options.accounts[0].limits, expected);
    // A name is one word in the lines of routes.
    for name in ["a b", "a\tb", " a", "a\u{1}b", "a\u{a0}b"] {
        refuses(&format!("accounts {{ B {{}}, \"{name}\" {{}} }}"), "1:18: ");
        refuses(&format!("accounts [\"{name}\"]"), "1:11: ");
    }
    refuses(
        "accounts { $G {} }",
        "1:12: \"$G\" is the account of all clients without one",
    );
    refuses(
        "accounts: [\"$G\"]",
        "is the account of all clients without one",
    );
    refuses("accounts: 5", "must be a block");
    refuses("accounts { A: 5 }", "\"A\" must be a block");
    refuses("accounts { A { limit {} } }", "1:16: unknown key \"limit\"");
    refuses(
        "accounts { A { limits { max: 5 } } }",
        "unknown key \"max\" in limits",
    );
    refuses(
        "accounts { A { limits { max_conn: x } } }",
        "must be a whole number",
    );
}

#[test]
fn the_system_account_exists() {
    assert_eq!(options("port: 5").system_account, "$SYS");
    let named = "accounts { S {} }\nsystem_account: S";
    assert_eq!(options(named).system_account, "S");
    refuses(
        "system_account: S",
        "1:1: system_account \"S\" is not defined",
    );
}

const EXPORTS: &str = "A { exports: [
    { stream: \"s.*\" }, { stream: \"private.>\", accounts: [B] },
    { stream: \"own.*.x\", account_token_position: 2 },
    { service: \"q.>\", response: stream, threshold: \"5s\" } ] }";

#[test]
fn what_is_imported_is_exported() {
    let with =
        |import: &str| format!("accounts {{\n {EXPORTS}\n B {{ imports: [ {import} ] }}\n }}");
    for import in [
        "{ stream: { account: A, subject: \"s.*\" } }",
        "{ stream: { account: A, subject: \"s.x\" }, prefix: from.A }",
        "{ stream: { account: A, subject: \"s.*\" }, to: \"x.$1.y\" }",
        "{ stream: { account: A, subject: \"private.a\" } }",
        "{ stream: { account: A, subject: \"own.B.x\" } }",
        "{ service: { account: A, subject: \"q.>\" } }",
        "{ service: { account: A, subject: \"q.*.y\" }, to: \"y.*\", share: true }",
        "{ service: { account: A, subject: \"q.a\" }, to: \"any.*\" }",
    ] {
        assert_eq!(
            options(&with(import)).accounts[1].imports.len(),
            1,
            "{import}"
        );
    }
    for (import, problem) in [
        (
            "{ stream: { account: A, subject: \"t\" } }",
            "which has no such export",
        ),
        (
            "{ stream: { account: A, subject: \"s.>\" } }",
            "which has no such export",
        ),
        (
            "{ stream: { account: A, subject: \"q.a\" } }",
            "which has no such export",
        ),
        (
            "{ stream: { account: A, subject: \"own.C.x\" } }",
            "does not export it to this account",
        ),
        (
            "{ stream: { account: A, subject: \"own.*.x\" } }",
            "does not export it to this account",
        ),
        (
            "{ stream: { account: X, subject: \"s.a\" } }",
            "account \"X\", which is not defined",
        ),
        (
            "{ stream: { account: A } }",
            "needs \"account\" and \"subject\"",
        ),
        ("{ to: x }", "either \"stream\" or \"service\""),
        (
            "{ stream: { account: A, subject: \"s.*\" }, prefix: a, to: b }",
            "either \"prefix\" or \"to\"",
        ),
        (
            "{ service: { account: A, subject: \"q.a\" }, prefix: a }",
            "belongs to streams",
        ),
        (
            "{ stream: { account: A, subject: \"s.*\" }, to: \"x\" }",
            "each \"*\"",
        ),
        (
            "{ stream: { account: A, subject: \"s.*\" }, prefix: \"a.*\" }",
            "each \"*\"",
        ),
        (
            "{ stream: { account: A, subject: \"s.*\" }, to: \"{{partition(3,1)}}\" }",
            "can only use $1",
        ),
        (
            "{ stream: { account: A, subject: \"s.a\" } }, { stream: { account: A, subject: \"s.a\" } }",
            "twice",
        ),
    ] {
        refuses(&with(import), problem);
    }
    let other = format!(
        "accounts {{\n {EXPORTS}\n C {{ imports: [ {{ stream: {{ account: A, subject: \"private.a\" }} }} ] }}\n B {{}} }}"
    );
    refuses(
        &other,
        "6:17: account \"C\" imports the stream \"private.a\" from account \"A\", which does not export it to this account",
    );
}

#[test]
fn exports_are_checked() {
    for (export, problem) in [
        (
            "{ stream: a, service: b }",
            "either \"stream\" or \"service\"",
        ),
        ("{ stream: \"a..b\" }", "not a valid subject"),
        ("{ stream: a, response: stream }", "belong to services"),
        (
            "{ service: a, response: many }",
            "must be singleton, stream or chunked",
        ),
        ("{ service: a, threshold: 5 }", "must be a duration"),
        (
            "{ stream: a, accounts: [X] }",
            "account \"X\", which is not defined",
        ),
        (
            "{ stream: \"a.*\", account_token_position: 1 }",
            "is no \"*\"",
        ),
        (
            "{ stream: \"a.*\", account_token_position: 9223372036854775807 }",
            "is no \"*\"",
        ),
    ] {
        refuses(
            &format!("accounts {{ A {{ exports: [ {export} ] }} }}"),
            problem,
        );
    }
}

/// The error names all accounts of the circle.
#[test]
fn nothing_is_imported_in_a_circle() {
    let account = |name: &str,
                   from: &str,
                   kind: &str,
                   export_subject: &str,
                   local_subject: &str| {
        format!(
            "{name} {{ exports: [ {{ {kind}: \">\" }} ], imports: [ {{ {kind}: {{ account: {from}, subject: \"{export_subject}\" }}, to: \"{local_subject}\" }} ] }}"
        )
    };
    for kind in ["stream", "service"] {
        let circle = [
            account("A", "B", kind, "b", "a"),
            account("B", "C", kind, "c", "b"),
            account("C", "A", kind, "a", "c"),
        ];
        let text = format!("accounts {{\n{}\n}}", circle.join("\n"));
        let error = read(&text).map(|_| ()).expect_err("a circle").join("\n");
        for name in [
            "2:",
            "imports form a cycle",
            "account \"A\" imports",
            "account \"B\" imports",
            "account \"C\" imports",
        ] {
            assert!(error.contains(name), "{error}");
        }
        let chain = [
            account("A", "B", kind, "b", "a"),
            account("B", "C", kind, "c", "b"),
            account("C", "A", kind, "x", "c"),
        ];
        options(&format!("accounts {{\n{}\n}}", chain.join("\n")));
    }
}

#[test]
fn a_long_chain_of_imports_is_no_circle() {
    let account = |at: usize| {
        format!(
            "A{at} {{ exports: [ {{ service: x }} ], imports: [ {{ service: {{ account: A{}, subject: x }} }} ] }}",
            at + 1
        )
    };
    let chain: Vec<String> = (0..500).map(account).collect();
    options(&format!(
        "accounts {{ {}, A500 {{ exports: [ {{ service: x }} ] }} }}",
        chain.join("\n")
    ));
}

#[test]
fn mappings_have_weights() {
    let mapping = |text: &str| {
        let mut options = options(&format!("mappings {{ {text} }}"));
        let mapping = options.mappings.remove(0);
        let weights: Vec<u8> = mapping.destinations.iter().map(|way| way.weight).collect();
        (weights, mapping.clusters.len())
    };
    assert_eq!(mapping("a: b"), (vec![100], 0));
    assert_eq!(
        mapping("\"a.*\": [ { dest: \"b.$1\", weight: 20% } ]"),
        (vec![20, 80], 0)
    );
    assert_eq!(
        mapping("a: { destination: b, weight: 100 }"),
        (vec![100], 0)
    );
    // A mapping to the subject itself drops the remaining share on purpose.
    assert_eq!(
        mapping("a: [ { destination: a, weight: 20 } ]"),
        (vec![20], 0)
    );
    assert_eq!(
        mapping(
            "a: [ { destination: b, weight: 20, cluster: c }, { destination: d, weight: \"100\" } ]"
        ),
        (vec![100], 1)
    );
    for (text, problem) in [
        ("\"a..b\": c", "not a valid subject"),
        (
            "a: [ { destination: b } ]",
            "needs \"destination\" and \"weight\"",
        ),
        ("a: [ { destination: b, weight: 101 } ]", "from 0 to 100"),
        (
            "a: [ { destination: b, weight: 60 }, { destination: c, weight: 60 } ]",
            "add up to 120",
        ),
        (
            "a: [ { destination: b, weight: 6 }, { destination: b, weight: 6 } ]",
            "twice",
        ),
        ("\"a.*\": \"b.$2\"", "has 1 wildcard"),
        ("a: 5", "must be a block"),
    ] {
        refuses(&format!("mappings {{ {text} }}"), problem);
    }
}
