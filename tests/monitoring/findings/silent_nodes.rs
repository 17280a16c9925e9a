//! Nodes of a federation's site that are connected and do not answer.

use std::process::Command;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{appears, appears_while, clears, quick_with, stays_silent, text};
use test_support::{Broker, RawClient, tools, wait_until};

const CODE: &str = "federation-nodes-silent";
const REQUESTS: &str = "choria.federation.prod.federation";
const REPLY: &str = "mcollective.reply.admin.1";
const DISCOVERY: &str = "mcollective.broadcast.agent.discovery";
const PUPPET: &str = "mcollective.broadcast.agent.puppet";

/// A site's broker with its upstream broker, and a client there.
struct Site {
    broker: Broker,
    admin: Admin,
    _central: Broker,
}

/// A client at the upstream broker.
struct Admin {
    client: RawClient,
    number: usize,
}

impl Site {
    fn start(options: &str) -> Self {
        let central = Broker::midge().start();
        let url = central.client_url();
        let block = format!("federation {{ name: prod, upstream: {url:?} }}\n{options}");
        let broker = quick_with("", &block).start();
        wait_until("it is connected", || {
            broker.get_json("/federationz")["upstream"]["connected"] == true
        });
        let mut client = RawClient::connect_quietly(central.client_addr());
        client.send(format!("SUB {REPLY} 1\r\n"));
        client.sync();
        Self {
            broker,
            admin: Admin { client, number: 0 },
            _central: central,
        }
    }

    fn nodes(&self) -> Value {
        self.broker.get_json("/federationz")["nodes"].clone()
    }

    /// Waits until the diagnosis has taken in that so many requests to all nodes were answered.
    fn has_counted(&self, requests: u64) {
        wait_until("they are counted", || {
            self.nodes()["requests_answered"] == requests
        });
        let sampled = || self.broker.get_json("/explainz")["sampled"].clone();
        for _ in 0..2 {
            let before = sampled();
            wait_until("the next sample", || sampled() != before);
        }
    }
}

impl Admin {
    /// Asks the agent with this subject, with a filter, and has `well` answer all that has come.
    fn ask(&mut self, target: &str, filter: &Value, well: &mut RawClient) {
        self.number += 1;
        let request = json!({
            "protocol": "choria:request:1",
            "message": "cGluZw==",
            "envelope": { "requestid": "1", "filter": filter },
        });
        let secure = json!({ "message": request.to_string(), "signature": "x", "pubcert": "y" });
        let message = json!({
            "protocol": "choria:transport:1",
            "data": BASE64.encode(secure.to_string().as_bytes()),
            "headers": {
                "mc_sender": "admin.example.net",
                "reply-to": REPLY,
                "federation": { "req": self.number.to_string(), "target": [target] },
            },
        });
        publish(&mut self.client, REQUESTS, &message);
        answer("well.example.net", well);
        let (_, reply) = read(&self.client.next_message().body);
        assert_eq!(reply, "well.example.net");
    }
}

fn publish(client: &mut RawClient, subject: &str, message: &Value) {
    let payload = message.to_string();
    let len = payload.len();
    client.send(format!("PUB {subject} {len}\r\n{payload}\r\n"));
}

/// The message, and who has sent it.
fn read(payload: &[u8]) -> (Value, String) {
    let message: Value = serde_json::from_slice(payload).expect("JSON");
    let sender = message["headers"]["mc_sender"].as_str().unwrap_or_default();
    (message.clone(), sender.to_owned())
}

/// A client that subscribes to the subjects of these agents, and as the node of this name if there
/// is one.
fn node(broker: &Broker, name: Option<&str>, agents: &[&str]) -> RawClient {
    let mut client = RawClient::connect_quietly(broker.client_addr());
    if let Some(name) = name {
        client.send(format!("SUB mcollective.node.{name} 1\r\n"));
    }
    for (sid, agent) in (2..).zip(agents) {
        client.send(format!("SUB {agent} {sid}\r\n"));
    }
    client.sync();
    client
}

/// A node answers the next request.
fn answer(name: &str, node: &mut RawClient) {
    let (request, _) = read(&node.next_message().body);
    let headers = &request["headers"];
    let reply = json!({
        "protocol": "choria:transport:1",
        "data": "cG9uZw==",
        "headers": { "mc_sender": name, "federation": headers["federation"] },
    });
    publish(
        node,
        headers["reply-to"].as_str().expect("a subject"),
        &reply,
    );
}

fn nothing() -> Value {
    json!({ "fact": [], "cf_class": [], "agent": [], "identity": [], "compound": [] })
}

