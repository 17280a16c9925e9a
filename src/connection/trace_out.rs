//! Traces of what is delivered to clients, where the configuration has them.

use std::sync::atomic::Ordering;

use tracing::trace;

use super::{
    Connection, Subscription,
    delivery::{Message, Run},
};

impl Connection {
    /// Logs what of a run was delivered, behind `prefix`, `HMSG subject sid `: each
    /// control line and at most so many bytes of what it carries; `None` is all.
    pub(super) fn trace_out<'a>(
        &self,
        run: &'a Run<'_>,
        messages: impl Iterator<Item = &'a Message>,
        (prefix, takes_headers): (&[u8], bool),
        len_max: Option<usize>,
    ) {
        let name = self.log_prefix();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for message in messages {
            let headers = message.header_len.map(|len| len as usize);
            let prefix = match headers.is_some() && takes_headers {
                true => prefix,
                false => &prefix[1..],
            };
            let reply = run.reply(message).map(|reply| text(reply) + " ");
            let body = run.body(message);
            let body = &body[..(message.total_len as usize).min(body.len())];
            let (sizes, body) = match headers {
                Some(len) if takes_headers => (format!("{len} {}", body.len()), body),
                Some(len) => {
                    let body = body.get(len..).unwrap_or_default();
                    (body.len().to_string(), body)
                }
                None => (body.len().to_string(), body),
            };
            let reply = reply.unwrap_or_default();
            trace!("{name} - ->> [{}{reply}{sizes}]", text(prefix));
            if !body.is_empty() {
                let shown = &body[..body.len().min(len_max.unwrap_or(body.len()))];
                let more = if shown.len() < body.len() { "..." } else { "" };
                trace!("{name} - ->> MSG_PAYLOAD: [{:?}{more}]", text(shown));
            }
        }
    }
}

/// How a trace tells that a subscription is over.
pub fn delsub(subscription: &Subscription) -> String {
    format!("[DELSUB {}]", String::from_utf8_lossy(subscription.sid()))
}

/// Logs that a subscription is over that has had its last message, if everything of
/// its client is traced.
pub fn trace_expired(subscription: &Subscription) {
    let connection = &subscription.connection;
    if connection.traced.load(Ordering::Relaxed) > 0 {
        trace!("{} - <-> {}", connection.log_prefix(), delsub(subscription));
    }
}
