//! Requests that the broker itself answers, in every account.

use serde_json::json;

use super::{session::Session, system};
use crate::{
    COMPATIBLE_VERSION, VERSION,
    connection::{
        delivery::{Message, Pick, Run},
        worker::Worker,
    },
    protocol::CRLF,
    telemetry::Clock,
};

/// "Who am I": asked by client libraries and the nats command.
const USER_INFO: &[u8] = b"$SYS.REQ.USER.INFO";

impl Session {
    /// Answers a run of requests if its subject is a service of the broker's,
    /// or has it answered. Returns whether it is one.
    pub(super) fn serve(&mut self, worker: &mut Worker, run: &Run<'_>) -> bool {
        if run.subject != USER_INFO {
            return system::pass_on(&self.context, &self.account, run);
        }
        let answer = self.user_info();
        for message in run.messages {
            if let Some(reply) = run.reply(message) {
                self.answer(worker, reply, answer.as_bytes());
            }
        }
        true
    }

    /// `{server, data}` as nats-server answers it.
    fn user_info(&self) -> String {
        let account = &self.account.name;
        let info = self.context.info.read();
        json!({
            "server": {
                "name": info.server_name,
                "host": info.host,
                "id": info.server_id,
                "ver": COMPATIBLE_VERSION,
                "midge": VERSION,
                "jetstream": false,
                "flags": 0,
                "seq": self.context.system.next_message(),
                "time": Clock::now().time_of_day().to_rfc3339(),
            },
            "data": {
                "user": self.connection.identity.lock().user,
                "account": account,
                "account_name": account,
            },
        })
        .to_string()
    }

    /// Publishes a message of the broker's own.
    fn answer(&mut self, worker: &mut Worker, subject: &[u8], payload: &[u8]) {
        let matches = self.account.sublist.lookup(subject);
        let source = [payload.len().to_string().as_bytes(), CRLF, payload, CRLF].concat();
        let message = Message {
            tail_start: 0,
            tail_end: source.len() as u32,
            reply_len: 0,
            header_len: None,
            total_len: payload.len() as u32,
        };
        let run = Run {
            subject,
            source: &source,
            messages: &[message],
            shared: None,
        };
        for subscription in &matches.plain {
            subscription.deliver(worker, &run, Pick::ALL, Clock::now(), false);
        }
    }
}
