//! Causes of a slow consumer: the network to it, or the broker itself. (`flight_recorder`
//! covers a client that does not read.)

use std::{
    fs::File,
    io::Read,
    os::fd::AsRawFd,
    process::{self, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{StopsAtEnd, client};
use test_support::{Broker, HeldThreads, RawClient, wait_for, wait_until};

/// Bandwidth of the network to the remote client, in the syntax of tc.
const RATE: &str = "2mbit";

/// A network namespace, reached over a pair of interfaces with low bandwidth. Needs root,
/// as all network namespaces do.
struct FarNetwork {
    name: String,
    near: String,
}

impl FarNetwork {
    fn new() -> Self {
        let number = process::id();
        let network = Self {
            name: format!("midge-far-{number}"),
            near: format!("mf{number}"),
        };
        let far = format!("mg{number}");
        let (name, near) = (&network.name, &network.near);
        ip(&["netns", "add", name]);
        ip(&[
            "link", "add", near, "type", "veth", "peer", "name", &far, "netns", name,
        ]);
        ip(&["addr", "add", &format!("{}/30", Self::NEAR), "dev", near]);
        ip(&["link", "set", near, "up"]);
        ip(&[
            "-n",
            name,
            "addr",
            "add",
            &format!("{}/30", Self::FAR),
            "dev",
            &far,
        ]);
        ip(&["-n", name, "link", "set", &far, "up"]);
        // Drops what does not fit into its short queue.
        run(
            "tc",
            &[
                "qdisc", "add", "dev", near, "root", "tbf", "rate", RATE, "burst", "16kb", "limit",
                "30kb",
            ],
        );
        network
    }

    const NEAR: &str = "10.213.77.1";
    const FAR: &str = "10.213.77.2";

    /// Connects a client in that network.
    fn connect(&self, broker: &Broker) -> RawClient {
        let namespace = File::open(format!("/run/netns/{}", self.name)).expect("the namespace");
        let address = (
            Self::NEAR.parse().expect("an address"),
            broker.client_addr().port(),
        );
        // Only this thread changes the namespace; the socket stays there.
        let connect = move || {
            // SAFETY: setns takes a descriptor, which is open, and a number.
            let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
            RawClient::connect(std::net::SocketAddr::from(
                (address.0, address.1) as (std::net::Ipv4Addr, u16)
            ))
        };
        thread::spawn(connect).join().expect("a connection")
    }
}

impl Drop for FarNetwork {
    fn drop(&mut self) {
        // This also removes the interfaces. A failure cannot be handled here.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        let _ = Command::new("ip")
            .args(["link", "del", &self.near])
            .status();
    }
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs {program} (iproute2): {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?} (needs root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Publishes `count` messages of 64 KiB to `a`.
fn publish(publisher: &mut RawClient, count: usize) {
    let mut message = b"PUB a 65536\r\n".to_vec();
    message.resize(message.len() + 65536, b'x');
    message.extend_from_slice(b"\r\n");
    for _ in 0..count {
        publisher.send(&message);
    }
    publisher.sync();
}

/// The incident of the client with this name, once it satisfies the condition.
fn incident(broker: &Broker, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_for("the incident satisfies the condition", || {
        let slowz = broker.get_json("/slowz");
        let all = slowz["incidents"].as_array().expect("incidents");
        let found = all.iter().find(|incident| incident["name"] == name)?;
        if last != found["evidence"] {
            last = found["evidence"].clone();
            eprintln!("{} {last}", found["cause"]);
        }
        wanted(found).then(|| found.clone())
    })
}

/// A client behind a network with 2 Mbit/s that drops the rest: it reads as fast as it
/// can, and the network is the cause. A local client is not named.
#[test]
fn a_lossy_network_is_the_cause() {
    let network = FarNetwork::new();
    let broker = Broker::midge().flag("-a").flag("0.0.0.0").start();
    let mut far = network.connect(&broker);
    far.send("CONNECT {\"verbose\":false,\"name\":\"far-app\"}\r\nSUB a 1\r\n");
    far.sync();
    let mut near = client_at_home(&broker, "near-app");
    near.send("SUB a 1\r\n");
    near.sync();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = StopsAtEnd(&stop);
        for reader in [&far, &near] {
            scope.spawn(|| read_on(reader, &stop));
        }
        let mut publisher = client_at_home(&broker, "publisher");
        publish(&mut publisher, 60);
        let found = incident(&broker, "far-app", |incident| {
            incident["cause"] == "network"
        });
        let evidence = found["evidence"].as_str().unwrap_or_default();
        assert!(evidence.contains("packets retransmitted"), "{found}");
        wait_until("the far client is the slowest", || {
            let latencyz = broker.get_json("/latencyz");
            latencyz["worst"][0]["name"] == "far-app"
                && latencyz["worst"][0]["max"].as_f64() > Some(0.05)
        });
        let slowz = broker.get_json("/slowz");
        let all = slowz["incidents"].as_array().expect("incidents");
        assert!(
            all.iter().all(|incident| incident["name"] == "far-app"),
            "{slowz}"
        );
    });
}

/// A local client of a broker that listens on all addresses.
fn client_at_home(broker: &Broker, name: &str) -> RawClient {
    let address = ([127, 0, 0, 1], broker.client_addr().port());
    let mut client = RawClient::connect(address.into());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":{name:?}}}\r\n"
    ));
    client.sync();
    client
}

/// Reads everything until it is stopped.
fn read_on(client: &RawClient, stop: &AtomicBool) {
    let mut stream = client.stream().try_clone().expect("a second handle");
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a timeout");
    let mut piece = vec![0; 256 * 1024];
    while !stop.load(Ordering::Relaxed) {
        // A read timeout is no error here.
        let _ = stream.read(&mut piece);
    }
}

/// The subscriber reads, but the broker's threads do not run: midge is the cause.
#[test]
fn the_broker_itself_is_the_cause() {
    let broker = Broker::midge().start();
    let mut reader = client(&broker, "innocent-app");
    reader.send("SUB a 1\r\n");
    reader.sync();
    let mut publisher = client(&broker, "publisher");
    publish(&mut publisher, 300);
    incident(&broker, "innocent-app", |incident| {
        incident["cause"] == "peer_not_reading"
    });
    let held = HeldThreads::hold(&broker, "tokio-rt-worker");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = StopsAtEnd(&stop);
        scope.spawn(|| read_on(&reader, &stop));
        let found = incident(&broker, "innocent-app", |incident| {
            incident["cause"] == "midge"
        });
        let evidence = found["evidence"].as_str().unwrap_or_default();
        assert!(
            evidence.contains("the broker's threads ran up to"),
            "{found}"
        );
        drop(held);
        incident(&broker, "innocent-app", |incident| {
            incident["state"] == "recovered"
        });
    });
}
