//! Reach: where the messages of one subject go, resolved once and remembered by
//! the publisher.
//!
//! Most subjects go to the subscribers of their own account and nowhere else.
//! An account may also map a subject to others, or import services from other
//! accounts: then the ways are resolved to their ends here, so that a message
//! finds them without another look.

use std::{cell::Cell, sync::Arc};

use hashbrown::HashMap;
use once_cell::sync::OnceCell;

use super::{
    Account,
    fan_out::REQUEST_COST,
    imports::{Mapping, ServiceImport},
    lookup_cache::REMEMBERED_MAX,
    path::Path,
    replies::REPLY_PREFIX,
};
use crate::{
    connection::{Subscription, remote::Remotes},
    sublist::{Entry as _, Matches},
    telemetry::pool::allocated,
};

/// Where messages of one subject go.
pub struct Destinations {
    /// Who takes the subject.
    pub matches: Matches<Subscription>,
    /// Whether one connection takes it more than once; see
    /// [`Destinations::must_interleave`].
    interleave: OnceCell<bool>,
    remotes: OnceCell<Remotes>,
    /// What goes beyond the account's own sublist; most subjects have nothing.
    pub(super) beyond: Option<Box<Beyond>>,
}

/// What a reach takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Size {
    /// Bytes of its own.
    pub(super) own: usize,
    /// Bytes of the subscriptions in it.
    pub(super) pinned: usize,
}

/// Where messages go besides the subscribers of their own subject.
pub(super) struct Beyond {
    /// What becomes of the subject; then nothing else here counts.
    pub(super) mapped: Option<Mapped>,
    /// Services of other accounts that it is a request to.
    pub(super) services: Vec<Service>,
    /// Imports through which a message is not taken, so that it comes to an end.
    pub(super) cut: u64,
    /// Sublists that were asked, and their generation then.
    seen: Vec<(Arc<Account>, u64)>,
}

/// What becomes of a subject.
pub enum Mapped {
    /// It may differ from message to message.
    Chance(Arc<Mapping>),
    /// Always the same.
    Constant(Arc<Destinations>),
}

impl Mapped {
    /// Messages of a subject batch that one choice is for.
    pub fn stays_for(&self) -> usize {
        match self {
            Self::Chance(_) => 1,
            Self::Constant(_) => usize::MAX,
        }
    }

    /// Where the next messages to `subject` in `account` go that came by `path`.
    pub fn choose(&self, account: &Account, subject: &[u8], path: &Path<'_>) -> Arc<Destinations> {
        let mapping = match self {
            Self::Constant(destinations) => return destinations.clone(),
            Self::Chance(mapping) => mapping,
        };
        Arc::new(match mapping.choose() {
            Some(way) => {
                let all = Path::all();
                Destinations::resolve_unmapped(account, &way.applied(subject), path, &all)
            }
            // Lost: nobody can subscribe to no subject.
            None => Destinations::of_subscribers(account, b""),
        })
    }
}

/// A service that a message is a request to.
pub(super) struct Service {
    pub(super) import: Arc<ServiceImport>,
    /// Where the request goes in the other account.
    pub(super) destinations: Arc<Destinations>,
}

impl Destinations {
    /// Where messages that a client of `account` publishes to `subject` go.
    pub fn resolve(account: &Account, subject: &[u8]) -> Self {
        let all = Path::all();
        Self::resolve_chain(account, subject, &Path::start(&all), &all)
    }

    /// Where messages go that come with their last subject: to its subscribers.
    pub fn of_subscribers(account: &Account, subject: &[u8]) -> Self {
        Self {
            matches: account.sublist.lookup(subject),
            interleave: OnceCell::new(),
            remotes: OnceCell::new(),
            beyond: None,
        }
    }

    /// Whether nobody can be reached.
    pub fn is_empty(&self) -> bool {
        let goes_on = |beyond: &Beyond| beyond.mapped.is_some() || !beyond.services.is_empty();
        self.matches.is_empty() && !self.beyond.as_deref().is_some_and(goes_on)
    }

    /// The peers of the cluster that take the subject in `account`, which is
    /// that of the look-up. Looked up once; a change of what they want makes
    /// the whole reach out of date.
    pub(super) fn remotes(&self, account: &Account) -> &Remotes {
        self.remotes
            .get_or_init(|| account.remotes(&self.matches.subject))
    }

