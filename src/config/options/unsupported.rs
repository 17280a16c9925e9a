//! Keys of nats-server that midge does not serve: some do no harm and are
//! passed over with a warning, the others are refused, because a broker that
//! ignored them would not do what the file asks for.

use crate::config::syntax::Value;

/// A key that is accepted and has no effect.
pub struct Ignored {
    /// Its names, in lower case.
    pub names: &'static [&'static str],
    /// What its value must be, for the message if it is not.
    pub expected: &'static str,
    /// Whether a value is of that kind.
    pub accepts: fn(&Value) -> bool,
    /// Whether a value of that kind asks for nothing, so that nothing is missing.
    pub asks_for_nothing: fn(&Value) -> bool,
    /// Why it has no effect.
    pub reason: &'static str,
}

/// The keys that are accepted and have no effect.
pub const IGNORED: &[Ignored] = &[
    Ignored {
        names: &["jetstream"],
        expected: "a boolean, a block or \"enabled\"",
        accepts: is_jetstream,
        asks_for_nothing: is_jetstream_off,
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["store_dir", "storedir"],
        expected: "a string",
        accepts: is_string,
        asks_for_nothing: is_empty_text,
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["default_js_domain"],
        expected: "a block",
        accepts: |value| matches!(value, Value::Map(_)),
        asks_for_nothing: is_hollow,
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["prof_port"],
        expected: "an integer",
        accepts: is_integer,
        asks_for_nothing: is_zero,
        reason: "there is no profiling port",
    },
    Ignored {
        names: &["disable_sublist_cache", "no_sublist_cache"],
        expected: "a boolean",
        accepts: is_bool,
        asks_for_nothing: is_false,
        reason: "subscriptions are matched in another way",
    },
    Ignored {
        names: &["connect_error_reports", "reconnect_error_reports"],
        expected: "an integer",
        accepts: is_integer,
        asks_for_nothing: never,
        reason: "failed connects are reported by midge's own rule",
    },
    Ignored {
        names: &["feature_flags"],
        expected: "a block of booleans",
        accepts: |value| all_in_map(value, is_bool),
        asks_for_nothing: is_hollow,
        reason: NO_STREAMS,
    },
    Ignored {
        names: &["prof_block_rate"],
        expected: "an integer",
        accepts: is_integer,
        asks_for_nothing: is_zero,
        reason: "there is no profiling port",
    },
    Ignored {
        names: &["proxies"],
        expected: "a block",
        accepts: is_proxies,
        asks_for_nothing: is_hollow,
        reason: "no proxy is believed what it says of a client",
    },
    Ignored {
        names: &["ocsp"],
        expected: "a boolean or a block",
        accepts: |value| matches!(value, Value::Bool(_) | Value::Map(_)),
        asks_for_nothing: is_false,
        reason: "no OCSP response is stapled to the certificate; revoked clients are known from \
                 CRLs (crl_file in the block \"tls\")",
    },
    Ignored {
        names: &["ocsp_cache"],
        expected: "a boolean or a block",
        accepts: |value| matches!(value, Value::Bool(_) | Value::Map(_)),
        asks_for_nothing: is_false,
        reason: "OCSP is not asked",
    },
    Ignored {
        names: &["write_timeout"],
        expected: "\"default\", \"close\" or \"retry\"",
        accepts: is_write_timeout,
        asks_for_nothing: is_usual_write_timeout,
        reason: "a reader that takes nothing within write_deadline is closed",
    },
];

const NO_STREAMS: &str = "streams are not served";

/// A key that is refused.
pub struct Refused {
    /// Its names, in lower case.
    pub names: &'static [&'static str],
    /// What midge lacks, and what to do about the key.
    pub advice: &'static str,
}

/// The keys that are refused.
pub const REFUSED: &[Refused] = &[
    Refused {
        names: &[
            "operator",
            "operators",
            "root",
            "roots",
            "root_operator",
            "root_operators",
            "trusted",
            "trusted_keys",
            "resolver",
            "account_resolver",
            "accounts_resolver",
            "resolver_preload",
            "resolver_pinned_accounts",
            "resolver_tls",
            "default_sentinel",
        ],
        advice: NO_JWT,
    },
    Refused {
        names: &["gateway"],
        advice: "clusters are not joined to others: take the block out",
    },
    Refused {
        names: &["leaf", "leafnodes"],
        advice: "leafnodes are not served: take the block out",
    },
    Refused {
        names: &["mqtt", "websocket", "ws"],
        advice: "clients talk NATS over TCP or TLS: take the block out",
    },
    Refused {
        names: &["proxy_protocol"],
        advice: "clients are known by their own addresses: take the key out and let them connect \
                 directly",
    },
];

/// What is asked of a write that takes too long.
pub(super) fn is_write_timeout(value: &Value) -> bool {
    matches!(value, Value::String(text)
        if ["default", "close", "retry"].contains(&&*text.to_ascii_lowercase()))
}

/// Advice for whatever belongs to operator mode.
pub(in crate::config) const NO_JWT: &str = "operator mode (JWT) is not served: take the key out, and write users with passwords or \
     nkeys into \"authorization\" or \"accounts\"";

/// Whether a list, or a block of lists, has nothing in it. Of what is refused that is a
/// listener that is not there; other blocks may turn something on by being there.
pub(super) fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Map(map) => map
            .entries()
            .all(|entry| matches!(&entry.node.value, Value::Array(items) if items.is_empty())),
        _ => false,
    }
}

/// Whether it turns off what a bare block would turn on.
pub(super) fn is_false(value: &Value) -> bool {
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
pub(super) fn is_usual_write_timeout(value: &Value) -> bool {
    matches!(value, Value::String(text)
        if ["default", "close"].contains(&&*text.to_ascii_lowercase()))
}

fn is_empty_text(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.is_empty())
}

fn is_zero(value: &Value) -> bool {
    matches!(value, Value::Integer(0))
}

fn never(_: &Value) -> bool {
    false
}

/// Whether it can stand for streams, which are not served.
pub(in crate::config) fn is_jetstream(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Map(_) => true,
        Value::String(text) => {
            ["enable", "enabled", "disable", "disabled"].contains(&&*text.to_ascii_lowercase())
        }
        _ => false,
    }
}

fn is_proxies(value: &Value) -> bool {
    let is_list = |value: &Value| matches!(value, Value::Array(_));
    matches!(value, Value::Map(map)
        if map.entries().all(|it| it.key.eq_ignore_ascii_case("trusted") && is_list(&it.node.value)))
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

fn all_in_map(value: &Value, accepts: fn(&Value) -> bool) -> bool {
    matches!(value, Value::Map(map) if map.entries().all(|entry| accepts(&entry.node.value)))
}
