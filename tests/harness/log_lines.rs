//! Tests do not ask whether a line is in a broker's log already: it is written a moment
//! after what it reports. They wait for it ([`test_support::LogFile`]).

use super::references::texts;

/// The assertions of a source, each from the name of its macro to the end of its statement.
fn assertions(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("assert").filter_map(|(at, _)| {
        let rest = &text[at..];
        let name_len = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '_')?;
        rest[name_len..].starts_with("!(").then_some(())?;
        let end = rest.find(");").unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

#[test]
fn no_assertion_asks_whether_a_line_is_already_there() {
    let texts = texts();
    let tests = texts.iter().filter(|(path, _)| {
        path.starts_with("tests/") && path.ends_with(".rs") && !path.ends_with("log_lines.rs")
    });
    let wrong: Vec<_> = tests
        .flat_map(|(path, text)| assertions(text).map(move |it| (path, it)))
        .filter(|(_, assertion)| assertion.contains(".already_has("))
        .collect();
    assert!(
        wrong.is_empty(),
        "wait for the line instead, with log().wait_for(…): {wrong:#?}"
    );
}

#[test]
fn such_an_assertion_is_found() {
    let text = "fn f() {\n    assert!(\n        log.already_has(\"x\"),\n    );\n    a(b);\n    \
                assert_eq!(a, b);\n    wait(|| log.already_has(\"y\"));\n}";
    let found: Vec<_> = assertions(text).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("\"x\"") && !found[1].contains("already_has"));
}
