//! INFO and CONNECT: the keys that the broker announces, the fields that it accepts, and
//! the errors for the others.

use super::{Case, case, framing::QUIET, one};

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = fields();
    cases.extend(json());
    cases.extend(second_connect());
    cases.extend(connect_info());
    cases.extend(announced());
    cases
}

/// Every field with values of right and wrong types.
fn fields() -> Vec<Case> {
    [
        "\"verbose\":true",
        "\"verbose\":false",
        "\"verbose\":null",
        "\"verbose\":\"false\"",
        "\"verbose\":0",
        "\"pedantic\":true",
        "\"pedantic\":false",
        "\"pedantic\":1",
        "\"echo\":true",
        "\"echo\":false",
        "\"echo\":null",
        "\"echo\":\"no\"",
        "\"protocol\":0",
        "\"protocol\":1",
        "\"protocol\":2",
        "\"protocol\":-1",
        "\"protocol\":\"1\"",
        "\"protocol\":1.5",
        "\"protocol\":1.0",
        "\"protocol\":null",
        "\"protocol\":99999999999",
        "\"protocol\":99999999999999999999",
        "\"protocol\":true",
        "\"headers\":true",
        "\"headers\":\"true\"",
        "\"headers\":1",
        "\"headers\":null",
        "\"no_responders\":true",
        "\"no_responders\":false",
        "\"no_responders\":1",
        "\"no_responders\":true,\"headers\":true",
        "\"user\":\"u\",\"pass\":\"p\"",
        "\"user\":1",
        "\"pass\":1",
        "\"auth_token\":\"t\"",
        "\"auth_token\":1",
        "\"nkey\":\"x\",\"sig\":\"y\"",
        "\"nkey\":1",
        "\"sig\":1",
        "\"jwt\":\"x\"",
        "\"jwt\":1",
        "\"name\":\"n\",\"lang\":\"l\",\"version\":\"v\"",
        "\"name\":1",
        "\"name\":[]",
        "\"lang\":1",
        "\"version\":1",
        "\"version\":null",
        "\"tls_required\":true",
        "\"tls_required\":\"x\"",
        "\"account\":\"\"",
        "\"account\":\"A\"",
        "\"account\":1",
        "\"new_account\":false",
        "\"new_account\":true",
        "\"new_account\":1",
        "\"proxy_sig\":\"x\"",
        "\"import\":null",
        "\"unknown\":{\"a\":[1,2,{\"b\":null}]}",
    ]
    .map(|field| {
        one(
            format!("field {field}"),
            format!(
                "CONNECT {{{field}}}\r\nSUB a 1\r\nPUB a r 1\r\nx\r\nPUB a. 1\r\nx\r\nPING\r\n"
            ),
        )
    })
    .into()
}

/// Input of the JSON parser.
fn json() -> Vec<Case> {
    let nested = format!("{{\"x\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    [
        ("nothing", ""),
        ("unfinished", "{"),
        ("unfinished string", "{\"name\":\"x}"),
        ("list", "[]"),
        ("null", "null"),
        ("string", "\"x\""),
        ("number", "1"),
        ("word", "hello"),
        ("text after it", "{} x"),
        ("two objects", "{}{}"),
        ("missing comma", "{\"a\":1 \"b\":2}"),
        ("comma at the end", "{\"verbose\":false,}"),
        ("single quotes", "{'verbose':false}"),
        ("key without quotes", "{verbose:false}"),
        ("upper case key", "{\"VERBOSE\":false}"),
        (
            "mixed case key",
            "{\"No_Responders\":true,\"Headers\":true,\"Verbose\":false}",
        ),
        ("key given twice", "{\"verbose\":false,\"verbose\":true}"),
        (
            "key given twice in two cases",
            "{\"verbose\":true,\"Verbose\":false}",
        ),
        ("escaped key", "{\"\\u0076erbose\":false}"),
        ("surrogate pair", "{\"name\":\"\\ud83d\\ude00\"}"),
        ("bad escape", "{\"name\":\"\\x\"}"),
        ("control byte in a string", "{\"name\":\"\x01\"}"),
        ("tab in a string", "{\"name\":\"\t\"}"),
        (
            "blanks within",
            "{ \"verbose\" : false , \"name\" : \"x y\" }",
        ),
        ("huge number", "{\"x\":1e999}"),
        ("bad number", "{\"x\":01}"),
        ("deep nesting", nested.as_str()),
    ]
    .map(|(name, json)| {
        one(
            format!("JSON: {name}"),
            format!("CONNECT {json}\r\nSUB a 1\r\n"),
        )
    })
    .into_iter()
    .chain([one(
        "JSON: bytes that are no UTF-8",
        b"CONNECT {\"name\":\"\xff\xfe\",\"verbose\":false}\r\nSUB a 1\r\n",
    )])
    .collect()
}

