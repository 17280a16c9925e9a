//! Whom a request to an agent is for: all nodes that have the agent, or those that a filter leaves.
//!
//! The filter is within what the client has signed, which is JSON in base64 in JSON. It is read and
//! never changed. What cannot be read, such as requests of MCollective's security plugin psk, is told
//! apart, and says nothing about who has to answer. [`super::rewrite`] is the one caller.
//!
//! | version | `data` in base64 | in it, the request | in that, the filter |
//! |---|---|---|---|
//! | 1, and MCollective with Choria's security plugin | an object | `message`, its JSON or [`yaml`] as a text | `envelope.filter` |
//! | 2 | an object | `request`, its JSON in base64 | `filter`, absent if it is empty |

mod yaml;

use data_encoding::BASE64_MIME_PERMISSIVE;
use serde::de::IgnoredAny;

use super::transport::{Object, Transport};
use crate::telemetry::pool::allocated;

/// Bytes of the longest `data` that is read: requests have about 5 KiB.
const DATA_LEN_MAX: usize = 256 * 1024;

/// Bytes of the longest subject of an agent that is noted, and of an agent's name in a filter.
const SUBJECT_LEN_MAX: usize = 256;
const AGENT_LEN_MAX: usize = 64;

/// Agents of one filter that are noted.
const AGENTS_MAX: usize = 8;

/// What comes behind the collective in the subject of an agent.
const AGENT: &str = ".broadcast.agent.";

/// Whom a request is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// Nodes that are named one by one, or a service.
    Named,
    /// Nodes that a filter leaves.
    Filtered,
    /// Nodes that are not known, because the request cannot be read.
    Unreadable,
    /// All nodes that have some agents.
    All(Agents),
}

/// Subjects of agents: a node that has subscribed to all of them has to answer.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Agents {
    /// The subject of the request.
    pub target: String,
    /// Those of the other agents that its filter asks for, in order.
    pub others: Vec<String>,
}

impl Agents {
    /// The subject by which its collective's nodes are named, but for the name itself.
    pub fn node_prefix(&self) -> Option<String> {
        let (collective, _) = self.target.split_once(AGENT)?;
        Some(format!("{collective}.node."))
    }

    /// Bytes that it holds besides itself.
    pub fn memory(&self) -> usize {
        let others = self.others.iter().map(|it| allocated(it.capacity()));
        allocated(self.target.capacity())
            + allocated(self.others.capacity() * size_of::<String>())
            + others.sum::<usize>()
    }
}

/// Whom a request to these targets is for.
pub fn asked(transport: &Transport<'_>, targets: &[String]) -> Asked {
    // Requests to an agent have one target.
    let [target] = targets else {
        return Asked::Named;
    };
    let Some((collective, agent)) = target.split_once(AGENT) else {
        return Asked::Named;
    };
    if target.len() > SUBJECT_LEN_MAX {
        return Asked::Unreadable;
    }
    match filter_of(transport) {
        None => Asked::Unreadable,
        Some(Filter::Narrows) => Asked::Filtered,
        Some(Filter::Agents(names)) => {
            let others = names.iter().filter(|name| *name != agent);
            let others = others.map(|name| format!("{collective}{AGENT}{name}"));
            let mut others: Vec<String> = others.collect();
            others.sort_unstable();
            others.dedup();
            Asked::All(Agents {
                target: target.clone(),
                others,
            })
        }
    }
}

/// What a filter says.
enum Filter {
    /// It asks for nodes with these agents, and for nothing else.
    Agents(Vec<String>),
    /// It asks for something that only the nodes know.
    Narrows,
}

impl Filter {
    /// One that asks for these agents, and perhaps for something else.
    fn of(agents: Vec<String>, has_others: bool) -> Self {
        let are_plain =
            agents.len() <= AGENTS_MAX && agents.iter().map(String::as_str).all(is_agent);
        match are_plain && !has_others {
            true => Self::Agents(agents),
            false => Self::Narrows,
        }
    }
}

/// `None` if it cannot be read.
fn filter_of(transport: &Transport<'_>) -> Option<Filter> {
    let data = transport.data.filter(|json| json.len() <= DATA_LEN_MAX)?;
    let secure = decoded(data)?;
    let secure = Object::read(&secure).ok()?;
    match transport.names.has_envelope {
        true => {
            let request = secure.text("message")?;
            if yaml::is_yaml(&request) {
                let (agents, has_others) = yaml::filter_of(&request)?;
                let agents = agents.into_iter().map(str::to_owned).collect();
                return Some(Filter::of(agents, has_others));
            }
            let request = Object::read(&request).ok()?;
            let envelope = Object::read(request.get("envelope")?).ok()?;
            read(envelope.get("filter")?)
        }
        false => {
            let request = decoded(secure.get("request")?)?;
            let request = Object::read(&request).ok()?;
            match request.get("filter") {
                None | Some("null") => Some(Filter::Agents(Vec::new())),
                Some(filter) => read(filter),
            }
        }
    }
}

