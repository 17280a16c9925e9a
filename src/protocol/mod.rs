//! The NATS wire protocol: bytes to operations and back.
//!
//! An incremental parser that borrows from the read buffer ([`parse`]); the JSON of INFO and
//! CONNECT ([`info`], [`connect`]); message headers ([`header`]) and the traces they ask for
//! ([`message_trace`]); public keys of users ([`nkey`]);
//! error texts ([`error`]); the protocol between brokers of a cluster ([`route`]) and that of
//! leafnode connections ([`leafnode`]); and what is accepted before login ([`before_login`]). It follows nats-server 2.15 (`server/parser.go`,
//! `server/client.go`). It knows neither sockets nor subscriptions.

use serde_json::error::Category;

pub mod before_login;
pub mod choria_token;
pub mod connect;
pub mod encode;
pub mod error;
pub mod header;
pub mod info;
pub mod leafnode;
pub mod message;
pub mod message_trace;
pub mod nkey;
pub mod parse;
pub mod route;

/// Describes what is wrong with JSON that a peer sent. serde's own message would quote the value,
/// which may be a password.
pub fn json_fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "a value of the wrong type",
        Category::Eof => "no end",
        Category::Io | Category::Syntax => "no JSON",
    };
    format!("{what} at byte {}", error.column())
}

/// Whether a text can be one argument of a protocol line.
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// The end of a line.
pub const CRLF: &[u8] = b"\r\n";
/// The answer to an operation of a verbose client.
pub const OK: &[u8] = b"+OK\r\n";
/// A keepalive request.
pub const PING: &[u8] = b"PING\r\n";
/// A keepalive answer.
pub const PONG: &[u8] = b"PONG\r\n";
