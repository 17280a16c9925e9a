//! The digest of a configuration, the same one that nats-server shows.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest as hash};
use data_encoding::HEXLOWER;

use super::{Map, Value};

/// `sha256:` and the hex digest of the values, written as JSON with sorted
/// keys. Comments and spelling do not change it; a nats-server that reads the
/// same file shows the same digest.
pub fn digest(map: &Map) -> String {
    let digest = hash(&SHA256, (json(map) + "\n").as_bytes());
    format!("sha256:{}", HEXLOWER.encode(digest.as_ref()))
}

/// The values as JSON with sorted keys.
pub(super) fn json(map: &Map) -> String {
    let mut json = String::new();
    write_map(&mut json, map);
    json
}

fn write_map(json: &mut String, map: &Map) {
    json.push('{');
    for (index, entry) in map.entries().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write_string(json, &entry.key);
        json.push(':');
        write_value(json, &entry.node.value);
    }
    json.push('}');
}

fn write_value(json: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                write_value(json, &item.value);
            }
            json.push(']');
        }
        Value::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Value::DateTime(value) => write_string(json, &value.format("%FT%TZ").to_string()),
        Value::Float(value) => json.push_str(&float(*value)),
        Value::Integer(value) => json.push_str(&value.to_string()),
        Value::Map(map) => write_map(json, map),
        Value::String(text) => write_string(json, text),
    }
}

/// A number as Go's JSON writes it: with an exponent only when very small or
/// very large.
fn float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.contains("e-") {
        true => text,
        false => text.replace('e', "e+"),
    }
}

/// A string as Go's JSON writes it, safe inside HTML.
fn write_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", character as u32);
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}
