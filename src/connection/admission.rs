//! Places for those who have not proved who they are yet: how many each port
//! has, who gets one, and who has to make way.
//!
//! Every port takes a [`Place`] for a connection as soon as it is accepted and
//! gives it back with the login (the client's and the route's accept), or at the
//! end where nobody logs in (monitoring). A full port does not send the newcomer
//! away: of the source that holds most places, the connection that has said
//! nothing for longest is cut. So idle connections keep nobody out, and a source
//! with many gives way to one with few. Members of the cluster have places that
//! others cannot take. Nobody keeps a place for longer than `hold`, which covers
//! waiting in the broker's own queues too.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::telemetry::{logins::network, process::open_files_max};

/// Clients that have not logged in or not finished the TLS handshake: more than
/// handshakes and logins are done within any client's patience.
const CLIENTS_MAX: usize = 8192;

/// The same of routes, and the places that only members' addresses get.
const ROUTES_MAX: usize = 1024;
const ROUTES_RESERVED: usize = 64;

/// Monitoring connections at a time: pollers and open browsers are a handful;
/// each may hold an answer in memory.
const MONITOR_MAX: usize = 64;

/// What clients may wait in the broker's own queues, beyond the times that the
/// configuration gives them for the handshake and the login.
pub const QUEUE_TIME: Duration = Duration::from_secs(30);

/// Between two looks for places that are held for too long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The places of all ports.
pub struct Admission {
    /// Clients before the login.
    pub clients: Arc<Places>,
    /// Routes before the login.
    pub routes: Arc<Places>,
    /// The monitoring port.
    pub monitor: Arc<Places>,
    /// The monitoring socket.
    pub monitor_socket: Arc<Places>,
}

impl Default for Admission {
    fn default() -> Self {
        // With few descriptors, strangers alone must not use them up.
        let files = open_files_max().map_or(CLIENTS_MAX, |max| max as usize / 2);
        Self {
            clients: Places::new("client", CLIENTS_MAX.min(files.max(1)), 0),
            routes: Places::new("route", ROUTES_MAX.min(files.max(1)), ROUTES_RESERVED),
            monitor: Places::new("monitor", MONITOR_MAX, 0),
            monitor_socket: Places::new("monitor_socket", MONITOR_MAX, 0),
        }
    }
}

impl Admission {
    /// All of them.
    pub fn all(&self) -> [&Arc<Places>; 4] {
        [
            &self.clients,
            &self.routes,
            &self.monitor,
            &self.monitor_socket,
        ]
    }
}

/// Where a connection comes from, as far as shares go.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Source {
    /// An address, or the IPv6 network around it.
    Address(IpAddr),
    /// A user of this machine, at a Unix socket.
    User(u32),
}

impl Source {
    /// The source behind an address.
    pub fn of(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// Why a place is taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// The port was full, and it had said nothing for longest.
    Silent,
    /// It was held for too long.
    Late,
}

/// The places of one port.
pub struct Places {
    /// The port's name in answers: stable.
    pub name: &'static str,
    /// Places for everybody.
    max: usize,
    /// Places beyond them for members' addresses.
    reserved: usize,
    state: Mutex<State>,
    /// Somebody came while nobody was there.
    begun: Notify,
    silent: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

/// The places of a port at one moment; counters since the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlacesView {
    /// The port.
    pub name: &'static str,
    /// Places that are taken.
    pub taken: usize,
    /// Places that there are.
    pub max: usize,
    /// Connections cut because the port was full and they were silent.
    pub silent: u64,
    /// Connections cut because they held their place for too long.
    pub late: u64,
    /// Connections refused because there were too few file descriptors.
    pub refused: u64,
}

impl PlacesView {
    /// Connections cut or refused so far for want of a place.
    pub fn turned_away(&self) -> u64 {
        self.silent + self.refused
    }
}

/// Those who share places with each other: members' addresses apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Party {
    is_member: bool,
    source: Source,
}

/// Puts parties in order: who has most places is last, and of those with as many
/// the one with the connection that has been silent for longest.
type Rank = (usize, Reverse<u64>, Party);

#[derive(Default)]
struct State {
    /// Counts everything that is heard; also numbers places.
    tick: u64,
    held: HashMap<u64, Held>,
    /// Places of each party, by when something was last heard.
    parties: HashMap<Party, BTreeMap<u64, u64>>,
    strangers: BTreeSet<Rank>,
    members: BTreeSet<Rank>,
    /// Places held by strangers.
    strangers_len: usize,
}

type Cut = Box<dyn FnOnce(Lost) + Send>;

