//! Accounts: separate subject spaces.
//!
//! Connections of one account exchange messages; those of different accounts do not, unless one
//! account exports and the other imports. The server builds the [`Accounts`] from the configuration
//! ([`registry`]). A client is a member of one account ([`member_count`]) and subscribes in it and
//! in those it imports streams from ([`stream`]). Imports and mappings are in [`imports`]; the
//! resolved destinations of a subject are [`Destinations`], and [`fan_out`] delivers to them.
//! Requests to other accounts ([`request`]) are answered through [`replies`], and measured
//! ([`latency`]) where the export asks for it. A [`survey`] asks who
//! would get a message.

mod destinations;
pub mod fan_out;
pub mod imports;
pub mod latency;
pub mod lookup_cache;
mod member_count;
pub mod path;
mod registry;
pub mod replies;
mod request;
mod stream;
pub mod survey;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::RwLock;

pub use crate::config::accounts::{AccountLimits, GLOBAL_ACCOUNT, MessageTracing};
use crate::{
    config::options::cluster::QueuePolicy,
    connection::{Connection, Subscription, buffers::ThreadBuffers, subscription::SUBSCRIPTIONS},
    delivery::{
        leaf_side::{LeafSide, Source},
        remote::{InAccount, OverRoutes, REMOTE_INTEREST, RemoteInterest},
        remotes::Remotes,
    },
    interest::LocalInterest,
    protocol::leafnode::LOOP_PREFIX,
    security::permissions::{Permissions, SubscribeDecision},
    sublist::{Entry, Sublist},
    telemetry::{
        MessageTotals,
        pool::{Pool, Share},
    },
};
pub use destinations::{Destinations, Mapped};
use imports::{Imports, ServiceImport};
use latency::AccountLatency;
pub use member_count::AccountMember;
use member_count::RemoteCounts;
pub use registry::Accounts;
use replies::Replies;
use stream::Shadows;

/// Subscriptions that are removed under one lock of the sublist, so that removing many does not
/// block publishers.
const REMOVED_PER_LOCK: usize = 512;

/// Letters of the last token of the subject that finds circles.
const LOOP_TOKEN_LEN: usize = 22;

/// Prefix of the JetStream API's subjects.
const JETSTREAM_API_PREFIX: &[u8] = b"$JS.API.";

/// Memory of requests to the broker itself that are queued; each account has a share.
pub static SYSTEM_REQUESTS: Pool = Pool::new(8 * 1024 * 1024);

/// One account.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its subscriptions.
    pub sublist: Sublist<Subscription>,
    /// The interest of the peers of the cluster. Changed only by [`Account::add_remote`] and
    /// [`Account::remove_remote`].
    pub remote: Sublist<RemoteInterest>,
    /// The interest of leafnodes, and of hubs whose leafnode this broker is. Changed only by
    /// [`Account::add_leaf_interest`] and [`Account::remove_leaf_interest`].
    pub leafs: Sublist<RemoteInterest>,
    /// The interest that is announced to those peers and leafnodes.
    pub interest: LocalInterest,
    /// What finds circles of leafnode connections of this account; made with the first one.
    loop_subject: OnceLock<String>,
    /// Messages of its streams delivered to clients of other accounts.
    exported_traffic: Arc<MessageTotals>,
    /// Messages sent and received over routes.
    pub route_totals: OverRoutes,
    /// Messages sent and received over leafnode connections.
    pub leaf_totals: OverRoutes,
    /// Open leafnode connections.
    pub leaf_count: AtomicUsize,
    /// Which of the peers' interest is served: the subjects they may subscribe to. `None` permits
    /// everything.
    export: RwLock<Option<Arc<Permissions>>>,
    /// Number of entries of `remote` that `export` excludes. Changed together with either, under
    /// the lock of `export`.
    not_exported: AtomicUsize,
    /// Whether members of queue groups at this broker are preferred to those at peers.
    prefers_local: AtomicBool,
    limits: RwLock<AccountLimits>,
    /// Whether it is the system account.
    pub is_system: bool,
    /// Requests from other accounts that wait for a reply from here.
    pub replies: Replies,
    /// Memory of its own requests that wait for a reply from another account.
    reply_memory: Share,
    /// Memory of its queued requests to the broker itself.
    pub request_memory: Share,
    /// Number of times that a message was not forwarded to an import because its path would be
    /// endless or too long; see [`path`].
    pruned_paths: AtomicU64,
    connections: AtomicUsize,
    remote_counts: RemoteCounts,
    /// Read-locked while a subscription creates its shadows, so that a reload, which changes the
    /// imports, finds all of them.
    imports: RwLock<Option<Arc<Imports>>>,
    /// JetStream API requests go to the system account, where the servers with JetStream receive
    /// them. Empty in the system account itself.
    jetstream_api: OnceLock<Arc<ServiceImport>>,
    /// Tracing of messages with a header `traceparent`.
    tracing: RwLock<Option<Arc<MessageTracing>>>,
    /// Whether there is any.
    is_tracing: AtomicBool,
    /// What it has to do with the measuring of services.
    pub latency: AccountLatency,
    shadows: Shadows,
    /// Bytes of shadows in this account's sublist that belong to subscriptions of other accounts.
    foreign_shadow_bytes: AtomicUsize,
}

