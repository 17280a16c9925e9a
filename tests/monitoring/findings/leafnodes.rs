//! Findings about leafnodes and hubs, as a leafnode's broker and as its hub reports them.

use std::{process::Command, sync::atomic::Ordering};

use test_support::{Broker, RawClient, free_port, wait_for, wait_until};

use super::{appears, clears, findings, proxy::Way, quick_with, stays_silent, text};

/// A broker that serves leafnodes on this port.
fn hub(port: u16, more: &str) -> Broker {
    let options = format!("server_name: hub\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}\n");
    quick_with(more, &options).start()
}

/// A leafnode of the hub on this port.
fn leafnode(name: &str, port: u16, more: &str) -> Broker {
    let options = format!(
        "server_name: {name}\nleafnodes {{ reconnect: 1, remotes: [ {{ url: \
         \"nats://127.0.0.1:{port}\" }} ] }}\n"
    );
    quick_with(more, &options).start()
}

/// A scripted leafnode that has been let in, and the subject that its hub finds circles by.
fn scripted(port: u16) -> (RawClient, Vec<u8>) {
    let mut leaf = RawClient::connect(([127, 0, 0, 1], port).into());
    leaf.send("CONNECT {\"name\":\"scripted\",\"server_id\":\"NSCRIPTED\"}\r\n");
    loop {
        let line = leaf.next_frame().expect("a line").line;
        if let Some(subject) = line.strip_prefix(b"LS+ ")
            && subject.starts_with(b"$LDS.")
        {
            return (leaf, subject.to_vec());
        }
    }
}

/// What `check_nats --mode leafnodes` prints when it ends with this code.
fn checks(broker: &Broker, code: i32) -> String {
    wait_for(&format!("check_nats ends with {code}"), || {
        let output = Command::new(test_support::tools::check_nats())
            .args(["--url", &broker.monitor_url(), "--mode", "leafnodes", "-v"])
            .output()
            .expect("check_nats starts");
        let result = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code() == Some(code)).then_some(result)
    })
}

#[test]
pub fn a_hub_that_is_not_connected_is_reported_until_it_is() {
    let port = free_port();
    let leaf = leafnode("leaf", port, "");
    let finding = appears(&leaf, "leafnode-unreachable");
    assert_eq!(finding["severity"], "critical", "{finding}");
    wait_until("the reason is reported", || {
        let found = appears(&leaf, "leafnode-unreachable");
        text(&found).contains("Connection refused") && text(&found).contains("failed attempt")
    });
    let result = checks(&leaf, 2);
    assert!(result.contains("1 of 1 hub not connected"), "{result}");
    assert!(result.contains("Connection refused"), "{result}");
    assert_eq!(leaf.get_json("/varz")["hubs"]["missing"], 1);
    let mut hub = hub(port, "");
    clears(&leaf, "leafnode-unreachable");
    let result = checks(&leaf, 0);
    assert!(result.contains("0 of 1 hub not connected"), "{result}");
    let result = checks(&hub, 0);
    assert!(result.contains("1 leafnode joined"), "{result}");
    for broker in [&leaf, &hub] {
        stays_silent(broker, "leafnode-unreachable");
    }
    let leafz = leaf.get_json("/leafz");
    assert_eq!(leafz["remotes"][0]["connected"], true, "{leafz}");
    assert_eq!(leafz["remotes"][0]["name"], "hub", "{leafz}");
    hub.kill();
    let finding = appears(&leaf, "leafnode-unreachable");
    assert!(
        text(&finding).contains("is not connected any more"),
        "{finding}"
    );
}

