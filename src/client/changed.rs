//! A reload has put other settings in force: what that means for a client that
//! is connected.
//!
//! Each session is asked once whether it would be let in now, as whom, and into
//! which account. A client that would be stays connected, whatever else of its
//! user or account is otherwise; of its subscriptions go those that would be
//! refused. `server::reload` has all sessions look ([`notify_all`]) and afterwards
//! cuts those for which there is no place any more ([`keep_limits`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    Context, end::End, log_prefix, member::narrowed, permission_cache::PermissionCache, session,
};
use crate::{
    account::Account,
    connection::{
        CloseReason, Connection, Subscription,
        buffers::{ThreadBuffers, with_buffers},
    },
    protocol::error::{ClientError, error_line, quoted},
    security::{
        permissions::Permissions,
        refusal::Refusal,
        verdict::{Login, Verdict},
    },
    sublist::Entry,
    telemetry::{event::EventKind, metrics},
};

/// How long a reload waits until all sessions have looked. Later ones look before
/// they do anything else.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Subscriptions that one client lost and that are logged one by one.
const REMOVED_TOLD: usize = 10;

/// Has every session take over the settings in force, and waits for it.
pub fn notify_all(context: &Context) {
    let generation = context.limits.generation();
    let mut waiting = context.registry.open();
    waiting
        .iter()
        .for_each(|connection| connection.notify_changed());
    let deadline = Instant::now() + PATIENCE;
    // Who is not in yet has nothing to lose, and may take its time.
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
        thread::sleep(LOOK_EVERY);
    }
}

/// Cuts the clients for which there is no place any more: of an account those
/// that came first, as nats-server does, of all those that came last.
pub fn keep_limits(context: &Context) {
    let mut open = context.registry.open();
    open.retain(|connection| !connection.is_closing());
    open.sort_unstable_by_key(|connection| connection.cid);
    let mut of_accounts: HashMap<String, Vec<Arc<Connection>>> = HashMap::new();
    for connection in &open {
        let account = connection.identity.lock().account.clone();
        of_accounts
            .entry(account)
            .or_default()
            .push(connection.clone());
    }
    for (name, members) in of_accounts {
        if let Some(account) = context.accounts.find(&name) {
            let excess = account.excess(members.len());
            cut_of_account(&account, &members[..excess]);
        }
    }
    open.retain(|connection| !connection.is_closing());
    let max = context.limits.current().max_connections;
    let excess = open.len().saturating_sub(max);
    for connection in open.iter().rev().take(excess) {
        let reason = CloseReason::MaxConnections;
        cut(connection, Some(&ClientError::MaxConnections), reason);
    }
    if excess > 0 {
        warn!("Closed {excess} connections to fall within max_connections {max}");
    }
}

/// Cuts those of each account's clients that came last, if with those at other members
/// of the cluster there are too many.
pub fn keep_account_limits(context: &Context, accounts: &BTreeMap<String, Arc<Account>>) {
    let mut of_accounts: HashMap<&str, Vec<Arc<Connection>>> = HashMap::new();
    for connection in context.registry.open() {
        if connection.is_closing() {
            continue;
        }
        let known = accounts.get_key_value(&connection.identity.lock().account);
        if let Some((name, _)) = known {
            of_accounts.entry(name).or_default().push(connection);
        }
    }
    for (name, mut members) in of_accounts {
        let account = &accounts[name];
        members.sort_unstable_by_key(|connection| std::cmp::Reverse(connection.cid));
        members.truncate(account.excess(members.len()));
        cut_of_account(account, &members);
    }
}

fn cut_of_account(account: &Account, connections: &[Arc<Connection>]) {
    for connection in connections {
        let reason = CloseReason::MaxAccountConnections;
        let error = ClientError::MaxAccountConnections;
        cut(connection, Some(&error), reason);
    }
    if !connections.is_empty() {
        warn!(
            "Closed {} connections of account {:?} to fall within its {}",
            connections.len(),
            account.name,
            account.limit_text()
        );
    }
}

