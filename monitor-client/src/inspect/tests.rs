use super::*;

const FIELDS: &[Field<'_>] = &[
    Field {
        name: "n",
        kind: Kind::Count,
    },
    Field {
        name: "a.new|old",
        kind: Kind::Number,
    },
    Field {
        name: "list",
        kind: Kind::List,
    },
    Field {
        name: "list.*.x",
        kind: Kind::Flag,
    },
];

fn inspected(json: &str) -> Result<Vec<Found>, String> {
    inspect(json.as_bytes(), FIELDS, SMALL).map_err(|mismatch| match mismatch {
        Mismatch::Json(error) => error.to_string(),
        Mismatch::Field(text) => text,
    })
}

#[test]
fn absent_and_zero_are_distinguished() {
    let found = inspected(r#"{"n":0,"list":[],"b":{"n":3}}"#).unwrap();
    let expected = [
        Found::Count(0),
        Found::Absent,
        Found::List(0),
        Found::Absent,
    ];
    assert_eq!(found, expected);
    let found = inspected(r#"{"a":{"old":-1.5},"list":[{"x":true},{"x":false}]}"#).unwrap();
    let expected = [
        Found::Absent,
        Found::Number(-1.5),
        Found::List(2),
        Found::Flag(false),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_mismatch_names_the_field() {
    for (json, mismatch) in [
        (r#"{"n":-5}"#, "\"n\" is -5, not a number from 0"),
        (r#"{"n":-0.5}"#, "\"n\" is -0.5, not a number from 0"),
        (r#"{"n":"7"}"#, "\"n\" is \"7\", not a number from 0"),
        (r#"{"n":null}"#, "\"n\" is null, not a number from 0"),
        (r#"{"n":[]}"#, "\"n\" is a list, not a number from 0"),
        (
            r#"{"list":{"x":true}}"#,
            "\"list\" is an object, not a list",
        ),
        (
            r#"{"list":[{"x":true},{}]}"#,
            "no \"list.*.x\" in element 2",
        ),
        (r#"{"list":[7]}"#, "no \"list.*.x\" in element 1"),
    ] {
        assert_eq!(inspected(json), Err(mismatch.to_owned()), "{json}");
    }
}

#[test]
fn only_a_complete_object_is_an_answer() {
    for json in [
        "",
        " ",
        "[]",
        "[{}]",
        "7",
        "null",
        "\"{}\"",
        "{",
        "{\"n\":",
        "{\"n\":NaN}",
        "{\"n\":1e999}",
        "{}{}",
        "<html>",
        "{\"n\":1}x",
        "\u{feff}{}",
    ] {
        assert!(inspected(json).is_err(), "{json}");
    }
}

/// A few bytes of JSON may be large in memory: values and objects are limited, and so is the
/// depth.
#[test]
fn values_objects_and_depth_are_limited() {
    let list = |element: &str, count: usize| {
        let elements = vec![element; count].join(",");
        inspected(&format!("{{\"y\":[{elements}]}}"))
    };
    assert!(list("{}", SMALL.objects - 1).is_ok());
    assert!(list("{}", SMALL.objects).unwrap_err().contains("objects"));
    assert!(list("0", SMALL.values - 2).is_ok());
    assert!(list("0", SMALL.values - 1).unwrap_err().contains("values"));
    let deep = format!("{{\"y\":{}", "[".repeat(100_000));
    assert!(inspected(&deep).unwrap_err().contains("recursion limit"));
}
