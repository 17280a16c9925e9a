//! Requests that the broker itself answers, in every account.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::active::Active;
use crate::{
    account::Account,
    broker::{
        Broker,
        system_queue::{self, Query},
    },
    connection::buffers::ThreadBuffers,
    delivery::{ComposedMessage, Pick, SubjectBatch},
    security::permissions::{Pattern, Permissions, SubjectRules},
    telemetry::MonotonicMillis,
};

/// The request for the client's own user and permissions: sent by client libraries and the
/// nats command.
const USER_INFO: &[u8] = b"$SYS.REQ.USER.INFO";

/// Whether the broker itself answers requests to `subject` in `account`.
pub fn is_served(broker: &Broker, account: &Account, subject: &[u8]) -> bool {
    let is_request = || {
        let info = broker.info.read();
        Query::parse(subject, account, &info.server_id).is_some()
    };
    subject == USER_INFO || subject.starts_with(b"$SYS.") && is_request()
}

impl Active {
    /// Answers a subject batch of requests if its subject is a service of the broker's,
    /// or has it answered. Returns whether it is one.
    pub(super) fn serve(&mut self, buffers: &mut ThreadBuffers, batch: &SubjectBatch<'_>) -> bool {
        if batch.subject != USER_INFO {
            return system_queue::pass_on(&self.base.broker, &self.account, batch);
        }
        let answer = self.user_info();
        for message in batch.messages {
            if let Some(reply) = batch.reply(message) {
                self.answer(buffers, reply, answer.as_bytes());
            }
        }
        true
    }

    /// `{server, data}` as nats-server answers it.
    fn user_info(&self) -> String {
        let account = &self.account.name;
        let mut data = json!({
            "user": self.base.connection.identity.lock().user,
            "account": account,
            "account_name": account,
        });
        if let Some(permission_cache) = &self.permission_cache {
            data["permissions"] = permissions_json(permission_cache.permissions());
        }
        let server = self.base.broker.server_info();
        format!("{{\"server\":{server},\"data\":{data}}}")
    }

    /// Publishes a message of the broker's own.
    fn answer(&mut self, buffers: &mut ThreadBuffers, subject: &[u8], payload: &[u8]) {
        let matches = self.account.sublist.lookup(subject);
        let message = ComposedMessage::new(None, None, payload);
        let batch = message.batch(subject);
        for subscription in &matches.plain {
            subscription.deliver(buffers, &batch, Pick::ALL, MonotonicMillis::now(), false);
        }
    }
}

/// Permissions as nats-server writes them. What is not limited is -1 there.
fn permissions_json(permissions: &Permissions) -> Value {
    let mut value = json!({
        "publish": subjects_json(permissions.publish()),
        "subscribe": subjects_json(permissions.subscribe()),
    });
    if let Some(responses) = permissions.responses() {
        let max = responses.max.map_or(-1, i64::from);
        let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let ttl = responses.expires.map_or(-1, nanoseconds);
        value["responses"] = json!({ "max": max, "ttl": ttl });
    }
    value
}

fn subjects_json(rules: &SubjectRules) -> Value {
    let texts = |patterns: &[Pattern]| -> Vec<String> {
        let text = |pattern: &Pattern| match &pattern.queue {
            Some(queue) => format!("{} {queue}", pattern.subject),
            None => pattern.subject.clone(),
        };
        patterns.iter().map(text).collect()
    };
    let allow = texts(rules.allow.as_deref().unwrap_or_default());
    let deny = texts(&rules.deny);
    let lists = [("allow", allow), ("deny", deny)].into_iter();
    let lists = lists.filter(|(_, list)| !list.is_empty());
    lists
        .map(|(name, list)| (name.to_owned(), json!(list)))
        .collect::<Map<_, _>>()
        .into()
}
