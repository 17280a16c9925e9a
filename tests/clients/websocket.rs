//! Clients by WebSocket: the handshake, frames, logins, TLS and what monitoring shows of them, each
//! compared with a real nats-server where both are to do the same.

mod bounds;
mod compression;
mod frames;
mod handshake;
mod libraries;
mod lifecycle;
mod logins;
mod page;
mod tls;
mod views;

use test_support::{Broker, BrokerBuilder, websocket::WebSocketClient};

/// A `websocket` block on a free port, with further settings.
fn block(more: &str) -> String {
    format!("websocket {{ listen: \"127.0.0.1:-1\", no_tls: true, {more} }}\n")
}

/// A broker with such a block, and further settings at the top.
fn start(builder: BrokerBuilder, more: &str, top: &str) -> Broker {
    builder.config(format!("{}{top}", block(more))).start()
}

/// A client that has read its INFO.
fn greeted(broker: &Broker) -> WebSocketClient {
    let mut client = WebSocketClient::connect(broker.websocket_addr());
    client.info();
    client
}

/// A client that is in.
fn connected(broker: &Broker) -> WebSocketClient {
    let mut client = greeted(broker);
    client.log_in("");
    client
}

/// Runs the test against midge and against nats-server, which proves the test.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod midge {
            $(#[test] fn $test() { super::$test(test_support::Broker::midge()); })*
        }
        mod nats_server {
            $(#[test] fn $test() { super::$test(test_support::Broker::nats_server()); })*
        }
    };
}
pub(crate) use on_both;
