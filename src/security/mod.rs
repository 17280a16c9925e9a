//! Who the peers are and what they may do: certificates, logins, permissions.
//!
//! [`certificate`] reads what a certificate says; the connection of a peer that
//! showed one keeps it. [`authentication`] decides who a peer is, [`users`] are
//! whom the operator named. The configuration is read into the types of this
//! room; clients ask it. Nothing here knows about operations or HTTP.

pub mod authentication;
pub mod certificate;
mod distinguished_name;
pub mod secret;
pub mod users;
