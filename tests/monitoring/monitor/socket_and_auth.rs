//! The Unix socket, logins on the monitoring port, and which changes are allowed where.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::Value;

use test_support::{
    Broker, BrokerBuilder, HttpResponse, RawClient, endpoints, http, wait_for, wait_until,
};

/// A broker with a Unix socket in its directory and more keys in its block.
fn with_socket(keys: &str) -> BrokerBuilder {
    Broker::midge().config(format!("monitor {{\n  unix: m.sock\n  {keys}\n}}\n"))
}

fn socket(broker: &Broker) -> PathBuf {
    broker.folder().join("m.sock")
}

fn get(broker: &Broker, path: &str) -> HttpResponse {
    http::request_unix(&socket(broker), "GET", path)
}

fn post(broker: &Broker, path: &str) -> HttpResponse {
    http::request_unix(&socket(broker), "POST", path)
}

fn client(broker: &Broker, name: &str, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"{name}\",\"user\":\"{user}\",\
         \"pass\":\"s3cret\"}}\r\n"
    ));
    client.sync();
    client
}

fn names(answer: &Value) -> Vec<&str> {
    let connections = answer["connections"].as_array().expect("a list");
    connections
        .iter()
        .filter_map(|entry| entry["name"].as_str())
        .collect()
}

/// The socket serves what the port serves, with the configured permissions; it is removed
/// when the broker stops, and one left by a crash is replaced.
#[test]
fn the_socket_serves_what_the_port_serves() {
    let mut broker = with_socket("unix_mode: \"0600\"").start();
    let mode = fs::metadata(socket(&broker))
        .expect("the socket is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for path in broker.endpoints() {
        let (here, there) = (get(&broker, &path), broker.get(&path));
        assert_eq!(here.status, 200, "{path}");
        assert_eq!(
            here.header("content-type"),
            there.header("content-type"),
            "{path}"
        );
    }
    assert_eq!(
        get(&broker, "/varz").json()["server_id"],
        broker.get_json("/varz")["server_id"]
    );
    assert_eq!(get(&broker, "/connz?limit=x").status, 400);
    assert_eq!(get(&broker, "/nope").status, 404);
    assert!(broker.stop().success());
    assert!(!socket(&broker).exists(), "the socket is still there");
}

/// The port may be disabled.
#[test]
fn the_socket_serves_alone() {
    let broker = Broker::midge()
        .without_monitoring()
        .config("http_port: 0\nmonitor { unix: m.sock }")
        .start();
    assert_eq!(get(&broker, "/varz").json()["http_port"], 0);
}

/// A socket that is in use, or a regular file with its name, prevents the start.
#[test]
fn a_socket_in_use_is_not_replaced() {
    let first = with_socket("").start();
    let path = socket(&first);
    let file = first.folder().join("file");
    fs::write(&file, "mine").expect("write a file");
    for (taken, why) in [(&path, "another process"), (&file, "not a socket")] {
        let output = std::process::Command::new(test_support::tools::midge())
            .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-c"])
            .arg({
                let config = first.folder().join("second.conf");
                fs::write(&config, format!("monitor {{ unix: {taken:?} }}"))
                    .expect("write the configuration");
                config
            })
            .output()
            .expect("run the second broker");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{log}");
        assert!(log.contains(why) && log.contains("monitor socket"), "{log}");
    }
    assert_eq!(get(&first, "/healthz").status, 200);
    assert_eq!(fs::read_to_string(&file).expect("read the file"), "mine");
}

/// Without the directory of the socket the start fails and says what to do; testing the
/// configuration only warns, since the directory may be created right before the start.
#[test]
fn a_missing_socket_directory_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("broker.conf");
    let missing = folder.path().join("run");
    fs::write(
        &config,
        format!("monitor {{ unix: {:?} }}", missing.join("m.sock")),
    )
    .expect("write the configuration");
    let run = |test: &[&str]| {
        let output = std::process::Command::new(test_support::tools::midge())
            .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1"])
            .args(test)
            .arg("-c")
            .arg(&config)
            .output()
            .expect("run midge");
        let result = String::from_utf8_lossy(&output.stderr).into_owned();
        let advice = format!("mkdir {}", missing.display());
        assert!(result.contains(&advice), "{result}");
        output.status.success()
    };
    assert!(run(&["-t"]));
    assert!(!run(&[]));
}

