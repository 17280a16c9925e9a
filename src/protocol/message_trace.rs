//! Message tracing: a message with certain headers reports the way it takes, and may ask not to be
//! delivered. Each broker it passes publishes one [`TraceEvent`] with nats-server's names
//! (`server/msgtrace.go`).
//!
//! Clients and routes begin a trace for a message that [asks for it](TraceRequest::read) and put it
//! into the thread's buffers while the message is routed; `delivery` and `account` note the steps;
//! `system` publishes the event.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{SecondsFormat, Utc};
use memchr::memmem;
use serde::Serialize;

use super::header;

/// Names the subject that trace events are published to.
pub const TRACE_DEST: &str = "Nats-Trace-Dest";

/// The value of [`TRACE_DEST`] with which the next broker does not trace a message.
pub const TRACE_DISABLED: &str = "trace disabled";

/// With the value 1, true or on the message is traced and not delivered.
const TRACE_ONLY: &str = "Nats-Trace-Only";

/// The number of the hop that led to a broker, such as `2.1`.
const TRACE_HOP: &str = "Nats-Trace-Hop";

/// A header of the first version of tracing, with which messages are not traced.
const ORIGIN_ACCOUNT: &str = "Nats-Trace-Origin-Account";

/// The header of W3C Trace Context, with which the account decides where events go.
const TRACE_PARENT: &[u8] = b"traceparent";

/// Bytes of steps that one event may have: a message may have very many receivers.
const STEPS_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that a step has besides its texts, as JSON.
const STEP_LEN: usize = 128;

/// nats-server's number of a kind of peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerKind {
    /// A client.
    Client = 0,
    /// Another broker of the cluster.
    Route = 1,
}

/// Why a message did not reach a peer.
pub mod not_delivered {
    /// The publisher does not receive its own messages.
    pub const NO_ECHO: &str = "Not delivered because of no echo";
    /// The receiver's permissions deny the subject.
    pub const DENIED: &str = "Not delivered because subscription denies this subject";
    /// The subscription has ended.
    pub const ENDED: &str = "Not delivered because subscription is closed";
    /// The connection is closing.
    pub const CLOSED: &str = "Not delivered because client is closed";
    /// The other broker would deliver a message that is only to be traced.
    pub const NO_SUPPORT: &str = "Not delivered because remote does not support message tracing";
    /// The other broker delivers it and reports nothing.
    pub const UNTRACED: &str = "Message delivered but remote does not support message tracing \
                                so no trace event generated from there";
}

/// Whether headers may ask for tracing: a quick look, for every message that has headers.
#[inline]
pub fn is_mentioned(headers: &[u8]) -> bool {
    memmem::find(headers, TRACE_DEST.as_bytes()).is_some()
}

/// Whether headers have a sampled `traceparent`.
pub fn is_sampled(headers: &[u8]) -> bool {
    header::entries(headers).any(|(name, value)| is_sampled_parent(name, value))
}

