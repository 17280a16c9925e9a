//! The old process of an upgrade: starts the new one, hands the listening sockets over, and leaves
//! once the new one serves. `lifecycle::run` starts the thread that does it ([`HandOver::listen`])
//! and acts on what it reports ([`Handed`]).

mod requests;

use std::{
    io,
    net::TcpStream,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::mpsc};
use tracing::{error, info, warn};

use super::{
    channel::{Decision, FORMAT, Offer, Ready, Report},
    listeners::Listeners,
    move_clients::Moving,
    successor::{Failure, Successor, misunderstood, tcp_pair},
    supervision,
};
use crate::{
    VERSION,
    protocol::{json_fault, route::RouteInfo},
    route::Sibling,
    server::{Server, pid_file::PidFile},
    telemetry::{event::EventKind, threads},
};

/// How long it may take to get its routes.
const JOINING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long it may take to take the clients over.
const TAKING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the interest of one process may take to be known to the other.
pub(super) const INTEREST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take to serve then.
const SERVING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it must serve before the old process leaves; it says itself when that is over.
pub(in crate::server) const WATCHED_FOR: Duration = Duration::from_secs(2);

/// How much longer that may take before it counts as hanging.
const STEADY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the service manager may take to hear of it, and how often that is tried.
const TELLING_TIMEOUT: Duration = Duration::from_secs(5);
const TELLING_PAUSE: Duration = Duration::from_millis(20);

/// How long the route to a new process that has ended may take to end as well.
const ROUTE_END_TIMEOUT: Duration = Duration::from_secs(2);

/// Upper limit of the time until the outcome of an upgrade is known.
pub(super) const LONGEST: Duration = Duration::from_secs(100);

/// Connection ids that the old process may still assign.
const CIDS_LEFT: u64 = 1024 * 1024;

/// Bytes of a thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// What [`super::super::lifecycle::run`] has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handed {
    /// The new process serves: leave.
    Over {
        /// Whether it has the Unix socket, so that its file must stay.
        has_unix_socket: bool,
    },
    /// The new process was asked to stop: stop as well.
    Stop,
}

/// What an upgrade needs.
pub struct HandOver {
    server: Arc<Server>,
    listeners: Listeners,
    /// Whether the file of the Unix socket is this process'.
    owns_socket_file: bool,
    handed: mpsc::Sender<Handed>,
}

impl HandOver {
    /// Upgrades; returns what is to be said about it.
    fn upgrade(&mut self, runtime: &Handle, handed_to: &mut Option<u32>) -> Result<String, String> {
        if let Some(pid) = handed_to {
            return Err(format!("process {pid} has taken over already"));
        }
        info!("Upgrade: starting another process, which is to take over");
        let upgraded = self.try_upgrade(runtime);
        let pending = &self.server.upgrades.pending;
        pending.end();
        match upgraded {
            Ok((successor, ready)) => {
                let pid = successor.pid();
                *handed_to = Some(pid);
                Ok(self.leave(successor, &ready))
            }
            Err(Failure::Stopping) => {
                let text = match pending.stops() {
                    true => "this process was asked to stop, and so both do",
                    false => "the new process was asked to stop, and so this one stops as well",
                };
                info!("Upgrade: {text}");
                self.record(text);
                self.hand(Handed::Stop);
                Err(text.into())
            }
            Err(Failure::Other(why)) => {
                let text = format!("the upgrade failed, this process serves on: {why}");
                error!("{text}");
                self.record(&text);
                Err(text)
            }
        }
    }

