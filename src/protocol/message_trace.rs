//! Message tracing: a message with certain headers reports the way it takes, and may ask not to be
//! delivered. Each broker it passes publishes one [`TraceEvent`] with nats-server's names
//! (`server/msgtrace.go`).
//!
//! Clients and routes begin a trace for a message that [asks for it](TraceRequest::read) and put it
//! into the thread's buffers while the message is routed; `delivery` and `account` note the steps
//! ([`event`]); `system` publishes the event. A [`survey`] goes the same way with a message that
//! nobody sends.

mod event;
pub mod survey;

use std::{borrow::Cow, collections::BTreeMap};

use memchr::memmem;

use super::header;

pub use event::{
    MessageTrace, PeerKind, TraceEvent, TracedPeer, TracedSubscription, not_delivered,
};

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

/// The headers of a message for another broker, by the hop of this number.
pub fn with_hop(headers: &[u8], hop: &str) -> Vec<u8> {
    header::with(headers, TRACE_HOP, hop)
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
}
