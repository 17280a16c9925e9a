//! Requests to other accounts and their replies: each message is composed anew with another subject
//! and, for a request, with a header that describes the requester.

use std::sync::Arc;

use super::{
    Account, Destinations,
    destinations::Service,
    fan_out::{Sender, Undelivered},
    imports::ServiceImport,
    latency::{Measured, Outcome},
    path::Path,
    replies::PendingReply,
};
use crate::{
    config::accounts::ResponseKind,
    connection::buffers::ThreadBuffers,
    delivery::{ComposedMessage, SubjectBatch, leaf_side::Source},
    protocol::{
        header,
        message_trace::{MessageTrace, TRACE_DEST, survey::WayStep, untraced},
    },
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
            account.note_pruned(buffers, 1);
            return Undelivered::From(0);
        };
        let measured = self.measure(buffers, account, import, batch);
        let reply = match batch.reply(message) {
            Some(reply) if !reply.starts_with(ACK_PREFIX) => {
                // Responders at other brokers need a way back.
                let pattern = import.account.replies.pattern();
                import.account.interest.want(buffers, pattern.as_bytes());
                let is_measured = measured.is_some();
                let subject: Arc<[u8]> = reply.into();
                let expected = import.account.replies.register(PendingReply {
                    account: account.clone(),
                    subject: subject.clone(),
                    response: import.response,
                    threshold: import.threshold,
                    measured,
                });
                match expected {
                    Some(reply) => {
                        if is_measured && let Some(token) = import.account.replies.token(&reply) {
                            account
                                .latency
                                .asked()
                                .note(&subject, &import.account, token);
                        }
                        Some(reply)
                    }
                    None => {
                        buffers.refused += 1;
                        return Undelivered::From(0);
                    }
                }
            }
            None => {
                if let Some(measured) = measured {
                    measured.end(Outcome::BadRequest);
                }
                None
            }
            reply => reply.map(<[u8]>::to_vec),
        };
        let (headers, payload) = batch.parts(message);
        let headers = header::with(headers, REQUEST_INFO, &describe(import.share, None));
        let subject = &*service.destinations.matches.subject;
        let crossing =
            Crossing::begin(buffers, account, import, (batch.subject, subject), &headers);
        let on = ComposedMessage::new(reply.as_deref(), Some(&crossing.headers), payload);
        let composed = on.batch(subject);
        let describe_further = |share: bool, _: Option<&str>| {
            describe(share && import.share, Some(&import.account.name))
        };
        let sender = Sender {
            no_echo: self.no_echo,
            describe: Some(&describe_further),
            to_peers: self.to_peers,
            from: self.from,
            // What a leafnode named is for groups of its account.
            groups: None,
            as_it_came: None,
            is_service: true,
            path,
        };
        let undelivered = match crossing.ends_here {
            true => Undelivered::From(0),
            false => sender.fan_out(
                buffers,
                &import.account,
                &composed,
                &service.destinations,
                false,
            ),
        };
        crossing.end(buffers, import);
        let is_only_traced = buffers
            .message_trace
            .as_ref()
            .is_some_and(|trace| trace.only);
        if (undelivered.is_all_of(1) || is_only_traced)
            && let Some(reply) = &reply
        {
            // There is no responder.
            let pending = import.account.replies.take(reply, true);
            if let Some(pending) = pending.filter(|_| !is_only_traced) {
                pending.end_measuring(Outcome::NoResponder);
            }
        }
        undelivered
    }

    /// Begins to measure the request in `batch`, if it is to be measured.
    #[inline]
    fn measure(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Account,
        import: &ServiceImport,
        batch: &SubjectBatch<'_>,
    ) -> Option<Box<Measured>> {
        let terms = import.latency.as_ref()?;
        let (Some(describe), [message]) = (self.describe, batch.messages) else {
            return None;
        };
        // A service with several replies to a request has no single latency.
        let is_meant = import.response == ResponseKind::Singleton
            && account.latency.asked().has_room()
            && buffers.survey().is_none();
        let (headers, _) = batch.parts(message);
        match is_meant {
            true => terms.begin(headers, || describe(import.share, None)),
            false => None,
        }
    }

    /// Ends the measuring of the request that `batch` in `account` replies to.
    #[cold]
    fn answered(&self, account: &Account, batch: &SubjectBatch<'_>, measured: Measured) {
        match self.describe {
            Some(describe) => measured.answered(describe(true, None)),
            // The responder is at another broker.
            None => {
                if let Some(token) = account.replies.token(batch.subject) {
                    account.latency.answered_elsewhere(token, measured);
                }
            }
        }
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
        if buffers.survey().is_some() {
            return self.survey_reply(buffers, account, batch);
        }
        let Some(mut pending) = account.replies.take(batch.subject, message.total_len == 0) else {
            return Undelivered::From(0);
        };
        if let Some(measured) = pending.measured.take() {
            self.answered(account, batch, *measured);
        }
        // An answer to the reply comes back in the same way.
        let reply = batch.reply(message).and_then(|reply| {
            pending.account.replies.register(PendingReply {
                account: account.clone(),
                subject: reply.into(),
                response: pending.response,
                threshold: pending.threshold,
                measured: None,
            })
        });
        let (headers, payload) = batch.parts(message);
        let trace = buffers.message_trace.take();
        let headers = untraced(headers, trace.is_some());
        let headers = (!headers.is_empty()).then_some(&*headers);
        let on = ComposedMessage::new(reply.as_deref(), headers, payload);
        let destinations = Destinations::of_subscribers(&pending.account, &pending.subject);
        // In the other account it is a new message, also for the peers, even if the reply came from
        // one: the requester may be connected elsewhere.
        let sender = Sender {
            to_peers: true,
            from: Source::Here,
            groups: None,
            as_it_came: None,
            is_service: true,
            ..*self
        };
        let mut undelivered = Undelivered::From(0);
        let is_only_traced = trace.as_ref().is_some_and(|trace| trace.only);
        if !is_only_traced {
            undelivered = sender.fan_out(
                buffers,
                &pending.account,
                &on.batch(&pending.subject),
                &destinations,
                false,
            );
        }
        if let Some(mut trace) = trace {
            trace.service_import(&pending.account.name, batch.subject, &pending.subject);
            buffers.message_trace = Some(trace);
        }
        undelivered
    }
}

