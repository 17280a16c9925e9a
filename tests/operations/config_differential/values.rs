//! The effective values after the same file was read, as `/varz` of both servers shows
//! them.

use std::fs;

use serde_json::Value;

use test_support::{Broker, BrokerBuilder};

/// Files, and the fields of `/varz` that they set.
const FILES: &[(&str, &[&str])] = &[
    (
        "max_connections: 77, max_subs: 5, max_payload: 2MB, max_pending: 128mib, \
         max_control_line: 8k",
        &[
            "max_connections",
            "max_subscriptions",
            "max_payload",
            "max_pending",
            "max_control_line",
        ],
    ),
    (
        "MAX_CONN: 1k, Max_Payload = 1KB",
        &["max_connections", "max_payload"],
    ),
    (
        "{ \"max_payload\": 65536, \"ping_max\": 3 }",
        &["max_payload", "ping_max"],
    ),
    ("max_payload 5\nmax_payload 6", &["max_payload"]),
    ("size = 3MB\nmax_payload: $size", &["max_payload"]),
    ("max_connections: -1", &["max_connections"]),
    (
        "ping_interval: \"90s\"\nping_max: 5",
        &["ping_interval", "ping_max"],
    ),
    ("ping_interval: \"1h30m\"", &["ping_interval"]),
    ("ping_interval: 90", &["ping_interval"]),
    (
        "ping_interval: 0, ping_max: 0",
        &["ping_interval", "ping_max"],
    ),
    ("write_deadline: \"2s\"", &["write_deadline"]),
    ("write_deadline: 2", &["write_deadline"]),
    ("server_tags: [\"A b\", \" c \", a, A]", &["tags"]),
    ("server_tags: \"One\"", &["tags"]),
    (
        "server_metadata { x: y, \"q r\": \"s\\\"t\" }",
        &["metadata"],
    ),
    ("server_name: \"broker-1\"", &["server_name"]),
    ("client_advertise: \"me:5\"", &["host", "port"]),
    ("client_advertise: \"example.org:9999\"", &["host", "port"]),
    (
        "client_advertise: \"[2001:db8::1]:4333\"",
        &["host", "port"],
    ),
    ("client_advertise: \"[::1]:4222\"", &["host", "port"]),
    ("client_advertise: \"[::1]\"", &["host"]),
    ("client_advertise: host", &["host"]),
    ("authorization { user: a, password: b }", &["auth_required"]),
    (
        "authorization { user: a, password: b, timeout: 3 }",
        &["auth_required", "auth_timeout"],
    ),
    (
        "authorization { user: a, password: b, timeout: \"1500ms\" }",
        &["auth_timeout"],
    ),
    ("http_base_path: \"/nats\"", &["http_base_path"]),
    (
        "system_account: A\naccounts { A { users: [ { user: a, password: b } ] } }",
        &["system_account"],
    ),
    (
        "max_payload: 0, max_pending: 0, max_control_line: 0",
        &["max_payload", "max_pending", "max_control_line"],
    ),
    (
        "write_timeout: close, no_fast_producer_stall: true, proxy_protocol: false",
        &["write_deadline"],
    ),
    ("include more.conf", &["max_payload"]),
];

fn varz(broker: BrokerBuilder, text: &str) -> Value {
    let broker = broker.config(text).start();
    let path = match text.contains("http_base_path") {
        true => "/nats/varz",
        false => "/varz",
    };
    broker.get_json(path)
}

/// Integers may be written with a fraction or without.
fn is_same(theirs: &Value, ours: &Value) -> bool {
    match (theirs.as_f64(), ours.as_f64()) {
        (Some(theirs), Some(ours)) => (theirs - ours).abs() < f64::EPSILON,
        _ => theirs == ours,
    }
}

#[test]
fn the_effective_values_are_the_same() {
    let folder = tempfile::TempDir::new().expect("a folder");
    fs::write(folder.path().join("more.conf"), "max_payload: 4321\n").expect("written");
    let mut wrong = Vec::new();
    for (text, fields) in FILES {
        // An included file is found relative to the including file, in any directory.
        let text = match *text {
            "include more.conf" => {
                let up = "../".repeat(16);
                let place = folder.path().join("more.conf").display().to_string();
                format!("include \"{up}{}\"", place.trim_start_matches('/'))
            }
            text => text.to_owned(),
        };
        let theirs = varz(Broker::nats_server(), &text);
        let ours = varz(Broker::midge(), &text);
        for field in *fields {
            if !is_same(&theirs[field], &ours[field]) {
                wrong.push(format!(
                    "{text}: {field}: {} there, {} here",
                    theirs[field], ours[field]
                ));
            }
        }
        if theirs["config_digest"] != ours["config_digest"] {
            wrong.push(format!("{text}: another digest"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
