//! The nodes that are connected at the other members of the cluster, by what these answered.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};

use super::{ADDRESS_LEN_MAX, NODES_MAX, is_name};
use crate::telemetry::{
    MonotonicMillis,
    pool::{allocated, shorten_to},
};

/// Nodes in one answer, connected or not.
pub(super) const ITEMS_MAX: usize = 16 * 1024;

/// What a member answers about the nodes that are connected to it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct NodeList {
    /// The member's id.
    pub server_id: String,
    /// Number of the member's last change.
    pub version: u64,
    /// Whether this is a part of all nodes, and not what has changed.
    pub full: bool,
    /// Of a part: the name that it was asked to begin behind.
    pub after: String,
    /// Of a part: the name to ask the next one with; empty at the end.
    pub next: String,
    /// Nodes that are connected, with their addresses.
    #[serde(deserialize_with = "bounded")]
    pub present: Vec<(String, String)>,
    /// Nodes that are not connected any more.
    #[serde(deserialize_with = "bounded")]
    pub gone: Vec<String>,
}

/// Reads a list of no more than [`ITEMS_MAX`]: short items take more memory than their text.
fn bounded<'de, D, T>(reader: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {ITEMS_MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == ITEMS_MAX {
                    return Err(A::Error::invalid_length(ITEMS_MAX + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }

    reader.deserialize_seq(Bounded(PhantomData))
}

impl NodeList {
    /// Its bytes.
    pub fn memory(&self) -> usize {
        let present = self
            .present
            .iter()
            .map(|(name, address)| name.len() + address.len());
        let gone = self.gone.iter().map(String::len);
        size_of::<Self>()
            + present
                .map(|len| len + size_of::<(String, String)>())
                .sum::<usize>()
            + gone.map(|len| len + size_of::<String>()).sum::<usize>()
    }
}

/// The other members.
#[derive(Default)]
pub struct Remotes(HashMap<String, Remote>);

/// The nodes of one member.
#[derive(Default)]
pub struct Remote {
    /// Its name.
    pub name: String,
    /// When it answered last; `None` for never: a nats-server does not answer.
    pub answered: Option<MonotonicMillis>,
    nodes: Table,
    /// The change up to which `nodes` is right.
    version: Option<u64>,
    /// The parts of all nodes that have come, as of which change, and where to go on.
    filling: Option<(Table, u64, String)>,
}

/// Names and addresses, bounded.
#[derive(Default)]
struct Table {
    nodes: BTreeMap<Box<str>, Box<str>>,
    left_out: usize,
}

impl Table {
    fn add(&mut self, present: Vec<(String, String)>) {
        for (name, address) in present {
            if !is_name(&name) {
                continue;
            }
            if self.nodes.len() == NODES_MAX && !self.nodes.contains_key(&*name) {
                self.left_out += 1;
                continue;
            }
            let address = shorten_to(&address, ADDRESS_LEN_MAX).into_owned();
            self.nodes.insert(name.into(), address.into());
        }
    }

    fn memory(&self) -> usize {
        let nodes = self.nodes.iter();
        let texts = nodes.map(|(name, address)| allocated(name.len()) + allocated(address.len()));
        self.nodes.len() * size_of::<(Box<str>, Box<str>)>() + texts.sum::<usize>()
    }
}

impl Remotes {
    /// Keeps the members that there are, with their names.
    pub fn keep(&mut self, members: &[(String, String)]) {
        self.0
            .retain(|id, _| members.iter().any(|(known, _)| known == id));
        for (id, name) in members {
            self.0.entry(id.clone()).or_default().name.clone_from(name);
        }
    }

    /// What to ask a member for: all after a name, or what has changed since.
    pub fn question(&self, id: &str) -> (Option<u64>, Option<&str>) {
        match self.0.get(id) {
            Some(Remote {
                filling: Some((_, _, next)),
                ..
            }) => (None, Some(next)),
            remote => (remote.and_then(|it| it.version), None),
        }
    }

    /// Takes in what a member answered. Returns whether it has to be asked for the next part.
    pub fn take_in(&mut self, list: NodeList, now: MonotonicMillis) -> bool {
        match self.0.get_mut(&list.server_id) {
            Some(remote) => remote.take_in(list, now),
            // Its route was lost meanwhile.
            None => false,
        }
    }

    /// Where a node is connected: the member's name and the node's address there.
    pub fn find(&self, name: &str) -> Option<(&str, &str)> {
        self.0.values().find_map(|remote| {
            let address = remote.nodes.nodes.get(name)?;
            Some((&*remote.name, &**address))
        })
    }

