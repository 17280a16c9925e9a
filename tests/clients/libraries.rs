//! Real client libraries work: each feature with async-nats, nats.py, nats.js
//! and the C client. Every test runs against a real nats-server too, which
//! proves the test.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, HeaderMap, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use test_support::{Broker, BrokerBuilder, PATIENCE, tools};
use tokio::time::timeout;

macro_rules! on_both_brokers {
    ($($feature:ident),* $(,)?) => {
        mod midge {
            use test_support::Broker;
            $(#[tokio::test] async fn $feature() { super::$feature(Broker::midge()).await; })*
        }
        mod nats_server {
            use test_support::Broker;
            $(#[tokio::test] async fn $feature() { super::$feature(Broker::nats_server()).await; })*
        }
    };
}

on_both_brokers![
    publish_and_subscribe,
    request_and_reply,
    queue_group_shares,
    headers_arrive,
    no_responders_is_an_error,
    drain_delivers_the_rest,
    unsubscribe_after_a_maximum,
    payload_up_to_the_limit,
    reconnect_after_a_restart,
    many_subscribers_and_publishers,
    python_client,
    javascript_client,
    c_client,
];

/// Messages arrive at exact, wildcard and full wildcard subscriptions, in order.
async fn publish_and_subscribe(broker: BrokerBuilder) {
    let broker = broker.start();
    let (client, other) = (connect(&broker).await, connect(&broker).await);
    let mut exact = subscribe(&client, "a.b").await;
    let mut wildcard = subscribe(&client, "a.*").await;
    let mut full = subscribe(&client, "a.>").await;
    for n in 0..100 {
        publish(&other, "a.b", &n.to_string()).await;
    }
    publish(&other, "a.b.c", "last").await;
    for n in 0..100 {
        for subscriber in [&mut exact, &mut wildcard, &mut full] {
            let message = next(subscriber).await;
            assert_eq!(message.subject.as_str(), "a.b");
            assert_eq!(message.payload, n.to_string());
        }
    }
    assert_eq!(next(&mut full).await.payload, "last");
}

/// A request is answered over the client's wildcard inbox.
async fn request_and_reply(broker: BrokerBuilder) {
    let broker = broker.start();
    let service = connect(&broker).await;
    let mut requests = subscribe(&service, "double").await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let answer = [request.payload.clone(), request.payload].concat();
            let reply = request.reply.expect("a request has a reply subject");
            service.publish(reply, answer.into()).await.expect("answer");
        }
    });
    let client = connect(&broker).await;
    for n in 0..50 {
        let answer = client.request("double", n.to_string().into()).await;
        assert_eq!(answer.expect("an answer").payload, format!("{n}{n}"));
    }
}

/// Each message goes to one member, and in the long run every member gets some.
async fn queue_group_shares(broker: BrokerBuilder) {
    let broker = broker.start();
    let mut members = Vec::new();
    for _ in 0..3 {
        let client = connect(&broker).await;
        let member = client
            .queue_subscribe("work", "workers".to_owned())
            .await
            .expect("subscribe");
        client.flush().await.expect("flush");
        members.push((client, member));
    }
    let publisher = connect(&broker).await;
    for n in 0..300 {
        publish(&publisher, "work", &n.to_string()).await;
    }
    let mut all = Vec::new();
    for (client, mut member) in members {
        // What was delivered to the member is read before its own marker.
        let marker = client.new_inbox();
        let mut markers = subscribe(&client, &marker).await;
        publish(&client, &marker, "").await;
        next(&mut markers).await;
        member.unsubscribe().await.expect("unsubscribe");
        let mut count = 0;
        while let Some(message) = timeout(PATIENCE, member.next()).await.expect("in time") {
            all.push(message.payload);
            count += 1;
        }
        assert!(count > 0, "a member got nothing of 300 messages");
    }
    all.sort();
    let mut expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    expected.sort();
    assert_eq!(all, expected);
}

/// Headers arrive, several values of one name included.
async fn headers_arrive(broker: BrokerBuilder) {
    let broker = broker.start();
    let client = connect(&broker).await;
    let mut subscriber = subscribe(&client, "h").await;
    let mut headers = HeaderMap::new();
    headers.insert("Kind", "test");
    headers.append("Many", "1");
    headers.append("Many", "2");
    client
        .publish_with_headers("h", headers.clone(), "body".into())
        .await
        .expect("publish");
    let message = next(&mut subscriber).await;
    assert_eq!(message.payload, "body");
    assert_eq!(message.headers, Some(headers));
}

