//! Requests to other accounts and their replies: each message is composed anew with another subject
//! and, for a request, with a header that describes the requester.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Account, Destinations,
    destinations::Service,
    fan_out::{Sender, Undelivered},
    path::Path,
    replies::PendingReply,
};
use crate::{
    connection::buffers::ThreadBuffers,
    delivery::{ComposedMessage, SubjectBatch},
    protocol::header,
};

/// The header that describes the requester to the responder. Only brokers set it on messages
/// between accounts: a value that a client wrote is replaced.
const REQUEST_INFO: &str = "Nats-Request-Info";

/// JetStream acknowledgements are not replies: they keep their subject.
const ACK_PREFIX: &[u8] = b"$JS.ACK.";

impl Sender<'_> {
    /// Sends the single request in `batch`, published in `account`, to a service of another
    /// account.
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
        let all = Path::budget();
        let Some(path) = self.path.extend(import, &all) else {
            account.pruned_paths.fetch_add(1, Ordering::Relaxed);
            return Undelivered::From(0);
        };
        let reply = match batch.reply(message) {
            Some(reply) if !reply.starts_with(ACK_PREFIX) => {
                // Responders at other brokers need a way back.
                let pattern = import.account.replies.pattern();
                import.account.interest.want(buffers, pattern.as_bytes());
                let expected = import.account.replies.register(PendingReply {
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
        let headers = without_trace(&headers);
        let on = ComposedMessage::new(reply.as_deref(), Some(&headers), payload);
        let composed = on.batch(&service.destinations.matches.subject);
        let describe_further = |share: bool, _: Option<&str>| {
            describe(share && import.share, Some(&import.account.name))
        };
        let sender = Sender {
            no_echo: self.no_echo,
            describe: Some(&describe_further),
            to_peers: self.to_peers,
            is_service: true,
            path,
        };
        let undelivered = sender.fan_out(
            buffers,
            &import.account,
            &composed,
            &service.destinations,
            false,
        );
        if undelivered.is_all_of(1)
            && let Some(reply) = &reply
        {
            // There is no responder.
            import.account.replies.take(reply, true);
        }
        undelivered
    }

    /// Delivers the single message in `batch`, published in `account`, to the requester that waits
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
        // An answer to the reply comes back in the same way.
        let reply = batch.reply(message).and_then(|reply| {
            pending.account.replies.register(PendingReply {
                account: account.clone(),
                subject: reply.into(),
                response: pending.response,
                threshold: pending.threshold,
            })
        });
        let (headers, payload) = batch.parts(message);
        let headers = without_trace(headers);
        let headers = (!headers.is_empty()).then_some(&*headers);
        let on = ComposedMessage::new(reply.as_deref(), headers, payload);
        let destinations = Destinations::of_subscribers(&pending.account, &pending.subject);
        // In the other account it is a new message, also for the peers, even if the reply came from
        // one: the requester may be connected elsewhere.
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

/// The headers of a message that leaves its account. Its sender may not let nats-servers publish
/// trace events in the other account.
fn without_trace(headers: &[u8]) -> Cow<'_, [u8]> {
    match header::find(headers, header::TRACE_DEST) {
        Some(_) => header::with(headers, header::TRACE_DEST, header::TRACE_DISABLED).into(),
        None => headers.into(),
    }
}