fn second_connect() -> Vec<Case> {
    let again = |name: &str, first: &str, second: &str| {
        one(
            format!("second CONNECT {name}"),
            format!(
                "CONNECT {{{first}}}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nCONNECT {{{second}}}\r\nPUB a 1\r\ny\r\nSUB a 2\r\nPUB a 1\r\nz\r\nPUB a. 1\r\n.\r\nPING\r\n"
            ),
        )
    };
    vec![
        again(
            "drops the subscriptions",
            "\"verbose\":false",
            "\"verbose\":false",
        ),
        again(
            "keeps what it does not name",
            "\"verbose\":false,\"pedantic\":false,\"echo\":false",
            "",
        ),
        again(
            "changes what it names",
            "\"verbose\":false,\"echo\":false",
            "\"pedantic\":false,\"echo\":true",
        ),
        again("with bad JSON", "\"verbose\":false", "\"verbose\":"),
        again("with a bad protocol", "\"verbose\":false", "\"protocol\":7"),
        again("after implicit defaults", "", "\"verbose\":false"),
        one(
            "second CONNECT frees the subscription id",
            format!("{QUIET}SUB a 1\r\n{QUIET}SUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n"),
        ),
        one(
            "CONNECT after other operations",
            format!("SUB a 1\r\nPUB a 1\r\nx\r\n{QUIET}PUB a 1\r\ny\r\n"),
        ),
    ]
}

fn connect_info() -> Vec<Case> {
    let protocol = |value: &str| format!("CONNECT {{\"verbose\":false,\"protocol\":{value}}}\r\n");
    vec![
        one(
            "INFO after the first PING only",
            format!("{}PING\r\nPING\r\nPING\r\n", protocol("1")),
        ),
        one(
            "no INFO with protocol 0",
            format!("{}PING\r\nPING\r\n", protocol("0")),
        ),
        one(
            "PING before CONNECT with protocol 1",
            format!("PING\r\n{}PING\r\nPING\r\n", protocol("1")),
        ),
        one(
            "protocol raised later",
            format!("{}PING\r\n{}PING\r\n", protocol("0"), protocol("1")),
        ),
        one(
            "two CONNECTs with protocol 1",
            format!("{}PING\r\n{}PING\r\n", protocol("1"), protocol("1")),
        ),
        one(
            "INFO comes after the PONG and before what follows",
            format!(
                "{}SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\nPUB a 1\r\ny\r\n",
                protocol("1")
            ),
        ),
    ]
}

fn announced() -> Vec<Case> {
    let with = |config: &str| {
        case(format!("INFO with {config:?}"))
            .config(config)
            .send(0, "CONNECT {\"verbose\":false,\"protocol\":1}\r\n")
            .sync(0)
    };
    vec![
        with(""),
        with("max_payload: 1000\n"),
        with("max_payload: 1KB\n"),
        with("server_name: some-name\n"),
        with("no_header_support: true\n"),
        with("client_advertise: \"example.org:9999\"\n"),
        with("client_advertise: \"example.org\"\n"),
        with("client_advertise: \"example.org:0\"\n"),
        with("client_advertise: \"[2001:db8::1]:4333\"\n"),
        with("client_advertise: \"[::1]:4222\"\n"),
        with("client_advertise: \"[::1]\"\n"),
    ]
}
