//! Configurations that midge deliberately treats differently from nats-server, with the
//! reasons.

/// A configuration for which midge differs from nats-server -t.
pub struct Difference {
    pub text: &'static str,
    pub midge_accepts: bool,
    pub reason: &'static str,
}

const fn stricter(text: &'static str, reason: &'static str) -> Difference {
    Difference {
        text,
        midge_accepts: false,
        reason,
    }
}

const fn laxer(text: &'static str, reason: &'static str) -> Difference {
    Difference {
        text,
        midge_accepts: true,
        reason,
    }
}

const WARNING: &str = "nats-server starts with such a file, so the test of the file says so too";
const FAILS_AT_START: &str = "nats-server accepts it but then does not start";
const MISSING: &str = "a value was forgotten";
const STRAY: &str = "an extra character or a misplaced quote hides a mistake";
const NONSENSE: &str = "the number makes no sense";
const NO_ADDRESS: &str = "nobody can connect there";

pub const DIFFERENT: &[Difference] = &[
    stricter(
        "port: 5\ncluster { routes: [\"nats://a:1\"] }",
        FAILS_AT_START,
    ),
    stricter("no_auth_user: x", FAILS_AT_START),
    stricter("max_payload: 70MB", FAILS_AT_START),
    stricter("client_advertise: \":1\"", NO_ADDRESS),
    stricter("client_advertise: \"a:70000\"", NO_ADDRESS),
    stricter("client_advertise: \"::1\"", FAILS_AT_START),
    stricter(
        "cluster { name: x, port: 1, advertise: \"a:b\" }",
        FAILS_AT_START,
    ),
    stricter(
        "cluster { name: x, port: 1, routes: [a] }",
        "nats-server dials a route without a port forever, in vain",
    ),
    stricter(
        "accounts { \"A B\" {} }",
        "a blank in the name of an account breaks the lines between brokers",
    ),
    stricter(
        "authorization { user: \"\", password: a }",
        "a password without a user: nats-server lets every client in",
    ),
    laxer(
        "cluster { name: x, port: 1, ping_interval: \"31s\" }",
        WARNING,
    ),
    laxer("cluster { name: x, port: 1, write_deadline: 5 }", WARNING),
    laxer(
        "jetstream { foo: b }",
        "streams are not served, so midge does not check the block's content",
    ),
    laxer("ping_interval: 120", WARNING),
    laxer("ping_interval: 2m", WARNING),
    laxer("write_deadline: 0", WARNING),
    laxer("", WARNING),
    laxer("# nothing", WARNING),
    laxer(
        "max_pending_size: 10485760",
        "the key of older files is an alias",
    ),
    laxer("\u{feff}port: 5", "editors write byte order marks"),
    stricter("port: 99999", FAILS_AT_START),
    stricter("port: -5", FAILS_AT_START),
    stricter("listen: \"a:99999\"", FAILS_AT_START),
    stricter("client_advertise: \"foo:bar\"", FAILS_AT_START),
    stricter("max_pending: 1KB", FAILS_AT_START),
    stricter("lame_duck_grace_period: \"2m\"", FAILS_AT_START),
    stricter("system_account: a", FAILS_AT_START),
    stricter("host:", MISSING),
    stricter("server_metadata {,a: b}", STRAY),
    stricter("{port: 5} host: a", STRAY),
    stricter("host: 5'", STRAY),
    stricter("server_metadata {a{: b}", STRAY),
    stricter("host: ab'", STRAY),
    stricter("host: \"a\\xff\"", "text is UTF-8"),
    stricter("max_pending: 8Ei", "nats-server lets the number overflow"),
    stricter("max_payload: -1", NONSENSE),
    stricter("max_pending: -1", NONSENSE),
    stricter("max_control_line: -5", NONSENSE),
    stricter("max_closed_clients: -1", NONSENSE),
    stricter("ping_max: -1", NONSENSE),
    stricter("ping_interval: \"-5s\"", NONSENSE),
    stricter("websocket { port: 5 }", FAILS_AT_START),
];
