//! Settings for clients and what is announced to them.

use std::{io::Read, net::TcpStream};

use test_support::{PATIENCE, RawClient, wait_until};

use super::{Effect, Scene, error_of, info_with};

pub const EFFECTS: &[Effect] = &[
    ("allowed_sources", allowed_sources),
    ("client_advertise", client_advertise),
    ("max_connections", max_connections),
    ("max_subscriptions", max_subscriptions),
    ("max_sub_tokens", max_sub_tokens),
    ("max_payload", max_payload),
    ("max_control_line", max_control_line),
    ("max_closed_clients", max_closed_clients),
    ("mappings", mappings),
    ("server_tags", server_tags),
    ("server_metadata", server_metadata),
    ("lame_duck_duration", lame_duck_duration),
    ("lame_duck_grace_period", lame_duck_grace_period),
    ("pid_file", pid_file),
    ("nodes", nodes),
];

/// New clients, connected clients and the peer, which announces it to its own clients,
/// get the new address.
#[test]
fn client_advertise() {
    let mut scene = Scene::new("", "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    for (value, host, port, url) in [
        ("example.org:9999", "example.org", 9999, "example.org:9999"),
        (
            "[2001:db8::1]:4333",
            "2001:db8::1",
            4333,
            "[2001:db8::1]:4333",
        ),
    ] {
        scene.reload(&format!("client_advertise: \"{value}\""), "");
        let new_client = scene.client();
        let info = new_client.info();
        assert_eq!(
            (&info["host"], &info["port"]),
            (&host.into(), &port.into()),
            "{value}"
        );
        let has_url = |info: &serde_json::Value| {
            let urls = info["connect_urls"].as_array().cloned();
            urls.is_some_and(|urls| urls.contains(&url.into()))
        };
        info_with(&mut client, has_url);
        info_with(&mut peer, has_url);
    }
}

/// Connected clients from elsewhere are closed, and new ones get no INFO.
#[test]
fn allowed_sources() {
    let mut scene = Scene::new("", "");
    let mut client = scene.client();
    scene.reload("allowed_sources: [\"127.0.0.0/8\"]", "");
    assert!(client.sync().iter().all(|it| it.verb() != b"-ERR"));
    scene.reload("allowed_sources: [\"192.0.2.0/24\"]", "");
    assert!(error_of(&mut client).contains("Authorization Violation"));
    let mut refused = TcpStream::connect(scene.member.broker.client_addr()).expect("connect");
    refused.set_read_timeout(Some(PATIENCE)).expect("a bound");
    let mut sent = Vec::new();
    // The connection may end with a reset; nothing is sent before.
    let _ = refused.read_to_end(&mut sent);
    assert!(sent.is_empty(), "{}", String::from_utf8_lossy(&sent));
    let counted = || scene.member.broker.get_json("/varz")["logins"]["refused"].clone();
    assert_eq!(counted()["port_source"], 1);
    scene.reload("", "");
    scene.client();
}

#[test]
fn max_connections() {
    let mut scene = Scene::new("max_connections: 10", "");
    let mut clients = [scene.client(), scene.client()];
    scene.reload("max_connections: 1", "");
    assert!(error_of(&mut clients[1]).contains("maximum connections exceeded"));
    assert!(clients[0].sync().iter().all(|it| it.verb() != b"-ERR"));
    let mut new_client = RawClient::connect(scene.member.broker.client_addr());
    assert!(error_of(&mut new_client).contains("maximum connections exceeded"));
}

#[test]
fn max_subscriptions() {
    let mut scene = Scene::new("max_subscriptions: 10", "");
    let mut client = scene.client();
    client.send("SUB a 1\r\n");
    client.sync();
    scene.reload("max_subscriptions: 1", "");
    assert!(client.sync().iter().all(|frame| frame.verb() != b"-ERR"));
    client.send("SUB b 2\r\n");
    let reported = client.sync();
    assert!(
        reported.iter().any(|it| it.verb() == b"-ERR"),
        "{reported:?}"
    );
}

#[test]
fn max_sub_tokens() {
    let mut scene = Scene::new("max_sub_tokens: 10", "");
    let mut client = scene.client();
    scene.reload("max_sub_tokens: 2", "");
    client.sync();
    client.send("SUB a.b 1\r\n");
    assert!(client.sync().is_empty());
    client.send("SUB a.b.c 2\r\n");
    let reported = client.sync();
    assert!(
        reported.iter().any(|it| it.verb() == b"-ERR"),
        "{reported:?}"
    );
}

