//! The thread that watches the expected nodes of the block `nodes`: it notes who is connected here,
//! asks the other members, reads the file of expected nodes, and keeps the state file. It serves
//! nobody, so it may wait for a file or a lock. There is one while there is such a block.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use tracing::{error, warn};

use super::Server;
use crate::{
    broker::Broker,
    config::options::nodes::NodesOptions,
    connection::Kind,
    nodes::{
        Learning, Ledger, Remotes, Seen, View,
        list::{self, Stamp},
        state_file,
    },
    telemetry::{MonotonicMillis, event::EventKind, threads},
};

/// Time between two rounds, unless nodes are to be missed sooner.
const ROUND: Duration = Duration::from_secs(5);
const ROUND_MIN: Duration = Duration::from_secs(1);

/// How often the state file is written if nodes come or go, and at least.
const WRITE_AFTER: Duration = Duration::from_secs(10);
const WRITE_EVERY: Duration = Duration::from_secs(3600);

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
        if self.options().nodes.is_none() || self.node_watch.0.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let running = Running(self.node_watch.0.clone());
        let server = Arc::downgrade(self);
        threads::spawn("nodes", STACK_LEN, move || {
            let mut watch = Watch::default();
            while let Some(wait) = watch.round(&server) {
                watch.wait(&server, wait);
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
    state: StateFile,
    own_name: Arc<str>,
}

/// The file of expected nodes as it was read last.
#[derive(Default)]
struct ListFile {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    names: BTreeSet<Arc<str>>,
    error: String,
}

/// The state file.
#[derive(Default)]
struct StateFile {
    path: Option<PathBuf>,
    written: Option<Instant>,
    /// How many nodes were connected then.
    present: usize,
    error: String,
}

impl Watch {
    /// Looks at everything once. Returns how long to wait; `None` if there is no block any more.
    fn round(&mut self, server: &Weak<Server>) -> Option<Duration> {
        let server = server.upgrade()?;
        let broker = &server.broker;
        let Some(options) = server.options().nodes.clone() else {
            broker.nodes.show(View::default(), 0);
            return None;
        };
        self.own_name = match *self.own_name == *server.name {
            true => self.own_name.clone(),
            false => server.name.as_str().into(),
        };
        self.read_files(&server, &options);
        let now = MonotonicMillis::now();
        note_local(broker, now);
        if let Some(cluster) = &server.cluster {
            cluster.ask_for_nodes(&mut self.remotes);
        }
        self.compare(broker, &options, now);
        self.write_state(&server);
        Some(options.missing_after.clamp(ROUND_MIN, ROUND))
    }

    /// Takes in what members answer, until the next round is due.
    fn wait(&mut self, server: &Weak<Server>, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let Some(server) = server.upgrade() else {
                return;
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let broker = server.broker.clone();
            for list in broker.nodes.wait(left) {
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
        let names = names.chain(self.file.names.iter().cloned()).collect();
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
        view.file_error.clone_from(&self.file.error);
        view.state_error.clone_from(&self.state.error);
        let tables = self.ledger.memory() + self.remotes.memory();
        broker.nodes.show(view, tables);
    }

    fn read_files(&mut self, server: &Server, options: &NodesOptions) {
        self.file.read(server, options.file.as_ref());
        if self.state.path == options.state_file {
            return;
        }
        self.state = StateFile {
            path: options.state_file.clone(),
            ..StateFile::default()
        };
        if let Some(path) = &self.state.path {
            let calls = &server.broker.telemetry.calls;
            let _call = calls.begin(
                "reading the nodes that were seen",
                path.display().to_string(),
            );
            if let Err(error) = state_file::recall(path, &mut self.ledger) {
                warn!("State of the nodes: {error}");
                self.state.error = error;
            }
        }
    }

    fn write_state(&mut self, server: &Server) {
        let Some(path) = &self.state.path else {
            return;
        };
        let present = server.broker.nodes.view().present;
        let age = self.state.written.map(|written| written.elapsed());
        let is_due = age.is_none_or(|age| {
            age >= WRITE_EVERY || age >= WRITE_AFTER && present != self.state.present
        });
        if !is_due {
            return;
        }
        let calls = &server.broker.telemetry.calls;
        let _call = calls.begin(
            "writing the nodes that were seen",
            path.display().to_string(),
        );
        let error = state_file::write(path, &self.ledger)
            .err()
            .unwrap_or_default();
        if !error.is_empty() && error != self.state.error {
            error!("State of the nodes: {error}");
        }
        self.state.error = error;
        self.state.written = Some(Instant::now());
        self.state.present = present;
    }
}

impl ListFile {
    /// Reads it if it is another one or has changed. What cannot be used leaves the names as they
    /// were.
    fn read(&mut self, server: &Server, path: Option<&PathBuf>) {
        let Some(path) = path else {
            *self = Self::default();
            return;
        };
        let calls = &server.broker.telemetry.calls;
        let _call = calls.begin("reading the expected nodes", path.display().to_string());
        let stamp = Stamp::of(path);
        let is_other = self.path.as_ref() != Some(path);
        if !is_other && stamp == self.stamp {
            return;
        }
        if is_other {
            *self = Self::default();
        }
        self.path = Some(path.clone());
        self.stamp = stamp;
        match list::read(path) {
            Ok(names) => {
                let (before, now) = (self.names.len(), names.len());
                self.names = names;
                self.error.clear();
                if !is_other {
                    let text = format!("the file was read again: {now} nodes, before {before}");
                    let subject = path.display().to_string();
                    let events = &server.broker.telemetry.events;
                    events.record(EventKind::Reload, 0, &subject, &text);
                }
            }
            Err(error) => {
                error!("Expected nodes: {error}; those of the last readable file stay in force");
                self.error = error;
            }
        }
    }
}
