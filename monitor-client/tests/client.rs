//! The client against scripted servers that misbehave, and against real brokers.

mod support;

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use monitor_client::{Bounds, Client, Error, Phase};
use support::{NatsServer, closed_port, keep_serving, serve, serve_text, url};

const PATIENT: Duration = Duration::from_secs(20);
const BRIEF: Duration = Duration::from_millis(200);

/// The nats-server in PATH, and an old one as in Debian 12: installed, or unpacked where
/// `tests/run` keeps its tools.
fn servers() -> [String; 2] {
    let unpacked = env::var("MIDGE_TEST_TOOLS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-tools").into())
        + "/debian/usr/sbin/nats-server";
    let old = match Path::new(&unpacked).exists() {
        true => unpacked,
        false => "/usr/sbin/nats-server".into(),
    };
    ["nats-server".into(), old]
}

fn client(url: &str) -> Client {
    Client::new(url, PATIENT).expect("a good URL")
}

/// Old and new servers fill the types, with some traffic.
#[test]
fn real_brokers_fill_the_types() {
    for program in servers() {
        let program = &*program;
        let server = NatsServer::start(program);
        let mut peer = TcpStream::connect(&server.client).expect("the client port");
        peer.write_all(
            b"CONNECT {\"verbose\":false,\"name\":\"peer\"}\r\n\
              SUB a 1\r\nPUB a 5\r\nhello\r\nPING\r\n",
        )
        .expect("written");
        let mut seen = String::new();
        let mut chunk = [0; 4096];
        while !seen.contains("PONG") {
            let read = peer.read(&mut chunk).expect("an answer");
            assert!(read > 0, "{program} hung up after {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }

        // Several answers over one connection, which one of another version may not allow.
        let client = client(&server.monitoring).with_one_connection();
        let varz = client.varz().expect(program);
        assert_eq!(varz.server_id.len(), 56, "{program}");
        assert_eq!(varz.http_port, -1, "{program}");
        assert_eq!((varz.connections, varz.total_connections), (1, 1));
        assert_eq!((varz.in_msgs, varz.in_bytes), (1, 5), "{program}");
        let modern = program == "nats-server";
        assert_eq!(varz.slow_consumer_stats.is_some(), modern, "{program}");
        assert_eq!(varz.stalled_clients.is_some(), modern, "{program}");

        let connz = client.connz("subs=1&sort=pending").expect(program);
        assert_eq!((connz.total, connz.connections.len()), (1, 1));
        assert_eq!(connz.connections[0].name, "peer");
        assert_eq!(connz.connections[0].subscriptions_list, ["a"]);
        assert_eq!(client.connz("").expect(program).num_connections, 1);
        assert!(client.subsz().expect(program).num_subscriptions > 0);
        let (code, health) = client.healthz().expect(program);
        assert_eq!((code, health.status.as_str()), (200, "ok"));
        let missing = client.get::<serde_json::Value>("/nothing");
        assert!(matches!(missing, Err(Error::Status { code: 404, .. })));
    }
}

#[test]
fn request_names_the_client_and_keeps_the_path_prefix() {
    let (send, heads) = std::sync::mpsc::channel();
    let server = serve(move |head, stream| {
        send.send(head.to_owned()).expect("the test listens");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    });
    client(&format!("{server}/nats/"))
        .varz()
        .expect("an answer");
    let head = heads
        .recv_timeout(PATIENT)
        .expect("a request")
        .to_lowercase();
    assert!(head.starts_with("get /nats/varz http/1.1\r\n"), "{head}");
    assert!(head.contains("user-agent: midge-monitor-client/"), "{head}");
}

#[test]
fn refused_port() {
    let url = closed_port();
    assert_eq!(
        client(&url).varz().unwrap_err().to_string(),
        format!("{url}/varz: connection refused")
    );
}

/// A listener that accepts and sends nothing, and one that stops within the body.
#[test]
fn servers_that_send_nothing_or_stop_time_out() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let halting = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{");
        // Stays open until the client gives up.
        let _ = stream.read(&mut [0]);
    });
    for url in [url(mute.local_addr().expect("bound")), halting] {
        let client = Client::new(&url, BRIEF).expect("a good URL");
        let error = client.varz().unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("{url}/varz: no answer within 200 ms")
        );
    }
}

#[test]
fn reset_connection() {
    // Closed with the request unread: the kernel sends a reset.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0]);
        }
    });
    let error = client(&url(address)).varz().unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error:?}");
}

