//! Destinations of a subject: computed once and cached by the publisher.
//!
//! Most subjects go to the subscribers of their own account only. An account may also map a subject
//! to others or import services from other accounts: these are resolved to the end here, so that no
//! further look-up is needed per message.

use std::{
    cell::Cell,
    sync::{Arc, OnceLock},
};

use hashbrown::HashMap;

use super::{
    Account,
    fan_out::REQUEST_COST,
    imports::{Mapping, ServiceImport},
    path::Path,
    replies::REPLY_PREFIX,
};
use crate::{
    connection::Subscription,
    delivery::{leaf_side::Source, remotes::Remotes},
    subject::transform::Transform,
    sublist::{Entry as _, Matches},
    telemetry::pool::allocated,
};

/// Bytes that one publisher remembers, what it keeps from being given back included;
/// what is more is looked up in each turn.
pub(super) const CACHE_MAX: usize = 1024 * 1024;

/// Where messages of one subject go.
pub struct Destinations {
    /// The matching subscriptions of the account.
    pub matches: Matches<Subscription>,
    /// Whether some connection matches more than once; see [`Destinations::must_interleave`].
    interleave: OnceLock<bool>,
    remotes: OnceLock<Remotes>,
    /// The leafnodes with interest, if there are any.
    leafs: OnceLock<Option<Box<Remotes>>>,
    /// Mappings and imported services; most subjects have none.
    pub(super) indirect: Option<Box<Indirect>>,
}

/// Memory of [`Destinations`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Size {
    /// Its own bytes.
    pub(super) own: usize,
    /// Bytes of the subscriptions it refers to.
    pub(super) pinned: usize,
}

/// Destinations other than the subscribers of the subject itself.
pub(super) struct Indirect {
    /// The mapping of the subject. If there is one, the subject has no other destinations.
    pub(super) mapped: Option<Mapped>,
    /// Imported services that match the subject.
    pub(super) services: Vec<Service>,
    /// Number of imports that were left out because the path would be endless or too long.
    pub(super) pruned: u64,
    /// The other accounts whose sublists were used, with the generation at that time.
    dependencies: Vec<(Arc<Account>, u64)>,
}

/// The result of mapping a subject.
pub enum Mapped {
    /// Chosen for each message by weight.
    Weighted(Arc<Mapping>),
    /// The same for every message.
    Constant(Arc<Destinations>),
}

impl Mapped {
    /// How many messages of a batch may share one choice.
    pub fn batch_len_max(&self) -> usize {
        match self {
            Self::Weighted(_) => 1,
            Self::Constant(_) => usize::MAX,
        }
    }

    /// The destinations of the next messages to `subject` in `account` that came by `path`.
    pub fn choose(&self, account: &Account, subject: &[u8], path: &Path<'_>) -> Arc<Destinations> {
        match self {
            Self::Constant(destinations) => destinations.clone(),
            Self::Weighted(mapping) => Arc::new(Destinations::mapped_to(
                mapping.choose(),
                account,
                subject,
                path,
            )),
        }
    }
}

/// An imported service.
pub(super) struct Service {
    pub(super) import: Arc<ServiceImport>,
    /// The destinations of the request in the exporting account.
    pub(super) destinations: Arc<Destinations>,
}

impl Destinations {
    /// Resolves the destinations of messages that a client of `account` publishes to `subject`.
    pub fn resolve(account: &Account, subject: &[u8]) -> Self {
        let budget = Path::budget();
        Self::resolve_chain(account, subject, &Path::start(&budget), &budget)
    }

    /// Resolves only the subscribers, for messages whose subject has been mapped already.
    pub fn of_subscribers(account: &Account, subject: &[u8]) -> Self {
        Self {
            matches: account.sublist.lookup(subject),
            interleave: OnceLock::new(),
            remotes: OnceLock::new(),
            leafs: OnceLock::new(),
            indirect: None,
        }
    }

    /// The destinations of messages to `subject` that this destination of a mapping was chosen for;
    /// `None` drops them.
    pub(super) fn mapped_to(
        way: Option<&Transform>,
        account: &Account,
        subject: &[u8],
        path: &Path<'_>,
    ) -> Self {
        match way {
            Some(way) => {
                let budget = Path::budget();
                Self::resolve_unmapped(account, &way.applied(subject), path, &budget)
            }
            // There are no subscriptions to the empty subject.
            None => Self::of_subscribers(account, b""),
        }
    }

    /// Whether there are no destinations.
    pub fn is_empty(&self) -> bool {
        let has_destinations =
            |indirect: &Indirect| indirect.mapped.is_some() || !indirect.services.is_empty();
        self.matches.is_empty() && !self.indirect.as_deref().is_some_and(has_destinations)
    }

    /// The peers of the cluster with interest in the subject in `account`, which must be the
    /// account of the look-up. Looked up once; a change of their interest invalidates the whole
    /// object.
    pub(super) fn remotes(&self, account: &Account) -> &Remotes {
        self.remotes
            .get_or_init(|| account.remotes(&self.matches.subject))
    }

