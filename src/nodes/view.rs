//! What was found about the expected nodes: what everything that is shown is made of.

use std::{sync::Arc, time::Duration};

use super::Last;
use crate::telemetry::MonotonicMillis;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Whether the broker has the block `nodes`.
    pub enabled: bool,
    /// When it was found.
    pub at: MonotonicMillis,
    /// The expected nodes, in the order of their names.
    pub nodes: Vec<NodeView>,
    /// How many of them are connected.
    pub present: usize,
    /// How many have not been for longer than `missing_after`.
    pub missing: usize,
    /// How many of the expected ones were learned.
    pub learned: usize,
    /// Nodes beyond the limits, which are not watched.
    pub left_out: usize,
    /// The members that were asked: name, number of nodes, and when it answered last.
    pub members: Vec<(String, usize, Option<MonotonicMillis>)>,
    /// What is wrong with the file of expected nodes, which is used as it was before; empty for
    /// nothing.
    pub file_error: String,
    /// What is wrong with the state file; empty for nothing.
    pub state_error: String,
}

/// One expected node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Its certname.
    pub name: Arc<str>,
    /// Whether it was learned.
    pub learned: bool,
    /// For how long it has not been connected; `None` while it is.
    pub absent: Option<Duration>,
    /// Whether that is longer than `missing_after`.
    pub missing: bool,
    /// Where it is or was last; `None` if it has never been seen.
    pub last: Option<Last>,
}

impl View {
    /// The missing nodes.
    pub fn missing(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.missing)
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<&NodeView> {
        let found = self.nodes.binary_search_by(|node| (*node.name).cmp(name));
        found.ok().map(|index| &self.nodes[index])
    }

    /// Bytes of its tables, without the texts that it shares with the ledger.
    pub fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<NodeView>()
    }
}