/// With a login in the configuration every path of the port requires it; the socket does
/// not. A reload changes it.
#[test]
fn the_port_requires_a_login() {
    let broker = with_socket("token: t0ken\n user: ann\n password: \"pa:ss\"").start();
    let ask = |path: &str, authorization: &str| {
        let header = match authorization {
            "" => String::new(),
            value => format!("Authorization: {value}\r\n"),
        };
        http::send(
            broker.monitor_addr(),
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n"),
        )
    };
    let mut paths = endpoints::of(&get(&broker, "/").body);
    paths.extend(endpoints::ACTIONS.map(String::from));
    paths.push("/nope".into());
    for path in &paths {
        for wrong in [
            "",
            "Bearer x",
            "Bearer",
            "Basic YW5uOg==",
            "Basic !",
            "t0ken",
        ] {
            let refused = ask(path, wrong);
            assert_eq!(refused.status, 401, "{path} with {wrong:?}");
            assert!(
                refused
                    .header("www-authenticate")
                    .is_some_and(|asked| asked.starts_with("Basic ")),
                "{refused:?}"
            );
            assert!(!refused.body.contains("t0ken"));
        }
    }
    for right in [
        "Bearer t0ken",
        "basic YW5uOnBhOnNz",
        // Any user with the token as password: x:t0ken.
        "Basic eDp0MGtlbg==",
    ] {
        assert_eq!(ask("/varz", right).status, 200, "{right}");
    }
    assert_eq!(get(&broker, "/varz").status, 200);
    let events = get(&broker, "/eventsz").body;
    assert!(events.contains("auth.failed"), "{events}");

    let config = broker.folder().join("broker.conf");
    fs::write(&config, "monitor { unix: m.sock, token: other }").expect("write the configuration");
    let answer = post(&broker, "/reload").json();
    assert_eq!(answer["applied"][0]["name"], "monitor token", "{answer}");
    assert_eq!(ask("/varz", "Bearer t0ken").status, 401);
    assert_eq!(ask("/varz", "Bearer other").status, 200);
}

/// A port that is reachable from other hosts and requires no login causes a warning.
#[test]
fn an_open_port_without_a_login_logs_a_warning() {
    let warning = "open to other machines without a login";
    for (keys, expected) in [("", 1), ("monitor { token: t }", 0)] {
        let broker = Broker::midge()
            .without_monitoring()
            .config(format!("http: \"0.0.0.0:-1\"\n{keys}"))
            .start();
        // The last line of a start.
        broker.log().wait_for("Server is ready");
        broker.log().wait_for_count(warning, expected);
    }
    let loopback = Broker::midge().start();
    loopback.log().assert_lacks(warning);
}

/// Nothing can be changed over the port, nor by a GET.
#[test]
fn changes_require_post_on_the_socket() {
    let broker = with_socket("").start();
    let _client = client(&broker, "stays", "");
    for path in ["/kick?name=stays", "/trace?name=stays", "/reload"] {
        for method in ["POST", "GET"] {
            let refused = http::request(broker.monitor_addr(), method, path, "localhost");
            assert_eq!(refused.status, 403, "{method} {path}");
            assert!(refused.body.contains("\"unix\""), "{}", refused.body);
        }
        let refused = get(&broker, path);
        assert_eq!(refused.status, 405, "{path}");
        assert_eq!(refused.header("allow"), Some("POST"));
    }
    let refused = post(&broker, "/varz");
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    assert_eq!(names(&broker.get_json("/connz")), ["stays"]);
}

