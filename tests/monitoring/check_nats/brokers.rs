//! Real brokers that are healthy, full, restarted, stopped, or run another configuration.

use check_nats::modes::MODES;
use serde_json::Value;
use tempfile::TempDir;

use super::plugin::{brokers, check, check_ports, judge, run};
use test_support::{Broker, RawClient, broker::is_listening, free_address, wait_until};

/// Each mode is OK on a healthy broker, and has the same labels as on an unreachable one.
#[test]
fn all_modes_are_ok_on_a_healthy_broker() {
    for builder in brokers() {
        let is_foreign = builder.program_path() != test_support::tools::midge();
        let broker = builder.start();
        let state = state_folder();
        for mode in MODES {
            let mut arguments = vec!["--mode", mode.name, "--state-dir", path(&state)];
            match mode.name {
                "uptime" => arguments.extend(["-w", "0:"]),
                "varz" => arguments.extend(["--figure", "max_payload"]),
                "path" => arguments.extend(["--subject", "a", "-c", "0:"]),
                _ => (),
            }
            let well = check(&broker, &arguments);
            match mode.name {
                // Only midge has this endpoint.
                "explain" if is_foreign => {
                    well.expect(
                        3,
                        "NATS UNKNOWN: only midge reports findings: http://127.0.0.1:",
                    );
                }
                "latency" | "ceilings" | "losses" | "no-interest" | "violations" | "federation"
                | "nodes" | "path"
                    if is_foreign =>
                {
                    well.expect(3, "only midge");
                }
                "federation" => {
                    well.expect(3, "this broker is no federation broker");
                }
                "nodes" => {
                    well.expect(3, "this broker watches no nodes");
                }
                "cert" => {
                    well.expect(3, "has no TLS");
                }
                _ => assert_eq!(well.code, 0, "{well:?}"),
            }
            let gone = check_ports(free_address(), free_address(), &arguments);
            gone.expect(2, "connection refused");
            assert_eq!(well.labels(), gone.labels(), "{}", mode.name);
            let unknown = |label| gone.value(label) == "U";
            assert!(gone.labels().into_iter().all(unknown), "{gone:?}");
        }
    }
}

#[test]
fn health_reports_its_values() {
    for builder in brokers() {
        let broker = builder.start();
        let mut client = RawClient::connect_quietly(broker.client_addr());
        client.send("SUB a 1\r\nPUB a 5\r\nhello\r\n");
        client.sync();
        let result = check(&broker, &[]);
        result.expect(0, "1 connection, 0 slow consumers, rtt ");
        assert_eq!(result.value("connections"), "1");
        assert_eq!(result.value("slow_consumers"), "0c");
        let varz = broker.get_json("/varz");
        for label in ["in_msgs", "out_msgs", "in_bytes", "out_bytes"] {
            assert_eq!(result.value(label), format!("{}c", varz[label]), "{label}");
        }
        assert_eq!(result.value("in_bytes"), "5c");
        assert!(result.fields("rtt").ends_with("s;0.1;0.5"), "{result:?}");
        assert!(
            result
                .fields("connections")
                .ends_with(";52428.8;58982.4;0;65536")
        );
    }
}

/// One unreachable port is CRITICAL, and the data of the other one is still shown.
#[test]
fn health_reports_partial_answers() {
    let broker = Broker::nats_server().start();
    let result = check_ports(broker.client_addr(), free_address(), &[]);
    result
        .expect(2, "/varz: connection refused")
        .expect(2, "rtt ");
    assert_ne!(result.value("rtt"), "U");
    assert_eq!(result.value("mem"), "U");
    let result = check_ports(free_address(), broker.monitor_addr(), &[]);
    result.expect(2, "client port").expect(2, "0 connections");
    assert_eq!(result.value("rtt"), "U");
}

/// A hanging broker: the system still accepts connections for it, but no INFO arrives.
#[test]
fn a_stopped_broker_is_critical() {
    for builder in brokers() {
        let broker = builder.start();
        broker.signal(libc::SIGSTOP);
        check(&broker, &["--mode", "connect", "-t", "1"]).expect(2, "while waiting for INFO");
        let result = check(&broker, &["-t", "1"]);
        result
            .expect(2, "while waiting for INFO")
            .expect(2, "/varz: no answer within ");
        check(&broker, &["--mode", "connections", "-t", "1"]).expect(3, "/varz: no answer");
    }
}

