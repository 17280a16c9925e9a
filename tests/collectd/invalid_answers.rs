//! Answers that are late, broken, huge or incomplete: each is one line of the log, and none affects
//! the other brokers or collectd.

use std::{fs, io::Write, net::TcpStream, sync::Arc, thread, time::Duration};

use crate::{
    broker::{Broker, pretend, pretend_paths, pretend_text, stay_mute},
    collectd::{Collectd, Setup, instance},
};

/// All in one collectd, beside a healthy broker: each costs one line and reports `up` =
/// 0, and none affects the others.
#[test]
fn invalid_responses_are_survived() {
    let broker = Broker::start();
    let cases = [
        ("mute", pretend(stay_mute), "no answer within"),
        ("e500", pretend_text("500 Error", "{}"), "HTTP status 500"),
        (
            "r302",
            pretend_text("302 Found\r\nLocation: http://127.0.0.1:1/varz", ""),
            "HTTP status 302",
        ),
        (
            "html",
            pretend_text("200 OK", "<html></html>"),
            "answer not understood",
        ),
        (
            "shape",
            pretend_text("200 OK", "[1, 2]"),
            "answer not understood",
        ),
        (
            "empty",
            pretend_text("200 OK", "{}"),
            "not the answer of a NATS broker: no \"server_id\"",
        ),
        (
            "hollow",
            pretend_text("200 OK", "{\"status\":\"ok\"}"),
            "not the answer of a NATS broker: no \"server_id\"",
        ),
        (
            "few",
            pretend_text("200 OK", "{\"server_id\":\"N\",\"version\":\"2\"}"),
            "not the answer of a NATS broker: no \"start\"",
        ),
        (
            "negative",
            pretend_text("200 OK", "{\"server_id\":\"N\",\"connections\":-5}"),
            "\"connections\" is -5",
        ),
        (
            "range",
            pretend_text("200 OK", "{\"server_id\":\"N\",\"in_msgs\":1e400}"),
            "out of range",
        ),
        ("reset", pretend(|_| {}), "/varz: "),
        ("huge", pretend(send_30_megabytes), "larger than 512 KiB"),
        // A small JSON text that needs much memory.
        (
            "objects",
            pretend(send_list("{},", 8 << 20)),
            "larger than 512 KiB",
        ),
        (
            "crowd",
            pretend(send_list("{},", 500 << 10)),
            "too many objects",
        ),
        (
            "numbers",
            pretend(send_list("0,", 500 << 10)),
            "too many values",
        ),
        (
            "deep",
            pretend(send_list("[", 500 << 10)),
            "recursion limit",
        ),
        ("drip", pretend(drip), "no answer within"),
        ("nothttp", pretend_text("-ERR\r\n\r\n", ""), "/varz: "),
    ];
    let mut blocks = instance("well", &broker.url(), "");
    for (name, url, _) in &cases {
        blocks += &instance(name, url, "Timeout 900");
    }
    let mut setup = Setup::new(&blocks);
    // Long enough that a busy machine does not change any of the causes.
    setup.interval = 2.0;
    let collectd = Collectd::start(&setup);
    for name in cases.iter().map(|case| case.0).chain(["well"]) {
        collectd.wait_for_lines(&format!("PUTVAL test/nats-{name}/bool-up"), 4);
    }
    let memory = peak_memory_kib(collectd.pid());
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    assert!(memory < 64 << 10, "{memory} KiB");

    for (name, _, reason) in &cases {
        let log = lines.with(&format!("nats plugin: instance \"{name}\": "));
        assert_eq!(log.len(), 1, "{name}: {log:#?}");
        assert!(
            log[0].contains("[error]") && log[0].contains(reason),
            "{}",
            log[0]
        );
        let puts = lines.with(&format!("PUTVAL test/nats-{name}/"));
        let own = ["/bool-up ", "/bool-healthy ", "/duration-poll "];
        for put in &puts {
            assert!(own.iter().any(|own| put.contains(own)), "{put}");
        }
        for own in ["bool-up", "bool-healthy"] {
            for value in lines.values(&format!("test/nats-{name}/{own}")) {
                assert_eq!(value, [0.0], "{name}");
            }
        }
    }
    for up in lines.values("test/nats-well/bool-up") {
        assert_eq!(up, [1.0]);
    }
}

/// A broker with an incomplete `/healthz` serves clients, but is not healthy; missing fields give no values, for a reason that is logged once.
#[test]
fn an_incomplete_health_answer_is_an_error() {
    let url = pretend_paths(|path| match path {
        "/varz" => {
            "{\"server_id\":\"N\",\"version\":\"2\",\"start\":\"2026-01-01T00:00:00Z\",\
             \"now\":\"2026-01-01T00:00:09Z\",\"connections\":3,\"in_msgs\":1,\"out_msgs\":2}"
        }
        _ => "{\"state\":\"ok\"}",
    });
    let healthy = "test/nats-a/bool-healthy";
    let collectd = Collectd::start(&Setup::new(&instance("a", &url, "")));
    collectd.wait_for_lines(&format!("PUTVAL {healthy}"), 3);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    for value in lines.values(healthy) {
        assert_eq!(value, [0.0], "{lines:#?}");
    }
    assert_eq!(lines.values("test/nats-a/bool-up")[0], [1.0]);
    let clients = lines.values("test/nats-a/current_connections-clients");
    assert_eq!(clients[0], [3.0]);
    assert!(
        lines.values("test/nats-a/memory-rss").is_empty(),
        "{lines:#?}"
    );
    for reason in [
        "health not known: ",
        "no values of cpu, in_bytes, mem, out_bytes, slow_consumers, subscriptions, \
         total_connections: not in the answer",
    ] {
        let log = lines.log();
        let reported = log.iter().filter(|line| line.contains(reason)).count();
        assert_eq!(reported, 1, "{reason}: {lines:#?}");
    }
}

/// Responds with a list of identical elements of this total size, prepared in advance.
fn send_list(element: &str, bytes: usize) -> impl Fn(&mut TcpStream) + Clone + Send + 'static {
    let elements = element.repeat(bytes / element.len());
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{{\"a\":[{elements}0]}}");
    let answer: Arc<str> = answer.into();
    move |stream| {
        // The client may disconnect early.
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// Sends a byte from time to time.
fn drip(stream: &mut TcpStream) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(50));
    }
}

fn send_30_megabytes(stream: &mut TcpStream) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..30 {
        if stream.write_all(&chunk).is_err() {
            return;
        }
    }
}

fn peak_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a live process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("VmHWM");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}
