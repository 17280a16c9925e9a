//! Traces of what is delivered to clients, where the configuration has them.

use super::batch::SubjectBatch;
use crate::{
    connection::{Connection, Shown, Subscription},
    log,
    protocol::{encode::ClientHead, message::Message},
};

impl Connection {
    /// Logs what of a subject batch was delivered: each
    /// control line and what is to be shown of what it carries.
    pub(super) fn trace_out<'a>(
        &self,
        batch: &'a SubjectBatch<'_>,
        messages: impl Iterator<Item = &'a Message>,
        (head, takes_headers): (&ClientHead<'_>, bool),
        shown: Shown,
    ) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for message in messages {
            let headers = message.header_len.map(|len| len as usize);
            let head = match headers.is_some() && takes_headers {
                true => head.with_headers(),
                false => head.plain(),
            };
            let reply = batch.reply(message).map(|reply| text(reply) + " ");
            let body = batch.body(message);
            let body = &body[..(message.total_len as usize).min(body.len())];
            let (sizes, body, header_len) = match headers {
                Some(len) if takes_headers => (format!("{len} {}", body.len()), body, len),
                Some(len) => {
                    let body = body.get(len..).unwrap_or_default();
                    (body.len().to_string(), body, 0)
                }
                None => (body.len().to_string(), body, 0),
            };
            let reply = reply.unwrap_or_default();
            log::about(self).trace(format_args!("->> [{}{reply}{sizes}]", text(head)));
            if let Some(body) = shown.text(body, header_len) {
                log::about(self).trace(format_args!("->> {body}"));
            }
        }
    }
}

/// The trace line for the end of a subscription.
pub fn delsub(subscription: &Subscription) -> String {
    format!("[DELSUB {}]", String::from_utf8_lossy(subscription.sid()))
}

/// Logs that a subscription is over that has had its last message, if everything of
/// its client is traced.
pub fn trace_expired(subscription: &Subscription) {
    let connection = &subscription.connection;
    if connection.traced.shown().is_some() {
        log::about(connection).trace(format_args!("<-> {}", delsub(subscription)));
    }
}
