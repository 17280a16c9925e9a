//! The configuration language of nats-server: text in, values out.
//!
//! [`parse_file`] is called by `config::options`. Every key and value keeps the file, line
//! and column it was written at, for later error messages. This module has no knowledge of
//! the keys.
//!
//! The language: pairs `key value`, `key: value` or `key = value`, one a line or
//! divided by `,` or `;`; maps `{ }`, arrays `[ ]`, `#` and `//` comments,
//! `include path`, and `$NAME` for the value of an earlier key or of an
//! environment variable. JSON is read as well, but for its `\u` escapes, `null` and
//! commas at the start of a line.
//!
//! Bounds: everything a file can make grow has a limit below, so that no file
//! can take the process down.

mod cursor;
mod digest;
mod parser;
mod scalar;
mod value;

pub use digest::digest;
pub use parser::{Environment, parse_file, parse_text};
pub use value::{Entry, Map, Node, Position, Value};

use std::fmt;

/// Bytes of the largest file that is read, each include counted by itself.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Maps and arrays that may lie inside each other, variables' values included.
pub const MAX_NESTING: usize = 64;
/// Files that may include each other in a chain.
pub const MAX_INCLUDE_DEPTH: usize = 16;
/// Files that may be read for one configuration, all includes together.
pub const MAX_INCLUDES: usize = 1024;
/// Size of all values together: one per value and one per byte of text. Stops
/// variables that double each other.
pub const MAX_WEIGHT: usize = 64 * 1024 * 1024;

/// Why a text is not a configuration; shown as `FILE:LINE:COL: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where reading stopped.
    pub position: Position,
    /// What is wrong and, where it is not plain, what to do.
    pub text: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.text)
    }
}

impl std::error::Error for SyntaxError {}

#[cfg(test)]
mod tests;