/// Cuts clients that speak without TLS, where that is wanted from now on.
pub fn cut_plain(connections: &[Arc<Connection>]) {
    let mut count = 0;
    for connection in connections {
        let reason = CloseReason::TlsHandshakeFailure;
        count += usize::from(cut(connection, Some(&ClientError::TlsRequired), reason));
    }
    if count > 0 {
        warn!("Closed {count} connections without TLS, which is required now");
    }
}

/// Closes a client and tells it why. Returns whether it was open.
fn cut(connection: &Arc<Connection>, error: Option<&ClientError>, reason: CloseReason) -> bool {
    if connection.is_closing() {
        return false;
    }
    with_buffers(|buffers| {
        if let Some(error) = error {
            connection.send(buffers, &error_line(error));
        }
        let was_open = connection.close(reason);
        buffers.flush_touched();
        was_open
    })
}

impl session::Session {
    /// Whether a reload has put other settings in force.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.context.limits.generation() != self.connection.settings.load(Ordering::Relaxed)
    }

    /// Takes over settings that a reload has put in force. Returns whether there
    /// were other ones.
    pub(super) fn keep_up_to_date(&mut self, buffers: &mut ThreadBuffers) -> bool {
        if !self.is_out_of_date() {
            return false;
        }
        let generation = self.context.limits.generation();
        self.limits = self.narrowed_limits();
        let outbound = self.connection.outbound();
        outbound.set_max_pending(self.limits.max_pending);
        self.keepalive
            .set_limits(self.limits.ping_interval, self.limits.ping_max);
        if let Err(end) = self.look_again(buffers) {
            self.end(buffers, end);
        }
        buffers.flush_touched();
        // Whoever waits for it finds the rest done.
        self.connection
            .settings
            .store(generation, Ordering::Release);
        true
    }

    fn narrowed_limits(&self) -> Arc<super::Limits> {
        narrowed(self.context.limits.current(), &self.account.limits())
    }

    /// Asks again who the client is.
    pub(super) fn look_again(&mut self, buffers: &mut ThreadBuffers) -> Result<(), End> {
        if self.connection.is_closing() {
            return Ok(());
        }
        let authentication = self.context.authentication.read().clone();
        if self.unauthenticated.is_some() {
            if !authentication.is_required() {
                self.need_no_login();
            }
            return Ok(());
        }
        if !self.connected && !authentication.is_required() {
            // As before, it need not say who it is.
            return self.keep_subscriptions(buffers);
        }
        if !self.connected && (!self.spoke || self.input.begins_connect()) {
            // It has not said anything, or is about to say who it is, and has to
            // from now on.
            let said = self.input.take_kept();
            let place = super::take_place(self, Duration::ZERO);
            self.begin_login(Some(place));
            return match said.is_empty() {
                true => Ok(()),
                false => self.admit(buffers, &said),
            };
        }
        let proved = self.connection.identity.lock().proof;
        match self.identify(&self.options, proved) {
            Verdict::Accept(login) => self.stay_as(buffers, login),
            Verdict::Check(check) => {
                self.pending_login = Some(Box::new(super::login::PendingLogin::CheckAgain(check)));
                Ok(())
            }
            Verdict::Refuse(refusal) => Err(self.cast_out(refusal)),
        }
    }

    /// How the connection of a client ends that would not be let in any more.
    pub(super) fn cast_out(&self, refusal: Refusal) -> End {
        let end = self.refuse(&self.options.credentials, refusal);
        End {
            // It did not guess.
            refused: None,
            detail: format!("{}, after a reload", end.detail),
            ..end
        }
    }

    /// The client goes on as who it is now.
    pub(super) fn stay_as(&mut self, buffers: &mut ThreadBuffers, login: Login) -> Result<(), End> {
        let Some(account) = self.context.accounts.find(&login.account) else {
            return Err(self.cast_out(Refusal::UnknownAccount));
        };
        let max_payload = self.limits.max_payload;
        {
            let mut identity = self.connection.identity.lock();
            identity.user = login.user;
            identity.account = login.account;
            identity.proof = login.proof;
        }
        let moves = !Arc::ptr_eq(&account, &self.account);
        match moves {
            true => self.move_to(buffers, account)?,
            false if self.membership.is_none() => self.join(account)?,
            false => {}
        }
        self.connected = true;
        self.limits = self.narrowed_limits();
        self.permit(login.permissions);
        self.keep_subscriptions(buffers)?;
        let takes_info = self.connection.takes_info.load(Ordering::Relaxed);
        if takes_info && (moves || self.limits.max_payload != max_payload) {
            self.send_info(buffers, true);
        }
        Ok(())
    }

    /// Takes the client to another account, its subscriptions too.
    fn move_to(&mut self, buffers: &mut ThreadBuffers, account: Arc<Account>) -> Result<(), End> {
        info!(
            "{} - Moved from account {:?} to {:?}",
            log_prefix(&self.connection),
            self.account.name,
            account.name
        );
        let before = self.connection.subscriptions.lock().drain();
        self.account.unsubscribe(buffers, &before);
        self.join(account)?;
        let series = metrics::series_number("Client", &self.account.name);
        self.connection.series.store(series, Ordering::Relaxed);
        for subscription in before {
            let moved = Arc::new(subscription.moved());
            self.connection.subscriptions.lock().insert(moved.clone());
            self.account.subscribe(buffers, moved);
        }
        Ok(())
    }

    /// Puts what the user may do in force.
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
        *self.connection.guard.lock() = guard;
    }

    /// Ends the subscriptions that would be refused now, and tells the client.
    fn keep_subscriptions(&self, buffers: &mut ThreadBuffers) -> Result<(), End> {
        let mut all: Vec<Arc<Subscription>> = {
            let subscriptions = self.connection.subscriptions.lock();
            subscriptions.iter().cloned().collect()
        };
        if self
            .limits
            .max_subscriptions
            .is_some_and(|max| all.len() > max)
        {
            return Err(End {
                refused: None,
                reason: CloseReason::MaxSubscriptions,
                error: Some(ClientError::MaxSubscriptions),
                detail: format!("{} subscriptions, after a reload", all.len()),
            });
        }
        all.retain(|subscription| {
            let (subject, queue) = (subscription.subject(), subscription.queue());
            let judged = self
                .permission_cache
                .as_ref()
                .map_or(Ok(false), |permission_cache| {
                    permission_cache.judges(subject, queue)
                });
            let is_long = session::has_too_many_tokens(subject, self.limits.max_sub_tokens);
            match judged {
                Ok(judged) if !is_long => {
                    subscription.set_judged(judged);
                    false
                }
                _ => true,
            }
        });
        // In the order in which they came, as far as the client counts up.
        all.sort_by(|one, other| {
            let key = |it: &Arc<Subscription>| (it.sid().len(), it.sid().to_vec());
            key(one).cmp(&key(other))
        });
        let mut table = self.connection.subscriptions.lock();
        for subscription in &all {
            table.remove(subscription);
        }
        drop(table);
        self.account.unsubscribe(buffers, &all);
        for (index, subscription) in all.iter().enumerate() {
            let error = ClientError::SubscriptionRemoved {
                subject: quoted(subscription.subject()),
                queue: subscription.queue().map(quoted),
                sid: quoted(subscription.sid()),
            };
            self.connection.send(buffers, &error_line(&error));
            if index < REMOVED_TOLD {
                warn!("{} - {error}, after a reload", log_prefix(&self.connection));
            }
        }
        if !all.is_empty() {
            let text = format!(
                "{} subscriptions removed: not permitted any more",
                all.len()
            );
            warn!("{} - {text}", log_prefix(&self.connection));
            let (cid, who) = (self.connection.cid, self.connection.who());
            let events = &self.context.telemetry.events;
            events.record(EventKind::PermissionViolation, cid, &who, &text);
        }
        Ok(())
    }
}
