use std::sync::Arc;

use chrono::DateTime;

use super::{super::record::Level, *};
use crate::config::Options;

/// A record as a refused login makes it, with this text and name of the client.
fn record(format: LogFormat, message: &str, name: &str) -> Record {
    let options = Options {
        log_format: Some(format),
        logtime_utc: true,
        ..Options::default()
    };
    let style = Arc::new(Style::new(&options, false));
    let text = |text: &str| Value::Text(text.into());
    Record {
        time: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
        fields: vec![
            ("code", text("auth.failed")),
            ("kind", text("client")),
            ("cid", Value::Unsigned(7)),
            ("ip", text("192.0.2.1")),
            ("port", Value::Unsigned(4711)),
            ("name", text(name)),
            ("seconds", Value::Float(1.5)),
        ],
        ..Record::new(style, Level::Error, message)
    }
}

#[test]
fn each_form_has_the_same_values() {
    let pid = process::id();
    for (format, expected) in [
        (
            LogFormat::Text,
            format!(
                "[{pid}] 2023/11/14 22:13:20.123456 [ERR] 192.0.2.1:4711 - cid:7 - \"v::app\" - no \
                 = \"way\""
            ),
        ),
        (
            LogFormat::Json,
            format!(
                "{{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"error\",\"pid\":{pid},\
                 \"code\":\"auth.failed\",\"kind\":\"client\",\"cid\":7,\"ip\":\"192.0.2.1\",\
                 \"port\":4711,\"msg\":\"no = \\\"way\\\"\",\"name\":\"app\",\"seconds\":1.5}}"
            ),
        ),
        (
            LogFormat::Logfmt,
            format!(
                "time=2023-11-14T22:13:20.123456Z level=error pid={pid} code=auth.failed \
                 kind=client cid=7 ip=192.0.2.1 port=4711 msg=\"no = \\\"way\\\"\" name=app \
                 seconds=1.5"
            ),
        ),
    ] {
        assert_eq!(record(format, "no = \"way\"", "app").line(), expected);
    }
    let journal = journal_message(&record(LogFormat::Text, "no = \"way\"", "app"), "midge");
    assert_eq!(
        journal,
        "PRIORITY=3\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=midge\nMESSAGE=192.0.2.1:4711 - cid:7 - \
         \"v::app\" - no = \"way\"\nCODE=auth.failed\nKIND=client\nCID=7\nIP=192.0.2.1\nPORT=4711\n\
         NAME=app\nSECONDS=1.5\n"
    );
}

/// Names of clients with line breaks, quotes and what looks like a field.
const HOSTILE: &str =
    "a\nMESSAGE=x\r\n[1] [ERR] 203.0.113.9:1 - \" ip=203.0.113.9 \u{202e}\u{1b}[2J";

#[test]
fn what_a_peer_states_begins_neither_a_line_nor_a_field() {
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::Logfmt] {
        let line = record(format, HOSTILE, HOSTILE).line();
        assert!(
            !line.contains(['\n', '\r', '\u{202e}', '\u{1b}']),
            "{line:?}"
        );
    }
    let json = record(LogFormat::Json, HOSTILE, HOSTILE).line();
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is valid");
    assert_eq!(json["ip"], "192.0.2.1");
    assert_eq!(
        json["name"].as_str().map(|name| name.starts_with("a\\n")),
        Some(true)
    );
    let logfmt = record(LogFormat::Logfmt, HOSTILE, HOSTILE).line();
    // Outside of quotes there is one address.
    let mut outside = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in logfmt.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if !is_quoted => outside.push(character),
            _ => {}
        }
    }
    assert_eq!(outside.matches("ip=").count(), 1, "{logfmt}");
    let journal = journal_message(&record(LogFormat::Text, HOSTILE, HOSTILE), "midge");
    let names: Vec<&str> = journal
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert_eq!(names.iter().filter(|name| **name == "MESSAGE").count(), 1);
    assert_eq!(names.len(), journal.lines().count());
}

/// Each form has the severity and the origin around it, in a message of limited length.
#[test]
fn messages_have_severity_time_origin_and_a_limit() {
    let made = |level, message: &str| {
        let style = Arc::new(Style::new(&Options::default(), false));
        let record = Record::new(style, level, message);
        syslog_message(&record, "midge[5]", &"Jan  2 03:04:05")
    };
    assert_eq!(
        made(Level::Error, "oops"),
        "<27>Jan  2 03:04:05 midge[5]: [ERR] oops"
    );
    for (level, priority) in [
        (Level::Fatal, 26),
        (Level::Warning, 28),
        (Level::Info, 29),
        (Level::Debug, 31),
    ] {
        assert!(made(level, "x").starts_with(&format!("<{priority}>")));
    }
    assert!(made(Level::Info, &"ü".repeat(8 * 1024)).len() < 7 * 1024 + 64);
    let json = record(LogFormat::Json, "x", "app");
    let message = syslog_message(&json, "host midge[5]", &"Jan  2 03:04:05");
    let text = message.strip_prefix("<27>Jan  2 03:04:05 host midge[5]: ");
    assert!(text.is_some_and(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()));
    let large = journal_message(
        &record(LogFormat::Text, &"x".repeat(1 << 20), HOSTILE),
        "midge",
    );
    assert!(large.len() < 64 * 1024);
}
