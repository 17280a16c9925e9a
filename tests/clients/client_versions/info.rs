//! INFO as the oldest parsers take it: they split its line at blanks, or look for a value without
//! going into nested ones.

use serde_json::Value;
use test_support::{
    Broker, Frame, RawClient,
    mesh::{Kind, Plan, wait_for_mesh},
    pki::Pki,
    ports::free_port,
};

/// All that midge may say in INFO: the first one, the one after the login, and that of lame duck
/// mode; with other brokers of the cluster, TLS, a nonce, and an account.
#[test]
fn info_is_read_by_the_oldest_parsers() {
    let pki = Pki::new(&["broker"]);
    let ports = [free_port(), free_port()];
    let plans = [("one", 0), ("two", 1)].map(|(name, at)| {
        let mut plan = Plan::new(Kind::Midge, name, ports[at], &[ports[1 - at]]);
        plan.config = format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}\nallow_non_tls: true\n\
             lame_duck_grace_period: 1s\naccounts {{ account: {{ users: [ \
             {{ nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 }}, \
             {{ user: a, password: b }} ] }} }}\n",
            pki.text("broker.pem"),
            pki.text("broker.key"),
        );
        plan
    });
    let members = plans.map(|plan| plan.start());
    wait_for_mesh(&[&members[0], &members[1]]);
    let broker = &members[0].broker;

    let mut client = RawClient::connect_silently(broker.client_addr());
    let first = readable(&next_info(&mut client));
    assert_eq!(first["tls_available"], true);
    assert!(first["nonce"].is_string(), "{first}");
    let urls = first["connect_urls"].as_array().map(Vec::len);
    assert_eq!(urls, Some(2), "{first}");
    client.send(
        "CONNECT {\"user\":\"a\",\"pass\":\"b\",\"protocol\":1,\"verbose\":false}\r\nPING\r\n",
    );
    let second = readable(&next_info(&mut client));
    assert_eq!(second["remote_account"], "account");
    broker.signal(libc::SIGUSR2);
    let third = readable(&next_info(&mut client));
    assert_eq!(third["ldm"], true);
}

/// A broker without settings says no more than it must.
#[test]
fn a_plain_info_is_read_by_the_oldest_parsers() {
    let broker = Broker::midge().start();
    let mut client = RawClient::connect_silently(broker.client_addr());
    let info = readable(&next_info(&mut client));
    // Some clients take the field's presence for its value.
    for field in ["tls_required", "tls_verify", "auth_required"] {
        assert!(info[field].is_null(), "{info}");
    }
}

fn next_info(client: &mut RawClient) -> Frame {
    loop {
        let frame = client.next_frame().expect("an INFO");
        if frame.verb() == b"INFO" {
            return frame;
        }
    }
}

/// The fields of a line that a parser can read which splits at blanks, has no escaped quotes, no
/// nested objects and no fractions, and reads a line of at most 32 KiB.
fn readable(frame: &Frame) -> Value {
    let line = std::str::from_utf8(&frame.line).expect("it is text");
    assert!(line.len() < 32 * 1024);
    let words: Vec<&str> = line.split(|c: char| c.is_ascii_whitespace()).collect();
    let ["INFO", json] = words[..] else {
        panic!("blanks within the JSON: {line}");
    };
    assert!(!json.contains("\\\""), "an escaped quote: {json}");
    let fields: Value = serde_json::from_str(json).expect("it is JSON");
    for (name, value) in fields.as_object().expect("an object") {
        let simple = match value {
            Value::Bool(_) | Value::String(_) => true,
            Value::Number(number) => number.as_i64().is_some(),
            Value::Array(items) => items.iter().all(Value::is_string),
            Value::Null | Value::Object(_) => false,
        };
        assert!(simple, "{name}: {value}");
    }
    fields
}
