//! Keys of nats-server that midge does not serve: some do no harm and are accepted
//! with a warning, the others are refused, because a broker that ignored them would
//! not do what the file asks for.

use crate::config::{
    options::{
        Options,
        table::{Key, NoEffect},
        unsupported::{
            JETSTREAM, NO_JWT, NO_STREAMS, WRITE_TIMEOUT, all_in_map, is_bool, is_empty_text,
            is_false, is_hollow, is_integer, is_proxies, is_string, is_zero, never, no_effect,
            refused, unsupported,
        },
    },
    syntax::Value,
};

/// The keys that are accepted and have no effect, and those that are refused.
pub(super) const UNSERVED: &[Key<Options>] = &[
    no_effect("jetstream", &[], JETSTREAM),
    no_effect(
        "store_dir",
        &["storedir"],
        NoEffect {
            expected: "a string",
            accepts: is_string,
            asks_for_nothing: is_empty_text,
            reason: NO_STREAMS,
        },
    ),
    no_effect(
        "default_js_domain",
        &[],
        NoEffect {
            expected: "a block",
            accepts: |value| matches!(value, Value::Map(_)),
            asks_for_nothing: is_hollow,
            reason: NO_STREAMS,
        },
    ),
    no_effect(
        "prof_port",
        &[],
        NoEffect {
            expected: "an integer",
            accepts: is_integer,
            asks_for_nothing: is_zero,
            reason: "there is no profiling port",
        },
    ),
    no_effect(
        "disable_sublist_cache",
        &["no_sublist_cache"],
        NoEffect {
            expected: "a boolean",
            accepts: is_bool,
            asks_for_nothing: is_false,
            reason: "midge has no such cache",
        },
    ),
    no_effect(
        "connect_error_reports",
        &["reconnect_error_reports"],
        NoEffect {
            expected: "an integer",
            accepts: is_integer,
            asks_for_nothing: never,
            reason: "midge has its own rule for reporting failed connections",
        },
    ),
    no_effect(
        "feature_flags",
        &[],
        NoEffect {
            expected: "a block of booleans",
            accepts: |value| all_in_map(value, is_bool),
            asks_for_nothing: is_hollow,
            reason: NO_STREAMS,
        },
    ),
    no_effect(
        "prof_block_rate",
        &[],
        NoEffect {
            expected: "an integer",
            accepts: is_integer,
            asks_for_nothing: is_zero,
            reason: "there is no profiling port",
        },
    ),
    no_effect(
        "proxies",
        &[],
        NoEffect {
            expected: "a block",
            accepts: is_proxies,
            asks_for_nothing: is_hollow,
            reason: "midge does not trust what a proxy says about a client",
        },
    ),
    no_effect(
        "ocsp",
        &[],
        NoEffect {
            expected: "a boolean or a block",
            accepts: |value| matches!(value, Value::Bool(_) | Value::Map(_)),
            asks_for_nothing: is_false,
            reason: "midge sends no OCSP response with its certificate; for revoked clients use \
                     CRLs (crl_file in the block \"tls\")",
        },
    ),
    no_effect(
        "ocsp_cache",
        &[],
        NoEffect {
            expected: "a boolean or a block",
            accepts: |value| matches!(value, Value::Bool(_) | Value::Map(_)),
            asks_for_nothing: is_false,
            reason: "midge does not use OCSP",
        },
    ),
    no_effect("write_timeout", &[], WRITE_TIMEOUT),
    refused(
        "operator",
        &[
            "operators",
            "root",
            "roots",
            "root_operator",
            "root_operators",
        ],
        is_hollow,
        NO_JWT,
    ),
    refused("trusted", &["trusted_keys"], is_hollow, NO_JWT),
    refused(
        "resolver",
        &["account_resolver", "accounts_resolver"],
        is_hollow,
        NO_JWT,
    ),
    refused("resolver_preload", &[], is_hollow, NO_JWT),
    refused("resolver_pinned_accounts", &[], is_hollow, NO_JWT),
    refused("resolver_tls", &[], is_hollow, NO_JWT),
    refused("default_sentinel", &[], is_hollow, NO_JWT),
    refused(
        "gateway",
        &[],
        is_hollow,
        unsupported!("gateways are not served: remove the block"),
    ),
    refused(
        "mqtt",
        &[],
        is_hollow,
        unsupported!("clients must use NATS over TCP or TLS: remove the block"),
    ),
    refused(
        "proxy_protocol",
        &[],
        is_false,
        unsupported!(
            "midge uses the clients' own addresses: remove the key and let clients connect directly"
        ),
    ),
];
