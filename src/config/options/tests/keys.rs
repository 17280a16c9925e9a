//! Which options a file gives: defaults, and each key.

use super::*;
use crate::config::options::LogFormat;

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
    for key in served() {
        let Some(default) = key.usual.default() else {
            continue;
        };
        let read = without_file(options(&format!("{}: {default}", key.name)));
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
        let Kind::Block(block) = key.kind else {
            continue;
        };
        for inner in block.keys() {
            if let Some(default) = inner.usual.default() {
                let text = format!("{} {{ {}: {default} }}", key.name, inner.name);
                assert_eq!(without_file(options(&text)), file_defaults(), "{text}");
            }
        }
    }
}

/// Each key has a value of its own, so that one that sets another key's option is seen.
#[test]
fn each_key_of_the_diagnosis_sets_its_own_option() {
    let written = "interval: 11ms, appear_after: 12ms, clear_after: 13ms, incident_window: 14ms, \
                   growth_window: 15ms, exhausted_within: 16ms, queue_full_within: 17ms, \
                   config_check: 18ms, worker_delay: 19ms, route_rtt: 20ms, route_silence: 21ms, planned_absence: 22ms, \
                   route_losses: 22, storm_rate: 23, ceiling_warning: 24, ceiling_critical: 25, \
                   slow_percent: 26, payload_percent: 27, login_failures: 28, violations: 29, \
                   no_responders: 30, no_interest: 31, leak_subscriptions: 32, \
                   may_be_unheard: [\"a.>\", b], reply_subjects: \"c.*\", \
                   certificate_warning: 33ms, certificate_critical: 34ms, crl_warning: 35ms, \
                   crl_critical: 36ms, handshake_failures: 37, stale_peers: 38, restarts: 39, \
                   starts_file: forty, uneven_clients: 41";
    let expected = Diagnosis {
        interval: Duration::from_millis(11),
        appear_after: Duration::from_millis(12),
        clear_after: Duration::from_millis(13),
        incident_window: Duration::from_millis(14),
        growth_window: Duration::from_millis(15),
        exhausted_within: Duration::from_millis(16),
        queue_full_within: Duration::from_millis(17),
        config_check: Duration::from_millis(18),
        worker_delay: Duration::from_millis(19),
        route_rtt: Duration::from_millis(20),
        route_silence: Duration::from_millis(21),
        planned_absence: Duration::from_millis(22),
        route_losses: 22,
        storm_rate: 23,
        ceiling_warning: 24,
        ceiling_critical: 25,
        slow_percent: 26,
        payload_percent: 27,
        login_failures: 28,
        violations: 29,
        no_responders: 30,
        no_interest: 31,
        may_be_unheard: vec!["a.>".into(), "b".into()],
        leak_subscriptions: 32,
        reply_subjects: vec!["c.*".into()],
        certificate_warning: Duration::from_millis(33),
        certificate_critical: Duration::from_millis(34),
        crl_warning: Duration::from_millis(35),
        crl_critical: Duration::from_millis(36),
        handshake_failures: 37,
        stale_peers: 38,
        restarts: 39,
        starts_file: Some("forty".into()),
        uneven_clients: 41,
    };
    let read = options(&format!("diagnosis {{ {written} }}"));
    assert_eq!(read.diagnosis, expected);
}

#[test]
fn names_are_unique_and_match_in_any_case() {
    for Table {
        name: block, rows, ..
    } in tables()
    {
        let mut names: Vec<&str> = rows.iter().flat_map(|row| row.names.clone()).collect();
        for name in &names {
            assert_eq!(*name, name.to_ascii_lowercase());
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{block}");
    }
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
        ("allowed_sources: \"10.0.0.0/8\"", |o| {
            o.allowed_sources.len() == 1
        }),
        ("nodes: { expected: a }", |o| o.nodes.is_some()),
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
        ("log_max_age: \"720h\"", |o| {
            o.log_max_age == Duration::from_secs(720 * 3600)
        }),
        ("log_format: logfmt", |o| {
            o.log_format == Some(LogFormat::Logfmt)
        }),
        ("log_format: \"\"", |o| o.log_format.is_none()),
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
        ("federation: { name: a, upstream: \"b:1\" }", |o| {
            o.federation.as_ref().is_some_and(|it| it.name == "a")
        }),
        ("websocket: { port: 8443, no_tls: true }", |o| {
            o.websocket.as_ref().is_some_and(|it| it.port == Some(8443))
        }),
        ("ws: { listen: \"[::1]:-1\", no_tls: true }", |o| {
            o.websocket
                .as_ref()
                .is_some_and(|it| it.port == Some(0) && it.host == "::1")
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
        ("leafnodes: { port: 5, host: a }", |o| {
            let of = |it: &crate::config::options::leafnodes::LeafnodesOptions| {
                it.host == "a" && it.port == Some(5)
            };
            o.leafnodes.as_ref().is_some_and(of)
        }),
        ("leaf: { listen: \"a:5\" }", |o| o.leafnodes.is_some()),
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
    for key in served() {
        for name in key.names() {
            let tested = |text: &str| text.starts_with(&format!("{name}:"));
            assert!(
                cases.iter().any(|(text, _)| tested(text)),
                "{name} has no case"
            );
        }
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
    let network = |text| Network::parse(text).expect("a network");
    let read = users("{ user: a, allowed_sources: [\"::1\", \"10.0.0.0/8\"] }");
    let read = read.authorization.users;
    assert_eq!(read[0].sources, [network("::1"), network("10.0.0.0/8")]);
    assert!(warnings("authorization { users: [] }")[0].contains("clients need no login"));
    assert!(warnings("authorization { timeout: 1m, token: t }")[0].contains("is high"));
}

#[test]
fn file_and_digest_are_kept() {
    let options = options("port: 5");
    let file = options.config_file.expect("a file");
    assert_eq!(file.file_name(), PathBuf::from("test.conf").file_name());
    let digest = "sha256:31e700d8099c9ba65abbb6651b7440e19fb67478741216737098f7b78467e737";
    assert_eq!(options.config_digest, digest);
}
