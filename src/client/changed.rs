//! What new settings from a reload mean for a connected client.
//!
//! Each session checks once whether its client would be let in under the new settings, with
//! which identity, and into which account. If so, the client stays connected, whatever else
//! of its user or account has changed; only the subscriptions that would be refused are
//! ended. `server::reload` notifies all sessions ([`notify_all`]) and afterwards cuts the
//! clients that exceed the limits (`broker::surplus`).

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use monitor_client::text::plural;

use super::{
    active::{Active, Standing},
    base::refused,
    login::Decision,
    member::narrowed,
    permission_cache::PermissionCache,
    verbs::has_too_many_tokens,
};
use crate::{
    account::Account,
    broker::{Broker, limits::Limits},
    connection::{CloseReason, Connection, Kind, Subscription, buffers::ThreadBuffers},
    log,
    peer::{End, Peer},
    protocol::error::{ClientError, error_line, quoted},
    security::{
        permissions::Permissions,
        refusal::Refusal,
        verdict::{Login, Verdict},
    },
    sublist::Entry,
    telemetry::{event::EventKind, metrics},
};

/// How long a reload waits for all sessions to check. Later ones check before they handle
/// anything else.
const PATIENCE: Duration = Duration::from_secs(2);

/// Interval at which their completion is polled.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// Subscriptions that one client lost and that are logged one by one.
const REMOVED_LOGGED: usize = 10;

/// Has every session take over the settings in force, and waits for it.
pub fn notify_all(broker: &Broker) {
    let generation = broker.limits.generation();
    let mut waiting = broker.registry.open(Kind::Client);
    waiting
        .iter()
        .for_each(|connection| connection.notify_changed());
    let deadline = Instant::now() + PATIENCE;
    // A client that has not logged in has no access to lose, so nothing waits for it.
    let is_behind = |connection: &Arc<Connection>| {
        connection.settings.load(Ordering::Acquire) < generation
            && !connection.is_closing()
            && !connection.identity.lock().account.is_empty()
    };
    loop {
        waiting.retain(is_behind);
        if waiting.is_empty() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(POLL_EVERY);
    }
}

impl Active {
    /// Adopts settings that a reload has put in force. Returns whether there were other
    /// ones.
    pub(super) fn adopt_settings(&mut self, buffers: &mut ThreadBuffers) -> bool {
        if !self.base.is_out_of_date() {
            return false;
        }
        let generation = self.base.broker.limits.generation();
        let limits = self.narrowed_limits();
        self.base.renew(limits);
        if let Err(end) = self.judge_again(buffers) {
            self.end(buffers, end);
        }
        buffers.flush_touched();
        // The last step: a reload that waits for this session finds all else done.
        self.base
            .connection
            .settings
            .store(generation, Ordering::Release);
        true
    }

    fn narrowed_limits(&self) -> Arc<Limits> {
        let limits = self.base.listener.limits(&self.base.broker);
        narrowed(limits, &self.account.limits())
    }

    /// Authenticates the client again.
    fn judge_again(&mut self, buffers: &mut ThreadBuffers) -> Result<(), End> {
        if self.base.connection.is_closing() {
            return Ok(());
        }
        let is_required = self.base.listener.authentication.read().is_required();
        if let Standing::Silent { spoke, .. } = self.standing {
            if !is_required {
                // Login is still not required.
                return self.keep_subscriptions(buffers);
            }
            let says_who = !spoke || self.base.link.input.begins_connect();
            if says_who && self.base.connection.subscriptions.lock().is_empty() {
                // It has not sent CONNECT, or is about to, and now has to log in.
                self.standing = Standing::MustLogIn { spoke };
                return Ok(());
            }
        }
        let proved = self.base.connection.identity.lock().proof;
        match self.base.identify(&self.options, proved) {
            Verdict::Accept(login) => self.stay_as(buffers, login),
            Verdict::Check(check) => {
                self.check_again(check);
                Ok(())
            }
            Verdict::Refuse(refusal) => Err(self.refused_now(&refusal)),
        }
    }

    /// Acts on the proof that a client had to give again. What was found by settings
    /// that are no longer in force does not count.
    pub(super) fn conclude_again(
        &mut self,
        buffers: &mut ThreadBuffers,
        decision: Decision,
    ) -> Result<(), End> {
        if self.adopt_settings(buffers) || self.base.connection.is_closing() {
            // It was asked again with all else.
            return Ok(());
        }
        match decision {
            Decision::Anew => self.judge_again(buffers),
            Decision::Made(Ok(login)) => self.stay_as(buffers, login),
            Decision::Made(Err(refusal)) => Err(self.refused_now(&refusal)),
            Decision::TooLate | Decision::Aborted => Err(self.refused_now(&Refusal::Timeout)),
        }
    }

    /// The end of a client that would no longer be let in.
    fn refused_now(&self, refusal: &Refusal) -> End {
        let end = refused(&self.options.credentials, refusal);
        let detail = format!("{}, after a reload", end.detail);
        End {
            // It did not guess.
            login: None,
            detail,
            ..end
        }
    }

    /// The client keeps its connection under its present identity.
    fn stay_as(&mut self, buffers: &mut ThreadBuffers, login: Login) -> Result<(), End> {
        let Some(account) = self.base.broker.accounts.find(&login.account) else {
            return Err(self.refused_now(&Refusal::UnknownAccount));
        };
        let max_payload = self.base.limits.max_payload;
        {
            let mut identity = self.base.connection.identity.lock();
            identity.user = login.user;
            identity.account = login.account;
            identity.proof = login.proof;
        }
        let moves = !Arc::ptr_eq(&account, &self.account);
        match moves {
            true => self.move_to(buffers, account)?,
            false if !self.is_member() => self.join(account)?,
            false => {}
        }
        self.base.limits = self.narrowed_limits();
        self.permit(login.permissions);
        self.keep_subscriptions(buffers)?;
        let takes_info = self.base.connection.takes_info.load(Ordering::Relaxed);
        if takes_info && (moves || self.base.limits.max_payload != max_payload) {
            self.send_account_info(buffers);
        }
        Ok(())
    }

