//! Values that only one of the two servers accepts, with the reasons.

/// A value that only one of the two accepts; `*` is any key of the block that is not
/// listed, or any value.
pub struct Difference {
    pub block: &'static str,
    pub keys: &'static [&'static str],
    pub forms: &'static [&'static str],
    pub midge_accepts: bool,
    pub reason: &'static str,
}

const fn stricter(
    block: &'static str,
    keys: &'static [&'static str],
    forms: &'static [&'static str],
    reason: &'static str,
) -> Difference {
    Difference {
        block,
        keys,
        forms,
        midge_accepts: false,
        reason,
    }
}

const fn laxer(
    block: &'static str,
    keys: &'static [&'static str],
    forms: &'static [&'static str],
    reason: &'static str,
) -> Difference {
    Difference {
        midge_accepts: true,
        ..stricter(block, keys, forms, reason)
    }
}

const FAILS_AT_START: &str = "nats-server accepts it with -t but then does not start";
const NEGATIVE: &str = "a negative number makes no sense here";
const UNSERVED: &str = "not served, and the broker would not do what the file asks for";
const OPERATOR: &str = "operator mode (JWT) is not served, and midge refuses each of its keys";
const UNLOOKED: &str = "the block has no effect, so midge does not check its content";
const SECONDS: &str = "nats-server starts with it and warns, so midge warns too";
const NO_SUBJECT: &str = "an empty text is not a subject";
const INCOMPLETE: &str = "nats-server ignores a value of the wrong kind without a warning";

pub const DIFFERENCES: &[Difference] = &[
    stricter("top", &["accounts"], &["*"], INCOMPLETE),
    stricter("top", &["https", "https_port"], &["*"], FAILS_AT_START),
    laxer(
        "top",
        &["jetstream", "ocsp", "ocsp_cache"],
        &["{ a: b }"],
        UNLOOKED,
    ),
    stricter(
        "top",
        &[
            "max_control_line",
            "max_payload",
            "max_pending",
            "ping_max",
            "max_closed_clients",
        ],
        &["-1"],
        NEGATIVE,
    ),
    stricter("top", &["max_pending"], &["5"], FAILS_AT_START),
    stricter(
        "top",
        &["ping_interval", "write_deadline"],
        &["\"-5s\""],
        NEGATIVE,
    ),
    laxer(
        "top",
        &["ping_interval", "write_deadline"],
        &["5", "0"],
        SECONDS,
    ),
    stricter(
        "top",
        &["gateway", "mqtt", "proxy_protocol"],
        &["*"],
        UNSERVED,
    ),
    laxer(
        "top",
        &["gateway", "mqtt", "proxy_protocol"],
        &["*"],
        "an empty value asks for nothing",
    ),
    stricter(
        "top",
        &[
            "operator",
            "resolver",
            "resolver_tls",
            "resolver_preload",
            "resolver_pinned_accounts",
            "trusted",
            "default_sentinel",
        ],
        &["*"],
        OPERATOR,
    ),
    laxer(
        "top",
        &[
            "operator",
            "resolver",
            "resolver_tls",
            "resolver_preload",
            "resolver_pinned_accounts",
            "trusted",
            "default_sentinel",
        ],
        &["*"],
        "an empty value asks for nothing",
    ),
    laxer("top", &["proxies"], &["*"], UNLOOKED),
    stricter("top", &["tls"], &["{}"], FAILS_AT_START),
    stricter(
        "top",
        &["no_auth_user", "system_account"],
        &["*"],
        FAILS_AT_START,
    ),
    stricter(
        "cluster",
        &["routes"],
        &["[a]"],
        "a route without a port is dialled in vain for ever",
    ),
    stricter("cluster", &["tls"], &["{}"], "there is no certificate"),
    stricter(
        "cluster",
        &["connect_retries", "ping_max"],
        &["-1"],
        NEGATIVE,
    ),
    stricter(
        "cluster",
        &["ping_interval", "write_deadline"],
        &["\"-5s\""],
        NEGATIVE,
    ),
    laxer(
        "cluster",
        &["ping_interval", "write_deadline"],
        &["5", "0"],
        SECONDS,
    ),
    stricter(
        "cluster authorization",
        &["proxy_required"],
        &["*"],
        UNSERVED,
    ),
    stricter("cluster authorization", &["token"], &["\"\""], UNSERVED),
    laxer("cluster authorization", &["permissions"], &["*"], SECONDS),
    stricter(
        "cluster authorization",
        &["timeout"],
        &["-1", "\"-5s\""],
        NEGATIVE,
    ),
    stricter(
        "tls",
        &["timeout", "handshake_first"],
        &["-1", "\"-5s\""],
        NEGATIVE,
    ),
    stricter(
        "tls",
        &["pinned_certs"],
        &["[]"],
        "an empty list would pin nothing, though the file says that there are pins",
    ),
    laxer("compression", &["mode", "rtt_thresholds"], &["*"], UNLOOKED),
    stricter("tls", &["certs"], &["[]"], "there is no certificate"),
    stricter("tls", &["ocsp_peer"], &["*"], UNSERVED),
    laxer(
        "tls",
        &[
            "cert_match",
            "cert_match_by",
            "cert_match_skip_invalid",
            "ca_certs_match",
        ],
        &["*"],
        UNLOOKED,
    ),
    stricter("authorization", &["timeout"], &["-1", "\"-5s\""], NEGATIVE),
    stricter("authorization", &["proxy_required"], &["true"], UNSERVED),
    stricter("user", &["proxy_required"], &["true"], UNSERVED),
    stricter(
        "account",
        &["imports", "exports"],
        &["[{}]"],
        "an empty entry is a forgotten one",
    ),
    laxer("account", &["jetstream"], &["{ a: b }"], UNLOOKED),
    stricter("export", &["stream", "service"], &["\"\""], NO_SUBJECT),
    stricter("service export", &["threshold"], &["\"-5s\""], NEGATIVE),
    laxer(
        "service export",
        &["account_token_position"],
        &["-1"],
        "nats-server fails on it; it means no position",
    ),
    stricter("stream import", &["prefix", "to"], &["\"\""], NO_SUBJECT),
    stricter("mapping", &["dest"], &["\"\""], NO_SUBJECT),
    stricter("service import", &["to"], &["\"\""], NO_SUBJECT),
];
