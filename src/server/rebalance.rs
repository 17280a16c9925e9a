//! Moves clients to other members of the cluster: after a rolling restart the member that came back
//! last has few, because clients stay where they have connected to.
//!
//! `POST /rebalance` begins it, shows how far it is and stops it. It runs on a thread of its own and
//! sends away so many clients a second. Each gets an INFO that lists the members with room and says
//! that this broker leaves, some time to follow it, and is then closed: many client libraries only
//! connect elsewhere when they are. Only clients are sent away that take such an INFO, so that they
//! know where to go, and only while another member is there that has fewer than an even share. If no
//! other member is left, those that were told and are still here are told to stay.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Weak, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use monitor_client::text::plural;
use parking_lot::Mutex;
use tracing::info;

use super::Server;
use crate::{
    broker::info,
    connection::{CloseReason, Connection, Kind},
    route::Spread,
    telemetry::{MonotonicMillis, event::EventKind, threads},
};

/// Clients that are sent away per second, unless asked otherwise.
pub const RATE: u64 = 10;
/// The same at most.
pub const RATE_MAX: u64 = 1000;

/// How long a client that was told has before it is closed.
const GRACE: Duration = Duration::from_secs(2);

/// How often it is looked up how the clients are spread now.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of the thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// The present run, or the last one.
#[derive(Default)]
pub struct Rebalancing(Mutex<State>);

#[derive(Default)]
struct State {
    progress: Option<Progress>,
    /// Whether the run is to end early.
    stop: bool,
}

/// How far a run is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Whether it goes on.
    pub running: bool,
    /// When it began.
    pub since: MonotonicMillis,
    /// Clients that it is to send away.
    pub to_move: u64,
    /// Clients that it has sent away.
    pub moved: u64,
    /// Clients that cannot be sent away, because they take no INFO after their login.
    pub immovable: u64,
    /// How many it sends away per second.
    pub rate: u64,
    /// Why it has ended; empty while it goes on.
    pub ended: String,
    /// When that was.
    pub ended_at: Option<MonotonicMillis>,
}

impl Rebalancing {
    /// How far the present run is, or how the last one ended; `None` if there was none.
    pub fn progress(&self) -> Option<Progress> {
        self.0.lock().progress.clone()
    }

    /// Has the present run end; clients that were told of it are still closed.
    pub fn stop(&self) {
        self.0.lock().stop = true;
    }

    fn is_stopped(&self) -> bool {
        self.0.lock().stop
    }

    /// Notes the beginning of a run.
    ///
    /// # Errors
    ///
    /// There is one already.
    fn begin(&self, progress: Progress) -> Result<(), String> {
        let mut state = self.0.lock();
        if state.progress.as_ref().is_some_and(|it| it.running) {
            return Err(
                "clients are being moved already; stop=1 ends that, progress=1 shows it".into(),
            );
        }
        *state = State {
            progress: Some(progress),
            stop: false,
        };
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = &mut self.0.lock().progress {
            change(progress);
        }
    }
}

impl Server {
    /// The clients that are in an account. Others may be anybody, and are not counted or moved.
    fn clients_in(&self) -> Vec<Arc<Connection>> {
        let mut clients = self.broker.registry.open(Kind::Client);
        clients.retain(|client| !client.is_closing() && !client.identity.lock().account.is_empty());
        clients
    }

    /// How many they are.
    pub fn count_clients_in(&self) -> u64 {
        self.clients_in().len() as u64
    }

    /// How the clients are spread now.
    pub fn spread(&self) -> Option<Spread> {
        self.cluster.as_ref()?.spread(self.count_clients_in())
    }

    /// Whether clients that leave find another member. A broker that stops does not wait for one.
    fn is_room_elsewhere(&self) -> bool {
        let cluster = self.cluster.as_ref();
        self.stopping.load(Ordering::Acquire)
            || cluster.is_some_and(|it| it.is_leaving() || it.others_take_clients())
    }

    /// Begins to send clients away: `count` of them, or those beyond an even share. `force` does so
    /// even if most clients cannot be moved.
    ///
    /// # Errors
    ///
    /// Why that cannot be done.
    pub fn rebalance(
        self: &Arc<Self>,
        count: Option<u64>,
        rate: u64,
        force: bool,
    ) -> Result<Progress, String> {
        let Some(spread) = self.spread() else {
            return Err(
                "there is no other member of the cluster that takes clients and has told how many \
                 it has; see /clusterz"
                    .into(),
            );
        };
        let last = self.rebalancing.progress().and_then(|it| it.ended_at);
        if last.is_some_and(|last| spread.told <= last) {
            return Err(
                "the other members have not told how many clients they have since some were sent \
                 to them: try again in some seconds"
                    .into(),
            );
        }
        if spread.surplus() == 0 {
            return Err(format!(
                "this broker has {}, and an even share is {}: there is nothing to move",
                plural(spread.own, "client"),
                spread.share
            ));
        }
        let mut clients = self.clients_in();
        let open = clients.len();
        clients.retain(|client| client.takes_info.load(Ordering::Relaxed));
        let immovable = (open - clients.len()) as u64;
        if immovable > clients.len() as u64 && !force {
            return Err(format!(
                "{immovable} of {} here cannot be moved, as they take no INFO after their login: \
                 only the others would be sent away for the share of all. force=1 does it anyway",
                plural(open as u64, "client"),
            ));
        }
        // The latest first: they are here because another member was away.
        clients.sort_unstable_by_key(|client| std::cmp::Reverse(client.cid));
        let wanted = count.unwrap_or(u64::MAX).min(spread.surplus());
        let progress = Progress {
            running: true,
            since: MonotonicMillis::now(),
            to_move: wanted.min(clients.len() as u64),
            moved: 0,
            immovable,
            rate,
            ended: String::new(),
            ended_at: None,
        };
        self.rebalancing.begin(progress.clone())?;
        let text = format!(
            "sends {} to other members, {rate} a second",
            plural(progress.to_move, "client")
        );
        self.note_rebalancing(&text);
        // Those that leave by themselves meanwhile are not kept.
        let clients = clients.iter().map(Arc::downgrade).collect();
        let started = self.start_moving(clients, &progress);
        if let Err(error) = started {
            let text = format!("no thread could be started: {error}");
            self.end_rebalancing(&text);
            return Err(text);
        }
        Ok(progress)
    }

