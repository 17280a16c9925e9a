//! A survey: who would get a message that a client of an account publishes. A message without
//! content goes through [`Sender::fan_out`] as every other one does; what is left to chance there is
//! gone through here, and nothing changes or is sent. See
//! [`protocol::message_trace::survey`](crate::protocol::message_trace::survey).
//!
//! `/pathz` calls [`survey`], on a thread that serves nobody.

use std::sync::Arc;

use super::{
    Account, Destinations,
    fan_out::{Sender, Undelivered},
    path::Path,
};
use crate::{
    connection::{
        Connection,
        buffers::{ThreadBuffers, with_buffers},
    },
    delivery::{ComposedMessage, SubjectBatch, leaf_side::Source},
    protocol::message_trace::{
        MessageTrace,
        survey::{Survey, Surveyed, WayStep},
    },
};

/// Who would get a message to `subject` that is published in `account`, or that another broker sends
/// here if `is_routed`, with the first `rows_max` subscriptions by name. `sender` is the client that
/// would publish it, if it is one's, and whether it receives its own messages. `is_served` says of an
/// account's name and a subject whether the broker itself answers there.
pub fn survey(
    account: &Arc<Account>,
    subject: &[u8],
    sender: Option<(&Arc<Connection>, bool)>,
    is_routed: bool,
    rows_max: usize,
    is_served: impl Fn(&str, &[u8]) -> bool,
) -> Surveyed {
    let no_echo = sender.filter(|(_, echo)| !echo).map(|(sender, _)| sender);
    let describe = |_: bool, _: Option<&str>| "{}".to_owned();
    let routing = Sender {
        no_echo,
        // As a message from another broker, which goes neither to other accounts nor to a third one.
        describe: (!is_routed).then_some(&describe),
        to_peers: !is_routed,
        from: match is_routed {
            true => Source::Route(None),
            false => Source::Here,
        },
        groups: None,
        as_it_came: None,
        is_service: false,
        path: Path::START,
    };
    let mut survey = Survey::new(rows_max, sender.map_or(0, |(sender, _)| sender.cid));
    survey.enter(WayStep::Publish, String::new(), 100, &account.name, subject);
    let message = ComposedMessage::new(None, None, b"");
    let destinations = match is_routed {
        true => Destinations::of_subscribers(account, subject),
        false => Destinations::resolve(account, subject),
    };
    with_buffers(|buffers| {
        buffers.message_trace = Some(Box::new(MessageTrace::of_survey(survey)));
        routing.fan_out(
            buffers,
            account,
            &message.batch(subject),
            &destinations,
            false,
        );
        let trace = buffers.message_trace.take();
        trace.and_then(|trace| trace.survey)
    })
    .map_or_else(Surveyed::default, |survey| survey.finish(is_served))
}

impl Sender<'_> {
    /// Goes all ways of the mapping of the subject.
    #[cold]
    pub(super) fn survey_mapped(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
    ) -> Undelivered {
        let mut undelivered = Undelivered::From(0);
        let imports = account.imports();
        let mapping = imports
            .as_ref()
            .and_then(|imports| imports.mapping(batch.subject));
        for way in mapping.iter().flat_map(|mapping| mapping.ways()) {
            let destinations =
                Destinations::mapped_to(way.transform, account, batch.subject, &self.path);
            let subject = &*destinations.matches.subject;
            let Some(survey) = buffers.survey() else {
                break;
            };
            if !survey.enter(
                WayStep::Mapping,
                way.rule,
                way.weight,
                &account.name,
                subject,
            ) {
                break;
            }
            let mapped = SubjectBatch { subject, ..*batch };
            let of_way = self.fan_out(buffers, account, &mapped, &destinations, false);
            undelivered = undelivered.and(of_way);
            if let Some(survey) = buffers.survey() {
                survey.leave();
            }
        }
        undelivered
    }

    /// Follows the message as a reply to a request of another account, which goes on waiting.
    #[cold]
    pub(super) fn survey_reply(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
    ) -> Undelivered {
        let Some(pending) = account.replies.find(batch.subject) else {
            return Undelivered::From(0);
        };
        let Some(survey) = buffers.survey() else {
            return Undelivered::From(0);
        };
        let name = &pending.account.name;
        let rule = format!("a request of account {name} waits for it");
        if !survey.enter(WayStep::Reply, rule, 100, name, &pending.subject) {
            return Undelivered::From(0);
        }
        let destinations = Destinations::of_subscribers(&pending.account, &pending.subject);
        let sender = Sender {
            to_peers: true,
            from: Source::Here,
            groups: None,
            as_it_came: None,
            is_service: true,
            ..*self
        };
        let reply = SubjectBatch {
            subject: &pending.subject,
            ..*batch
        };
        let undelivered = sender.fan_out(buffers, &pending.account, &reply, &destinations, false);
        if let Some(survey) = buffers.survey() {
            survey.leave();
        }
        undelivered
    }
}
