//! Who peers are and what they may do: certificates, logins, permissions.
//!
//! A `tls` block is [`options::TlsOptions`]. [`tls`] turns it and its files into what handshakes
//! need; [`tickets`] let clients resume TLS sessions. [`certificate`] parses certificates; the
//! connection keeps the parsed one of its peer. [`authentication`] decides who a peer is and
//! returns a [`verdict`] or a [`refusal`]. [`users`] are the configured users, [`permissions`] what
//! each may do. The configuration fills the types of this module; client sessions call it. It knows
//! nothing of operations, sockets or HTTP.

pub mod authentication;
mod authorities;
pub mod certificate;
pub mod certname_pattern;
pub mod credentials_file;
pub mod delivery_filter;
mod distinguished_name;
pub mod failure;
mod files;
pub mod guest;
mod insecure;
mod known_hosts;
pub mod mapping;
pub mod options;
pub mod origins;
pub mod own_certificates;
pub mod permissions;
mod puppet;
pub mod refusal;
pub mod responses;
pub mod revocation;
pub mod secret;
pub mod sources;
pub mod store;
pub mod suites;
mod tickets;
pub mod tls;
pub mod users;
pub mod validity;
pub mod verdict;
mod verifier;