#[test]
fn response_times_are_checked() {
    let broker = Broker::nats_server().start();
    for (mode, option, label) in [
        ("connect", "rtt", "rtt"),
        ("connect", "connect", "connect_time"),
        ("roundtrip", "req", "request_time"),
        ("health", "rtt", "rtt"),
        ("health", "connect", "connect_time"),
    ] {
        let warning = format!("--{option}-warning");
        let critical = format!("--{option}-critical");
        // No time is below zero, and nothing here takes an hour.
        let result = check(&broker, &["--mode", mode, &warning, "1h:"]);
        result.expect(1, "(warning 1h:)");
        assert!(result.fields(label).contains("s;3600:;"), "{result:?}");
        check(&broker, &["--mode", mode, &critical, "@~:1h"]).expect(2, "(critical @~:1h)");
        let result = check(
            &broker,
            &["--mode", mode, &warning, "1h", &critical, "3600000ms"],
        );
        assert_eq!(result.code, 0, "{result:?}");
        assert!(result.fields(label).ends_with("s;3600;3600"), "{result:?}");
    }
    check(&broker, &["--mode", "connect", "-w", "500ms:"]).expect(1, "(warning 500ms:)");
    check(&broker, &["--mode", "roundtrip", "-c", "500ms:"]).expect(2, "(critical 500ms:)");
}

/// At the default thresholds, 80 % and 90 % of max_connections, at others, and on a
/// broker so full that nobody else can connect.
#[test]
fn connections_are_checked_against_their_limit() {
    for builder in brokers() {
        let broker = builder.config("max_connections: 10\n").start();
        let connections =
            |arguments: &[&str]| check(&broker, &[&["--mode", "connections"], arguments].concat());
        let mut clients = Vec::new();
        let mut connect_until = |count: u64| {
            while (clients.len() as u64) < count {
                clients.push(broker.connect());
            }
            broker.wait_for_connections(count);
        };
        connect_until(8);
        connections(&[]).expect(0, "8 connections of 10");
        connections(&["-w", "10:"]).expect(1, "8 connections of 10 (warning 10:)");
        connections(&["-c", "@8"]).expect(2, "(critical @8)");
        connect_until(9);
        let result = connections(&[]);
        result.expect(1, "9 connections of 10 (warning 80%)");
        assert_eq!(result.fields("connections"), "9;8;9;0;10");
        connect_until(10);
        connections(&[]).expect(2, "10 connections of 10 (critical 90%)");
        connections(&["-w", "11", "-c", "12"]).expect(0, "10 connections");
        check(&broker, &["--mode", "connect"]).expect(2, "\"maximum connections exceeded\"");
        check(&broker, &[]).expect(2, "10 connections of 10");
    }
}

#[test]
fn resources_are_checked() {
    for builder in brokers() {
        let broker = builder.start();
        let resources =
            |arguments: &[&str]| check(&broker, &[&["--mode", "resources"], arguments].concat());
        resources(&["-w", "1KiB"]).expect(1, "memory (warning 1KiB)");
        resources(&["-c", "1KiB"]).expect(2, "memory (critical 1KiB)");
        resources(&["-w", "1TiB", "-c", "2TiB"]).expect(0, "memory");
        resources(&["--subs-critical", "1000000:"]).expect(2, "(critical 1000000:)");
        resources(&["--cpu-warning", "80%", "--cpu-critical", "100000%"]);
        // Memory has no limit here, so a percentage cannot be checked.
        resources(&["-w", "80%"]).expect(3, "no limit is known for 80%");
    }
}

