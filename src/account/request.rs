//! Requests that leave their account, and replies that come back: each message
//! is put together anew, with other subjects and, for a request, a header that
//! tells who asks.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Account, Destinations,
    destinations::Service,
    fan_out::{Sender, Undelivered},
    path::Path,
    replies::Pending,
};
use crate::{
    connection::buffers::ThreadBuffers,
    delivery::{ComposedMessage, SubjectBatch},
    protocol::header,
};

/// The header that tells a responder who asks. Only brokers set it on what
/// crosses a border: what a client wrote there is replaced.
const REQUEST_INFO: &str = "Nats-Request-Info";

/// Acknowledgements to streams are no replies: they go where they say.
const ACK_PREFIX: &[u8] = b"$JS.ACK.";

impl Sender<'_> {
    /// Sends the one request in `run`, published in `account`, on to a service
    /// of another account.
    pub(super) fn request(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
        service: &Service,
    ) -> Undelivered {
        let (Some(describe), [message]) = (self.describe, batch.messages) else {
            return Undelivered::From(0);
        };
        let import = &service.import;
        let all = Path::all();
        let Some(path) = self.path.through(import, &all) else {
            account.cut_paths.fetch_add(1, Ordering::Relaxed);
            return Undelivered::From(0);
        };
        let reply = match batch.reply(message) {
            Some(reply) if !reply.starts_with(ACK_PREFIX) => {
                // Whoever answers at another broker must find the way back.
                let pattern = import.account.replies.pattern();
                import.account.interest.want(buffers, pattern.as_bytes());
                let expected = import.account.replies.expect(Pending {
                    account: account.clone(),
                    subject: reply.into(),
                    response: import.response,
                    threshold: import.threshold,
                });
                match expected {
                    Some(reply) => Some(reply),
                    None => {
                        buffers.refused += 1;
                        return Undelivered::From(0);
                    }
                }
            }
            reply => reply.map(<[u8]>::to_vec),
        };
        let (headers, payload) = batch.parts(message);
        let headers = header::with(headers, REQUEST_INFO, &describe(import.share, None));
        let headers = untraced(&headers);
        let on = ComposedMessage::new(reply.as_deref(), Some(&headers), payload);
        let onward = on.batch(&service.destinations.matches.subject);
        let deeper = |share: bool, _: Option<&str>| {
            describe(share && import.share, Some(&import.account.name))
        };
        let sender = Sender {
            no_echo: self.no_echo,
            describe: Some(&deeper),
            to_peers: self.to_peers,
            is_service: true,
            path,
        };
        let undelivered = sender.fan_out(
            buffers,
            &import.account,
            &onward,
            &service.destinations,
            false,
        );
        if undelivered.is_all_of(1)
            && let Some(reply) = &reply
        {
            // Nobody will answer.
            import.account.replies.take(reply, true);
        }
        undelivered
    }

    /// Takes the one message in `run`, published in `account`, to whoever waits
    /// for it as a reply.
    pub(super) fn reply(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
    ) -> Undelivered {
        let [message] = batch.messages else {
            return Undelivered::From(0);
        };
        let Some(pending) = account.replies.take(batch.subject, message.total_len == 0) else {
            return Undelivered::From(0);
        };
        // An answer to the answer comes back the same way.
        let reply = batch.reply(message).and_then(|reply| {
            pending.account.replies.expect(Pending {
                account: account.clone(),
                subject: reply.into(),
                response: pending.response,
                threshold: pending.threshold,
            })
        });
        let (headers, payload) = batch.parts(message);
        let headers = untraced(headers);
        let headers = (!headers.is_empty()).then_some(&*headers);
        let on = ComposedMessage::new(reply.as_deref(), headers, payload);
        let destinations = Destinations::of_subscribers(&pending.account, &pending.subject);
        // In the other account it is a new message, for its peers too, also if the
        // answer came from one: who asked may listen elsewhere.
        let sender = Sender {
            to_peers: true,
            is_service: true,
            ..*self
        };
        sender.fan_out(
            buffers,
            &pending.account,
            &on.batch(&pending.subject),
            &destinations,
            false,
        )
    }
}

/// The headers of a message that leaves its account. Its sender may not have
/// nats-servers publish in the account where it goes.
fn untraced(headers: &[u8]) -> Cow<'_, [u8]> {
    match header::find(headers, header::TRACE_DEST) {
        Some(_) => header::with(headers, header::TRACE_DEST, header::TRACE_DISABLED).into(),
        None => headers.into(),
    }
}
