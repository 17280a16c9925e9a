//! Lines about a peer: each says whom it concerns, in fields that a program can read.
//!
//! `about(connection).error(format_args!("…"))` logs the text with the fields of its
//! [`Subject`]; text lines have them before the text. What is not about a connection uses the
//! macros of `tracing`, with the same field names: `warn!(ip = …, port = …, "…")`.
//! docs/logging.md lists the fields.

use std::{fmt, net::SocketAddr, sync::Arc};

use monitor_client::text::plural;
use tracing::{Level, debug, enabled, error, info, trace, warn};

use super::TRACED;

/// Whom a line is about. Empty texts are left out.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `client`, `websocket` (a client by WebSocket) or `route`.
    pub kind: &'static str,
    /// The connection's id.
    pub cid: u64,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The name that it states.
    pub name: String,
    /// The language of its library.
    pub lang: String,
    /// The version of its library.
    pub version: String,
    /// The common name of its certificate.
    pub certname: String,
    /// The account it is in.
    pub account: String,
    /// Its user.
    pub user: String,
}

/// A session that is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The name of the reason.
    pub reason: &'static str,
    /// How long it lasted.
    pub seconds: f64,
    /// Messages that it sent.
    pub in_msgs: u64,
    /// Their bytes.
    pub in_bytes: u64,
    /// Messages that it received.
    pub out_msgs: u64,
    /// Their bytes.
    pub out_bytes: u64,
}

/// How long it lasted and how much it moved, in words.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "after {:.1} s; {} ({}) in, {} ({}) out",
            self.seconds,
            plural(self.in_msgs, "message"),
            plural(self.in_bytes, "byte"),
            self.out_msgs,
            plural(self.out_bytes, "byte")
        )
    }
}

/// What lines can be about.
pub trait About {
    /// Whom a line is about.
    fn subject(&self) -> Subject;
}

impl<T: About> About for Arc<T> {
    fn subject(&self) -> Subject {
        (**self).subject()
    }
}

/// A line about a peer that has no level and text yet.
#[must_use]
pub struct Line<'a> {
    about: &'a dyn About,
    code: Option<&'static str>,
    ended: Option<Ended>,
}

/// Begins a line about a peer.
pub fn about(about: &dyn About) -> Line<'_> {
    Line {
        about,
        code: None,
        ended: None,
    }
}

macro_rules! logged {
    ($level:ident, $log:ident, $line:expr, $text:expr $(, target: $target:expr)?) => {
        // Otherwise nothing is made of the text and the subject.
        if enabled!($(target: $target,)? Level::$level) {
            let Line { about, code, ended } = $line;
            let subject = about.subject();
            $log!(
                $(target: $target,)?
                code,
                kind = subject.kind,
                cid = subject.cid,
                ip = %subject.peer.ip(),
                port = subject.peer.port(),
                name = given(&subject.name),
                lang = given(&subject.lang),
                version = given(&subject.version),
                certname = given(&subject.certname),
                account = given(&subject.account),
                user = given(&subject.user),
                reason = ended.map(|it| it.reason),
                seconds = ended.map(|it| it.seconds),
                in_msgs = ended.map(|it| it.in_msgs),
                in_bytes = ended.map(|it| it.in_bytes),
                out_msgs = ended.map(|it| it.out_msgs),
                out_bytes = ended.map(|it| it.out_bytes),
                "{}",
                $text
            );
        }
    };
}

impl Line<'_> {
    /// The kind of what happened: the name of the event that goes with the line.
    pub fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// The session is over.
    pub fn ended(self, ended: Ended) -> Self {
        Self {
            ended: Some(ended),
            ..self
        }
    }

    /// Something failed.
    pub fn error(self, text: fmt::Arguments<'_>) {
        logged!(ERROR, error, self, text);
    }

    /// Something needs attention.
    pub fn warn(self, text: fmt::Arguments<'_>) {
        logged!(WARN, warn, self, text);
    }

    /// Normal operation.
    pub fn info(self, text: fmt::Arguments<'_>) {
        logged!(INFO, info, self, text);
    }

    /// Details, if they are asked for.
    pub fn debug(self, text: fmt::Arguments<'_>) {
        logged!(DEBUG, debug, self, text);
    }

    /// A trace, if all clients are traced.
    pub fn trace(self, text: fmt::Arguments<'_>) {
        logged!(TRACE, trace, self, text);
    }

    /// A trace that an operator has requested of this client.
    pub fn traced(self, text: fmt::Arguments<'_>) {
        logged!(INFO, info, self, text, target: TRACED);
    }
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