    /// Bytes of the names of queue groups that a message may take to the peers, as a
    /// request to other accounts too; [`usize::MAX`] where that differs from message
    /// to message.
    pub fn queue_names_len(&self, account: &Account) -> usize {
        match self.mapped() {
            Some(Mapped::Constant(destinations)) => return destinations.queue_names_len(account),
            Some(Mapped::Chance(_)) => return usize::MAX,
            None => {}
        }
        let services = self.beyond.iter().flat_map(|beyond| &beyond.services);
        let of_services = services.map(|it| it.destinations.queue_names_len(&it.import.account));
        of_services.fold(self.remotes(account).names_len(), usize::saturating_add)
    }

    /// What a small message costs at most that a client publishes here, in deliveries;
    /// [`usize::MAX`] where that is not known before.
    pub fn cost(&self, account: &Account) -> usize {
        match self.mapped() {
            Some(Mapped::Constant(destinations)) => return destinations.cost(account),
            Some(Mapped::Chance(_)) => return usize::MAX,
            None => {}
        }
        let services = self.beyond.iter().flat_map(|beyond| &beyond.services);
        let of_services = services.map(|service| {
            let cost = service.destinations.cost(&service.import.account);
            cost.saturating_add(REQUEST_COST)
        });
        let own = self.subscribers_cost();
        let own = own.saturating_add(self.remotes(account).queues().len());
        of_services.fold(own, usize::saturating_add)
    }

    /// The same of a message that goes to the subscribers alone, and to who waits for
    /// it as a reply.
    pub fn subscribers_cost(&self) -> usize {
        if self.matches.subject.starts_with(REPLY_PREFIX) {
            // Where it goes in another account.
            return usize::MAX;
        }
        1 + self.subscribers()
    }

    /// How many subscriptions take the subject here.
    pub(super) fn subscribers(&self) -> usize {
        let members = self.matches.queues.iter().map(Vec::len);
        self.matches.plain.len() + members.sum::<usize>()
    }

    /// What becomes of the subject, if it is mapped.
    #[inline]
    pub fn mapped(&self) -> Option<&Mapped> {
        self.beyond.as_ref()?.mapped.as_ref()
    }

    /// `all` is what may become of a message at the beginning of a path.
    fn resolve_chain(
        account: &Account,
        subject: &[u8],
        path: &Path<'_>,
        all: &Cell<usize>,
    ) -> Self {
        let imports = account.imports();
        let Some(mapping) = imports
            .as_ref()
            .and_then(|imports| imports.mapping(subject))
        else {
            return Self::resolve_unmapped(account, subject, path, all);
        };
        let generation = account.sublist.generation();
        let (mapped, seen) = match mapping.constant() {
            Some(way) => {
                let destinations =
                    Self::resolve_unmapped(account, &way.applied(subject), path, all);
                let seen = destinations.seen().to_vec();
                (Mapped::Constant(Arc::new(destinations)), seen)
            }
            None => (Mapped::Chance(mapping.clone()), Vec::new()),
        };
        Self {
            matches: Matches {
                subject: subject.into(),
                generation,
                plain: Vec::new(),
                queues: Vec::new(),
            },
            interleave: OnceCell::new(),
            remotes: OnceCell::new(),
            beyond: Some(Box::new(Beyond {
                mapped: Some(mapped),
                services: Vec::new(),
                cut: 0,
                seen,
            })),
        }
    }

    fn resolve_unmapped(
        account: &Account,
        subject: &[u8],
        path: &Path<'_>,
        all: &Cell<usize>,
    ) -> Self {
        let subscribers = Self::of_subscribers(account, subject);
        let imports = account.imports();
        let imported = imports.iter().flat_map(|imports| imports.services(subject));
        let mut beyond = Beyond {
            mapped: None,
            services: Vec::new(),
            cut: 0,
            seen: Vec::new(),
        };
        for import in imported.chain(account.streams_api(subject)) {
            let Some(path) = path.through(import, all) else {
                beyond.cut += 1;
                continue;
            };
            let request = import.request_subject(subject);
            let generation = import.account.sublist.generation();
            let destinations = Self::resolve_chain(&import.account, &request, &path, all);
            beyond.seen.push((import.account.clone(), generation));
            beyond.seen.extend_from_slice(destinations.seen());
            beyond.services.push(Service {
                import: import.clone(),
                destinations: Arc::new(destinations),
            });
        }
        let is_some = !beyond.services.is_empty() || beyond.cut > 0;
        let beyond = is_some.then(|| Box::new(beyond));
        Self {
            beyond,
            ..subscribers
        }
    }

