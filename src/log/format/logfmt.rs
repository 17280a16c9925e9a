//! A line as pairs `name=value`, values in quotes where they need it. Of the same fields in
//! the same order as in JSON.

use monitor_client::text::{escaped, quoted};

use super::super::record::{Record, Value};

pub(super) fn line(record: &Record) -> String {
    let mut line = String::new();
    let mut add = |name: &str, value: &Value| {
        if !line.is_empty() {
            line.push(' ');
        }
        line += name;
        line.push('=');
        match value {
            Value::Text(text) => line += &quoted_if_needed(text),
            value => line += &value.to_string(),
        }
    };
    for (name, value) in record.head() {
        add(name, &value);
    }
    add("msg", &Value::Text(record.message.clone()));
    for (name, value) in record.tail() {
        add(name, value);
    }
    line
}

fn quoted_if_needed(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !"=\"\\".contains(c);
    let is_bare = !text.is_empty() && text.chars().all(is_plain) && escaped(text) == text;
    match is_bare {
        true => text.to_owned(),
        false => quoted(text.as_bytes()),
    }
}