#[test]
fn other_statuses_are_errors_with_the_first_line_of_the_body() {
    for (status, body, code, expected) in [
        ("500 No", "", 500, ""),
        ("404 No", "404 page not found\n", 404, "404 page not found"),
        ("204 Empty", "", 204, ""),
        ("421 No", "\r\n do this \nor that", 421, "do this"),
        ("403 No", "\u{1b}[2J\u{202e}x", 403, "\\u{1b}[2J\\u{202e}x"),
        ("502 Bad", "<html>\nbad gateway", 502, ""),
    ] {
        let error = client(&serve_text(status, body)).varz().unwrap_err();
        let Error::Status {
            code: got, detail, ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((*got, detail.as_str()), (code, expected));
        assert_eq!(error.is_missing(), code == 404);
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    let long = "x".repeat(1 << 20);
    let error = client(&serve_text("403 No", long.leak()))
        .varz()
        .unwrap_err();
    assert!(error.to_string().len() < 500, "{error}");
}

/// Longer than the time that has passed would be a lie: with several addresses, one may fail
/// before the time is over.
#[test]
fn a_timeout_tells_the_time_that_has_passed() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = client(&url(mute.local_addr().expect("bound")));
    let error = client.within(BRIEF).varz().unwrap_err();
    let Error::Timeout { after, phase, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*after, *phase), (BRIEF, Phase::Answer));
    assert!(
        error.to_string().ends_with("no answer within 200 ms"),
        "{error}"
    );
}

/// A redirect could lead the request to another machine.
#[test]
fn redirects_are_not_followed() {
    let target = TcpListener::bind("127.0.0.1:0").expect("a free port");
    target.set_nonblocking(true).expect("a socket");
    let location = url(target.local_addr().expect("bound"));
    let server = serve(move |_, stream| {
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {location}/varz\r\nContent-Length: 0\r\n\r\n"
        );
    });
    let error = client(&server).varz().unwrap_err();
    assert!(
        matches!(error, Error::Status { code: 302, .. }),
        "{error:?}"
    );
    assert!(target.accept().is_err(), "the redirect was followed");
}

#[test]
fn healthz_answers_with_its_code() {
    let bad = "{\"status\":\"unavailable\",\"error\":\"starting\"}";
    for (status, code) in [("500 Error", 500), ("503 Unavailable", 503)] {
        let answer = client(&serve_text(status, bad))
            .healthz()
            .expect("an answer");
        assert_eq!((answer.0, answer.1.error.as_str()), (code, "starting"));
    }
    let error = client(&serve_text("404 No", bad)).healthz().unwrap_err();
    assert!(
        matches!(error, Error::Status { code: 404, .. }),
        "{error:?}"
    );
    for (body, expected) in [("<html>", ""), ("no broker here\n", "no broker here")] {
        let error = client(&serve_text("503 No", body)).healthz().unwrap_err();
        assert!(
            matches!(&error, Error::Status { code: 503, detail, .. } if detail == expected),
            "{error:?}"
        );
    }
    // An object without a broker's status is no answer, whatever the code.
    for body in [
        "{}",
        "{\"status\":\"\"}",
        "{\"status\":\"healthy\"}",
        "{\"status\":null}",
    ] {
        for status in ["200 OK", "503 No"] {
            let error = client(&serve_text(status, body)).healthz().unwrap_err();
            assert!(matches!(error, Error::Field { .. }), "{error:?}");
            assert!(error.to_string().contains("\"status\""), "{error}");
        }
    }
}

#[test]
fn unexpected_json_is_rejected() {
    let deep = "{\"a\":".repeat(100_000);
    for body in [
        "",
        "<html>",
        "[]",
        "null",
        "{\"connections\":\"many\"}",
        "{\"connections\":1e400}",
        "{\"connections\":9223372036854775808}",
        "{\"total_connections\":-1}",
        "{\"server_id\":\"\\ud800\"}",
        deep.leak(),
    ] {
        let error = client(&serve_text("200 OK", body)).varz().unwrap_err();
        assert!(matches!(error, Error::NotJson { .. }), "{error:?}");
    }
}