#[test]
pub fn a_circle_is_reported_by_both_sides() {
    let port = free_port();
    let hub = hub(port, "");
    let (mut leaf, subject) = scripted(port);
    leaf.send([b"LS+ ", &subject[..], b"\r\n"].concat());
    let finding = appears(&hub, "leafnode-loop");
    assert_eq!(
        (&finding["severity"], &finding["subject"]),
        (&"critical".into(), &"scripted".into())
    );
    assert!(text(&finding).contains("closes a circle"), "{finding}");
    assert!(findings(&hub, "leafnode-flapping").is_empty());
    clears(&hub, "leafnode-loop");
    // The first and the last of three brokers in a row, joined.
    let middle_port = free_port();
    let options = format!(
        "server_name: middle\nleafnodes {{ listen: \"127.0.0.1:{middle_port}\", reconnect: 1, remotes: \
         [ {{ url: \"nats://127.0.0.1:{port}\" }} ] }}\n"
    );
    let middle = quick_with("", &options).start();
    wait_until("the middle has joined", || {
        middle.get_json("/varz")["hubs"]["connected"] == 1
    });
    let options = format!(
        "server_name: last\nleafnodes {{ reconnect: 1, remotes: [ {{ url: \"nats://127.0.0.1:{port}\" }}, \
         {{ url: \"nats://127.0.0.1:{middle_port}\" }} ] }}\n"
    );
    let last = quick_with("", &options).start();
    wait_until("some broker reports the circle", || {
        [&hub, &middle, &last]
            .iter()
            .any(|broker| !findings(broker, "leafnode-loop").is_empty())
    });
}

/// The one whose remote is refused is told to remove it; the other one has no fault to report but may
/// count the attempts that it refuses.
#[test]
fn two_that_dial_each_other_are_reported() {
    let ports = [free_port(), free_port()];
    let brokers = [0, 1].map(|index| {
        let options = format!(
            "server_name: {}\nleafnodes {{ listen: \"127.0.0.1:{}\", reconnect: 1, remotes: [ {{ \
             url: \"nats://127.0.0.1:{}\" }} ] }}\n",
            ["one", "two"][index],
            ports[index],
            ports[1 - index]
        );
        quick_with("", &options).start()
    });
    let all = || brokers.iter().flat_map(|it| findings(it, "leafnode-loop"));
    let says = |words: &str| all().any(|finding| text(&finding).contains(words));
    wait_until("the remote to remove is named", || {
        says(
            "is connected already, the other way round, as a leafnode of this broker: remove this remote",
        )
    });
    assert!(!says("closes a circle"));
    for broker in &brokers {
        clears(broker, "leafnode-unreachable");
        assert!(findings(broker, "leafnode-flapping").is_empty());
    }
}

#[test]
pub fn a_leafnode_that_comes_and_goes_is_reported() {
    let port = free_port();
    let hub = hub(port, "route_losses: 3");
    drop(scripted(port));
    drop(scripted(port));
    wait_until("both have left", || {
        hub.get_json("/leafz")["leafnodes"] == 0
    });
    stays_silent(&hub, "leafnode-flapping");
    for _ in 0..3 {
        drop(scripted(port));
    }
    let finding = appears(&hub, "leafnode-flapping");
    assert_eq!(finding["subject"], "scripted", "{finding}");
    clears(&hub, "leafnode-flapping");
}

#[test]
pub fn a_slow_way_to_a_hub_is_reported_by_both_sides() {
    let port = free_port();
    let more = "route_rtt: 100ms";
    let ping = "ping_interval: \"1s\"\n";
    let options = format!("server_name: hub\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}\n{ping}");
    let hub = quick_with(more, &options).start();
    let way = Way::to(port, 0);
    let options = format!(
        "server_name: leaf\nleafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{}\" }} ] }}\n{ping}",
        way.port
    );
    let leaf = quick_with(more, &options).start();
    wait_until("both have measured", || {
        [&hub, &leaf].iter().all(|broker| {
            let leafz = broker.get_json("/leafz");
            leafz["leafs"][0]["rtt"].is_string()
        })
    });
    for broker in [&hub, &leaf] {
        stays_silent(broker, "leafnode-slow");
    }
    way.forth.delay_ms.store(150, Ordering::Relaxed);
    for broker in [&hub, &leaf] {
        let finding = appears(broker, "leafnode-slow");
        assert!(text(&finding).contains("(limit: 100 ms)"), "{finding}");
    }
    way.forth.delay_ms.store(0, Ordering::Relaxed);
    for broker in [&hub, &leaf] {
        clears(broker, "leafnode-slow");
    }
}