/// A message on its way to another account by an import, and its trace.
struct Crossing {
    /// The headers of the message in the other account.
    headers: Vec<u8>,
    /// Whether it is not delivered there, as it is only to be traced.
    ends_here: bool,
    /// The trace, if what happens in the other account is not noted in it.
    paused: Option<Box<MessageTrace>>,
    /// Whether a survey follows it there.
    is_surveyed: bool,
    /// Where the events of brokers in the other account go to come back, the subject for events
    /// before, and the hops so far.
    way_back: Option<(String, String, usize)>,
}

impl Crossing {
    /// Notes in the trace that the message goes from `account` through an import, from one subject
    /// to another. Its sender may not have trace events published in the other account, so the
    /// trace ends there or its events come back.
    fn begin(
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        import: &ServiceImport,
        (from, to): (&[u8], &[u8]),
        headers: &[u8],
    ) -> Self {
        let mut crossing = Self {
            headers: Vec::new(),
            ends_here: false,
            paused: None,
            is_surveyed: false,
            way_back: None,
        };
        let Some(mut trace) = buffers.message_trace.take() else {
            crossing.headers = untraced(headers, false).into_owned();
            return crossing;
        };
        if let Some(survey) = &mut trace.survey {
            let rule = format!(
                "import of the service {} of account {}",
                import.local_subject, import.account.name
            );
            let name = &import.account.name;
            crossing.is_surveyed = survey.enter(WayStep::ServiceImport, rule, 100, name, to);
            crossing.ends_here = !crossing.is_surveyed;
            crossing.headers = headers.to_vec();
            buffers.message_trace = Some(trace);
            return crossing;
        }
        trace.service_import(&import.account.name, from, to);
        let dest = match import.allow_trace {
            true => import.account.replies.register(PendingReply {
                account: account.clone(),
                subject: trace.dest.as_bytes().into(),
                response: ResponseKind::Stream,
                threshold: import.threshold,
                measured: None,
            }),
            false => None,
        };
        let dest = dest.and_then(|dest| String::from_utf8(dest).ok());
        let Some(dest) = dest else {
            crossing.headers = untraced(headers, true).into_owned();
            crossing.ends_here = trace.only;
            crossing.paused = Some(trace);
            return crossing;
        };
        let pattern = import.account.replies.pattern();
        import.account.interest.want(buffers, pattern.as_bytes());
        crossing.headers = header::with(headers, TRACE_DEST, &dest);
        let before = std::mem::replace(&mut trace.dest, dest.clone());
        crossing.way_back = Some((dest, before, trace.hops()));
        buffers.message_trace = Some(trace);
        crossing
    }

    /// Ends what the beginning has changed.
    fn end(self, buffers: &mut ThreadBuffers, import: &ServiceImport) {
        if self.is_surveyed
            && let Some(survey) = buffers.survey()
        {
            survey.leave();
        }
        if let Some(paused) = self.paused {
            buffers.message_trace = Some(paused);
        }
        if let Some((dest, before, hops)) = self.way_back
            && let Some(trace) = &mut buffers.message_trace
        {
            trace.dest = before;
            if trace.hops() == hops {
                // No other broker will send an event.
                import.account.replies.take(dest.as_bytes(), true);
            }
        }
    }
}
