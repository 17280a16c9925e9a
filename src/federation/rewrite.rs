//! From a message of one side to that of the other: what is checked, and what is changed.
//!
//! A *request* comes from a client at the upstream brokers and goes to its targets at the site; a
//! *reply* comes from a node of the site and goes back to the client. All state is in the messages,
//! so that any federation broker of the site can take either. [`super::session`] calls this.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::{
    checks::Rules,
    filter::{self, Asked},
    refusal::Refusal,
    transport::{FEDERATION, Object, Transport, quoted},
};

/// Targets of one request. A client sends 200 at a time.
const TARGETS_MAX: usize = 10_000;

/// Brokers and clients that a message may have come through.
const HOPS_MAX: usize = 64;

/// What one federation broker writes into the hops of a message.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The broker that the message was read from.
    pub from: String,
    /// Who passed it on.
    pub who: String,
    /// The broker that it was written to.
    pub to: String,
}

/// A request on its way to the nodes.
#[derive(Debug)]
pub struct Request {
    /// What they get.
    pub payload: Vec<u8>,
    /// The subjects that it is published on, each once.
    pub targets: BTreeSet<String>,
    /// Its id; empty if it has none.
    pub id: String,
    /// Whom it is for.
    pub asked: Asked,
}

/// A reply on its way to the client.
#[derive(Debug)]
pub struct Reply {
    /// What the client gets.
    pub payload: Vec<u8>,
    /// The subject that it is published on.
    pub target: String,
    /// The id of its request; empty if it has none.
    pub id: String,
    /// The node that has sent it; empty if it does not say.
    pub sender: String,
}

impl Request {
    /// Whether it is for the agent `discovery` alone, which answers without any work.
    pub fn is_discovery(&self) -> bool {
        let is_it = |target: &String| target.ends_with(".broadcast.agent.discovery");
        self.targets.iter().all(is_it)
    }
}

/// Makes of a request from upstream what is published at the site. The answers are to come to
/// `reply_to`.
///
/// # Errors
///
/// Why it is not passed on.
pub fn request(
    payload: &[u8],
    rules: &Rules,
    reply_to: &str,
    hop: &Hop,
) -> Result<Request, Refusal> {
    let mut transport = Transport::read(payload)?;
    let names = transport.names;
    let json = federation_of(&transport)?;
    let mut federation = Object::read(&json)?;
    let targets = federation.get(names.targets).ok_or(Refusal::NoTargets)?;
    let targets: Vec<String> = serde_json::from_str(targets).map_err(|_| Refusal::NoTargets)?;
    if targets.is_empty() {
        return Err(Refusal::NoTargets);
    }
    if targets.len() > TARGETS_MAX {
        return Err(Refusal::TooManyTargets);
    }
    if !targets.iter().all(|target| rules.allows_target(target)) {
        return Err(Refusal::Target);
    }
    let client = transport.headers.text(names.reply_to);
    let client = client.ok_or(Refusal::NoReplyTo)?;
    if !rules.allows_reply(&client) {
        return Err(Refusal::ReplyTo);
    }
    let asked = filter::asked(&transport, &targets);
    add_hop(&mut transport, hop, true)?;
    federation.remove(names.targets);
    federation.set(names.final_reply, quoted(&client));
    let id = federation.text(names.request).unwrap_or_default();
    let federation = federation.to_string();
    transport.headers.set(FEDERATION, federation);
    transport.headers.set(names.reply_to, quoted(reply_to));
    Ok(Request {
        payload: transport.written(),
        targets: targets.into_iter().collect(),
        id,
        asked,
    })
}

/// Makes of a reply of the site what is published upstream.
///
/// # Errors
///
/// Why it is not passed on.
pub fn reply(payload: &[u8], rules: &Rules, hop: &Hop) -> Result<Reply, Refusal> {
    let mut transport = Transport::read(payload)?;
    let names = transport.names;
    let json = federation_of(&transport)?;
    let federation = Object::read(&json)?;
    let target = federation.text(names.final_reply);
    let target = target.ok_or(Refusal::NoReplyTo)?;
    if !rules.allows_reply(&target) {
        return Err(Refusal::ReplyTo);
    }
    let id = federation.text(names.request).unwrap_or_default();
    let sender = transport.headers.text(names.sender).unwrap_or_default();
    add_hop(&mut transport, hop, false)?;
    transport.headers.remove(FEDERATION);
    Ok(Reply {
        payload: transport.written(),
        target,
        id,
        sender,
    })
}

