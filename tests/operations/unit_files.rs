//! Options used by real unit files and configurations, end to end: logs to a log server,
//! descriptions, keys that change what clients see, and starts that must not fail.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream, UdpSocket},
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    process::Command,
};

use serde_json::{Value, json};
use test_support::{Broker, RawClient, free_address, http, tools, wait_for, wait_until};

/// The next message of a log server that contains `text`.
fn logged(receive: impl Fn(&mut [u8]) -> std::io::Result<usize>, text: &str) -> String {
    let mut buffer = [0; 9000];
    wait_for(text, || {
        let len = receive(&mut buffer).ok()?;
        let message = String::from_utf8_lossy(&buffer[..len]).into_owned();
        message.contains(text).then_some(message)
    })
}

#[test]
fn the_log_goes_to_a_server_over_udp() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    server
        .set_read_timeout(Some(test_support::PATIENCE))
        .expect("a timeout");
    let address = server.local_addr().expect("an address");
    for program in [tools::nats_server(), tools::midge()] {
        let broker = Broker::program(program)
            .flag("-r")
            .flag(format!("udp://{address}"))
            .start();
        let message = logged(|buffer| server.recv(buffer), "Server is ready");
        // Facility daemon, severity notice, with the program's name.
        assert!(message.starts_with('<'), "{message}");
        let origin = format!("[{}]: ", broker.pid());
        assert!(message.contains(&origin), "{message}");
        broker.log().assert_lacks("Server is ready");
    }
}

#[test]
fn the_log_goes_to_a_server_over_tcp_and_to_a_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let _broker = Broker::midge()
        .config(format!("remote_syslog: \"tcp://{address}\""))
        .start();
    let (stream, _) = listener.accept().expect("it connects");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    let ready = lines
        .map_while(Result::ok)
        .find(|line| line.ends_with("[INF] Server is ready"));
    assert!(ready.is_some_and(|line| line.starts_with("<29>")));

    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("log");
    let server = UnixDatagram::bind(&path).expect("a socket");
    let mut broker = Broker::midge()
        .config(format!("remote_syslog: \"unix://{}\"", path.display()))
        .start();
    logged(|buffer| server.recv(buffer), "[INF] Server is ready");
    // A log server that stops reading blocks nothing.
    for _ in 0..2000 {
        drop(TcpStream::connect(broker.client_addr()).expect("it listens"));
    }
    assert!(broker.connect().sync().is_empty());
    assert!(broker.stop().success());
}

/// The next line of a log server that ends with `text`.
fn line_of(listener: &std::net::TcpListener, text: &str) {
    let (stream, _) = listener.accept().expect("it connects");
    let timeout = stream.set_read_timeout(Some(test_support::PATIENCE));
    timeout.expect("a timeout");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    let found = lines
        .map_while(Result::ok)
        .find(|line| line.ends_with(text));
    assert!(found.is_some(), "{text}");
}

/// An unreachable log server does not prevent the start. Complete lines go to stderr
/// until it is reachable.
#[test]
fn a_log_server_started_late_receives_the_log() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let broker = Broker::midge()
        .config(format!("remote_syslog: \"tcp://{address}\""))
        .start();
    broker.log().wait_for(&format!(
        "[WRN] The log goes to stderr, because the log server tcp://{address}"
    ));
    broker.log().wait_for("Server is ready");
    let log = broker.log().so_far();
    let begin = format!("[{}] ", broker.pid());
    assert!(log.lines().all(|line| line.starts_with(&begin)), "{log}");
    let listener = std::net::TcpListener::bind(address).expect("the port");
    line_of(&listener, " of the log went to stderr");
}

