//! A real client library of browsers works: nats.js over the WebSocket that comes with Node.js. It
//! runs against a real nats-server too, which proves the test.

use std::process::{Command, Stdio};

use test_support::{BrokerBuilder, tools};

use super::{on_both, start};

on_both![javascript_client, javascript_client_that_compresses];

fn javascript_client(broker: BrokerBuilder) {
    run(broker, "");
}

fn javascript_client_that_compresses(broker: BrokerBuilder) {
    run(broker, "compression: true");
}

fn run(broker: BrokerBuilder, more: &str) {
    let broker = start(broker, more, "");
    let output = Command::new(tools::node_with_nats())
        .arg("--experimental-websocket")
        .arg(tools::project().join("tests/clients/websocket/nats_js_page.cjs"))
        .arg(broker.websocket_url())
        .env("NODE_PATH", tools::node_modules())
        .stdin(Stdio::null())
        .output()
        .expect("start node");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("all work"), "{text}{errors}");
}
