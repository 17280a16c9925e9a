//! The expected nodes: which are connected, since when the others are not, and where they were last.

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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::nodes::NodeList;

    struct Fleet {
        local: Local,
        remotes: Remotes,
        ledger: Ledger,
        now: MonotonicMillis,
    }

    fn fleet() -> Fleet {
        let mut remotes = Remotes::default();
        remotes.keep(&[("M".into(), "nats2".into())]);
        Fleet {
            local: Local::default(),
            remotes,
            ledger: Ledger::default(),
            now: MonotonicMillis(1000),
        }
    }

    impl Fleet {
        fn here(&mut self, names: &[&str]) {
            let address = SocketAddr::from(([192, 0, 2, 1], 7));
            let names = names.iter().map(|name| ((*name).to_owned(), address));
            self.local.take(names, self.now);
        }

        fn there(&mut self, names: &[&str]) {
            let present = names
                .iter()
                .map(|name| ((*name).to_owned(), "192.0.2.2:8".to_owned()));
            let list = NodeList {
                server_id: "M".into(),
                full: true,
                present: present.collect(),
                ..NodeList::default()
            };
            self.remotes.take_in(list, self.now);
        }

        fn expect(&mut self, names: &[&str]) {
            self.ledger
                .expect(&names.iter().map(|name| Arc::from(*name)).collect());
        }

        /// Some seconds later.
        fn note(&mut self, seconds: u64, learn_for: Option<u64>) -> View {
            self.note_those_of("*.net", seconds, learn_for)
        }

        fn note_those_of(&mut self, pattern: &str, seconds: u64, learn_for: Option<u64>) -> View {
            self.now = MonotonicMillis(self.now.0 + seconds * 1000);
            let certificates = [CertnamePattern::parse(pattern).expect("a pattern")];
            let learning = learn_for.map(|keep| Learning {
                certificates: &certificates,
                keep: Duration::from_secs(keep),
            });
            let seen = Seen {
                own_name: &"nats1".into(),
                local: &self.local,
                remotes: &self.remotes,
                now: self.now,
                time: DateTime::from_timestamp_millis(self.now.0 as i64).expect("a time"),
            };
            self.ledger.note(&seen, learning.as_ref());
            self.ledger.view(self.now, Duration::from_secs(10))
        }
    }

    fn missing(view: &View) -> Vec<&str> {
        view.missing().map(|node| &*node.name).collect()
    }

    #[test]
    fn a_node_is_missing_that_is_nowhere_for_a_while() {
        let mut fleet = fleet();
        fleet.expect(&["a", "b", "c"]);
        fleet.here(&["a"]);
        fleet.there(&["b"]);
        let view = fleet.note(0, None);
        assert_eq!((view.present, view.missing, view.nodes.len()), (2, 0, 3));
        let view = fleet.note(10, None);
        assert_eq!(missing(&view), ["c"]);
        assert!(view.nodes[2].last.is_none(), "it was never seen");
        // b moves to this broker; a leaves.
        fleet.there(&[]);
        fleet.here(&["b"]);
        let view = fleet.note(1, None);
        assert_eq!((view.present, missing(&view)), (1, vec!["c"]));
        let view = fleet.note(10, None);
        assert_eq!(missing(&view), ["a", "c"]);
        let last = view.nodes[0].last.clone().expect("a was seen");
        assert_eq!((&*last.member, &*last.address), ("nats1", "192.0.2.1:7"));
        assert_eq!(view.nodes[0].absent, Some(Duration::from_secs(10)));
        fleet.here(&["a", "b", "c"]);
        assert_eq!(fleet.note(1, None).present, 3);
        fleet.expect(&["a"]);
        assert_eq!(
            fleet.note(1, None).nodes.len(),
            1,
            "the others are not expected any more"
        );
    }

    #[test]
    fn nodes_are_learned_and_forgotten() {
        let mut fleet = fleet();
        fleet.here(&["a.net", "alice.mcollective"]);
        fleet.there(&["b.net"]);
        let view = fleet.note(0, Some(100));
        assert_eq!((view.nodes.len(), view.learned, view.present), (2, 2, 2));
        fleet.there(&[]);
        let view = fleet.note(20, Some(100));
        assert_eq!(missing(&view), Vec::<&str>::new(), "not for long yet");
        assert_eq!(missing(&fleet.note(20, Some(100))), ["b.net"]);
        assert_eq!(fleet.note(100, Some(100)).nodes.len(), 1, "it is forgotten");
        assert_eq!(
            fleet.note(1, None).nodes.len(),
            0,
            "nobody is learned any more"
        );
    }

    #[test]
    fn learned_nodes_can_be_taken_out() {
        let names = |view: &View| -> Vec<String> {
            let names = view.nodes.iter().map(|node| node.name.to_string());
            names.collect()
        };
        let mut fleet = fleet();
        fleet.expect(&["listed.net"]);
        fleet.here(&["a.net", "b.net", "db.net"]);
        fleet.note(0, Some(100));
        fleet.here(&["a.net"]);
        fleet.note(1, Some(100));
        for name in ["a.net", "b.net", "listed.net", "else"] {
            fleet.ledger.forget(name);
        }
        let view = fleet.note(1, Some(100));
        assert_eq!(
            names(&view),
            ["a.net", "db.net", "listed.net"],
            "neither who is here nor who is listed is forgotten"
        );
        let view = fleet.note_those_of("d*.net", 1, Some(100));
        assert_eq!(
            names(&view),
            ["db.net", "listed.net"],
            "a narrower pattern counts at once"
        );
    }

    #[test]
    fn it_is_noted_who_comes_and_goes() {
        let mut fleet = fleet();
        fleet.expect(&["a.net"]);
        for (here, changed, what) in [
            (&["a.net"][..], true, "it came"),
            (&["a.net"], false, "it stays"),
            (&["a.net", "b.net"], true, "another is learned"),
            (&["b.net"], true, "one went, as many as before are here"),
            (&["b.net"], false, "nothing"),
            (&["a.net"], true, "one for the other"),
        ] {
            fleet.here(here);
            fleet.note(1, Some(100));
            assert_eq!(fleet.ledger.take_changed(), changed, "{what}");
        }
        fleet.note(200, Some(100));
        assert!(fleet.ledger.take_changed(), "b is forgotten");
        fleet.there(&["a.net"]);
        fleet.here(&[]);
        fleet.note(1, Some(100));
        assert!(fleet.ledger.take_changed(), "a moved");
    }

    #[test]
    fn what_an_earlier_run_saw_counts() {
        let mut fleet = fleet();
        fleet.expect(&["a.net"]);
        let last = |seconds: i64| Last {
            at: DateTime::from_timestamp_millis(seconds * 1000).expect("a time"),
            member: "old".into(),
            address: "192.0.2.9:9".into(),
        };
        for name in ["a.net", "b.net", "c.net"] {
            fleet.ledger.recall(name, last(-5));
        }
        fleet.here(&["c.net"]);
        fleet.note(0, Some(100));
        let view = fleet.note(10, Some(100));
        assert_eq!(missing(&view), ["a.net", "b.net"]);
        assert_eq!(view.nodes[1].last, Some(last(-5)));
        assert_eq!(fleet.ledger.seen().count(), 3);
    }

    #[test]
    fn learned_nodes_are_bounded() {
        let mut fleet = fleet();
        let many: Vec<String> = (0..NODES_MAX)
            .map(|number| format!("{number}.net"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        fleet.here(&many);
        fleet.there(&["x.net", "y.net"]);
        let view = fleet.note(0, Some(100));
        assert_eq!((view.nodes.len(), view.left_out), (NODES_MAX, 2));
    }
}
