//! What users of plugins expect of a command line.

use super::{
    bad_peers::{peer, says},
    plugin::{check, check_ports, judge},
};
use test_support::Broker;

/// Command templates are extended by options that are given already.
#[test]
fn the_last_of_an_option_given_twice_counts() {
    let mute = peer(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    });
    let result = check_ports(
        mute,
        mute,
        &["--mode", "connect", "-t", "20", "-t", "200ms"],
    );
    result.expect(2, "no time left after 200 ms");
    let broker = Broker::nats_server().start();
    let connections =
        |arguments: &[&str]| check(&broker, &[&["--mode", "connections"], arguments].concat());
    let result = connections(&["-w", "5", "-w", "7", "-c", "8", "-c", "9"]);
    assert!(
        result.fields("connections").starts_with("0;7;9;"),
        "{result:?}"
    );
    connections(&["-w", "5", "-w", "1:"]).expect(1, "(warning 1:)");
    let (mode, other) = (["--mode", "connect"], ["--mode", "connections"]);
    check(&broker, &[mode, other].concat()).expect(0, "0 connections");
    // Other than these, -v counts.
    connections(&["-v", "-v"]).tell("\nasked ");
}

/// A threshold that the operator gives is not overridden by a default of the other one.
#[test]
fn a_default_does_not_override_a_given_threshold() {
    let broker = Broker::nats_server().start();
    let connect =
        |arguments: &[&str]| check(&broker, &[&["--mode", "connect"], arguments].concat());
    // The default critical range is 0.5 s.
    let result = connect(&["-w", "2s"]);
    assert!(result.fields("rtt").ends_with("s;2"), "{result:?}");
    let result = connect(&["-w", "400ms"]);
    assert!(result.fields("rtt").ends_with("s;0.4;0.5"), "{result:?}");
    // The default warning range is 0.1 s.
    let result = connect(&["-c", "50ms"]);
    assert!(result.fields("rtt").ends_with("s;;0.05"), "{result:?}");
    // In percent of a limit, beside a number: it depends on the limit.
    let broker = Broker::nats_server()
        .config("max_connections: 100\n")
        .start();
    let connections = |warning| check(&broker, &["--mode", "connections", "-w", warning]);
    let fields = |warning| connections(warning).fields("connections").to_owned();
    assert_eq!(fields("85"), "0;85;90;0;100");
    assert_eq!(fields("95"), "0;95;;0;100");
}

/// Options and their values in one word, and a value that looks like an option.
#[test]
fn words_are_split_as_getopt_does() {
    let peer = says("INFO {\"server_id\":\"N1\"}\r\n-ERR 'x'\r\n");
    let port = peer.port().to_string();
    let joined = [
        &format!("-p{port}"),
        "--mode=connect",
        "-t5s",
        "-w-5:",
        "-c=~:9",
    ];
    judge(&joined).expect(2, "answers \"x\"");
}
