//! Requests to the broker and their answers.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use data_encoding::BASE64;
use monitor_client::{Healthz, text::quoted};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    System,
    encoding::{Encoded, Encoding},
    envelope::to_json,
};
use crate::{
    broker::{info, system_queue::Request},
    connection::{CloseReason, Connection},
    monitor::endpoints::{
        accountz, accstatz, connz, gatewayz, healthz, jsz, leafz, query::Query, refusal::Refusal,
        routez, subsz, varz,
    },
    server::{nodes::note_local, reload::Purpose},
    telemetry::MonotonicMillis,
};

/// The data of an answer to something that was done.
const NOTHING: &str = "";

/// How long an answer waits for a reload; other requests wait as long.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The profiles that a Go program has.
const GO_PROFILES: &[&str] = &[
    "allocs",
    "block",
    "cpu",
    "goroutine",
    "heap",
    "mutex",
    "threadcreate",
];

/// The text in place of a profile.
const NO_PROFILES: &str = "midge is not a Go program and has no such profiles: use perf on its \
                           process, or /latencyz of the monitoring port";

/// What is in place of a Go program's variables.
const NO_GO_METRICS: &str = "midge is not a Go program and has no such variables: use VARZ, or \
                             /memz and /metrics of the monitoring port";

/// Why a request is not answered.
#[derive(Debug)]
struct ServiceError {
    /// 400 for options that cannot be read, 500 for all else, as nats-server has it.
    code: u16,
    /// The error text.
    description: String,
}

/// The data of an answer as JSON; [`NOTHING`] for none.
type Answered = Result<String, ServiceError>;

impl System {
    /// The answer; `None` keeps silent, because the request means other
    /// brokers or there is no data. Compressed are the answers that nats-server compresses.
    pub(super) fn answer(&self, request: &Request) -> Option<Encoded> {
        let plain = |answer: String| Some(Encoding::Plain.encode(answer.into()));
        let ask = &request.ask;
        if ask.topic == "NSUBS" {
            return plain(self.subscribers_here(&request.body)?);
        }
        let options = match read_options(&request.body) {
            Ok(options) => options,
            Err(error) => return plain(self.envelope.error(error.code, &error.description)),
        };
        if !does_something(&ask.topic) && !self.is_meant(&options) {
            return None;
        }
        let about = ask.account.as_deref();
        match (&*ask.topic, about) {
            ("IDZ", _) => return plain(self.envelope.identity()),
            ("STATSZ", _) => return plain(self.statsz()),
            ("CONNS", Some(account)) => return plain(self.conns(account)?),
            _ => {}
        }
        let data = match (&*ask.topic, about) {
            ("STATZ", about) => self.statz(about, &options)?,
            ("INFO", Some(account)) => self.account_info(account),
            ("HEALTHZ", _) => self.health(&options),
            ("JSZ", Some(_)) => Err(no_jetstream()),
            // Neither queues of a Go program nor groups of streams are here.
            ("IPQUEUESZ" | "RAFTZ", _) => Ok("{}".into()),
            ("PROFILEZ", _) => Ok(no_profile(&options)),
            ("EXPVARZ", _) => Ok(no_go_metrics()),
            ("KICK", _) => self.kick(&options),
            ("LDM", _) => self.send_away(&options),
            ("RELOAD", _) => self.reload(),
            ("NODESZ", _) => Ok(self.nodes_here(&options)),
            (topic, about) => self.endpoint(topic, about, &options),
        };
        let answer = match data {
            Ok(data) if data == NOTHING => format!("{{\"server\":{}}}", self.envelope.server()),
            Ok(data) => self.envelope.with("data", &data),
            // Another broker may be the leader.
            Err(error) if error.description == jsz::NOT_LEADER => return None,
            Err(error) => return plain(self.envelope.error(error.code, &error.description)),
        };
        let accepted = request.encodings.as_deref().map(str::as_bytes);
        Some(Encoding::of(accepted).encode(answer.into()))
    }

