//! The streams of a hub, which is a nats-server with JetStream, are used by clients of its leafnode
//! midge.

use std::process::Command;

use test_support::{Broker, free_port, tools};

use super::{hub, leaf_with, wait_for_leafs};

fn use_streams(leaf: &Broker, domain: &str) {
    let output = Command::new(tools::python_with_nats())
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/mesh/leafnodes/streams.py"
        ))
        .args([&leaf.client_url(), domain])
        .output()
        .expect("run the program");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text == "ok\n", "{text}{errors}");
}

/// By the hub's domain.
#[test]
fn the_streams_of_a_hub_are_used_by_its_domain() {
    let port = free_port();
    let config = "jetstream { store_dir: \"store-hub\", domain: hub }";
    let hub = hub(Broker::nats_server(), port, "", config);
    let leaf = leaf_with(Broker::midge(), "leaf", port, "", "", "");
    wait_for_leafs(&hub, 1);
    wait_for_leafs(&leaf, 1);
    use_streams(&leaf, "hub");
}

/// Of a hub without a domain, by the usual subjects.
#[test]
fn the_streams_of_a_hub_without_a_domain_are_used() {
    let port = free_port();
    let config = "jetstream { store_dir: \"store-hub\" }";
    let hub = hub(Broker::nats_server(), port, "", config);
    let leaf = leaf_with(Broker::midge(), "leaf", port, "", "", "");
    wait_for_leafs(&hub, 1);
    wait_for_leafs(&leaf, 1);
    use_streams(&leaf, "");
}
