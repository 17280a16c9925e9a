//! From files to options: every key, every refusal, every contradiction.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    keys::{KEYS, Kind},
    unsupported::{IGNORED, REFUSED, Refused},
    *,
};
use crate::security::{
    secret::Secret,
    users::{ConnectionType, SoleLogin},
};

const EXAMPLE: &str = include_str!("../../../conf/midge.conf");

/// What a file with this text gives: options and warnings, or errors. The name
/// of the file is cut from all messages.
fn read(text: &str) -> Result<(Options, Vec<String>), Vec<String>> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("test.conf");
    fs::write(&path, text).expect("it can be written");
    let prefix = format!("{}:", path.display());
    let texts = |all: Vec<Diagnostic>| -> Vec<String> {
        let texts = all.iter().map(ToString::to_string);
        texts.map(|text| text.replace(&prefix, "")).collect()
    };
    match load(&path, &|_| None) {
        Ok((options, warnings)) => Ok((options, texts(warnings))),
        Err(errors) => Err(texts(errors.0)),
    }
}

/// The options of a text that gives no warnings.
#[track_caller]
fn options(text: &str) -> Options {
    let (options, warnings) = read(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    assert!(warnings.is_empty(), "{text}: {warnings:?}");
    options
}

#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    read(text)
        .unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
        .1
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let errors = read(text).map(|_| ()).expect_err(text);
    assert!(
        errors.iter().any(|error| error.contains(expected)),
        "{text}: {errors:?}"
    );
}

/// Options as a file without settings gives them, without the file itself.
fn file_defaults() -> Options {
    Options {
        host: ANY_HOST.into(),
        host_is_safe_default: false,
        ..Options::default()
    }
}