    fn start_moving(
        self: &Arc<Self>,
        clients: Vec<Weak<Connection>>,
        progress: &Progress,
    ) -> io::Result<()> {
        let server = Arc::downgrade(self);
        let (to_move, rate) = (progress.to_move, progress.rate.max(1));
        threads::spawn("rebalance", STACK_LEN, move || {
            let mut moving = Moving {
                server,
                left: to_move,
                pause: Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX),
                told: VecDeque::new(),
                looked: None,
                urls: Vec::new(),
            };
            let ended = moving.run(clients.into_iter());
            let ended = match moving.close_told(true) {
                Ok(()) => ended,
                Err(why) => why,
            };
            if let Some(server) = moving.server.upgrade() {
                server.end_rebalancing(&ended);
            }
        })
    }

    fn end_rebalancing(&self, ended: &str) {
        self.rebalancing.change(|progress| {
            progress.running = false;
            progress.ended = ended.to_owned();
            progress.ended_at = Some(MonotonicMillis::now());
        });
        let moved = self.rebalancing.progress().map_or(0, |it| it.moved);
        self.note_rebalancing(&format!("sent {} away: {ended}", plural(moved, "client")));
    }

    fn note_rebalancing(&self, text: &str) {
        info!("Rebalancing: {text}");
        let events = &self.broker.telemetry.events;
        let text = format!("rebalancing: {text}");
        events.record(EventKind::Server, 0, &self.name, &text);
    }
}

/// The client, unless it has left.
fn open(client: &Weak<Connection>) -> Option<Arc<Connection>> {
    client.upgrade().filter(|client| !client.is_closing())
}

/// A run.
struct Moving {
    server: Weak<Server>,
    /// Clients that are still to be sent away.
    left: u64,
    /// Between two of them.
    pause: Duration,
    /// Those that were told, and when: they are closed soon.
    told: VecDeque<(Instant, Weak<Connection>)>,
    /// When it was last looked up where there is room.
    looked: Option<Instant>,
    /// Where that is.
    urls: Vec<String>,
}

impl Moving {
    /// Sends the clients away; returns why it ends.
    fn run(&mut self, mut clients: impl Iterator<Item = Weak<Connection>>) -> String {
        while self.left > 0 {
            let Some(server) = self.server.upgrade() else {
                return "the broker stops".into();
            };
            if server.stopping.load(Ordering::Acquire) {
                return "the broker stops".into();
            }
            if server.rebalancing.is_stopped() {
                return "it was stopped".into();
            }
            if let Err(why) = self.look(&server) {
                return why.into();
            }
            let mut left = clients.by_ref().filter_map(|client| open(&client));
            let Some(client) = left.next() else {
                return "no client is left that can be sent away".into();
            };
            if info::send_away_to(&server.broker, &client, &self.urls) {
                self.told
                    .push_back((Instant::now(), Arc::downgrade(&client)));
                self.left -= 1;
                server.rebalancing.change(|progress| progress.moved += 1);
            }
            drop((server, client));
            if let Err(why) = self.close_told(false) {
                return why;
            }
            thread::sleep(self.pause);
        }
        "done".into()
    }

    /// Looks up where there is room, from time to time.
    fn look(&mut self, server: &Server) -> Result<(), &'static str> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let none = "no other member takes clients any more";
        let cluster = server.cluster.as_ref().ok_or(none)?;
        let spread = server.spread().ok_or(none)?;
        // What is under way does not count twice: those that were told are still here.
        let told = self.told.iter().filter_map(|(_, client)| open(client));
        if spread.surplus() <= told.count() as u64 {
            return Err("the clients are spread evenly");
        }
        self.urls = cluster.urls_of_others(&spread);
        match self.urls.is_empty() {
            true => Err(none),
            false => Ok(()),
        }
    }

    /// Closes those that had time enough to go; in the end all, each after that time.
    ///
    /// # Errors
    ///
    /// They have nowhere to go any more, and were told to stay.
    fn close_told(&mut self, all: bool) -> Result<(), String> {
        while let Some((at, _)) = self.told.front() {
            let left = GRACE.saturating_sub(at.elapsed());
            if !left.is_zero() && !all {
                return Ok(());
            }
            thread::sleep(left);
            if let Some(server) = self.server.upgrade()
                && !server.is_room_elsewhere()
            {
                return self.take_back(&server);
            }
            let told = self.told.pop_front();
            if let Some(client) = told.and_then(|(_, client)| client.upgrade()) {
                client.close(CloseReason::Rebalanced);
            }
        }
        Ok(())
    }

    /// Has all stay that were told to go and are still here.
    fn take_back(&mut self, server: &Server) -> Result<(), String> {
        let mut stay = 0;
        for client in self.told.drain(..).filter_map(|(_, client)| open(&client)) {
            info::notify_info(&server.broker, &client);
            stay += 1;
        }
        if stay == 0 {
            return Ok(());
        }
        server
            .rebalancing
            .change(|progress| progress.moved = progress.moved.saturating_sub(stay));
        Err(format!(
            "{stay} were told and stay: no other member is left"
        ))
    }
}