/// The text that a JSON text is the base64 of, with or without line ends.
fn decoded(json: &str) -> Option<String> {
    let base64: String = serde_json::from_str(json).ok()?;
    let bytes = BASE64_MIME_PERMISSIVE.decode(base64.as_bytes()).ok()?;
    String::from_utf8(bytes).ok()
}

/// Kinds of filters that are not known here narrow as well.
fn read(filter: &str) -> Option<Filter> {
    let filter = Object::read(filter).ok()?;
    let mut agents = Vec::new();
    let mut has_others = false;
    for (kind, json) in filter.members() {
        match kind {
            "agent" if json != "null" => agents = serde_json::from_str(json).ok()?,
            _ => has_others |= !is_empty(json)?,
        }
    }
    Some(Filter::of(agents, has_others))
}

fn is_empty(json: &str) -> Option<bool> {
    let items: Option<Vec<IgnoredAny>> = serde_json::from_str(json).ok()?;
    Some(items.is_none_or(|items| items.is_empty()))
}

/// Whether a text in a filter is an agent's name: it may be a regular expression.
fn is_agent(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=AGENT_LEN_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const DISCOVERY: &str = "mcollective.broadcast.agent.discovery";

    fn nothing() -> Value {
        json!({ "fact": [], "cf_class": [], "agent": [], "identity": [], "compound": [] })
    }

    fn with(kind: &str, value: Value) -> Value {
        let mut filter = nothing();
        filter[kind] = value;
        filter
    }

    /// As MCollective with Choria's security plugin writes it: base64 with line ends.
    fn version_1(filter: Option<Value>) -> Value {
        let mut request = json!({
            "protocol": "choria:request:1",
            "message": "cGluZw==",
            "envelope": { "requestid": "1", "agent": "discovery", "ttl": 60, "time": 1 },
        });
        if let Some(filter) = filter {
            request["envelope"]["filter"] = filter;
        }
        let secure = json!({
            "protocol": "choria:secure:request:1",
            "message": request.to_string(),
            "signature": "c2lnbmVk",
            "pubcert": "-----BEGIN CERTIFICATE-----",
        });
        let base64 = BASE64.encode(secure.to_string().as_bytes());
        let lines: Vec<&str> = (0..base64.len())
            .step_by(60)
            .map(|at| &base64[at..base64.len().min(at + 60)])
            .collect();
        json!({ "protocol": "choria:transport:1", "data": lines.join("\n") + "\n", "headers": {} })
    }

    fn version_2(filter: Option<Value>) -> Value {
        let mut request = json!({ "protocol": "io.choria.protocol.v2.request", "id": "1" });
        if let Some(filter) = filter {
            request["filter"] = filter;
        }
        let secure = json!({
            "protocol": "io.choria.protocol.v2.secure_request",
            "request": BASE64.encode(request.to_string().as_bytes()),
            "caller": "a.b.c",
        });
        let data = BASE64.encode(secure.to_string().as_bytes());
        json!({ "protocol": "io.choria.protocol.v2.transport", "data": data, "headers": {} })
    }

    fn asked_by(message: &Value, targets: &[&str]) -> Asked {
        let text = message.to_string();
        let transport = Transport::read(text.as_bytes()).expect("a message");
        let targets: Vec<String> = targets.iter().map(|it| (*it).to_owned()).collect();
        asked(&transport, &targets)
    }

    fn all(others: &[&str]) -> Asked {
        let subject = |name: &&str| format!("mcollective.broadcast.agent.{name}");
        Asked::All(Agents {
            target: DISCOVERY.to_owned(),
            others: others.iter().map(subject).collect(),
        })
    }

    #[test]
    fn an_empty_filter_asks_all_nodes() {
        for version in [version_1, version_2] {
            let asked = |filter| asked_by(&version(Some(filter)), &[DISCOVERY]);
            assert_eq!(asked(nothing()), all(&[]));
            assert_eq!(asked(json!({})), all(&[]));
            assert_eq!(asked(with("fact", Value::Null)), all(&[]));
            assert_eq!(asked(with("agent", Value::Null)), all(&[]));
            // Agents are what nodes have subscribed to.
            let agents = json!(["puppet", "discovery", "package", "puppet"]);
            assert_eq!(asked(with("agent", agents)), all(&["package", "puppet"]));
        }
        assert_eq!(asked_by(&version_2(None), &[DISCOVERY]), all(&[]));
        let Asked::All(agents) = all(&[]) else {
            panic!("not all");
        };
        assert_eq!(agents.node_prefix().as_deref(), Some("mcollective.node."));
    }

    #[test]
    fn what_a_filter_leaves_is_not_known() {
        let fact = json!([{ "fact": "os", "operator": "==", "value": "Debian" }]);
        for filter in [
            with("fact", fact),
            with("cf_class", json!(["apache"])),
            with("identity", json!(["web1.example.net"])),
            with("compound", json!([[{ "expr": "true" }]])),
            with("agent", json!(["/^pup/"])),
            with("agent", json!([""])),
            with("agent", json!(["a".repeat(AGENT_LEN_MAX + 1)])),
            with("agent", json!(vec!["a"; AGENTS_MAX + 1])),
            with("of the future", json!([1])),
        ] {
            for version in [version_1, version_2] {
                let asked = asked_by(&version(Some(filter.clone())), &[DISCOVERY]);
                assert_eq!(asked, Asked::Filtered, "{filter}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let mut texts = vec![
            version_1(None),
            version_1(Some(Value::Null)),
            version_1(Some(json!([]))),
            version_1(Some(with("fact", json!({ "a": 1 })))),
            version_1(Some(with("agent", json!([1])))),
            json!({ "headers": {} }),
        ];
        let data = [
            "".to_owned(),
            "not base64!".to_owned(),
            // Ruby's own serialisation, as the security plugin psk writes it.
            BASE64.encode(b"\x04\x08{\x06:\x0bfilter{\x00"),
            BASE64.encode(b"[]"),
            BASE64.encode(br#"{"message":1}"#),
            BASE64.encode(br#"{"message":"{\"envelope\":1}"}"#),
            // Two readers may see two requests.
            BASE64.encode(br#"{"message":"{}","Message":"{}"}"#),
            "A".repeat(DATA_LEN_MAX + 1),
        ];
        texts.extend(data.map(|data| json!({ "data": data, "headers": {} })));
        texts.push(json!({ "data": 1, "headers": {} }));
        for message in texts {
            let asked = asked_by(&message, &[DISCOVERY]);
            assert_eq!(asked, Asked::Unreadable, "{message}");
        }
        let long = format!(
            "mcollective.broadcast.agent.{}",
            "a".repeat(SUBJECT_LEN_MAX)
        );
        let asked = asked_by(&version_2(None), &[&long]);
        assert_eq!(asked, Asked::Unreadable);
    }

    #[test]
    fn yaml_is_read_as_well() {
        let asked = |filter: &str| {
            let request = format!("---\nenvelope:\n  filter:\n{filter}  agent: discovery\n");
            let secure = json!({ "message": request });
            let data = BASE64.encode(secure.to_string().as_bytes());
            asked_by(&json!({ "data": data, "headers": {} }), &[DISCOVERY])
        };
        assert_eq!(asked("    fact: []\n    agent: []\n"), all(&[]));
        assert_eq!(asked("    agent:\n    - puppet\n"), all(&["puppet"]));
        assert_eq!(asked("    agent:\n    - \"/pup/\"\n"), Asked::Filtered);
        assert_eq!(asked("    fact:\n    - fact: os\n"), Asked::Filtered);
        assert_eq!(asked(""), Asked::Unreadable);
    }

    #[test]
    fn only_requests_to_one_agent_are_read() {
        let message = version_2(None);
        for targets in [
            &["mcollective.node.web1"][..],
            &["mcollective.broadcast.service.registry"],
            &[DISCOVERY, "mcollective.node.web1"],
        ] {
            assert_eq!(asked_by(&message, targets), Asked::Named, "{targets:?}");
        }
    }

    proptest! {
        /// Whatever a client signs, reading it ends, without a panic.
        #[test]
        fn any_data_is_read_to_an_end(
            noise in any::<Vec<u8>>(), text in "\\PC{0,40}", depth in 0_usize..400,
        ) {
            let deep = "[".repeat(depth) + &"]".repeat(depth);
            let filter = format!(r#"{{"envelope":{{"filter":{{"compound":{deep}}}}}}}"#);
            for secure in [
                noise,
                text.clone().into_bytes(),
                json!({ "message": text, "request": BASE64.encode(text.as_bytes()) })
                    .to_string()
                    .into_bytes(),
                deep.clone().into_bytes(),
                json!({ "message": filter }).to_string().into_bytes(),
                json!({ "message": format!("---\nenvelope:\n  filter:\n{text}\n    {deep}") })
                    .to_string()
                    .into_bytes(),
            ] {
                for protocol in ["choria:transport:1", "io.choria.protocol.v2.transport"] {
                    let data = BASE64.encode(&secure);
                    let message = json!({ "protocol": protocol, "data": data, "headers": {} });
                    let asked = asked_by(&message, &[DISCOVERY]);
                    prop_assert!(asked != Asked::Named);
                }
            }
        }
    }
}
