//! Routing: a run of messages is taken to everybody who wants it.

use std::sync::Arc;

use super::session::Session;
use crate::{
    connection::{
        Subscription,
        delivery::{Message, Pick, Run, deal_out},
        lookup_cache::Reach,
        remote::{Reached, Remotes, Share},
        worker::Worker,
    },
    protocol::CRLF,
    sublist::Entry,
    telemetry::Clock,
};

/// What has become of a run's messages so far.
struct Outcome {
    /// Messages from the run's beginning that somebody took.
    reached: usize,
    /// Messages that no queue group took, by index; `None` while there was no
    /// queue group.
    missed: Option<Vec<usize>>,
}

impl Session {
    /// Takes a run to everybody who wants it.
    pub(super) fn route(&mut self, worker: &mut Worker, run: &Run<'_>, reach: &Reach, flush: bool) {
        let matches = &reach.matches;
        let remotes = reach.remotes(&self.account.remote);
        let now = match matches.is_empty() && remotes.is_empty() {
            true => Clock(0),
            false => Clock::now(),
        };
        let mut outcome = Outcome {
            reached: 0,
            missed: None,
        };
        for subscription in &matches.plain {
            if self.is_echo(subscription) {
                continue;
            }
            let taken = subscription.deliver(worker, run, Pick::ALL, now, flush);
            outcome.reached = outcome.reached.max(taken);
        }
        // What is left of each queue group for its members elsewhere.
        let mut left: Vec<(&[u8], Vec<usize>)> = Vec::new();
        for members in &matches.queues {
            let excludes = |member: &Subscription| self.is_echo(member);
            let missed = deal_out(worker, run, members, excludes, now, flush);
            if !remotes.is_empty()
                && let Some(name) = members.first().and_then(|first| first.queue())
            {
                left.push((name, missed.clone()));
            }
            outcome.miss(missed);
        }
        if !remotes.is_empty() {
            self.route_to_peers(worker, run, remotes, left, now, flush, &mut outcome);
        }
        if run.subject.starts_with(b"$SYS.REQ.") && self.serve(worker, run) {
            outcome.reached = run.messages.len();
        }
        self.drop_expired(worker);
        if self.options.no_responders {
            for index in outcome.unreached(run.messages.len()) {
                self.tell_no_responders(worker, run, &run.messages[index]);
            }
        }
    }

    /// Takes a run to the peers of the cluster; of each queue group only what
    /// its members here `left`.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of route, kept apart from the common case"
    )]
    fn route_to_peers(
        &self,
        worker: &mut Worker,
        run: &Run<'_>,
        remotes: &Remotes,
        mut left: Vec<(&[u8], Vec<usize>)>,
        now: Clock,
        flush: bool,
        outcome: &mut Outcome,
    ) {
        let shares: Vec<Share> = remotes
            .queues()
            .map(|name| {
                let here = left.iter_mut().find(|(known, _)| *known == name);
                here.map_or(Share::All, |(_, missed)| {
                    Share::Some(std::mem::take(missed))
                })
            })
            .collect();
        let account = self.account.name.as_bytes();
        match remotes.deliver(worker, account, run, &shares, now, flush) {
            Reached::All => outcome.reached = run.messages.len(),
            Reached::Some(taken) if shares.is_empty() => debug_assert!(taken.is_empty()),
            Reached::Some(taken) => {
                outcome.miss(
                    (0..run.messages.len())
                        .filter(|at| taken.binary_search(at).is_err())
                        .collect(),
                );
            }
        }
    }

    /// Whether a delivery would hand the client its own message against its wish.
    fn is_echo(&self, subscription: &Subscription) -> bool {
        !self.options.echo && Arc::ptr_eq(&subscription.connection, &self.connection)
    }

    /// Takes subscriptions that have had their last message out of the way.
    fn drop_expired(&self, worker: &mut Worker) {
        for subscription in std::mem::take(&mut worker.expired) {
            let connection = &subscription.connection;
            connection.subscriptions.lock().remove(&subscription);
            self.account
                .unsubscribe(worker, std::slice::from_ref(&subscription));
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

impl Outcome {
    /// Notes what one more queue group did not take.
    fn miss(&mut self, missed: Vec<usize>) {
        match &mut self.missed {
            None => self.missed = Some(missed),
            Some(known) => known.retain(|index| missed.contains(index)),
        }
    }

    /// The messages of a run of `count` that nobody took.
    fn unreached(self, count: usize) -> Vec<usize> {
        match self.missed {
            Some(missed) => missed
                .into_iter()
                .filter(|at| *at >= self.reached)
                .collect(),
            None => (self.reached..count).collect(),
        }
    }
}