/// A reload that names an unreachable log server reports it in the readable log, and
/// later reloads leave the log where it is.
#[test]
fn a_reload_to_an_unreachable_log_server_is_reported_and_retried() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = |remote: &str, payload: u64| {
        format!("max_payload: {payload}\ndiagnosis {{ interval: \"50ms\" }}\n{remote}\n")
    };
    let remote = format!("remote_syslog: \"tcp://{address}\"");
    let broker = Broker::midge().config(config(&remote, 1000)).start();
    let (stream, _) = listener.accept().expect("it connects");
    let reload = |text: String| {
        std::fs::write(broker.folder().join("broker.conf"), text).expect("written");
        broker.signal(libc::SIGHUP);
    };
    // Another setting changes: the connection stays, as the listener shows.
    reload(config(&remote, 2000));
    wait_until("it has reloaded", || {
        broker.get_json("/varz")["max_payload"] == 2000
    });
    listener.set_nonblocking(true).expect("a listener");
    assert!(listener.accept().is_err());
    // To an address where nothing listens.
    drop((stream, listener));
    let elsewhere = free_address();
    let remote = format!("remote_syslog: \"tcp://{elsewhere}\"");
    reload(config(&remote, 3000));
    let named = format!("the log server tcp://{elsewhere}");
    for line in [
        format!("goes to stderr, because {named} cannot be reached: "),
        format!("Reloaded: remote_syslog = \"tcp://{elsewhere}\""),
    ] {
        broker.log().wait_for(&line);
    }
    let finding = wait_for("the finding", || {
        let findings = broker.get_json("/explainz")["findings"].clone();
        let mut findings = findings.as_array()?.clone().into_iter();
        // The previous one may be reported for a moment.
        let subject = format!("tcp://{elsewhere}");
        findings.find(|it| it["code"] == "log-lost" && it["subject"] == subject)
    });
    let text = finding["text"].as_str().expect("text");
    for part in [&*named, "Connection refused", "no line was lost"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A reload of another setting does not change that, and the log returns.
    reload(config(&remote, 4000));
    wait_until("it has reloaded", || {
        broker.get_json("/varz")["max_payload"] == 4000
    });
    let listener = std::net::TcpListener::bind(elsewhere).expect("the port");
    line_of(&listener, " of the log went to stderr");
    wait_until("the finding is gone", || {
        !broker.get("/explainz").body.contains("log-lost")
    });
    assert!(
        broker
            .get("/metrics")
            .body
            .contains("midge_log_lost_lines_total 0")
    );
}

/// The unit file of the legacy module has `-s`; others have `--profile`.
#[test]
fn flags_of_unit_files_are_accepted() {
    // With `-s` the log goes to the system log, or to stderr without one: the monitoring
    // port shows which.
    for flags in [
        &["-s"][..],
        &["--syslog"],
        &["--syslog=false", "--profile", "6060"],
    ] {
        let mut broker = Broker::midge();
        for flag in flags {
            broker = broker.flag(*flag);
        }
        let mut broker = broker.start();
        let is_to_syslog = !flags.contains(&"--syslog=false");
        let is_there = UnixDatagram::unbound()
            .and_then(|socket| socket.connect("/dev/log"))
            .is_ok();
        wait_until("it is ready", || broker.get("/healthz").status == 200);
        assert!(broker.stop().success());
        let log = broker.final_log();
        let is_on_stderr = log.contains("Starting midge");
        assert_eq!(is_on_stderr, !is_to_syslog || !is_there, "{flags:?} {log}");
        let reported = "because the system's log /dev/log";
        assert_eq!(
            log.contains(reported),
            is_to_syslog && !is_there,
            "{flags:?} {log}"
        );
    }
}

/// In a unit whose output goes to the journal, the journal gets the lines with their fields; if
/// there is no journal, standard error does, and says so.
#[test]
fn the_log_goes_to_the_journal_that_stderr_goes_to() {
    let is_there = UnixDatagram::unbound()
        .and_then(|socket| socket.connect("/run/systemd/journal/socket"))
        .is_ok();
    for (is_named, config, is_to_journal) in [
        (true, "", true),
        (false, "", false),
        (true, "log_format: text", false),
        (false, "log_format: journald", true),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stderr");
        let file = std::fs::File::create(&path).expect("space for a file");
        let metadata = file.metadata().expect("it is open");
        let inode = metadata.ino() + u64::from(!is_named);
        let mut broker = Broker::midge()
            .env("JOURNAL_STREAM", &format!("{}:{inode}", metadata.dev()))
            .stderr(file)
            .config(format!("ping_max: 3\n{config}\n"))
            .start();
        assert!(broker.stop().success());
        let log = std::fs::read_to_string(&path).expect("a log");
        let is_on_stderr = log.contains("Starting midge");
        assert_eq!(is_on_stderr, !is_to_journal || !is_there, "{config} {log}");
        let reported = "because the journal /run/systemd/journal/socket";
        assert_eq!(
            log.contains(reported),
            is_to_journal && !is_there,
            "{config} {log}"
        );
    }
}

