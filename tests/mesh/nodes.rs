//! Nodes expected and present: a mesh of real brokers with real certificates, and one broker that
//! learns its nodes and is restarted.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use test_support::{
    Broker, free_port, http,
    mesh::{self, Kind, Member, Plan},
    pki::Pki,
    tls_client::Speaker,
    tools, wait_until,
};

/// One that comes later.
const LATER: &str = "d.example.net";

const NAMES: [&str; 4] = [
    "a.example.net",
    "b.example.net",
    "c.example.net",
    "alice.mcollective",
];

fn tls(pki: &Pki) -> String {
    let [cert, key, ca] = ["broker.pem", "broker.key", "ca.pem"].map(|file| pki.text(file));
    format!(
        "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true, timeout: 20 }}\n"
    )
}

fn pki() -> Pki {
    let mut names = vec!["broker"];
    names.extend(NAMES);
    names.push(LATER);
    Pki::new(&names)
}

/// A node that is connected until it is dropped.
type Node = StreamOwned<ClientConnection, TcpStream>;

fn connect(broker: &Broker, pki: &Pki, name: &str) -> Node {
    let key = pki.path(&format!("{name}.key"));
    let speaker = Speaker::believing(&pki.path("ca.pem"));
    let speaker = speaker.showing(&pki.path(&format!("{name}.pem")), &key);
    let (mut node, _) = speaker.connect(broker.client_addr()).expect("TLS");
    node.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
        .expect("send");
    let mut received = Vec::new();
    while !received.ends_with(b"PONG\r\n") {
        let mut byte = [0];
        node.read_exact(&mut byte).expect("an answer");
        received.push(byte[0]);
    }
    node
}

fn nodesz(broker: &Broker) -> Value {
    broker.get_json("/nodesz")
}

/// The missing nodes: name, and the member where it was last.
fn missing(broker: &Broker) -> Vec<(String, String)> {
    let answer = nodesz(broker);
    let nodes = answer["nodes"].as_array().expect("a list");
    let text = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = nodes
        .iter()
        .map(|node| (text(node, "certname"), text(node, "member")))
        .collect();
    found.sort();
    found
}

fn becomes_missing(broker: &Broker, expected: &[(&str, &str)]) {
    wait_until(
        &format!("{expected:?} are missing, and {:?}", nodesz(broker)),
        || {
            let found = missing(broker);
            found
                .iter()
                .map(|(name, member)| (&**name, &**member))
                .eq(expected.iter().copied())
        },
    );
}

fn mesh(pki: &Pki, block: &str) -> Vec<Member> {
    let ports = [free_port(), free_port(), free_port()];
    let start = |index: usize| {
        let mut others = ports.to_vec();
        others.remove(index);
        let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), ports[index], &others);
        plan.config = tls(pki);
        if index == 0 {
            plan.config += block;
        }
        plan.start()
    };
    let members: Vec<Member> = (0..3).map(start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).expect("write the list");
}

