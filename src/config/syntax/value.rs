//! Values of the configuration language, each with the place it was written at.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chrono::{DateTime, Utc};

/// Where something was written; shown as `FILE:LINE:COL`, or as `FILE` if it
/// concerns the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file as it was named, or a description such as `environment variable X`.
    pub file: Arc<str>,
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// A value and its place. The value of a variable has the place of its use.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub position: Position,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `[ … ]`
    Array(Vec<Node>),
    /// `true`, `false`, `on`, `off`, `yes`, `no`
    Bool(bool),
    /// `2024-01-02T03:04:05Z`
    DateTime(DateTime<Utc>),
    /// `1.5`
    Float(f64),
    /// `42`, `64KB`; a suffix is already multiplied in.
    Integer(i64),
    /// `{ … }`
    Map(Map),
    /// Text, quoted or not.
    String(String),
}

impl Value {
    /// The name of the value's type for messages, with its article.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Array(_) => "a list",
            Value::Bool(_) => "a boolean",
            Value::DateTime(_) => "a date and time",
            Value::Float(_) => "a number with a fraction",
            Value::Integer(_) => "an integer",
            Value::Map(_) => "a block",
            Value::String(_) => "a string",
        }
    }

    /// Size of the value: one for itself and its parts, one per byte of text.
    pub(super) fn weight(&self) -> usize {
        1 + match self {
            Value::Array(items) => items.iter().map(|item| item.value.weight()).sum(),
            Value::Map(map) => map
                .entries()
                .map(|entry| entry.key.len() + entry.node.value.weight())
                .sum(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    /// How many maps and arrays lie inside each other.
    pub(super) fn nesting(&self) -> usize {
        let parts = match self {
            Value::Array(items) => items.iter().map(|item| item.value.nesting()).max(),
            Value::Map(map) => map.entries().map(|entry| entry.node.value.nesting()).max(),
            _ => return 0,
        };
        1 + parts.unwrap_or(0)
    }
}

/// A key, its value and their places.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key begins.
    pub position: Position,
    /// The value.
    pub node: Node,
    /// Whether a `$NAME` was answered with this entry. Such an entry may have a
    /// key of the operator's own choice.
    pub used: bool,
    /// Grows with every pair that is read, over all included files: of two
    /// entries the one with the greater number was written later.
    pub order: usize,
}

/// The pairs of a map. A key written twice keeps its last value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map(BTreeMap<String, Entry>);

impl Map {
    /// Adds an entry in place of an earlier one with the same key.
    pub fn insert(&mut self, entry: Entry) {
        self.0.insert(entry.key.clone(), entry);
    }

    /// The entry of a key, spelled exactly so.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.0.get_mut(key)
    }

    /// The entries, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// The entries in the order they were written.
    pub fn entries_as_written(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.0.values().collect();
        entries.sort_by_key(|entry| entry.order);
        entries
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.0.into_values()
    }
}
