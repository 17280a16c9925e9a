//! Routing: a run of messages is taken to everybody who wants it.

use std::sync::{Arc, atomic::Ordering};

use memchr::memchr;

use super::{batch::Held, session::Session};
use crate::{
    account::{
        Mapped, Reach,
        path::Path,
        spread::{Missed, Sender},
    },
    connection::{ClientInfo, delivery::Run, worker::Worker},
    protocol::CRLF,
};

/// Requests to one subject that reached nobody, until the client is told: what a
/// batch of them looks up may be more than one turn has time for.
pub(super) struct Unanswered {
    subject: Box<[u8]>,
    /// Where the answers go, a blank behind each.
    replies: Vec<u8>,
}

impl Session {
    /// Takes a run to everybody who wants it.
    pub(super) fn route(&mut self, worker: &mut Worker, run: &Run<'_>, reach: &Reach, flush: bool) {
        if let Some(mapped) = reach.mapped() {
            return self.route_mapped(worker, run, mapped, flush);
        }
        let describe = |share: bool, via: Option<&str>| self.describe(share, via);
        let sender = Sender {
            deaf: (!self.options.echo).then_some(&self.connection),
            describe: Some(&describe),
            to_peers: true,
            is_service: false,
            path: Path::START,
        };
        let mut missed = sender.spread(worker, &self.account, run, reach, flush);
        if run.subject.starts_with(b"$SYS.") && self.serve(worker, run) {
            missed = Missed::These(Vec::new());
        }
        self.context.accounts.drop_expired(worker);
        let unheard = missed.indexes(run.messages.len());
        self.note_run(worker, run, &unheard);
        if self.options.no_responders {
            self.tell_unheard(worker, run, &unheard);
        }
    }

    /// Answers those messages of a run, if they are requests: they reached nobody.
    fn tell_unheard(&mut self, worker: &mut Worker, run: &Run<'_>, unheard: &[usize]) {
        let mut left = Vec::new();
        let messages = unheard.iter().map(|index| &run.messages[*index]);
        for reply in messages.filter_map(|message| run.reply(message)) {
            if worker.is_spent() {
                left.extend_from_slice(reply);
                left.push(b' ');
            } else {
                self.tell_no_responders(worker, run.subject, reply);
            }
        }
        if !left.is_empty() {
            self.unanswered.push(Unanswered {
                subject: run.subject.into(),
                replies: left,
            });
        }
    }

    /// Goes on with the answers that the turns before had no time for.
    pub(super) fn tell_rest(&mut self, worker: &mut Worker) {
        for mut some in std::mem::take(&mut self.unanswered) {
            let mut at = 0;
            while !worker.is_spent()
                && let Some(len) = memchr(b' ', &some.replies[at..])
            {
                let reply = &some.replies[at..at + len];
                self.tell_no_responders(worker, &some.subject, reply);
                at += len + 1;
            }
            some.replies.drain(..at);
            if !some.replies.is_empty() {
                self.unanswered.push(some);
            }
        }
        if !self.unanswered.is_empty() {
            self.held = Held::ForOthers;
        }
    }

    /// Counts a run for those who watch, and what of it reached nobody.
    fn note_run(&self, worker: &mut Worker, run: &Run<'_>, unheard: &[usize]) {
        let refused = std::mem::take(&mut worker.refused);
        if refused > 0 {
            self.context.telemetry.replies_full.count_all(
                self.account.name.as_bytes(),
                refused,
                self.connection.cid,
            );
        }
        let (refused, unheard) = unheard.split_at(unheard.len().min(refused));
        let bytes = |of: &[usize]| {
            let lens = of.iter().map(|index| run.messages[*index].total_len);
            lens.map(u64::from).sum()
        };
        let connection = &self.connection;
        for (missed, msgs_to, bytes_to) in [
            (unheard, &connection.unheard_msgs, &connection.unheard_bytes),
            (refused, &connection.refused_msgs, &connection.refused_bytes),
        ] {
            if !missed.is_empty() {
                msgs_to.add(missed.len() as u64);
                bytes_to.add(bytes(missed));
            }
        }
        let series = self.connection.series.load(Ordering::Relaxed);
        let count = run.messages.len() as u64;
        worker.log_run(run.subject, series, count, run.bytes(), unheard.is_empty());
    }

    /// Takes a run where its subject is mapped to.
    fn route_mapped(&mut self, worker: &mut Worker, run: &Run<'_>, mapped: &Mapped, flush: bool) {
        for messages in run.messages.chunks(mapped.stays_for()) {
            let reach = mapped.choose(&self.account, run.subject, &Path::START);
            let run = Run {
                subject: &reach.matches.subject,
                messages,
                ..*run
            };
            self.route(worker, &run, &reach, flush);
        }
    }

    /// What a responder in another account is told of this client: its account
    /// and round trip time, and all else with `share`. `via` is the account
    /// that passed the request on.
    fn describe(&self, share: bool, via: Option<&str>) -> String {
        let mut info = self.connection.client_info();
        if share {
            let broker = self.context.info.read();
            info.server.clone_from(&broker.server_name);
            info.cluster.clone_from(&broker.cluster);
            // A name that its credentials give; there are none that do.
            info.name_tag.clear();
        } else {
            info = ClientInfo {
                account: info.account,
                rtt: info.rtt,
                ..ClientInfo::default()
            };
        }
        info.service = via.unwrap_or_default().to_owned();
        // A struct of strings and numbers always serialises.
        serde_json::to_string(&info).unwrap_or_default()
    }

    /// Answers a request to `subject` that reached nobody, if the client still
    /// listens to the reply.
    fn tell_no_responders(&mut self, worker: &mut Worker, subject: &[u8], reply: &[u8]) {
        let reach = self.cache.find(reply, &self.account);
        let looked_up;
        let listeners = match reach.mapped() {
            None => &reach.matches.plain,
            // What is published there goes elsewhere; the answer does not.
            Some(_) => {
                looked_up = self.account.sublist.lookup(reply);
                &looked_up.plain
            }
        };
        let mut known = listeners.iter();
        let listener = known.find(|known| Arc::ptr_eq(&known.connection, &self.connection));
        let passed_over = listeners.len() - known.len();
        worker.cost += 1 + passed_over + self.cache.take_cost();
        let Some(listener) = listener else {
            return;
        };
        let tally = &self.context.telemetry.unanswered;
        tally.count(subject, 0, self.connection.cid);
        let headers = [b"NATS/1.0 503\r\nNats-Subject: ", subject, b"\r\n\r\n"].concat();
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
