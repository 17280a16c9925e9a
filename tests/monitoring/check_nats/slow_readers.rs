//! Clients that subscribe and stop reading, on real brokers.

use tempfile::TempDir;

use super::plugin::{PluginOutput, brokers, check};
use test_support::{Broker, RawClient, wait_until};

/// Large, so that few messages fill the queues: nats-server 2.9 delays a publisher by a
/// tenth of a second for each message to a slow subscriber.
const PAYLOAD_BYTES: usize = 500_000;

/// More than a reading subscriber leaves pending: several times what is published at
/// once.
const STUCK_BYTES: u64 = 4 << 20;

/// A client name with characters that are unsafe in a web page or perfdata, and some that are not.
const NAME: &str = r"app|7<b>`x`";

/// A new slow consumer is a warning that names it, once; afterwards it is not new any
/// more.
#[test]
fn a_new_slow_consumer_is_named() {
    for builder in brokers() {
        let builder_is_midge = builder.program_path() == test_support::tools::midge();
        let config = "max_pending: 1MB\nwrite_deadline: \"60s\"\n";
        let broker = builder.config(config).start();
        let state = tempfile::tempdir().expect("make a temporary folder");
        slow(&broker, &state, &[]).expect(0, "first run");
        slow(&broker, &state, &[]).expect(0, "0 new slow consumers in ");

        let _reader = stuck_reader(&broker);
        let mut publisher = RawClient::connect_quietly(broker.client_addr());
        wait_until("the subscriber is disconnected", || {
            publish(&mut publisher);
            broker.get_json("/varz")["slow_consumers"] != 0
                && broker.get_json("/connz?state=closed")["total"] != 0
        });
        // The list of closed connections is updated a moment later.
        wait_until("the subscriber is listed as closed", || {
            let closed = broker.get_json("/connz?state=closed");
            let names = closed["connections"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            names.iter().any(|connection| connection["name"] == NAME)
        });
        if builder_is_midge {
            wait_until("the incident has ended", || {
                let incidents = broker.get_json("/slowz")["incidents"].clone();
                let all = incidents.as_array().cloned().unwrap_or_default();
                all.iter().any(|incident| incident["state"] == "evicted")
            });
        }

        let result = slow(&broker, &state, &[]);
        result
            .expect(1, "new slow consumer")
            .expect(1, "\"app?7?b?`x`\" 127.0.0.1")
            .expect(1, "(warning 0)")
            .tell("\n  do: ");
        if builder_is_midge {
            // The subject that waited for it.
            result.expect(1, " with \"a\"").tell(" lost (");
        } else {
            result.tell("subscribed to \"›\"");
        }
        assert_ne!(result.value("slow_consumers"), "0c");
        let knows_kinds = broker.get_json("/varz")["slow_consumer_stats"].is_object();
        assert_eq!(
            result.value("slow_clients") == "U",
            !knows_kinds,
            "{result:?}"
        );
        slow(&broker, &state, &[]).expect(0, "0 new slow consumers in ");
        // Also not new for a check that has not run before.
        let other = tempfile::tempdir().expect("make a temporary folder");
        slow(&broker, &other, &["-c", "0"]).expect(0, "since the start");
    }
}

/// Pending bytes are counted, checked, and attributed to the client's name.
#[test]
fn pending_bytes_are_attributed_to_a_client() {
    for builder in brokers() {
        let broker = builder.config("write_deadline: \"60s\"\n").start();
        check(&broker, &["--mode", "pending"]).expect(0, "no bytes pending");
        let _reader = stuck_reader(&broker);
        let mut publisher = RawClient::connect_quietly(broker.client_addr());
        wait_until("bytes stay pending", || {
            publish(&mut publisher);
            biggest_pending(&broker) > STUCK_BYTES
        });
        let pending =
            |arguments: &[&str]| check(&broker, &[&["--mode", "pending"], arguments].concat());
        let result = pending(&["-w", "1TiB", "-c", "1TiB"]);
        result.expect(0, "pending for \"app?7?b?`x`\" 127.0.0.1");
        assert_ne!(result.value("pending_max"), "0B");
        assert_eq!(result.value("pending_max"), result.value("pending_total"));
        assert!(
            result.fields("pending_max").ends_with(";0;67108864"),
            "{result:?}"
        );
        pending(&["-w", "0%"]).expect(1, "(warning 0%)");
        pending(&["-c", "0"]).expect(2, "(critical 0)");
        pending(&["--pending-total-critical", "0"]).expect(2, "pending in all (critical 0)");
        pending(&["-v"]).tell("127.0.0.1: ");
    }
}

fn slow(broker: &Broker, state: &TempDir, arguments: &[&str]) -> PluginOutput {
    let folder = state.path().to_str().expect("a readable path");
    check(
        broker,
        &[&["--mode", "slow", "--state-dir", folder], arguments].concat(),
    )
}

/// A client that subscribes to everything and never reads.
fn stuck_reader(broker: &Broker) -> RawClient {
    let mut reader = RawClient::connect(broker.client_addr());
    let connect = serde_json::json!({"verbose": false, "name": NAME});
    reader.send(format!("CONNECT {connect}\r\nSUB > 1\r\n"));
    reader.sync();
    reader
}

/// The system's socket buffers hold the first few messages.
fn publish(publisher: &mut RawClient) {
    let message = format!("PUB a {PAYLOAD_BYTES}\r\n{}\r\n", "x".repeat(PAYLOAD_BYTES));
    publisher.send(message.repeat(2));
    publisher.sync();
}

fn biggest_pending(broker: &Broker) -> u64 {
    let page = broker.get_json("/connz?sort=pending&limit=1");
    page["connections"][0]["pending_bytes"]
        .as_u64()
        .unwrap_or(0)
}
