//! The operations of a logged-in client.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use monitor_client::text::plural;

use super::{
    active::{Active, Standing},
    login::LogsIn,
    trace::trace_in,
};
use crate::{
    broker::info::info_for,
    connection::{CloseReason, Subscription, buffers::ThreadBuffers},
    log,
    peer::End,
    protocol::{
        OK, PONG,
        error::{ClientError, error_line, quoted},
        info::Info,
        json_fault,
        parse::Op,
    },
    subject::{self, TOKENS_MAX},
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Queue group names that the broker keeps for itself.
const RESERVED_QUEUE: &[u8] = b"_sys_";

/// Violations of one connection that are reported individually.
const VIOLATIONS_REPORTED: u64 = 10;

/// Least time between two reports afterwards.
const VIOLATION_PAUSE: Duration = Duration::from_secs(10);

impl Active {
    /// Acts on one operation; publishes are handled where their payload is.
    pub(super) fn act(&mut self, buffers: &mut ThreadBuffers, op: Op<'_>) -> Result<(), End> {
        if self.base.trace.is_on() {
            trace_in(self.base.trace, &self.base.connection, &op);
        }
        match op {
            Op::Connect(json) => self.connect(buffers, json),
            Op::Subscribe {
                subject,
                queue,
                sid,
            } => {
                self.subscribe(buffers, subject, queue, sid);
                Ok(())
            }
            Op::Unsubscribe { sid, max } => {
                self.unsubscribe(buffers, sid, max);
                Ok(())
            }
            Op::Ping => {
                self.answer_ping(buffers);
                Ok(())
            }
            Op::Pong => {
                if let Some(rtt) = self.base.link.keepalive.pong() {
                    self.base.connection.set_rtt(rtt);
                }
                Ok(())
            }
            // A list would pass as the fields in their order.
            Op::Info(json) if !json.starts_with(b"{") => Err(End::violation("bad INFO: no object")),
            Op::Info(json) => match serde_json::from_slice::<Info>(json) {
                Ok(_) => Ok(()),
                Err(error) => Err(End::violation(format!("bad INFO: {}", json_fault(&error)))),
            },
            Op::Ok => Ok(()),
            Op::Err(text) => {
                let end = End::without_error(CloseReason::ParseError, "Client Error");
                // A client that did not log in has met no error that it could name.
                Err(match self.is_member() {
                    true => end.quoting(text, true),
                    false => end,
                })
            }
            Op::Publish(_) => Ok(()),
        }
    }

    fn subscribe(
        &mut self,
        buffers: &mut ThreadBuffers,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) {
        self.base.link.keepalive.busy();
        self.base.connection.active(MonotonicMillis::now());
        let limits = &self.base.limits;
        let permission_cache = self.permission_cache.as_ref();
        let judged = permission_cache.map_or(Ok(false), |permission_cache| {
            permission_cache.judges(subject, queue)
        });
        let Some(judged) = judged.ok().filter(|_| queue != Some(RESERVED_QUEUE)) else {
            return self.complain(
                buffers,
                ClientError::SubscriptionViolation {
                    subject: quoted(subject),
                    queue: queue.map(quoted),
                },
            );
        };
        if has_too_many_tokens(subject, limits.max_sub_tokens) {
            let subject = quoted(subject);
            return self.complain(buffers, ClientError::TooManyTokens { subject });
        }
        if !self.account.has_capacity_for(subject, queue, sid) {
            return self.complain(buffers, ClientError::MaxSubscriptions);
        }
        let subscription = {
            let mut subscriptions = self.base.connection.subscriptions.lock();
            if self
                .base
                .limits
                .max_subscriptions
                .is_some_and(|max| subscriptions.len() >= max)
            {
                drop(subscriptions);
                return self.complain(buffers, ClientError::MaxSubscriptions);
            }
            if subscriptions.get(sid).is_some() {
                None
            } else if !subject::is_valid(subject) {
                drop(subscriptions);
                return self.complain(buffers, ClientError::InvalidSubject);
            } else {
                let connection = self.base.connection.clone();
                let subscription = Subscription::new(connection, subject, queue, sid);
                subscription.set_judged(judged);
                let subscription = Arc::new(subscription);
                subscriptions.insert(subscription.clone());
                Some(subscription)
            }
        };
        if let Some(subscription) = subscription {
            self.account.subscribe(buffers, subscription);
        }
        self.confirm(buffers);
    }

    fn unsubscribe(&mut self, buffers: &mut ThreadBuffers, sid: &[u8], max: Option<u64>) {
        self.base.link.keepalive.busy();
        self.base.connection.active(MonotonicMillis::now());
        let found = self.base.connection.subscriptions.lock().get(sid).cloned();
        if let Some(subscription) = found {
            match max {
                Some(max) if max > subscription.delivered.value() => subscription.set_max(max),
                _ => self.drop_subscription(buffers, &subscription),
            }
        }
        self.confirm(buffers);
    }

    /// Ends one subscription of this connection.
    pub(super) fn drop_subscription(
        &self,
        buffers: &mut ThreadBuffers,
        subscription: &Arc<Subscription>,
    ) {
        self.base.trace.ended(&self.base.connection, subscription);
        self.base
            .connection
            .subscriptions
            .lock()
            .remove(subscription);
        self.account
            .unsubscribe(buffers, std::slice::from_ref(subscription));
    }

    fn answer_ping(&mut self, buffers: &mut ThreadBuffers) {
        self.base.link.keepalive.busy();
        self.base
            .trace
            .out(&self.base.connection, format_args!("PONG"));
        self.base.connection.send(buffers, PONG);
        let is_first = match &mut self.standing {
            Standing::Member { pinged, .. } => !std::mem::replace(pinged, true),
            _ => false,
        };
        if is_first && self.options.protocol >= 1 {
            self.send_account_info(buffers);
        }
        self.note_takes_info();
    }

    /// INFO may be sent at any time to a client that supports it and has had its
    /// first PONG.
    pub(super) fn note_takes_info(&self) {
        let pinged = matches!(self.standing, Standing::Member { pinged: true, .. });
        let takes_info = pinged && self.options.protocol >= 1;
        self.base
            .connection
            .takes_info
            .store(takes_info, Ordering::Relaxed);
    }

    /// Sends INFO with what concerns the client's account.
    pub(super) fn send_account_info(&self, buffers: &mut ThreadBuffers) {
        let mut info = info_for(&self.base.broker, &self.base.connection);
        info.connect_info = true;
        info.remote_account = self.account.name.clone();
        info.acc_is_sys = self.account.is_system;
        info.max_payload = i64::try_from(self.base.limits.max_payload).unwrap_or(i64::MAX);
        self.base.connection.send(buffers, &info.line());
    }

    /// `+OK` for a verbose client.
    pub(super) fn confirm(&self, buffers: &mut ThreadBuffers) {
        if self.options.verbose {
            self.base
                .trace
                .out(&self.base.connection, format_args!("OK"));
            self.base.connection.send(buffers, OK);
        }
    }

    /// Sends the client an error that does not end its connection.
    pub(super) fn complain(&self, buffers: &mut ThreadBuffers, error: ClientError) {
        if let Some(trace) = &mut buffers.message_trace {
            trace.refused(&error.to_string());
        }
        match error.is_permission_violation() {
            true => self.note_violation(&error),
            false => log::about(&self.base.connection).debug(format_args!("{error}")),
        }
        self.base
            .trace
            .out(&self.base.connection, format_args!("-ERR {error}"));
        self.base.connection.send(buffers, &error_line(&error));
    }

    /// Reports a violation to the event log: the first ones individually, later ones summed
    /// up at intervals.
    fn note_violation(&self, error: &ClientError) {
        let telemetry = &self.base.broker.telemetry;
        telemetry
            .permission_violations
            .fetch_add(1, Ordering::Relaxed);
        let now = MonotonicMillis::now();
        let count = self.violations.count.fetch_add(1, Ordering::Relaxed) + 1;
        let logged = MonotonicMillis(self.violations.logged.load(Ordering::Relaxed));
        if count > VIOLATIONS_REPORTED && logged.until(now) < VIOLATION_PAUSE {
            return;
        }
        self.violations.logged.store(now.0, Ordering::Relaxed);
        let count = plural(count, "violation");
        let text = format!("{error} ({count} of this connection so far)");
        if let Some(text) = telemetry.sessions.throttle(now, text.clone(), "lines") {
            log::about(&self.base.connection)
                .code(EventKind::PermissionViolation.name())
                .error(format_args!("{text}"));
        }
        telemetry.events.record(
            EventKind::PermissionViolation,
            self.base.connection.cid,
            &self.base.connection.who(),
            &text,
        );
    }
}

/// Whether a subject is longer than `max_sub_tokens` allows; 0 sets no limit.
pub(super) fn has_too_many_tokens(subject: &[u8], max_sub_tokens: usize) -> bool {
    let max = match max_sub_tokens {
        0 => TOKENS_MAX,
        max => max.min(TOKENS_MAX),
    };
    subject::tokens(subject).count() > max
}
