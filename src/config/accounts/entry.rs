//! Reading blocks of the configuration: lists and maps with keys in any case,
//! each complaint with its place.

use crate::config::{
    options::Diagnostic,
    syntax::{Entry, Map, Node, Position, Value},
};

/// What is wrong, collected over a block.
#[derive(Default)]
pub(super) struct Complaints {
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Complaints {
    pub(super) fn error(&mut self, position: &Position, text: impl Into<String>) {
        self.errors.push(diagnostic(position, text.into()));
    }

    pub(super) fn warn(&mut self, position: &Position, text: impl Into<String>) {
        self.warnings.push(diagnostic(position, text.into()));
    }

    /// A key that is not known here, unless it is there to be used as `$NAME`.
    pub(super) fn unknown(&mut self, entry: &Entry, place: &str) {
        if !entry.used {
            let text = format!("unknown key {:?} in {place}", entry.key);
            self.error(&entry.position, text);
        }
    }

    /// The value as a block, if it is one.
    pub(super) fn map<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a Map> {
        match &node.value {
            Value::Map(map) => Some(map),
            other => self.wrong_type(node, what, "a block { … }", other),
        }
    }

    /// The value as a list, if it is one.
    pub(super) fn list<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::Array(items) => Some(items),
            other => self.wrong_type(node, what, "a list [ … ]", other),
        }
    }

    /// The value as text, if it is that.
    pub(super) fn text<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a str> {
        match &node.value {
            Value::String(text) => Some(text),
            other => self.wrong_type(node, what, "a string", other),
        }
    }

    /// The value as a whole number, if it is one.
    pub(super) fn integer(&mut self, node: &Node, what: &str) -> Option<i64> {
        match &node.value {
            Value::Integer(number) => Some(*number),
            other => self.wrong_type(node, what, "an integer, without quotes", other),
        }
    }

    /// The value as a truth value, if it is one.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            other => self.wrong_type(node, what, "true or false, without quotes", other),
        }
    }

    fn wrong_type<T>(&mut self, node: &Node, what: &str, wanted: &str, found: &Value) -> Option<T> {
        let text = format!("{what} must be {wanted}, not {}", found.type_name());
        self.error(&node.position, text);
        None
    }
}

pub(super) fn diagnostic(position: &Position, text: String) -> Diagnostic {
    Diagnostic {
        position: Some(position.clone()),
        text,
    }
}
