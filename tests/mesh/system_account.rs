//! The system account compared with a real nats-server 2.15: the same requests and
//! incidents give replies and events with the same fields.

mod access;
mod encodings;
mod requests;
mod same_fields;

use std::collections::BTreeMap;

use serde_json::Value;
use test_support::{Broker, Frame, RawClient};

const CONFIG: &str = r#"
accounts {
  A { users: [ { user: a, password: a } ] }
  B { users: [ { user: b, password: b } ] }
  $SYS { users: [ { user: s, password: s } ] }
}
"#;

/// Fields that only one of the two has, by the last part of their path, with the reason.
const DECLARED: &[(&str, &str)] = &[
    ("dropped_bytes", "midge counts loss"),
    ("dropped_msgs", "midge counts loss"),
    ("logins", "midge counts logins"),
    ("no_interest_msgs", "midge counts what reached nobody"),
    ("permission_violations", "midge counts violations"),
    ("written_bytes", "midge counts what it wrote"),
    ("written_msgs", "midge counts what it wrote"),
    ("feature_flags", "switches of JetStream"),
    ("midge", "midge's own version"),
    (
        "responses",
        "services of the system account are no imports here",
    ),
];

fn log_in(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":\"n\",\"lang\":\"l\",\"version\":\"1\",\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\n"
    ));
    client.sync();
    client
}

/// Sends a request and waits for the reply; `None` without responders.
fn ask(client: &mut RawClient, subject: &str, body: &str) -> Option<Value> {
    client.send(format!(
        "SUB inbox.* 77\r\nPUB {subject} inbox.1 {}\r\n{body}\r\n",
        body.len()
    ));
    let frame = client.next_message();
    client.send("UNSUB 77\r\n");
    client.sync();
    (frame.verb() == b"MSG").then(|| json(&frame))
}

fn json(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.body).unwrap_or_else(|error| panic!("{error}: {frame:?}"))
}

/// The paths in a JSON value and their types; elements of lists share one path.
fn fields(value: &Value) -> BTreeMap<String, &'static str> {
    fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, &'static str>) {
        let kind = match value {
            Value::Array(items) => {
                items.iter().for_each(|item| walk(path, item, found));
                "list"
            }
            Value::Bool(_) => "boolean",
            Value::Null => "null",
            Value::Number(_) => "number",
            Value::Object(map) => {
                for (name, value) in map {
                    if !DECLARED.iter().any(|(declared, _)| declared == name) {
                        walk(&format!("{path}.{name}"), value, found);
                    }
                }
                "object"
            }
            Value::String(_) => "string",
        };
        found.entry(path.to_owned()).or_insert(kind);
    }
    let mut found = BTreeMap::new();
    walk("", value, &mut found);
    found
}

struct Side {
    broker: Broker,
    system: RawClient,
    client: RawClient,
    id: String,
}

impl Side {
    fn new(broker: Broker) -> Self {
        let mut system = log_in(&broker, "s");
        let client = log_in(&broker, "a");
        let identity = ask(&mut system, "$SYS.REQ.SERVER.PING.IDZ", "").expect("an answer");
        Self {
            id: identity["id"].as_str().expect("an id").to_owned(),
            broker,
            system,
            client,
        }
    }

    fn both() -> [Self; 2] {
        [
            Self::new(Broker::midge().config(CONFIG).start()),
            Self::new(Broker::nats_server().config(CONFIG).start()),
        ]
    }
}
