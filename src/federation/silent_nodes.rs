//! Nodes that are connected here, get the federation's requests to all nodes, and answer none.
//!
//! The answers of one request are shared among all federation brokers of the site, so that a node
//! whose answer does not come here may well have answered. Over many requests it cannot: each is
//! counted as the share of its answers that comes here ([`super::answers`]), and of [`ENOUGH`] that
//! should have come here, all went elsewhere by chance about once in `e^20` times.
//!
//! A node is a client that has subscribed to `COLLECTIVE.node.NAME` once and to the subjects of the
//! agents that are asked. Each sample of the diagnosis calls [`Federation::judge_nodes`], on the
//! observer's thread; its rule and `/federationz` read the [`view`](SilentNodes::view).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    Federation,
    answers::{NAME_LEN_MAX, News},
    filter::Agents,
};
use crate::{
    account::Account,
    connection::{Connection, Subscription},
    sublist::Entry as _,
    telemetry::{
        MonotonicMicros, MonotonicMillis,
        event::{EventKind, EventLog},
        pool::allocated,
    },
};

/// Answers of a node that should have come here before it is silent.
pub const ENOUGH: u32 = 20;

/// Nodes that are watched because they have not answered, and bytes of their names.
const NODES_MAX: usize = 65_536;
const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Clients with more subscriptions are no nodes: those have one for each agent and collective.
const SUBSCRIPTIONS_MAX: usize = 512;

/// Silent nodes that are named.
pub const NAMED_MAX: usize = 20;

/// The nodes that have not answered.
#[derive(Default)]
pub struct SilentNodes {
    table: Mutex<Table>,
    view: Mutex<NodesView>,
}

/// The nodes as values.
#[derive(Clone, Debug, Default)]
pub struct NodesView {
    /// Nodes connected here that the last requests to all nodes were for.
    pub asked: usize,
    /// Of these, nodes that have not answered here since a request that others have answered.
    pub unanswered: usize,
    /// Of these, silent nodes.
    pub silent: usize,
    /// Of these, nodes whose answers this broker refuses.
    pub denied: usize,
    /// The silent nodes that have been silent longest, at most [`NAMED_MAX`].
    pub named: Vec<SilentNode>,
}

/// A silent node.
#[derive(Clone, Debug)]
pub struct SilentNode {
    /// Its name.
    pub name: String,
    /// Its connection.
    pub cid: u64,
    /// Requests that it got and did not answer here.
    pub requests: u32,
    /// When it got the first of them.
    pub since: MonotonicMillis,
    /// Whether this broker has refused its answers.
    pub denied: bool,
}

#[derive(Default)]
struct Table {
    /// By name.
    nodes: HashMap<Box<str>, Unanswered>,
    bytes: usize,
    /// Number of the requests that were last counted.
    pass: u64,
    asked: usize,
}

/// What a node was asked since it last answered.
struct Unanswered {
    cid: u64,
    pass: u64,
    requests: u32,
    expected: f64,
    since: MonotonicMillis,
    /// Known once it is silent.
    denied: Option<bool>,
}

/// A node that has some agents.
struct Node {
    name: String,
    cid: u64,
    start: MonotonicMicros,
}

impl Federation {
    /// Takes in what is new since the last time.
    pub fn judge_nodes(&self) {
        let new = self.figures.answers.take();
        let account = self.account();
        let nodes_with = |agents: &Agents| {
            let nodes = account.as_ref().map(|account| nodes_with(account, agents));
            nodes.unwrap_or_default()
        };
        let registry = &self.broker.registry;
        let is_open = |cid| registry.find(cid).is_some();
        let (subject, _) = self.reply_group();
        let denied = || denied_to_publish(&self.broker.telemetry.events, &subject);
        let silent = &self.figures.silent_nodes;
        silent.update(&new, nodes_with, is_open, denied);
    }
}

impl SilentNodes {
    /// The present values.
    pub fn view(&self) -> NodesView {
        self.view.lock().clone()
    }

    /// Bytes that it holds.
    pub(super) fn memory(&self) -> usize {
        let table = self.table.lock();
        table.bytes + table.nodes.capacity() * size_of::<(Box<str>, Unanswered)>()
    }

    fn update(
        &self,
        new: &News,
        nodes_with: impl Fn(&Agents) -> Vec<Node>,
        is_open: impl Fn(u64) -> bool,
        denied: impl FnOnce() -> HashSet<u64>,
    ) {
        let mut table = self.table.lock();
        match new.lost {
            true => table.clear(),
            false => table.add(new, nodes_with, is_open),
        }
        table.find_denied(denied);
        let view = table.view();
        drop(table);
        *self.view.lock() = view;
    }
}

impl Table {
    fn clear(&mut self) {
        self.nodes = HashMap::new();
        self.bytes = 0;
    }

