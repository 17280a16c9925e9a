//! Subscribing, publishing and receiving, for messages between the sessions of several brokers.

use std::time::{Duration, Instant};

use super::session::{LINES_SKIPPED_MAX, Session};
use crate::status::Failure;

/// Largest payload that is taken; those of a check are much smaller.
const PAYLOAD_BYTES_MAX: usize = 1024;

/// A message that was delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Id of the subscription.
    pub sid: u64,
    /// Where the answer goes.
    pub reply: Option<String>,
    /// Bytes that are no UTF-8 are replaced.
    pub payload: String,
}

impl Session<'_> {
    /// Subscribes; the broker's answer is not waited for.
    ///
    /// # Errors
    /// The broker ended the session: critical. No time is left.
    pub fn subscribe(
        &mut self,
        subject: &str,
        queue_group: Option<&str>,
        sid: u64,
    ) -> Result<(), Failure> {
        let group = queue_group.map_or_else(String::new, |group| format!("{group} "));
        self.send(format!("SUB {subject} {group}{sid}\r\n").as_bytes())
    }

    /// Publishes; `reply` is where an answer shall go.
    ///
    /// # Errors
    /// As [`Session::subscribe`].
    pub fn publish(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        payload: &str,
    ) -> Result<(), Failure> {
        let reply = reply.map_or_else(String::new, |reply| format!("{reply} "));
        let length = payload.len();
        self.send(format!("PUB {subject} {reply}{length}\r\n{payload}\r\n").as_bytes())
    }

    /// The next message; `None` if none begins within `wait`.
    ///
    /// # Errors
    /// As [`Session::subscribe`]; the broker forbids a subject, or sends something else than
    /// messages: unknown.
    pub fn next_message(&mut self, wait: Duration) -> Result<Option<Message>, Failure> {
        let end = Instant::now() + wait;
        let mut skipped = 0;
        while skipped < LINES_SKIPPED_MAX {
            let Some(line) = self.take_line()? else {
                let left = end.saturating_duration_since(Instant::now());
                match left.is_zero() || !self.read_some(Some(left))? {
                    true => return Ok(None),
                    false => continue,
                }
            };
            if let Some(head) = line.strip_prefix("MSG ") {
                return self.message(head).map(Some);
            }
            self.answer(&line)?;
            skipped += 1;
        }
        Err(self.not_a_broker("talks without delivering"))
    }

    /// The message whose first line has been read: `SUBJECT SID [REPLY] LENGTH`.
    fn message(&mut self, head: &str) -> Result<Message, Failure> {
        let words: Vec<&str> = head.split_ascii_whitespace().collect();
        let (sid, reply, length) = match words[..] {
            [_, sid, length] => (sid, None, length),
            [_, sid, reply, length] => (sid, Some(reply), length),
            _ => return Err(self.not_a_broker("sent half a message")),
        };
        let (Ok(sid), Ok(length)) = (sid.parse(), length.parse::<usize>()) else {
            return Err(self.not_a_broker("sent a message without a number"));
        };
        if length > PAYLOAD_BYTES_MAX {
            return Err(self.not_a_broker(&format!("delivered {length} bytes")));
        }
        Ok(Message {
            sid,
            reply: reply.map(str::to_owned),
            payload: self.take_payload(length)?,
        })
    }
}
