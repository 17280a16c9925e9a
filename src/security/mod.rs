//! Who the peers are and whom to believe: certificates, keys, CAs and CRLs.
//!
//! A `tls` block is [`options::TlsOptions`]; [`tls`] makes of it and its files
//! what handshakes need. [`certificate`] reads what a certificate says; the
//! connection of a peer that showed one keeps it. Nothing here knows about
//! operations, sockets or HTTP.

pub mod certificate;
mod distinguished_name;
pub mod failure;
mod files;
mod insecure;
pub mod options;
pub mod revocation;
pub mod store;
pub mod suites;
pub mod tls;
mod verifier;