impl Account {
    /// An account without subscriptions, limits and imports.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sublist: Sublist::new(&SUBSCRIPTIONS),
            remote: Sublist::new(&REMOTE_INTEREST),
            leafs: Sublist::new(&REMOTE_INTEREST),
            interest: LocalInterest::new(name),
            loop_subject: OnceLock::new(),
            exported_traffic: Arc::default(),
            route_totals: OverRoutes::default(),
            leaf_totals: OverRoutes::default(),
            leaf_count: AtomicUsize::new(0),
            export: RwLock::default(),
            not_exported: AtomicUsize::new(0),
            prefers_local: AtomicBool::new(false),
            limits: RwLock::default(),
            is_system: false,
            replies: Replies::default(),
            reply_memory: Share::new(&replies::POOL),
            request_memory: Share::new(&SYSTEM_REQUESTS),
            pruned_paths: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            remote_counts: RemoteCounts::default(),
            imports: RwLock::default(),
            jetstream_api: OnceLock::new(),
            tracing: RwLock::default(),
            is_tracing: AtomicBool::new(false),
            latency: AccountLatency::default(),
            shadows: Shadows::default(),
            foreign_shadow_bytes: AtomicUsize::new(0),
        }
    }

    /// The limits of its connections.
    pub fn limits(&self) -> AccountLimits {
        *self.limits.read()
    }

    /// Its imports and mappings, if it has any.
    pub fn imports(&self) -> Option<Arc<Imports>> {
        self.imports.read().clone()
    }

    /// Tracing of messages with a header `traceparent`.
    #[inline]
    pub fn tracing(&self) -> Option<Arc<MessageTracing>> {
        match self.is_tracing.load(Ordering::Relaxed) {
            true => self.tracing.read().clone(),
            false => None,
        }
    }

    fn set_tracing(&self, tracing: Option<&MessageTracing>) {
        let mut current = self.tracing.write();
        *current = tracing.cloned().map(Arc::new);
        self.is_tracing.store(current.is_some(), Ordering::Relaxed);
    }

    /// The JetStream API if `subject` is part of it.
    fn jetstream_api(&self, subject: &[u8]) -> Option<&Arc<ServiceImport>> {
        match subject.starts_with(JETSTREAM_API_PREFIX) {
            true => self.jetstream_api.get(),
            false => None,
        }
    }

    /// Number of client connections in it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What goes over routes; `origin` is the cluster of the leafnode that it comes from.
    fn over_routes<'a>(&'a self, origin: Option<&'a [u8]>) -> InAccount<'a> {
        InAccount {
            name: self.name.as_bytes(),
            totals: &self.route_totals,
            origin,
        }
    }

    /// What goes to leafnodes.
    fn over_leafs(&self) -> InAccount<'_> {
        InAccount {
            name: self.name.as_bytes(),
            totals: &self.leaf_totals,
            origin: None,
        }
    }

    /// Number of leafnode connections in it.
    pub fn leafnodes_here(&self) -> usize {
        self.leaf_count.load(Ordering::Relaxed)
    }

    /// Number of messages that were not forwarded to an import; see [`path`].
    pub fn pruned_paths(&self) -> u64 {
        self.pruned_paths.load(Ordering::Relaxed)
    }

    /// Counts messages that are not forwarded to an import; see [`path`]. Those of a survey are noted
    /// there.
    fn note_pruned(&self, buffers: &mut ThreadBuffers, count: u64) {
        match buffers.survey() {
            Some(survey) => survey.pruned(count),
            None => {
                self.pruned_paths.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Adds a subscription, also in the accounts whose streams it imports: publishers find it from
    /// now on.
    pub fn subscribe(&self, buffers: &mut ThreadBuffers, subscription: Arc<Subscription>) {
        let imports = self.imports.read();
        if let Some(imports) = &*imports {
            self.shadows
                .create(buffers, &subscription, &imports.streams);
        }
        self.add(buffers, subscription);
    }

    /// Applies other limits and imports. Present subscriptions keep their imported streams until
    /// [`Account::update_shadows`].
    fn redefine(&self, limits: AccountLimits, imports: Option<Imports>) {
        let before = std::mem::replace(&mut *self.limits.write(), limits);
        self.apply_limit_change(&before);
        *self.imports.write() = imports.map(Arc::new);
        self.sublist.invalidate();
    }

    /// Updates the shadows of all subscriptions to the present imports. No lock is held for longer
    /// than a part of them takes.
    fn update_shadows(&self, buffers: &mut ThreadBuffers) {
        // Subscriptions made from now on use these imports or newer ones.
        let imports = self.imports();
        let streams = imports.as_ref().map_or(&[][..], |imports| &imports.streams);
        if streams.is_empty() && !self.shadows.are_used() {
            return;
        }
        let mut own = Vec::new();
        self.sublist.for_each(|known| {
            if !known.is_shadow() {
                own.push(known.clone());
            }
        });
        for some in own.chunks(REMOVED_PER_LOCK) {
            self.shadows.update(buffers, some, streams);
            buffers.flush_touched();
        }
        self.sublist.invalidate();
    }

    /// Messages and bytes of its streams that were delivered to clients of other accounts.
    pub fn exported_traffic(&self) -> (u64, u64) {
        self.exported_traffic.value()
    }

    /// Whether there is memory for one more subscription with all its shadows.
    pub fn has_capacity_for(&self, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> bool {
        let own = Subscription::memory_of(subject, queue, sid) + stream::index_len(subject);
        let imports = self.imports.read();
        let shadows = imports.as_ref().map_or(0, |imports| {
            stream::memory_of_shadows(subject, queue, sid, &imports.streams)
        });
        // Shadows count for the account of their subscription, whichever sublist they are in.
        let [outside, foreign] = [
            self.shadows.bytes(),
            self.foreign_shadow_bytes.load(Ordering::Relaxed),
        ]
        .map(|bytes| isize::try_from(bytes).unwrap_or(isize::MAX));
        self.sublist
            .has_capacity_for(own + shadows, outside - foreign)
    }

    /// Removes subscriptions: publishers do not find them from now on.
    pub fn unsubscribe(&self, buffers: &mut ThreadBuffers, subscriptions: &[Arc<Subscription>]) {
        subscriptions.iter().for_each(|known| known.close());
        for some in subscriptions.chunks(REMOVED_PER_LOCK) {
            self.remove(buffers, some);
        }
        self.shadows.remove_for(buffers, subscriptions);
        self.latency.asked().note_left();
    }

    /// Adds a peer's interest, and tells leafnodes.
    pub fn add_remote(&self, buffers: &mut ThreadBuffers, interest: Arc<RemoteInterest>) {
        {
            let export = self.export.read();
            let kept = usize::from(!exports(&export, &interest));
            self.remote.insert(interest.clone());
            self.not_exported.fetch_add(kept, Ordering::Relaxed);
        }
        self.sublist.invalidate();
        self.interest.add_of_route(buffers, &interest);
    }

    /// Removes a peer's interest, and tells leafnodes.
    pub fn remove_remote<'a>(
        &self,
        buffers: &mut ThreadBuffers,
        interest: impl IntoIterator<Item = &'a Arc<RemoteInterest>> + Clone,
    ) {
        {
            let export = self.export.read();
            let mut kept = 0;
            self.remote.remove(
                interest
                    .clone()
                    .into_iter()
                    .inspect(|one| kept += usize::from(!exports(&export, one))),
            );
            self.not_exported.fetch_sub(kept, Ordering::Relaxed);
        }
        self.sublist.invalidate();
        for one in interest {
            self.interest.remove_of_route(buffers, one);
        }
    }

    /// Adds a leafnode's interest, and announces it to all other brokers.
    pub fn add_leaf_interest(&self, buffers: &mut ThreadBuffers, interest: Arc<RemoteInterest>) {
        self.leafs.insert(interest.clone());
        self.sublist.invalidate();
        self.interest.add_of_leafnode(buffers, &interest);
    }

    /// Removes a leafnode's interest, and announces that to all other brokers.
    pub fn remove_leaf_interest(
        &self,
        buffers: &mut ThreadBuffers,
        interest: &[Arc<RemoteInterest>],
    ) {
        self.leafs.remove(interest);
        self.sublist.invalidate();
        for one in interest {
            self.interest.remove_of_leafnode(buffers, one);
        }
    }

    /// The subject by which this broker finds out that leafnode connections of the account lead back
    /// to it: it is told to each leafnode, and comes from none unless they go in a circle.
    pub fn loop_subject(&self) -> &str {
        self.loop_subject.get_or_init(|| {
            let mut subject = String::from_utf8_lossy(LOOP_PREFIX).into_owned();
            subject.extend((0..LOOP_TOKEN_LEN).map(|_| fastrand::alphanumeric()));
            subject
        })
    }

    /// Announces everything to a new leafnode, part by part, and every change from now on.
    pub fn attach_leafnode(&self, leaf: &Arc<Connection>, side: &Arc<LeafSide>) {
        let (sublist, remote) = (&self.sublist, &self.remote);
        self.interest.attach_leafnode(leaf, side, sublist, remote);
    }

    /// Tells leafnodes of the services that this account imports, and of the subjects that it maps:
    /// messages to those are wanted although nobody subscribes to them. `streams`: also of the API of
    /// streams.
    pub fn tell_leafnodes_of_imports(&self, buffers: &mut ThreadBuffers, streams: bool) {
        let imports = self.imports();
        let mut subjects = imports.map_or_else(Vec::new, |imports| imports.wanted_subjects());
        if streams && let Some(api) = self.jetstream_api.get() {
            subjects.push(api.local_subject.clone());
        }
        self.interest.want_for_leafnodes(buffers, &subjects);
    }

    /// The leafnodes that get messages to `subject` from there; `None` if there are none.
    pub fn leafnodes(&self, subject: &[u8], from: Source<'_>) -> Option<Box<Remotes>> {
        if self.leafs.is_empty() {
            return None;
        }
        let mut matches = self.leafs.lookup(subject);
        let gets = |interest: &Arc<RemoteInterest>| {
            let side = interest.leaf.as_ref();
            side.is_some_and(|side| side.gets(subject, interest.queue(), from))
        };
        matches.plain.retain(gets);
        for members in &mut matches.queues {
            members.retain(gets);
        }
        let leafs = Remotes::new(&matches, false);
        (!leafs.is_empty()).then(|| Box::new(leafs))
    }

    /// Limits what is exchanged over routes: the peers' interest that is served, and the interest
    /// that is announced to them.
    pub fn limit_routes(&self, buffers: &mut ThreadBuffers, limits: Option<Arc<Permissions>>) {
        {
            // Nothing is added or removed meanwhile.
            let mut export = self.export.write();
            export.clone_from(&limits);
            let mut kept = 0;
            if export.is_some() {
                self.remote
                    .for_each(|interest| kept += usize::from(!exports(&export, interest)));
            }
            self.not_exported.store(kept, Ordering::Relaxed);
        }
        self.sublist.invalidate();
        self.interest.limit(buffers, limits);
    }

    /// Sets which members of a queue group are preferred for messages published here.
    pub fn set_queue_policy(&self, policy: QueuePolicy) {
        let prefers_local = policy == QueuePolicy::Local;
        if self.prefers_local.swap(prefers_local, Ordering::Relaxed) != prefers_local {
            self.sublist.invalidate();
        }
    }

    /// Whether a peer's interest is served. It is stored in any case: the peer announces it only
    /// once, and it may be served after a reload.
    pub fn exports_to(&self, interest: &RemoteInterest) -> bool {
        exports(&self.export.read(), interest)
    }

    /// Number of subscriptions here, plus the served interest of peers and leafnodes.
    pub fn subscriptions(&self) -> u64 {
        let remote = self.remote.stats().subscriptions;
        let not_exported = self.not_exported.load(Ordering::Relaxed) as u64;
        let leafs = self.leafs.stats().subscriptions;
        self.sublist.stats().subscriptions + leafs + remote.saturating_sub(not_exported)
    }

    /// The peers that get messages to `subject`.
    pub fn remotes(&self, subject: &[u8]) -> Remotes {
        if self.remote.is_empty() {
            return Remotes::default();
        }
        let export = self.export.read().clone();
        if export.is_some_and(|limits| !limits.may_receive(subject, None)) {
            return Remotes::default();
        }
        let mut matches = self.remote.lookup(subject);
        matches.plain.retain(|interest| self.exports_to(interest));
        for members in &mut matches.queues {
            members.retain(|interest| self.exports_to(interest));
        }
        Remotes::new(&matches, self.prefers_local.load(Ordering::Relaxed))
    }

    /// Adds a subscription to the sublist and announces it to the peers.
    fn add(&self, buffers: &mut ThreadBuffers, subscription: Arc<Subscription>) {
        self.sublist.insert(subscription.clone());
        self.interest.add(buffers, &subscription);
    }

    /// Removes subscriptions from the sublist and announces that to the peers.
    fn remove(&self, buffers: &mut ThreadBuffers, subscriptions: &[Arc<Subscription>]) {
        self.sublist.remove(subscriptions);
        subscriptions.iter().for_each(|known| known.linger());
        self.interest.remove(buffers, subscriptions);
    }
}

/// Whether the limits permit serving this interest.
fn exports(limits: &Option<Arc<Permissions>>, interest: &RemoteInterest) -> bool {
    limits.as_ref().is_none_or(|limits| {
        limits.check_subscription(interest.subject(), None) != SubscribeDecision::Deny
    })
}
