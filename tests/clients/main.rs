//! What clients see: real client libraries, the bare protocol, logins by every
//! means, permissions and TLS, most of it beside a real nats-server.

mod certificate_users;
mod counters_differential;
mod libraries;
mod logins;
mod nkeys;
mod operator_mode;
mod permissions_model;
mod protocol_differential;
mod tls;