struct Held {
    party: Party,
    heard: u64,
    until: Instant,
    cut: Cut,
}

/// One place, given back when dropped.
pub struct Place {
    places: Arc<Places>,
    id: u64,
}

impl Place {
    /// Something came from who holds it.
    pub fn heard(&self) {
        self.places.state.lock().heard(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What it holds of the connection is dropped without the lock.
        let held = self.places.state.lock().remove(self.id);
        drop(held);
    }
}

impl Places {
    /// `max` places for everybody, and `reserved` more for members.
    pub fn new(name: &'static str, max: usize, reserved: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            max,
            reserved,
            state: Mutex::default(),
            begun: Notify::new(),
            silent: AtomicU64::new(0),
            late: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Takes a place, if need be another one's, for at most `hold`. `cut` ends the
    /// connection when the place is taken away; it is called without a lock.
    pub fn take(
        self: &Arc<Self>,
        source: Source,
        is_member: bool,
        hold: Duration,
        cut: impl FnOnce(Lost) + Send + 'static,
    ) -> Place {
        let party = Party { is_member, source };
        let (id, is_first, lost) = {
            let mut state = self.state.lock();
            let all = self.max + self.reserved;
            let lost = if !is_member && state.strangers_len >= self.max {
                state.take_from(false)
            } else if state.held.len() >= all {
                state.take_from(true)
            } else {
                None
            };
            let is_first = state.held.is_empty();
            let until = Instant::now() + hold;
            (state.insert(party, until, Box::new(cut)), is_first, lost)
        };
        if is_first {
            self.begun.notify_one();
        }
        self.cut_silent(lost);
        let places = self.clone();
        Place { places, id }
    }

    /// Cuts the connection that is to make way, as if the port were full: where
    /// something else than places runs out. Returns whether there was one.
    pub fn make_room(&self) -> bool {
        let lost = {
            let mut state = self.state.lock();
            state.take_from(false).or_else(|| state.take_from(true))
        };
        self.cut_silent(lost)
    }

    fn cut_silent(&self, lost: Option<Held>) -> bool {
        let Some(held) = lost else {
            return false;
        };
        self.silent.fetch_add(1, Ordering::Relaxed);
        (held.cut)(Lost::Silent);
        true
    }

    /// Counts a connection that was refused for want of file descriptors.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes places away that are held for too long, for ever.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            self.begun.notified().await;
            while self.view().taken > 0 {
                sleep(LOOK_INTERVAL).await;
                self.expire(Instant::now());
            }
        }
    }

    fn expire(&self, now: Instant) {
        let late: Vec<Held> = {
            let mut state = self.state.lock();
            let held = state.held.iter().filter(|(_, held)| held.until <= now);
            let late: Vec<u64> = held.map(|(id, _)| *id).collect();
            late.into_iter().filter_map(|id| state.remove(id)).collect()
        };
        self.late.fetch_add(late.len() as u64, Ordering::Relaxed);
        for held in late {
            (held.cut)(Lost::Late);
        }
    }