/// The latency of a message that waited in the broker, caused by a subscriber that
/// pauses.
#[test]
fn latency_is_checked() {
    let broker = Broker::midge().start();
    let latency =
        |arguments: &[&str]| check(&broker, &[&["--mode", "latency"], arguments].concat());
    let idle = latency(&["-w", "1us"]);
    idle.expect(0, "nothing was delivered in the last minute")
        .expect(0, "the broker's threads are delayed by ");
    assert_eq!(idle.fields("latency_p99"), "0s;0.000001;0.5");
    let mut client = RawClient::connect_quietly(broker.client_addr());
    client.send("SUB a 1\r\nPUB a 5\r\nhello\r\n");
    client.sync();
    // The write is counted a moment after the client has the message.
    wait_until("the delivery is measured", || {
        latency(&[]).value("latency_count") == "1"
    });
    latency(&["-w", "10s", "-c", "20s"]).expect(0, "99 of 100 messages written within");
    latency(&["-w", "0", "-c", "20s"]).expect(1, "(warning 0)");
    latency(&["-c", "0"]).expect(2, "(critical 0)");
    latency(&["--latency-max-critical", "0"]).expect(2, "a message written after");
    latency(&["--latency-p50-warning", "0"]).expect(1, "half of the messages");
    latency(&["--sched-critical", "@0:10"]).expect(2, "are delayed by");
    latency(&["-v"]).tell("with \"a\"");
}

#[test]
fn limits_are_checked_by_usage_and_time_left() {
    let broker = Broker::midge()
        .config("max_connections: 10\ndiagnosis { interval: 50ms, growth_window: 1h }\n")
        .start();
    let ceilings =
        |arguments: &[&str]| check(&broker, &[&["--mode", "ceilings"], arguments].concat());
    let idle = ceilings(&[]);
    idle.expect(0, "no limit is close");
    assert_eq!(idle.fields("ceiling_time"), "31536000s;86400:;3600:");
    let _clients: Vec<RawClient> = (0..9)
        .map(|_| RawClient::connect_quietly(broker.client_addr()))
        .collect();
    // The broker samples its limits periodically.
    wait_until("it has taken a sample", || {
        ceilings(&[]).output.contains("(9 of 10)")
    });
    ceilings(&[]).expect(1, "\"connections\" 90% used (9 of 10)");
    ceilings(&["--ceiling-used-critical", "85"]).expect(2, "(critical 85)");
    ceilings(&["--ceiling-used-warning", "95"]).expect(0, "90% used");
}

/// The time until steadily growing subscriptions reach their limit is predicted.
#[test]
fn a_limit_being_approached_is_reported_with_the_time_left() {
    let broker = Broker::midge()
        .config("max_subscriptions: 100000\ndiagnosis {\n interval: 50ms\n growth_window: 2s\n}\n")
        .start();
    let mut client = RawClient::connect_quietly(broker.client_addr());
    let mut number = 0;
    wait_until("the exhaustion is predicted", || {
        for _ in 0..200 {
            number += 1;
            client.send(format!("SUB s.{number} {number}\r\n"));
        }
        client.sync();
        let result = check(&broker, &["--mode", "ceilings"]);
        result.code == 2 && result.output.contains("\"subscriptions\" full in ")
    });
}

#[test]
fn a_restart_shows_in_the_uptime() {
    let broker = Broker::nats_server().start();
    check(&broker, &["--mode", "uptime"]).expect(1, "(warning 10m:)");
    check(&broker, &["--mode", "uptime", "-c", "1h:"]).expect(2, "(critical 1h:)");
    check(&broker, &["--mode", "uptime", "-w", "0:"]).expect(0, "up ");
}

#[test]
fn any_varz_number_can_be_checked() {
    for builder in brokers() {
        let broker = builder.config("max_payload: 2048\n").start();
        let varz = |figure: &str, arguments: &[&str]| {
            check(
                &broker,
                &[&["--mode", "varz", "--figure", figure], arguments].concat(),
            )
        };
        let result = varz("max_payload", &["-w", "2048", "-c", "4KiB"]);
        result.expect(0, "max_payload 2 KiB");
        assert_eq!(result.fields("max_payload"), "2048B;2048;4096");
        varz("max_payload", &["-w", "2047"]).expect(1, "(warning 2047)");
        varz("max_payload", &["-c", "1KiB"]).expect(2, "(critical 1KiB)");
        varz("in_msgs", &[]).expect(0, "in_msgs 0");
        varz("nonsense", &[]).expect(3, "no value \"nonsense\"");
        varz("server_id", &[]).expect(3, "\"server_id\" of /varz is not a number");
        varz("cluster.nonsense", &[]).expect(3, "no value");
    }
    let broker = Broker::nats_server().start();
    let nested = [
        "--mode",
        "varz",
        "--figure",
        "slow_consumer_stats.routes",
        "-c",
        "1:",
    ];
    check(&broker, &nested).expect(2, "slow_consumer_stats.routes 0 (critical 1:)");
}