fn without_file(options: Options) -> Options {
    Options {
        config_file: None,
        config_digest: String::new(),
        ..options
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn without_a_file_only_this_machine_is_served() {
    let options = Options::default();
    assert_eq!((&*options.host, options.port), ("127.0.0.1", 4222));
    assert!(options.host_is_safe_default);
    assert_eq!(options.http_listen(), Some(("127.0.0.1", 8222)));
}

#[test]
fn a_file_without_a_host_serves_all_and_monitors_locally() {
    let options = options("port: 4333");
    assert_eq!((&*options.host, options.port), ("0.0.0.0", 4333));
    assert!(!options.host_is_safe_default);
    assert_eq!(options.http_listen(), Some(("127.0.0.1", 8222)));
}

#[test]
fn every_default_in_the_table_is_the_default_of_the_options() {
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        let read = without_file(options(&format!("{}: {}", key.name, key.default)));
        let expected = Options {
            http_host: read.http_host.clone(),
            http_port: read.http_port,
            ..file_defaults()
        };
        assert_eq!(read, expected, "{}", key.name);
        assert_eq!(
            read.http_listen(),
            Options::default().http_listen(),
            "{}",
            key.name
        );
    }
}

#[test]
fn the_example_file_is_valid_and_opens_nothing() {
    let options = without_file(options(EXAMPLE));
    let expected = Options {
        host: LOOPBACK_HOST.into(),
        ..file_defaults()
    };
    assert_eq!(options, expected);
}

/// Each key of a block stands in the example file with its default, which is
/// the one of the options.
#[test]
fn the_example_file_shows_every_key_of_a_block() {
    for key in KEYS {
        let Kind::Block(keys) = key.kind else {
            continue;
        };
        for inner in keys {
            let line = match inner.default {
                "" => format!("#    {}: ", inner.name),
                default => format!("#    {}: {default}", inner.name),
            };
            let found = EXAMPLE.lines().any(|shown| match inner.default {
                "" => shown.starts_with(&line) && shown.ends_with("  # no default"),
                _ => shown == line,
            });
            assert!(found, "{line}");
            if inner.default.is_empty() {
                continue;
            }
            let text = format!("{} {{ {}: {} }}", key.name, inner.name, inner.default);
            assert_eq!(without_file(options(&text)), file_defaults(), "{text}");
        }
    }
}

#[test]
fn each_key_of_the_diagnosis_sets_its_own_option() {
    let mut seen = Vec::new();
    for key in diagnosis::DIAGNOSIS_KEYS {
        let value = match key.kind {
            Kind::Duration { .. } => "7s",
            _ => "7",
        };
        let value = if key.name == "starts_file" {
            "seven"
        } else {
            value
        };
        let read = options(&format!("diagnosis {{ {}: {value} }}", key.name)).diagnosis;
        assert_ne!(read, Diagnosis::default(), "{}", key.name);
        assert!(!seen.contains(&read), "{}", key.name);
        seen.push(read);
    }
}

#[test]
fn a_wrong_entry_of_a_block_is_refused_where_it_stands() {
    refuses("diagnosis {\n  storm_rat: 5\n}", "2:3: unknown key");
    refuses("diagnosis {\n  storm_rate: 0\n}", "2:3: ");
    refuses("diagnosis: 5", "must be a block");
    refuses("monitor: { unix_mode: \"0777\" }", "octal digits");
    refuses("monitor: { unix_mode: \"rw\" }", "octal digits");
    refuses("monitor: { user: u }", "\"password\"");
    refuses("monitor: { password: p }", "\"user\"");
    refuses("monitor: { user: \"a:b\", password: p }", "colon");
    assert_eq!(
        options("diagnosis {\n x: 7\n storm_rate: $x\n}")
            .diagnosis
            .storm_rate,
        7
    );
}

/// Each key stands in the example file, with its default if it has one, and the
/// lines that are commented out are valid.
#[test]
fn the_example_file_shows_every_key() {
    let shown: Vec<&str> = EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    assert_eq!(shown.len(), KEYS.len());
    for line in &shown {
        read(line).unwrap_or_else(|errors| panic!("{line}: {errors:?}"));
    }
    for key in KEYS {
        let (name, default) = (key.name, key.default);
        let found = shown.iter().any(|line| match default {
            "" => line.starts_with(&format!("{name}: ")) && line.ends_with("  # no default"),
            default => *line == format!("{name}: {default}"),
        });
        assert!(found, "{name}: {default}");
    }
}

#[test]
fn names_are_unique_and_match_in_any_case() {
    let mut names: Vec<&str> = KEYS.iter().flat_map(|key| key.aliases).copied().collect();
    names.extend(KEYS.iter().map(|key| key.name));
    names.extend(IGNORED.iter().flat_map(|ignored| ignored.names));
    names.extend(REFUSED.iter().flat_map(|refused| refused.names));
    for name in &names {
        assert_eq!(*name, name.to_ascii_lowercase());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(options("Max_Payload: 5, PORT: 6").max_payload, 5);
}

#[test]
fn each_key_sets_its_option() {
    type Same = fn(&Options) -> bool;
    let cases: &[(&str, Same)] = &[
        ("listen: 5", |o| o.host == "0.0.0.0" && o.port == 5),
        ("listen: -1", |o| o.port == 0),
        ("listen: \"[::1]:5\"", |o| o.host == "::1" && o.port == 5),
        ("listen: a:5", |o| o.host == "a" && o.port == 5),
        ("listen: \":5\"", |o| o.host == "0.0.0.0" && o.port == 5),
        ("host: a", |o| o.host == "a"),
        ("host: \"\"", |o| o.host == "0.0.0.0"),
        ("net: \"::\"", |o| o.host == "::"),
        ("port: -1", |o| o.port == 0),
        ("port: 0", |o| o.port == 4222),
        ("client_advertise: \"a:5\"", |o| {
            o.client_advertise.as_deref() == Some("a:5")
        }),
        ("client_advertise: a", |o| {
            o.client_advertise.as_deref() == Some("a")
        }),
        ("client_advertise: \"[::1]:5\"", |o| {
            o.client_advertise.is_some()
        }),
        ("client_advertise: \"[::1]\"", |o| {
            o.client_advertise.is_some()
        }),
        ("client_advertise: \"\"", |o| o.client_advertise.is_none()),
        ("server_name: a", |o| o.server_name.as_deref() == Some("a")),
        ("server_name: \"\"", |o| o.server_name.is_none()),
        ("http: 5", |o| o.http_listen() == Some(("127.0.0.1", 5))),
        ("http: \"a:5\"", |o| o.http_listen() == Some(("a", 5))),
        ("http: \":5\"", |o| {
            o.http_listen() == Some(("127.0.0.1", 5))
        }),
        ("host: a, http_port: 5", |o| {
            o.http_listen() == Some(("127.0.0.1", 5))
        }),
        ("monitor_port: 5", |o| {
            o.http_listen() == Some(("127.0.0.1", 5))
        }),
        ("http_port: -1", |o| {
            o.http_listen() == Some(("127.0.0.1", 0))
        }),
        ("http_port: 0", |o| o.http_listen().is_none()),
        ("http_base_path: a", |o| o.http_base_path == "/a"),
        ("http_base_path: \"//a/b/\"", |o| o.http_base_path == "/a/b"),
        ("http_base_path: \"\"", |o| o.http_base_path == "/"),
        ("max_connections: 0", |o| o.max_connections == 0),
        ("max_conn: -1", |o| o.max_connections == -1),
        ("max_subscriptions: 5", |o| o.max_subscriptions == 5),
        ("max_subs: -1", |o| o.max_subscriptions == 0),
        ("max_sub_tokens: 1", |o| o.max_sub_tokens == 1),
        ("max_subscription_tokens: 255", |o| o.max_sub_tokens == 255),
        ("syslog: true", |o| o.syslog),
        ("remote_syslog: \"tcp://a:5\"", |o| {
            o.remote_syslog == Some(RemoteSyslog::Tcp("a".into(), 5))
        }),
        ("remote_syslog: \"\"", |o| o.remote_syslog.is_none()),
        ("trace_headers: true", |o| o.trace && o.trace_headers),
        ("no_fast_producer_stall: true", |o| o.no_fast_producer_stall),
        ("server_tags: [\"A b\", \" c \", a, A]", |o| {
            o.server_tags == ["a b", "c", "a"]
        }),
        ("server_tags: A", |o| o.server_tags == ["a"]),
        ("server_metadata: { A: b }", |o| {
            o.server_metadata["A"] == "b"
        }),
        ("client_advertise: \"a:0\"", |o| {
            o.client_advertise.as_deref() == Some("a:0")
        }),
        ("max_payload: 5", |o| o.max_payload == 5),
        ("max_payload: 0", |o| o.max_payload == 1_048_576),
        ("max_pending: 10MB", |o| o.max_pending == 10_485_760),
        ("max_pending_size: 10485760", |o| {
            o.max_pending == 10_485_760
        }),
        ("max_pending: 0", |o| o.max_pending == 67_108_864),
        ("max_memory: 1GB", |o| o.max_memory == Some(1 << 30)),
        ("max_memory: 0", |o| o.max_memory.is_none()),
        ("max_control_line: 8k", |o| o.max_control_line == 8000),
        ("max_control_line: 0", |o| o.max_control_line == 4096),
        ("max_closed_clients: 5", |o| o.max_closed_clients == 5),
        ("ping_interval: 30s", |o| o.ping_interval == seconds(30)),
        ("ping_interval: \"2m\"", |o| o.ping_interval == seconds(120)),
        ("ping_interval: \"0\"", |o| o.ping_interval == seconds(120)),
        ("ping_max: 5", |o| o.ping_max == 5),
        ("ping_max: 0", |o| o.ping_max == 2),
        ("write_deadline: \"2s\"", |o| o.write_deadline == seconds(2)),
        ("lame_duck_duration: \"30s\"", |o| {
            o.lame_duck_duration == seconds(30)
        }),
        ("lame_duck_grace_period: \"5s\"", |o| {
            o.lame_duck_grace_period == seconds(5)
        }),
        ("lame_duck_grace_period: \"0s\"", |o| {
            o.lame_duck_grace_period == seconds(10)
        }),
        ("authorization: { token: a, timeout: 0.5 }", |o| {
            o.authorization.sole.is_some() && o.auth_timeout == Some(seconds(1) / 2)
        }),
        (
            "no_auth_user: a, authorization { users: [ { user: a } ] }",
            |o| o.authorization.no_auth_user.as_deref() == Some("a"),
        ),
        ("no_header_support: true", |o| o.no_header_support),
        ("debug: on", |o| o.debug),
        ("trace: yes", |o| o.trace && !o.trace_verbose),
        ("trace_verbose: true", |o| o.trace && o.trace_verbose),
        ("trace_verbose: true, trace: false", |o| {
            o.trace && o.trace_verbose
        }),
        ("logtime: false", |o| !o.logtime),
        ("logtime_utc: true", |o| o.logtime_utc),
        ("log_file: a", |o| o.log_file == Some("a".into())),
        ("logfile: a", |o| o.log_file == Some("a".into())),
        ("log_file: \"\"", |o| o.log_file.is_none()),
        ("log_size_limit: 1MB", |o| o.log_size_limit == 1_048_576),
        ("logfile_size_limit: -5", |o| o.log_size_limit == 0),
        ("log_max_num: 5", |o| o.log_max_num == 5),
        ("logfile_max_num: 5", |o| o.log_max_num == 5),
        ("pid_file: a", |o| o.pid_file == Some("a".into())),
        ("pidfile: a", |o| o.pid_file == Some("a".into())),
        ("ports_file_dir: a", |o| {
            o.ports_file_dir == Some("a".into())
        }),
        ("cluster: { name: a, listen: 4223 }", |o| {
            o.cluster
                .as_ref()
                .is_some_and(|cluster| cluster.port == Some(4223))
        }),
        ("max_traced_msg_len: 5", |o| o.max_traced_msg_len == 5),
        ("max_traced_msg_len: -1", |o| o.max_traced_msg_len == 0),
        ("accounts: [A]", |o| o.accounts[0].name == "A"),
        ("mappings: { a: b }", |o| o.mappings[0].subject == "a"),
        ("maps: { a: b }", |o| o.mappings[0].subject == "a"),
        ("system_account: A\naccounts: [A]", |o| {
            o.system_account == "A"
        }),
        ("system: A\naccounts: [A]", |o| o.system_account == "A"),
        ("no_system_account: true", |o| o.no_system_account),
        ("no_system: true", |o| o.no_system_account),
        ("no_sys_acc: true", |o| o.no_system_account),
        (
            "tls: { cert_file: c, key_file: k, ca_file: a, verify: true }",
            |o| {
                o.tls.as_ref().is_some_and(|tls| {
                    tls.verify
                        && tls.certificates[0].cert_file == Path::new("c")
                        && tls.certificates[0].key_file == Path::new("k")
                        && tls.ca_file.as_deref() == Some(Path::new("a"))
                        && tls.timeout == seconds(2)
                })
            },
        ),
        ("allow_non_tls: true", |o| o.allow_non_tls),
        ("monitor: { unix: /run/m.sock, unix_mode: \"0600\" }", |o| {
            o.monitor.unix.as_deref() == Some("/run/m.sock".as_ref())
                && o.monitor.unix_mode == 0o600
        }),
        ("monitor: { hosts: \"A.example, b,\" }", |o| {
            o.monitor.hosts == ["a.example", "b"]
        }),
        ("monitor: { token: t }", |o| {
            o.monitor_login
                .token
                .as_ref()
                .is_some_and(|token| token.is(b"t"))
        }),
        ("monitor: { user: u, password: p }", |o| {
            o.monitor_login.user.as_deref() == Some("u") && o.monitor_login.is_required()
        }),
        ("https: \"a:5\"", |o| {
            o.https && o.http_listen() == Some(("a", 5))
        }),
        ("https_port: 5", |o| {
            o.https && o.http_listen() == Some(("127.0.0.1", 5))
        }),
        ("diagnosis: { interval: 20ms }", |o| {
            o.diagnosis.interval == Duration::from_millis(20)
        }),
        ("diagnosis { STORM_RATE: 5 }", |o| {
            o.diagnosis.storm_rate == 5
        }),
    ];
    for (text, same) in cases {
        assert!(same(&options(text)), "{text}");
    }
    for key in KEYS {
        let names = key.aliases.iter().chain([&key.name]);
        for name in names {
            let tested = |text: &str| text.starts_with(&format!("{name}:"));
            assert!(
                cases.iter().any(|(text, _)| tested(text)),
                "{name} has no case"
            );
        }
    }
}

#[test]
fn wrong_types_and_values_are_refused() {
    for (text, expected) in [
        (
            "port: \"4222\"",
            "1:1: \"port\" must be an integer, without quotes, not a string",
        ),
        ("port: 65536", "must be from -1 to 65535, not 65536"),
        ("port: -2", "must be from -1 to 65535"),
        ("listen: 127.0.0.1", "is not HOST:PORT"),
        ("listen: \"::1:4222\"", "is not HOST:PORT"),
        ("listen: \"a:b\"", "is not HOST:PORT"),
        ("listen: \"a:99999\"", "99999 is not a port"),
        ("listen: 99999", "99999 is not a port"),
        (
            "listen: 4222.5",
            "\"listen\" must be PORT or \"HOST:PORT\", not a number with a fraction",
        ),
        ("http: \"8222\"", "is not HOST:PORT"),
        ("host: 5", "must be a string"),
        ("server_name: \"a b\"", "must not contain blanks"),
        (
            "client_advertise: \"a:b\"",
            "is neither a host nor HOST:PORT",
        ),
        (
            "client_advertise: \"::1\"",
            "is neither a host nor HOST:PORT",
        ),
        (
            "debug: \"true\"",
            "\"debug\" must be true or false, without quotes, not a string",
        ),
        ("debug: 1", "not an integer"),
        ("max_payload: 3g", "must be from 0 to 2147483647"),
        ("max_payload: -1", "must be from 0"),
        ("max_payload: \"1MB\"", "must be an integer"),
        ("max_control_line: 3g", "must be from 0 to 2147483647"),
        ("max_sub_tokens: 0", "must be from 1 to 255"),
        ("max_sub_tokens: 256", "must be from 1 to 255"),
        ("ping_interval: \"1d\"", "is not a duration"),
        ("ping_interval: 1.5", "must be a duration such as \"30s\""),
        ("ping_interval: \"-5s\"", "must not be negative"),
        ("ping_interval: -5", "must not be negative"),
        ("ping_interval: 9e", "is too long a time"),
        ("write_deadline: \"2\"", "is not a duration"),
        (
            "lame_duck_duration: 60",
            "must be a duration such as \"30s\", not an integer",
        ),
        ("lame_duck_duration: \"29s\"", "must be at least 30s"),
        ("lame_duck_grace_period: 5", "must be a duration"),
        (
            "pid_file: [a]",
            "\"pid_file\" must be a string; put it into quotes, not a list",
        ),
    ] {
        refuses(text, expected);
    }
}

#[test]
fn all_errors_are_collected_in_the_order_of_the_file() {
    let errors = read("port: a\n  foo: 1\nhost: 5\nsyslog: {}").map(|_| ());
    let errors = errors.expect_err("four errors");
    let places: Vec<&str> = errors
        .iter()
        .filter_map(|text| text.split(": ").next())
        .collect();
    assert_eq!(places, ["1:1", "2:3", "3:1", "4:1"]);
    let shown = ConfigErrors(vec![
        Diagnostic {
            position: None,
            text: "a".into(),
        },
        Diagnostic {
            position: None,
            text: "b".into(),
        },
    ]);
    assert_eq!(shown.to_string(), "a\nb");
}

#[test]
fn unknown_keys_are_refused_with_a_hint() {
    for (text, expected) in [
        (
            "prot: 5",
            "1:1: unknown key \"prot\"; did you mean \"port\"?",
        ),
        ("MaxPayload: 5", "did you mean \"max_payload\"?"),
        ("autorization {}", "did you mean \"authorization\"?"),
        ("xyz: 5", "unknown key \"xyz\""),
        ("include: a", "unknown key \"include\""),
    ] {
        refuses(text, expected);
    }
    let error = read("qqqqqq: 5").map(|_| ()).expect_err("unknown");
    assert_eq!(error, ["1:1: unknown key \"qqqqqq\""]);
    refuses(&format!("{}: 5", "x".repeat(100_000)), "unknown key");
}

#[test]
fn a_key_used_as_a_variable_may_have_any_name() {
    assert_eq!(options("my_port: 5\nport: $my_port").port, 5);
    refuses(
        "my_port: 5\nport: $my_port\nmy_port: 6",
        "3:1: unknown key \"my_port\"",
    );
}

#[test]
fn what_midge_does_not_serve_is_refused_by_name() {
    for Refused { names, advice } in REFUSED {
        for name in *names {
            let expected =
                format!("1:1: {name:?} is not supported by this version of midge: {advice}");
            refuses(&format!("{name}: 5"), &expected);
        }
    }
}

#[test]
fn what_has_no_effect_gives_a_warning() {
    for (text, expected) in [
        (
            "jetstream: true",
            "\"jetstream\" has no effect: streams are not served",
        ),
        ("jetstream: enabled", "streams are not served"),
        ("jetstream { store_dir: a }", "streams are not served"),
        // There a block turns it on by being there.
        ("jetstream {}", "streams are not served"),
        ("jetstream { limits: [] }", "streams are not served"),
        ("ocsp {}", "no OCSP response"),
        ("ocsp_cache {}", "OCSP is not asked"),
        ("store_dir: a", "streams are not served"),
        ("default_js_domain { A: b }", "streams are not served"),
        ("prof_port: 5", "no profiling port"),
        ("disable_sublist_cache: true", "has no effect"),
        ("connect_error_reports: 5", "has no effect"),
        ("reconnect_error_reports: 5", "has no effect"),
        ("prof_block_rate: 5", "no profiling port"),
        ("write_timeout: retry", "is closed"),
        ("ocsp: true", "no OCSP response"),
        ("ocsp_cache: true", "OCSP is not asked"),
        (
            "proxies { trusted: [ { key: a } ] }",
            "no proxy is believed",
        ),
        ("feature_flags { a: true }", "has no effect"),
    ] {
        let warnings = warnings(text);
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        assert!(warnings[0].starts_with("1:1: "), "{warnings:?}");
        assert!(warnings[0].contains(expected), "{text}: {warnings:?}");
    }
    let warnings_of_large = warnings("max_payload: 9MB");
    assert!(
        matches!(&warnings_of_large[..], [one] if one.contains("more than 8 MB")),
        "{warnings_of_large:?}"
    );
    for text in [
        "max_payload: 8MB",
        "jetstream: false",
        "jetstream: disabled",
        "jetstream { enabled: false }",
        "store_dir: \"\"",
        "prof_port: 0",
        "feature_flags {}",
        "default_js_domain {}",
        "ocsp_cache: false",
        "gateway {}",
        "mqtt {}",
        "write_timeout: close",
        "proxy_protocol: false",
        "ocsp: false",
        "proxies { trusted: [] }",
        "leafnodes {}",
        "leafnodes { remotes: [] }",
        "websocket {}",
        "operator: []",
    ] {
        assert!(warnings(text).is_empty(), "{text}");
    }
    for text in [
        "jetstream: 5",
        "prof_port: a",
        "server_tags: [5]",
        "server_metadata {a: 5}",
        "ocsp: 5",
        "write_timeout: never",
        "feature_flags {a: b}",
    ] {
        refuses(text, "must be");
    }
}

/// They are labels of a metric and in each answer about the broker.
#[test]
fn descriptions_have_a_limit() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (0..count).map(item).collect();
        items.join(", ")
    };
    let tags = |count| format!("server_tags: [{}]", list(count, &|at| format!("t{at}")));
    let pairs = |count| {
        let pairs = list(count, &|at| format!("k{at}: v"));
        format!("server_metadata {{ {pairs} }}")
    };
    assert_eq!(options(&tags(64)).server_tags.len(), 64);
    assert_eq!(options(&pairs(64)).server_metadata.len(), 64);
    let long = "x".repeat(4097);
    for text in [
        tags(65),
        pairs(65),
        format!("server_tags: {long}"),
        format!("server_metadata {{ a: {long} }}"),
    ] {
        refuses(&text, "64 entries and 4096 bytes");
    }
}