    /// Whether the filters of a request to all brokers match this one.
    fn is_meant(&self, options: &Map<String, Value>) -> bool {
        let text = |name: &str| {
            options
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let exact = options.get("exact_match") == Some(&Value::Bool(true));
        let fits = |wanted: &str, own: &str| match exact {
            _ if wanted.is_empty() => true,
            true => wanted == own,
            false => own.contains(wanted),
        };
        let info = self.server.broker.info.read();
        let description = self.server.broker.description.read();
        let tags = options.get("tags").and_then(Value::as_array);
        let mut tags = tags.into_iter().flatten().filter_map(Value::as_str);
        fits(text("server_name"), &self.server.name)
            && fits(text("host"), &info.host)
            && fits(text("cluster"), &self.envelope.cluster())
            // No domain: a request for a specific one is not for this broker.
            && text("domain").is_empty()
            && tags.all(|wanted| description.has_tag(wanted))
    }

    /// The answer of an endpoint of the monitoring port.
    fn endpoint(&self, topic: &str, about: Option<&str>, options: &Map<String, Value>) -> Answered {
        let mut parameters = parameters(options);
        if let Some(account) = about {
            // A question about one account is not answered with another.
            parameters.retain(|(name, _)| name != "acc");
            parameters.push(("acc".into(), account.into()));
            if topic == "SUBSZ" {
                parameters.push(("subs".into(), "1".into()));
            }
        }
        let has = |name: &str| {
            parameters
                .iter()
                .any(|(known, value)| known == name && !value.is_empty())
        };
        if topic == "CONNZ" && has("filter_subject") && !has("acc") {
            return Err(ServiceError {
                code: 500,
                description: "filter by subject only valid with account filtering".into(),
            });
        }
        let (monitor, query) = (&self.monitor, &Query::of(&parameters));
        match topic {
            "ACCOUNTZ" => answered(accountz::answer(monitor, query)),
            "CONNZ" => answered(connz::answer(monitor, query)),
            "GATEWAYZ" => answered(gatewayz::answer(monitor, query)),
            "JSZ" => answered(jsz::answer(monitor, query)),
            "LEAFZ" => answered(leafz::answer(monitor, query)),
            "ROUTEZ" => answered(routez::answer(monitor, query)),
            "SUBSZ" => answered(subsz::answer(monitor, query)),
            "VARZ" => answered(varz::answer(monitor, query)),
            _ => Err(ServiceError {
                code: 500,
                description: format!("there is no service {topic}"),
            }),
        }
    }

    /// What one account, each of these, or each of all moved; those without
    /// connections only if they are asked for. No accounts, no answer: other
    /// brokers answer too.
    fn statz(&self, about: Option<&str>, options: &Map<String, Value>) -> Option<Answered> {
        let unused = options.get("include_unused") == Some(&Value::Bool(true));
        let named: Vec<&str> = match (about, options.get("accounts")) {
            (Some(account), _) => vec![account],
            (None, Some(Value::Array(names))) => names.iter().filter_map(Value::as_str).collect(),
            (None, _) => Vec::new(),
        };
        let mut statz = accstatz::build(&self.monitor, true);
        statz.account_statz.retain(|stat| {
            let is_meant = named.is_empty() || named.contains(&&*stat.acc);
            is_meant && (unused || stat.total_conns > 0)
        });
        (unused || !statz.account_statz.is_empty()).then(|| Ok(to_json(&statz)))
    }

    fn conns(&self, account: &str) -> Option<String> {
        // A broker without such an account, or without connections of it, keeps silent.
        let known = self.server.broker.accounts.find(account)?;
        (known.connections() > 0).then(|| self.conns_of(account))
    }

    fn account_info(&self, account: &str) -> Answered {
        let query = Query::of(&[("acc".to_owned(), account.to_owned())]);
        let accountz = accountz::answer(&self.monitor, &query).map_err(failed)?;
        Ok(to_json(&accountz.account_detail))
    }

    fn health(&self, options: &Map<String, Value>) -> Answered {
        let query = Query::of(&parameters(options));
        let (_, health) = healthz::answer(&self.monitor, &query).map_err(refused)?;
        let status_code = match &*health.status {
            "ok" => 200,
            "error" => 400,
            _ => 503,
        };
        Ok(to_json(&Health {
            health,
            status_code,
        }))
    }

    /// The nodes that are connected here, or what has changed since a member asked before.
    fn nodes_here(&self, options: &Map<String, Value>) -> String {
        let broker = &self.server.broker;
        let now = MonotonicMillis::now();
        let is_old = broker.nodes.local.lock().is_old(now);
        if is_old {
            note_local(broker, now);
        }
        let since = options.get("since").and_then(Value::as_u64);
        let after = options.get("after").and_then(Value::as_str);
        let mut list = broker.nodes.local.lock().answer(since, after);
        list.server_id.clone_from(&self.server.id);
        to_json(&list)
    }

    fn kick(&self, options: &Map<String, Value>) -> Answered {
        match self.chosen(options) {
            Some(connection) => {
                connection.close(CloseReason::Kicked);
                Ok(NOTHING.into())
            }
            None => Err(ServiceError {
                code: 500,
                description: "no such client or leafnode id".into(),
            }),
        }
    }

    /// Sends a client to another broker.
    fn send_away(&self, options: &Map<String, Value>) -> Answered {
        let description = match self.chosen(options) {
            None => "no such client id",
            Some(client) if info::send_away(&self.server.broker, &client) => {
                return Ok(NOTHING.into());
            }
            Some(_) => {
                "client does not support Lame Duck Mode or is not ready to receive the notification"
            }
        };
        Err(ServiceError {
            code: 500,
            description: description.into(),
        })
    }

    /// The client that `cid` chooses.
    fn chosen(&self, options: &Map<String, Value>) -> Option<Arc<Connection>> {
        let cid = options.get("cid")?.as_u64()?;
        self.server.broker.registry.find(cid)
    }

    fn reload(&self) -> Answered {
        let failed = |description: String| {
            Err(ServiceError {
                code: 500,
                description,
            })
        };
        let (sender, outcome) = mpsc::channel();
        self.server.reload(Purpose::Apply, move |outcome| {
            // The request has timed out.
            let _ = sender.send(outcome.error);
        });
        match outcome.recv_timeout(RELOAD_TIMEOUT) {
            Ok(None) => Ok(NOTHING.into()),
            Ok(Some(error)) => failed(error),
            Err(RecvTimeoutError::Timeout) => failed("the reload is still under way".into()),
            Err(RecvTimeoutError::Disconnected) => failed("the reload ended early".into()),
        }
    }
}

/// The health with its code, which the service adds.
#[derive(Serialize)]
struct Health {
    #[serde(flatten)]
    health: Healthz,
    status_code: u16,
}

/// The value of an endpoint as the data of an answer.
fn answered(value: Result<impl Serialize, Refusal>) -> Answered {
    match value {
        Ok(value) => Ok(to_json(&value)),
        // A value of the wrong form is the request's fault, all else is what the
        // service has to say.
        Err(refusal) if refusal.message.starts_with("Error decoding") => Err(refused(refusal)),
        Err(refusal) => Err(failed(refusal)),
    }
}

/// A refusal with its code.
fn refused(refusal: Refusal) -> ServiceError {
    ServiceError {
        code: refusal.status.as_u16(),
        description: refusal.message,
    }
}

/// The code that the services of nats-server have for what HTTP calls a bad
/// request.
fn failed(refusal: Refusal) -> ServiceError {
    ServiceError {
        code: 500,
        description: refusal.message,
    }
}

/// Whether a request does something, so that it has no filter.
fn does_something(topic: &str) -> bool {
    ["CONNS", "KICK", "LDM", "RELOAD"].contains(&topic)
}

/// The answer in place of Go's variables. nats-server shows its arguments there, passwords included.
/// Not an error: a tool that collects everything would report it for each broker.
fn no_go_metrics() -> String {
    to_json(&json!({ "cmdline": [], "memstats": {}, "midge": NO_GO_METRICS }))
}

/// The answer in place of a profile, which says so; the same holds.
fn no_profile(options: &Map<String, Value>) -> String {
    let named = options.get("name").and_then(Value::as_str);
    let error = match named.unwrap_or_default() {
        "" => "Profile name not specified".to_owned(),
        name if GO_PROFILES.contains(&name) => {
            let text = BASE64.encode(format!("{NO_PROFILES}\n").as_bytes());
            return to_json(&json!({ "profile": text, "error": "" }));
        }
        name => format!("Profile {} not found", quoted(name.as_bytes())),
    };
    to_json(&json!({ "profile": null, "error": error }))
}

fn no_jetstream() -> ServiceError {
    ServiceError {
        code: 500,
        description: "jetstream not enabled".into(),
    }
}

/// The options of a request; an empty body has none.
fn read_options(body: &[u8]) -> Result<Map<String, Value>, ServiceError> {
    let bad = |description| ServiceError {
        code: 400,
        description,
    };
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let options: Option<Map<String, Value>> =
        serde_json::from_slice(body).map_err(|error| bad(format!("json: {error}")))?;
    let options = options.unwrap_or_default();
    for (name, value) in &options {
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| known == name) else {
            continue;
        };
        let fits = match *kind {
            _ if value.is_null() => true,
            "bool" => value.is_boolean(),
            "int" => value.is_i64(),
            "uint64" => value.is_u64(),
            "[]string" => value
                .as_array()
                .is_some_and(|list| list.iter().all(|one| one.is_string() || one.is_null())),
            _ => value.is_string(),
        };
        if !fits {
            let text = format!("json: cannot unmarshal {value} into field {name} of type {kind}");
            return Err(bad(text));
        }
    }
    Ok(options)
}

