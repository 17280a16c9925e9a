//! Reading blocks: values of the file with rules of their own.
//!
//! A block's reader goes over its entries, takes what it knows with the
//! functions here, and tells [`Problems`] what is wrong and where. Keys match in
//! any case.

use std::time::Duration;

use super::{Diagnostic, duration::parse_duration};
use crate::config::syntax::{Entry, Map, Node, Position, Value};

/// What is wrong with a configuration, in the order it was found.
#[derive(Default)]
pub struct Problems {
    /// What keeps the broker from starting.
    pub errors: Vec<Diagnostic>,
    /// What the operator should know.
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

    /// The key of an entry that a block does not know. A key that was used as a
    /// variable may have any name.
    pub fn unknown_key(&mut self, entry: &Entry, block: &str) {
        if !entry.used {
            let text = format!("unknown key {:?} in {block}", entry.key);
            self.error(&entry.position, text);
        }
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
                let text = format!(
                    "{name:?} must be a block {{ … }}, not {}",
                    value.type_name()
                );
                self.error(&node.position, text);
                None
            }
        }
    }

    /// The items of a list.
    pub fn list<'a>(&mut self, node: &'a Node, name: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::Array(items) => Some(items),
            value => {
                let text = format!("{name:?} must be a list [ … ], not {}", value.type_name());
                self.error(&node.position, text);
                None
            }
        }
    }

    /// A string.
    pub fn text<'a>(&mut self, entry: &'a Entry) -> Option<&'a str> {
        match &entry.node.value {
            Value::String(text) => Some(text),
            _ => self.wrong_type(entry, "a string; put it into quotes"),
        }
    }

    /// A boolean.
    pub fn boolean(&mut self, entry: &Entry) -> Option<bool> {
        match &entry.node.value {
            Value::Bool(value) => Some(*value),
            _ => self.wrong_type(entry, "true or false, without quotes"),
        }
    }

    /// An integer.
    pub fn integer(&mut self, entry: &Entry) -> Option<i64> {
        match &entry.node.value {
            Value::Integer(number) => Some(*number),
            _ => self.wrong_type(entry, "an integer, without quotes"),
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
                let found = item.value.type_name();
                let text = format!("{name:?} must be a string or a list of strings, not {found}");
                self.error(&item.position, text);
                return None;
            };
            texts.push((text.as_str(), &item.position));
        }
        Some(texts)
    }

    /// A time: seconds, with or without a fraction, or a duration such as `"2s"`.
    pub fn seconds(&mut self, entry: &Entry) -> Option<Duration> {
        let key = &entry.key;
        let seconds = match &entry.node.value {
            Value::Integer(seconds) => *seconds as f64,
            Value::Float(seconds) => *seconds,
            Value::String(text) => return self.noted(&entry.position, parse_duration(text)),
            _ => return self.wrong_type(entry, "seconds or a duration such as \"2s\""),
        };
        // What does not fit into nanoseconds, no clock can be set forward by.
        let time = Duration::try_from_secs_f64(seconds).ok();
        let time = time.filter(|time| i64::try_from(time.as_nanos()).is_ok());
        let time = time.ok_or_else(|| format!("{key:?} must be a time, not {seconds} seconds"));
        self.noted(&entry.position, time)
    }

    fn wrong_type<T>(&mut self, entry: &Entry, expected: &str) -> Option<T> {
        let found = entry.node.value.type_name();
        let text = format!("{:?} must be {expected}, not {found}", entry.key);
        self.error(&entry.position, text);
        None
    }
}

fn diagnostic(position: &Position, text: String) -> Diagnostic {
    Diagnostic {
        position: Some(position.clone()),
        text,
    }
}
