//! What monitor-client says of each number of `/varz` is true of midge's answers.

use monitor_client::figure;
use serde_json::Value;

use test_support::{
    RawClient,
    mesh::{self, Kind},
};

/// All numbers with their paths.
fn numbers(value: &Value, path: &str, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => {
            let path = path.trim_start_matches('.').to_owned();
            found.push((path, number.as_f64().expect("a number")));
        }
        Value::Object(members) => {
            for (key, member) in members {
                numbers(member, &format!("{path}.{key}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_number_is_known_and_no_total_falls() {
    let members = mesh::start(&[Kind::Midge, Kind::Midge]);
    let broker = &members[0].broker;
    let read = || {
        let mut found = Vec::new();
        numbers(&broker.get_json("/varz"), "", &mut found);
        found
    };
    let before = read();
    for (path, _) in &before {
        assert!(figure(path).is_some(), "{path} is missing in figures.rs");
    }
    let mut client = RawClient::connect_quietly(broker.client_addr());
    client.send("SUB a 1\r\nPUB a 5\r\nhello\r\nPUB nobody 5\r\nhello\r\n");
    client.sync();
    let during = read();
    drop(client);
    broker.wait_for_connections(0);
    let mut grown = Vec::new();
    for (earlier, later) in [(&before, &during), (&during, &read())] {
        for ((path, then), (_, now)) in earlier.iter().zip(later) {
            if figure(path).is_some_and(|figure| figure.is_total) {
                assert!(now >= then, "{path} fell from {then} to {now}");
                grown.extend((now > then).then_some(path.clone()));
            }
        }
    }
    for total in [
        "in_msgs",
        "out_bytes",
        "total_connections",
        "dropped_msgs.no_interest",
    ] {
        assert!(grown.iter().any(|path| path == total), "{total}: {grown:?}");
    }
}
