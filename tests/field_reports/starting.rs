//! Configurations that prevented a start or had an unexpected effect.

use std::{fs, path::Path};

use crate::{accepts_login, both, findings, run, user};
use test_support::{Broker, BrokerBuilder, tools, wait_until};

/// The exit code of a configuration test, and its standard error.
fn judged(builder: &BrokerBuilder, text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("b.conf");
    fs::write(&file, text).expect("write a file");
    let file = file.display().to_string();
    let ended = run(&builder.program_path(), &["-t", "-c", &file]);
    (ended.code, ended.errors)
}

/// User and password of the cluster began with a digit and were not quoted, and the
/// broker did not start. They are strings, and a member with them must be accepted.
#[test]
fn nats_server_716_names_and_passwords_may_begin_with_a_digit() {
    for builder in both() {
        let cluster = "cluster {\n  name: c\n  listen: \"127.0.0.1:-1\"\n  authorization {\n    \
                       user: 7route\n    password: 5Kq_wx2\n    timeout: 1\n  }\n}\n";
        let users = "authorization { users: [ { user: 1st, password: 2Go! } ] }\n";
        let broker = builder.config(format!("{cluster}{users}")).start();
        assert!(accepts_login(
            &broker,
            ",\"user\":\"1st\",\"pass\":\"2Go!\""
        ));
        assert!(!accepts_login(
            &broker,
            ",\"user\":\"1st\",\"pass\":\"2Go\""
        ));
    }
}

/// A password that begins like a number with an exponent was parsed as one. It must be
/// the text as written.
#[test]
fn nats_server_6891_a_password_is_no_number_with_an_exponent() {
    for password in ["6e31abc", "12e4.x", "3E9_", "8e77e8"] {
        for builder in both() {
            let config =
                format!("authorization {{ users: [ {{ user: u, password: {password} }} ] }}");
            let broker = builder.config(config).start();
            user(&broker, "u", password);
        }
    }
}

/// A secret from the environment that begins with a digit was not found, or failed the
/// start. The token must be the variable's text.
#[test]
fn nats_server_885_a_secret_of_the_environment_may_begin_with_a_digit() {
    for secret in ["9z", "71feda20cb", "5e3x", "2h"] {
        for builder in both() {
            let broker = builder
                .env("REPORTED_SECRET", secret)
                .config("authorization { token: $REPORTED_SECRET }")
                .start();
            assert!(accepts_login(
                &broker,
                &format!(",\"auth_token\":{secret:?}")
            ));
            assert!(!accepts_login(
                &broker,
                ",\"auth_token\":\"$REPORTED_SECRET\""
            ));
        }
    }
}

/// A generated base64 key that begins with digits failed the start when it came from the
/// environment, though in quotes it is a string.
#[test]
fn argo_events_3231_a_quoted_variable_is_the_text_of_the_environment() {
    for builder in both() {
        let broker = builder
            .env("GENERATED", "MzYxS2tRZw==")
            .env("NUMBER", "4711")
            .config("server_name: \"$GENERATED\"\nauthorization { token: $GENERATED }\n")
            .start();
        assert!(accepts_login(&broker, ",\"auth_token\":\"MzYxS2tRZw==\""));
    }
}

/// The parser never returned for an `include` whose quote is not closed. It must be an
/// error with the line.
#[test]
fn nats_server_1798_an_include_without_an_end_is_an_error() {
    for text in [
        "include \"a.conf",
        "include 'a.conf\nport: 1\n",
        "include \n",
        "include",
    ] {
        for builder in both() {
            let (code, result) = judged(&builder, text);
            assert_eq!(code, Some(1), "{text:?}: {result}");
            assert!(!result.is_empty(), "{text:?}");
        }
    }
}

/// Users in a separate file, included within `authorization`, were not found: the path is
/// relative to the including file, and variables of the included file apply there.
#[test]
fn nats_streaming_559_users_are_included_from_beside_the_file() {
    let folder = tempfile::tempdir().expect("make a folder");
    fs::create_dir(folder.path().join("parts")).expect("make a folder");
    let users = "READER = { subscribe: \"news.>\", publish: { deny: \">\" } }\nSECRET = \"s1\"\n\
                 users = [ { user: r, password: $SECRET, permissions: $READER } ]\n";
    fs::write(folder.path().join("parts/users.conf"), users).expect("write");
    let main = folder.path().join("main.conf");
    fs::write(
        &main,
        "authorization {\n  include './parts/users.conf'\n}\n",
    )
    .expect("write");
    for builder in both() {
        let broker = builder.flag("-c").flag(main.display().to_string()).start();
        let mut reader = user(&broker, "r", "s1");
        reader.send("SUB news.> 1\r\nPUB news.a 0\r\n\r\n");
        let reported = reader.sync();
        assert!(
            format!("{reported:?}").contains("Permissions Violation for Publish to \"news.a\""),
            "{reported:?}"
        );
    }
}