/// A request without responders fails immediately.
async fn no_responders_is_an_error(broker: BrokerBuilder) {
    let broker = broker.start();
    let client = connect(&broker).await;
    let outcome = timeout(PATIENCE, client.request("nobody", "?".into())).await;
    let error = outcome.expect("in time").expect_err("nobody serves this");
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

/// Draining delivers what was published before, and nothing after.
async fn drain_delivers_the_rest(broker: BrokerBuilder) {
    let broker = broker.start();
    let (client, publisher) = (connect(&broker).await, connect(&broker).await);
    let mut subscriber = subscribe(&client, "d").await;
    for n in 0..100 {
        publish(&publisher, "d", &n.to_string()).await;
    }
    round_trip(&publisher).await;
    subscriber.drain().await.expect("drain");
    round_trip(&client).await;
    publish(&publisher, "d", "too late").await;
    let mut received = 0;
    while let Some(message) = timeout(PATIENCE, subscriber.next()).await.expect("in time") {
        assert_eq!(message.payload, received.to_string());
        received += 1;
    }
    assert_eq!(received, 100);
    client.drain().await.expect("drain the connection");
}

/// UNSUB with a maximum ends the subscription after that many messages.
async fn unsubscribe_after_a_maximum(broker: BrokerBuilder) {
    let broker = broker.start();
    let client = connect(&broker).await;
    let mut subscriber = subscribe(&client, "u").await;
    subscriber.unsubscribe_after(3).await.expect("unsubscribe");
    for n in 0..5 {
        publish(&client, "u", &n.to_string()).await;
    }
    let mut received = Vec::new();
    while let Some(message) = timeout(PATIENCE, subscriber.next()).await.expect("in time") {
        received.push(message.payload);
    }
    assert_eq!(received, ["0", "1", "2"]);
}

/// A payload of exactly `max_payload` arrives whole.
async fn payload_up_to_the_limit(broker: BrokerBuilder) {
    let broker = broker.start();
    let client = connect(&broker).await;
    let limit = client.server_info().max_payload;
    assert_eq!(limit, 1_048_576);
    let mut subscriber = subscribe(&client, "large").await;
    let payload: Vec<u8> = (0..=255).cycle().take(limit).collect();
    for _ in 0..5 {
        client
            .publish("large", payload.clone().into())
            .await
            .expect("publish");
    }
    for _ in 0..5 {
        assert!(next(&mut subscriber).await.payload == payload);
    }
    let refused = client.publish("large", vec![0; limit + 1].into()).await;
    assert!(refused.is_err(), "the client knows the limit from INFO");
}

/// After a crash and a restart on the same port the client reconnects and its
/// subscription works again.
async fn reconnect_after_a_restart(builder: BrokerBuilder) {
    let program = builder.program_path();
    let mut first = builder.start();
    let address = first.client_addr();
    let client = ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(20))
        .connect(first.client_url())
        .await
        .expect("connect");
    let mut subscriber = subscribe(&client, "r").await;
    publish(&client, "r", "before").await;
    assert_eq!(next(&mut subscriber).await.payload, "before");
    first.kill();
    let second = Broker::program(program).port(address.port()).start();
    let publisher = connect(&second).await;
    let come_back = async {
        loop {
            publish(&publisher, "r", "after").await;
            let answer = timeout(Duration::from_millis(50), subscriber.next()).await;
            if let Ok(Some(message)) = answer {
                return message.payload;
            }
        }
    };
    let payload = timeout(PATIENCE, come_back).await.expect("reconnect");
    assert_eq!(payload, "after");
}

/// Twenty publishers to twenty subscribers: nothing is lost, and each
/// publisher's messages stay in order.
async fn many_subscribers_and_publishers(broker: BrokerBuilder) {
    let broker = broker.start();
    let mut readers = Vec::new();
    for _ in 0..20 {
        let client = connect(&broker).await;
        let mut subscriber = subscribe(&client, "m.*").await;
        readers.push(tokio::spawn(async move {
            let mut expected = [0; 20];
            for _ in 0..20 * 100 {
                let message = next(&mut subscriber).await;
                let publisher: usize = message.subject[2..].parse().expect("a number");
                assert_eq!(message.payload, expected[publisher].to_string());
                expected[publisher] += 1;
            }
            drop(client);
        }));
    }
    let mut writers = Vec::new();
    for publisher in 0..20 {
        let client = connect(&broker).await;
        writers.push(tokio::spawn(async move {
            for n in 0..100 {
                let subject = format!("m.{publisher}");
                client
                    .publish(subject, n.to_string().into())
                    .await
                    .expect("publish");
            }
            client.flush().await.expect("flush");
        }));
    }
    for task in writers.into_iter().chain(readers) {
        task.await.expect("no task fails");
    }
}

/// The same features with nats.py.
async fn python_client(broker: BrokerBuilder) {
    let mut command = Command::new(tools::python_with_nats());
    command.arg(source("nats_py_client.py"));
    run_client(broker, command);
}

/// The same features with nats.js.
async fn javascript_client(broker: BrokerBuilder) {
    let mut command = Command::new(tools::node_with_nats());
    command
        .arg(source("nats_js_client.cjs"))
        .env("NODE_PATH", tools::node_modules());
    run_client(broker, command);
}

/// The same features with the C client.
async fn c_client(broker: BrokerBuilder) {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let program = folder.path().join("nats_c_client");
    tools::compile_c_client(&source("nats_c_client.c"), &program);
    run_client(broker, Command::new(program));
}

/// Runs a client program with the broker's address as its argument. It prints a line per
/// feature and exits with 0 when all work; its own waits have timeouts.
fn run_client(broker: BrokerBuilder, mut command: Command) {
    let broker = broker.start();
    let output = command
        .arg(broker.client_url())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let features = text.lines().filter(|line| line.ends_with(": ok")).count();
    assert_eq!(features, FEATURES, "features proven:\n{text}");
}

/// Features that each client program proves.
const FEATURES: usize = 8;

fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

async fn connect(broker: &Broker) -> Client {
    async_nats::connect(broker.client_url())
        .await
        .expect("connect")
}

/// Subscribes and waits until the broker has processed it.
async fn subscribe(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client
        .subscribe(subject.to_owned())
        .await
        .expect("subscribe");
    round_trip(client).await;
    subscriber
}

async fn publish(client: &Client, subject: &str, payload: &str) {
    client
        .publish(subject.to_owned(), payload.to_owned().into())
        .await
        .expect("publish");
    client.flush().await.expect("flush");
}

/// Returns when the broker has processed everything that the client sent: a request
/// without responders is answered in order.
async fn round_trip(client: &Client) {
    let outcome = timeout(PATIENCE, client.request("round.trip", "".into())).await;
    assert!(outcome.expect("in time").is_err(), "nobody serves this");
}

async fn next(subscriber: &mut Subscriber) -> async_nats::Message {
    timeout(PATIENCE, subscriber.next())
        .await
        .expect("a message in time")
        .expect("the subscription lives")
}
