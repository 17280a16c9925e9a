//! A broker that a scheduler watches: it can be started again at the same addresses, and
//! one of its clients can stop reading.

use std::net::SocketAddr;

use test_support::{Broker, RawClient, free_address, wait_until};

/// Name of the client that stops reading.
pub(super) const STUCK: &str = "stuck-app";

const PAYLOAD_BYTES: usize = 500_000;

/// Addresses of a broker.
#[derive(Clone, Copy)]
pub(super) struct Place {
    client: SocketAddr,
    monitor: SocketAddr,
}

impl Place {
    pub(super) fn free() -> Self {
        Self {
            client: free_address(),
            monitor: free_address(),
        }
    }

    /// Options of `check_nats` for it.
    pub(super) fn options(self) -> String {
        let (client, monitor) = (self.client.port(), self.monitor.port());
        format!("-p {client} -m {monitor}")
    }

    pub(super) fn ports(self) -> (u16, u16) {
        (self.client.port(), self.monitor.port())
    }

    /// Starts a broker that closes a client that is 1 MB behind.
    pub(super) fn start(self) -> Broker {
        Broker::midge()
            .port(self.client.port())
            .without_monitoring()
            .flag("-m")
            .flag(self.monitor.port().to_string())
            .config("max_pending: 1MB\ndiagnosis { interval: 100ms, appear_after: 200ms }\n")
            .start()
    }

    /// A client subscribes, does not read, and is closed for that.
    pub(super) fn cause_slow_consumer(self) {
        let mut reader = RawClient::connect(self.client);
        let connect = serde_json::json!({"verbose": false, "name": STUCK});
        reader.send(format!("CONNECT {connect}\r\nSUB > 1\r\n"));
        reader.sync();
        let mut publisher = RawClient::connect_quietly(self.client);
        let message = format!("PUB a {PAYLOAD_BYTES}\r\n{}\r\n", "x".repeat(PAYLOAD_BYTES));
        wait_until("the client that does not read is closed", || {
            publisher.send(&message);
            publisher.sync();
            let closed = test_support::http::get(self.monitor, "/connz?state=closed").json();
            closed["connections"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["name"] == STUCK))
        });
    }
}
