//! Which nodes are connected, here and at the other members of the cluster, and which ones should be.
//!
//! A node is a client with a certificate; its certname is its name. `server::nodes` has a thread that
//! notes who is connected here ([`Local`]), asks the other members for theirs ([`Remotes`]; they are
//! asked and answer over the system account, see `route::node_lists`), and compares them with those
//! that are expected ([`Ledger`]): of the block `nodes`, of its file, or learned. What it found is a
//! [`View`], which everything that is shown is made of. Without the block there is no thread; a
//! member that is asked notes who is here when it is asked.
//!
//! No thread that serves clients waits for anything here but the short push of an answer
//! ([`Nodes::take_in`]).

mod ledger;
pub mod list;
mod local;
mod remote;
pub mod state_file;
mod view;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex, RwLock};

pub use ledger::{Last, Learning, Ledger, Seen};
pub use local::Local;
pub use remote::{NodeList, Remotes};
pub use view::{NodeView, View};

/// Limit of the nodes of one table.
pub const NODES_MAX: usize = 100_000;
/// Limit of a name, in bytes.
pub const NAME_LEN_MAX: usize = 255;
/// Limit of an address, in bytes.
pub const ADDRESS_LEN_MAX: usize = 64;

/// Answers of members that wait for the thread.
const WAITING_MAX: usize = 64;

/// What the thread, those who ask and those who show it share.
#[derive(Default)]
pub struct Nodes {
    /// Who is connected here.
    pub local: Mutex<Local>,
    inbox: Mutex<Inbox>,
    has_received: Condvar,
    view: RwLock<Arc<View>>,
    /// Bytes of the thread's tables.
    tables: AtomicUsize,
}

/// What waits for the thread.
#[derive(Default)]
struct Inbox {
    received: VecDeque<NodeList>,
    /// Learned nodes that are to be forgotten. They are names of the view, so there are no more.
    to_forget: BTreeSet<Arc<str>>,
    is_stopping: bool,
}

impl Inbox {
    fn is_urgent(&self) -> bool {
        self.is_stopping || !self.to_forget.is_empty()
    }
}

impl Nodes {
    /// Takes in a member's answer. Beyond the limit it is dropped: the member is asked again.
    pub fn take_in(&self, list: NodeList) {
        let mut inbox = self.inbox.lock();
        if inbox.received.len() < WAITING_MAX {
            inbox.received.push_back(list);
            self.has_received.notify_one();
        }
    }

    /// The answers so far; waits for one no longer than this. `None` if the thread has something to
    /// do at once.
    pub fn wait(&self, timeout: Duration) -> Option<VecDeque<NodeList>> {
        let mut inbox = self.inbox.lock();
        if inbox.received.is_empty() && !inbox.is_urgent() {
            self.has_received.wait_for(&mut inbox, timeout);
        }
        (!inbox.is_urgent()).then(|| std::mem::take(&mut inbox.received))
    }

    /// Has the thread forget a learned node that is gone for good.
    ///
    /// # Errors
    ///
    /// Why it is not forgotten, and what to do.
    pub fn forget(&self, name: &str) -> Result<(), String> {
        let view = self.view();
        if !view.enabled {
            return Err("this broker watches no nodes: it has no block \"nodes\"".into());
        }
        let Some(node) = view.find(name) else {
            return Err(format!(
                "no expected node is called {name}; see /nodesz?state=all"
            ));
        };
        if !node.learned {
            return Err(format!(
                "the configuration or its file of nodes names {name}: take it out there"
            ));
        }
        if node.absent.is_none() {
            return Err(format!(
                "{name} is connected: it would be learned again at once"
            ));
        }
        self.inbox.lock().to_forget.insert(node.name.clone());
        self.has_received.notify_one();
        Ok(())
    }

    /// The nodes that [`Nodes::forget`] was asked for since the last call.
    pub fn take_to_forget(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.inbox.lock().to_forget)
    }

    /// Has the thread write its state and end.
    pub fn stop(&self) {
        self.inbox.lock().is_stopping = true;
        self.has_received.notify_one();
    }

    /// Whether the thread is to end.
    pub fn is_stopping(&self) -> bool {
        self.inbox.lock().is_stopping
    }

    /// What was found last.
    pub fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Shows what was found; `tables` is the memory it was made from, in bytes.
    pub fn show(&self, view: View, tables: usize) {
        self.tables.store(tables, Ordering::Relaxed);
        *self.view.write() = Arc::new(view);
    }

    /// Bytes and number of the nodes in all tables.
    pub fn memory(&self) -> (usize, usize) {
        let view = self.view();
        let (local, count) = {
            let local = self.local.lock();
            (local.memory(), local.len())
        };
        let received = |inbox: &Inbox| inbox.received.iter().map(NodeList::memory).sum::<usize>();
        let received = received(&self.inbox.lock());
        let bytes = local + received + view.memory() + self.tables.load(Ordering::Relaxed);
        (bytes, count + view.nodes.len())
    }
}

/// Whether a name can be a node's: that of a certificate that is not too long and has no blanks.
pub fn is_name(name: &str) -> bool {
    let fit = |it: char| !it.is_whitespace() && !it.is_control();
    !name.is_empty() && name.len() <= NAME_LEN_MAX && name.chars().all(fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_wait_are_bounded() {
        let nodes = Nodes::default();
        for _ in 0..2 * WAITING_MAX {
            nodes.take_in(NodeList::default());
        }
        let waiting = || nodes.wait(Duration::ZERO).map(|lists| lists.len());
        assert_eq!(waiting(), Some(WAITING_MAX));
        assert_eq!(waiting(), Some(0));
    }

    #[test]
    fn only_learned_nodes_that_are_gone_are_forgotten() {
        let nodes = Nodes::default();
        let refused = |name: &str| nodes.forget(name).expect_err("refused");
        assert!(refused("gone").contains("no block"));
        let node = |name: &str, learned, absent: bool| NodeView {
            name: name.into(),
            learned,
            absent: absent.then_some(Duration::ZERO),
            missing: false,
            last: None,
        };
        let view = View {
            enabled: true,
            nodes: vec![
                node("gone", true, true),
                node("here", true, false),
                node("listed", false, true),
            ],
            ..View::default()
        };
        nodes.show(view, 0);
        assert!(refused("else").contains("no expected node"));
        assert!(refused("listed").contains("take it out"));
        assert!(refused("here").contains("is connected"));
        assert!(nodes.wait(Duration::ZERO).is_some());
        assert_eq!(nodes.forget("gone"), Ok(()));
        assert!(
            nodes.wait(Duration::from_secs(60)).is_none(),
            "at once, without a wait"
        );
        assert_eq!(nodes.take_to_forget(), ["gone".into()].into());
        nodes.stop();
        assert!(nodes.is_stopping() && nodes.wait(Duration::from_secs(60)).is_none());
    }
}