/// Who would get a message is asked without sending one.
#[test]
fn the_receivers_of_a_subject_are_checked() {
    let broker = Broker::midge()
        .config(
            "accounts { A { users: [ { user: shop, password: p, permissions: { publish: \
             \"orders.>\" } }, { user: store, password: p } ] } }\n",
        )
        .start();
    let path = |arguments: &[&str]| check(&broker, &[&["--mode", "path"], arguments].concat());
    let orders = ["--subject", "orders.new", "--user", "shop"];
    path(&orders).expect(2, "reaches 0 receivers (critical 1:)");
    let mut store = RawClient::connect(broker.client_addr());
    store
        .send("CONNECT {\"verbose\":false,\"user\":\"store\",\"pass\":\"p\",\"name\":\"app\"}\r\n");
    store.send("SUB orders.* 1\r\nSUB orders.> q 2\r\n");
    store.sync();
    let result = path(&orders);
    result.expect(
        0,
        "a message to \"orders.new\" from user \"shop\" reaches 2 receivers",
    );
    assert_eq!(result.value("receivers"), "2");
    path(&[&orders[..], &["--expect", "3"]].concat()).expect(2, "3 receivers expected");
    path(&[&orders[..], &["-v"]].concat()).tell("\"app\" gets it");
    path(&["--subject", "bills", "--user", "shop"]).expect(2, "no rule of publish.allow matches");
    path(&["--subject", "bills", "--account", "A", "-c", "0:"]).expect(0, "from account \"A\"");
    path(&["--subject", "a", "--user", "nobody"]).expect(3, "has no user");
    path(&[]).expect(3, "--mode path needs --subject SUBJECT");
    check(&broker, &["--subject", "a"]).expect(3, "--subject belongs to --mode path");
}

/// A broker in lame duck mode refuses new clients but still answers on its monitoring
/// port.
#[test]
fn lame_duck_mode_differs_from_an_unreachable_broker() {
    for builder in brokers() {
        let broker = builder.start();
        // Without a client the broker would stop immediately.
        let _client = RawClient::connect_quietly(broker.client_addr());
        check(&broker, &["--mode", "lameduck"]).expect(0, "not in lame duck mode");
        broker.signal(libc::SIGUSR2);
        wait_until("the client port closes", || {
            !is_listening(broker.client_addr())
        });
        let result = check(&broker, &["--mode", "lameduck"]);
        result.expect(1, "in lame duck mode, accepts no new clients");
        assert_eq!(result.fields("lame_duck"), "1;0");
        check(&broker, &["--mode", "lameduck", "-c", "0"]).expect(2, "in lame duck mode");
        check(&broker, &[]).expect(2, "/healthz is \"");
    }
    check_ports(free_address(), free_address(), &["--mode", "lameduck"]).expect(2, "refused");
}

#[test]
fn a_forbidden_inbox_is_unknown() {
    let text = "no_auth_user: a\nauthorization { users: [\n\
                { user: a, password: b, permissions: { publish: { deny: \">\" } } } ] }\n";
    let broker = Broker::nats_server().config(text).start();
    check(&broker, &["--mode", "roundtrip"]).expect(3, "Permissions Violation for Publish");
    check(&broker, &["--mode", "connect"]).expect(0, "rtt");
}

