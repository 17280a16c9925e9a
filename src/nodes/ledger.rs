//! The expected nodes: which are connected, since when the others are not, and where they were last.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{ADDRESS_LEN_MAX, Local, NODES_MAX, NodeView, Remotes, View};
use crate::{
    security::certname_pattern::CertnamePattern,
    telemetry::{MonotonicMillis, pool::allocated},
};

/// Where a node was connected last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Last {
    /// When it was there last.
    pub at: DateTime<Utc>,
    /// The member of the cluster.
    pub member: Arc<str>,
    /// The node's address there.
    pub address: Arc<str>,
}

/// All expected nodes.
#[derive(Default)]
pub struct Ledger {
    entries: BTreeMap<Arc<str>, Entry>,
    /// Nodes that were not learned because there were too many.
    left_out: usize,
    /// Whether a node came, went or was forgotten since [`Ledger::take_changed`].
    changed: bool,
}

struct Entry {
    /// Whether the configuration or its file names it; otherwise it is learned.
    listed: bool,
    last: Option<Last>,
    /// Since when it has been missed, in this run of the broker; `None` while it is connected.
    absent: Option<MonotonicMillis>,
}

/// Which nodes are learned.
pub struct Learning<'a> {
    /// Those whose certname matches one of these.
    pub certificates: &'a [CertnamePattern],
    /// For how long they are expected after they were seen last.
    pub keep: Duration,
}

impl Learning<'_> {
    fn is_for(&self, name: &str) -> bool {
        self.certificates.iter().any(|it| it.matches(name))
    }
}

/// One moment of the nodes of the whole cluster.
pub struct Seen<'a> {
    /// This broker's name.
    pub own_name: &'a Arc<str>,
    /// The nodes that are connected here.
    pub local: &'a Local,
    /// Those at the other members.
    pub remotes: &'a Remotes,
    /// When that is.
    pub now: MonotonicMillis,
    /// The same as a time of day.
    pub time: DateTime<Utc>,
}

impl Ledger {
    /// Takes over which nodes are expected by name: those that are not any more stay as learned ones
    /// if others are learned.
    pub fn expect(&mut self, names: &BTreeSet<Arc<str>>) {
        for (name, entry) in &mut self.entries {
            entry.listed = names.contains(name);
        }
        for name in names {
            self.entries.entry(name.clone()).or_insert(Entry {
                listed: true,
                last: None,
                absent: None,
            });
        }
    }

    /// Takes over where a node was seen last by an earlier run of the broker. Learns it if it is not
    /// expected by name.
    pub fn recall(&mut self, name: &str, last: Last) {
        let has_room = self.entries.len() < NODES_MAX;
        match self.entries.get_mut(name) {
            Some(entry) => entry.last = entry.last.take().or(Some(last)),
            None if has_room => {
                let entry = Entry {
                    listed: false,
                    last: Some(last),
                    absent: None,
                };
                self.entries.insert(name.into(), entry);
            }
            None => self.left_out += 1,
        }
    }

    /// Notes who is connected where, learns new nodes and forgets those that were seen too long ago.
    pub fn note(&mut self, seen: &Seen<'_>, learning: Option<&Learning<'_>>) {
        self.left_out = 0;
        if let Some(learning) = learning {
            self.learn(seen, learning);
        }
        for (name, entry) in &mut self.entries {
            let place = match seen.local.find(name) {
                Some(address) => Some((seen.own_name.clone(), address.to_string())),
                None => {
                    let found = seen.remotes.find(name);
                    found.map(|(member, address)| (member.into(), address.to_owned()))
                }
            };
            match place {
                Some((member, address)) => {
                    self.changed |= entry.absent.take().is_some();
                    self.changed |= entry.see(seen.time, member, &address);
                }
                None => {
                    self.changed |= entry.absent.is_none();
                    entry.absent.get_or_insert(seen.now);
                }
            }
        }
        let before = self.entries.len();
        self.entries.retain(|name, entry| {
            let age = |last: &Last| (seen.time - last.at).to_std().unwrap_or_default();
            let is_remembered = learning.is_some_and(|it| {
                // The patterns may have become narrower.
                entry.last.as_ref().is_some_and(|last| age(last) < it.keep) && it.is_for(name)
            });
            entry.listed || is_remembered
        });
        self.changed |= self.entries.len() != before;
    }

    /// Forgets a learned node that is not connected.
    pub fn forget(&mut self, name: &str) {
        let is_gone = |entry: &Entry| !entry.listed && entry.absent.is_some();
        if self.entries.get(name).is_some_and(is_gone) {
            self.entries.remove(name);
            self.changed = true;
        }
    }

    /// Whether a node came, went or was forgotten since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn learn(&mut self, seen: &Seen<'_>, learning: &Learning<'_>) {
        let here = seen.local.nodes().map(|(name, _)| &**name);
        for name in here.chain(seen.remotes.names()) {
            if self.entries.contains_key(name) || !learning.is_for(name) {
                continue;
            }
            if self.entries.len() >= NODES_MAX {
                self.left_out += 1;
                continue;
            }
            let entry = Entry {
                listed: false,
                last: None,
                absent: None,
            };
            self.entries.insert(name.into(), entry);
        }
    }

    /// What the state file keeps: names, and where they were last.
    pub fn seen(&self) -> impl Iterator<Item = (&Arc<str>, &Last)> {
        let entries = self.entries.iter();
        entries.filter_map(|(name, entry)| Some((name, entry.last.as_ref()?)))
    }

    /// The nodes as they are shown; the fields about files and members are left empty.
    pub fn view(&self, now: MonotonicMillis, missing_after: Duration) -> View {
        let mut view = View {
            enabled: true,
            at: now,
            left_out: self.left_out,
            ..View::default()
        };
        for (name, entry) in &self.entries {
            let absent = entry.absent.map(|since| since.until(now));
            let missing = absent.is_some_and(|absent| absent >= missing_after);
            view.present += usize::from(absent.is_none());
            view.missing += usize::from(missing);
            view.learned += usize::from(!entry.listed);
            view.nodes.push(NodeView {
                name: name.clone(),
                learned: !entry.listed,
                absent,
                missing,
                last: entry.last.clone(),
            });
        }
        view
    }

    /// Bytes of its table, at the most.
    pub fn memory(&self) -> usize {
        let texts: usize = self
            .entries
            .keys()
            .map(|name| allocated(name.len() + 16))
            .sum();
        let lasts = self.entries.values().filter(|entry| entry.last.is_some());
        texts
            + self.entries.len() * size_of::<(Arc<str>, Entry)>()
            + lasts.count() * allocated(ADDRESS_LEN_MAX)
    }
}

impl Entry {
    /// It is connected. Texts that stay the same are not made anew. Returns whether they are others.
    fn see(&mut self, at: DateTime<Utc>, member: Arc<str>, address: &str) -> bool {
        match &mut self.last {
            Some(last) if *last.member == *member && *last.address == *address => {
                last.at = at;
                false
            }
            last => {
                let address = address.into();
                *last = Some(Last {
                    at,
                    member,
                    address,
                });
                true
            }
        }
    }
}
