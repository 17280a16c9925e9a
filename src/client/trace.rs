//! Protocol traces for the log.

use tracing::trace;

use super::log_prefix;
use crate::{connection::Connection, protocol::parse::Op};

/// Logs what a client sent; secrets of CONNECT are not shown.
pub(super) fn trace_in(connection: &Connection, op: &Op<'_>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = match op {
        Op::Connect(_) => "CONNECT {…}".to_owned(),
        Op::Err(error) => format!("-ERR {}", text(error)),
        Op::Info(_) => "INFO {…}".to_owned(),
        Op::Ok => "+OK".to_owned(),
        Op::Ping => "PING".to_owned(),
        Op::Pong => "PONG".to_owned(),
        Op::Publish(publish) => format!(
            "{} {} {}{}{}",
            if publish.header_len.is_some() {
                "HPUB"
            } else {
                "PUB"
            },
            text(publish.subject),
            publish.reply.map(text).unwrap_or_default(),
            if publish.reply.is_some() { " " } else { "" },
            text(publish.sizes),
        ),
        Op::Subscribe {
            subject,
            queue,
            sid,
        } => format!(
            "SUB {} {} {}",
            text(subject),
            queue.map(text).unwrap_or_default(),
            text(sid)
        ),
        Op::Unsubscribe { sid, max } => {
            format!("UNSUB {} {}", text(sid), max.unwrap_or(0))
        }
    };
    trace!("{} - <<- [{line}]", log_prefix(connection));
}

/// Logs what a publish carries, at most `max_len` bytes of it; 0 is all.
pub(super) fn trace_payload(connection: &Connection, body: &[u8], max_len: usize) {
    if body.is_empty() {
        return;
    }
    let shown = match max_len {
        0 => body,
        max_len => &body[..body.len().min(max_len)],
    };
    let more = if shown.len() < body.len() { "..." } else { "" };
    let text = String::from_utf8_lossy(shown);
    trace!(
        "{} - <<- MSG_PAYLOAD: [{text:?}{more}]",
        log_prefix(connection)
    );
}