#[test]
fn the_running_configuration_is_compared() {
    let config =
        |digest: &str, broker: &Broker| check(broker, &["--mode", "config", "--digest", digest]);
    let broker = Broker::nats_server().config("max_payload: 2048\n").start();
    let digest = broker.get_json("/varz")["config_digest"].clone();
    let digest = digest.as_str().expect("a digest");
    config(digest, &broker).expect(0, "digest as expected");
    config(digest.trim_start_matches("sha256:"), &broker).expect(0, "digest as expected");
    config("sha256:00", &broker).expect(1, "another configuration than expected runs");
    check(&broker, &["--mode", "config", "-c", "1h:"]).expect(2, "(critical 1h:)");
    config(digest, &Broker::nats_server().start()).expect(3, "reports no digest");
    config(digest, &Broker::nats_server_29().start()).expect(3, "reports no digest");
}

#[test]
fn traffic_is_a_rate_between_runs() {
    for builder in brokers() {
        let broker = builder.start();
        let state = state_folder();
        let traffic = |arguments: &[&str]| {
            // Runs with other thresholds would have a state of their own.
            let shared = ["--state-dir", path(&state), "--state", "x"];
            let common = [&["--mode", "traffic"], &shared[..]].concat();
            check(&broker, &[&common[..], arguments].concat())
        };
        let result = traffic(&["-w", "0"]);
        result.expect(0, "no baseline yet (first run)");
        assert_eq!(result.value("in_msgs_rate"), "U");
        publish(&broker, 1000);
        let result = traffic(&["-w", "0"]);
        result.expect(1, "msgs/s in (warning 0)");
        let rate: f64 = result.value("in_msgs_rate").parse().expect("a rate");
        assert!(rate > 0.0);
        assert_eq!(result.value("in_msgs"), "1000c");
        assert_eq!(result.value("in_bytes"), "5000c");
        // Nothing was sent since: below the minimum.
        let result = traffic(&["-c", "1:", "--out-bytes-warning", "~:5"]);
        result.expect(2, "0 msgs/s in (critical 1:)");
        assert_eq!(result.value("in_msgs_rate"), "0");
        traffic(&[]).expect(0, "0 msgs/s in, 0 msgs/s out, 0 B/s in, 0 B/s out");
    }
}

#[test]
fn a_two_sample_rate_needs_no_state_file() {
    let broker = Broker::nats_server().start();
    let sample = ["--sample", "50ms", "--state-dir", "/proc/nonsense"];
    let result = check(&broker, &[&["--mode", "traffic"], &sample[..]].concat());
    result.expect(0, "0 msgs/s in");
    let result = check(&broker, &[&["--mode", "slow"], &sample[..]].concat());
    result.expect(0, "0 new slow consumers in");
}

/// After a restart the new totals are what happened since: nothing is lost, and a drop of the
/// totals is no event.
#[test]
fn a_restart_between_runs_loses_no_event() {
    for builders in [
        [Broker::nats_server(), Broker::nats_server()],
        [Broker::nats_server_29(), Broker::nats_server_29()],
    ] {
        let (client, monitor) = (free_address(), free_address());
        let state = state_folder();
        let arguments = ["--mode", "traffic", "-w", "0", "--state-dir", path(&state)];
        let [first, second] = builders.map(|builder| {
            let port = monitor.port().to_string();
            let builder = builder.without_monitoring().flag("-m").flag(port);
            builder.port(client.port())
        });
        let broker = first.start();
        check_ports(broker.client_addr(), monitor, &arguments).expect(0, "first run");
        drop(broker);
        let broker = second.start();
        publish(&broker, 10);
        let result = check_ports(broker.client_addr(), monitor, &arguments);
        result
            .expect(1, "(warning 0)")
            .expect(1, "since its restart");
        assert_ne!(result.value("in_msgs_rate"), "U");
        let result = check_ports(broker.client_addr(), monitor, &arguments);
        result.expect(0, "0 msgs/s in");
    }
}

