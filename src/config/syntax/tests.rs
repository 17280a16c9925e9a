//! The rules of the language, one by one, and its properties.

use std::{fs, path::PathBuf};

use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Map, SyntaxError> {
    parse_text("test.conf", text, &nothing)
}

fn with_environment(text: &str, environment: &[(&str, &str)]) -> Result<Map, SyntaxError> {
    let find = |name: &str| {
        let pair = environment.iter().find(|(known, _)| *known == name);
        pair.map(|(_, value)| (*value).to_owned())
    };
    parse_text("test.conf", text, &find)
}

/// The values of a map in the form of JSON, which the digest is made of.
fn json(map: &Map) -> String {
    super::digest::json(map)
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    match parse(text) {
        Ok(map) => assert_eq!(json(&map), expected, "{text:?}"),
        Err(error) => panic!("{text:?}: {error}"),
    }
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    match parse(text) {
        Ok(map) => panic!("{text:?} is read as {}", json(&map)),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}

#[test]
fn separators_are_colon_equals_or_blank() {
    for text in [
        "a: b", "a = b", "a b", "a=b", "a:b", "a\t=\tb", "a\n: b", "a\nb",
    ] {
        reads(text, r#"{"a":"b"}"#);
    }
    reads("a=:b", r#"{"a":":b"}"#);
    reads("a: b=c", r#"{"a":"b=c"}"#);
    refuses("a == b", "1:6: expected a new line");
    refuses(": b", "expected a key");
}

#[test]
fn pairs_end_with_the_line_or_comma_or_semicolon() {
    for text in ["a: 1\nb: 2", "a: 1, b: 2", "a: 1; b: 2;", "a: 1 ,b: 2\r\n"] {
        reads(text, r#"{"a":1,"b":2}"#);
    }
    refuses("a: 1 b: 2", "1:6: expected a new line");
    refuses("a: 1,, b: 2", "expected a key");
    refuses("a {b: 1} c {d: 2}", "expected a new line");
    refuses("a { b {} c {} }", "expected a new line");
}

#[test]
fn a_missing_value_is_an_error_that_names_the_key() {
    for text in ["a:", "a: \nb: 1", "a", "a {\n b:\n}", "a {b: }"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    refuses("a: \nb: 1", "\"a\" has no value");
}

#[test]
fn comments_run_to_the_end_of_the_line() {
    for text in [
        "# c\na: b",
        "// c\na: b",
        "a: b # c",
        "a: \"b\"//c",
        "a: b;# c",
    ] {
        reads(text, r#"{"a":"b"}"#);
    }
    reads("a: [ # c\n b # c\n ]", r#"{"a":["b"]}"#);
    reads("a { # c\n b: c # c\n // c\n}", r#"{"a":{"b":"c"}}"#);
    refuses("/* c */\na: b", "expected");
}

#[test]
fn a_comment_begins_only_where_a_token_could() {
    reads("a: b#c", r#"{"a":"b#c"}"#);
    reads("a: b//c", r#"{"a":"b//c"}"#);
    reads("a: #b", r##"{"a":"#b"}"##);
}

#[test]
fn maps_may_be_written_with_and_without_separator() {
    for text in [
        "a {b: c}",
        "a: {b: c}",
        "a = { b c }",
        "a\n{\nb: c\n}",
        "a {b: c,}",
    ] {
        reads(text, r#"{"a":{"b":"c"}}"#);
    }
    reads("a {b: \n c}", r#"{"a":{"b":"c"}}"#);
    reads("a {}", r#"{"a":{}}"#);
    refuses("a: \n{}", "\"a\" has no value");
    refuses("a {b: c", "1:4: the block that opens here is not closed");
    refuses("a{\nb: c\n}", "put a blank between a key and its bracket");
}

#[test]
fn the_whole_file_may_stand_in_braces() {
    reads(
        r#"{"a": {"b": [1, "c", true]}, "d": 1.5}"#,
        r#"{"a":{"b":[1,"c",true]},"d":1.5}"#,
    );
    reads("{a: b} # c", r#"{"a":"b"}"#);
    reads("a: b\n}\n", r#"{"a":"b"}"#);
    refuses("a: b\n}\nc: d", "3:1: expected the end of the file");
    refuses("{a: b", "not closed");
}

#[test]
fn items_of_a_list_are_divided_by_commas_or_lines() {
    for text in [
        "a: [b, c]",
        "a: [b\nc]",
        "a: [b,c,]",
        "a [\n b,\n c,\n]",
        "a: [\"b\"\n\"c\"]",
    ] {
        reads(text, r#"{"a":["b","c"]}"#);
    }
    reads("a: []", r#"{"a":[]}"#);
    reads("a: [[1], {b: 2}]", r#"{"a":[[1],{"b":2}]}"#);
    refuses("a: [b c]", "1:7: expected \",\"");
    refuses("a: [b;c]", "expected \",\"");
    refuses("a: [b,,c]", "expected a value");
    refuses("a: [b", "1:4: the list that opens here is not closed");
}

#[test]
fn keys_are_taken_as_they_are() {
    reads("\"a b\": c", r#"{"a b":"c"}"#);
    reads("'a b': c", r#"{"a b":"c"}"#);
    reads(r"a\nb: c", r#"{"a\\nb":"c"}"#);
    reads(r#""a\nb": c"#, r#"{"a\\nb":"c"}"#);
    reads("Ab: 1, aB: 2", r#"{"Ab":1,"aB":2}"#);
    refuses("\"a: b", "not closed");
}

#[test]
fn double_quoted_text_knows_six_escapes() {
    reads(r#"a: "\x41\t\n\r\"\\""#, r#"{"a":"A\t\n\r\"\\"}"#);
    reads(r#"a: "\\\\n""#, r#"{"a":"\\\\n"}"#);
    reads("a: \"b\nc\"", r#"{"a":"b\nc"}"#);
    reads("a: \"\"", r#"{"a":""}"#);
    reads(r#"a: "\xc3\xa9""#, "{\"a\":\"\u{e9}\"}");
    refuses(r#"a: "\q""#, "unknown escape \\q");
    refuses(r#"a: "\é""#, "unknown escape");
    refuses(r#"a: "\x4""#, "two hexadecimal digits");
    refuses(r#"a: "\x4é""#, "two hexadecimal digits");
    refuses(r#"a: "\x+1""#, "two hexadecimal digits");
    refuses(r#"a: "\xff""#, "UTF-8");
    refuses("a: \"b", "1:4: the double quote that opens here");
    refuses("a: \"b\"c", "expected a new line");
}

#[test]
fn single_quoted_text_is_raw() {
    reads(r"a: 'b\n\q'", r#"{"a":"b\\n\\q"}"#);
    reads("a: 'b\nc'", r#"{"a":"b\nc"}"#);
    refuses("a: 'b", "1:4: the single quote that opens here");
}

#[test]
fn bare_text_ends_at_blanks_and_brackets() {
    reads("a: b[(c", r#"{"a":"b[(c"}"#);
    reads(r#"a: b\"c\x41"#, r#"{"a":"b\"cA"}"#);
    reads("a: b\"c", r#"{"a":"b\"c"}"#);
    refuses("a: b'c", "a quote inside a value");
    refuses("a: b]", "expected a new line");
    refuses(r"a: b\", "a backslash must be written twice");
}

#[test]
fn booleans_are_bare_words_in_any_case() {
    reads("a: true, b: ON, c: Yes", r#"{"a":true,"b":true,"c":true}"#);
    reads(
        "a: false, b: off, c: nO",
        r#"{"a":false,"b":false,"c":false}"#,
    );
    reads("a: \"true\", b: truex", r#"{"a":"true","b":"truex"}"#);
}

#[test]
fn integers_may_have_a_suffix() {
    reads("a: 0, b: -7, c: 01", r#"{"a":0,"b":-7,"c":1}"#);
    for (suffix, power) in [("k", 1), ("m", 2), ("g", 3), ("t", 4), ("p", 5), ("e", 6)] {
        let thousands = format!("{{\"a\":{}}}", 1000_i64.pow(power));
        reads(&format!("a: 1{suffix}"), &thousands);
        reads(&format!("a: 1{}", suffix.to_uppercase()), &thousands);
        for binary in ["b", "B", "i", "ib", "iB"] {
            let expected = format!("{{\"a\":{}}}", 1024_i64.pow(power));
            reads(&format!("a: 1{suffix}{binary}"), &expected);
        }
    }
    reads("a: -1k;", r#"{"a":-1000}"#);
    reads("a: -9223372036854775808", r#"{"a":-9223372036854775808}"#);
    refuses("a: 9223372036854775808", "64 bits");
    refuses("a: 8Ei", "64 bits");
    refuses("a: 1 MB", "expected a new line");
    refuses("a: 1.5MB", "text after a fraction");
}

#[test]
fn what_begins_like_a_number_may_be_text() {
    for text in [
        "30s",
        "127.0.0.1",
        "127.0.0.1:4222",
        "1xb",
        "1kbx",
        "1h30m",
        "1e3",
        "0x10",
        "1_0",
        "5#c",
        "1k2",
    ] {
        reads(&format!("a: {text}"), &format!("{{\"a\":\"{text}\"}}"));
    }
    for text in ["-foo", "- 1", "-1abc", ".5", "1.", "1-2", "[::1]:4222"] {
        assert!(parse(&format!("a: {text}")).is_err(), "{text}");
    }
}

#[test]
fn fractions_and_dates() {
    reads("a: 1.5, b: -0.25", r#"{"a":1.5,"b":-0.25}"#);
    reads("a: 2024-01-02T03:04:05Z", r#"{"a":"2024-01-02T03:04:05Z"}"#);
    for text in [
        "2024-01-02",
        "2024-99-02T03:04:05Z",
        "2024-01-02T03:04:05+00:00",
        "2024-1-02T03:04:005Z",
    ] {
        refuses(&format!("a: {text}"), "a date must read like");
    }
}

#[test]
fn block_text_keeps_its_line_ends() {
    reads("a: (\nb\n)", r#"{"a":"\nb\n"}"#);
    reads("a: (\nb)c\n)d\n)\ne: 1", r#"{"a":"\nb)c\n)d\n","e":1}"#);
    reads("a: (\n)", r#"{"a":"\n"}"#);
    refuses("a: (b)", "1:4: the text that opens with (");
    refuses("a: (\nb\n ) ", "the text that opens with (");
}

#[test]
fn the_last_of_equal_keys_wins() {
    reads("a: 1\na: 2", r#"{"a":2}"#);
}

#[test]
fn variables_are_earlier_keys_from_the_inside_out() {
    reads("x: 1\na: $x", r#"{"a":1,"x":1}"#);
    reads("x: 1\na {x: 2, b: $x}", r#"{"a":{"b":2,"x":2},"x":1}"#);
    reads("x: 1\na {b: $x, x: 2}", r#"{"a":{"b":1,"x":2},"x":1}"#);
    reads("x {y: 1}\na: [$x]", r#"{"a":[{"y":1}],"x":{"y":1}}"#);
    refuses("a {x: 1}\nb: $x", "2:4: the variable $x is neither");
    refuses("a: $x\nx: 1", "the variable $x is neither");
    refuses("a: $a", "the variable $a is neither");
    reads("a: \"$x\", b: '$x'", r#"{"a":"$x","b":"$x"}"#);
    reads("a: $2a$10$abc", r#"{"a":"$2a$10$abc"}"#);
    refuses("a: $2b$10$abc", "neither");
}

#[test]
fn a_key_that_answers_a_variable_is_marked() {
    let map = parse("x: 1\ny: 1\na: $x").expect("it is valid");
    let used = |key| map.get(key).is_some_and(|entry| entry.used);
    assert!(used("x") && !used("y") && !used("a"));
}

#[test]
fn the_environment_answers_what_no_key_answers() {
    let environment = [
        ("NUMBER", "12345"),
        ("TEXT", "\"12345\""),
        ("MAP", "{b: c}"),
        ("CHAIN", "$NUMBER"),
        ("EMPTY", ""),
        ("SELF", "$OTHER"),
        ("OTHER", "[$SELF]"),
        ("TWO", "a b"),
    ];
    let read = |text: &str| with_environment(text, &environment);
    for (name, value) in [
        ("NUMBER", "12345"),
        ("TEXT", "\"12345\""),
        ("MAP", "{\"b\":\"c\"}"),
        ("CHAIN", "12345"),
        ("EMPTY", "\"\""),
    ] {
        let map = read(&format!("a: ${name}")).expect(name);
        assert_eq!(json(&map), format!("{{\"a\":{value}}}"));
    }
    let error = read("a: $SELF").expect_err("it is a cycle").to_string();
    assert_eq!(
        error,
        "environment variable OTHER:1:2: the variable $SELF refers to itself"
    );
    let error = read("a: $TWO").expect_err("two values").to_string();
    assert!(
        error.starts_with("environment variable TWO:1:3: "),
        "{error}"
    );
}

#[test]
fn positions_are_line_and_column() {
    let map = parse("a: 1\n  bb = {\n\tc: [\n  $x]}").map_err(|error| error.to_string());
    assert_eq!(
        map,
        Err("test.conf:4:3: the variable $x is neither a key above nor in the environment".into())
    );
    let map = parse("a: 1\n  bb = {\n\tc: d}").expect("it is valid");
    let entry = map.get("bb").expect("it is there");
    assert_eq!(entry.position.to_string(), "test.conf:2:3");
    let Value::Map(inner) = &entry.node.value else {
        panic!("bb is a map");
    };
    assert_eq!(entry.node.position.to_string(), "test.conf:2:8");
    let inner = inner.get("c").expect("it is there");
    assert_eq!(inner.position.to_string(), "test.conf:3:2");
    assert_eq!(inner.node.position.to_string(), "test.conf:3:5");
}

/// A folder with files, `main.conf` being the one that is read.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let folder = TempDir::new().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        Files(folder)
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("main.conf")
    }

    fn read(&self) -> Result<Map, String> {
        parse_file(&self.main(), &nothing).map_err(|error| error.to_string())
    }
}

#[test]
fn includes_are_relative_to_the_including_file() {
    let files = Files::new(&[
        (
            "main.conf",
            "include sub/one.conf # c\na { include \"leaf.conf\"; c: d }\ne: $x",
        ),
        ("sub/one.conf", "include ./two.conf\ninclude /two.conf"),
        ("sub/two.conf", "x: 1"),
        ("leaf.conf", "{b: c}"),
    ]);
    let map = files.read().expect("it is valid");
    assert_eq!(json(&map), r#"{"a":{"b":"c","c":"d"},"e":1,"x":1}"#);
    let file = files.0.path().join("sub/two.conf");
    let position = &map.get("x").expect("it is there").position;
    assert_eq!(
        position.to_string().replace("/./", "/"),
        format!("{}:1:1", file.display())
    );
}

#[test]
fn included_files_do_not_see_the_keys_around_them() {
    let files = Files::new(&[("main.conf", "x: 1\ninclude a"), ("a", "b: $x")]);
    let error = files.read().expect_err("x is not seen");
    assert!(
        error.contains("/a:1:4: the variable $x is neither"),
        "{error}"
    );
}

#[test]
fn the_later_of_file_and_include_wins() {
    let files = Files::new(&[("main.conf", "x: 1\ninclude a\ny: 1"), ("a", "x: 2\ny: 2")]);
    assert_eq!(
        json(&files.read().expect("it is valid")),
        r#"{"x":2,"y":1}"#
    );
}

#[test]
fn only_a_bare_word_without_separator_includes() {
    reads("include: a", r#"{"include":"a"}"#);
    reads("\"include\" a", r#"{"include":"a"}"#);
    refuses("include", "include needs the path");
    refuses("include\na", "include needs the path");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let files = Files::new(&[("main.conf", "\ninclude gone")]);
    let error = files.read().expect_err("there is none");
    assert!(error.contains("main.conf:2:1: cannot read "), "{error}");
    assert!(error.contains("/gone: "), "{error}");
    let files = Files::new(&[]);
    let error = files.read().expect_err("there is none");
    assert!(error.contains("cannot read "), "{error}");
    let files = Files::new(&[]);
    fs::write(files.main(), b"a: b\nc: \xff\n").expect("it can be written");
    let error = files.read().expect_err("not text");
    assert!(
        error.contains("is not UTF-8 text: look at line 2"),
        "{error}"
    );
    refuses("a: b\nc\0: 1", "2:2: a NUL byte");
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    reads("\u{feff}a: b", r#"{"a":"b"}"#);
}

#[test]
fn include_cycles_are_refused() {
    let files = Files::new(&[
        ("main.conf", "include a"),
        ("a", "b: 1\ninclude ./main.conf"),
    ]);
    let error = files.read().expect_err("it is a cycle");
    assert!(
        error.contains("/a:2:1: ") && error.contains("main.conf includes itself"),
        "{error}"
    );
}

#[test]
fn the_chain_of_includes_is_bounded() {
    let chain = |length: usize| {
        let files = Files::new(&[("main.conf", "include 1")]);
        for number in 1..length {
            let text = format!("include {}", number + 1);
            fs::write(files.0.path().join(number.to_string()), text).expect("it can be written");
        }
        fs::write(files.0.path().join(length.to_string()), "a: b").expect("it can be written");
        files.read()
    };
    assert!(chain(MAX_INCLUDE_DEPTH - 1).is_ok());
    let error = chain(MAX_INCLUDE_DEPTH).expect_err("one too many");
    assert!(error.contains("files include each other"), "{error}");
}

#[test]
fn the_number_of_includes_is_bounded() {
    let includes = |count| {
        let text = "include a\n".repeat(count);
        Files::new(&[("main.conf", &text), ("a", "b: c")]).read()
    };
    assert!(includes(MAX_INCLUDES).is_ok());
    assert!(includes(MAX_INCLUDES + 1).is_err());
}

#[test]
fn the_size_of_a_file_is_bounded() {
    let limit = usize::try_from(MAX_FILE_BYTES).expect("it fits");
    let sized =
        |size: usize| Files::new(&[("main.conf", &format!("a: b\n{}", " ".repeat(size - 5)))]);
    assert!(sized(limit).read().is_ok());
    let error = sized(limit + 1).read().expect_err("one byte too many");
    assert!(error.contains("is larger than"), "{error}");
}

#[test]
fn nesting_is_bounded() {
    let lists = |depth: usize| parse(&format!("a: {}{}", "[".repeat(depth), "]".repeat(depth)));
    assert!(lists(MAX_NESTING).is_ok());
    assert!(lists(MAX_NESTING + 1).is_err());
    let maps = |depth: usize| parse(&format!("{}{}", "a {".repeat(depth), "}".repeat(depth)));
    assert!(maps(MAX_NESTING).is_ok());
    assert!(maps(MAX_NESTING + 1).is_err());
    let variables = |depth: usize| {
        let lines: String = (0..depth)
            .map(|n| format!("x{}: [$x{n}]\n", n + 1))
            .collect();
        parse(&format!("x0: 1\n{lines}"))
    };
    assert!(variables(MAX_NESTING).is_ok());
    assert!(variables(MAX_NESTING + 1).is_err());
}

/// Each line doubles the one before it.
#[test]
fn variables_cannot_fill_the_memory() {
    let lines: String = (0..60)
        .map(|n| format!("x{}: [$x{n}, $x{n}]\n", n + 1))
        .collect();
    let text = format!("x0: {}\n{lines}", "x".repeat(10_000));
    refuses(&text, "the configuration grows beyond");
}

#[test]
fn the_digest_is_that_of_nats_server() {
    // Taken from nats-server -t for the same texts.
    for (text, digest) in [
        (
            "port: 5",
            "31e700d8099c9ba65abbb6651b7440e19fb67478741216737098f7b78467e737",
        ),
        (
            "server_metadata { \"ü\": \"é\", k<: \">&\" }",
            "6aacd4bd2b8fe2ae048966bf5caa90dbfa0f95cee0d7d87c30e2479cd5d0d998",
        ),
    ] {
        let map = parse(text).expect("it is valid");
        assert_eq!(super::digest(&map), format!("sha256:{digest}"));
    }
    reads("a: 0.00000001, b: 1.0", r#"{"a":1e-8,"b":1}"#);
    reads(
        "a: 100000000000000000000000.5",
        r#"{"a":1.0000000000000001e+23}"#,
    );
}

/// A value as it may be written in a file.
fn written(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Bool(value) => value.to_string(),
        Value::DateTime(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Map(map) => {
            let pairs: Vec<String> = map
                .entries()
                .map(|entry| format!("\"{}\": {}", entry.key, written(&entry.node.value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::String(text) => {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", text.replace('\0', "\\x00").replace('\n', "\\n"))
        }
    }
}

fn node(value: Value) -> Node {
    let position = Position {
        file: "test.conf".into(),
        line: 1,
        column: 1,
    };
    Node { value, position }
}

fn map_of(pairs: Vec<(String, Value)>) -> Map {
    let mut map = Map::default();
    for (key, value) in pairs {
        let node = node(value);
        let position = node.position.clone();
        map.insert(Entry {
            key,
            position,
            node,
            used: false,
            order: 0,
        });
    }
    map
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        (-1e9..1e9f64)
            .prop_filter("no exponent", |n| !format!("{n:?}").contains('e'))
            .prop_map(Value::Float),
        (0..4_000_000_000i64).prop_map(|seconds| {
            Value::DateTime(Utc.timestamp_opt(seconds, 0).single().expect("a time"))
        }),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8)
                .prop_map(|items| Value::Array(items.into_iter().map(node).collect())),
            prop::collection::vec(("[^\"\\r\\n\\x00]*", inner), 0..8)
                .prop_map(|pairs| Value::Map(map_of(pairs))),
        ]
    })
}

/// Without the positions, which the written text does not keep.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, &b.value))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.entries().count() == b.entries().count()
                && a.entries()
                    .zip(b.entries())
                    .all(|(a, b)| a.key == b.key && same(&a.node.value, &b.node.value))
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn values_round_trip(value in any_value()) {
        let text = format!("a: {}", written(&value));
        let map = parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let read = &map.get("a").expect("the key is there").node.value;
        prop_assert!(same(read, &value), "{text} is read as {read:?}");
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(&text);
    }

    /// Text made of the signs of the language gets further than any text.
    #[test]
    fn any_signs_are_read_or_refused(
        text in "([a-c{}\\[\\]()#/:=,; \\n\\r\"'$.0-9\\\\xkb-]|é|include |true|T|Z){0,60}",
    ) {
        let environment = [("a", "$b"), ("b", "[$c, {a: $a}]"), ("c", "'")];
        let _ = with_environment(&text, &environment);
    }

    #[test]
    fn any_file_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let files = Files::new(&[]);
        fs::write(files.main(), bytes).expect("it can be written");
        let _ = files.read();
    }
}
