//! Message tracing, compared with a real nats-server: both have the same configuration and get the
//! same messages, and the trace events must tell the same way.

use std::{collections::BTreeMap, io::Read};

use serde_json::{Value, json};
use test_support::{
    Broker, BrokerBuilder, Frame, RawClient,
    mesh::{self, Kind, Member},
    wait_until,
};

/// Accounts with everything that a trace can pass.
const CONFIG: &str = r#"
accounts {
  A {
    users: [
      { user: a, password: p }
      { user: denied, password: p, permissions: {
          publish: { deny: ["secret", "traces.no"] }, subscribe: { deny: ["closed.>"] } } }
    ]
    mappings { "old.*": "new.$1" }
    msg_trace: { dest: "traces.parent", sampling: "100%" }
    exports: [ { stream: "news.>" } ]
    imports: [
      { service: { account: B, subject: "open" }, to: "b.open" }
      { service: { account: B, subject: "shut" }, to: "b.shut" }
    ]
  }
  B {
    users: [ { user: b, password: p } ]
    mappings { "open": "inner.open" }
    exports: [ { service: "open", allow_trace: true }, { service: "shut" } ]
    imports: [ { stream: { account: A, subject: "news.>" }, prefix: "from.a", allow_trace: true } ]
  }
  C {
    users: [ { user: c, password: p } ]
    imports: [ { stream: { account: A, subject: "news.>" } } ]
  }
}
"#;

fn log_in(broker: &Broker, user: &str, options: &str) -> RawClient {
    let mut client = RawClient::connect(broker.client_addr());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":\"{user}\",\
         \"user\":\"{user}\",\"pass\":\"p\"{options}}}\r\n"
    ));
    client.sync();
    client
}

/// Publishes a message with these headers.
fn publish(client: &mut RawClient, subject: &str, reply: &str, headers: &str) {
    let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
    let (header_len, len) = (headers.len(), headers.len() + 2);
    client.send(format!(
        "HPUB {subject} {reply} {header_len} {len}\r\n{headers}hi\r\n"
    ));
}

/// The payload of a message that may have headers.
fn payload(frame: &Frame) -> &[u8] {
    let arguments = frame.arguments();
    let headers = match frame.verb() {
        b"HMSG" => arguments[arguments.len() - 2].parse().expect("a length"),
        _ => 0,
    };
    &frame.body[headers..]
}

/// A trace event without what differs between two runs; steps to peers, clients and
/// importing accounts are sorted.
fn normal(event: &Value) -> Value {
    let mut steps = Vec::new();
    let mut ends = BTreeMap::new();
    for step in event["events"].as_array().expect("steps") {
        let mut step = step.clone();
        let fields = step.as_object_mut().expect("an object");
        assert!(fields.remove("ts").is_some_and(|time| time.is_string()));
        if let Some(cid) = fields.remove("cid") {
            assert!(cid.as_u64().is_some_and(|cid| cid > 0), "{event}");
        }
        match fields["type"] == "eg" || fields["type"] == "se" {
            true => drop(ends.insert(step.to_string(), step)),
            false => steps.push(step),
        }
    }
    let mut headers = event["request"]["header"].clone();
    if let Some(headers) = headers.as_object_mut() {
        headers.remove("Nats-Trace-Hop");
        for (name, value) in headers {
            // The subject for events that come back is random; so is what describes a requester.
            if name == "Nats-Request-Info" || value[0].to_string().contains("_R_.") {
                *value = json!("…");
            }
        }
    }
    steps.extend(ends.into_values());
    json!({
        "header": headers,
        "hops": event["hops"],
        "server": event["server"]["name"].is_string(),
        "steps": steps,
    })
}

/// Index of the client that does not receive its own messages.
const NO_ECHO: usize = 1;

/// What a client has received before the message that ends a round; `answered`: before the answer
/// to a ping, as it does not receive that message.
fn until_end(client: &mut RawClient, answered: bool) -> Vec<Frame> {
    if answered {
        return client.sync();
    }
    let mut frames = Vec::new();
    loop {
        let frame = client.next_frame().expect("the connection is open");
        match frame.is_message() && frame.arguments()[0].ends_with("news.end") {
            true => return frames,
            false => frames.push(frame),
        }
    }
}

