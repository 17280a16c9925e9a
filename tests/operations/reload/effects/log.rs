//! Settings of the log: what is logged, how, and where.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
};

use chrono::{NaiveDateTime, TimeDelta, Utc};

use crate::reload::{DONE, reload};
use test_support::{Broker, RawClient, wait_for, wait_until};

use super::{Effect, Scene, accepted};

pub const EFFECTS: &[Effect] = &[
    ("debug", debug),
    ("trace", trace),
    ("trace_verbose", trace_verbose),
    ("trace_headers", trace_headers),
    ("max_traced_msg_len", max_traced_msg_len),
    ("logtime", logtime),
    ("logtime_utc", logtime_utc),
    ("log_file", log_file),
    ("log_size_limit", log_size_limit),
    ("log_max_num", log_max_num),
    ("log_max_age", log_max_age),
    ("log_format", log_format),
    ("syslog", syslog),
    ("remote_syslog", remote_syslog),
];

/// The log lines that contain this.
fn lines_with(scene: &Scene, text: &str) -> Vec<String> {
    let log = scene.member.broker.log().so_far();
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

/// Waits until the log has lines that contain this. Lines appear a moment later than what
/// they report, in its order.
fn logged(scene: &Scene, text: &str) -> Vec<String> {
    wait_for(&format!("the log has {text:?}"), || {
        let found = lines_with(scene, text);
        (!found.is_empty()).then_some(found)
    })
}

#[test]
fn debug() {
    let mut scene = Scene::new("", "");
    // Its disconnect may be logged later.
    let _before = scene.client();
    scene.reload("debug: true", "");
    assert!(lines_with(&scene, "Client connection created").is_empty());
    drop(scene.client());
    logged(&scene, "Client connection created");
}

/// Asserts that a connected client is traced once this is the configuration.
fn is_traced_with(config: &str) {
    let mut scene = Scene::new("", "");
    let mut client = scene.client();
    client.send("SUB before 1\r\n");
    client.sync();
    scene.reload(config, "");
    client.send("SUB after 2\r\n");
    client.sync();
    logged(&scene, "<<- [SUB after 2]");
    assert!(lines_with(&scene, "before").is_empty());
}

#[test]
fn trace() {
    is_traced_with("trace: true");
}

#[test]
fn trace_verbose() {
    is_traced_with("trace_verbose: true");
}

#[test]
fn trace_headers() {
    let mut scene = Scene::new("trace: true", "");
    let mut client = scene.member.client();
    let say = |client: &mut RawClient, name: &str, payload: &str| {
        client.send(format!(
            "HPUB a 18 23\r\nNATS/1.0\r\n{name}: b\r\n\r\n{payload}\r\n"
        ));
        client.sync();
    };
    say(&mut client, "A", "first");
    logged(&scene, "first");
    scene.reload("trace_headers: true", "");
    say(&mut client, "B", "other");
    say(&mut client, "C", "third");
    logged(&scene, "C: b");
    logged(&scene, "B: b");
    assert!(lines_with(&scene, "other").is_empty());
}

#[test]
fn max_traced_msg_len() {
    let mut scene = Scene::new("trace: true", "");
    let mut client = scene.client();
    scene.reload("trace: true\nmax_traced_msg_len: 4", "");
    client.send("PUB a 10\r\n0123456789\r\n");
    client.sync();
    let line = logged(&scene, "\"0123").remove(0);
    assert!(!line.contains("01234"), "{line}");
}

/// The time of the last log line.
fn last_time(log: &str) -> Option<NaiveDateTime> {
    let line = log.lines().last()?;
    let (_, rest) = line.split_once("] ")?;
    let time = rest.get(..26)?;
    NaiveDateTime::parse_from_str(time, "%Y/%m/%d %H:%M:%S%.6f").ok()
}

#[test]
fn logtime() {
    let broker = Broker::midge().config("logtime: true").start();
    wait_until("a line has a time", || {
        last_time(&broker.log().to_string()).is_some()
    });
    let log = reload(&broker, "logtime: false", DONE);
    assert!(last_time(&log).is_none(), "{log}");
}

#[test]
fn logtime_utc() {
    let broker = Broker::midge()
        .config("logtime_utc: false")
        .env("TZ", "<+14>-14")
        .start();
    let is_utc = |time: NaiveDateTime| (time - Utc::now().naive_utc()).abs() < TimeDelta::hours(1);
    let before = wait_for("a line has a time", || last_time(&broker.log().to_string()));
    assert!(!is_utc(before), "{before}");
    let log = reload(&broker, "logtime_utc: true", DONE);
    let after = last_time(&log).unwrap_or_else(|| panic!("{log}"));
    assert!(is_utc(after), "{after}");
}

#[test]
fn log_file() {
    let mut scene = Scene::new("log_file: \"old.log\"", "");
    let file = scene.member.broker.folder().join("new.log");
    write_reload(&mut scene, "log_file: \"new.log\"");
    wait_until("the other file is written", || {
        fs::read_to_string(&file).is_ok_and(|log| log.contains("Reloaded server configuration"))
    });
}

/// Reloads where the log cannot be read.
fn write_reload(scene: &mut Scene, config: &str) {
    scene.plan.config = config.into();
    let file = scene.member.broker.folder().join("broker.conf");
    fs::write(file, scene.plan.text()).expect("space for a file");
    scene.member.broker.signal(libc::SIGHUP);
}

/// Number of rotated log files.
fn files(folder: &Path) -> usize {
    let names = fs::read_dir(folder).expect("the broker's folder");
    names
        .map(|entry| entry.expect("a file").file_name().display().to_string())
        .filter(|name| name.starts_with("it.log"))
        .count()
}

/// Connects and disconnects of clients are logged.
fn log_something(scene: &Scene) {
    for _ in 0..20 {
        drop(scene.client());
    }
}

const LOGS: &str = "log_file: \"it.log\"\ndebug: true";

#[test]
fn log_size_limit() {
    let mut scene = Scene::new(LOGS, "");
    let folder = scene.member.broker.folder().to_owned();
    log_something(&scene);
    assert_eq!(files(&folder), 1);
    write_reload(&mut scene, &format!("{LOGS}\nlog_size_limit: 1000"));
    wait_until("the log is rotated", || {
        log_something(&scene);
        files(&folder) > 3
    });
}

#[test]
fn log_max_num() {
    let many = format!("{LOGS}\nlog_size_limit: 1000");
    let mut scene = Scene::new(&many, "");
    let folder = scene.member.broker.folder().to_owned();
    wait_until("the log is rotated", || {
        log_something(&scene);
        files(&folder) > 5
    });
    write_reload(&mut scene, &format!("{many}\nlog_max_num: 3"));
    wait_until("the oldest files are removed", || {
        log_something(&scene);
        files(&folder) <= 4
    });
}

#[test]
fn log_max_age() {
    let mut scene = Scene::new(LOGS, "");
    let folder = scene.member.broker.folder().to_owned();
    let old = folder.join("it.log.2020.01.01.00.00.00.000000000");
    fs::write(&old, "a rotated file\n").expect("space for a file");
    log_something(&scene);
    assert_eq!(files(&folder), 2);
    write_reload(&mut scene, &format!("{LOGS}\nlog_max_age: \"100ms\""));
    wait_until("the log is rotated and the old file is removed", || {
        log_something(&scene);
        let log = fs::read_to_string(folder.join("it.log")).unwrap_or_default();
        log.contains("Rotated log") && !old.exists()
    });
}

#[test]
fn log_format() {
    let mut scene = Scene::new("", "");
    scene.reload("log_format: json\ndebug: true", "");
    let line = "\"msg\":\"Reloaded server configuration";
    scene.member.broker.log().wait_for(line);
    drop(scene.client());
    let closed = "\"msg\":\"Client connection closed: Client Closed";
    let line = scene.member.broker.log().wait_for_line(&[closed]);
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["kind"], "client", "{line}");
    // Back again; an empty value is the default.
    scene.reload("log_format: \"\"", "");
    logged(&scene, "[INF] Reloaded server configuration");
}

/// Without a system log, the log says that it would be used.
#[test]
fn syslog() {
    let mut scene = Scene::new("", "");
    let before = scene.member.broker.log().so_far();
    write_reload(&mut scene, "syslog: true");
    let result = |scene: &Scene| scene.member.broker.log().so_far().since(&before);
    match Path::new("/dev/log").exists() {
        true => {
            // From then on stderr is silent.
            wait_until("the new file is loaded", || {
                scene.member.broker.get_json("/varz")["config_load_time"]
                    != scene.member.broker.get_json("/varz")["start"]
            });
            scene.client();
            let result = result(&scene);
            assert!(result.lacks("Reloaded server configuration"), "{result}");
        }
        false => wait_until("it reports the destination of the log", || {
            result(&scene).already_has("the system's log /dev/log")
        }),
    }
}

#[test]
fn remote_syslog() {
    let mut scene = Scene::new("", "");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    write_reload(&mut scene, &format!("remote_syslog: \"tcp://{address}\""));
    let stream = accepted(&listener);
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Reloaded: remote_syslog")));
}