/// Memory stays bounded whether the length is announced or not.
#[test]
fn large_bodies_are_rejected() {
    for head in ["Content-Length: 31457280\r\n", "Connection: close\r\n"] {
        let server = serve(move |_, stream| {
            let chunk = vec![b' '; 1 << 20];
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n");
            // Ends when the client closes the connection.
            for _ in 0..30 {
                if stream.write_all(&chunk).is_err() {
                    return;
                }
            }
        });
        let error = client(&server).varz().unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }
    // At the limit: a body of exactly that size is read.
    let server = serve(|_, stream| {
        let mut body = b"{}".to_vec();
        let limit = Bounds::of("/varz").bytes;
        body.resize(limit as usize, b' ');
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {limit}\r\n\r\n");
        let _ = stream.write_all(&body);
    });
    client(&server).varz().expect("a body at the limit");
}

/// Single bytes from time to time do not keep a request alive.
#[test]
fn a_slow_body_ends_at_the_timeout() {
    let server = serve(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let client = Client::new(&server, BRIEF).expect("a good URL");
    let error = client.varz().unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

/// Requests of a client that keeps its connection share one, which ends with the client; without
/// that each has its own.
#[test]
fn one_connection_serves_several_requests() {
    let (server, connections) = keep_serving(|_, _| true);
    let patient = || {
        connections
            .recv_timeout(PATIENT)
            .expect("a connection ends")
    };
    let kept = client(&server).with_one_connection();
    for _ in 0..3 {
        kept.within(PATIENT).varz().expect("an answer");
        let refused = kept.get::<serde_json::Value>("/missing");
        assert!(matches!(refused, Err(Error::Status { code: 404, .. })));
    }
    assert!(connections.try_recv().is_err(), "it has ended before");
    drop(kept);
    assert_eq!(patient(), 6);
    let plain = client(&server);
    for _ in 0..2 {
        plain.varz().expect("an answer");
        assert_eq!(patient(), 1);
    }
}

/// A server may close a connection at any time: with its answer, or when the next request has been
/// sent already.
#[test]
fn a_connection_that_the_server_closes_is_made_again() {
    for closes in [
        // Without a word, after each answer.
        |answered: usize, _: &mut TcpStream| answered < 1,
        // When it has read the next request.
        |answered: usize, stream: &mut TcpStream| {
            if answered == 2 {
                let _ = stream.read(&mut [0; 1]);
            }
            answered < 2
        },
    ] {
        let (server, connections) = keep_serving(closes);
        let kept = client(&server).with_one_connection();
        for _ in 0..6 {
            kept.varz().expect("an answer");
        }
        drop(kept);
        let answers: Vec<usize> = connections.iter().take(3).collect();
        assert!(answers.iter().all(|count| *count > 0), "{answers:?}");
    }
}

/// Set in a child process, where other tests do not see it.
#[test]
fn proxy_variables_are_ignored() {
    const INNER: &str = "MONITOR_CLIENT_TEST_URL";
    if let Ok(url) = env::var(INNER) {
        client(&url).varz().expect("asked directly");
        return;
    }
    let server = serve_text("200 OK", "{}");
    let mut inner = Command::new(env::current_exe().expect("this test"));
    inner.args(["--exact", "proxy_variables_are_ignored"]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        inner.env(name, closed_port());
    }
    inner.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = inner.env(INNER, server).output().expect("this test again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{output:?}");
}

#[test]
fn invalid_urls_are_rejected() {
    for (url, reason) in [
        ("", "not a URL"),
        ("127.0.0.1:8222", "must begin with http://"),
        ("/varz", "no host"),
        ("http://", "not a URL"),
        ("http://:8222", "no host"),
        ("ftp://127.0.0.1", "must begin with http://"),
        ("http://127.0.0.1:99999", "1 to 65535"),
        ("http://127.0.0.1:0", "1 to 65535"),
        ("http://127.0.0.1:8222/?a=b", "must end with"),
        ("http://127.0.0.1:8222/#a", "must end with"),
        ("http://a b", "not a URL"),
    ] {
        let error = Client::new(url, BRIEF).unwrap_err().to_string();
        assert!(error.contains(reason), "{url}: {error}");
    }
    for url in [
        "http://me:hidden@127.0.0.1:8222",
        "http://me:a@hidden@127.0.0.1:8222",
        "http://me:hidden",
        "me:hidden",
        "ftp://me:hidden",
    ] {
        let error = Client::new(url, BRIEF).unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
    for url in [
        "http://127.0.0.1",
        "http://[::1]:8222",
        "http://broker/a/b/",
    ] {
        Client::new(url, BRIEF).expect(url);
    }
}
