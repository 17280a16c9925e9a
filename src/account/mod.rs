//! Accounts: subject spaces of their own.
//!
//! Connections of one account reach each other, those of different accounts do
//! not, unless one account exports and the other imports. The server makes the
//! [`Accounts`] of the configuration ([`registry`]); clients are members of
//! one ([`member_count`]), subscribe in it, and in those it imports streams from
//! ([`stream`]). What goes over an account's border is in [`imports`]; where the
//! messages of one subject go in the end is a [`Destinations`], and [`fan_out`] takes
//! them there. Requests to other accounts ([`request`]) come back as
//! [`replies`].

mod destinations;
pub mod fan_out;
pub mod imports;
pub mod lookup_cache;
mod member_count;
pub mod path;
mod registry;
pub mod replies;
mod request;
mod stream;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use once_cell::sync::OnceCell;
use parking_lot::RwLock;

pub use crate::config::accounts::{AccountLimits, GLOBAL_ACCOUNT};
use crate::{
    config::options::cluster::QueuePolicy,
    connection::{
        SUBSCRIPTIONS, Subscription,
        buffers::ThreadBuffers,
        interest::LocalInterest,
        remote::{MessageTotals, OverRoutes, REMOTE_INTEREST, RemoteInterest, Remotes},
    },
    security::permissions::{Permissions, SubscribeDecision},
    sublist::{Entry, Sublist},
    telemetry::pool::{Pool, Share},
};
pub use destinations::{Destinations, Mapped};
use imports::{Imports, ServiceImport};
pub use member_count::AccountMember;
use member_count::Elsewhere;
pub use registry::Accounts;
use replies::Replies;
use stream::Shadows;

/// Most subscriptions removed in one hold of the sublist's lock, so that a
/// crowd that leaves does not stop publishers.
const REMOVED_AT_ONCE: usize = 512;

/// What subjects of requests to streams begin with.
const STREAMS_API_PREFIX: &[u8] = b"$JS.API.";

/// Bytes of the requests to the broker itself that wait; an account has a share.
pub static SYSTEM_REQUESTS: Pool = Pool::new(8 * 1024 * 1024);

/// One subject space.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Who takes which subject.
    pub sublist: Sublist<Subscription>,
    /// What the peers of the cluster take. Changes only through
    /// [`Account::add_remote`] and [`Account::remove_remote`].
    pub remote: Sublist<RemoteInterest>,
    /// What those peers are told of the sublist.
    pub interest: LocalInterest,
    /// What its streams bring to clients of other accounts.
    lent: Arc<MessageTotals>,
    /// What it moved over routes.
    pub over_routes: OverRoutes,
    /// Which of what the peers take they get: what can be subscribed to. `None`
    /// is everything.
    export: RwLock<Option<Arc<Permissions>>>,
    /// Entries of `remote` that this forbids; changes with either, under its lock.
    not_exported: AtomicUsize,
    /// Whether members of queue groups here go before those at the peers.
    prefers_local: AtomicBool,
    limits: RwLock<AccountLimits>,
    /// Whether it is the one of the broker's own events and services.
    pub is_system: bool,
    /// Requests from other accounts that wait for their replies here.
    pub replies: Replies,
    /// What it holds of the replies that it waits for in other accounts.
    awaited: Share,
    /// What its requests to the broker itself hold while they wait.
    pub asked: Share,
    /// Times that a message was not taken through one of its imports, so that it
    /// comes to an end; see [`path`].
    cut_paths: AtomicU64,
    connections: AtomicUsize,
    elsewhere: Elsewhere,
    /// Held while a subscription casts its shadows, so that a reload that has put
    /// others in force misses none.
    imports: RwLock<Option<Arc<Imports>>>,
    /// Requests to streams go to the system account, where the servers of the
    /// cluster that keep streams listen; none in that account itself.
    streams_api: OnceCell<Arc<ServiceImport>>,
    shadows: Shadows,
    /// Bytes of the shadows that stand here of other accounts' subscriptions.
    borne: AtomicUsize,
}

