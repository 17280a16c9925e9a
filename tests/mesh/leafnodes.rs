//! Leafnodes of midge: real nats-servers that join an account of it, alone and in a mesh, and a
//! scripted leafnode that sends what those do not.

mod accounts;
mod advisories;
mod delivery;
mod in_a_mesh;
mod mutual;
mod remotes;
mod remotes_login;
mod remotes_mesh;
mod remotes_reload;
mod remotes_scripted;
mod remotes_streams;
mod remotes_tls;
mod scripted;
mod tls;

use test_support::{Broker, BrokerBuilder, RawClient, wait_until};

/// A broker that serves leafnodes on this port. `more` is more of its block, `config` of its file.
fn hub(builder: BrokerBuilder, port: u16, more: &str, config: &str) -> Broker {
    let text = format!(
        "server_name: hub\nleafnodes {{ listen: \"127.0.0.1:{port}\", {more} }}\n{config}\n"
    );
    builder.config(text).start()
}

/// A nats-server that is a leafnode of the broker on this port. `login` is `user:password@`, or
/// nothing; `more` is more of its remote.
fn leaf(name: &str, port: u16, login: &str, more: &str) -> Broker {
    leaf_with(Broker::nats_server(), name, port, login, more, "")
}

fn leaf_with(
    builder: BrokerBuilder,
    name: &str,
    port: u16,
    login: &str,
    more: &str,
    config: &str,
) -> Broker {
    let text = format!(
        "server_name: {name}\nleafnodes {{ reconnect: 1, remotes: [ {{ url: \
         \"nats://{login}127.0.0.1:{port}\", {more} }} ] }}\n{config}\n"
    );
    builder.config(text).start()
}

/// Waits until a broker has so many leafnode connections.
fn wait_for_leafs(broker: &Broker, count: usize) {
    wait_until(&format!("{count} leafnodes"), || {
        broker.get_json("/leafz")["leafnodes"] == count
    });
}

/// Whether a broker has heard over some leafnode connection of interest in a subject.
fn knows(broker: &Broker, subject: &str) -> bool {
    let leafz = broker.get_json("/leafz?subs=1");
    let leafs = leafz["leafs"].as_array().cloned().unwrap_or_default();
    leafs.iter().any(|leaf| {
        let subjects = leaf["subscriptions_list"].as_array().cloned();
        subjects.unwrap_or_default().iter().any(|it| it == subject)
    })
}

/// A client with a subscription that the other broker knows of.
fn subscriber(at: &Broker, other: &Broker, subject: &str) -> RawClient {
    let mut client = RawClient::connect_quietly(at.client_addr());
    client.send(format!("SUB {subject} 1\r\n"));
    client.sync();
    wait_until(&format!("{subject} is known"), || knows(other, subject));
    client
}

fn client(at: &Broker) -> RawClient {
    RawClient::connect_quietly(at.client_addr())
}

/// The control line of the next message, and its body.
fn message(client: &mut RawClient) -> (String, Vec<u8>) {
    let frame = client.next_message();
    (
        String::from_utf8_lossy(&frame.line).into_owned(),
        frame.body,
    )
}

/// Nothing has come before the PONG.
#[track_caller]
fn expect_silence(client: &mut RawClient) {
    let frames = client.sync();
    let messages = frames.iter().filter(|frame| frame.is_message());
    let lines: Vec<_> = messages
        .map(|it| it.line.escape_ascii().to_string())
        .collect();
    assert!(lines.is_empty(), "{lines:?}");
}
