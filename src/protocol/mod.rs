//! The NATS wire protocol: bytes to operations and back.
//!
//! An incremental parser that borrows from the read buffer ([`parse`]), the
//! JSON that both sides introduce themselves with ([`info`], [`connect`]), the
//! headers of messages ([`header`]), the keys of users ([`nkey`]), the texts of errors ([`error`]), and what
//! brokers of a cluster say to each other ([`route`]), and what counts before a peer is
//! let in ([`before_login`]). Facts are those of nats-server 2.15
//! (`server/parser.go`, `server/client.go`). Knows neither sockets nor
//! subscriptions.

use serde_json::error::Category;

pub mod before_login;
pub mod connect;
pub mod encode;
pub mod error;
pub mod header;
pub mod info;
pub mod message;
pub mod nkey;
pub mod parse;
pub mod route;

/// What is wrong with JSON that a peer sent. serde's own words would quote the
/// value, which may be a password.
pub fn json_fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "a value of the wrong type",
        Category::Eof => "no end",
        Category::Io | Category::Syntax => "no JSON",
    };
    format!("{what} at byte {}", error.column())
}

/// Whether a text can stand in a line of the protocol as one word.
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// What a line ends with.
pub const CRLF: &[u8] = b"\r\n";
/// The answer to a verbose client's operation.
pub const OK: &[u8] = b"+OK\r\n";
/// A keepalive request.
pub const PING: &[u8] = b"PING\r\n";
/// A keepalive answer.
pub const PONG: &[u8] = b"PONG\r\n";