fn federation_of(transport: &Transport<'_>) -> Result<String, Refusal> {
    let json = transport.headers.get(FEDERATION);
    match json {
        None | Some("null") => Err(Refusal::NotFederated),
        Some(json) => Ok(json.to_owned()),
    }
}

/// Adds a hop, if the message records them. A request that has come through here before is in a
/// loop; a reply comes through a second time.
fn add_hop(transport: &mut Transport<'_>, hop: &Hop, is_request: bool) -> Result<(), Refusal> {
    let name = transport.names.seen_by;
    let Some(json) = transport.headers.get(name).filter(|json| *json != "null") else {
        return Ok(());
    };
    let hops: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| Refusal::Hops)?;
    if hops.len() >= HOPS_MAX {
        return Err(Refusal::Loop);
    }
    if is_request && hops.iter().any(|json| is_hop_of(json, &hop.who)) {
        return Err(Refusal::Loop);
    }
    let parts = [&hop.from, &hop.who, &hop.to].map(|part| quoted(part));
    let own = format!("[{}]", parts.join(","));
    let all = hops.iter().map(|json| json.get()).chain([&*own]);
    let all: Vec<&str> = all.collect();
    let all = format!("[{}]", all.join(","));
    transport.headers.set(name, all);
    Ok(())
}

