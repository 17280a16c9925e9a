//! Protocol traces for the log.

use crate::{
    broker::limits::Limits,
    connection::{Connection, Shown, Subscription, TraceLine},
    delivery::trace_out::delsub,
    log,
    protocol::parse::Op,
};

/// Payload bytes shown where one client is traced.
const PAYLOAD_LEN_MAX: usize = 1024;

/// Why a trace is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Trace {
    /// No trace is written.
    #[default]
    Off,
    /// The configuration traces all clients.
    All,
    /// An operator requested a trace of this client, for a limited time.
    Ordered,
}

impl Trace {
    /// The mode in force for a connection; `all` is the configuration's.
    pub(super) fn of(connection: &Connection, all: bool) -> Self {
        match all {
            true => Self::All,
            false if connection.trace.is_given() => Self::Ordered,
            false => Self::Off,
        }
    }

    /// Has what is delivered to the client traced as well, if everything is.
    pub(super) fn set_delivery_trace(self, connection: &Connection, limits: &Limits) {
        let is_all = self == Self::All;
        connection.traced.set(is_all.then(|| self.shown(limits)));
    }

    /// The parts of a message that are logged.
    fn shown(self, limits: &Limits) -> Shown {
        let len_max = Some(limits.max_traced_msg_len).filter(|len| *len > 0);
        match self {
            Self::Ordered => Shown {
                headers_alone: false,
                len_max: len_max.or(Some(PAYLOAD_LEN_MAX)),
            },
            Self::All | Self::Off => Shown {
                headers_alone: limits.trace_headers,
                len_max,
            },
        }
    }

    /// Whether anything is written.
    pub(super) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Logs what a client is sent beside messages.
    pub(super) fn out(self, connection: &Connection, op: std::fmt::Arguments<'_>) {
        if self.is_on() {
            self.write(connection, "->>", &format!("[{op}]"));
        }
    }

    /// Logs that a subscription is over.
    pub(super) fn ended(self, connection: &Connection, subscription: &Subscription) {
        if self.is_on() {
            self.write(connection, "<->", &delsub(subscription));
        }
    }

    fn write(self, connection: &Connection, way: &str, line: &str) {
        match self {
            Self::Off => {}
            Self::All => log::about(connection).trace(format_args!("{way} {line}")),
            Self::Ordered => match connection.trace.take() {
                TraceLine::Unwanted => {}
                TraceLine::Wanted => {
                    log::about(connection).traced(format_args!("{way} {line}"));
                }
                TraceLine::Last => log::about(connection)
                    .traced(format_args!("{way} {line} (the last line of this trace)")),
            },
        }
    }
}

/// Logs what a client sent; secrets of CONNECT are not shown.
pub(super) fn trace_in(trace: Trace, connection: &Connection, op: &Op<'_>) {
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
        } => {
            let queue = queue.map(|queue| text(queue) + " ").unwrap_or_default();
            format!("SUB {} {queue}{}", text(subject), text(sid))
        }
        Op::Unsubscribe { sid, max } => {
            let max = max.map(|max| format!(" {max}")).unwrap_or_default();
            format!("UNSUB {}{max}", text(sid))
        }
    };
    trace.write(connection, "<<-", &format!("[{line}]"));
}

/// Logs what a publish carries, whose first `header_len` bytes are headers, as far as
/// it is to be shown.
pub(super) fn trace_payload(
    trace: Trace,
    connection: &Connection,
    limits: &Limits,
    body: &[u8],
    header_len: usize,
) {
    if let Some(line) = trace.shown(limits).text(body, header_len) {
        trace.write(connection, "<<-", &line);
    }
}
