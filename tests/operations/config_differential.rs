//! The same configuration files given to a real nats-server and to midge: both
//! must accept or both must refuse, and what both accept must have the same
//! digest, that is the same values. Where midge differs, it does so on purpose
//! and the reason stands beside the text.
//!
//! Needs a nats-server 2.15 on PATH.

mod keys;
mod values;

use std::{fs, process::Command};

use midge::config;
use tempfile::TempDir;

/// Seen by both as environment variables.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("T_NUMBER", "12345"),
    ("T_QUOTED", "\"12345\""),
    ("T_WORD", "abc"),
    ("T_CHAIN", "$T_WORD"),
    ("T_MAP", "{a: b}"),
    ("T_EMPTY", ""),
    ("T_SELF", "$T_SELF"),
    ("T_TWO", "a b"),
];

/// Files that may be included.
const FILES: &[(&str, &str)] = &[
    ("values.conf", "x: 5\n"),
    ("pair.conf", "a: b\n"),
    ("outer.conf", "host: $x\n"),
    ("empty.conf", ""),
    ("sub/next.conf", "include last.conf\n"),
    ("sub/last.conf", "port: 7\n"),
];

/// Both must do the same with these.
const SAME: &[&str] = &[
    // Separators, ends of pairs, comments.
    "port: 5",
    "port = 5",
    "port 5",
    "port\t=\t5",
    "port=5",
    "port\n: 5",
    "host\na",
    "port:\n5",
    "host == a",
    "host=:a",
    "host: a=b",
    ": 5",
    "port: 5, host: a",
    "port: 5; host: a;",
    "port: 5 host: a",
    "port: 5,,host: a",
    "port: 5\r\nhost: a\r\n",
    "port: 5 # c",
    "port: 5 // c",
    "port: 5 /* c */",
    "/* c */",
    "host: a#b",
    "host: #b",
    "server_metadata { a: #c }}",
    "host: //b",
    "host: \"a\"#c",
    "port: 5;# c",
    "port # c\n: 5",
    "port: # c\n5",
    // Maps.
    "server_metadata {a: b, c: d}",
    "server_metadata {a: b; c: d;}",
    "server_metadata {\n a: b\n c: d\n}",
    "server_metadata\n{a: b}",
    "server_metadata: \n{a: b}",
    "server_metadata {a\nb}",
    "server_metadata {a:\nb}",
    "server_metadata {a: b",
    "server_metadata {a: b\n, c: d}",
    "server_metadata {a: b c: d}",
    "server_metadata {a: b} port: 3",
    "server_metadata {a: b}; port: 3",
    "server_metadata {a: b} # c\nport: 3",
    "server_metadata{\na: b\n}",
    "server_metadata {\"a b\": 'c d'}",
    "server_metadata {a\\nb: c, \"d\\ne\": f}",
    "server_metadata {a{b: c}",
    "server_metadata {\"ü\": é, k<: \">&\"}",
    "server_metadata { # c\n a: b }",
    "server_metadata # c\n {a: b}",
    "server_metadata {}",
    "{port: 5}",
    "{\"port\": 5, \"server_tags\": [\"a\", \"b\"]}",
    "{port: 5",
    "{port: 5}}",
    "port: 5\n}\n",
    "port: 5\n}\n}",
    "]",
    "[a]",
    // Lists.
    "server_tags: [a, b]",
    "server_tags: [a\nb]",
    "server_tags: [a,\nb,\n]",
    "server_tags: [\"a\"\n\"b\"]",
    "server_tags [a]",
    "server_tags: []",
    "server_tags: [ # c\n a # c\n b ]",
    "server_tags: [a b]",
    "server_tags: [a;b]",
    "server_tags: [a,,b]",
    "server_tags: [,a]",
    "server_tags: [a\n,b]",
    "server_tags: [a",
    "server_tags: [a]b",
    "server_tags: [a]#b",
    "server_tags: [(\na\n)\n]",
    "server_tags: [[a]]",
    // Text.
    "host: \"a\\x41\\t\\n\\r\\\"\\\\b\"",
    "host: \"a\\qb\"",
    "host: \"a\\x4\"",
    "host: \"a\nb\"",
    "host: \"a",
    "host: \"\"",
    "host: \"a\"b",
    "host: 'a\\nb'",
    "host: 'it''s'",
    "host: 'a",
    "host: a\\x41",
    "host: a\\\"b",
    "host: a\\q",
    "host: a\\",
    "host: a\"b",
    "host: a'b",
    "host: a[b",
    "host: a]b",
    "host: a(b",
    "host: a{b",
    // Without a line end after it nats-server takes the last bracket for text.
    "host: (\na\n)\n",
    "host: (\na\n)\nport: 3",
    "host: (\na)b\n)x\n)\n",
    "host: (\n)\n",
    "host: (a)",
    "host: (\na\n  )",
    "host: (\na\n) port: 3",
    // Booleans, numbers, dates.
    "debug: tRuE",
    "debug: on, trace: NO",
    "debug: \"true\"",
    "debug: 1",
    "port: -1",
    "port: 01",
    "port: 1k",
    "port: 1KB",
    "port: 1ki",
    "port: 1KiB",
    "max_pending: 1gb",
    "max_pending: 9e",
    "port: - 1",
    "port: -abc",
    "port: 1xb",
    "port: 1 MB",
    "port: 1.5MB",
    "port: 9223372036854775808",
    "port: .5",
    "port: 1.",
    "port: 1e3",
    "host: 1kbx",
    "host: 1.5.2",
    "host: 127.0.0.1",
    "host: 12:30",
    "host: 1_000",
    "host: 0x10",
    "host: 1a\\nb",
    "host: 5\"",
    "host: 5(",
    "host: 1-2",
    "host: 1.5x",
    "host: 2024-01-02T03:04:05Z",
    "host: 2024-01-02",
    "host: 2024-99-02T03:04:05Z",
    "host: [::1]:4222",
    // Variables and the environment.
    "x = 3; port = $x",
    "port = $x; x = 3",
    "port = $port",
    "x = $y\ny = $x",
    "y = 1\nx = $y\nport = $x",
    "x = a\nserver_metadata {x = b, y = $x}",
    "x = a\nserver_metadata {y = $x, x = b}",
    "x = a\nserver_metadata {y = $x}",
    "server_metadata {x = b}\nhost = $x",
    "x = {a: b}\nserver_metadata = $x",
    "x = a\nx = b\nhost = $x",
    "x = a\nhost = $x\nx = b",
    "host = a\nserver_name = $host",
    "host: \"$x\"",
    "host: $2a$10$abc",
    "host: $2b$10$abc",
    "host: $",
    "port: $T_NUMBER",
    "host: $T_NUMBER",
    "host: $T_QUOTED",
    "host: $T_WORD",
    "host: $T_CHAIN",
    "host: $T_EMPTY",
    "host: $T_SELF",
    "host: $T_TWO",
    "server_metadata: $T_MAP",
    "server_tags: [$T_WORD]",
    // Includes and duplicates.
    "include values.conf\nport: $x",
    "include 'values.conf'; port: $x",
    "include \"values.conf\" # c\nport: $x",
    "include ./values.conf\nport: $x",
    "include /values.conf\nport: $x",
    "INCLUDE values.conf\nport: $x",
    "include\tvalues.conf\nport: $x",
    "include sub/next.conf",
    "server_metadata { include pair.conf }",
    "server_metadata {\n include \"pair.conf\"; c: d\n}",
    "include empty.conf\nport: 5",
    "x: a\ninclude outer.conf",
    "include gone.conf",
    "include: values.conf",
    "include values.conf",
    "include\nvalues.conf",
    "port: 5\nport: 6",
    // Keys and types.
    "prot: 5",
    "Max_Payload: 1MB",
    "net: a, monitor_port: 5, max_conn: 5, max_subs: 5",
    "max_subscription_tokens: 4, logfile: a, pidfile: b",
    "logfile_size_limit: 5, logfile_max_num: 6",
    "listen: 4333",
    "listen: -1",
    "listen: \"0.0.0.0:-1\"",
    "listen: 127.0.0.1",
    "listen: 127.0.0.1:4333",
    "listen: \"[::1]:4333\"",
    "listen: \"::1:4333\"",
    "listen: \":4333\"",
    "listen: \"a:b\"",
    "listen: \"\"",
    "listen: 4222.5",
    "http: localhost:8222",
    "http: \"8222\"",
    "http_port: \"8222\"",
    "http_base_path: a",
    "port: \"4222\"",
    "host: 5",
    "server_name: \"a b\"",
    "server_name: \"\"",
    "client_advertise: a",
    "client_advertise: \"a:5\"",
    "max_payload: \"1MB\"",
    "max_payload: 3g",
    "max_control_line: 3g",
    "max_sub_tokens: 0",
    "max_sub_tokens: 255",
    "max_sub_tokens: 256",
    "max_connections: -1",
    "max_traced_msg_len: -1",
    "log_size_limit: \"10MB\"",
    "log_size_limit: -5",
    "ping_interval: 30s",
    "ping_interval: \"1.5h\"",
    "ping_interval: \"+.5s\"",
    "ping_interval: \"5.s\"",
    "ping_interval: \"0\"",
    "ping_interval: \"5\"",
    "ping_interval: \"2 m\"",
    "ping_interval: \"1d\"",
    "ping_interval: \"\"",
    "ping_interval: \"9999999h\"",
    "ping_interval: \"5µs\"",
    "ping_interval: 1.5",
    "write_deadline: \"2\"",
    "lame_duck_duration: 60",
    "lame_duck_duration: \"29s\"",
    "lame_duck_duration: \"30s\"",
    "lame_duck_grace_period: 5",
    "lame_duck_grace_period: \"0s\"",
    "lame_duck_grace_period: \"-1s\"",
    "trace_verbose: true, logtime: false, logtime_utc: true",
    "no_header_support: true",
    "ports_file_dir: a",
    "jetstream: true",
    "jetstream: enabled",
    "jetstream: foo",
    "jetstream: 5",
    "store_dir: a",
    "prof_port: a",
    "no_system_account: 5",
    "accounts: [A, B]",
    "accounts: [\"$G\"]",
    "accounts { $G {} }",
    "accounts { A {}\n $SYS {} }\nsystem_account: A",
    "accounts { A { limits { max_conn: 5, max_subs: -1, max_payload: 1KB } } }",
    "accounts { A { limits { max: 5 } } }",
    "accounts { A { exports: [ { stream: a }, { service: \"b.*\", response: stream, threshold: \"5s\" } ] } }",
    "accounts { A { exports: [ { stream: a, response: stream } ] } }",
    "accounts { A { exports: [ { stream: a, service: b } ] } }",
    "accounts { A { exports: [ { service: a, response: many } ] } }",
    "accounts { A { exports: [ { stream: a, accounts: [X] } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\", account_token_position: 1 } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\" } ] }\n B { imports: [ { stream: { account: A, subject: \"a.*\" }, to: \"x.$1\" } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\" } ] }\n B { imports: [ { stream: { account: A, subject: \"a.*\" }, to: \"x.y\" } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\" } ] }\n B { imports: [ { stream: { account: A, subject: \"a.>\" } } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\" } ] }\n B { imports: [ { stream: { account: A, subject: \"a.b\" }, prefix: \"p\" } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\" } ] }\n B { imports: [ { stream: { account: A, subject: \"a.b\" }, prefix: \"p.*\" } ] } }",
    "accounts { A { exports: [ { stream: \"a.*\", accounts: [C] } ] }\n B { imports: [ { stream: { account: A, subject: \"a.b\" } } ] }\n C {} }",
    "accounts { A { exports: [ { stream: \"a.*.x\", account_token_position: 2 } ] }\n B { imports: [ { stream: { account: A, subject: \"a.B.x\" } } ] } }",
    "accounts { A { exports: [ { stream: \"a.*.x\", account_token_position: 2 } ] }\n B { imports: [ { stream: { account: A, subject: \"a.C.x\" } } ] } }",
    "accounts { A { exports: [ { stream: \"a.*.x\", account_token_position: 2 } ] }\n B { imports: [ { stream: { account: A, subject: \"a.*.x\" } } ] } }",
    "accounts { A { exports: [ { service: \"a.*\" } ] }\n B { imports: [ { service: { account: A, subject: \"a.b\" }, to: \"any.*\" } ] } }",
    "accounts { A { exports: [ { service: \"a.*\" } ] }\n B { imports: [ { service: { account: A, subject: \"a.*\" }, to: \"b.$1\", share: true } ] } }",
    "accounts { A { exports: [ { service: \"a.*\" } ] }\n B { imports: [ { stream: { account: A, subject: \"a.b\" } } ] } }",
    "accounts { A { exports: [ { service: a } ] }\n B { imports: [ { service: { account: A, subject: a } }, { service: { account: A, subject: a } } ] } }",
    "accounts { A { exports: [ { stream: a } ] }\n B { imports: [ { stream: { account: A, subject: a } }, { stream: { account: A, subject: a }, to: b } ] } }",
    "accounts { A { exports: [ { service: x } ], imports: [ { service: { account: B, subject: x } } ] }\n B { exports: [ { service: x } ], imports: [ { service: { account: A, subject: x } } ] } }",
    "accounts { A { exports: [ { stream: x } ], imports: [ { stream: { account: B, subject: x } } ] }\n B { exports: [ { stream: x } ], imports: [ { stream: { account: A, subject: x } } ] } }",
    "mappings { a: b, \"c.*\": \"d.$1\" }",
    "mappings { \"a.*\": \"b.{{wildcard(1)}}.{{partition(5,1)}}\" }",
    "mappings { \"a.*\": \"b.$2\" }",
    "mappings { \"a.*\": \"b.{{turn(1)}}\" }",
    "mappings { \"a.*\": \"b.{{split(1,-)}}.{{left(1,2)}}.{{splitFromRight(1,1)}}.{{random(5)}}\" }",
    "mappings { a: [ { destination: b, weight: 20% }, { destination: c, weight: 30 } ] }",
    "mappings { a: [ { destination: b, weight: 60 }, { destination: c, weight: 60 } ] }",
    "mappings { a: [ { destination: b, weight: 6 }, { destination: b, weight: 6 } ] }",
    "mappings { a: [ { destination: b } ] }",
    "mappings { \"a..b\": c }",
    "mappings { \"a.>\": \"b.>\" }",
    "mappings { \"a.>\": b }",
    "connect_error_reports: a",
    "default_js_domain: a",
    "feature_flags {a: yes}",
    "server_metadata {a: {b: c}}",
    // Wholes.
    "{\n  \"port\": 5,\n  \"authorization\": { \"users\": [ { \"user\": \"a\", \"password\": \"b\" } ] },\n  \"cluster\": { \"port\": 6222, \"name\": \"x\", \"routes\": [\"nats://a:1\"] }\n}\n",
    "{\n  port: 5\n  host: a\n}\n# the end\n",
    // Unknown keys whose values are used, wherever they stand.
    "PASS: secret\nauthorization { user: a, password: $PASS }",
    "clustering_port: 6222\ncluster { name: x, port: $clustering_port }",
    "cluster { clustering_port: 6222, name: x, port: $clustering_port }",
    "authorization { PASS: x, user: a, password: $PASS }",
    "authorization { PASS: x, users: [ { user: a, password: $PASS } ] }",
    "accounts { A { U: x, users: [ { user: $U } ] } }",
    "no_auth_user: a\nauthorization { users: [ { user: a } ] }",
    "no_auth_user: a\naccounts { A { users: [ { user: a } ] } }",
    "accounts: [foo, bar, bar]",
    "accounts { A { nkey: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA } }",
    "accounts { A { nkey: A5 } }",
    "accounts { A { exports: [ { stream: a, latency: { subject: x } } ] } }",
    "cluster { name: x, port: 1, permissions { export: { deny: \"foo bar\" } } }",
    "cluster { name: x, port: 1, permissions { import: { allow: \"foo bar\" } } }",
    "cluster { name: x, port: 1, compression: 123 }",
    "cluster { name: x, port: 1, compression { mode: s2_auto, rtt_thresholds: [10ms, 20ms] } }",
    "cluster { name: \"\", port: 1 }",
    "cluster { name: x, port: 1, routes: [\"nats://a:0\"] }",
    "cluster { name: x, port: 0 }",
    "cluster { name: x, port: 1, authorization { user: a, password: \"$2a$11$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK\" } }",
    "cluster { name: x, port: 1, write_timeout: foo }",
    "store_dir: a\njetstream { store_dir: b }",
    "store_dir: a\njetstream { store_dir: a }",
    "store_dir: a\nstore_dir: b",
    "proxy_protocol: false",
    "websocket {}",
    "leafnodes { remotes: [] }",
    "trusted_keys: []",
    // Logins.
    "authorization { token: a }",
    "authorization { user: a, password: b, timeout: 0.5 }",
    "authorization { USERNAME: a, pass: \"$2a$11$abcdefghijklmnopqrstuu5Lo0g67CiD3M4RpN1BmBb4Crp5w7dbK\" }",
    "authorization { users: [ { user: a, password: b }, { username: c, clients: [standard] } ] }",
    "authorization { users = [ { user: a } ] }\nno_auth_user: a",
    "authorization { user: a, token: b }",
    "authorization { user: a, users: [] }",
    "authorization { token: a, users: [] }",
    "authorization { users: [ { password: b } ] }",
    "authorization { users: [ { user: a, clients: [x] } ] }",
    "authorization { timeout: a }",
    "authorization { foo: a }",
    "authorization: a",
];