    /// Hands over to a new process.
    fn try_upgrade(&self, runtime: &Handle) -> Result<(Successor, Ready), Failure> {
        let server = &self.server;
        self.check_not_stopping()?;
        if server.cluster_or_link().is_some_and(|it| it.has_sibling()) {
            return Err(Failure::Other(
                "the process that it has taken over from still has clients; wait until it has ended"
                    .into(),
            ));
        }
        supervision::check(server.service_manager().is_there())?;
        let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let (mut successor, ours, theirs) = Successor::start()
            .and_then(|successor| tcp_pair().map(|(ours, theirs)| (successor, ours, theirs)))
            .map_err(failed("the new process cannot be started"))?;
        if !server.upgrades.pending.begin(&successor.child) {
            return Err(Failure::Stopping);
        }
        let sibling = {
            let _entered = runtime.enter();
            Sibling::new(server.link(), ours).map_err(failed("the route to the new process"))?
        };
        self.offer(&mut successor, &sibling, theirs)?;
        let ready = successor.ready()?;
        let info: RouteInfo = serde_json::from_str(&ready.info)
            .map_err(|error| misunderstood(&format!("its INFO: {}", json_fault(&error))))?;
        runtime.spawn(sibling.serve(info));
        let served = self.wait_for_service(&mut successor, runtime);
        let manager = server.service_manager();
        let pid = successor.pid();
        let tell = || manager.main_process_is(pid);
        let decided = served.and_then(|()| match server.upgrades.pending.hand_over(pid, tell) {
            true => Ok(()),
            false => Err(Failure::Stopping),
        });
        match decided {
            Ok(()) => Ok((successor, ready)),
            Err(Failure::Stopping) => {
                // It closes the clients that it has got, and ends by itself.
                successor.serves = true;
                Err(Failure::Stopping)
            }
            Err(why) => {
                // First, so that it accepts nothing more.
                drop(successor);
                self.restore();
                Err(why)
            }
        }
    }

    fn check_not_stopping(&self) -> Result<(), String> {
        match self.server.stopping.load(Ordering::Acquire) {
            true => Err("it is stopping".into()),
            false => Ok(()),
        }
    }

    /// Offers the sockets.
    fn offer(
        &self,
        successor: &mut Successor,
        sibling: &Sibling,
        link: TcpStream,
    ) -> Result<(), String> {
        let server = &self.server;
        let cluster = server.cluster.as_ref();
        let name = cluster.map(|cluster| cluster.name());
        let copies = self.listeners.copies();
        let listeners =
            copies.map_err(|error| format!("the listening sockets cannot be copied: {error}"))?;
        let offer = Offer {
            format: FORMAT,
            version: VERSION.into(),
            server_id: server.id.clone(),
            cluster_name: name.filter(|name| name.dynamic).map(|name| name.text),
            listeners: listeners
                .iter()
                .map(|(role, _)| role.name().into())
                .collect(),
            owns_socket_file: self.owns_socket_file,
            first_cid: server.broker.registry.coming_cid() + CIDS_LEFT,
            peers: cluster.map(|cluster| cluster.peers()).unwrap_or_default(),
            // A struct of texts and numbers always serialises.
            info: serde_json::to_string(&sibling.info()).unwrap_or_default(),
        };
        let mut descriptors: Vec<BorrowedFd<'_>> =
            listeners.iter().map(|(_, socket)| socket.as_fd()).collect();
        descriptors.push(link.as_fd());
        let sent = successor.channel.send(&offer, &descriptors);
        sent.map_err(|error| successor.lost(&error))
    }

    /// Has the new process serve, and watches it for a moment.
    fn wait_for_service(&self, successor: &mut Successor, runtime: &Handle) -> Result<(), Failure> {
        successor.say(&Decision::Go)?;
        match successor.report(JOINING_TIMEOUT)? {
            Report::Joined => {}
            other => return Err(other.unexpected()),
        }
        // Lame duck mode may have begun meanwhile.
        self.check_not_stopping()?;
        // Whoever connects from now on is accepted by the new process, or again by this one.
        self.server.broker.gate.hold();
        let mut moving = Moving::new(&self.server);
        if let Err(failure) = self.move_clients(&mut moving, successor, runtime) {
            if let Failure::Other(_) = failure {
                // As long as there is the route to it, it counts as a subscriber and as a member of
                // queue groups: what clients publish would be lost there.
                successor.end();
                self.wait_until_route_has_ended();
            }
            return Err(failure);
        }
        drop(moving);
        match successor.report(WATCHED_FOR + STEADY_TIMEOUT)? {
            Report::Steady => Ok(()),
            other => Err(other.unexpected()),
        }
    }