/// What `check_nats` says of the federation.
fn checked(broker: &Broker) -> String {
    let output = Command::new(tools::check_nats())
        .args(["--mode", "federation", "-v", "--url"])
        .arg(format!("http://{}", broker.monitor_addr()))
        .output()
        .expect("check_nats runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
pub fn nodes_that_never_answer_are_named_until_they_do() {
    let mut site = Site::start("");
    let mut well = node(&site.broker, Some("well.example.net"), &[DISCOVERY]);
    let mut hung = node(&site.broker, Some("hung.example.net"), &[DISCOVERY]);
    let gone = node(&site.broker, Some("gone.example.net"), &[DISCOVERY]);
    // Those who only listen are no nodes, nor is a node without the agent that is asked.
    let _watcher = node(&site.broker, None, &[DISCOVERY, "mcollective.>"]);
    let _all = node(&site.broker, Some(">"), &[DISCOVERY]);
    let _other = node(&site.broker, Some("other.example.net"), &[PUPPET]);
    for _ in 0..19 {
        site.admin.ask(DISCOVERY, &nothing(), &mut well);
    }
    site.has_counted(19);
    let nodes = site.nodes();
    assert_eq!(
        (&nodes["asked"], &nodes["unanswered"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(nodes["silent"], 0, "{nodes}");
    stays_silent(&site.broker, CODE);
    site.admin.ask(DISCOVERY, &nothing(), &mut well);
    let finding = appears(&site.broker, CODE);
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["subject"], "prod");
    let words = text(&finding);
    for part in [
        "2 of 3 nodes",
        "gone.example.net (20 requests), hung.example.net (20 requests)",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let nodes = site.nodes();
    assert_eq!(nodes["silent_nodes"][1]["name"], "hung.example.net");
    assert_eq!(nodes["silent_nodes"][1]["denied"], false);
    let output = checked(&site.broker);
    for part in [
        "WARNING",
        "2 of 3 nodes here do not answer",
        "hung.example.net",
    ] {
        assert!(output.contains(part), "{output}");
    }
    assert_eq!(
        site.broker.get_json("/varz")["federation"]["nodes_silent"],
        2
    );
    drop(gone);
    wait_until("the one that has left is forgotten", || {
        site.nodes()["silent"] == 1
    });
    // It has woken up.
    answer("hung.example.net", &mut hung);
    clears(&site.broker, CODE);
    assert_eq!(site.nodes()["unanswered"], 0);
}

#[test]
fn nodes_that_need_not_answer_are_not_accused() {
    let mut site = Site::start("");
    let both = [DISCOVERY, PUPPET];
    let mut well = node(&site.broker, Some("well.example.net"), &both);
    let _excluded = node(&site.broker, Some("excluded.example.net"), &[DISCOVERY]);
    let mut filters = Vec::new();
    for (kind, value) in [
        ("identity", json!(["well.example.net"])),
        ("cf_class", json!(["apache"])),
        ("agent", json!(["puppet"])),
    ] {
        let mut filter = nothing();
        filter[kind] = value;
        filters.push(filter);
    }
    for filter in filters.iter().cycle().take(90) {
        site.admin.ask(DISCOVERY, filter, &mut well);
    }
    // It does not have this agent.
    for _ in 0..30 {
        site.admin.ask(PUPPET, &nothing(), &mut well);
    }
    // Of the filters, the one for an agent asks all that have it.
    site.has_counted(60);
    let nodes = site.nodes();
    assert_eq!(nodes["requests"], 60, "{nodes}");
    assert_eq!(
        (&nodes["asked"], &nodes["unanswered"]),
        (&json!(1), &json!(0))
    );
    stays_silent(&site.broker, CODE);
    // One that has it is expected to answer.
    let _hung = node(&site.broker, Some("hung.example.net"), &both);
    let finding = appears_while(&site.broker, CODE, || {
        site.admin.ask(DISCOVERY, &filters[2], &mut well);
    });
    assert!(text(&finding).contains("1 of 2 nodes"), "{finding}");
    assert!(text(&finding).contains(": hung.example.net"), "{finding}");
}

/// Its answers are sent, and the broker does not let them through.
#[test]
fn refused_answers_are_the_cause() {
    let users = "authorization { users: [ { user: a, password: a }
        { user: b, password: b, permissions: { publish: { deny: \"choria.>\" } } } ] }
        no_auth_user: a\n";
    let mut site = Site::start(users);
    let mut well = node(&site.broker, Some("well.example.net"), &[DISCOVERY]);
    let mut denied = RawClient::connect(site.broker.client_addr());
    let login = json!({ "user": "b", "pass": "b", "verbose": false });
    denied.send(format!(
        "CONNECT {login}\r\nSUB mcollective.node.denied.example.net 1\r\nSUB {DISCOVERY} 2\r\n"
    ));
    denied.sync();
    let finding = appears_while(&site.broker, CODE, || {
        site.admin.ask(DISCOVERY, &nothing(), &mut well);
        answer("denied.example.net", &mut denied);
    });
    let cause = finding["cause"].as_str().expect("a cause");
    assert!(
        cause.contains("answers of 1 node to choria.federation.prod.collective"),
        "{cause}"
    );
    assert_eq!(site.nodes()["denied"], 1);
}