/// What all clients of one broker see of these messages: events, and deliveries as
/// `client subject`.
fn tell(broker: &Broker) -> Vec<(String, Value, Vec<String>)> {
    let mut tracer = log_in(broker, "a", "");
    tracer.send("SUB traces.> 1\r\n");
    tracer.sync();
    let mut clients: Vec<(&str, RawClient)> = [
        (
            "a",
            "",
            "SUB orders.* 1\r\nSUB new.x 2\r\nSUB orders.* q 3\r\nSUB news.end 4\r\n",
        ),
        (
            "a",
            ",\"echo\":false",
            "SUB orders.* 1\r\nSUB news.end 2\r\n",
        ),
        ("denied", "", "SUB *.x 2\r\nSUB news.end 3\r\n"),
        (
            "b",
            "",
            "SUB inner.open 1\r\nSUB shut 2\r\nSUB from.a.news.> 3\r\n",
        ),
        ("c", "", "SUB news.> 1\r\n"),
    ]
    .into_iter()
    .map(|(user, options, subscriptions)| {
        let mut client = log_in(broker, user, options);
        client.send(subscriptions);
        client.sync();
        (user, client)
    })
    .collect();
    let dest = "Nats-Trace-Dest: traces.t";
    let only = format!("{dest}\r\nNats-Trace-Only: true");
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut told = Vec::new();
    for (from, subject, reply, headers) in [
        (0, "orders.new", "", dest),
        (0, "orders.new", "answers", &*only),
        (1, "orders.own", "", dest),
        (1, "orders.own", "", &only),
        (0, "old.x", "", dest),
        (0, "old.x", "", &only),
        (0, "nobody", "", dest),
        (0, "closed.x", "", dest),
        (0, "b.open", "answers", dest),
        (0, "b.open", "answers", &only),
        (0, "b.shut", "answers", dest),
        (0, "b.shut", "answers", &only),
        (0, "news.x", "", dest),
        (0, "news.x", "", &only),
        (2, "secret", "", dest),
        (2, "secret", "", &only),
        (2, "orders.new", "", "Nats-Trace-Dest: traces.no"),
        (
            2,
            "orders.new",
            "",
            "Nats-Trace-Dest: traces.no\r\nNats-Trace-Only: 1",
        ),
        (0, "orders.new", "", "Nats-Trace-Dest: traces.t x 1"),
        (
            0,
            "orders.new",
            "",
            "Nats-Trace-Dest: traces.t\tx\r\nNats-Trace-Only: 1",
        ),
        (0, "orders.new", "", "Nats-Trace-Dest: traces.*"),
        (
            0,
            "orders.new",
            "",
            "Nats-Trace-Dest: traces.*\r\nNats-Trace-Only: 1",
        ),
        (0, "orders.new", "", "Nats-Trace-Dest: trace disabled"),
        (0, "orders.new", "", "Nats-Trace-Only: 1"),
        (
            0,
            "orders.new",
            "",
            &format!("{only}\r\nNats-Trace-Origin-Account: A"),
        ),
        (
            0,
            "orders.new",
            "",
            &format!("{dest}\r\nNats-Trace-Hop: 3\r\nX: 1\r\nX: 2\r\nx: 3"),
        ),
        (0, "orders.new", "", parent),
        (0, "orders.new", "", &parent.replace("-01", "-00")),
        (
            0,
            "orders.new",
            "",
            &format!("{parent}\r\nNats-Trace-Only: true"),
        ),
    ] {
        publish(&mut clients[from].1, subject, reply, headers);
        clients[from].1.send("PUB news.end 0\r\n\r\n");
        let mut received = Vec::new();
        for (index, (user, client)) in clients.iter_mut().enumerate() {
            for frame in until_end(client, index == from && index == NO_ECHO) {
                // On a busy machine it comes at other times.
                if frame.line == b"PING" {
                    continue;
                }
                let mut words = frame.arguments();
                words.truncate(2);
                // The reply subject of a request to another account is random.
                let text = match frame.is_message() {
                    true => words.join(" "),
                    false => String::from_utf8_lossy(&frame.line).into_owned(),
                };
                received.push(format!("{index} {user} {text}"));
            }
        }
        // Events are published in the order of the messages.
        publish(
            &mut clients[0].1,
            "nobody",
            "",
            "Nats-Trace-Dest: traces.end",
        );
        let mut events = Vec::new();
        loop {
            let frame = tracer.next_message();
            let dest = frame.arguments().swap_remove(0);
            if dest == "traces.end" {
                break;
            }
            let event = serde_json::from_slice(payload(&frame)).expect("an event");
            events.push(json!([dest, normal(&event)]));
        }
        told.push((
            format!("{from} {subject} {headers}"),
            Value::Array(events),
            received,
        ));
    }
    told
}