/// A text with which midge does not do what nats-server -t does.
struct Difference {
    text: &'static str,
    midge_accepts: bool,
    reason: &'static str,
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
const FAILS_AT_START: &str = "nats-server accepts it and then does not start";
const MISSING: &str = "a value was forgotten";
const STRAY: &str = "a sign too many or a quote misplaced hides a mistake";
const NONSENSE: &str = "the number makes no sense";
const NO_ADDRESS: &str = "nobody can connect there";
const UNSERVED: &str = "not served, and passing it over would not do what the file asks for";

const DIFFERENT: &[Difference] = &[
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
        "a route without a port is dialled in vain for ever",
    ),
    stricter(
        "accounts { \"A B\" {} }",
        "a blank in the name of an account breaks the lines between brokers",
    ),
    stricter(
        "authorization { user: \"\", password: a }",
        "a password without a user lets nobody in, and nats-server lets everybody in",
    ),
    laxer(
        "cluster { name: x, port: 1, ping_interval: \"31s\" }",
        WARNING,
    ),
    laxer("cluster { name: x, port: 1, write_deadline: 5 }", WARNING),
    laxer(
        "jetstream { foo: b }",
        "streams are not served, so what stands in the block is not looked at",
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
    stricter("websocket { port: 5 }", UNSERVED),
];

/// The digest of a file that is accepted, or why it is refused.
type Verdict = Result<String, String>;

struct Judges(TempDir);

impl Judges {
    fn new() -> Judges {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("sub")).expect("a folder can be made");
        for (name, text) in FILES {
            fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        let judges = Judges(folder);
        let digest = judges.nats_server("port: 5");
        let known = "sha256:31e700d8099c9ba65abbb6651b7440e19fb67478741216737098f7b78467e737";
        assert_eq!(
            digest.as_deref(),
            Ok(known),
            "the nats-server on PATH is too old to compare with: install nats-server 2.15.1"
        );
        judges
    }

