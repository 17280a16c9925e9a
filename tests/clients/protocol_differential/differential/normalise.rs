//! Masks what may differ between two brokers, or two runs of one, and nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Event, Transcript};
use test_support::{Frame, raw_client::parse_info, wire::escape};

/// The entry of a transcript for an expected frame that was not received.
pub const NOTHING: &str = "nothing came";

/// INFO fields whose values differ from run to run or from broker to broker;
/// their presence and type are compared.
const MASKED_INFO: [&str; 6] = ["client_id", "go", "nonce", "server_id", "version", "xkey"];

/// INFO fields that only one of the brokers has.
const IGNORED_INFO: [(&str, &str); 4] = [
    (
        "api_lvl",
        "level of the JetStream API, which midge does not serve",
    ),
    ("git_commit", "absent from a build outside a repository"),
    (
        "midge",
        "midge's own version beside the one it is compatible with",
    ),
    (
        "xkey",
        "key for the auth callout, which midge does not have",
    ),
];

/// The comparable text of what each connection received from a broker that listens at
/// `port`.
pub fn transcript(
    seen: BTreeMap<usize, Vec<Event>>,
    port: u16,
    any_member: bool,
    show_pings: bool,
) -> Transcript {
    let mut transcript = Transcript::new();
    let mut heap = Vec::new();
    for (number, events) in seen {
        let mut frames = Vec::new();
        for event in events {
            match event {
                Event::Frame(frame) if frame.line == b"PING" && !show_pings => (),
                Event::Frame(frame) if any_member && frame.is_message() => {
                    heap.push(without_sid(&frame));
                }
                event => frames.push(event),
            }
        }
        transcript.insert(number, in_stable_order(frames, port));
    }
    if any_member {
        heap.sort();
        transcript.insert(usize::MAX, heap);
    }
    transcript
}

/// The order among subscriptions is not defined: the deliveries of one message to one
/// connection follow each other and are sorted.
fn in_stable_order(events: Vec<Event>, port: u16) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut run_start = 0;
    let mut run_key = None;
    for event in events {
        let key = match &event {
            Event::Frame(frame) if frame.is_message() => Some(message_key(frame)),
            _ => None,
        };
        if key.is_none() || key != run_key {
            lines[run_start..].sort();
            run_start = lines.len();
        }
        run_key = key;
        lines.push(text(&event, port));
    }
    lines[run_start..].sort();
    lines
}

/// What all deliveries of one message share: everything but the subscription id.
fn message_key(frame: &Frame) -> (Vec<String>, Vec<u8>) {
    let mut arguments = frame.arguments();
    if arguments.len() > 1 {
        arguments.remove(1);
    }
    (arguments, frame.body.clone())
}

fn without_sid(frame: &Frame) -> String {
    let (arguments, body) = message_key(frame);
    format!("{} {arguments:?} | {}", escape(frame.verb()), escape(&body))
}

fn text(event: &Event, port: u16) -> String {
    match event {
        Event::Closed => "closed".to_owned(),
        Event::Nothing => NOTHING.to_owned(),
        Event::Frame(frame) => match parse_info(frame) {
            Some(info) => info_text(info, port),
            None => format!("{frame:?}"),
        },
    }
}

/// A port and a name that the broker chose itself are masked, those of the
/// configuration are not.
///
/// A nats-server has a space behind it; midge has none, as the oldest clients cut
/// the line at spaces.
fn info_text(mut info: Value, port: u16) -> String {
    if info["port"] == port {
        info["port"] = Value::from("<the port that it listens at>");
    }
    if info["server_name"] == info["server_id"] {
        info["server_name"] = Value::from("<its id>");
    }
    if let Some(fields) = info.as_object_mut() {
        for (name, _) in IGNORED_INFO {
            fields.remove(name);
        }
        for (name, value) in fields.iter_mut() {
            if MASKED_INFO.contains(&name.as_str()) {
                *value = Value::from(match value {
                    Value::Number(_) => "<number>",
                    Value::String(_) => "<string>",
                    _ => "<other type>",
                });
            }
        }
    }
    format!("INFO {info}")
}
