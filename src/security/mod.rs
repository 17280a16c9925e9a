//! Who the peers are and whom to believe: certificates, keys, CAs and CRLs.
//!
//! [`certificate`] reads what a certificate says; the connection of a peer that
//! showed one keeps it. Nothing here knows about operations or HTTP.

pub mod certificate;
mod distinguished_name;