fn is_sampled_parent(name: &[u8], value: &[u8]) -> bool {
    let flags = || {
        let mut parts = value.split(|byte| *byte == b'-').skip(3);
        let (flags, None) = (parts.next()?, parts.next()) else {
            return None;
        };
        let digits = std::str::from_utf8(flags)
            .ok()
            .filter(|text| text.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    // nats-server reads them as a signed number.
    name.eq_ignore_ascii_case(TRACE_PARENT)
        && flags().is_some_and(|flags| flags < 0x80 && flags & 1 == 1)
}

/// What the headers of a message ask for.
#[derive(Debug, Eq, PartialEq)]
pub struct TraceRequest {
    /// Where the events go; `None` if the account decides, because of `traceparent`.
    pub dest: Option<String>,
    /// Whether the message is not to be delivered.
    pub only: bool,
    /// The hop that led here; empty at the first broker.
    pub hop: String,
    /// Whether the headers of the first version of tracing are used.
    pub is_outdated: bool,
    headers: BTreeMap<String, Vec<String>>,
}

impl TraceRequest {
    /// The request in these headers, if there is one.
    pub fn read(headers: &[u8]) -> Option<Self> {
        let (mut has_dest, mut has_parent) = (false, false);
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (name, value) in header::entries(headers) {
            if name == TRACE_DEST.as_bytes() && !has_dest {
                if value == TRACE_DISABLED.as_bytes() {
                    return None;
                }
                has_dest = true;
            }
            has_parent |= is_sampled_parent(name, value);
            all.entry(text(name)).or_default().push(text(value));
        }
        if !has_dest && !has_parent {
            return None;
        }
        let first = |name: &str| all.get(name).and_then(|values| values.first());
        let only = first(TRACE_ONLY).map(|value| value.to_ascii_lowercase());
        Some(Self {
            dest: first(TRACE_DEST).cloned(),
            only: has_dest && matches!(only.as_deref(), Some("1" | "true" | "on")),
            hop: first(TRACE_HOP).cloned().unwrap_or_default(),
            is_outdated: first(ORIGIN_ACCOUNT).is_some(),
            headers: all,
        })
    }
}

/// The headers of a message that the next broker is not to trace: changed if they ask for it, or if
/// the message `is_traced` for another reason.
pub fn untraced(headers: &[u8], is_traced: bool) -> Cow<'_, [u8]> {
    match is_traced || is_mentioned(headers) {
        true => header::with(headers, TRACE_DEST, TRACE_DISABLED).into(),
        false => headers.into(),
    }
}

/// A peer that a message comes from or goes to.
#[derive(Clone, Debug)]
pub struct TracedPeer {
    /// What it is.
    pub kind: PeerKind,
    /// Its connection id.
    pub cid: u64,
    /// The name that a client gave itself, or the name of the other broker.
    pub name: String,
    /// Its account; empty for another broker.
    pub account: String,
}

/// One step on the way of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
enum Step {
    /// It was received.
    #[serde(rename = "in")]
    Ingress {
        ts: String,
        kind: u8,
        cid: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        acc: String,
        subj: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        error: String,
    },
    /// Its subject was mapped.
    #[serde(rename = "sm")]
    Mapped { ts: String, to: String },
    /// It went to another account as a request or a reply.
    #[serde(rename = "si")]
    ServiceImport {
        ts: String,
        acc: String,
        from: String,
        to: String,
    },
    /// It went to a subscriber of another account that imports the stream.
    #[serde(rename = "se")]
    StreamExport { ts: String, acc: String, to: String },
    /// It was sent to a peer, or was not for a reason.
    #[serde(rename = "eg")]
    Egress {
        ts: String,
        kind: u8,
        cid: u64,
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        hop: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        acc: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        sub: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        queue: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        error: String,
    },
}

impl Step {
    /// Bytes of it, about.
    fn len(&self) -> usize {
        let texts: &[&String] = match self {
            Self::Ingress {
                name,
                acc,
                subj,
                error,
                ..
            } => &[name, acc, subj, error],
            Self::Mapped { to, .. } => &[to],
            Self::ServiceImport { acc, from, to, .. } => &[acc, from, to],
            Self::StreamExport { acc, to, .. } => &[acc, to],
            Self::Egress {
                name,
                acc,
                sub,
                queue,
                error,
                ..
            } => &[name, acc, sub, queue, error],
        };
        STEP_LEN + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

#[derive(Clone, Debug, Serialize)]
struct TracedMessage {
    header: BTreeMap<String, Vec<String>>,
    msgsize: usize,
}

/// The trace of one message at this broker, while it is routed.
pub struct MessageTrace {
    /// Whether the message is not to be delivered.
    pub only: bool,
    /// The subject of the events in the account where the message is now.
    pub dest: String,
    /// The account whose name is in the first step.
    account: String,
    hop: String,
    hops: usize,
    message: TracedMessage,
    steps: Vec<Step>,
    bytes: usize,
    left_out: usize,
}

/// What a broker publishes about a message. `server` is added by the publisher.
#[derive(Serialize)]
pub struct TraceEvent {
    request: TracedMessage,
    #[serde(skip_serializing_if = "is_zero")]
    hops: usize,
    events: Vec<Step>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A place where a message goes: a subscription of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracedSubscription<'a> {
    /// Its subject.
    pub subject: &'a [u8],
    /// Its queue group, or nothing.
    pub queue: &'a [u8],
}

impl MessageTrace {
    /// The trace of a message of `size` bytes (headers and payload) to `subject` from a peer.
    /// Its events go to `dest`.
    pub fn begin(
        request: TraceRequest,
        dest: String,
        from: TracedPeer,
        subject: &[u8],
        size: usize,
    ) -> Self {
        let mut trace = Self {
            only: request.only,
            dest,
            account: from.account.clone(),
            hop: match from.kind {
                // Only brokers count hops.
                PeerKind::Client => String::new(),
                PeerKind::Route => request.hop,
            },
            hops: 0,
            message: TracedMessage {
                header: request.headers,
                msgsize: size,
            },
            steps: Vec::new(),
            bytes: 0,
            left_out: 0,
        };
        trace.add(Step::Ingress {
            ts: now(),
            kind: from.kind as u8,
            cid: from.cid,
            name: from.name,
            acc: from.account,
            subj: text(subject),
            error: String::new(),
        });
        trace
    }

    /// Notes that the message was refused.
    pub fn refused(&mut self, reason: &str) {
        if let Some(Step::Ingress { error, .. }) = self.steps.first_mut() {
            reason.clone_into(error);
        }
    }

    /// Notes that the subject was mapped. For a request to another account that is a part of the
    /// step to there.
    pub fn mapped(&mut self, subject: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::ServiceImport { to, .. }) => *to = text(subject),
            _ => self.add(Step::Mapped {
                ts: now(),
                to: text(subject),
            }),
        }
    }

    /// Notes that the message went to another account as a request or a reply.
    pub fn service_import(&mut self, account: &str, from: &[u8], to: &[u8]) {
        self.add(Step::ServiceImport {
            ts: now(),
            acc: account.to_owned(),
            from: text(from),
            to: text(to),
        });
    }

    /// Notes that the message went to an account that imports the stream.
    pub fn stream_export(&mut self, account: &str, to: &[u8]) {
        self.add(Step::StreamExport {
            ts: now(),
            acc: account.to_owned(),
            to: text(to),
        });
    }

    /// Notes a delivery to a client, or why there was none.
    pub fn to_client(&mut self, to: TracedPeer, at: TracedSubscription<'_>, error: &str) {
        // Shown where it is another account.
        let acc = match to.account == self.account {
            true => String::new(),
            false => to.account,
        };
        self.add(Step::Egress {
            ts: now(),
            kind: to.kind as u8,
            cid: to.cid,
            name: to.name,
            hop: String::new(),
            acc,
            sub: text(at.subject),
            queue: text(at.queue),
            error: error.to_owned(),
        });
    }

    /// Notes that the message was sent to another broker by the hop of this number, or why not.
    pub fn to_route(&mut self, to: TracedPeer, hop: String, error: &str) {
        self.add(Step::Egress {
            ts: now(),
            kind: to.kind as u8,
            cid: to.cid,
            name: to.name,
            hop,
            acc: String::new(),
            sub: String::new(),
            queue: String::new(),
            error: error.to_owned(),
        });
    }

    /// Times that the message was sent to another broker.
    pub fn hops(&self) -> usize {
        self.hops
    }

    /// The number of the next hop to another broker.
    pub fn next_hop(&mut self) -> String {
        self.hops += 1;
        match self.hop.is_empty() {
            true => self.hops.to_string(),
            false => format!("{}.{}", self.hop, self.hops),
        }
    }

    fn add(&mut self, step: Step) {
        let len = step.len();
        if self.bytes + len > STEPS_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        self.bytes += len;
        self.steps.push(step);
    }

    /// Bytes of its event, about.
    pub fn memory(&self) -> usize {
        let headers = self.message.header.iter();
        let headers = headers.map(|(name, values)| {
            name.len()
                + values
                    .iter()
                    .map(|value| STEP_LEN + value.len())
                    .sum::<usize>()
        });
        size_of::<Self>() + self.bytes + headers.sum::<usize>()
    }

    /// The event to publish.
    pub fn event(mut self) -> TraceEvent {
        if self.left_out > 0
            && let Some(Step::Egress { error, .. }) = self.steps.last_mut()
        {
            *error = format!("{} further steps are left out", self.left_out);
        }
        TraceEvent {
            request: self.message,
            hops: self.hops,
            events: self.steps,
        }
    }
}

/// The headers of a message for another broker, by the hop of this number.
pub fn with_hop(headers: &[u8], hop: &str) -> Vec<u8> {
    header::with(headers, TRACE_HOP, hop)
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &str) -> Vec<u8> {
        format!("NATS/1.0\r\n{}\r\n\r\n", lines.replace('\n', "\r\n")).into_bytes()
    }

    #[test]
    fn a_request_is_what_nats_server_takes_for_one() {
        let parent = |flags: &str| format!("TraceParent: 00-a-b-{flags}");
        for (lines, dest, only) in [
            ("Nats-Trace-Dest: t", Some("t"), false),
            ("Nats-Trace-Dest: t\nNats-Trace-Only: ON", Some("t"), true),
            ("Nats-Trace-Only: true\nNats-Trace-Dest:t", Some("t"), true),
            ("Nats-Trace-Dest: t\nNats-Trace-Only: 2", Some("t"), false),
            (&parent("01"), None, false),
            (&(parent("01") + "\nNats-Trace-Only: 1"), None, false),
        ] {
            let request = TraceRequest::read(&headers(lines)).expect(lines);
            assert_eq!(
                (request.dest.as_deref(), request.only),
                (dest, only),
                "{lines}"
            );
        }
        for lines in [
            "A: b",
            "Nats-Trace-Dest:",
            "Nats-Trace-Dest: trace disabled",
            "nats-trace-dest: t",
            "Nats-Trace-Only: 1",
            &parent("00"),
            &parent("81"),
            &parent("1"),
            "traceparent: 00-a-b",
        ] {
            assert_eq!(TraceRequest::read(&headers(lines)), None, "{lines}");
        }
        assert_eq!(TraceRequest::read(b""), None);
    }

    #[test]
    fn a_message_with_very_many_receivers_has_a_bounded_event() {
        let peer = || TracedPeer {
            kind: PeerKind::Client,
            cid: 7,
            name: "n".repeat(1000),
            account: "A".into(),
        };
        let request = TraceRequest::read(&headers("Nats-Trace-Dest: t")).expect("a request");
        let mut trace = MessageTrace::begin(request, "t".into(), peer(), b"a", 3);
        for _ in 0..10_000 {
            trace.to_client(peer(), TracedSubscription::default(), "");
        }
        assert!(trace.memory() <= STEPS_BYTES_MAX + 1024);
        let event = serde_json::to_string(&trace.event()).expect("JSON");
        assert!(event.len() <= 2 * STEPS_BYTES_MAX);
        assert!(event.contains("further steps are left out"));
    }
}