#[test]
fn logins_are_read() {
    let sole = |text: &str| {
        options(&format!("authorization {{ {text} }}"))
            .authorization
            .sole
    };
    let user = |password: &str| {
        let (name, password) = ("u".into(), Secret::new(password).expect("plain"));
        Some(SoleLogin::User { name, password })
    };
    assert_eq!(sole("user: u, password: p"), user("p"));
    assert_eq!(sole("USERNAME: u, Pass: p"), user("p"));
    assert_eq!(sole("user: u"), user(""));
    let token = Secret::new("t").expect("plain");
    assert_eq!(sole("token: t"), Some(SoleLogin::Token(token)));
    assert_eq!(sole("timeout: 5"), None);

    let users = |text: &str| options(&format!("authorization {{ users: [ {text} ] }}"));
    let read = users("{ user: a, pass: b }, { username: c, clients: [standard] }");
    let read = read.authorization.users;
    assert_eq!((&*read[0].name, &*read[0].account), ("a", "$G"));
    assert_eq!(read[1].connection_types, [ConnectionType::Standard]);
    assert!(warnings("authorization { users: [] }")[0].contains("nobody has to log in"));
    assert!(warnings("authorization { timeout: 1m, token: t }")[0].contains("is high"));
}

#[test]
fn wrong_logins_are_refused() {
    for (text, expected) in [
        ("user: u, token: t", "cannot have a user and a token"),
        ("user: u, users: []", "cannot have a user and a list"),
        ("token: t, users: []", "cannot have a token and a list"),
        ("password: p", "a password without a user"),
        ("user: 5", "1:17: \"user\" must be a string"),
        ("token: \"$2a$11$x\"", "\"token\" begins like a bcrypt hash"),
        ("timeout: a", "is not a duration"),
        ("timeout: -1", "must be a time"),
        ("foo: 1", "unknown key \"foo\" in authorization"),
        ("auth_callout {}", "\"auth_callout\" is not supported"),
        ("proxy_required: true", "is not supported"),
        ("users: 5", "\"users\" must be a list"),
        ("users: [5]", "\"user\" must be a block"),
        ("users: [{password: p}]", "a user needs a name"),
        (
            "users: [{user: u, foo: 1}]",
            "unknown key \"foo\" in a user",
        ),
        (
            "users: [{user: u, clients: [x]}]",
            "unknown connection type \"x\"",
        ),
        (
            "users: [{user: u}, {user: u}]",
            "the user \"u\" is written twice",
        ),
    ] {
        refuses(&format!("authorization {{ {text} }}"), expected);
    }
    refuses("authorization: 5", "must be a block");
    refuses("no_auth_user: u", "\"u\" is not in a list of users");
    for secret in [
        "authorization { password: hidden }",
        "authorization { token: \"$2a$11$hidden\" }",
    ] {
        let errors = read(secret).map(|_| ()).expect_err("refused");
        assert!(!format!("{errors:?}").contains("hidden"), "{errors:?}");
    }
}