    /// Looks up the peers wherever messages of `account` go by it, which is done with
    /// the first message else.
    pub(super) fn look_for_peers(&self, account: &Account) {
        match self.mapped() {
            Some(Mapped::Constant(destinations)) => return destinations.look_for_peers(account),
            Some(Mapped::Chance(_)) => return,
            None => {}
        }
        self.remotes(account);
        for service in self.beyond.iter().flat_map(|beyond| &beyond.services) {
            service.destinations.look_for_peers(&service.import.account);
        }
    }

    /// What it takes, with those peers that were looked up.
    pub(super) fn size(&self) -> Size {
        Size {
            own: self.memory(),
            pinned: self.pinned(),
        }
    }

    /// Bytes of the subscriptions in it; of more than can be remembered, at least.
    fn pinned(&self) -> usize {
        let matches = &self.matches;
        let all = || matches.plain.iter().chain(matches.queues.iter().flatten());
        let at_least = all().count() * size_of::<Subscription>();
        if at_least > REMEMBERED_MAX {
            return at_least;
        }
        let own: usize = all().map(Subscription::pinned).sum();
        let beyond = self.beyond.as_deref();
        let mapped = match beyond.and_then(|beyond| beyond.mapped.as_ref()) {
            Some(Mapped::Constant(destinations)) => destinations.pinned(),
            Some(Mapped::Chance(_)) | None => 0,
        };
        let services = beyond.into_iter().flat_map(|beyond| &beyond.services);
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
        // With the two counts of an Arc.
        let own = allocated(size_of::<Self>() + 2 * size_of::<usize>());
        let beyond = self.beyond.as_ref().map_or(0, |beyond| {
            let mapped = match &beyond.mapped {
                Some(Mapped::Constant(destinations)) => destinations.memory(),
                Some(Mapped::Chance(_)) | None => 0,
            };
            let services = beyond
                .services
                .iter()
                .map(|known| known.destinations.memory());
            allocated(size_of::<Beyond>())
                + allocated(beyond.services.capacity() * size_of::<Service>())
                + allocated(beyond.seen.capacity() * size_of::<(Arc<Account>, u64)>())
                + mapped
                + services.sum::<usize>()
        });
        let plain = list(matches.plain.capacity());
        let peers = self.remotes.get().map_or(0, Remotes::memory);
        own + peers
            + allocated(matches.subject.len())
            + plain
            + queues
            + members.sum::<usize>()
            + beyond
    }

    /// Whether this is what a look-up would find now. `generation` is that of
    /// the sublist of the publisher's account.
    #[inline]
    pub fn is_current(&self, subject: &[u8], generation: u64) -> bool {
        self.matches.generation == generation
            && *self.matches.subject == *subject
            && self
                .seen()
                .iter()
                .all(|(account, seen)| account.sublist.generation() == *seen)
    }

    /// The subscribers of each queue group by its name; made when it is first
    /// asked for.
    pub(super) fn queues_by_name(&self) -> HashMap<&[u8], &[Arc<Subscription>]> {
        let named = self.matches.queues.iter().filter_map(|members| {
            let name = members.first()?.queue()?;
            Some((name, &**members))
        });
        named.collect()
    }

    /// Whether messages must be delivered one by one: a connection with several
    /// matching subscriptions gets all copies of a message before the next
    /// message, so that its output keeps the order of publishing.
    pub(super) fn must_interleave(&self) -> bool {
        *self.interleave.get_or_init(|| {
            let all = self
                .matches
                .plain
                .iter()
                .chain(self.matches.queues.iter().flatten());
            let mut cids: Vec<u64> = all.map(|known| known.connection.cid).collect();
            let count = cids.len();
            cids.sort_unstable();
            cids.dedup();
            cids.len() < count
        })
    }

    #[inline]
    fn seen(&self) -> &[(Arc<Account>, u64)] {
        match &self.beyond {
            Some(beyond) => &beyond.seen,
            None => &[],
        }
    }
}

/// Bytes of a list with room for so many subscriptions.
fn list(capacity: usize) -> usize {
    allocated(capacity * size_of::<Arc<Subscription>>())
}
