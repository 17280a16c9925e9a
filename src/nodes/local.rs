//! The nodes that are connected here, with their latest changes, so that a member that asks again
//! gets what has changed and no more.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use super::{NODES_MAX, NodeList, is_name, remote::ITEMS_MAX};
use crate::telemetry::{MonotonicMillis, pool::allocated};

/// Changes that are remembered.
const CHANGES_MAX: usize = 4096;

/// Bytes of the names and addresses of one answer.
const PAGE_BYTES: usize = 256 * 1024;

/// How old it may be when a member asks.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// The nodes that are connected here.
#[derive(Default)]
pub struct Local {
    nodes: BTreeMap<Arc<str>, SocketAddr>,
    /// Number of the last change.
    version: u64,
    /// The latest changes, the oldest first: their numbers and whom they are about.
    changes: VecDeque<(u64, Arc<str>)>,
    taken: Option<MonotonicMillis>,
    /// Nodes that were not noted because there were too many.
    left_out: usize,
}

impl Local {
    /// Whether it should be taken anew before it is told to a member.
    pub fn is_old(&self, now: MonotonicMillis) -> bool {
        self.taken.is_none_or(|taken| taken.until(now) >= FRESH_FOR)
    }

    /// Notes who is connected. Of several connections of a node the first one counts.
    pub fn take(
        &mut self,
        connected: impl Iterator<Item = (String, SocketAddr)>,
        now: MonotonicMillis,
    ) {
        let mut nodes = BTreeMap::new();
        self.left_out = 0;
        for (name, address) in connected {
            if !is_name(&name) || nodes.contains_key(&*name) {
                continue;
            }
            if nodes.len() == NODES_MAX {
                self.left_out += 1;
                continue;
            }
            // The text of a node that was there before is shared with it.
            let known = self.nodes.get_key_value(&*name);
            let name = known.map_or_else(|| name.into(), |(name, _)| name.clone());
            nodes.insert(name, address);
        }
        let before = std::mem::replace(&mut self.nodes, nodes);
        let gone: Vec<_> = before
            .keys()
            .filter(|name| !self.nodes.contains_key(*name))
            .cloned()
            .collect();
        let new: Vec<_> = self
            .nodes
            .keys()
            .filter(|name| !before.contains_key(*name))
            .cloned()
            .collect();
        for name in gone.into_iter().chain(new) {
            self.version += 1;
            self.changes.push_back((self.version, name));
        }
        let surplus = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..surplus);
        self.taken = Some(now);
    }

    /// Where a node is connected from.
    pub fn find(&self, name: &str) -> Option<SocketAddr> {
        self.nodes.get(name).copied()
    }

    /// Names and addresses.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &SocketAddr)> {
        self.nodes.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many there are beyond the limit.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// What a member gets that knows all up to the change `since`, or that has got a part of all up
    /// to the name `after`.
    pub fn answer(&self, since: Option<u64>, after: Option<&str>) -> NodeList {
        match (after, since) {
            (None, Some(since)) if self.remembers(since) => {
                let changed = self.changed_since(since);
                changed.unwrap_or_else(|| self.page(""))
            }
            (after, _) => self.page(after.unwrap_or_default()),
        }
    }

    fn remembers(&self, since: u64) -> bool {
        let oldest = self.changes.front().map(|(number, _)| *number);
        since == self.version || since < self.version && oldest.is_some_and(|it| it <= since + 1)
    }

    /// `None` if that is too much for one answer.
    fn changed_since(&self, since: u64) -> Option<NodeList> {
        let mut list = NodeList {
            version: self.version,
            ..NodeList::default()
        };
        let changed = self.changes.iter().filter(|(number, _)| *number > since);
        let mut bytes = 0;
        for (_, name) in changed {
            bytes += name.len();
            match self.find(name) {
                Some(address) => {
                    let address = address.to_string();
                    bytes += address.len();
                    list.present.push((name.to_string(), address));
                }
                None => list.gone.push(name.to_string()),
            }
            if bytes > PAGE_BYTES {
                return None;
            }
        }
        Some(list)
    }

    fn page(&self, after: &str) -> NodeList {
        let mut list = NodeList {
            version: self.version,
            full: true,
            after: after.to_owned(),
            ..NodeList::default()
        };
        let mut bytes = 0;
        let range = (Bound::Excluded(after), Bound::Unbounded);
        for (name, address) in self.nodes.range::<str, _>(range) {
            let address = address.to_string();
            bytes += name.len() + address.len();
            if bytes > PAGE_BYTES || list.present.len() == ITEMS_MAX {
                list.next = list
                    .present
                    .last()
                    .map(|(name, _)| name.clone())
                    .unwrap_or_default();
                break;
            }
            list.present.push((name.to_string(), address));
        }
        list
    }

    /// Bytes of its tables.
    pub fn memory(&self) -> usize {
        let names: usize = self
            .nodes
            .keys()
            .map(|name| allocated(name.len() + 16))
            .sum();
        names
            + self.nodes.len() * size_of::<(Arc<str>, SocketAddr)>()
            + self.changes.capacity() * size_of::<(u64, Arc<str>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(names: &[&str]) -> impl Iterator<Item = (String, SocketAddr)> {
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        let names: Vec<_> = names
            .iter()
            .map(|name| ((*name).to_owned(), address))
            .collect();
        names.into_iter()
    }

    fn names(list: &NodeList) -> Vec<&str> {
        list.present.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn who_asks_again_gets_what_has_changed() {
        let mut local = Local::default();
        let now = MonotonicMillis(1);
        assert!(local.is_old(now));
        local.take(connected(&["a", "b", "b", "", "with blank"]), now);
        assert!(!local.is_old(now));
        let first = local.answer(None, None);
        assert_eq!((names(&first), first.full), (vec!["a", "b"], true));
        assert_eq!(
            local.answer(Some(first.version), None),
            NodeList {
                version: first.version,
                ..NodeList::default()
            }
        );
        local.take(connected(&["b", "c"]), now);
        let second = local.answer(Some(first.version), None);
        assert_eq!(
            (names(&second), &*second.gone),
            (vec!["c"], &["a".to_owned()][..])
        );
        assert!(!second.full);
        // A number from before a restart.
        assert!(local.answer(Some(1_000_000), None).full);
    }

    #[test]
    fn more_changes_than_are_remembered_are_told_as_all() {
        let mut local = Local::default();
        local.take(connected(&["a"]), MonotonicMillis(1));
        let known = local.answer(None, None).version;
        let many: Vec<String> = (0..CHANGES_MAX)
            .map(|number| format!("n{number}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        local.take(connected(&many[..CHANGES_MAX - 1]), MonotonicMillis(2));
        assert!(!local.answer(Some(known), None).full, "exactly as many");
        local.take(connected(&many), MonotonicMillis(3));
        assert!(local.answer(Some(known), None).full);
        assert_eq!(local.changes.len(), CHANGES_MAX);
    }

    #[test]
    fn all_are_told_in_parts_of_bounded_length() {
        let mut local = Local::default();
        let all: Vec<String> = (0..20_000)
            .map(|number| format!("node{number:05}.example.net"))
            .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        local.take(connected(&all), MonotonicMillis(1));
        let (mut told, mut after, mut parts) = (Vec::new(), None, 0);
        loop {
            let list = local.answer(Some(0), after.as_deref());
            let bytes: usize = list
                .present
                .iter()
                .map(|(name, address)| name.len() + address.len())
                .sum();
            assert!(bytes <= PAGE_BYTES);
            told.extend(list.present.into_iter().map(|(name, _)| name));
            parts += 1;
            match &*list.next {
                "" => break,
                next => after = Some(next.to_owned()),
            }
        }
        assert_eq!(told, all);
        assert!(parts > 1);
    }

    #[test]
    fn long_changes_are_told_as_all() {
        let mut local = Local::default();
        local.take(connected(&["a"]), MonotonicMillis(1));
        let known = local.answer(None, None).version;
        let name = |number: usize| format!("{number:0>255}");
        let all: Vec<String> = (0..CHANGES_MAX / 2).map(name).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        local.take(connected(&all), MonotonicMillis(2));
        assert!(local.remembers(known));
        let list = local.answer(Some(known), None);
        assert!(list.full && !list.next.is_empty());
        let text = serde_json::to_string(&list).expect("JSON");
        assert!(text.len() < 1024 * 1024);
    }

    #[test]
    fn nodes_are_bounded_in_number() {
        let mut local = Local::default();
        let all: Vec<String> = (0..NODES_MAX + 3)
            .map(|number| number.to_string())
            .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        local.take(connected(&all), MonotonicMillis(1));
        assert_eq!((local.len(), local.left_out()), (NODES_MAX, 3));
    }
}