#[test]
fn seconds_without_a_unit_give_a_warning() {
    let (options, warnings) = read("write_deadline: 5").expect("it is valid");
    assert_eq!(options.write_deadline, seconds(5));
    assert_eq!(
        warnings,
        ["1:1: \"write_deadline\" should be a duration with its unit: write \"5s\""]
    );
    let (options, warnings) = read("ping_interval: 2m").expect("it is valid");
    assert_eq!(options.ping_interval, seconds(2_000_000));
    assert!(
        warnings[0].contains("write \"2m\" in quotes for minutes"),
        "{warnings:?}"
    );
}

#[test]
fn of_contradicting_keys_the_later_wins_with_a_warning() {
    for (text, port) in [
        ("listen: \"a:1\"\nport: 2", 2),
        ("port: 2\nlisten: \"a:1\"", 1),
        ("PORT: 1\nport: 2", 2),
        ("port: 2\nPORT: 1", 1),
    ] {
        let (options, warnings) = read(text).expect(text);
        assert_eq!(options.port, port, "{text}");
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        assert!(warnings[0].starts_with("2:1: "), "{warnings:?}");
        assert!(
            warnings[0].contains("(1:1): the one written later counts"),
            "{warnings:?}"
        );
    }
    let (options, warnings) = read("http: \"a:1\"\nhttp_port: 2").expect("it is valid");
    assert_eq!(options.http_listen(), Some(("a", 2)));
    assert_eq!(warnings.len(), 1);
    assert_eq!(options.http_host.as_deref(), Some("a"));
    assert_eq!(warnings_count("net: a\nhost: b"), 1);
    assert_eq!(warnings_count("listen: 5\nhost: b"), 0);
    assert_eq!(warnings_count("port: 5\nport: 6"), 0);
}

