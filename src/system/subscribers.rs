//! The number of subscribers of a subject over all members of the cluster: local ones are
//! counted, the other members asked as nats-servers ask each other (`server/events.go`),
//! and answers received within [`PATIENCE`] are added.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::System;
use crate::{
    account::Account,
    broker::system_queue::{COUNTED, Request, SUBSCRIBERS_HERE},
    subject,
    sublist::Entry,
};

/// How long the other members may take. A nats-server that has no client in the
/// account keeps silent.
const PATIENCE: Duration = Duration::from_millis(500);

/// Questions that wait at a time; with more the oldest is answered with what has
/// come.
const WAITING_MAX: usize = 64;

/// The request of one member to another.
#[derive(Deserialize, Serialize)]
struct Question {
    acc: String,
    subject: String,
    /// The queue group, as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
}

/// A question that was sent to the other members.
struct Count {
    number: u64,
    deadline: Instant,
    /// Members that have not answered.
    missing: usize,
    sum: usize,
    account: Arc<Account>,
    reply: Box<[u8]>,
}

impl Count {
    fn send(&self, system: &System) {
        let sum = self.sum.to_string();
        system.deliver(&self.account, &self.reply, None, sum.as_bytes());
    }
}

/// The questions that wait for answers, the oldest first.
#[derive(Default)]
pub(super) struct Counting {
    waiting: VecDeque<Count>,
    last_number: u64,
}

impl Counting {
    /// When the first count is to be answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|count| count.deadline)
    }
}

impl System {
    /// `SUBJECT [GROUP]`: how many take messages to it.
    pub(super) fn count_subscribers(&self, request: &Request) {
        let mut words = request
            .body
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let (subject, group) = (words.next().unwrap_or_default(), words.next());
        let account = &request.account;
        let mut counting = self.counting.borrow_mut();
        counting.last_number += 1;
        let count = Count {
            number: counting.last_number,
            deadline: Instant::now() + PATIENCE,
            missing: self.members(),
            sum: subscribers(account, subject, group),
            account: account.clone(),
            reply: request.reply.clone(),
        };
        if count.missing == 0 {
            return count.send(self);
        }
        if counting.waiting.len() >= WAITING_MAX
            && let Some(oldest) = counting.waiting.pop_front()
        {
            oldest.send(self);
        }
        let reply = format!(
            "$SYS.REQ.SERVER.{}.{COUNTED}{}",
            self.server.id, count.number
        );
        counting.waiting.push_back(count);
        let question = super::envelope::to_json(&Question {
            acc: account.name.clone(),
            subject: String::from_utf8_lossy(subject).into_owned(),
            queue: group.map(|group| BASE64.encode(group)),
        });
        self.deliver(
            &self.account,
            SUBSCRIBERS_HERE.as_bytes(),
            Some(reply.as_bytes()),
            question.as_bytes(),
        );
    }

    /// A member's answer to the question of this number.
    pub(super) fn add_count(&self, number: &str, body: &[u8]) {
        let mut counting = self.counting.borrow_mut();
        let number = number.parse();
        let known = counting.waiting.iter_mut();
        let known = known
            .enumerate()
            .find(|(_, count)| Ok(count.number) == number);
        let Some((at, count)) = known else {
            return;
        };
        let more = std::str::from_utf8(body)
            .ok()
            .and_then(|text| text.parse().ok());
        count.sum = count.sum.saturating_add(more.unwrap_or(0));
        count.missing -= 1;
        if count.missing == 0
            && let Some(count) = counting.waiting.remove(at)
        {
            count.send(self);
        }
    }

    /// Sends the counts whose waiting time is over.
    pub(super) fn send_late_counts(&self) {
        let mut counting = self.counting.borrow_mut();
        let now = Instant::now();
        while counting.deadline().is_some_and(|deadline| deadline <= now)
            && let Some(count) = counting.waiting.pop_front()
        {
            count.send(self);
        }
    }

    /// The answer to another member's request: the local number. As with nats-server, a
    /// member without a client in the account does not answer.
    pub(super) fn subscribers_here(&self, body: &[u8]) -> Option<String> {
        let question: Question = serde_json::from_slice(body).ok()?;
        let account = self.server.broker.accounts.find(&question.acc)?;
        if account.connections() == 0 {
            return None;
        }
        let group = question.queue.as_deref().map(str::as_bytes);
        let group = group.map(|group| BASE64.decode(group)).transpose().ok()?;
        let subject = question.subject.as_bytes();
        Some(subscribers(&account, subject, group.as_deref()).to_string())
    }
}

/// How many subscribers here take messages to `subject`, in `group` if there is one.
fn subscribers(account: &Account, subject: &[u8], group: Option<&[u8]>) -> usize {
    let mut count = 0;
    account.sublist.for_each(|known| {
        let receives = match subject::is_wildcard(subject) {
            true => subject::is_subset(known.subject(), subject),
            false => subject::matches(known.subject(), subject),
        };
        count += usize::from(receives && (group.is_none() || group == known.queue()));
    });
    count
}
