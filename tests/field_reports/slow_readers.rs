//! Slow consumers: their effect on others, what is recorded about them, and clients that
//! were wrongly treated as one.

use std::net::{Shutdown, TcpStream};

use crate::{both, check, client, closed, connections, login, number, publish, subjects};
use test_support::{
    Broker, RawClient, free_port,
    mesh::{self, Kind, Plan},
    wait_until,
};

const MESSAGE_LEN: usize = 20_000;

/// A client that has subscribed, and reads only when the test does.
fn subscriber(broker: &Broker, name: &str, subscriptions: &[&str]) -> RawClient {
    let mut client = client(broker, name);
    for (index, subject) in subscriptions.iter().enumerate() {
        client.send(format!("SUB {subject} {}\r\n", index + 1));
    }
    client.sync();
    client
}

/// One of two subscribers was suspended, and after some seconds the publisher and the
/// other subscriber blocked until the write deadline. Both must continue while the stuck
/// one is still connected.
#[test]
fn nats_server_2679_a_stuck_subscriber_does_not_block_a_publisher() {
    for builder in both() {
        // If the publisher waited for that write, nothing below would end in time.
        let broker = builder.config("write_deadline: \"10m\"").start();
        let _stuck = subscriber(&broker, "stuck", &["test"]);
        let mut healthy = subscriber(&broker, "healthy", &["test"]);
        let mut publisher = client(&broker, "publisher");
        for _ in 0..30 {
            publisher.send(publish("test", MESSAGE_LEN).repeat(20));
            assert!(publisher.sync().is_empty());
            assert_eq!(subjects(&healthy.sync()).len(), 20);
        }
        assert_eq!(broker.get_json("/varz")["slow_consumers"], 0);
        assert_eq!(connections(&broker, "").len(), 3);
    }
}

/// Publishes until the broker has disconnected a slow consumer.
fn publish_until_a_disconnect(broker: &Broker, subject: &str) {
    let mut publisher = client(broker, "publisher");
    wait_until("a client is disconnected", || {
        publisher.send(publish(subject, MESSAGE_LEN).repeat(50));
        publisher.sync();
        broker.get_json("/varz")["slow_consumers"] == 1
    });
}