fn warnings_count(text: &str) -> usize {
    warnings(text).len()
}

#[test]
fn rules_over_two_keys_are_checked_at_load() {
    refuses(
        "max_payload: 2MB\nmax_pending: 1MB",
        "1:1: max_payload (2097152) must not exceed max_pending (1048576)",
    );
    refuses(
        "port: 1\nmax_pending: 1KB",
        "2:1: max_payload (1048576) must not exceed",
    );
    assert_eq!(
        options("max_payload: 1MB\nmax_pending: 1MB").max_pending,
        1_048_576
    );
    refuses(
        "lame_duck_grace_period: \"2m\"",
        "1:1: lame_duck_grace_period (120s) must be shorter",
    );
    refuses(
        "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"30s\"",
        "2:1: lame_duck_grace_period",
    );
}

#[test]
fn a_file_without_values_gives_a_warning() {
    for text in ["", "# nothing\n", "{}"] {
        let warnings = warnings(text);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].ends_with("the configuration has no values"),
            "{warnings:?}"
        );
    }
}

#[test]
fn file_and_digest_are_kept() {
    let options = options("port: 5");
    let file = options.config_file.expect("a file");
    assert_eq!(file.file_name(), PathBuf::from("test.conf").file_name());
    let digest = "sha256:31e700d8099c9ba65abbb6651b7440e19fb67478741216737098f7b78467e737";
    assert_eq!(options.config_digest, digest);
}

