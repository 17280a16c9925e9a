//! The port for WebSockets while the broker starts, reloads, leaves, hands over, and in a cluster.

use std::net::TcpStream;

use serde_json::Value;
use test_support::{
    Broker, BrokerBuilder, free_port, wait_until,
    websocket::{WebSocketClient, WebSocketFrame},
};

use super::{block, connected, greeted, on_both, start};

on_both![
    lame_duck_mode_closes_the_port_at_once,
    clients_learn_addresses_of_websocket_ports_alone,
];

/// The INFO in a frame, if it is one.
fn info_in(frame: &WebSocketFrame) -> Option<Value> {
    serde_json::from_str(frame.text().strip_prefix("INFO ")?).ok()
}

/// A client that takes INFO at any time.
fn informed(broker: &Broker) -> WebSocketClient {
    let mut client = greeted(broker);
    client.log_in(",\"protocol\":1");
    client
}

fn lame_duck_mode_closes_the_port_at_once(broker: BrokerBuilder) {
    let top = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"\n";
    let mut broker = start(broker, "", top);
    let address = broker.websocket_addr();
    let mut client = informed(&broker);
    broker.signal(libc::SIGUSR2);
    let info = std::iter::from_fn(|| client.next_frame()).find_map(|frame| info_in(&frame));
    assert_eq!(info.expect("an INFO")["ldm"], true);
    wait_until("the port is closed", || {
        TcpStream::connect(address).is_err()
    });
    let close = client.read_to_end().last().and_then(|it| it.close());
    assert_eq!(close.as_deref(), Some("1001 Server Shutdown"));
    broker.wait_exit();
}

/// Two members, one of which announces another address. Clients by WebSocket learn such addresses,
/// others do not.
fn clients_learn_addresses_of_websocket_ports_alone(broker: BrokerBuilder) {
    let program = broker.program_path();
    let (first_port, second_port) = (free_port(), free_port());
    let cluster = |name: &str, port: u16, to: u16| {
        format!(
            "server_name: {name}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", \
             routes: [\"nats-route://127.0.0.1:{to}\"] }}\n"
        )
    };
    let first = start(
        Broker::program(&program),
        "",
        &cluster("one", first_port, second_port),
    );
    let mut client = informed(&first);
    let second = start(
        Broker::program(&program),
        "advertise: \"second.example:443\"",
        &cluster("two", second_port, first_port),
    );
    let own = first.websocket_addr().to_string();
    let expected = serde_json::json!([own, "second.example:443"]);
    let news = std::iter::from_fn(|| client.next_frame())
        .find_map(|frame| info_in(&frame).filter(|info| !info["connect_urls"].is_null()));
    assert_eq!(news.expect("an INFO")["connect_urls"], expected);
    wait_until("/varz lists them", || {
        first.get_json("/varz")["ws_connect_urls"] == expected
    });
    let plain = first.connect().info()["connect_urls"].to_string();
    assert!(plain.contains(&second.client_addr().to_string()), "{plain}");
    assert!(
        !plain.contains("second.example") && !plain.contains(&own),
        "{plain}"
    );
    // Messages go from one kind of client to the other, over the route.
    let mut far = connected(&second);
    far.say("SUB a 1\r\nPING\r\n");
    far.read_until("PONG\r\n");
    let mut near = first.connect();
    wait_until("the interest is known", || {
        near.send("PUB a 2\r\nhi\r\n");
        near.sync();
        first.get_json("/varz")["out_msgs"].as_u64() > Some(0)
    });
    assert!(far.read_until("hi\r\n").starts_with("MSG a 1 2\r\nhi\r\n"));
}

/// The block's settings need a restart, and a reload says so.
#[test]
fn a_reload_names_the_block_that_waits_for_a_restart() {
    let broker = start(Broker::midge(), "", "");
    let mut client = connected(&broker);
    broker.reload(&block("compression: true"));
    broker
        .log()
        .wait_for("websocket stays as it is until the next start");
    client.say("PING\r\n");
    assert_eq!(client.read_until("PONG\r\n"), "PONG\r\n");
    greeted(&broker);
}

/// In an upgrade the port stays open; clients by WebSocket stay at the old process, which closes
/// them.
#[test]
fn an_upgrade_keeps_the_port() {
    let top = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"\n";
    let broker = start(Broker::midge(), "", top);
    let address = broker.websocket_addr();
    let mut client = WebSocketClient::connect(address);
    client.info();
    client.log_in("");
    broker.upgrade();
    let mut other = WebSocketClient::connect(address);
    other.info();
    other.log_in("");
    let close = client.read_to_end().last().and_then(|it| it.close());
    assert_eq!(close.as_deref(), Some("1001 Server Shutdown"));
    other.say("PING\r\n");
    assert_eq!(other.read_until("PONG\r\n"), "PONG\r\n");
}

/// A service manager may open the port.
#[test]
fn a_passed_socket_is_served() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("its address");
    let broker = Broker::midge()
        .config(block("").replace("127.0.0.1:-1", &address.to_string()))
        .pass(vec![socket.into()], Some("websocket"))
        .start();
    assert_eq!(broker.websocket_addr(), address);
    connected(&broker);
}