    /// All of them, with those that are connected at several members several times.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let tables = self.0.values().map(|remote| &remote.nodes.nodes);
        tables.flat_map(|nodes| nodes.keys().map(|name| &**name))
    }

    /// The members.
    pub fn members(&self) -> impl Iterator<Item = &Remote> {
        self.0.values()
    }

    /// Bytes of all tables.
    pub fn memory(&self) -> usize {
        let filling = |remote: &Remote| remote.filling.as_ref().map_or(0, |it| it.0.memory());
        let remotes = self.0.values();
        remotes
            .map(|remote| remote.nodes.memory() + filling(remote))
            .sum()
    }
}

impl Remote {
    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.nodes.nodes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more there are than are kept.
    pub fn left_out(&self) -> usize {
        self.nodes.left_out
    }

    fn take_in(&mut self, list: NodeList, now: MonotonicMillis) -> bool {
        self.answered = Some(now);
        if !list.full {
            self.nodes.add(list.present);
            for name in list.gone {
                self.nodes.nodes.remove(&*name);
            }
            self.version = Some(list.version);
            return false;
        }
        let (mut table, version) = match self.filling.take() {
            _ if list.after.is_empty() => (Table::default(), list.version),
            Some((table, version, next)) if next == list.after => (table, version),
            // A part that was asked for before and comes late.
            filling => {
                self.filling = filling;
                return false;
            }
        };
        table.add(list.present);
        let is_over = list.next.is_empty();
        match is_over {
            true => {
                self.nodes = table;
                self.version = Some(version);
            }
            false => self.filling = Some((table, version, list.next)),
        }
        !is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(present: &[&str], gone: &[&str], version: u64) -> NodeList {
        NodeList {
            server_id: "M".into(),
            version,
            present: present
                .iter()
                .map(|name| ((*name).to_owned(), "192.0.2.1:1".to_owned()))
                .collect(),
            gone: gone.iter().map(|name| (*name).to_owned()).collect(),
            ..NodeList::default()
        }
    }

    fn remotes() -> Remotes {
        let mut remotes = Remotes::default();
        remotes.keep(&[("M".into(), "member".into())]);
        remotes
    }

    #[test]
    fn parts_become_the_whole_and_changes_follow() {
        let (mut remotes, now) = (remotes(), MonotonicMillis(1));
        assert_eq!(remotes.question("M"), (None, None));
        let first = NodeList {
            full: true,
            next: "b".into(),
            ..list(&["a", "b"], &[], 7)
        };
        assert!(remotes.take_in(first.clone(), now));
        assert_eq!(remotes.find("a"), None, "not before all of it is there");
        assert_eq!(remotes.question("M"), (None, Some("b")));
        let late = NodeList {
            full: true,
            after: "x".into(),
            ..list(&["y"], &[], 7)
        };
        assert!(!remotes.take_in(late, now));
        // Meanwhile something has changed there; it is asked for as of the first part.
        let last = NodeList {
            full: true,
            after: "b".into(),
            ..list(&["c"], &[], 9)
        };
        assert!(!remotes.take_in(last, now));
        assert_eq!(remotes.question("M"), (Some(7), None));
        assert_eq!(remotes.find("c"), Some(("member", "192.0.2.1:1")));
        assert!(!remotes.take_in(list(&["d"], &["a"], 9), now));
        assert_eq!(remotes.names().collect::<Vec<_>>(), ["b", "c", "d"]);
        // It was restarted: everything anew.
        assert!(!remotes.take_in(
            NodeList {
                full: true,
                ..list(&["z"], &[], 1)
            },
            now
        ));
        assert_eq!(remotes.names().collect::<Vec<_>>(), ["z"]);
        remotes.keep(&[]);
        assert_eq!(remotes.names().count(), 0);
        assert!(!remotes.take_in(first, now), "of a member that is gone");
    }

    #[test]
    fn an_answer_is_bounded_in_number() {
        let text = |count: usize| {
            let gone = vec![r#""""#; count].join(",");
            format!(r#"{{"version": 1, "gone": [{gone}]}}"#)
        };
        let read = |count| serde_json::from_str::<NodeList>(&text(count));
        assert_eq!(read(ITEMS_MAX).expect("a list").gone.len(), ITEMS_MAX);
        let error = read(ITEMS_MAX + 1).expect_err("too many");
        assert!(error.to_string().contains("at most"), "{error}");
    }

    #[test]
    fn a_members_nodes_are_bounded() {
        let mut remotes = remotes();
        let many: Vec<String> = (0..NODES_MAX + 5)
            .map(|number| number.to_string())
            .collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(1000);
        many.push(&long);
        remotes.take_in(
            NodeList {
                full: true,
                ..list(&many, &[], 1)
            },
            MonotonicMillis(1),
        );
        let member = remotes.members().next().expect("a member");
        assert_eq!((member.len(), member.left_out()), (NODES_MAX, 5));
    }
}