/// The write deadline could only be given in whole seconds. Now it has a unit, also a
/// small one, and an old file with a bare number still works.
#[test]
fn nats_server_487_the_write_deadline_has_a_unit() {
    for (written, meant) in [("\"25ms\"", 25_000_000_u64), ("3", 3_000_000_000)] {
        for builder in both() {
            let broker = builder.config(format!("write_deadline: {written}")).start();
            assert_eq!(broker.get_json("/varz")["write_deadline"], meant);
        }
    }
}

/// A user and a password in the block `cluster` were believed to keep clients out;
/// everybody was accepted, without any warning. midge must warn.
#[test]
fn nats_server_1691_a_route_password_alone_does_not_protect_clients_and_is_warned_about() {
    let cluster = "cluster { name: c, listen: \"127.0.0.1:-1\", authorization { user: mq, \
                   password: geheim } }\n";
    // It listens on all addresses, as in the report.
    let open = Broker::midge().config(cluster).flag("-a").flag("0.0.0.0");
    let broker = open.start();
    assert!(accepts_login(
        &broker,
        ",\"user\":\"any\",\"pass\":\"wrong\""
    ));
    wait_until("the finding", || {
        let finding = findings(&broker, "unsafe-clients");
        finding
            .iter()
            .any(|it| it.to_string().contains("need neither login"))
    });
    for builder in both() {
        let locked = format!("authorization {{ user: mq, password: geheim }}\n{cluster}");
        let broker = builder.config(locked).start();
        assert!(!accepts_login(
            &broker,
            ",\"user\":\"mq\",\"pass\":\"wrong\""
        ));
        assert!(accepts_login(
            &broker,
            ",\"user\":\"mq\",\"pass\":\"geheim\""
        ));
    }
}

/// A mistyped key was ignored, and the cluster was open. The test of the file must name
/// file, line, column and key.
#[test]
fn nats_server_774_a_mistyped_key_is_reported_with_its_position() {
    for builder in both() {
        let text =
            "port: 5222\ncluster {\n  port: 6222\n  autorization { user: a, password: b }\n}\n";
        let (code, result) = judged(&builder, text);
        assert_eq!(code, Some(1));
        assert!(result.contains("b.conf:4:3: "), "{result}");
        assert!(result.contains("\"autorization\""), "{result}");
    }
}

/// A space in the name of a cluster or a broker corrupted the protocol between brokers.
/// Such a name must be a configuration error.
#[test]
fn nats_server_5676_cluster_and_server_names_have_no_spaces() {
    for text in [
        "server_name: \"my broker\"",
        "cluster { name: \"my cluster\", port: 6222 }",
    ] {
        for builder in both() {
            let (code, result) = judged(&builder, text);
            assert_eq!(code, Some(1), "{text}: {result}");
            assert!(result.contains("name"), "{text}: {result}");
        }
    }
}

/// The file of the Puppet module uses old names of limits. They must be applied, not
/// ignored.
#[test]
fn puppet_nats_8_and_9_limits_of_the_module_are_applied() {
    let config = "max_payload: 3000000\nmax_pending_size: 12000000\nmax_connections: 40000\n\
                  debug: false\ntrace: false\nmonitor_port: -1\n";
    let broker = Broker::midge().config(config).start();
    let varz = broker.get_json("/varz");
    assert_eq!(varz["max_payload"], 3_000_000);
    assert_eq!(varz["max_pending"], 12_000_000);
    assert_eq!(varz["max_connections"], 40_000);
    assert_eq!(broker.connect().info()["max_payload"], 3_000_000);
}

/// Puppet's parameters for slow networks are passed on: write deadline, TLS timeout and
/// login timeout, each separately.
#[test]
fn puppet_choria_379_each_time_limit_is_set_by_itself() {
    let pki = test_support::pki::Pki::new(&["broker"]);
    let config = format!(
        "write_deadline: \"45s\"\nauthorization {{ timeout: 21 }}\n\
         tls {{ cert_file: {:?}, key_file: {:?}, timeout: 17 }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key")
    );
    for builder in both() {
        let varz = builder.config(config.clone()).start().get_json("/varz");
        assert_eq!(varz["write_deadline"], 45_000_000_000_u64);
        assert_eq!(varz["auth_timeout"], 21.0);
        assert_eq!(varz["tls_timeout"], 17.0);
    }
}

/// A second broker was started on a port in use, and its launcher continued as if it ran,
/// talking to the first. The process must exit with 1 and name the port.
#[test]
fn bacalhau_3649_a_second_broker_on_the_route_port_fails() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    for program in [tools::midge(), tools::nats_server()] {
        let arguments = [
            "-a",
            "127.0.0.1",
            "-p",
            "-1",
            "--cluster_name",
            "c",
            "--cluster",
        ];
        let url = format!("nats://{address}");
        let ended = run(Path::new(&program), &[&arguments[..], &[&url]].concat());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.errors.contains(&address), "{ended:?}");
    }
}