#[test]
fn a_trace_tells_the_same_way_as_at_nats_server() {
    let [ours, theirs] =
        [Broker::midge(), Broker::nats_server()].map(|broker| tell(&broker.config(CONFIG).start()));
    let differ: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .collect();
    assert!(differ.is_empty(), "midge, then nats-server: {differ:#?}");
    assert!(
        ours.iter()
            .filter(|(_, events, _)| events != &json!([]))
            .count()
            > 15
    );
}

#[test]
fn a_message_that_is_too_large_has_a_trace() {
    let told = |broker: BrokerBuilder| {
        let broker = broker
            .config(format!("max_payload: 1024\n{CONFIG}"))
            .start();
        let mut tracer = log_in(&broker, "a", "");
        tracer.send("SUB traces.> 1\r\nSUB orders.* 2\r\n");
        tracer.sync();
        let only = "Nats-Trace-Dest: traces.t\r\nNats-Trace-Only: true";
        ["Nats-Trace-Dest: traces.t", only].map(|headers| {
            let mut client = log_in(&broker, "a", "");
            let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
            client.send(format!(
                "HPUB orders.new {} 2048\r\n{headers}hi",
                headers.len()
            ));
            let refused = client.next_frame().expect("an error");
            let event = serde_json::from_slice(payload(&tracer.next_message())).expect("an event");
            (
                String::from_utf8_lossy(&refused.line).into_owned(),
                normal(&event),
            )
        })
    };
    let ours = told(Broker::midge());
    assert_eq!(ours, told(Broker::nats_server()));
    assert!(ours[0].1.to_string().contains("maximum payload exceeded"));
}

/// The events of a message that is published at a member, each within the step that sent the
/// message there.
fn way(client: &mut RawClient, tracer: &mut RawClient, headers: &str, count: usize) -> Value {
    publish(client, "orders.new", "", headers);
    let mut by_hop = BTreeMap::new();
    while by_hop.len() < count {
        let frame = tracer.next_message();
        let event: Value = serde_json::from_slice(payload(&frame)).expect("an event");
        let hop = event["request"]["header"]["Nats-Trace-Hop"][0].as_str();
        by_hop.insert(hop.unwrap_or_default().to_owned(), event);
    }
    let mut first = normal(&by_hop[""]);
    let steps = first["steps"].as_array_mut().expect("steps");
    for step in steps.iter_mut().filter(|step| !step["hop"].is_null()) {
        let hop = step["hop"].as_str().expect("a text");
        step["hop"] = normal(&by_hop[hop]);
    }
    steps.sort_by_key(|step| step["name"].to_string() + &step["sub"].to_string());
    first
}

/// The ways of a message, delivered and only traced, that is published at the first member and has
/// a subscriber at each; the last one has a member of a queue group as well.
fn told_by_mesh(kinds: &[Kind]) -> Vec<Value> {
    let members: Vec<Member> = mesh::start(kinds);
    let mut tracer = members[0].client();
    tracer.send("SUB traces 1\r\n");
    tracer.sync();
    let mut receivers: Vec<RawClient> = members.iter().map(Member::client).collect();
    for receiver in &mut receivers {
        receiver.send("SUB orders.* 1\r\n");
        receiver.sync();
    }
    let last = receivers.last_mut().expect("members");
    last.send("SUB *.new q 2\r\n");
    last.sync();
    wait_until("interest is known", || {
        members[0].knowing("orders.*") == members.len() - 1 && members[0].knows("*.new")
    });
    for member in &members[1..] {
        wait_until("the tracer is known", || member.knows("traces"));
    }
    let mut client = members[0].client();
    let traced = way(
        &mut client,
        &mut tracer,
        "Nats-Trace-Dest: traces",
        members.len(),
    );
    for receiver in &mut receivers {
        assert_eq!(payload(&receiver.next_message()), b"hi");
    }
    assert_eq!(
        payload(&receivers.last_mut().expect("members").next_message()),
        b"hi"
    );
    let headers = "Nats-Trace-Dest: traces\r\nNats-Trace-Only: true";
    let only_traced = way(&mut client, &mut tracer, headers, members.len());
    // The event of a member follows what it delivers.
    for receiver in &mut receivers {
        assert!(
            receiver.sync().is_empty(),
            "a message that is only traced is delivered"
        );
    }
    vec![traced, only_traced]
}

