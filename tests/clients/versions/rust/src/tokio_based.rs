//! `async-nats` 0.33, which needs Tokio.

use std::{path::PathBuf, time::Duration};

use async_nats_0_33::{Client, ConnectOptions, HeaderMap, Message, Subscriber};
use futures_util::StreamExt;
use tokio::{runtime::Runtime, time::timeout};

use crate::{assert_refused, proven, restart_broker, setting, PATIENCE};

pub fn prove() {
    Runtime::new().expect("a runtime").block_on(async {
        messages().await;
        proven("messages");
        request().await;
        proven("request");
        queue_group().await;
        proven("queue_group");
        headers().await;
        proven("headers");
        tls().await;
        proven("tls");
        certificate().await;
        proven("certificate");
        reconnect().await;
        proven("reconnect");
    });
}

async fn connect() -> Client {
    let options = ConnectOptions::new().reconnect_delay_callback(|_| Duration::from_millis(50));
    options.connect(setting("URL")).await.expect("connect")
}

/// Subscribes; an answered request on the same connection says that the broker knows it.
async fn subscribe(client: &Client, subject: &'static str) -> Subscriber {
    let subscriber = client.subscribe(subject).await.expect("subscribe");
    settle(client).await;
    subscriber
}

async fn settle(client: &Client) {
    let answer = client.request("settle", "".into()).await;
    assert!(answer.is_err(), "nobody serves this");
}

async fn next(subscriber: &mut Subscriber) -> Message {
    let message = timeout(PATIENCE, subscriber.next()).await;
    message.expect("in time").expect("a message")
}

async fn messages() {
    let (client, other) = (connect().await, connect().await);
    let mut subscriber = subscribe(&client, "rust.*").await;
    for number in 0..100 {
        let sent = other.publish("rust.a", number.to_string().into()).await;
        sent.expect("publish");
    }
    for number in 0..100 {
        let message = next(&mut subscriber).await;
        assert_eq!(message.subject.as_str(), "rust.a");
        assert_eq!(message.payload, number.to_string());
    }
}

async fn request() {
    let (client, other) = (connect().await, connect().await);
    let mut subscriber = subscribe(&client, "double").await;
    tokio::spawn(async move {
        let message = next(&mut subscriber).await;
        let answer = [message.payload.clone(), message.payload].concat();
        let reply = message.reply.expect("a reply subject");
        client.publish(reply, answer.into()).await.expect("publish");
        client.flush().await.expect("flush");
    });
    let answer = other.request("double", "ab".into()).await;
    assert_eq!(answer.expect("an answer").payload, "abab");
}

async fn queue_group() {
    let clients = [connect().await, connect().await];
    let mut members = Vec::new();
    for client in &clients {
        let member = client.queue_subscribe("work", "workers".into()).await;
        members.push(member.expect("subscribe"));
        settle(client).await;
    }
    for number in 0..200 {
        let sent = clients[0].publish("work", number.to_string().into()).await;
        sent.expect("publish");
    }
    settle(&clients[0]).await;
    let mut data = Vec::new();
    for (member, client) in members.iter_mut().zip(&clients) {
        // What was delivered to the member is read before the answer.
        settle(client).await;
        member.unsubscribe().await.expect("unsubscribe");
        let before = data.len();
        while let Some(message) = timeout(PATIENCE, member.next()).await.expect("in time") {
            data.push(message.payload);
        }
        assert!(data.len() > before, "a member got nothing");
    }
    data.sort();
    let mut expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    expected.sort();
    assert_eq!(data, expected);
}

async fn headers() {
    let client = connect().await;
    let mut subscriber = subscribe(&client, "headers").await;
    let mut sent = HeaderMap::new();
    sent.insert("Kind", "test");
    let published = client.publish_with_headers("headers", sent.clone(), "body".into());
    published.await.expect("publish");
    let message = next(&mut subscriber).await;
    assert_eq!(message.payload, "body");
    assert_eq!(message.headers, Some(sent));
}

async fn echo(client: &Client) {
    let mut subscriber = subscribe(client, "echo").await;
    let sent = client.publish("echo", "hello".into()).await;
    sent.expect("publish");
    assert_eq!(next(&mut subscriber).await.payload, "hello");
}

async fn tls() {
    let trusting = |ca| ConnectOptions::new().add_root_certificates(PathBuf::from(setting(ca)));
    let client = trusting("CA").connect(setting("TLS_URL")).await;
    echo(&client.expect("connect")).await;
    let refused = trusting("OTHER_CA").connect(setting("TLS_URL")).await;
    assert_refused(&refused.expect_err("a certificate of another CA"));
}

async fn certificate() {
    let options = ConnectOptions::new()
        .add_root_certificates(PathBuf::from(setting("CA")))
        .add_client_certificate(setting("CERT").into(), setting("KEY").into());
    let client = options.connect(setting("VERIFYING_URL")).await;
    echo(&client.expect("connect")).await;
}

async fn reconnect() {
    let client = connect().await;
    let mut subscriber = subscribe(&client, "again").await;
    tokio::task::spawn_blocking(restart_broker)
        .await
        .expect("a new broker");
    let publisher = connect().await;
    let payload = loop {
        let sent = publisher.publish("again", "after".into()).await;
        sent.expect("publish");
        publisher.flush().await.expect("flush");
        if let Ok(message) = timeout(Duration::from_millis(20), subscriber.next()).await {
            break message.expect("the subscription lives").payload;
        }
    };
    assert_eq!(payload, "after");
}