    /// Moves the client and its subscriptions to another account.
    fn move_to(&mut self, buffers: &mut ThreadBuffers, account: Arc<Account>) -> Result<(), End> {
        log::about(&self.base.connection).info(format_args!(
            "Moved from account {:?} to {:?}",
            self.account.name, account.name
        ));
        let before = self.base.connection.subscriptions.lock().drain();
        self.account.unsubscribe(buffers, &before);
        self.join(account)?;
        let series = metrics::series_number(Kind::Client, &self.account.name);
        self.base.connection.series.store(series, Ordering::Relaxed);
        for subscription in before {
            let moved = Arc::new(subscription.moved());
            self.base
                .connection
                .subscriptions
                .lock()
                .insert(moved.clone());
            self.account.subscribe(buffers, moved);
        }
        Ok(())
    }

    /// Puts the permissions of the user in force.
    pub(super) fn permit(&mut self, permissions: Option<Arc<Permissions>>) {
        let before = self.permission_cache.take();
        self.permission_cache = match (before, permissions) {
            (Some(before), Some(now)) if *before.permissions() == *now => Some(before),
            (before, now) => now.map(|now| Box::new(PermissionCache::new(now, before.as_deref()))),
        };
        let guard = self
            .permission_cache
            .as_ref()
            .map(|permission_cache| permission_cache.guard().clone());
        *self.base.connection.guard.lock() = guard;
    }

    /// Ends the subscriptions that the new settings do not allow, and notifies the client.
    fn keep_subscriptions(&self, buffers: &mut ThreadBuffers) -> Result<(), End> {
        let all: Vec<Arc<Subscription>> = {
            let subscriptions = self.base.connection.subscriptions.lock();
            subscriptions.iter().cloned().collect()
        };
        if self
            .base
            .limits
            .max_subscriptions
            .is_some_and(|max| all.len() > max)
        {
            let (reason, error) = (CloseReason::MaxSubscriptions, ClientError::MaxSubscriptions);
            let detail = format!("{}, after a reload", plural(all.len(), "subscription"));
            return Err(End::with_error(reason, error).with(detail));
        }
        let mut removed: Vec<(Arc<Subscription>, ClientError)> = all
            .into_iter()
            .filter_map(|subscription| {
                let error = self.judge_subscription(&subscription).err()?;
                Some((subscription, error))
            })
            .collect();
        // In the order in which they were made, if the client counts its sids upwards.
        removed.sort_by(|(one, _), (other, _)| {
            let key = |it: &Arc<Subscription>| (it.sid().len(), it.sid().to_vec());
            key(one).cmp(&key(other))
        });
        let (removed, errors): (Vec<_>, Vec<_>) = removed.into_iter().unzip();
        let mut table = self.base.connection.subscriptions.lock();
        for subscription in &removed {
            table.remove(subscription);
        }
        drop(table);
        self.account.unsubscribe(buffers, &removed);
        for error in &errors {
            self.base.connection.send(buffers, &error_line(error));
        }
        self.report_removed(&errors);
        Ok(())
    }

    /// Whether a subscription may stay under the new settings.
    ///
    /// # Errors
    ///
    /// Why not, in the order in which a new subscription is checked.
    fn judge_subscription(&self, subscription: &Subscription) -> Result<(), ClientError> {
        let (subject, queue) = (subscription.subject(), subscription.queue());
        let cache = self.permission_cache.as_ref();
        let judged = cache
            .map_or(Ok(false), |cache| cache.judges(subject, queue))
            .map_err(|_| ClientError::SubscriptionRemoved {
                subject: quoted(subject),
                queue: queue.map(quoted),
                sid: quoted(subscription.sid()),
            })?;
        if has_too_many_tokens(subject, self.base.limits.max_sub_tokens) {
            let subject = quoted(subject);
            return Err(ClientError::TooManyTokens { subject });
        }
        subscription.set_judged(judged);
        Ok(())
    }

    /// Logs the subscriptions that were removed; those without a permission are counted as
    /// violations.
    fn report_removed(&self, errors: &[ClientError]) {
        let about = || log::about(&self.base.connection);
        for error in errors.iter().take(REMOVED_LOGGED) {
            about().warn(format_args!("{error}, after a reload"));
        }
        let is_violation = |error: &&ClientError| error.is_permission_violation();
        let denied = errors.iter().filter(is_violation).count();
        let too_long = errors.len() - denied;
        if too_long > 0 {
            about().warn(format_args!(
                "{} removed: more tokens than max_sub_tokens",
                plural(too_long, "subscription")
            ));
        }
        if denied > 0 {
            let text = format!(
                "{} removed: no longer permitted",
                plural(denied, "subscription")
            );
            about()
                .code(EventKind::PermissionViolation.name())
                .warn(format_args!("{text}"));
            let (cid, who) = (self.base.connection.cid, self.base.connection.who());
            let telemetry = &self.base.broker.telemetry;
            telemetry
                .permission_violations
                .fetch_add(denied as u64, Ordering::Relaxed);
            let kind = EventKind::PermissionViolation;
            telemetry.events.record(kind, cid, &who, &text);
        }
    }
}