#[test]
fn a_trace_goes_through_a_mesh_of_both_kinds() {
    use Kind::{Midge, Nats};
    let theirs = told_by_mesh(&[Nats, Nats, Nats]);
    for kinds in [
        [Midge, Midge, Midge],
        [Midge, Nats, Midge],
        [Nats, Midge, Nats],
    ] {
        assert_eq!(
            told_by_mesh(&kinds),
            theirs,
            "{kinds:?}, then nats-servers alone"
        );
    }
}

/// A broker that does not trace would deliver what is only to be traced.
#[test]
fn a_message_that_is_only_traced_is_not_sent_to_a_broker_that_would_deliver_it() {
    let members = mesh::start(&[Kind::Midge, Kind::Nats29]);
    let mut receiver = members[1].client();
    receiver.send("SUB orders.* 1\r\n");
    receiver.sync();
    wait_until("interest is known", || members[0].knows("orders.*"));
    let mut client = members[0].client();
    client.send("SUB traces 1\r\n");
    client.sync();
    let mut tell = |headers: &str| -> Value {
        publish(&mut client, "orders.new", "", headers);
        let frame = client.next_message();
        let event: Value = serde_json::from_slice(payload(&frame)).expect("an event");
        event["events"][1]["error"].clone()
    };
    let error = tell("Nats-Trace-Dest: traces\r\nNats-Trace-Only: true");
    assert_eq!(
        error,
        "Not delivered because remote does not support message tracing"
    );
    let error = tell("Nats-Trace-Dest: traces");
    assert!(
        error
            .as_str()
            .is_some_and(|error| error.starts_with("Message delivered")),
        "{error}"
    );
    // The first message that arrives is the second one.
    let frame = receiver.next_message();
    assert!(!String::from_utf8_lossy(&frame.body).contains("Nats-Trace-Only"));
}

/// The event is compressed as the message asks, and tells the same.
#[test]
fn an_event_is_compressed_as_the_message_asks() {
    let told = |broker: Broker| {
        let mut client = RawClient::connect_quietly(broker.client_addr());
        client.send("SUB traces 1\r\n");
        client.sync();
        let mut told = Vec::new();
        for accepted in ["gzip", "Snappy, gzip", "s2", "deflate", ""] {
            let accept = match accepted {
                "" => String::new(),
                accepted => format!("\r\nAccept-Encoding: {accepted}"),
            };
            publish(
                &mut client,
                "orders.new",
                "",
                &format!("Nats-Trace-Dest: traces{accept}"),
            );
            let frame = client.next_message();
            let headers = &frame.body[..frame.body.len() - payload(&frame).len()];
            let headers = String::from_utf8_lossy(headers).into_owned();
            let mut text = Vec::new();
            let compressed = payload(&frame);
            let read = match headers.trim_end().rsplit(' ').next() {
                Some("gzip") => flate2::read::GzDecoder::new(compressed).read_to_end(&mut text),
                Some("snappy") => snap::read::FrameDecoder::new(compressed).read_to_end(&mut text),
                _ => (&mut &*compressed).read_to_end(&mut text),
            };
            read.expect("as its header says");
            let event: Value = serde_json::from_slice(&text).expect("an event");
            told.push((accepted, headers, normal(&event)));
        }
        told
    };
    let [ours, theirs] =
        [Broker::midge(), Broker::nats_server()].map(|builder| told(builder.start()));
    assert_eq!(ours, theirs, "midge, then nats-server");
    assert!(ours[0].1.contains("Content-Encoding: gzip"), "{ours:?}");
}

/// An event may be longer than its message, as what it cites is escaped. One that nobody may send is
/// dropped and counted, and ends no route.
#[test]
fn an_event_that_is_too_large_is_counted() {
    let broker = Broker::midge().start();
    let mut client = RawClient::connect_quietly(broker.client_addr());
    client.send("SUB traces 1\r\n");
    client.sync();
    let long = "\u{1}".repeat(300_000);
    for text in [&*long, "short"] {
        let headers = format!("Nats-Trace-Dest: traces\r\nX: {text}");
        publish(&mut client, "orders.new", "", &headers);
    }
    let event: Value = serde_json::from_slice(payload(&client.next_message())).expect("JSON");
    assert!(event.to_string().contains("short"));
    let metrics = broker.get("/metrics").body;
    assert!(
        metrics.contains("midge_system_notices_dropped_total 1\n"),
        "{metrics}"
    );
}