    fn add(
        &mut self,
        new: &News,
        nodes_with: impl Fn(&Agents) -> Vec<Node>,
        is_open: impl Fn(u64) -> bool,
    ) {
        let bytes = &mut self.bytes;
        self.nodes.retain(|name, node| {
            let stays = is_open(node.cid) && !new.heard.contains(name);
            if !stays {
                *bytes -= allocated(name.len());
            }
            stays
        });
        let mut asked: HashSet<u64> = HashSet::new();
        for (agents, batch) in &new.asked {
            self.pass += 1;
            for node in nodes_with(agents) {
                // One that has connected since may not have got all of them.
                if node.start >= batch.first {
                    continue;
                }
                asked.insert(node.cid);
                if !new.heard.contains(&*node.name)
                    && let Some(unanswered) = self.entry(node, batch.first.millis())
                {
                    unanswered.requests = unanswered.requests.saturating_add(batch.requests);
                    unanswered.expected += batch.expected;
                }
            }
        }
        if !new.asked.is_empty() {
            asked.extend(self.nodes.values().map(|node| node.cid));
            self.asked = asked.len();
        }
        if self.nodes.capacity() > 64 && self.nodes.len() < self.nodes.capacity() / 8 {
            self.nodes.shrink_to_fit();
        }
    }

    /// The node's entry; `None` if it has counted these requests already, by another connection of
    /// the same name, or if there are too many.
    fn entry(&mut self, node: Node, since: MonotonicMillis) -> Option<&mut Unanswered> {
        let bytes = allocated(node.name.len());
        if !self.nodes.contains_key(&*node.name) {
            if self.nodes.len() >= NODES_MAX || self.bytes + bytes > NAMES_BYTES_MAX {
                return None;
            }
            self.bytes += bytes;
        }
        let name = node.name.into_boxed_str();
        let entry = self.nodes.entry(name).or_insert(Unanswered {
            cid: node.cid,
            pass: 0,
            requests: 0,
            expected: 0.0,
            since,
            denied: None,
        });
        entry.cid = node.cid;
        let is_counted = entry.pass == self.pass;
        entry.pass = self.pass;
        (!is_counted).then_some(entry)
    }

    /// Notes of each node that has become silent whether its answers are refused.
    fn find_denied(&mut self, denied: impl FnOnce() -> HashSet<u64>) {
        let nodes = self.nodes.values_mut();
        let mut unknown = nodes
            .filter(|node| node.is_silent() && node.denied.is_none())
            .peekable();
        if unknown.peek().is_some() {
            let denied = denied();
            unknown.for_each(|node| node.denied = Some(denied.contains(&node.cid)));
        }
    }

    fn view(&self) -> NodesView {
        let silent = self.nodes.iter().filter(|(_, node)| node.is_silent());
        let mut silent: Vec<(&Box<str>, &Unanswered)> = silent.collect();
        silent.sort_unstable_by_key(|(name, node)| (node.since, *name));
        let is_denied = |node: &Unanswered| node.denied == Some(true);
        let named = silent
            .iter()
            .take(NAMED_MAX)
            .map(|(name, node)| SilentNode {
                name: name.to_string(),
                cid: node.cid,
                requests: node.requests,
                since: node.since,
                denied: is_denied(node),
            });
        NodesView {
            asked: self.asked.max(self.nodes.len()),
            unanswered: self.nodes.len(),
            silent: silent.len(),
            denied: silent.iter().filter(|(_, node)| is_denied(node)).count(),
            named: named.collect(),
        }
    }
}

impl Unanswered {
    fn is_silent(&self) -> bool {
        // Thirds do not add up exactly.
        self.expected > f64::from(ENOUGH) - 0.001
    }
}

/// The nodes of an account that have these agents.
fn nodes_with(account: &Account, agents: &Agents) -> Vec<Node> {
    let Some(prefix) = agents.node_prefix() else {
        return Vec::new();
    };
    let target = agents.target.as_bytes();
    let asked = account.sublist.lookup(target).plain;
    // Those of other accounts, and those who watch many subjects, are no nodes.
    let is_agent = |it: &&Arc<Subscription>| {
        !it.is_shadow() && it.subject() == target && !it.connection.is_closing()
    };
    let nodes = asked.iter().filter(is_agent).filter_map(|it| {
        let name = node_name(&it.connection, prefix.as_bytes(), &agents.others)?;
        Some(Node {
            name,
            cid: it.connection.cid,
            start: it.connection.start,
        })
    });
    nodes.collect()
}

/// The name of a node that has these agents; `None` if the connection is none, or has others.
fn node_name(connection: &Connection, prefix: &[u8], agents: &[String]) -> Option<String> {
    let subscriptions = connection.subscriptions.lock();
    if subscriptions.len() > SUBSCRIPTIONS_MAX {
        return None;
    }
    let mut found = None;
    let mut missing: Vec<&[u8]> = agents.iter().map(String::as_bytes).collect();
    for subscription in subscriptions.iter() {
        let subject = subscription.subject();
        missing.retain(|agent| *agent != subject);
        if let Some(name) = subject.strip_prefix(prefix) {
            let is_other = found.is_some_and(|known| known != name);
            if is_other || name.len() > NAME_LEN_MAX || crate::subject::is_wildcard(name) {
                return None;
            }
            found = Some(name);
        }
    }
    let name = found.filter(|_| missing.is_empty())?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}

/// The connections that were refused to publish to a subject, as far as that is remembered.
fn denied_to_publish(events: &EventLog, subject: &str) -> HashSet<u64> {
    let violations = events.select(Some(0), usize::MAX, &[EventKind::PermissionViolation]);
    let violations = violations.events.iter().filter(|event| {
        let text = event.text.to_ascii_lowercase();
        text.contains("publish to") && event.text.contains(subject)
    });
    violations.map(|event| event.cid).collect()
}

#[cfg(test)]
mod tests;