/// The kinds of the options that have the same one wherever they are read.
const KINDS: &[(&str, &str)] = &[
    ("acc", "string"),
    ("account", "string"),
    ("auth", "bool"),
    ("cid", "uint64"),
    ("cluster", "string"),
    ("details", "bool"),
    ("domain", "string"),
    ("exact_match", "bool"),
    ("filter_subject", "string"),
    ("host", "string"),
    ("leader_only", "bool"),
    ("limit", "int"),
    ("mqtt_client", "string"),
    ("name", "string"),
    ("offset", "int"),
    ("server_name", "string"),
    ("sort", "string"),
    ("state", "int"),
    ("subscriptions", "bool"),
    ("subscriptions_detail", "bool"),
    ("tags", "[]string"),
    ("test", "string"),
    ("user", "string"),
];

/// Options as parameters of the monitoring port. What is neither text, number
/// nor truth value asks for nothing there.
fn parameters(options: &Map<String, Value>) -> Vec<(String, String)> {
    let parameter = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Array(_) | Value::Null | Value::Object(_) => return None,
        };
        Some(match (&**name, &*text) {
            ("account", _) => ("acc".to_owned(), text),
            ("leader_only", _) => ("leader-only".to_owned(), text),
            ("subscriptions_detail", "true") => ("subs".to_owned(), "detail".to_owned()),
            ("subscriptions", _) => ("subs".to_owned(), text),
            ("state", "0") => ("state".to_owned(), "open".to_owned()),
            ("state", "1") => ("state".to_owned(), "closed".to_owned()),
            ("state", "2") => ("state".to_owned(), "any".to_owned()),
            _ => (name.clone(), text),
        })
    };
    let mut parameters: Vec<_> = options.iter().filter_map(parameter).collect();
    // The first one of a name counts: details are more than subjects.
    parameters.sort_by_key(|(_, value)| value != "detail");
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parameters() {
        let options = read_options(
            br#"{"subscriptions":true,"subscriptions_detail":true,"state":1,"limit":-5,"x":[1],"account":"A"}"#,
        );
        let parameters = parameters(&options.unwrap());
        let value = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("subs"), Some("detail"));
        assert_eq!(value("state"), Some("closed"));
        assert_eq!(value("limit"), Some("-5"));
        assert_eq!(value("acc"), Some("A"));
        assert_eq!(value("x"), None);
        for bad in [
            &b"["[..],
            b"[]",
            b"5",
            b"{\"a\":}",
            b"{\"limit\":\"5\"}",
            b"{\"limit\":9223372036854775808}",
            b"{\"cid\":-1}",
            b"{\"auth\":1}",
            b"{\"user\":[]}",
            b"{\"tags\":\"a\"}",
            b"{\"tags\":[1]}",
        ] {
            assert!(read_options(bad).is_err());
        }
        for nothing in [&b" "[..], b"null", b"{}"] {
            assert!(read_options(nothing).unwrap().is_empty());
        }
    }
}