/// A log server gets each form with the severity of its lines.
#[test]
fn a_log_server_gets_each_form() {
    for (form, begin) in [
        ("text", "[INF] "),
        ("json", "{\"time\":"),
        ("logfmt", "time="),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).expect("a log server");
        let config = format!(
            "remote_syslog: \"unix://{}\"\nlog_format: {form}\n",
            path.display()
        );
        let broker = Broker::midge().config(config).start();
        let mut buffer = [0; 8192];
        let len = server.recv(&mut buffer).expect("a message");
        let message = String::from_utf8_lossy(&buffer[..len]);
        let text = message.split_once(&format!("[{}]: ", broker.pid()));
        let (origin, text) = text.unwrap_or_else(|| panic!("{message}"));
        assert!(origin.starts_with("<29>"), "{message}");
        assert!(text.starts_with(begin), "{message}");
    }
}

#[test]
fn a_missing_ports_file_directory_does_not_stop_the_broker() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("log");
    let gone = folder.path().join("gone");
    let mut child = Command::new(tools::midge())
        .args(["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-l"])
        .arg(&log)
        .arg("--ports_file_dir")
        .arg(&gone)
        .spawn()
        .expect("midge starts");
    wait_until("it is ready", || {
        std::fs::read_to_string(&log).is_ok_and(|log| {
            log.contains("Server is ready") && log.contains("Could not write a ports file")
        })
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// Tags and metadata are shown by `/varz`, the system account and a metric, and a
/// reload changes them.
#[test]
fn descriptions_are_shown() {
    let config = |tag: &str| {
        format!(
            "server_tags: [\"{tag}\", rack-1]\nserver_metadata {{ site: Basel }}\n\
             accounts {{ $SYS {{ users: [ {{ user: s, password: s }} ] }} }}\n"
        )
    };
    let broker = Broker::midge().config(config("Blue")).start();
    let varz = broker.get_json("/varz");
    assert_eq!(varz["tags"], json!(["blue", "rack-1"]));
    assert_eq!(varz["metadata"], json!({ "site": "Basel" }));
    let metrics = broker.get("/metrics").body;
    let series = "midge_server_info{tags=\"blue,rack-1\",metadata=\"site=Basel\"} 1";
    assert!(metrics.contains(series), "{metrics}");
    let mut client = broker.connect();
    client.send(
        "CONNECT {\"user\":\"s\",\"pass\":\"s\",\"verbose\":false}\r\nSUB r 1\r\n\
         PUB $SYS.REQ.SERVER.PING r 0\r\n\r\n",
    );
    let body = client.next_message().body;
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(answer["server"]["tags"], json!(["blue", "rack-1"]));
    assert_eq!(answer["server"]["metadata"]["site"], "Basel");
    let file = broker.folder().join("broker.conf");
    std::fs::write(file, config("Green")).expect("written");
    broker.signal(libc::SIGHUP);
    wait_until("the tag has changed", || {
        broker.get_json("/varz")["tags"][0] == "green"
    });
}

/// With `trace_headers` the log has the headers of a message but not its payload.
#[test]
fn header_traces_contain_no_payload() {
    let broker = Broker::midge().config("trace_headers: true").start();
    let subscribers = [true, false].map(|headers| {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"headers\":{headers},\"verbose\":false}}\r\nSUB a 1\r\n"
        ));
        client.sync();
        client
    });
    let mut client = broker.connect();
    client.send("CONNECT {\"headers\":true,\"verbose\":false}\r\n");
    client.send("HPUB a 20 26\r\nNATS/1.0\r\nKey: v\r\n\r\nsecret\r\n");
    client.send("PUB a 6\r\nsecret\r\n");
    client.sync();
    let lines = ["[PUB a 6]", "->> [HMSG a 1 20 26]", "->> [MSG a 1 6]"];
    for line in lines {
        broker.log().wait_for(line);
    }
    broker.log().wait_for_count("->> [MSG a 1 6]", 3);
    // Once from the sender, once to a client that supports headers.
    broker.log().wait_for_count("Key: v", 2);
    broker.log().assert_lacks("secret");
    drop(subscribers);
}