/// Wherever a node is connected counts; of one that is not it is told where it was last.
#[test]
fn a_node_is_missing_that_is_at_no_member() {
    let pki = pki();
    let list = pki.path("nodes");
    write(
        &list,
        "# the fleet\na.example.net\nb.example.net\nd.example.net\n",
    );
    let block = format!(
        "nodes {{ file: {:?}, expected: [\"c.example.net\"], missing_after: \"1s\" }}\n",
        pki.text("nodes")
    );
    let mut members = mesh(&pki, &block);
    let [a, b, _c] = [(1, "a"), (2, "b"), (0, "c")].map(|(member, name)| {
        connect(
            &members[member].broker,
            &pki,
            &format!("{name}.example.net"),
        )
    });
    becomes_missing(&members[0].broker, &[("d.example.net", "")]);
    let answer = nodesz(&members[0].broker);
    assert_eq!(
        (&answer["expected"], &answer["present"]),
        (&4.into(), &3.into())
    );
    let told = answer["members"].as_array().expect("members");
    assert!(
        told.len() == 3
            && told
                .iter()
                .all(|it| it["answered"] == true && it["nodes"] == 1),
        "{answer}"
    );
    assert_eq!(members[0].broker.get_json("/varz")["nodes"]["missing"], 1);
    // It moves to another member.
    drop(b);
    let _b = connect(&members[1].broker, &pki, "b.example.net");
    wait_until("it is seen there", || {
        let all = members[0].broker.get_json("/nodesz?state=present");
        let nodes = all["nodes"].as_array().expect("a list");
        nodes
            .iter()
            .any(|node| node["certname"] == "b.example.net" && node["member"] == "n1")
    });
    // It leaves.
    drop(a);
    becomes_missing(
        &members[0].broker,
        &[("a.example.net", "n1"), ("d.example.net", "")],
    );
    // So does the member of the other.
    members[1].broker.kill();
    becomes_missing(
        &members[0].broker,
        &[
            ("a.example.net", "n1"),
            ("b.example.net", "n1"),
            ("d.example.net", ""),
        ],
    );
    let output = Command::new(tools::check_nats())
        .args([
            "--url",
            &members[0].broker.monitor_url(),
            "--mode",
            "nodes",
            "-v",
        ])
        .output()
        .expect("check_nats starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "3 of 4 expected nodes missing",
        "a.example.net",
        "nodes_missing=3",
        "n1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let metrics = members[0].broker.get("/metrics").body;
    assert!(metrics.contains("midge_nodes_missing 3"), "{metrics}");
    // The list is read again when it has changed; one that cannot be read changes nothing.
    write(&list, "a.example.net\nb.example.net\n");
    becomes_missing(
        &members[0].broker,
        &[("a.example.net", "n1"), ("b.example.net", "n1")],
    );
    write(&list, "a.example.net\nno certname\n");
    wait_until("the mistake is told", || {
        let error = nodesz(&members[0].broker)["file_error"].clone();
        error
            .as_str()
            .is_some_and(|error| error.contains("nodes:2: "))
    });
    assert_eq!(missing(&members[0].broker).len(), 2);
    // The other members watch no nodes.
    assert_eq!(nodesz(&members[2].broker)["enabled"], false);
}

/// Nodes are learned by their certnames, and a restart forgets none.
#[test]
fn learned_nodes_outlast_a_restart() {
    let pki = pki();
    let config = tls(&pki)
        + &format!(
            "nodes {{ learn: \"1h\", certificates: \"*.example.net\", missing_after: \"1s\", \
             state_file: {:?} }}\nserver_name: n0\nmonitor {{ unix: {:?} }}\n",
            pki.text("state"),
            pki.text("m.sock")
        );
    let mut broker = Broker::midge().config(config.clone()).start();
    let nodes = NAMES.map(|name| connect(&broker, &pki, name));
    wait_until("the nodes are learned", || {
        let answer = nodesz(&broker);
        answer["learned"] == 3 && answer["present"] == 3
    });
    wait_until("their state is kept", || {
        let state = fs::read_to_string(pki.path("state")).unwrap_or_default();
        state.lines().count() == 3
    });
    drop(nodes);
    becomes_missing(
        &broker,
        &[
            ("a.example.net", "n0"),
            ("b.example.net", "n0"),
            ("c.example.net", "n0"),
        ],
    );
    // What was seen last is written at the stop, however short ago the file was.
    let _d = connect(&broker, &pki, LATER);
    wait_until("another node is learned", || {
        nodesz(&broker)["expected"] == 4
    });
    broker.stop();
    let state = fs::read_to_string(pki.path("state")).expect("the state");
    assert!(state.contains("d.example.net\t"), "{state}");
    let broker = Broker::midge().config(config).start();
    let _d = connect(&broker, &pki, LATER);
    let _a = connect(&broker, &pki, "a.example.net");
    becomes_missing(&broker, &[("b.example.net", "n0"), ("c.example.net", "n0")]);
    wait_until("their memory is told", || {
        let memory = broker.get_json("/memz");
        let mut causes = memory["causes"].as_array().expect("causes").iter();
        causes.any(|cause| cause["cause"] == "nodes" && cause["count"] == 6)
    });
    // One is gone for good.
    let socket = pki.path("m.sock");
    let forget = |query: &str| http::request_unix(&socket, "POST", &format!("/forget?{query}"));
    for (query, status) in [
        ("node=a.example.net", 409),
        ("node=nobody", 409),
        ("node=b&member=b", 400),
        ("node=b.example.net", 200),
    ] {
        let answer = forget(query);
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
    becomes_missing(&broker, &[("c.example.net", "n0")]);
}