    /// How things are now.
    pub fn view(&self) -> PlacesView {
        PlacesView {
            name: self.name,
            taken: self.state.lock().held.len(),
            max: self.max + self.reserved,
            silent: self.silent.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl State {
    fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    fn insert(&mut self, party: Party, until: Instant, cut: Cut) -> u64 {
        let id = self.next_tick();
        let held = Held {
            party,
            heard: id,
            until,
            cut,
        };
        self.held.insert(id, held);
        self.strangers_len += usize::from(!party.is_member);
        self.change(party, |places| {
            places.insert(id, id);
        });
        id
    }

    fn heard(&mut self, id: u64) {
        let now = self.next_tick();
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        let (party, before) = (held.party, std::mem::replace(&mut held.heard, now));
        self.change(party, |places| {
            places.remove(&before);
            places.insert(now, id);
        });
    }

    fn remove(&mut self, id: u64) -> Option<Held> {
        let held = self.held.remove(&id)?;
        self.strangers_len -= usize::from(!held.party.is_member);
        self.change(held.party, |places| {
            places.remove(&held.heard);
        });
        Some(held)
    }

    /// Takes the place of who is to make way; `of_all`: members too.
    fn take_from(&mut self, of_all: bool) -> Option<Held> {
        let strangers = self.strangers.last();
        let members = self.members.last().filter(|_| of_all);
        let (_, _, party) = *strangers.max(members)?;
        let (_, id) = self.parties.get(&party)?.first_key_value()?;
        self.remove(*id)
    }

    /// Changes the places of a party, and with them its rank.
    fn change(&mut self, party: Party, change: impl FnOnce(&mut BTreeMap<u64, u64>)) {
        let ranking = match party.is_member {
            true => &mut self.members,
            false => &mut self.strangers,
        };
        let places = self.parties.entry(party).or_default();
        if let Some(rank) = rank(party, places) {
            ranking.remove(&rank);
        }
        change(places);
        match rank(party, places) {
            Some(rank) => {
                ranking.insert(rank);
            }
            None => {
                self.parties.remove(&party);
            }
        }
    }
}

/// Where a party stands; `None` without places.
fn rank(party: Party, places: &BTreeMap<u64, u64>) -> Option<Rank> {
    let (oldest, _) = places.first_key_value()?;
    Some((places.len(), Reverse(*oldest), party))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    /// Takes places and writes down who loses one.
    struct Port {
        places: Arc<Places>,
        lost: Arc<Mutex<Vec<(&'static str, Lost)>>>,
    }

    impl Port {
        fn new(max: usize, reserved: usize) -> Self {
            Self {
                places: Places::new("test", max, reserved),
                lost: Arc::default(),
            }
        }

        fn take(&self, name: &'static str, source: u8, is_member: bool) -> Place {
            let lost = self.lost.clone();
            let source = Source::of(IpAddr::from([127, 0, 0, source]));
            let cut = move |why| lost.lock().push((name, why));
            self.places.take(source, is_member, HOLD, cut)
        }

        fn lost(&self) -> Vec<&'static str> {
            let mut lost = self.lost.lock();
            lost.drain(..).map(|(name, _)| name).collect()
        }
    }

    #[tokio::test]
    async fn of_the_source_with_most_places_the_longest_silent_makes_way() {
        let port = Port::new(3, 0);
        let few = port.take("few", 1, false);
        let first = port.take("first", 2, false);
        let _second = port.take("second", 2, false);
        first.heard();
        let _new = port.take("new", 3, false);
        assert_eq!(port.lost(), ["second"]);
        // All have one: the longest silent of all.
        let _newer = port.take("newer", 4, false);
        assert_eq!(port.lost(), ["few"]);
        drop(few);
        assert_eq!(port.places.view().taken, 3);
        assert_eq!(port.places.view().silent, 2);
        drop(first);
        let _fits = port.take("fits", 5, false);
        assert_eq!(port.lost(), [""; 0]);
    }

    #[tokio::test]
    async fn members_keep_places_of_their_own() {
        let port = Port::new(2, 2);
        let strangers: Vec<Place> = (0..9).map(|_| port.take("stranger", 1, false)).collect();
        assert_eq!(port.lost().len(), 7);
        let members: Vec<Place> = (0..2).map(|_| port.take("member", 2, true)).collect();
        assert_eq!(port.lost(), [""; 0], "there is room for them");
        let more: Vec<Place> = (10..99).map(|n| port.take("stranger", n, false)).collect();
        assert!(port.lost().iter().all(|name| *name == "stranger"));
        // A crowd at a member's address shares with strangers.
        let _member = port.take("member", 2, true);
        assert_eq!(port.lost(), ["member"], "the member has most places");
        drop((strangers, members, more));
        assert_eq!(port.places.view().taken, 1);
        assert_eq!(port.places.state.lock().parties.len(), 1);
    }

    #[tokio::test]
    async fn nobody_keeps_a_place_for_ever() {
        let port = Port::new(2, 0);
        let place = port.take("late", 1, false);
        place.heard();
        port.places.expire(Instant::now());
        assert_eq!(port.lost(), [""; 0]);
        port.places.expire(Instant::now() + HOLD);
        assert_eq!(*port.lost.lock(), [("late", Lost::Late)]);
        drop(place);
        let view = port.places.view();
        assert_eq!((view.taken, view.silent, view.late), (0, 0, 1));
        assert!(!port.places.make_room());
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_crowd() {
        let port = Port::new(64, 8);
        for round in 0..1000u32 {
            let source = u8::try_from(round % 200).expect("it fits");
            let place = port.take("crowd", source, round.is_multiple_of(7));
            if round.is_multiple_of(3) {
                place.heard();
                std::mem::forget(place);
            }
            assert!(port.places.view().taken <= 72);
        }
        while port.places.make_room() {}
        let state = port.places.state.lock();
        assert!(state.held.is_empty() && state.parties.is_empty());
        assert!(state.strangers.is_empty() && state.members.is_empty());
        assert_eq!(state.strangers_len, 0);
    }
}