/// The block as the legacy Puppet module's template writes it.
#[test]
fn a_cluster_as_puppet_writes_it() {
    let text = "cluster {\n  port: 4223\n  no_advertise: true\n  authorization {\n    \
                user: routes\n    password: s3cret\n    timeout: 0.75\n  }\n  routes = [\n    \
                nats-route://routes:s3cret@nats2.example.net:4223\n    \
                nats-route://routes:s3cret@nats3.example.net:4223\n  ]\n}\n";
    let cluster = options(text).cluster.expect("a cluster");
    assert_eq!((cluster.port, &*cluster.host), (Some(4223), ANY_HOST));
    assert!(cluster.no_advertise && cluster.name.is_none());
    assert_eq!(cluster.user.as_deref(), Some("routes"));
    assert_eq!(cluster.auth_timeout(), Duration::from_millis(750));
    let routes: Vec<String> = cluster.routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["nats2.example.net:4223", "nats3.example.net:4223"]);
    assert_eq!(cluster.routes[0].password.reveal(), "s3cret");
}

#[test]
fn what_a_cluster_cannot_be() {
    for (text, expected) in [
        (
            "cluster: 5",
            "1:10: \"cluster\" must be a block { … }, not an integer",
        ),
        (
            "cluster {\n  name: \"a b\" }",
            "2:3: a cluster's name must not",
        ),
        (
            "cluster {\n  routes: [\n a:b ] }",
            "3:2: \"a:…\" is not HOST:PORT",
        ),
        (
            "cluster {\n  routes: [a:1] }",
            "2:3: the cluster needs a port",
        ),
        (
            "cluster {\n  gateway: a }",
            "2:3: unknown key \"gateway\" in \"cluster\"",
        ),
        (
            "cluster { authorization {\n token: a } }",
            "2:2: \"token\" is not possible here",
        ),
        ("cluster {\n port: 70000 }", "2:2: 70000 is not a port"),
        // A key that is used as a variable is a key all the same.
        (
            "cluster {\n queue_policy: bogus, permissions { import: $queue_policy } }",
            "2:2: \"queue_policy\" must be",
        ),
        (
            "cluster {\n connect_retries: bogus, permissions { import: $connect_retries } }",
            "2:2: \"connect_retries\" must be",
        ),
    ] {
        refuses(text, expected);
    }
    // Of a hash nothing can be sent to brokers that are only heard of.
    let hash = "$2a$11$abcdefghijklmnopqrstuudjoshsIZ5vIFeg3JkRnFnUOCrm..Sui";
    let hashed = |routes: &str, more: &str| {
        warnings(&format!(
            "cluster {{ port: 1, routes: [{routes}]\n authorization {{ user: u, password: \"{hash}\" }}\n {more} }}"
        ))
    };
    for (routes, more, expected) in [
        ("", "", true),
        ("\"nats://h:1\", \"nats://other:p@h:1\"", "", true),
        ("\"nats://h:1\", \"nats://u:p@h:1\"", "", false),
        (
            "",
            "tls { cert_file: c, key_file: k, ca_file: a, verify_and_map: true }",
            false,
        ),
    ] {
        let told = hashed(routes, more);
        let is_told = told
            .iter()
            .any(|it| it.to_string().contains("the password is a hash"));
        assert_eq!(is_told, expected, "{routes}: {told:?}");
    }
    let told = warnings("cluster { port: 1, compression: s2_fast, pool_size: 3 }");
    assert_eq!(told.len(), 1, "{told:?}");
}

/// A time that the system's clock cannot be set forward by would end in a panic
/// when a client comes.
#[test]
fn times_without_end_are_refused() {
    for block in [
        "authorization { token: t, timeout: % }",
        "cluster { port: -1, authorization { timeout: % } }",
        "tls { timeout: % }",
    ] {
        for time in ["9223372036854775807", "9300000000.5", "-1"] {
            let text = block.replace('%', time);
            refuses(&text, "\"timeout\" must be a time");
        }
    }
}