/// Whether a recorded hop is of a federation broker that calls itself so.
fn is_hop_of(json: &RawValue, who: &str) -> bool {
    let parts: Result<Vec<String>, _> = serde_json::from_str(json.get());
    parts.is_ok_and(|parts| parts.get(1).is_some_and(|part| part == who))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const REPLY_TO: &str = "choria.federation.prod.collective";

    fn hop() -> Hop {
        Hop {
            from: "nats://central1:4222".into(),
            who: "prod:midge @ fed1.example.net".into(),
            to: "nats://fed1.example.net:4222".into(),
        }
    }

    fn rules() -> Rules {
        Rules::new(&["mcollective".to_owned()])
    }

    fn pass(message: &Value) -> Result<(Value, Request), Refusal> {
        let request = request(message.to_string().as_bytes(), &rules(), REPLY_TO, &hop())?;
        let payload = serde_json::from_slice(&request.payload).expect("JSON");
        Ok((payload, request))
    }

    fn pass_reply(message: &Value) -> Result<(Value, Reply), Refusal> {
        let reply = reply(message.to_string().as_bytes(), &rules(), &hop())?;
        let payload = serde_json::from_slice(&reply.payload).expect("JSON");
        Ok((payload, reply))
    }

    /// As recorded between real clients, federation brokers and nodes.
    fn client_request() -> Value {
        json!({
            "data": "c2lnbmVk",
            "headers": {
                "mc_sender": "admin.example.net",
                "seen-by": [["admin.example.net", "nats://central1:4222"]],
                "reply-to": "mcollective.reply.admin.example.net.999.0",
                "federation": {
                    "target": ["mcollective.node.web1.example.net"],
                    "req": "0f8c5f2c1f9b5a6e8d3f",
                },
            },
            "protocol": "choria:transport:1",
        })
    }

    #[test]
    fn a_request_goes_to_its_targets_and_is_answered_here() {
        let (payload, request) = pass(&client_request()).expect("it is passed on");
        assert_eq!(
            request.targets.iter().collect::<Vec<_>>(),
            ["mcollective.node.web1.example.net"]
        );
        assert_eq!(request.id, "0f8c5f2c1f9b5a6e8d3f");
        let expected = json!({
            "data": "c2lnbmVk",
            "headers": {
                "mc_sender": "admin.example.net",
                "seen-by": [
                    ["admin.example.net", "nats://central1:4222"],
                    ["nats://central1:4222", "prod:midge @ fed1.example.net", "nats://fed1.example.net:4222"],
                ],
                "reply-to": REPLY_TO,
                "federation": {
                    "req": "0f8c5f2c1f9b5a6e8d3f",
                    "reply-to": "mcollective.reply.admin.example.net.999.0",
                },
            },
            "protocol": "choria:transport:1",
        });
        assert_eq!(payload, expected);
    }

    #[test]
    fn a_reply_goes_to_the_client_without_what_was_for_federation_brokers() {
        let message = json!({
            "data": "c2lnbmVk",
            "headers": {
                "mc_sender": "web1.example.net",
                "seen-by": [["a"], ["b", "prod:midge @ fed1.example.net", "c"], ["d", "web1", "e"]],
                "federation": { "req": "1", "reply-to": "mcollective.reply.abc.1" },
            },
            "protocol": "choria:transport:1",
        });
        let (payload, reply) = pass_reply(&message).expect("it is passed on");
        assert_eq!(
            (&*reply.target, &*reply.id, &*reply.sender),
            ("mcollective.reply.abc.1", "1", "web1.example.net")
        );
        let headers = &payload["headers"];
        assert!(headers.get("federation").is_none());
        assert_eq!(headers["mc_sender"], "web1.example.net");
        assert_eq!(headers["seen-by"].as_array().map(Vec::len), Some(4));
        assert_eq!(headers["seen-by"][3][1], "prod:midge @ fed1.example.net");
    }

    #[test]
    fn version_2_has_names_of_its_own() {
        let message = json!({
            "protocol": "io.choria.protocol.v2.transport",
            "data": "c2lnbmVk",
            "headers": {
                "reply": "mcollective.reply.abc.1",
                "sender": "admin",
                "trace": [["a", "b", "c"]],
                "federation": { "request": "1", "targets": ["mcollective.broadcast.agent.rpcutil"] },
            },
        });
        let (payload, request) = pass(&message).expect("it is passed on");
        assert_eq!(request.id, "1");
        let headers = &payload["headers"];
        assert_eq!(headers["reply"], REPLY_TO);
        assert_eq!(
            headers["federation"],
            json!({ "request": "1", "reply": "mcollective.reply.abc.1" })
        );
        assert_eq!(headers["trace"].as_array().map(Vec::len), Some(2));
        let (payload, reply) = pass_reply(&payload).expect("it is passed on");
        assert_eq!(
            (&*reply.target, &*reply.sender),
            ("mcollective.reply.abc.1", "admin")
        );
        assert!(payload["headers"].get("federation").is_none());
    }

    #[test]
    fn no_hop_is_added_where_none_are_recorded() {
        let mut message = client_request();
        let headers = message["headers"].as_object_mut().expect("an object");
        headers.remove("seen-by");
        let (payload, _) = pass(&message).expect("it is passed on");
        assert!(payload["headers"].get("seen-by").is_none());
        let mut message = client_request();
        message["headers"]["seen-by"] = Value::Null;
        let (payload, _) = pass(&message).expect("it is passed on");
        assert!(payload["headers"]["seen-by"].is_null());
    }

    #[test]
    fn a_request_that_comes_again_is_in_a_loop() {
        let (first, _) = pass(&client_request()).expect("it is passed on");
        let mut again = client_request();
        again["headers"]["seen-by"] = first["headers"]["seen-by"].clone();
        assert_eq!(pass(&again).map(drop), Err(Refusal::Loop));
        // What goes through many others ends as well.
        again["headers"]["seen-by"] = json!(vec![["a", "b", "c"]; HOPS_MAX]);
        assert_eq!(pass(&again).map(drop), Err(Refusal::Loop));
    }

    #[test]
    fn what_is_no_federated_request_is_refused() {
        type Change = fn(&mut Value);
        let with = |change: Change| {
            let mut message = client_request();
            change(&mut message["headers"]);
            pass(&message).map(drop)
        };
        let changes: [(Change, Refusal); 12] = [
            (|it| it["federation"] = Value::Null, Refusal::NotFederated),
            (|it| it["federation"] = json!([]), Refusal::Malformed),
            (
                |it| it["federation"]["target"] = json!([]),
                Refusal::NoTargets,
            ),
            (
                |it| it["federation"]["target"] = json!("a"),
                Refusal::NoTargets,
            ),
            (
                |it| it["federation"]["target"] = json!([1]),
                Refusal::NoTargets,
            ),
            (
                |it| {
                    it["federation"]["target"] = json!(vec!["mcollective.node.a"; TARGETS_MAX + 1])
                },
                Refusal::TooManyTargets,
            ),
            (
                |it| it["federation"]["target"] = json!(["mcollective.node.a", "other.subject"]),
                Refusal::Target,
            ),
            // The federation broker of another site, or this one.
            (
                |it| it["federation"]["target"] = json!(["choria.federation.prod.federation"]),
                Refusal::Target,
            ),
            (|it| it["reply-to"] = Value::Null, Refusal::NoReplyTo),
            (
                |it| it["reply-to"] = json!("other.subject"),
                Refusal::ReplyTo,
            ),
            (|it| it["reply-to"] = json!(REPLY_TO), Refusal::ReplyTo),
            (|it| it["seen-by"] = json!("a"), Refusal::Hops),
        ];
        for (index, (change, refusal)) in changes.into_iter().enumerate() {
            assert_eq!(with(change), Err(refusal), "change {index}");
        }
        assert_eq!(
            pass(&json!({ "headers": {} })).map(drop),
            Err(Refusal::NotFederated)
        );
        assert_eq!(pass(&json!([])).map(drop), Err(Refusal::Malformed));
        let odd = json!({ "protocol": "x", "headers": {} });
        assert_eq!(pass(&odd).map(drop), Err(Refusal::Protocol));
    }

    #[test]
    fn each_target_gets_a_request_once() {
        let mut message = client_request();
        let targets: Vec<String> = (0..500)
            .map(|n| format!("mcollective.node.n{}", n % 300))
            .collect();
        message["headers"]["federation"]["target"] = json!(targets);
        let (_, request) = pass(&message).expect("it is passed on");
        assert_eq!(request.targets.len(), 300);
    }

    #[test]
    fn the_agent_discovery_is_told_from_others() {
        for (targets, expected) in [
            (json!(["mcollective.broadcast.agent.discovery"]), true),
            (json!(["mcollective.broadcast.agent.puppet"]), false),
            (json!(["mcollective.node.discovery"]), false),
            (
                json!([
                    "mcollective.broadcast.agent.discovery",
                    "mcollective.node.web1"
                ]),
                false,
            ),
        ] {
            let mut message = client_request();
            message["headers"]["federation"]["target"] = targets;
            let (_, request) = pass(&message).expect("it is passed on");
            assert_eq!(request.is_discovery(), expected, "{message}");
        }
    }

    proptest! {
        /// The signed part and what is not known here stay as they are, in both directions.
        #[test]
        fn nothing_but_the_headers_of_federation_changes(
            data in "\\PC{0,40}", number in any::<i64>(), name in "x[a-z]{1,8}", id in "[0-9a-f]{1,32}",
        ) {
            let mut message = client_request();
            message["data"] = json!(data);
            message["headers"][&name] = json!({ "number": number });
            message["headers"]["federation"]["req"] = json!(id);
            message["headers"]["federation"][&name] = json!(number);
            message[&name] = json!([number]);
            let (there, request) = pass(&message).expect("it is passed on");
            prop_assert_eq!(&request.id, &id);
            let (back, reply) = pass_reply(&there).expect("it is passed on");
            prop_assert_eq!(&reply.id, &id);
            prop_assert_eq!(&json!(reply.target), &message["headers"]["reply-to"]);
            for passed in [&there, &back] {
                prop_assert_eq!(&passed["data"], &message["data"]);
                prop_assert_eq!(&passed["headers"][&name], &message["headers"][&name]);
                prop_assert_eq!(&passed[&name], &message[&name]);
            }
            prop_assert_eq!(&there["headers"]["federation"][&name], &json!(number));
        }
    }
}
