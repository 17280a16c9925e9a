//! nats-server's line: `[PID] YYYY/MM/DD HH:MM:SS.uuuuuu [INF] text`. Of the fields it has
//! those that say whom it is about, before the text.

use std::{fmt::Write as _, process};

use chrono::{Local, TimeZone};
use monitor_client::text::escaped;

use super::super::record::Record;

pub(super) fn line(record: &Record) -> String {
    let letters = record.level.letters();
    let mut line = format!("[{}] {}", process::id(), time(record));
    // Writing to a string does not fail.
    let _ = match record.style.colour {
        true => write!(line, "[\x1b[{}m{letters}\x1b[0m] ", record.level.colour()),
        false => write!(line, "[{letters}] "),
    };
    line + &about(record)
}

/// Without time and process id.
pub(super) fn body(record: &Record) -> String {
    format!("[{}] {}", record.level.letters(), about(record))
}

/// Whom the line is about, and its text, on one line.
pub(super) fn about(record: &Record) -> String {
    let prefix = prefix(record);
    let text = match prefix.is_empty() {
        true => escaped(&record.message),
        false => format!("{prefix} - {}", escaped(&record.message)).into(),
    };
    text.into_owned()
}

/// The address and id of a peer; of a client also the name and library that it states, its
/// certname, and its login, `ACCOUNT/user:NAME`.
fn prefix(record: &Record) -> String {
    let (ip, port) = (record.text("ip"), record.field("port"));
    let mut prefix = match (ip.contains(':'), port) {
        _ if ip.is_empty() => return String::new(),
        (_, None) => ip.to_owned(),
        (true, Some(port)) => format!("[{ip}]:{port}"),
        (false, Some(port)) => format!("{ip}:{port}"),
    };
    let Some(cid) = record.field("cid") else {
        return prefix;
    };
    // Writing to a string does not fail.
    match record.text("kind") {
        "route" => {
            // Its lines name its broker themselves.
            let _ = write!(prefix, " - rid:{cid}");
            return prefix;
        }
        "websocket" => {
            let _ = write!(prefix, " - wid:{cid}");
        }
        _ => {
            let _ = write!(prefix, " - cid:{cid}");
        }
    }
    let text = |name| record.text(name);
    let (name, lang, version) = (text("name"), text("lang"), text("version"));
    if !name.is_empty() || !lang.is_empty() || !version.is_empty() {
        let id = format!("v{version}:{lang}:{name}");
        let _ = write!(prefix, " - {}", shown(&id));
    }
    if !text("certname").is_empty() {
        let _ = write!(prefix, " - {}", shown(text("certname")));
    }
    if !text("user").is_empty() {
        let user = format!("{}/user:{}", text("account"), text("user"));
        let _ = write!(prefix, " - {}", shown(&user));
    }
    prefix
}

/// In quotes. What a peer states cannot end them.
fn shown(text: &str) -> String {
    escaped(&format!("{text:?}")).into_owned()
}

/// With a blank behind it; empty without time.
fn time(record: &Record) -> String {
    fn written<Zone: TimeZone<Offset: std::fmt::Display>>(time: &chrono::DateTime<Zone>) -> String {
        time.format("%Y/%m/%d %H:%M:%S%.6f ").to_string()
    }
    match (record.style.time, record.style.utc) {
        (false, _) => String::new(),
        (true, true) => written(&record.time),
        (true, false) => written(&record.time.with_timezone(&Local)),
    }
}
