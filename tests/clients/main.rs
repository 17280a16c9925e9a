//! The client's view of the broker: real client libraries, the plain protocol, all login
//! methods, permissions, TLS and WebSockets. Most tests compare with a real nats-server.

mod certificate_users;
mod certname_users;
mod client_versions;
mod counters_differential;
mod libraries;
mod logins;
mod nkeys;
mod operator_mode;
mod permissions_model;
mod protocol_differential;
mod sources;
mod tls;
mod websocket;
