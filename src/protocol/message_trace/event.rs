//! The steps on the way of a traced message, and the event that tells them.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use monitor_client::text::plural;
use serde::Serialize;

use super::{TraceRequest, survey::Survey};

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
    /// A leafnode, or the hub of this one.
    Leafnode = 4,
}

/// Why a message did not reach a peer.
pub mod not_delivered {
    /// The publisher does not receive its own messages.
    pub const NO_ECHO: &str = "Not delivered because of no echo";
    /// A request or a reply from another account does not go on to an imported stream.
    pub const NOT_PASSED_ON: &str = "Not delivered because a message that came from another \
                                     account does not go on to a third";
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

#[derive(Clone, Debug, Default, Serialize)]
struct TracedMessage {
    header: BTreeMap<String, Vec<String>>,
    msgsize: usize,
}

/// The trace of one message at this broker, while it is routed.
pub struct MessageTrace {
    /// Whether the message is not to be delivered.
    pub only: bool,
    /// What asks with this message who would get it. There is no event then, and the other fields
    /// mean nothing.
    pub survey: Option<Survey>,
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

impl TraceEvent {
    /// The first value of a header of the traced message.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.request.header.get(name)?;
        values.first().map(String::as_str)
    }
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
            survey: None,
            dest,
            account: from.account.clone(),
            hop: match from.kind {
                // Only brokers count hops.
                PeerKind::Client => String::new(),
                PeerKind::Route | PeerKind::Leafnode => request.hop,
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

    /// What is put in place of a trace to ask who would get a message.
    pub fn of_survey(survey: Survey) -> Self {
        Self {
            only: true,
            survey: Some(survey),
            dest: String::new(),
            account: String::new(),
            hop: String::new(),
            hops: 0,
            message: TracedMessage::default(),
            steps: Vec::new(),
            bytes: 0,
            left_out: 0,
        }
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
            *error = format!("{} left out", plural(self.left_out, "further step"));
        }
        TraceEvent {
            request: self.message,
            hops: self.hops,
            events: self.steps,
        }
    }
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

    #[test]
    fn a_message_with_very_many_receivers_has_a_bounded_event() {
        let peer = || TracedPeer {
            kind: PeerKind::Client,
            cid: 7,
            name: "n".repeat(1000),
            account: "A".into(),
        };
        let request =
            TraceRequest::read(b"NATS/1.0\r\nNats-Trace-Dest: t\r\n\r\n").expect("a request");
        let mut trace = MessageTrace::begin(request, "t".into(), peer(), b"a", 3);
        for _ in 0..10_000 {
            trace.to_client(peer(), TracedSubscription::default(), "");
        }
        assert!(trace.memory() <= STEPS_BYTES_MAX + 1024);
        let event = serde_json::to_string(&trace.event()).expect("JSON");
        assert!(event.len() <= 2 * STEPS_BYTES_MAX);
        assert!(event.contains("further steps left out"));
    }
}
