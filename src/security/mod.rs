//! Who the peers are and what they may do: certificates, logins, permissions.
//!
//! A `tls` block is [`options::TlsOptions`]; [`tls`] makes of it and its files
//! what handshakes need; by [`tickets`] clients take their sessions up again.
//! [`certificate`] reads what a certificate says; the
//! connection of a peer that showed one keeps it. [`authentication`] decides who
//! a peer is and answers with a [`verdict`] or a [`refusal`], [`users`] are whom the
//! operator named, [`permissions`] what each may do. The configuration is read into
//! the types of this room; clients ask it. Nothing here knows about
//! operations, sockets or HTTP.

pub mod authentication;
mod authorities;
pub mod certificate;
pub mod delivery_filter;
mod distinguished_name;
pub mod failure;
mod files;
pub mod guest;
mod insecure;
mod known_hosts;
pub mod mapping;
pub mod options;
mod own_certificates;
pub mod permissions;
mod puppet;
pub mod refusal;
pub mod responses;
pub mod revocation;
pub mod secret;
pub mod store;
pub mod suites;
mod tickets;
pub mod tls;
pub mod users;
pub mod validity;
pub mod verdict;
mod verifier;
