//! Findings about the federation of a site.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{appears, appears_while, clears, quick_with, stays_silent, text};
use test_support::{Broker, RawClient, free_port, wait_until};

const REQUESTS: &str = "choria.federation.prod.federation";
const REPLIES: &str = "choria.federation.prod.collective";

/// A site's broker whose upstream broker is at this port.
fn site(port: u16, more: &str, options: &str) -> Broker {
    let block = format!("federation {{ name: prod, upstream: \"nats://127.0.0.1:{port}\" }}");
    quick_with(more, &format!("{block}\n{options}")).start()
}

fn connected(site: &Broker) {
    wait_until("it is connected", || {
        site.get_json("/federationz")["upstream"]["connected"] == true
    });
}

fn publish(client: &mut RawClient, subject: &str, message: &Value) {
    let payload = message.to_string();
    let len = payload.len();
    client.send(format!("PUB {subject} {len}\r\n{payload}\r\n"));
}

#[test]
pub fn a_lost_upstream_broker_is_reported_until_it_is_back() {
    let port = free_port();
    let site = site(port, "", "");
    let finding = appears(&site, "federation-unreachable");
    assert_eq!(finding["severity"], "critical");
    assert_eq!(finding["subject"], "prod");
    let words = text(&finding);
    assert!(
        words.contains("no upstream broker of the federation"),
        "{words}"
    );
    assert!(words.contains(&format!("127.0.0.1:{port}")), "{words}");
    let mut central = Broker::midge().port(port).start();
    clears(&site, "federation-unreachable");
    central.kill();
    appears(&site, "federation-unreachable");
    // A broker without the block has nothing to miss.
    let file = site.folder().join("broker.conf");
    let config = fs::read_to_string(&file).expect("the configuration");
    let without: Vec<&str> = config
        .lines()
        .filter(|line| !line.starts_with("federation"))
        .collect();
    fs::write(&file, without.join("\n")).expect("write it");
    site.signal(libc::SIGHUP);
    clears(&site, "federation-unreachable");
}

#[test]
pub fn refused_messages_are_reported_by_reason_for_a_while() {
    let central = Broker::midge().start();
    let site = site(central.client_addr().port(), "", "");
    connected(&site);
    stays_silent(&site, "federation-refused");
    let mut client = RawClient::connect_quietly(central.client_addr());
    let request = json!({
        "headers": {
            "reply-to": "mcollective.reply.a",
            "federation": { "req": "1", "target": ["other.subject"] },
        },
    });
    let finding = appears_while(&site, "federation-refused", || {
        publish(&mut client, REQUESTS, &request);
        client.sync();
    });
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["subject"], "requests: target");
    assert!(text(&finding).contains("a target is no agent"), "{finding}");
    clears(&site, "federation-refused");
}

/// The upstream broker lets the federation in and then reads nothing more.
#[test]
pub fn dropped_replies_are_reported_for_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let info = "INFO {\"server_id\":\"STUCK\",\"max_payload\":1048576}\r\n";
            let _ = stream.write_all(info.as_bytes());
            let mut received = Vec::new();
            let mut buffer = [0; 1024];
            while !received.ends_with(b"PING\r\n") {
                match stream.read(&mut buffer) {
                    Ok(len) if len > 0 => received.extend_from_slice(&buffer[..len]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"PONG\r\n");
            held.push(stream);
        }
    });
    let site = site(port, "", "write_deadline: \"1h\"");
    connected(&site);
    stays_silent(&site, "federation-dropped");
    let mut nodes = RawClient::connect_quietly(site.client_addr());
    let reply = json!({
        "data": "x".repeat(900_000),
        "headers": { "federation": { "req": "1", "reply-to": "mcollective.reply.a" } },
    });
    let finding = appears_while(&site, "federation-dropped", || {
        for _ in 0..10 {
            publish(&mut nodes, REPLIES, &reply);
        }
        nodes.sync();
    });
    assert_eq!(finding["severity"], "warning");
    assert!(text(&finding).contains("32 MiB"), "{finding}");
    clears(&site, "federation-dropped");
}

/// Only requests to the agent `discovery` tell the way to the nodes: what other agents do may take
/// any time.
#[test]
pub fn growing_round_trips_are_reported() {
    const DISCOVERY: &str = "mcollective.broadcast.agent.discovery";
    const NODE: &str = "mcollective.node.web1";
    let central = Broker::midge().start();
    let site = site(central.client_addr().port(), "route_rtt: 100ms", "");
    connected(&site);
    let mut client = RawClient::connect_quietly(central.client_addr());
    client.send("SUB mcollective.reply.> 1\r\n");
    client.sync();
    let mut node = RawClient::connect_quietly(site.client_addr());
    node.send(format!("SUB {DISCOVERY} 1\r\nSUB {NODE} 2\r\n"));
    node.sync();
    let mut number = 0;
    let mut trip = |target: &str, delay: Duration| {
        number += 1;
        let request = json!({
            "headers": {
                "reply-to": "mcollective.reply.a",
                "federation": { "req": number.to_string(), "target": [target] },
            },
        });
        publish(&mut client, REQUESTS, &request);
        let received = node.next_message();
        // The node's own time is what is measured here.
        thread::sleep(delay);
        let received: Value = serde_json::from_slice(&received.body).expect("JSON");
        publish(&mut node, REPLIES, &received);
        client.next_message();
    };
    wait_until("the usual time is known", || {
        trip(DISCOVERY, Duration::ZERO);
        site.get_json("/federationz")["round_trips"]["usual"].is_number()
    });
    // An agent that takes long.
    for _ in 0..20 {
        trip(NODE, Duration::from_millis(150));
    }
    stays_silent(&site, "federation-slow");
    let finding = appears_while(&site, "federation-slow", || {
        trip(DISCOVERY, Duration::from_millis(400))
    });
    assert_eq!(finding["severity"], "warning");
    assert!(text(&finding).contains("usual is"), "{finding}");
    let trips = &site.get_json("/federationz")["round_trips"];
    assert!(trips["shortest"].as_f64() > Some(0.4), "{trips}");
    wait_until("it clears", || {
        trip(DISCOVERY, Duration::ZERO);
        super::findings(&site, "federation-slow").is_empty()
    });
}

/// A stopped federation broker keeps its connection and its share of the requests.
#[test]
pub fn a_member_that_takes_and_says_nothing_is_named() {
    let central = quick_with("", "").start();
    let member = |name: &str| {
        let mut member = RawClient::connect(central.client_addr());
        let options = json!({ "name": name, "verbose": false });
        member.send(format!(
            "CONNECT {options}\r\nSUB {REQUESTS} prod_federation 1\r\n"
        ));
        member.sync();
        member
    };
    let (mut well, stopped) = (member("well"), member("stopped"));
    // Such a worker only takes, in whatever group: that is its work.
    let mut worker = RawClient::connect_quietly(central.client_addr());
    worker.send("SUB work crew 1\r\n");
    worker.sync();
    let mut client = RawClient::connect_quietly(central.client_addr());
    let finding = appears_while(&central, "federation-member-silent", || {
        client.send(format!("PUB {REQUESTS} 0\r\n\r\nPUB work 0\r\n\r\n"));
        client.sync();
        worker.sync();
        for _ in well.sync() {
            well.send("PUB mcollective.reply.a 2\r\nok\r\n");
        }
    });
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["subject"], "stopped");
    assert!(text(&finding).contains(REQUESTS), "{finding}");
    assert_eq!(
        super::findings(&central, "federation-member-silent").len(),
        1
    );
    drop(stopped);
    clears(&central, "federation-member-silent");
}