    /// The leafnodes that get messages to the subject which come from there; `None` if there are none.
    /// Looked up once, like the peers: one publisher's messages always come from the same place.
    #[inline]
    pub(super) fn leafs(&self, account: &Account, from: Source<'_>) -> Option<&Remotes> {
        let leafs = self
            .leafs
            .get_or_init(|| account.leafnodes(&self.matches.subject, from));
        leafs.as_deref()
    }

    /// Upper bound of the bytes of queue group names in a message to the peers, for requests to
    /// other accounts too; [`usize::MAX`] if it differs between messages.
    pub fn queue_names_len(&self, account: &Account) -> usize {
        match self.mapped() {
            Some(Mapped::Constant(destinations)) => return destinations.queue_names_len(account),
            Some(Mapped::Weighted(_)) => return usize::MAX,
            None => {}
        }
        let services = self.indirect.iter().flat_map(|indirect| &indirect.services);
        let of_services = services.map(|it| it.destinations.queue_names_len(&it.import.account));
        of_services.fold(self.remotes(account).names_len(), usize::saturating_add)
    }

    /// Upper bound of the cost of publishing a small message here, in deliveries; [`usize::MAX`] if
    /// it is unknown.
    pub fn cost(&self, account: &Account) -> usize {
        match self.mapped() {
            Some(Mapped::Constant(destinations)) => return destinations.cost(account),
            Some(Mapped::Weighted(_)) => return usize::MAX,
            None => {}
        }
        let services = self.indirect.iter().flat_map(|indirect| &indirect.services);
        let of_services = services.map(|service| {
            let cost = service.destinations.cost(&service.import.account);
            cost.saturating_add(REQUEST_COST)
        });
        let own = self.subscribers_cost();
        let own = own.saturating_add(self.remotes(account).queues().len());
        of_services.fold(own, usize::saturating_add)
    }

    /// The same for a message that goes only to subscribers, or to the requester if it is a reply.
    pub fn subscribers_cost(&self) -> usize {
        if self.matches.subject.starts_with(REPLY_PREFIX) {
            // The cost in the requester's account is unknown.
            return usize::MAX;
        }
        1 + self.subscribers()
    }

    /// Number of matching subscriptions of this broker.
    pub(super) fn subscribers(&self) -> usize {
        let members = self.matches.queues.iter().map(Vec::len);
        self.matches.plain.len() + members.sum::<usize>()
    }

    /// The mapping of the subject, if it is mapped.
    #[inline]
    pub fn mapped(&self) -> Option<&Mapped> {
        self.indirect.as_ref()?.mapped.as_ref()
    }

    /// `budget` is the limit of requests for a message at the beginning of a path.
    fn resolve_chain(
        account: &Account,
        subject: &[u8],
        path: &Path<'_>,
        budget: &Cell<usize>,
    ) -> Self {
        let imports = account.imports();
        let Some(mapping) = imports
            .as_ref()
            .and_then(|imports| imports.mapping(subject))
        else {
            return Self::resolve_unmapped(account, subject, path, budget);
        };
        let generation = account.sublist.generation();
        let (mapped, dependencies) = match mapping.constant() {
            Some(way) => {
                let destinations =
                    Self::resolve_unmapped(account, &way.applied(subject), path, budget);
                let dependencies = destinations.dependencies().to_vec();
                (Mapped::Constant(Arc::new(destinations)), dependencies)
            }
            None => (Mapped::Weighted(mapping.clone()), Vec::new()),
        };
        Self {
            matches: Matches {
                subject: subject.into(),
                generation,
                plain: Vec::new(),
                queues: Vec::new(),
            },
            interleave: OnceLock::new(),
            remotes: OnceLock::new(),
            leafs: OnceLock::new(),
            indirect: Some(Box::new(Indirect {
                mapped: Some(mapped),
                services: Vec::new(),
                pruned: 0,
                dependencies,
            })),
        }
    }

    fn resolve_unmapped(
        account: &Account,
        subject: &[u8],
        path: &Path<'_>,
        budget: &Cell<usize>,
    ) -> Self {
        let subscribers = Self::of_subscribers(account, subject);
        let imports = account.imports();
        let imported = imports.iter().flat_map(|imports| imports.services(subject));
        let mut indirect = Indirect {
            mapped: None,
            services: Vec::new(),
            pruned: 0,
            dependencies: Vec::new(),
        };
        for import in imported.chain(account.jetstream_api(subject)) {
            let Some(path) = path.extend(import, budget) else {
                indirect.pruned += 1;
                continue;
            };
            let request = import.request_subject(subject);
            let generation = import.account.sublist.generation();
            let destinations = Self::resolve_chain(&import.account, &request, &path, budget);
            indirect
                .dependencies
                .push((import.account.clone(), generation));
            indirect
                .dependencies
                .extend_from_slice(destinations.dependencies());
            indirect.services.push(Service {
                import: import.clone(),
                destinations: Arc::new(destinations),
            });
        }
        let is_some = !indirect.services.is_empty() || indirect.pruned > 0;
        let indirect = is_some.then(|| Box::new(indirect));
        Self {
            indirect,
            ..subscribers
        }
    }

