//! Federation: sites of Choria or MCollective whose brokers are their federation brokers, between
//! them and central brokers to which the clients connect. The messages are as real clients, nodes
//! and federation brokers send them; nodes and clients are scripted.

mod dns;
mod failing;
mod passing;
mod refusing;
mod sharing;
mod tls;

use std::collections::BTreeSet;

use data_encoding::BASE64;
use serde_json::{Value, json};
use test_support::{Broker, Frame, RawClient, wait_until};

/// The client's reply subject in all tests.
const REPLY: &str = "mcollective.reply.admin.example.net.999.1";

/// A block `federation` with these upstream brokers.
fn block(name: &str, upstream: &[&Broker], more: &str) -> String {
    let urls = upstream.iter().map(|broker| broker.client_url());
    let urls: Vec<String> = urls.map(|url| format!("{url:?}")).collect();
    format!(
        "federation {{ name: {name}, upstream: [{}], {more} }}\n",
        urls.join(", ")
    )
}

/// A broker of a site that is connected upstream.
fn site(name: &str, upstream: &[&Broker], more: &str) -> Broker {
    let text = format!("server_name: {name}1\n{}", block(name, upstream, more));
    let broker = Broker::midge().config(text).start();
    connected(&broker);
    broker
}

/// Waits until a site's broker is connected upstream and serves.
#[track_caller]
fn connected(broker: &Broker) {
    wait_until("the federation is connected", || {
        federationz(broker)["upstream"]["connected"] == true
    });
}

fn federationz(broker: &Broker) -> Value {
    broker.get_json("/federationz")
}

/// A count of `/federationz`, by direction and name.
fn figure(broker: &Broker, direction: &str, name: &str) -> u64 {
    let answer = federationz(broker);
    let value = answer[direction][name].as_u64();
    value.unwrap_or_else(|| panic!("{direction} {name}: {answer}"))
}

fn publish(client: &mut RawClient, subject: &str, message: &Value) {
    let payload = message.to_string();
    let len = payload.len();
    client.send(format!("PUB {subject} {len}\r\n{payload}\r\n"));
}

/// Subject and JSON of a message.
fn read(frame: &Frame) -> (String, Value) {
    let subject = frame.arguments()[0].clone();
    let message = serde_json::from_slice(&frame.body);
    (subject, message.unwrap_or_else(|_| panic!("{frame:?}")))
}

/// A request of `mco` with recorded hops.
fn request(id: &str, targets: &[&str]) -> Value {
    json!({
        "data": "c2lnbmVkIGJ5IHRoZSBjbGllbnQ=",
        "headers": {
            "mc_sender": "admin.example.net",
            "seen-by": [["admin.example.net", "nats://central1.example.net:4222"]],
            "reply-to": REPLY,
            "federation": { "target": targets, "req": id },
        },
        "protocol": "choria:transport:1",
    })
}

/// A request to all nodes with the agent `rpcutil`, as `mco` signs it.
fn request_to_all(id: &str) -> Value {
    let filter = json!({
        "fact": [], "cf_class": [], "agent": ["rpcutil"], "identity": [], "compound": [],
    });
    let signed = json!({ "protocol": "choria:request:1", "envelope": { "filter": filter } });
    let secure = json!({ "message": signed.to_string(), "signature": "x", "pubcert": "y" });
    let mut message = request(id, &["mcollective.broadcast.agent.rpcutil"]);
    message["data"] = BASE64.encode(secure.to_string().as_bytes()).into();
    message
}

/// A client at a central broker that has subscribed to its replies.
fn admin(central: &Broker) -> RawClient {
    let mut client = RawClient::connect_quietly(central.client_addr());
    client.send(format!("SUB {REPLY} 1\r\n"));
    client.sync();
    client
}

/// Sends a request to the federation brokers of a site.
fn ask(client: &mut RawClient, site: &str, message: &Value) {
    publish(
        client,
        &format!("choria.federation.{site}.federation"),
        message,
    );
}

/// A node of a site.
struct Node {
    name: String,
    client: RawClient,
}

impl Node {
    /// Connects and subscribes as a node with the agent `rpcutil`.
    fn at(broker: &Broker, name: &str) -> Self {
        let mut client = RawClient::connect_quietly(broker.client_addr());
        client.send(format!(
            "SUB mcollective.node.{name} 1\r\nSUB mcollective.broadcast.agent.rpcutil 2\r\n"
        ));
        client.sync();
        Self {
            name: name.to_owned(),
            client,
        }
    }

    /// The next request.
    fn next(&mut self) -> Value {
        read(&self.client.next_message()).1
    }

    /// Answers a request as `mcollectived` does.
    fn answer(&mut self, request: &Value) {
        let headers = &request["headers"];
        let mut reply = json!({
            "data": format!("reply of {}", self.name),
            "headers": { "mc_sender": self.name, "federation": headers["federation"] },
            "protocol": "choria:transport:1",
        });
        if let Some(hops) = headers["seen-by"].as_array() {
            let own = json!(["nats://site:4222", self.name, "nats://site:4222"]);
            reply["headers"]["seen-by"] = json!([&hops[..], &[own]].concat());
        }
        let to = headers["reply-to"].as_str().expect("a reply subject");
        publish(&mut self.client, to, &reply);
    }

    /// Answers the next request.
    fn serve(&mut self) {
        let request = self.next();
        self.answer(&request);
    }
}

/// The senders of the next replies.
fn senders(client: &mut RawClient, count: usize) -> BTreeSet<String> {
    let sender = |client: &mut RawClient| {
        let (subject, reply) = read(&client.next_message());
        assert_eq!(subject, REPLY);
        let sender = &reply["headers"]["mc_sender"];
        sender.as_str().expect("a sender").to_owned()
    };
    let all: Vec<String> = (0..count).map(|_| sender(client)).collect();
    let distinct: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    distinct
}

/// Sends one request through and waits for its reply.
fn round_trip(client: &mut RawClient, site: &str, node: &mut Node) {
    let target = format!("mcollective.node.{}", node.name);
    ask(client, site, &request("trip", &[&target]));
    node.serve();
    assert!(senders(client, 1).contains(&node.name));
}