/// A client with another protocol does not see it, but the log quotes what was received.
#[test]
fn a_protocol_error_quotes_what_came() {
    for (config, sent, quoted) in [
        ("", "GET / HTTP/1.1\r\n\r\n", "unknown verb: \"GET\"..."),
        (
            "authorization { token: t }",
            "FOO bar\r\n",
            "was not CONNECT: \"FOO\"...",
        ),
        ("", "CONNECT {}\r\nFOO bar\r\n", "unknown verb: \"FOO bar\""),
    ] {
        let broker = Broker::midge()
            .config(format!("debug: true\n{config}"))
            .start();
        let mut client = broker.connect();
        client.send(sent);
        client.read_to_end();
        broker.log().wait_for(quoted);
    }
}

/// Credentials in lines that are no valid CONNECT do not appear in the log, on any port.
#[test]
fn the_log_contains_no_secret_of_refused_clients() {
    let result = [
        "{\"user\":\"x\",\"pass\":\"geheim\"}\r\n",
        "AUTH geheim\r\n",
        "\0CONNECT {\"pass\":\"geheim\"}\r\n",
        "CONNECT {\"pass\":\"geheim\"\r\n",
        "CONNECT geheim\r\n",
        "SUB geheim\r\n",
        "PUB geheim\r\n",
        "INFO {\"geheim\"}\r\n",
    ];
    for (login, result) in ["", "authorization { user: u, password: p }\n"]
        .into_iter()
        .flat_map(|login| result.map(|result| (login, result)))
    {
        let cluster = "cluster { name: c, listen: \"127.0.0.1:-1\" }\n";
        let broker = Broker::midge()
            .config(format!("debug: true\n{login}{cluster}"))
            .start();
        let port = broker.get_json("/varz")["cluster"]["cluster_port"].clone();
        let port = u16::try_from(port.as_u64().expect("a number")).expect("a port");
        let route = SocketAddr::from(([127, 0, 0, 1], port));
        for address in [route, broker.monitor_addr(), broker.client_addr()] {
            let mut stream = TcpStream::connect(address).expect("connect");
            stream
                .set_read_timeout(Some(test_support::PATIENCE))
                .expect("a bound");
            stream.write_all(result.as_bytes()).expect("write");
            stream.shutdown(Shutdown::Write).expect("say no more");
            // Whether it ends with an error, a close or a reset is tested elsewhere.
            let _ = stream.read_to_end(&mut Vec::new());
        }
        wait_until("the disconnect is logged", || {
            let log = broker.log().so_far();
            log.lines().any(|line| {
                line.contains("cid:2") && line.contains("Client connection closed")
                    || line.contains("cid:3") && line.contains("Client connection closed")
            })
        });
        broker.log().assert_lacks("geheim");
    }
}

/// HTTP programs that connect to the client port instead of the monitoring port are
/// reported.
#[test]
fn the_client_port_is_distinguished_from_the_monitoring_port() {
    let broker = Broker::midge().start();
    let port = broker.client_addr().port().to_string();
    let output = Command::new(tools::midge())
        .args(["top", "--once", "-m", &port])
        .output()
        .expect("midge top runs");
    let result = String::from_utf8_lossy(&output.stderr);
    assert!(result.contains("not a monitoring port"), "{result}");
    let output = Command::new(tools::midge())
        .args(["-a", "127.0.0.1", "-p", "0", "-m", "4222", "-t"])
        .output()
        .expect("midge runs");
    assert_eq!(output.status.code(), Some(1));
}

/// A publisher that is not stalled for a slow subscriber: the subscriber is disconnected,
/// as in nats-server.
#[test]
fn with_no_fast_producer_stall_a_slow_subscriber_is_disconnected() {
    let config = "max_pending: 4MB\nno_fast_producer_stall: true";
    let broker = Broker::midge().config(config).start();
    let mut reader = broker.connect();
    reader.send("CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPING\r\n");
    reader.next_frame();
    let mut publisher = RawClient::connect(SocketAddr::new(
        [127, 0, 0, 1].into(),
        broker.client_addr().port(),
    ));
    let message = format!("PUB a 65536\r\n{}\r\n", "x".repeat(65536));
    wait_until("the subscriber is disconnected", || {
        publisher.send(message.repeat(16));
        publisher.sync();
        broker.get_json("/varz")["slow_consumers"] == 1
    });
    let varz = http::get(broker.monitor_addr(), "/varz").json();
    assert_eq!(varz["stalled_clients"], 0, "{varz}");
}
