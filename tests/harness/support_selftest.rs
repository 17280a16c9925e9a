//! Tests of the test support against real nats-servers, so that a defect of the support
//! does not look like one of the broker.

use test_support::{Broker, BrokerBuilder, RawClient, broker::is_listening, tools};

/// A broker is ready when `start` returns, answers on both ports, and exits with 0 on
/// SIGTERM.
#[test]
fn nats_server_starts_serves_and_stops() {
    serves_and_stops(Broker::nats_server(), "2.15.");
}

/// The same with the oldest nats-server in the comparison. It exits with 1 on SIGTERM, so
/// its exit code is not checked.
#[test]
fn nats_server_29_starts_and_serves() {
    let broker = Broker::nats_server_29().start();
    let version = broker.get_json("/varz")["version"].clone();
    assert!(version.as_str().is_some_and(|v| v.starts_with("2.9.")));
}

/// Frames are parsed and a PING waits for all deliveries.
#[test]
fn raw_client_reads_frames() {
    let broker = Broker::nats_server().config("max_payload: 512\n").start();
    let mut client = RawClient::connect_quietly(broker.client_addr());
    assert_eq!(client.info()["max_payload"], 512);
    client.send("SUB a 1\r\nPUB a 2\r\nhi\r\nHPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n");
    let frames = client.sync();
    assert_eq!(
        format!("{frames:?}"),
        r"[MSG a 1 2 | hi, HMSG a 1 12 13 | NATS/1.0\r\n\r\nx]"
    );
    client.send("MSG\r\n");
    assert_eq!(
        format!("{:?}", client.read_to_end()),
        "[-ERR 'Unknown Protocol Operation']"
    );
}

/// A broker that refuses its configuration fails the test with its own output.
#[test]
#[should_panic(expected = "no_such_option")]
fn failed_start_shows_the_output() {
    Broker::nats_server().config("no_such_option: 1\n").start();
}

/// A killed broker frees its port, and another one can use it.
#[test]
fn restart_on_the_same_port() {
    let mut first = Broker::nats_server().start();
    let address = first.client_addr();
    first.kill();
    assert!(!is_listening(address));
    let second = Broker::nats_server().port(address.port()).start();
    assert_eq!(second.client_addr(), address);
}

/// The program named by the tests has the expected version.
#[test]
fn tools_are_found() {
    assert!(tools::nats_server().is_file());
    assert!(tools::nats_server_29().is_file());
}

fn serves_and_stops(builder: BrokerBuilder, version: &str) {
    let mut broker = builder.flag("-DV").start();
    let varz = broker.get_json("/varz");
    assert!(
        varz["version"]
            .as_str()
            .is_some_and(|v| v.starts_with(version)),
        "{varz}"
    );
    assert_eq!(varz["port"], broker.client_addr().port());
    let mut client = broker.connect();
    assert!(client.sync().is_empty());
    broker.log().wait_for("Server is ready");
    assert_eq!(broker.stop().code(), Some(0));
    assert!(client.read_to_end().is_empty());
}