impl Account {
    /// An account without subscriptions, limits and links.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sublist: Sublist::new(&SUBSCRIPTIONS),
            remote: Sublist::new(&REMOTE_INTEREST),
            interest: LocalInterest::new(name),
            lent: Arc::default(),
            over_routes: OverRoutes::default(),
            export: RwLock::default(),
            not_exported: AtomicUsize::new(0),
            prefers_local: AtomicBool::new(false),
            limits: RwLock::default(),
            is_system: false,
            replies: Replies::default(),
            awaited: Share::new(&replies::POOL),
            asked: Share::new(&SYSTEM_REQUESTS),
            cut_paths: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            elsewhere: Elsewhere::default(),
            imports: RwLock::default(),
            streams_api: OnceCell::new(),
            shadows: Shadows::default(),
            borne: AtomicUsize::new(0),
        }
    }

    /// What its connections may use.
    pub fn limits(&self) -> AccountLimits {
        *self.limits.read()
    }

    /// What goes over its borders, if anything does.
    pub fn imports(&self) -> Option<Arc<Imports>> {
        self.imports.read().clone()
    }

    /// The service that a request to streams goes to, if `subject` is one.
    fn streams_api(&self, subject: &[u8]) -> Option<&Arc<ServiceImport>> {
        match subject.starts_with(STREAMS_API_PREFIX) {
            true => self.streams_api.get(),
            false => None,
        }
    }

    /// Client connections in it now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Times that a message was not taken through one of its imports; see [`path`].
    pub fn cut_paths(&self) -> u64 {
        self.cut_paths.load(Ordering::Relaxed)
    }

    /// Begins a subscription: publishers reach it from now on, those of
    /// accounts that this one imports from too.
    pub fn subscribe(&self, buffers: &mut ThreadBuffers, subscription: Arc<Subscription>) {
        let imports = self.imports.read();
        if let Some(imports) = &*imports {
            self.shadows.cast(buffers, &subscription, &imports.streams);
        }
        self.add(buffers, subscription);
    }

    /// Puts other limits and links in force. What is subscribed here takes imported
    /// streams as before until [`Account::recast`].
    fn redefine(&self, limits: AccountLimits, imports: Option<Imports>) {
        let before = std::mem::replace(&mut *self.limits.write(), limits);
        self.relimit(&before);
        *self.imports.write() = imports.map(Arc::new);
        self.sublist.invalidate();
    }

    /// Has subscriptions reach what is imported now, and nothing else. However many
    /// there are, no lock is held for longer than a part of them takes.
    fn recast(&self, buffers: &mut ThreadBuffers) {
        // Who subscribes from now on goes by these or newer ones.
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
        for some in own.chunks(REMOVED_AT_ONCE) {
            self.shadows.recast(buffers, some, streams);
            buffers.flush_touched();
        }
        self.sublist.invalidate();
    }

    /// Messages and bytes that its streams brought to clients of other accounts.
    pub fn lent(&self) -> (u64, u64) {
        self.lent.value()
    }

    /// Whether there is room for one more subscription, with all shadows that it casts.
    pub fn has_capacity_for(&self, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> bool {
        let own = Subscription::memory_of(subject, queue, sid) + stream::index_len(subject);
        let imports = self.imports.read();
        let shadows = imports.as_ref().map_or(0, |imports| {
            stream::memory_of_shadows(subject, queue, sid, &imports.streams)
        });
        // Shadows are their origin's account's, wherever they stand.
        let [cast, borne] = [self.shadows.bytes(), self.borne.load(Ordering::Relaxed)]
            .map(|bytes| isize::try_from(bytes).unwrap_or(isize::MAX));
        self.sublist.has_capacity_for(own + shadows, cast - borne)
    }

    /// Ends subscriptions: no publisher reaches them from now on.
    pub fn unsubscribe(&self, buffers: &mut ThreadBuffers, subscriptions: &[Arc<Subscription>]) {
        subscriptions.iter().for_each(|known| known.close());
        for some in subscriptions.chunks(REMOVED_AT_ONCE) {
            self.take_out(buffers, some);
        }
        self.shadows.lift(buffers, subscriptions);
    }

    /// Adds what a peer wants.
    pub fn add_remote(&self, interest: Arc<RemoteInterest>) {
        {
            let export = self.export.read();
            let kept = usize::from(!exports(&export, &interest));
            self.remote.insert(interest);
            self.not_exported.fetch_add(kept, Ordering::Relaxed);
        }
        self.sublist.invalidate();
    }

    /// Removes what a peer no longer wants.
    pub fn remove_remote<'a>(&self, interest: impl IntoIterator<Item = &'a Arc<RemoteInterest>>) {
        {
            let export = self.export.read();
            let mut kept = 0;
            self.remote.remove(
                interest
                    .into_iter()
                    .inspect(|one| kept += usize::from(!exports(&export, one))),
            );
            self.not_exported.fetch_sub(kept, Ordering::Relaxed);
        }
        self.sublist.invalidate();
    }

    /// Limits what goes over routes: what the peers take of this account, and
    /// what they are told that is taken here.
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

    /// Which members of a queue group serve what is published here.
    pub fn set_queue_policy(&self, policy: QueuePolicy) {
        let prefers_local = policy == QueuePolicy::Local;
        if self.prefers_local.swap(prefers_local, Ordering::Relaxed) != prefers_local {
            self.sublist.invalidate();
        }
    }

    /// Whether a peer gets what it takes so. What it takes is kept all the same:
    /// it is told once, and may count after a reload.
    pub fn exports_to(&self, interest: &RemoteInterest) -> bool {
        exports(&self.export.read(), interest)
    }

    /// Subscriptions here, and what peers take of it.
    pub fn subscriptions(&self) -> u64 {
        let remote = self.remote.stats().subscriptions;
        let not_exported = self.not_exported.load(Ordering::Relaxed) as u64;
        self.sublist.stats().subscriptions + remote.saturating_sub(not_exported)
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

    /// Puts a subscription into the sublist; the peers of the cluster are told.
    fn add(&self, buffers: &mut ThreadBuffers, subscription: Arc<Subscription>) {
        self.sublist.insert(subscription.clone());
        self.interest.add(buffers, &subscription);
    }

    /// Takes subscriptions out of the sublist; the peers of the cluster are told.
    fn take_out(&self, buffers: &mut ThreadBuffers, subscriptions: &[Arc<Subscription>]) {
        self.sublist.remove(subscriptions);
        subscriptions.iter().for_each(|known| known.linger());
        self.interest.remove(buffers, subscriptions);
    }
}

/// Whether limits let a peer have what it takes so.
fn exports(limits: &Option<Arc<Permissions>>, interest: &RemoteInterest) -> bool {
    limits.as_ref().is_none_or(|limits| {
        limits.check_subscription(interest.subject(), None) != SubscribeDecision::Deny
    })
}