/// An unreadable file is reported and handled; an unwritable one would disable the check
/// for good.
#[test]
fn a_bad_state_file_is_reported() {
    let broker = Broker::nats_server().start();
    let state = state_folder();
    let slow = || check(&broker, &["--mode", "slow", "--state-dir", path(&state)]);
    slow().expect(0, "first run");
    slow().expect(0, "0 new slow consumers in");
    let file = std::fs::read_dir(state.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .find(|file| file.extension().is_some_and(|ending| ending == "json"))
        .expect("a state file");
    std::fs::write(&file, "garbage").unwrap();
    slow().expect(0, "not used");
    slow().expect(0, "0 new slow consumers in");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    slow().expect(0, "it is a symbolic link");
    slow().expect(0, "0 new slow consumers in");
    let blind = ["--mode", "slow", "--state-dir", "/proc/nonsense"];
    check(&broker, &blind).expect(3, "--state-dir, or --sample");
}

#[test]
fn all_output_formats_have_the_same_content() {
    let broker = Broker::nats_server().start();
    for (arguments, code, word) in [
        (["--mode", "connect", "-c", "1h"], 0, "OK"),
        (["--mode", "connect", "-w", "1h:"], 1, "WARNING"),
        (["--mode", "connect", "-c", "1h:"], 2, "CRITICAL"),
        (["--mode", "connect", "-w", "80%"], 3, "UNKNOWN"),
    ] {
        let formatted = |format: &str| {
            let port = broker.client_addr().port().to_string();
            let (found, output) =
                run(&[&["-p", &port, "--format", format], &arguments[..]].concat());
            assert_eq!(found, code, "{output}");
            output
        };
        let json: Value = serde_json::from_str(&formatted("json")).expect("JSON");
        assert_eq!(json["status"], word);
        assert_eq!(json["check_suite"], "connect");
        assert_eq!(json["perf_data"][0]["name"], "rtt");
        assert!(json["perf_data"][0]["value"].is_f64());
        assert!(json["ok"].is_array() && json["critical"].is_array());
        let metrics = formatted("openmetrics");
        // The name of `nats server check`.
        assert!(formatted("prometheus").ends_with("\n# EOF\n"));
        let status = format!("_connect_status_code{{item=\"NATS\",status=\"{word}\"}} {code}\n");
        assert!(metrics.contains(&status), "{metrics}");
        assert!(metrics.contains("\nnats_server_check_connect_rtt{item=\"NATS\"} 0."));
        assert!(formatted("text").starts_with(&format!("NATS: {word}\n")));
        assert!(formatted("nagios").starts_with(&format!("NATS {word}: ")));
    }
}

#[test]
fn verbosity_adds_lines() {
    let broker = Broker::nats_server().start();
    let lines = |arguments: &[&str]| check(&broker, arguments).output;
    assert_eq!(lines(&["-v"]).lines().count(), 1);
    assert!(lines(&["-vv"]).contains(&format!("\nasked {}/varz\n", broker.monitor_url())));
    assert!(lines(&["-vvv"]).contains("\nslow_consumers = 0 c\n"));
}

#[test]
fn the_service_name_is_the_first_word() {
    let broker = Broker::nats_server().start();
    let port = broker.client_addr().port().to_string();
    let (code, output) = run(&["--mode", "connect", "-p", &port, "--service-name", "MY|BUS"]);
    assert_eq!(code, 0);
    assert!(output.starts_with("MY?BUS OK: connected in "), "{output}");
}

/// A name, an IPv6 address, and a monitoring URL with a base path.
#[test]
fn targets_are_accepted_in_many_notations() {
    let broker = Broker::nats_server()
        .config("http_base_path: \"/base\"\n")
        .start();
    let port = broker.client_addr().port().to_string();
    let url = format!("{}/base/", broker.monitor_url());
    judge(&["-H", "localhost", "-p", &port, "-u", &url]).expect(0, "0 slow consumers, rtt");
    judge(&["-H", "::1", "-p", &port, "--mode", "connect"]).expect(2, "client port [::1]:");
    let unresolved = judge(&["-H", "nonsense.invalid", "--mode", "connect"]);
    unresolved.expect(3, "host \"nonsense.invalid\" not resolved");
    judge(&["-H", "nonsense.invalid", "--mode", "connections"]).expect(3, "nonsense.invalid");
}

fn publish(broker: &Broker, count: usize) {
    let mut client = RawClient::connect_quietly(broker.client_addr());
    client.send("PUB a 5\r\nhello\r\n".repeat(count));
    client.sync();
}

fn state_folder() -> TempDir {
    tempfile::tempdir().expect("make a temporary folder")
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().expect("a readable path")
}
