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

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex, RwLock};

pub use ledger::{Last, Learning, Ledger, NodeView, Seen, View};
pub use local::Local;
pub use remote::{NodeList, Remotes};

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
    received: Mutex<VecDeque<NodeList>>,
    has_received: Condvar,
    view: RwLock<Arc<View>>,
    /// Bytes of the thread's tables.
    tables: AtomicUsize,
}

impl Nodes {
    /// Takes in a member's answer. Beyond the limit it is dropped: the member is asked again.
    pub fn take_in(&self, list: NodeList) {
        let mut received = self.received.lock();
        if received.len() < WAITING_MAX {
            received.push_back(list);
            self.has_received.notify_one();
        }
    }

    /// The answers so far; waits for one no longer than this.
    pub fn wait(&self, timeout: Duration) -> VecDeque<NodeList> {
        let mut received = self.received.lock();
        if received.is_empty() {
            self.has_received.wait_for(&mut received, timeout);
        }
        std::mem::take(&mut received)
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
        let received: usize = self.received.lock().iter().map(NodeList::memory).sum();
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
        assert_eq!(nodes.wait(Duration::ZERO).len(), WAITING_MAX);
        assert!(nodes.wait(Duration::ZERO).is_empty());
    }
}
