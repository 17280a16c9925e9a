//! Shared by several tables: which values of keys that are not served have no effect, and
//! the texts about them.

use super::table::{Key, Kind, NoEffect, Reload, Usual};
use crate::config::syntax::Value;

/// The text for a refused key, following its name: what is lacking, and what to do.
macro_rules! unsupported {
    ($advice:literal) => {
        concat!("is not supported by this version of midge: ", $advice)
    };
}
pub(in crate::config) use unsupported;

/// The row of a key that is accepted and has no effect.
pub(in crate::config) const fn no_effect<T>(
    name: &'static str,
    aliases: &'static [&'static str],
    key: NoEffect,
) -> Key<T> {
    unserved(name, aliases, Kind::NoEffect(key))
}

/// The row of a key that is refused, unless its value asks for nothing.
pub(in crate::config) const fn refused<T>(
    name: &'static str,
    aliases: &'static [&'static str],
    asks_for_nothing: fn(&Value) -> bool,
    why: &'static str,
) -> Key<T> {
    let kind = Kind::Refused {
        asks_for_nothing,
        why,
    };
    unserved(name, aliases, kind)
}

const fn unserved<T>(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: Kind<T>,
) -> Key<T> {
    Key {
        name,
        aliases,
        kind,
        usual: Usual::Default(""),
        doc: "",
        reload: Reload::Nothing,
    }
}

/// Why keys of streams have no effect.
pub(in crate::config) const NO_STREAMS: &str = "streams are not served";

/// How a write that times out ends.
pub(in crate::config) const WRITE_TIMEOUT: NoEffect = NoEffect {
    expected: "\"default\", \"close\" or \"retry\"",
    accepts: is_write_timeout,
    asks_for_nothing: is_usual_write_timeout,
    reason: "a client that reads nothing within write_deadline is closed",
};

/// Streams of an account or of the broker.
pub(in crate::config) const JETSTREAM: NoEffect = NoEffect {
    expected: "a boolean, a block or \"enabled\"",
    accepts: is_jetstream,
    asks_for_nothing: is_jetstream_off,
    reason: NO_STREAMS,
};

/// The configured action for a write that times out.
pub(in crate::config) fn is_write_timeout(value: &Value) -> bool {
    matches!(value, Value::String(text)
        if ["default", "close", "retry"].contains(&&*text.to_ascii_lowercase()))
}

/// Advice for whatever belongs to operator mode.
pub(in crate::config) const NO_JWT: &str = unsupported!(
    "operator mode (JWT) is not served: remove the key, and write users with passwords or nkeys \
     into \"authorization\" or \"accounts\""
);

/// Whether a list, or a block of lists, has nothing in it. Of what is refused that is a
/// listener that is not there; other blocks may turn something on by being there.
pub(in crate::config) fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Map(map) => map
            .entries()
            .all(|entry| matches!(&entry.node.value, Value::Array(items) if items.is_empty())),
        _ => false,
    }
}

/// Whether it turns off what a bare block would turn on.
pub(in crate::config) fn is_false(value: &Value) -> bool {
    matches!(value, Value::Bool(false))
}

/// Whether streams are not asked for. An empty block asks for them.
pub(in crate::config) fn is_jetstream_off(value: &Value) -> bool {
    let is_off = |text: &str| ["disable", "disabled"].contains(&&*text.to_ascii_lowercase());
    match value {
        Value::String(text) => is_off(text),
        Value::Map(map) => map.entries().any(|entry| {
            let key = entry.key.to_ascii_lowercase();
            ["enable", "enabled"].contains(&&*key) && is_false(&entry.node.value)
        }),
        value => is_false(value),
    }
}

/// Whether it is what happens anyway.
pub(in crate::config) fn is_usual_write_timeout(value: &Value) -> bool {
    matches!(value, Value::String(text)
        if ["default", "close"].contains(&&*text.to_ascii_lowercase()))
}

pub(in crate::config) fn is_empty_text(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.is_empty())
}

pub(in crate::config) fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Integer(0))
}

pub(in crate::config) fn never(_: &Value) -> bool {
    false
}

/// Whether the value may configure streams, which are not served.
pub(in crate::config) fn is_jetstream(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Map(_) => true,
        Value::String(text) => {
            ["enable", "enabled", "disable", "disabled"].contains(&&*text.to_ascii_lowercase())
        }
        _ => false,
    }
}

pub(in crate::config) fn is_proxies(value: &Value) -> bool {
    let is_list = |value: &Value| matches!(value, Value::Array(_));
    matches!(value, Value::Map(map)
        if map.entries().all(|it| it.key.eq_ignore_ascii_case("trusted") && is_list(&it.node.value)))
}

pub(in crate::config) fn is_bool(value: &Value) -> bool {
    matches!(value, Value::Bool(_))
}

pub(in crate::config) fn is_integer(value: &Value) -> bool {
    matches!(value, Value::Integer(_))
}

pub(in crate::config) fn is_string(value: &Value) -> bool {
    matches!(value, Value::String(_))
}

pub(in crate::config) fn all_in_map(value: &Value, accepts: fn(&Value) -> bool) -> bool {
    matches!(value, Value::Map(map) if map.entries().all(|entry| accepts(&entry.node.value)))
}
