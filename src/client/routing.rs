//! Routing: a run of messages is taken to everybody who wants it.

use std::sync::Arc;

use super::session::Session;
use crate::{
    connection::{
        Subscription,
        delivery::{Message, Pick, Run},
        worker::Worker,
    },
    protocol::CRLF,
    sublist::Matches,
    telemetry::Clock,
};

impl Session {
    /// Takes a run to everybody who wants it.
    pub(super) fn route(
        &mut self,
        worker: &mut Worker,
        run: &Run<'_>,
        matches: &Matches<Subscription>,
        flush: bool,
    ) {
        let now = match matches.is_empty() {
            true => Clock(0),
            false => Clock::now(),
        };
        // Messages from the run's beginning that a plain subscription took.
        let mut reached = 0;
        for subscription in &matches.plain {
            if self.is_echo(subscription) {
                continue;
            }
            let taken = subscription.deliver(worker, run, Pick::ALL, now, flush);
            reached = reached.max(taken);
        }
        let mut unreached: Vec<usize> = Vec::new();
        let mut taken_by_queues = false;
        for members in &matches.queues {
            let missed = self.deliver_to_queue(worker, run, members, now, flush);
            if !taken_by_queues {
                taken_by_queues = true;
                unreached = missed;
            } else {
                unreached.retain(|index| missed.contains(index));
            }
        }
        if run.subject.starts_with(b"$SYS.REQ.") && self.serve(worker, run) {
            reached = run.messages.len();
        }
        self.drop_expired(worker);
        if self.options.no_responders {
            let nobody = |index: &usize| *index >= reached;
            match taken_by_queues {
                true => unreached.retain(nobody),
                false => unreached = (reached..run.messages.len()).collect(),
            }
            for index in unreached {
                self.tell_no_responders(worker, run, &run.messages[index]);
            }
        }
    }

    /// Deals a run out to the members of a queue group, in turn from a random
    /// one on. Returns the messages that no member took.
    fn deliver_to_queue(
        &self,
        worker: &mut Worker,
        run: &Run<'_>,
        members: &[Arc<Subscription>],
        now: Clock,
        flush: bool,
    ) -> Vec<usize> {
        let start = fastrand::usize(..members.len());
        let mut missed = Vec::new();
        for first in 0..members.len().min(run.messages.len()) {
            let member = &members[(start + first) % members.len()];
            let pick = Pick {
                first,
                step: members.len(),
            };
            let taken = match self.is_echo(member) {
                true => 0,
                false => member.deliver(worker, run, pick, now, flush),
            };
            let picked = (first..run.messages.len()).step_by(members.len());
            missed.extend(picked.skip(taken));
        }
        // Somebody's share was not taken: whoever can takes it.
        missed.retain(|index| {
            !members.iter().any(|member| {
                !self.is_echo(member)
                    && member.deliver(worker, run, Pick::one(*index), now, flush) == 1
            })
        });
        missed
    }

    /// Whether a delivery would hand the client its own message against its wish.
    fn is_echo(&self, subscription: &Subscription) -> bool {
        !self.options.echo && Arc::ptr_eq(&subscription.connection, &self.connection)
    }

    /// Takes subscriptions that have had their last message out of the way.
    fn drop_expired(&self, worker: &mut Worker) {
        for subscription in worker.expired.drain(..) {
            let connection = &subscription.connection;
            connection.subscriptions.lock().remove(&subscription);
            self.account
                .unsubscribe(std::slice::from_ref(&subscription));
        }
    }

    /// Answers a request that reached nobody, if the client still listens.
    fn tell_no_responders(&mut self, worker: &mut Worker, run: &Run<'_>, message: &Message) {
        let Some(reply) = run.reply(message) else {
            return;
        };
        let matches = self.account.sublist.lookup(reply);
        let Some(listener) = matches
            .plain
            .iter()
            .find(|known| Arc::ptr_eq(&known.connection, &self.connection))
        else {
            return;
        };
        let tally = &self.context.telemetry.unanswered;
        tally.count(run.subject, 0, self.connection.cid);
        let headers = [b"NATS/1.0 503\r\nNats-Subject: ", run.subject, b"\r\n\r\n"].concat();
        let len = headers.len();
        let line = [
            b"HMSG ",
            reply,
            b" ",
            listener.sid(),
            format!(" {len} {len}\r\n").as_bytes(),
            &headers,
            CRLF,
        ]
        .concat();
        self.connection.send(worker, &line);
    }
}
