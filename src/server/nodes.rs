//! The thread that watches the expected nodes of the block `nodes`: it notes who is connected here,
//! asks the other members, reads the file of expected nodes, and keeps the state file. It serves
//! nobody, so it may wait for a file or a lock. There is one while there is such a block.

mod list_file;
mod state;

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use list_file::ListFile;
use state::State;
use tracing::error;

use super::Server;
use crate::{
    broker::Broker,
    config::options::nodes::NodesOptions,
    connection::Kind,
    nodes::{Learning, Ledger, Nodes, Remotes, Seen, View},
    telemetry::{MonotonicMillis, threads},
};

/// Time between two rounds, unless nodes are to be missed sooner.
const ROUND: Duration = Duration::from_secs(5);
const ROUND_MIN: Duration = Duration::from_secs(1);

/// How often it is looked whether the thread has ended.
const END_PAUSE: Duration = Duration::from_millis(2);

/// Bytes of the thread's stack.
const STACK_LEN: usize = 512 * 1024;

/// Whether the thread runs.
#[derive(Default)]
pub(super) struct NodeWatch(Arc<AtomicBool>);

/// Notes who is connected to this broker.
pub fn note_local(broker: &Broker, now: MonotonicMillis) {
    let open = broker.registry.open(Kind::Client);
    let connected = open.iter().filter(|connection| {
        !connection.is_closing() && !connection.identity.lock().account.is_empty()
    });
    let named = connected.map(|connection| (connection.certname().to_owned(), connection.peer));
    broker.nodes.local.lock().take(named, now);
}

impl Server {
    /// Starts the thread if the options have the block and it does not run. A thread whose block is
    /// taken away ends by itself.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn watch_nodes(self: &Arc<Self>) -> io::Result<()> {
        if self.options().nodes.is_none()
            || self.broker.nodes.is_stopping()
            || self.node_watch.0.swap(true, Ordering::AcqRel)
        {
            return Ok(());
        }
        let running = Running(self.node_watch.0.clone());
        let nodes = self.broker.nodes.clone();
        let server = Arc::downgrade(self);
        threads::spawn("nodes", STACK_LEN, move || {
            let mut watch = Watch::default();
            while let Some(wait) = watch.round(&server) {
                watch.wait(&server, &nodes, wait);
            }
            drop(running);
            // A reload may have brought the block back before it was said that this thread ends.
            let again = server.upgrade().map(|server| server.watch_nodes());
            if let Some(Err(error)) = again {
                error!("The nodes are not watched, no thread could be started: {error}");
            }
        })
    }
}

impl Server {
    /// Has the thread write its state and end; waits for that no longer than this.
    pub fn stop_watching_nodes(&self, timeout: Duration) {
        self.broker.nodes.stop();
        let end = Instant::now() + timeout;
        while self.node_watch.0.load(Ordering::Acquire) && Instant::now() < end {
            thread::sleep(END_PAUSE);
        }
    }
}

/// Says that the thread does not run any more, when it is dropped.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What the thread keeps between its rounds.
#[derive(Default)]
struct Watch {
    ledger: Ledger,
    remotes: Remotes,
    file: ListFile,
    state: State,
    own_name: Arc<str>,
}

impl Watch {
    /// Looks at everything once. Returns how long to wait; `None` if there is no block any more.
    fn round(&mut self, server: &Weak<Server>) -> Option<Duration> {
        let server = server.upgrade()?;
        let broker = &server.broker;
        if broker.gate.is_shut() {
            // The process that serves now writes it.
            self.state.leave();
        }
        let Some(options) = server.options().nodes.clone() else {
            broker.nodes.show(View::default(), 0);
            return None;
        };
        self.own_name = match *self.own_name == *server.name {
            true => self.own_name.clone(),
            false => server.name.as_str().into(),
        };
        let telemetry = &broker.telemetry;
        if broker.nodes.is_stopping() {
            // The clients have been closed: this round would miss all of them.
            self.state.write(&telemetry.calls, &mut self.ledger);
            return None;
        }
        self.file.read(telemetry, options.file.as_deref());
        let state_file = options.state_file.as_deref();
        self.state
            .read(&telemetry.calls, state_file, &mut self.ledger);
        for name in &broker.nodes.take_to_forget() {
            self.ledger.forget(name);
        }
        let now = MonotonicMillis::now();
        note_local(broker, now);
        if let Some(cluster) = &server.cluster {
            cluster.ask_for_nodes(&mut self.remotes);
        }
        self.compare(broker, &options, now);
        self.state
            .write_if_due(&telemetry.calls, &mut self.ledger, options.learn);
        Some(options.missing_after.clamp(ROUND_MIN, ROUND))
    }

    /// Takes in what members answer, until the next round is due.
    fn wait(&mut self, server: &Weak<Server>, nodes: &Nodes, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // The server is not held while nothing happens.
            let Some(lists) = nodes.wait(left) else {
                return;
            };
            let Some(server) = server.upgrade() else {
                return;
            };
            for list in lists {
                let id = list.server_id.clone();
                let has_more = self.remotes.take_in(list, MonotonicMillis::now());
                if let Some(cluster) = server.cluster.as_ref().filter(|_| has_more) {
                    cluster.ask_again_for_nodes(&id, &self.remotes);
                }
            }
        }
    }

    fn compare(&mut self, broker: &Broker, options: &NodesOptions, now: MonotonicMillis) {
        let names = options.expected.iter().map(|name| Arc::from(&**name));
        let names = names.chain(self.file.names().iter().cloned()).collect();
        self.ledger.expect(&names);
        let learning = Learning {
            certificates: &options.certificates,
            keep: options.learn,
        };
        let local = broker.nodes.local.lock();
        self.ledger.note(
            &Seen {
                own_name: &self.own_name,
                local: &local,
                remotes: &self.remotes,
                now,
                time: Utc::now(),
            },
            (!options.learn.is_zero()).then_some(&learning),
        );
        let mut view = self.ledger.view(now, options.missing_after);
        let own = (self.own_name.to_string(), local.len(), Some(now));
        view.left_out += local.left_out();
        drop(local);
        let others = self.remotes.members();
        let others = others.map(|member| (member.name.clone(), member.len(), member.answered));
        view.members = std::iter::once(own).chain(others).collect();
        view.left_out += self
            .remotes
            .members()
            .map(|it| it.left_out())
            .sum::<usize>();
        self.file.error().clone_into(&mut view.file_error);
        view.state_error = self.state.error();
        let tables = self.ledger.memory() + self.remotes.memory();
        broker.nodes.show(view, tables);
    }
}