    /// Has the new process take the clients over and serve; all halt until `moving` is dropped.
    fn move_clients(
        &self,
        moving: &mut Moving<'_>,
        successor: &mut Successor,
        runtime: &Handle,
    ) -> Result<(), Failure> {
        moving.send(&mut successor.channel)?;
        successor.say(&Decision::NoMore)?;
        let mark = match successor.report(TAKING_TIMEOUT)? {
            Report::Taken(taken) if taken.clients == moving.count() => taken.mark,
            other => return Err(other.unexpected()),
        };
        // Those that stay publish to those that are moved, and the other way round.
        let link = self.server.link();
        let unknown = |whose| {
            format!("the interest of the {whose} process is not known within {INTEREST_TIMEOUT:?}")
        };
        if !runtime.block_on(link.see_mark(mark, INTEREST_TIMEOUT)) {
            return Err(unknown("new").into());
        }
        moving.withdraw(runtime)?;
        let mark = runtime.block_on(link.mark_interest(INTEREST_TIMEOUT));
        let mark = mark.ok_or_else(|| unknown("old"))?;
        moving.check()?;
        successor.say(&Decision::Serve(mark))?;
        let serves = match successor.report(SERVING_TIMEOUT) {
            Ok(Report::Serving) => Ok(()),
            Ok(other) => Err(other.unexpected()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = serves {
            // Clients of which it may have read something cannot go on here.
            if successor.end_before_it_serves() {
                moving.commit();
            }
            return Err(failure);
        }
        moving.commit();
        Ok(())
    }

    /// Serves on after a new process has failed that may have been about to serve.
    fn restore(&self) {
        // The next upgrade would take the route to that process for one to a predecessor, and new
        // clients would publish to it.
        self.wait_until_route_has_ended();
        self.server.broker.gate.open();
        if let Some(path) = &self.server.options().pid_file
            && let Err(error) = PidFile::write(path).map(PidFile::keep)
        {
            error!(
                "The pid file {} could not be written again: {error}",
                path.display()
            );
        }
    }

    /// Waits until the route to a process that was ended has ended as well.
    fn wait_until_route_has_ended(&self) {
        let deadline = Instant::now() + ROUTE_END_TIMEOUT;
        let has_route = || {
            self.server
                .cluster_or_link()
                .is_some_and(|it| it.has_sibling())
        };
        while has_route() && Instant::now() < deadline {
            thread::sleep(TELLING_PAUSE);
        }
    }

    /// Leaves: the new process serves. Returns what is to be said about it.
    fn leave(&self, mut successor: Successor, ready: &Ready) -> String {
        successor.serves = true;
        let pid = successor.pid();
        self.wait_for_service_manager(pid);
        let text = format!(
            "process {pid} (midge {}) has taken over from process {} (midge {VERSION}), which \
             moves its clients within {:?} and ends",
            ready.version,
            std::process::id(),
            self.server.options().lame_duck_duration
        );
        info!("Upgrade: {text}");
        self.record(&text);
        let has_unix_socket = ready.has_unix_socket;
        self.hand(Handed::Over { has_unix_socket });
        let handed = self.handed.clone();
        let watching = threads::spawn("upgrade-watch", STACK_LEN, move || {
            successor.watch(&handed);
        });
        if let Err(error) = watching {
            warn!(
                "The end of process {pid} will not be noticed: no thread could be started: {error}"
            );
        }
        text
    }

    /// Has the service manager know the new main process before this one can end.
    fn wait_for_service_manager(&self, pid: u32) {
        let manager = self.server.service_manager();
        let deadline = Instant::now() + TELLING_TIMEOUT;
        while !manager.retry() {
            if Instant::now() >= deadline {
                warn!(
                    "systemd does not take the message that process {pid} is the main one now, \
                     within {TELLING_TIMEOUT:?}; it is tried on until this process ends"
                );
                return;
            }
            thread::sleep(TELLING_PAUSE);
        }
    }

    fn hand(&self, what: Handed) {
        // The main loop ends with the process only.
        let _ = self.handed.blocking_send(what);
    }

    fn record(&self, text: &str) {
        let events = &self.server.broker.telemetry.events;
        events.record(EventKind::Server, 0, "upgrade", text);
    }
}
