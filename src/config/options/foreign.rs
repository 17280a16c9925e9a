//! Keys of nats-server that midge does not serve: some do no harm and are
//! passed over with a warning, the others are refused, because a broker that
//! ignored them would not do what the file asks for.

use crate::config::syntax::{Node, Value};

/// A key that is accepted and has no effect.
pub struct Ignored {
    /// Its names, in lower case.
    pub names: &'static [&'static str],
    /// What its value must be, for the message if it is not.
    pub expected: &'static str,
    /// Whether a value is of that kind.
    pub accepts: fn(&Value) -> bool,
    /// Why it has no effect.
    pub reason: &'static str,
}

/// The keys that are accepted and have no effect.
pub const IGNORED: &[Ignored] = &[
    Ignored {
        names: &["jetstream"],
        expected: "a boolean, a block or \"enabled\"",
        accepts: is_jetstream,
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["store_dir", "storedir"],
        expected: "a string",
        accepts: is_string,
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["default_js_domain"],
        expected: "a block",
        accepts: |value| matches!(value, Value::Map(_)),
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["prof_port"],
        expected: "an integer",
        accepts: is_integer,
        reason: "there is no profiling port",
    },
    Ignored {
        names: &["disable_sublist_cache", "no_sublist_cache"],
        expected: "a boolean",
        accepts: is_bool,
        reason: "subscriptions are matched in another way",
    },
    Ignored {
        names: &["system_account", "system"],
        expected: "a string",
        accepts: is_string,
        reason: "there is only the system account $SYS",
    },
    Ignored {
        names: &["no_system_account", "no_system", "no_sys_acc"],
        expected: "a boolean",
        accepts: is_bool,
        reason: "there is only the system account $SYS",
    },
    Ignored {
        names: &["connect_error_reports", "reconnect_error_reports"],
        expected: "an integer",
        accepts: is_integer,
        reason: "failed connects are reported by midge's own rule",
    },
    Ignored {
        names: &["server_tags"],
        expected: "a string or a list of strings",
        accepts: is_strings,
        reason: "tags only place streams, and streams are not served",
    },
    Ignored {
        names: &["server_metadata"],
        expected: "a block of strings",
        accepts: |value| all_in_map(value, is_string),
        reason: "metadata only describe a server to stream placement",
    },
    Ignored {
        names: &["feature_flags"],
        expected: "a block of booleans",
        accepts: |value| all_in_map(value, is_bool),
        reason: NO_STREAMS,
    },
];

const NO_STREAMS: &str = "streams are not served";

/// The keys that are refused, in lower case.
pub const REFUSED: &[&str] = &[
    "account_resolver",
    "accounts",
    "accounts_resolver",
    "cluster",
    "default_sentinel",
    "gateway",
    "https",
    "https_port",
    "leaf",
    "leafnodes",
    "mappings",
    "maps",
    "mqtt",
    "no_fast_producer_stall",
    "ocsp",
    "ocsp_cache",
    "operator",
    "operators",
    "prof_block_rate",
    "proxies",
    "proxy_protocol",
    "remote_syslog",
    "resolver",
    "resolver_pinned_accounts",
    "resolver_preload",
    "resolver_tls",
    "root",
    "root_operator",
    "root_operators",
    "roots",
    "syslog",
    "trace_headers",
    "trusted",
    "trusted_keys",
    "websocket",
    "write_timeout",
    "ws",
];

/// Whether the value of an ignored key asks for nothing, so that no warning is
/// due.
pub(super) fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::String(text) => text.eq_ignore_ascii_case("disabled"),
        _ => false,
    }
}

fn is_jetstream(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Map(_) => true,
        Value::String(text) => {
            ["enable", "enabled", "disable", "disabled"].contains(&&*text.to_ascii_lowercase())
        }
        _ => false,
    }
}

fn is_bool(value: &Value) -> bool {
    matches!(value, Value::Bool(_))
}

fn is_integer(value: &Value) -> bool {
    matches!(value, Value::Integer(_))
}

fn is_string(value: &Value) -> bool {
    matches!(value, Value::String(_))
}

fn is_strings(value: &Value) -> bool {
    let all = |items: &[Node]| items.iter().all(|item| is_string(&item.value));
    is_string(value) || matches!(value, Value::Array(items) if all(items))
}

fn all_in_map(value: &Value, accepts: fn(&Value) -> bool) -> bool {
    matches!(value, Value::Map(map) if map.entries().all(|entry| accepts(&entry.node.value)))
}