    /// Looks up the peers and the leafnodes in advance, for all accounts that messages of `account` go
    /// to. Otherwise the first message would do that.
    pub(super) fn resolve_remotes(&self, account: &Account, from: Source<'_>) {
        match self.mapped() {
            Some(Mapped::Constant(destinations)) => {
                return destinations.resolve_remotes(account, from);
            }
            Some(Mapped::Weighted(_)) => return,
            None => {}
        }
        if from.reaches_routes() {
            self.remotes(account);
        }
        self.leafs(account, from);
        for service in self.indirect.iter().flat_map(|indirect| &indirect.services) {
            service
                .destinations
                .resolve_remotes(&service.import.account, from);
        }
    }

    /// Its memory, including the peers that were looked up.
    pub(super) fn size(&self) -> Size {
        Size {
            own: self.memory(),
            pinned: self.pinned(),
        }
    }

    /// Bytes of the subscriptions it refers to; only a lower bound if they exceed what can be
    /// cached.
    fn pinned(&self) -> usize {
        let matches = &self.matches;
        let budget = || matches.plain.iter().chain(matches.queues.iter().flatten());
        let at_least = budget().count() * size_of::<Subscription>();
        if at_least > CACHE_MAX {
            return at_least;
        }
        let own: usize = budget().map(Subscription::pinned).sum();
        let indirect = self.indirect.as_deref();
        let mapped = match indirect.and_then(|indirect| indirect.mapped.as_ref()) {
            Some(Mapped::Constant(destinations)) => destinations.pinned(),
            Some(Mapped::Weighted(_)) | None => 0,
        };
        let services = indirect.into_iter().flat_map(|indirect| &indirect.services);
        let of_services: usize = services.map(|known| known.destinations.pinned()).sum();
        own + mapped + of_services
    }

    fn memory(&self) -> usize {
        let matches = &self.matches;
        let members = matches
            .queues
            .iter()
            .map(|members| list(members.capacity()));
        let queues = allocated(matches.queues.capacity() * size_of::<Vec<Arc<Subscription>>>());
        // Plus the two counters of an Arc.
        let own = allocated(size_of::<Self>() + 2 * size_of::<usize>());
        let indirect = self.indirect.as_ref().map_or(0, |indirect| {
            let mapped = match &indirect.mapped {
                Some(Mapped::Constant(destinations)) => destinations.memory(),
                Some(Mapped::Weighted(_)) | None => 0,
            };
            let services = indirect
                .services
                .iter()
                .map(|known| known.destinations.memory());
            allocated(size_of::<Indirect>())
                + allocated(indirect.services.capacity() * size_of::<Service>())
                + allocated(indirect.dependencies.capacity() * size_of::<(Arc<Account>, u64)>())
                + mapped
                + services.sum::<usize>()
        });
        let plain = list(matches.plain.capacity());
        let peers = self.remotes.get().map_or(0, Remotes::memory);
        let leafs = self.leafs.get().and_then(Option::as_deref);
        let leafs = leafs.map_or(0, |leafs| allocated(size_of::<Remotes>()) + leafs.memory());
        own + peers
            + leafs
            + allocated(matches.subject.len())
            + plain
            + queues
            + members.sum::<usize>()
            + indirect
    }

    /// Whether a look-up would have the same result now. `generation` is that of the publisher's
    /// sublist.
    #[inline]
    pub fn is_current(&self, subject: &[u8], generation: u64) -> bool {
        self.matches.generation == generation
            && *self.matches.subject == *subject
            && self
                .dependencies()
                .iter()
                .all(|(account, seen)| account.sublist.generation() == *seen)
    }

    /// The members of each queue group by its name.
    pub(super) fn queues_by_name(&self) -> HashMap<&[u8], &[Arc<Subscription>]> {
        let named = self.matches.queues.iter().filter_map(|members| {
            let name = members.first()?.queue()?;
            Some((name, &**members))
        });
        named.collect()
    }

    /// Whether messages must be delivered one by one: a connection with several matching
    /// subscriptions gets all copies of a message before the next message, so that it receives
    /// messages in the order of publishing.
    pub(super) fn must_interleave(&self) -> bool {
        *self.interleave.get_or_init(|| {
            let budget = self
                .matches
                .plain
                .iter()
                .chain(self.matches.queues.iter().flatten());
            let mut cids: Vec<u64> = budget.map(|known| known.connection.cid).collect();
            let count = cids.len();
            cids.sort_unstable();
            cids.dedup();
            cids.len() < count
        })
    }

    #[inline]
    fn dependencies(&self) -> &[(Arc<Account>, u64)] {
        match &self.indirect {
            Some(indirect) => &indirect.dependencies,
            None => &[],
        }
    }
}

/// Bytes of a list of that many subscriptions.
fn list(capacity: usize) -> usize {
    allocated(capacity * size_of::<Arc<Subscription>>())
}
