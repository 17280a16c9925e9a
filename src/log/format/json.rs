//! A line as a JSON object: what stands before the text, the text as `msg`, then the other
//! fields.

use monitor_client::text::escaped;
use serde_json::Number;

use super::super::record::{Record, Value};

pub(super) fn line(record: &Record) -> String {
    let mut line = String::from("{");
    let mut add = |name: &str, value: &Value| {
        if line.len() > 1 {
            line.push(',');
        }
        // Names are the broker's own.
        line += &format!("\"{name}\":{}", json(value));
    };
    for (name, value) in record.head() {
        add(name, &value);
    }
    add("msg", &Value::Text(record.message.clone()));
    for (name, value) in record.tail() {
        add(name, value);
    }
    line + "}"
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Float(value) => Number::from_f64(*value).map_or(serde_json::Value::Null, Into::into),
        Value::Signed(value) => (*value).into(),
        Value::Text(value) => escaped(value).into(),
        Value::Unsigned(value) => (*value).into(),
    }
}
