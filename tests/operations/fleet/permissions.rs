//! The permissions that docs/fleet.md proposes: everything that operators and nodes do is
//! allowed, and a node can do nothing else.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
};

use test_support::{tls_client::Speaker, tools};

use super::{
    ca::Ca,
    commands::{Pace, every_command_is_answered},
    one_broker,
};

const PASSWORD: &str = "0nly-0perators";

/// The first example of docs/fleet.md, with this block `tls`.
fn proposed(tls: &str) -> String {
    let page = fs::read_to_string(tools::project().join("docs/fleet.md")).expect("the page");
    let example = page.split("```").nth(1).expect("an example");
    let replaced = [
        ("tls { puppet: true }", tls),
        ("$OPERATOR_PASSWORD", PASSWORD),
    ];
    replaced
        .iter()
        .fold(example.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from} is not in {text}");
            text.replace(from, to)
        })
}

#[test]
fn the_proposed_permissions_suffice_and_keep_nodes_apart() {
    let ca = Ca::new();
    let (broker, fleet) = one_broker::start(&ca, proposed, Some(PASSWORD));
    every_command_is_answered(&fleet, Pace::measure(&fleet));
    // A node of that time connects again after a violation.
    let closed = broker.get("/connz?state=closed").body;
    assert!(closed.contains("alice.mcollective"), "{closed}");
    assert!(!closed.contains("\"node"), "{closed}");
    let events = broker.get_json("/eventsz?type=auth.violation");
    assert_eq!(events["events"], serde_json::json!([]), "{events}");

    let intruder = ca.issue("intruder.example.net", "localhost");
    let speaker = Speaker::believing(&intruder.join("certs/ca.pem")).showing(
        &intruder.join("certs/intruder.example.net.pem"),
        &intruder.join("private_keys/intruder.example.net.pem"),
    );
    for line in [
        "SUB mcollective.node.node1.example.net 1",
        "SUB mcollective.node.> 1",
        "SUB mcollective.reply.> 1",
        "SUB > 1",
        "PUB mcollective.node.node1.example.net 0\r\n",
        "PUB mcollective.broadcast.agent.rpcutil 0\r\n",
    ] {
        let (mut stream, _) = speaker.connect(broker.client_addr()).expect("gets in");
        write!(
            stream,
            "CONNECT {{\"verbose\":false}}\r\n{line}\r\nPING\r\n"
        )
        .expect("written");
        let answer = BufReader::new(stream).lines().next();
        let answer = answer.expect("an answer").expect("a line");
        assert!(
            answer.starts_with("-ERR 'Permissions Violation"),
            "{line}: {answer}"
        );
    }
}
