//! What monitoring, the log and the system account say about clients by WebSocket.

use std::io::Read;

use test_support::{Broker, BrokerBuilder, RawClient};

use super::{connected, greeted, on_both, start};

on_both![
    connz_names_the_type,
    varz_has_the_block,
    lines_of_the_log_have_their_own_id,
    both_kinds_of_clients_get_the_same_bytes,
];

fn connz_names_the_type(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut client = greeted(&broker);
    client.log_in(",\"name\":\"page\",\"lang\":\"js\"");
    let plain = broker.connect();
    broker.wait_for_connections(2);
    let connz = broker.get_json("/connz");
    let of = |port: Option<u16>| {
        let all = connz["connections"].as_array().cloned().unwrap_or_default();
        let is_it = |it: &serde_json::Value| match port {
            Some(port) => it["port"] == port,
            None => it["name"] == "page",
        };
        all.into_iter().find(|it| is_it(it)).expect("its entry")
    };
    let web = of(None);
    assert_eq!(
        (&web["kind"], &web["type"]),
        (&"Client".into(), &"websocket".into())
    );
    assert_eq!(of(Some(plain.local_port()))["type"], "nats");
    client.send(test_support::websocket::frame(0x88, b"\x03\xe8"));
    client.read_to_end();
    broker.wait_for_connections(1);
    let closed = broker.get_json("/connz?state=closed");
    let all = closed["connections"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let page = all
        .iter()
        .find(|it| it["name"] == "page")
        .expect("its entry");
    assert_eq!(
        (&page["type"], &page["reason"]),
        (&"websocket".into(), &"Client Closed".into())
    );
}

fn varz_has_the_block(broker: BrokerBuilder) {
    let more = "advertise: \"a.example:443\", same_origin: true, compression: true, \
                allowed_origins: \"https://a.example\", handshake_timeout: \"3s\", \
                authorization { user: a, password: canary, timeout: 7 }";
    let broker = start(broker, more, "");
    let varz = broker.get_json("/varz");
    let block = &varz["websocket"];
    let port = broker.websocket_addr().port();
    let expected: [(&str, serde_json::Value); 8] = [
        ("host", "127.0.0.1".into()),
        ("port", port.into()),
        ("advertise", "a.example:443".into()),
        ("handshake_timeout", 3_000_000_000_u64.into()),
        ("no_tls", true.into()),
        ("same_origin", true.into()),
        ("compression", true.into()),
        ("auth_timeout", 7.into()),
    ];
    for (name, expected) in expected {
        let same = block[name] == expected || block[name].as_f64() == expected.as_f64();
        assert!(same && !block[name].is_null(), "{name}: {block}");
    }
    assert_eq!(
        block["allowed_origins"],
        serde_json::json!(["https://a.example"])
    );
    assert!(!varz.to_string().contains("canary"));
}

fn lines_of_the_log_have_their_own_id(broker: BrokerBuilder) {
    let broker = start(broker, "", "debug: true\n");
    connected(&broker);
    broker
        .log()
        .wait_for("Listening for websocket clients on ws://127.0.0.1:");
    broker
        .log()
        .wait_for("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
    broker.log().wait_for(" - wid:");
}

/// Subscribers of both kinds get the same operations, of publishers of both kinds.
fn both_kinds_of_clients_get_the_same_bytes(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let (mut web, mut publisher) = (greeted(&broker), greeted(&broker));
    for client in [&mut web, &mut publisher] {
        client.log_in(",\"headers\":true,\"echo\":false");
    }
    let mut plain = RawClient::connect_quietly(broker.client_addr());
    web.say("SUB a.> 7\r\nPING\r\n");
    web.read_until("PONG\r\n");
    plain.send("SUB a.> 7\r\n");
    plain.sync();
    let mut expected = String::new();
    for n in 0..200 {
        let payload = "y".repeat(n * 37 % 5000);
        let len = payload.len();
        let publish = match n % 3 {
            0 => format!(
                "HPUB a.{n} 12 {}\r\nNATS/1.0\r\n\r\n{payload}\r\n",
                len + 12
            ),
            _ => format!("PUB a.{n} {len}\r\n{payload}\r\n"),
        };
        expected += &match n % 3 {
            0 => format!(
                "HMSG a.{n} 7 12 {}\r\nNATS/1.0\r\n\r\n{payload}\r\n",
                len + 12
            ),
            _ => format!("MSG a.{n} 7 {len}\r\n{payload}\r\n"),
        };
        publisher.say(publish);
    }
    publisher.say("PING\r\n");
    publisher.read_until("PONG\r\n");
    let mut by_web = String::new();
    while by_web.len() < expected.len() {
        by_web += &web.read_until("\n");
    }
    assert!(
        by_web == expected,
        "{} and {} bytes",
        by_web.len(),
        expected.len()
    );
    let mut plainly = String::new();
    while plainly.len() < expected.len() {
        let mut buffer = [0; 4096];
        let len = plain.stream().read(&mut buffer).expect("read");
        assert!(len > 0, "closed");
        plainly += str::from_utf8(&buffer[..len]).expect("text");
    }
    assert!(
        plainly == expected,
        "{} and {} bytes",
        plainly.len(),
        expected.len()
    );
    let connz = broker.get_json("/connz");
    let all = connz["connections"].as_array().cloned().unwrap_or_default();
    let moved = all.iter().filter(|it| it["out_msgs"] == 200);
    let moved: Vec<_> = moved.map(|it| it["out_bytes"].clone()).collect();
    assert_eq!(moved.len(), 2, "{connz}");
    assert_eq!(moved[0], moved[1], "{connz}");
}

/// The system account's events name the type.
#[test]
fn events_name_the_type() {
    let users = "accounts { SYS { users: [ { user: s, password: s } ] }, \
                 A { users: [ { user: a, password: a } ] } }\nsystem_account: SYS\n";
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = start(builder, "", users);
        let mut watcher = broker.connect();
        watcher.send("CONNECT {\"verbose\":false,\"user\":\"s\",\"pass\":\"s\"}\r\n");
        watcher.send("SUB $SYS.ACCOUNT.A.CONNECT 1\r\n");
        watcher.sync();
        let mut client = greeted(&broker);
        client.log_in(",\"user\":\"a\",\"pass\":\"a\"");
        let event = format!("{:?}", watcher.next_message());
        assert!(event.contains("client_type"), "{event}");
        assert!(event.contains("websocket"), "{event}");
    }
}
