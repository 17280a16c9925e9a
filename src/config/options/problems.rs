//! What is wrong with a configuration, and the values that readers of keys with rules
//! of their own take: blocks, lists, texts.

use super::Diagnostic;
use crate::config::syntax::{Entry, Map, Node, Position, Value};

/// What is wrong with a configuration, in the order it was found.
#[derive(Default)]
pub struct Problems {
    /// Errors that prevent the start of the broker.
    pub errors: Vec<Diagnostic>,
    /// Warnings for the operator.
    pub warnings: Vec<Diagnostic>,
}

impl Problems {
    /// Notes an error.
    pub fn error(&mut self, position: &Position, text: impl Into<String>) {
        self.errors.push(diagnostic(position, text.into()));
    }

    /// Notes a warning.
    pub fn warn(&mut self, position: &Position, text: impl Into<String>) {
        self.warnings.push(diagnostic(position, text.into()));
    }

    /// The value of the result; an error is noted at `position`.
    pub fn noted<T>(&mut self, position: &Position, result: Result<T, String>) -> Option<T> {
        result.map_err(|text| self.error(position, text)).ok()
    }

    /// The entries of a block.
    pub fn map<'a>(&mut self, node: &'a Node, name: &str) -> Option<&'a Map> {
        match &node.value {
            Value::Map(map) => Some(map),
            value => {
                self.error(&node.position, wrong_type(name, "a block { … }", value));
                None
            }
        }
    }

    /// The items of a list.
    pub fn list<'a>(&mut self, node: &'a Node, name: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::Array(items) => Some(items),
            value => {
                self.error(&node.position, wrong_type(name, "a list [ … ]", value));
                None
            }
        }
    }

    /// A string.
    pub fn text<'a>(&mut self, entry: &'a Entry) -> Option<&'a str> {
        match &entry.node.value {
            Value::String(text) => Some(text),
            value => {
                let text = wrong_type(&entry.key, "a string in quotes", value);
                self.error(&entry.position, text);
                None
            }
        }
    }

    /// A string or a list of strings, each with its place.
    pub fn texts<'a>(
        &mut self,
        node: &'a Node,
        name: &str,
    ) -> Option<Vec<(&'a str, &'a Position)>> {
        let items = match &node.value {
            Value::Array(items) => items,
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::new();
        for item in items {
            let Value::String(text) = &item.value else {
                let expected = "a string or a list of strings";
                self.error(&item.position, wrong_type(name, expected, &item.value));
                return None;
            };
            texts.push((text.as_str(), &item.position));
        }
        Some(texts)
    }

    /// The result of `read`, unless it finds an error.
    pub fn unless_wrong<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let before = self.errors.len();
        let made = read(self);
        (self.errors.len() == before).then_some(made)
    }
}

/// The error for a value of another kind than its key accepts.
pub(super) fn wrong_type(name: &str, expected: &str, found: &Value) -> String {
    format!("{name:?} must be {expected}, not {}", found.type_name())
}

fn diagnostic(position: &Position, text: String) -> Diagnostic {
    Diagnostic {
        position: Some(position.clone()),
        text,
    }
}