/// A peer gets it too, so that it can announce it to its clients.
#[test]
fn max_payload() {
    let mut scene = Scene::new("max_payload: 1000", "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    scene.reload("max_payload: 10", "");
    info_with(&mut peer, |info| info["max_payload"] == 10);
    client.send("PUB a 20\r\n01234567890123456789\r\n");
    assert!(error_of(&mut client).contains("Maximum Payload Violation"));
}

/// Peers have a separate limit, which no setting lowers.
#[test]
fn max_control_line() {
    let mut scene = Scene::new("max_control_line: 4KB", "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    let long = "x".repeat(100);
    client.send(format!("SUB {long} 1\r\n"));
    client.sync();
    scene.reload("max_control_line: 64", "");
    client.sync();
    client.send(format!("SUB {long} 2\r\n"));
    assert!(error_of(&mut client).contains("maximum control line exceeded"));
    peer.send(format!("RS+ $G {long}\r\n"));
    wait_until("the peer's line is accepted", || scene.member.knows(&long));
}

#[test]
fn max_closed_clients() {
    let mut scene = Scene::new("max_closed_clients: 100", "");
    let closed = |scene: &Scene| {
        let closed = scene.member.broker.get_json("/connz?state=closed");
        closed["connections"].as_array().map_or(0, Vec::len)
    };
    let leave = |scene: &Scene, count| drop((0..count).map(|_| scene.client()).collect::<Vec<_>>());
    leave(&scene, 5);
    wait_until("they have disconnected", || closed(&scene) >= 5);
    scene.reload("max_closed_clients: 2", "");
    leave(&scene, 3);
    wait_until("two are listed", || {
        let open = scene.member.broker.get_json("/connz")["num_connections"].clone();
        open == 0 && closed(&scene) == 2
    });
}

#[test]
fn mappings() {
    let mut scene = Scene::new("mappings { a: b }", "");
    let mut client = scene.client();
    client.send("SUB * 1\r\n");
    client.sync();
    let goes_to = |client: &mut RawClient| {
        client.send("PUB a 0\r\n\r\n");
        String::from_utf8(client.next_message().line).expect("text")
    };
    assert_eq!(goes_to(&mut client), "MSG b 1 0");
    scene.reload("mappings { a: c }", "");
    assert_eq!(goes_to(&mut client), "MSG c 1 0");
    scene.reload("", "");
    assert_eq!(goes_to(&mut client), "MSG a 1 0");
}

#[test]
fn server_tags() {
    let mut scene = Scene::new("server_tags: [old]", "");
    scene.reload("server_tags: [new, newer]", "");
    let varz = scene.member.broker.get_json("/varz");
    assert_eq!(varz["tags"], serde_json::json!(["new", "newer"]));
}

#[test]
fn server_metadata() {
    let mut scene = Scene::new("server_metadata { a: old }", "");
    scene.reload("server_metadata { a: new }", "");
    let varz = scene.member.broker.get_json("/varz");
    assert_eq!(varz["metadata"], serde_json::json!({ "a": "new" }));
}

/// Half a minute for sixty clients is half a second for each.
#[test]
fn lame_duck_duration() {
    let grace = "lame_duck_grace_period: \"1ms\"";
    let mut scene = Scene::new(&format!("{grace}\nlame_duck_duration: \"1h\""), "");
    let clients: Vec<RawClient> = (0..60).map(|_| scene.client()).collect();
    scene.reload(&format!("{grace}\nlame_duck_duration: \"30s\""), "");
    scene.member.broker.signal(libc::SIGUSR2);
    let log = scene.member.broker.log();
    log.wait_for("Closing 60 clients, one every 499.98");
    drop(clients);
}

#[test]
fn lame_duck_grace_period() {
    let whole = "lame_duck_duration: \"2h\"";
    let mut scene = Scene::new(&format!("{whole}\nlame_duck_grace_period: \"1h\""), "");
    let mut client = scene.client();
    scene.reload(&format!("{whole}\nlame_duck_grace_period: \"1ms\""), "");
    scene.member.broker.signal(libc::SIGUSR2);
    client.read_to_end();
}

#[test]
fn pid_file() {
    let mut scene = Scene::new("pid_file: \"old.pid\"", "");
    scene.reload("pid_file: \"new.pid\"", "");
    let broker = &scene.member.broker;
    let pid = std::fs::read_to_string(broker.folder().join("new.pid")).expect("the pid file");
    assert_eq!(pid.trim(), broker.pid().to_string());
}

/// The block begins, changes and ends.
#[test]
fn nodes() {
    let mut scene = Scene::new("", "");
    let nodes = |scene: &Scene| scene.member.broker.get_json("/nodesz");
    assert_eq!(nodes(&scene)["enabled"], false);
    for names in [&["a"][..], &["a", "b.example.net"]] {
        scene.reload(
            &format!("nodes {{ expected: {names:?}, missing_after: \"1s\" }}"),
            "",
        );
        wait_until("they are missing", || {
            let answer = nodes(&scene);
            answer["missing"] == names.len() && answer["expected"] == names.len()
        });
    }
    scene.reload("", "");
    wait_until("none is expected", || nodes(&scene)["enabled"] == false);
}