    fn write(&self, text: &str) -> std::path::PathBuf {
        let path = self.0.path().join("main.conf");
        fs::write(&path, text).expect("a file can be written");
        path
    }

    fn nats_server(&self, text: &str) -> Verdict {
        let path = self.write(text);
        let output = Command::new("nats-server")
            .args(["-t".as_ref(), "-c".as_ref(), path.as_os_str()])
            .envs(ENVIRONMENT.iter().copied())
            .output()
            .expect("nats-server cannot be run: install nats-server 2.15.1 and put it on PATH");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let digest = said.trim_end().rsplit_once(" is valid (");
        match (output.status.code(), digest) {
            (Some(0), Some((_, digest))) => Ok(digest.trim_end_matches(')').into()),
            (Some(1), _) => Err(said),
            other => panic!("nats-server cannot judge {text:?}: {other:?}: {said}"),
        }
    }

    fn midge(&self, text: &str) -> Verdict {
        let environment = |name: &str| {
            let pair = ENVIRONMENT.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| (*value).to_owned())
        };
        config::load(&self.write(text), &environment)
            .map(|(options, _)| options.config_digest)
            .map_err(|errors| errors.to_string())
    }
}

#[test]
fn midge_and_nats_server_read_the_same() {
    let judges = Judges::new();
    let mut differences = Vec::new();
    for text in SAME {
        let (theirs, ours) = (judges.nats_server(text), judges.midge(text));
        let same = match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => theirs == ours,
            (theirs, ours) => theirs.is_ok() == ours.is_ok(),
        };
        if !same {
            differences.push(format!(
                "{text:?}\n  nats-server: {theirs:?}\n  midge: {ours:?}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_deliberate_differences_are_still_there() {
    let judges = Judges::new();
    let mut wrong = Vec::new();
    for Difference {
        text,
        midge_accepts,
        reason,
    } in DIFFERENT
    {
        let (theirs, ours) = (judges.nats_server(text), judges.midge(text));
        if ours.is_ok() != *midge_accepts || theirs.is_ok() == *midge_accepts {
            wrong.push(format!(
                "{text:?} ({reason})\n  nats-server: {theirs:?}\n  midge: {ours:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