/// The log named a slow consumer by its number, which monitoring did not know any more:
/// health checks had pushed the record out. It must stay, however many probes connect.
#[test]
fn nats_server_1990_probes_do_not_push_out_the_record_of_a_slow_consumer() {
    const PROBES: u64 = 500;
    let config = "max_pending: 2MB\nmax_closed_clients: 20\n";
    let broker = Broker::midge().config(config).start();
    let _stuck = subscriber(&broker, "stuck-app", &["orders.>"]);
    publish_until_a_disconnect(&broker, "orders.1");
    let cid = closed(&broker, "stuck-app")["cid"].clone();
    let before = number(&broker.get_json("/varz")["total_connections"]);
    for _ in 0..PROBES {
        let probe = TcpStream::connect(broker.client_addr()).expect("it listens");
        // Closed at once, like a probe; no port stays in use for it.
        let _ = probe.shutdown(Shutdown::Both);
    }
    wait_until("all probes have connected", || {
        number(&broker.get_json("/varz")["total_connections"]) >= before + PROBES
    });
    let found = connections(&broker, &format!("state=closed&cid={cid}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["name"], "stuck-app");
    assert_eq!(found[0]["reason"], "Slow Consumer (Pending Bytes)");
    assert_eq!(broker.get_json("/slowz")["incidents"][0]["cid"], cid);
}

/// With many programs on many brokers it was hard to find the slow one: the log had an
/// address. It must have the program's name, and the subject with most pending messages.
#[test]
fn nats_server_520_the_log_names_the_slow_client_and_its_subject() {
    for builder in both() {
        let is_midge = builder.program_path() == test_support::tools::midge();
        let broker = builder.config("max_pending: 2MB").start();
        let _stuck = subscriber(&broker, "billing-7", &["bills.*.new"]);
        publish_until_a_disconnect(&broker, "bills.ch.new");
        let cid = format!("cid:{}", closed(&broker, "billing-7")["cid"]);
        let log = broker.log();
        log.wait_for_line(&[&cid, "billing-7", "Slow Consumer"]);
        if is_midge {
            log.wait_for_line(&["billing-7", "bills.ch.new"]);
        }
    }
}

/// Thousands of error lines for a slow consumer, and none named the subscription. The
/// broker must list the subjects by pending messages.
#[test]
fn nats_py_242_the_subject_of_a_slow_consumer_is_reported() {
    let broker = Broker::midge().config("max_pending: 4MB").start();
    let _stuck = subscriber(&broker, "many", &["small.a", "flood.*", "small.b", "never"]);
    let mut publisher = client(&broker, "publisher");
    publisher.send(publish("small.a", 10).repeat(50) + &publish("small.b", 10).repeat(50));
    publisher.sync();
    publish_until_a_disconnect(&broker, "flood.x");
    let slowz = broker.get_json("/slowz");
    let incident = &slowz["incidents"][0];
    assert_eq!(incident["name"], "many");
    assert_eq!(incident["subjects"][0]["subject"], "flood.x", "{incident}");
    assert_eq!(incident["publishers"][0]["name"], "publisher", "{incident}");
}

/// The reasons of closed connections were only available for those that were still
/// listed. They must be counted by reason, however few are listed.
#[test]
fn nats_server_1618_closed_connections_are_counted_by_reason() {
    let config = "max_pending: 2MB\nmax_closed_clients: 1\nmax_payload: 100000\n\
                  authorization { timeout: 10, users: [ { user: u, password: p } ] }\n";
    let broker = Broker::midge().config(config).start();
    let good = || {
        let mut client = login(&broker, ",\"user\":\"u\",\"pass\":\"p\"");
        client.sync();
        client
    };
    for _ in 0..4 {
        drop(good());
        let mut wrong = login(&broker, ",\"user\":\"u\",\"pass\":\"x\"");
        wrong.read_to_end();
        let mut garbled = good();
        garbled.send("GARBLE\r\n");
        garbled.read_to_end();
    }
    for _ in 0..3 {
        let mut large = good();
        large.send(publish("a", 100_001));
        large.read_to_end();
    }
    let mut slow = good();
    slow.send("SUB a 1\r\n");
    slow.sync();
    let mut publisher = good();
    wait_until("the slow consumer is disconnected", || {
        publisher.send(publish("a", MESSAGE_LEN).repeat(50));
        publisher.sync();
        broker.get_json("/varz")["slow_consumers"] == 1
    });
    let count = |reason: &str| {
        let metrics = broker.get("/metrics").body;
        let mut lines = metrics.lines().filter(|line| {
            line.starts_with("midge_connections_closed_total{")
                && line.contains(&format!("reason=\"{reason}\""))
        });
        lines.find_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
    };
    for (reason, expected) in [
        ("Authentication Failure", 4),
        ("Protocol Violation", 4),
        ("Maximum Message Payload Exceeded", 3),
        ("Slow Consumer (Pending Bytes)", 1),
    ] {
        wait_until(&format!("{expected} closed by {reason}"), || {
            count(reason) == Some(expected)
        });
    }
    // The four of `drop`, and the probe at the start.
    wait_until("those that left are counted", || {
        count("Client Closed") >= Some(4)
    });
    assert_eq!(connections(&broker, "state=closed").len(), 1);
}

/// One message to very many subscribers kept a broker busy for longer than the write
/// deadline, and its route was closed as slow. The deadline can be set for routes
/// separately from clients, and then the route stays.
#[test]
fn choria_222_a_route_survives_a_message_with_large_fan_out() {
    const CLIENTS: u64 = 20;
    const SUBSCRIPTIONS: u64 = 10_000;
    const BULK: u64 = 200;
    const SUBJECT: &str = "c.broadcast.agent.rpc";
    let ports = [free_port(), free_port()];
    let member = |at: usize, deadline: &str| {
        let mut plan = Plan::new(Kind::Midge, &format!("n{at}"), ports[at], &[ports[1 - at]]);
        plan.config = format!("write_deadline: {deadline:?}");
        plan.cluster = "name: mesh\n write_deadline: \"10m\"".into();
        plan.start()
    };
    // The first one has no client that has to read.
    let members = [member(0, "20ms"), member(1, "10m")];
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    let mut nodes: Vec<RawClient> = (0..CLIENTS)
        .map(|_| {
            let mut node = members[1].client();
            let lines = (0..SUBSCRIPTIONS).map(|sid| format!("SUB {SUBJECT} {sid}\r\n"));
            node.send(lines.collect::<String>());
            node.sync();
            node
        })
        .collect();
    let mut bulk = subscriber(&members[1].broker, "bulk", &["bulk"]);
    wait_until("the other member has the subscription", || {
        members[0].knows(SUBJECT) && members[0].knows("bulk")
    });
    let route = members[0].routes()[0]["rid"].clone();
    let mut publisher = members[0].client();
    // The following messages fill the route while the first one is delivered.
    publisher.send(publish(SUBJECT, 100));
    let large = publish("bulk", 64 * 1024);
    for _ in 0..BULK {
        publisher.send(&large);
    }
    publisher.sync();
    for _ in 0..BULK {
        assert_eq!(bulk.next_message().body.len(), 64 * 1024);
    }
    for node in &mut nodes {
        assert_eq!(subjects(&node.sync()).len() as u64, SUBSCRIPTIONS);
    }
    assert_eq!(members[0].routes()[0]["rid"], route);
    for member in &members {
        assert_eq!(member.broker.get_json("/varz")["slow_consumers"], 0);
    }
}

/// A burst of a hundred thousand small messages made a healthy client a slow consumer.
/// What fits into its queue must be delivered, in order.
#[test]
fn nats_c_317_a_burst_that_fits_into_the_queue_is_delivered() {
    const COUNT: usize = 60_000;
    for builder in both() {
        let broker = builder.config("write_deadline: \"10m\"").start();
        let mut reader = subscriber(&broker, "busy", &["burst"]);
        let mut publisher = client(&broker, "publisher");
        let message = |number: usize| format!("PUB burst 300\r\n{number:0>300}\r\n");
        for start in (0..COUNT).step_by(5000) {
            publisher.send((start..start + 5000).map(message).collect::<String>());
            publisher.sync();
        }
        for number in 0..COUNT {
            let body = reader.next_message().body;
            assert_eq!(String::from_utf8_lossy(&body), format!("{number:0>300}"));
        }
        assert_eq!(broker.get_json("/varz")["slow_consumers"], 0);
    }
}

/// Pending bytes of a client were not visible before it was disconnected. They must be
/// listed, sortable, and available to the check.
#[test]
fn nats_server_91_pending_bytes_of_a_client_are_visible() {
    for builder in both() {
        let broker = builder.config("write_deadline: \"10m\"").start();
        let _stuck = subscriber(&broker, "hoarder", &["heap"]);
        let mut publisher = client(&broker, "publisher");
        publisher.send(publish("heap", MESSAGE_LEN).repeat(600));
        publisher.sync();
        wait_until("it is listed first", || {
            let first = &connections(&broker, "sort=pending&limit=1")[0];
            first["name"] == "hoarder" && number(&first["pending_bytes"]) > 1_000_000
        });
        let result = check(&broker, &["--mode", "pending", "-c", "1MB"]);
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.output.contains("hoarder"), "{result:?}");
    }
}
