//! The places of one port.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    Lost, Source,
    ranking::{HeldPlace, Party, State},
};

/// Interval between two searches for places that are held for too long.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The places of one port.
pub struct Places {
    /// The port's name in answers: stable.
    pub name: &'static str,
    /// Places for all sources.
    max: usize,
    /// Places beyond them for members' addresses.
    reserved: usize,
    pub(super) state: Mutex<State>,
    /// The first place was reserved.
    begun: Notify,
    silent: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    /// The system's number of the last failure; 0 for none.
    last_failure: AtomicI32,
}

/// The places of a port at one moment; counters since the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlacesView {
    /// The port.
    pub name: &'static str,
    /// Places in use.
    pub taken: usize,
    /// Number of places.
    pub max: usize,
    /// Connections cut because the port was full and they were silent.
    pub silent: u64,
    /// Connections cut because they held their place for too long.
    pub late: u64,
    /// Connections refused because there were too few file descriptors.
    pub refused: u64,
    /// Attempts to accept a connection that the system refused for lack of something.
    pub failed: u64,
    /// The number of its last error; 0 for none.
    pub last_failure: i32,
}

impl PlacesView {
    /// Connections cut or refused so far because there was no place.
    pub fn turned_away(&self) -> u64 {
        self.silent + self.refused
    }
}

/// One place, released when dropped.
pub struct Place {
    places: Arc<Places>,
    id: u64,
}

impl Place {
    /// Notes that the holder's peer sent something.
    pub fn mark_active(&self) {
        self.places.state.lock().mark_active(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its references to the connection are dropped without the lock.
        let held = self.places.state.lock().remove(self.id);
        drop(held);
    }
}

impl Places {
    /// `max` places for all sources, and `reserved` more for members.
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
            failed: AtomicU64::new(0),
            last_failure: AtomicI32::new(0),
        })
    }

    /// Reserves a place, if necessary one of another connection, for at most `hold`. `cut`
    /// ends the connection when its place is withdrawn; it is called without a lock.
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
            let lost = if !is_member && state.non_members_len >= self.max {
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

    /// Cuts the next connection in the order, as if the port were full: for other
    /// resources than places that run out. Returns whether there was one.
    pub fn cut_one(&self) -> bool {
        let lost = {
            let mut state = self.state.lock();
            state.take_from(false).or_else(|| state.take_from(true))
        };
        self.cut_silent(lost)
    }

    fn cut_silent(&self, lost: Option<HeldPlace>) -> bool {
        let Some(held) = lost else {
            return false;
        };
        self.silent.fetch_add(1, Ordering::Relaxed);
        (held.cut)(Lost::Silent);
        true
    }

    /// Counts a connection that was refused for lack of file descriptors.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt to accept a connection for which the system lacked something.
    pub fn note_failed_accept(&self, number: i32) {
        self.last_failure.store(number, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Withdraws places that are held for too long; never returns.
    pub async fn keep_time(self: Arc<Self>) {
        loop {
            self.begun.notified().await;
            while self.view().taken > 0 {
                sleep(CHECK_INTERVAL).await;
                self.expire(Instant::now());
            }
        }
    }

    pub(super) fn expire(&self, now: Instant) {
        let late: Vec<HeldPlace> = {
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
            failed: self.failed.load(Ordering::Relaxed),
            last_failure: self.last_failure.load(Ordering::Relaxed),
        }
    }
}
