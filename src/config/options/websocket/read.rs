//! Reading the block `websocket` and the values in it that have rules of their own.

use std::time::Duration;

use super::{LOGIN, Login, WEBSOCKET, WebSocketOptions};
use crate::{
    config::{
        options::{
            Options, keys,
            problems::{Problems, wrong_type},
        },
        syntax::{Entry, Value},
    },
    security::{origins::Origin, users::SoleLogin},
};

/// Fields of `headers`, and bytes of all of them.
const HEADERS_MAX: usize = 64;
const HEADERS_LEN_MAX: usize = 16 * 1024;

/// Header fields that the answer has anyway.
const OWN_HEADERS: [&str; 5] = [
    "host",
    "content-length",
    "connection",
    "upgrade",
    "nats-no-masking",
];

/// Reads the block. Without a port there is no listener.
pub(in crate::config::options) fn read(
    options: &mut Options,
    entry: &Entry,
    problems: &mut Problems,
) {
    let mut websocket = WebSocketOptions::default();
    if WEBSOCKET
        .read_node(&mut websocket, &entry.node, "websocket", problems)
        .is_some()
    {
        options.websocket = Some(websocket).filter(|it| it.port.is_some());
    }
}

pub(super) fn read_login(websocket: &mut WebSocketOptions, entry: &Entry, problems: &mut Problems) {
    let mut login = Login::default();
    if LOGIN
        .read_node(&mut login, &entry.node, "authorization", problems)
        .is_none()
    {
        return;
    }
    websocket.auth_timeout = login.timeout;
    websocket.sole = match (login.user, login.token) {
        (Some(_), Some(_)) => {
            let text = "authorization cannot have a user and a token";
            problems.error(&entry.node.position, text);
            None
        }
        (Some(name), None) => Some(SoleLogin::User {
            name,
            password: login.password,
        }),
        (None, token) => token.map(SoleLogin::Token),
    };
}

pub(super) fn read_origins(
    websocket: &mut WebSocketOptions,
    entry: &Entry,
    problems: &mut Problems,
) {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    let origins = texts
        .into_iter()
        .filter_map(|(text, position)| problems.noted(position, Origin::configured(text)));
    websocket.origins.allowed = origins.collect();
}

pub(super) fn read_headers(
    websocket: &mut WebSocketOptions,
    entry: &Entry,
    problems: &mut Problems,
) {
    let Some(map) = problems.map(&entry.node, "headers") else {
        return;
    };
    let mut headers = Vec::new();
    for entry in map.entries_as_written() {
        let Value::String(value) = &entry.node.value else {
            let text = wrong_type(&entry.key, "a string", &entry.node.value);
            problems.error(&entry.position, text);
            continue;
        };
        let pair = (entry.key.clone(), value.clone());
        headers.extend(problems.noted(&entry.position, check_header(pair)));
    }
    let len: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if headers.len() > HEADERS_MAX || len > HEADERS_LEN_MAX {
        let text = format!("headers may have {HEADERS_MAX} entries and {HEADERS_LEN_MAX} bytes");
        problems.error(&entry.position, text);
    }
    websocket.headers = headers;
}

fn check_header((name, value): (String, String)) -> Result<(String, String), String> {
    let lower = name.to_ascii_lowercase();
    if OWN_HEADERS.contains(&&*lower) {
        return Err(format!("websocket: invalid header {name:?} not allowed"));
    }
    if lower.starts_with("sec-websocket-") {
        return Err(format!(
            "websocket: invalid header {name:?}, \"Sec-WebSocket-\" prefix not allowed"
        ));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match !name.is_empty() && name.chars().all(is_name) && !value.contains(char::is_control) {
        true => Ok((name, value)),
        false => Err(format!(
            "{name:?} is no name of a header, or its value has control characters"
        )),
    }
}

/// A name that a cookie can have; `None` for an empty text.
pub(super) fn cookie_name(text: &str) -> Result<Option<String>, String> {
    let is_part = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    match text.chars().all(is_part) {
        true => Ok(keys::non_empty(text)),
        false => Err(format!("{text:?} is no name of a cookie")),
    }
}

pub(super) fn listen_port(port: i64) -> Option<u16> {
    match port {
        0 => None,
        port => Some(u16::try_from(port).unwrap_or(0)),
    }
}

pub(super) fn non_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}