/// A kicked client is closed with its own reason, and nobody else is affected.
#[test]
fn a_client_is_kicked() {
    let broker = with_socket("").start();
    let mut bad = client(&broker, "bad", "bob");
    let mut other = client(&broker, "other", "bob");
    let mut good = client(&broker, "good", "ann");
    for (query, status) in [
        ("", 400),
        ("?cid=x", 400),
        ("?cid=18446744073709551615", 404),
        ("?name=nobody", 404),
        ("?name=bad&user=ann", 404),
    ] {
        assert_eq!(
            post(&broker, &format!("/kick{query}")).status,
            status,
            "{query}"
        );
    }
    let kicked = post(&broker, "/kick?name=bad").json();
    assert_eq!(kicked["kicked"][0]["name"], "bad");
    assert_eq!(kicked["kicked"].as_array().map(Vec::len), Some(1));
    bad.read_to_end();
    let closed = wait_for("the closed client is listed", || {
        let answer = broker.get_json("/connz?state=closed");
        let found = answer["connections"].as_array().expect("a list").iter();
        found.clone().find(|entry| entry["name"] == "bad").cloned()
    });
    assert_eq!(closed["reason"], "Kicked");
    wait_until("an event reports it", || {
        broker.get("/eventsz").body.contains("Kicked after")
    });
    other.sync();
    good.sync();
    post(&broker, "/kick?user=bob");
    other.read_to_end();
    good.sync();
    let cid = broker.get_json("/connz")["connections"][0]["cid"].clone();
    assert_eq!(post(&broker, &format!("/kick?cid={cid}")).status, 200);
    good.read_to_end();
}

/// One client's messages are logged for a while, without secrets, and the log is not
/// flooded.
#[test]
fn a_client_is_traced() {
    let broker = with_socket("").start();
    let mut watched = client(&broker, "watched", "");
    let mut other = client(&broker, "other", "");
    for wrong in ["seconds=601", "lines=100001", "seconds=-1", "lines=NaN"] {
        assert_eq!(
            post(&broker, &format!("/trace?name=watched&{wrong}")).status,
            400
        );
    }
    let traced = post(&broker, "/trace?name=watched&seconds=60&lines=4").json();
    assert_eq!(
        (&traced["seconds"], &traced["lines"]),
        (&60.into(), &4.into())
    );
    other.send("SUB unseen 1\r\n");
    other.sync();
    watched.send("CONNECT {\"verbose\":false,\"pass\":\"s3cret\"}\r\nPUB seen 5\r\nhello\r\n");
    watched.sync();
    for _ in 0..50 {
        watched.send("PUB many 1\r\nx\r\n");
        watched.sync();
    }
    broker.log().wait_for_count("[TRC]", 4);
    let log = broker.log().so_far();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("[TRC]")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, shown) in lines
        .iter()
        .zip(["[CONNECT {…}]", "[PUB seen 5]", "hello", "[PING]"])
    {
        assert!(line.contains(shown), "{line}");
    }
    assert!(lines[3].contains("the last line"));
    assert!(log.lacks("unseen") && log.lacks("s3cret"));
}

/// A dry run of a reload reports what would change.
#[test]
fn a_reload_can_be_a_dry_run() {
    let broker = with_socket("").start();
    let config = broker.folder().join("broker.conf");
    let write = |text: &str| fs::write(&config, text).expect("write the configuration");
    write("monitor { unix: m.sock }\nmax_payload: 77\nserver_name: other");
    let plan = post(&broker, "/reload?dry_run=1").json();
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["applied"][0]["name"], "max_payload");
    assert_eq!(plan["applied"][0]["after"], "77");
    assert_eq!(plan["needs_restart"][0]["name"], "server_name");
    assert_eq!(broker.get_json("/varz")["max_payload"], 1_048_576);
    let done = post(&broker, "/reload").json();
    assert_eq!(done["applied"], plan["applied"]);
    assert_eq!(broker.get_json("/varz")["max_payload"], 77);
    write("max_payload: nonsense");
    let refused = post(&broker, "/reload?dry_run=true");
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("max_payload"), "{}", refused.body);
    assert_eq!(post(&broker, "/reload?dry_run=x").status, 400);
}
