//! Traffic of connections, users and accounts over the last second, minute and five minutes, and
//! since the start.
//!
//! The recorder adds what live connections transferred about once a second; a connection's own task
//! adds the rest when it ends. Only connections with traffic are kept; an idle connection takes no
//! memory here.

use std::{collections::HashMap, ops::AddAssign, time::Duration};

use parking_lot::Mutex;

use super::{MonotonicMicros, Traffic, pool::allocated};

/// Limit of users, and of accounts; further ones are counted together.
const HOLDERS_MAX: usize = 1024;

/// Limit of the length of a user's name, in bytes; users with longer names are counted together.
const NAME_LEN_MAX: usize = 1024;

/// Limit of connections with a history; when it is reached, new ones get none.
const CONNECTIONS_MAX: usize = 16 * 1024;

/// Samples without traffic after which a connection's history is dropped.
const IDLE_MAX: u64 = 330;

/// The name of those that are counted together.
const OTHERS: &str = "(others)";

/// Traffic over some time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TrafficDelta {
    /// Messages received.
    pub in_msgs: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Messages delivered.
    pub out_msgs: u64,
    /// Bytes delivered.
    pub out_bytes: u64,
    /// Connections opened.
    pub connects: u64,
}

impl From<Traffic> for TrafficDelta {
    fn from(traffic: Traffic) -> Self {
        Self {
            in_msgs: traffic.in_msgs,
            in_bytes: traffic.in_bytes,
            out_msgs: traffic.out_msgs,
            out_bytes: traffic.out_bytes,
            connects: 0,
        }
    }
}

impl AddAssign for TrafficDelta {
    fn add_assign(&mut self, other: Self) {
        self.in_msgs += other.in_msgs;
        self.in_bytes += other.in_bytes;
        self.out_msgs += other.out_msgs;
        self.out_bytes += other.out_bytes;
        self.connects += other.connects;
    }
}

impl TrafficDelta {
    /// The difference to an earlier value.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            in_msgs: self.in_msgs.saturating_sub(earlier.in_msgs),
            in_bytes: self.in_bytes.saturating_sub(earlier.in_bytes),
            out_msgs: self.out_msgs.saturating_sub(earlier.out_msgs),
            out_bytes: self.out_bytes.saturating_sub(earlier.out_bytes),
            connects: self.connects.saturating_sub(earlier.connects),
        }
    }

    /// Messages in both directions.
    pub fn msgs(self) -> u64 {
        self.in_msgs + self.out_msgs
    }

    /// Bytes in both directions.
    pub fn bytes(self) -> u64 {
        self.in_bytes + self.out_bytes
    }
}

/// The time that a rate is computed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Window {
    /// The last second.
    Second,
    /// 50 to 60 seconds.
    Minute,
    /// Four to five minutes.
    FiveMinutes,
    /// Since the start.
    Start,
}

/// Earlier values: one of the last sample, six that are ten seconds apart, five that are a minute
/// apart. Each array is a ring, so that the next slot holds the oldest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past<T> {
    second: T,
    tens: [T; 6],
    minutes: [T; 5],
}

impl<T: Copy> Past<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            second: value,
            tens: [value; 6],
            minutes: [value; 5],
        }
    }

    /// Stores the value at the sample with this number.
    pub(super) fn record(&mut self, sample: u64, value: T) {
        self.second = value;
        if sample.is_multiple_of(10) {
            self.tens[(sample / 10 % 6) as usize] = value;
        }
        if sample.is_multiple_of(60) {
            self.minutes[(sample / 60 % 5) as usize] = value;
        }
    }

    /// The value at the start of a window that ends with the sample of this number.
    pub(super) fn before(&self, sample: u64, window: Window, start: T) -> T {
        match window {
            Window::Second => self.second,
            Window::Minute => self.tens[((sample / 10 + 1) % 6) as usize],
            Window::FiveMinutes => self.minutes[((sample / 60 + 1) % 5) as usize],
            Window::Start => start,
        }
    }
}

struct Holder {
    now: TrafficDelta,
    past: Past<TrafficDelta>,
    /// Number of the last sample in which it had traffic.
    moved_at: u64,
}

impl Holder {
    fn new(before: TrafficDelta) -> Self {
        Self {
            now: before,
            past: Past::new(before),
            moved_at: 0,
        }
    }

    fn within(&self, sample: u64, window: Window) -> TrafficDelta {
        self.now
            .since(self.past.before(sample, window, TrafficDelta::default()))
    }
}

/// A user or an account.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Name {
    /// Account; empty before CONNECT.
    pub account: String,
    /// User; empty for the account as a whole.
    pub user: String,
}

/// Traffic of all connections, users and accounts.
#[derive(Default)]
pub struct Loads(Mutex<State>);

#[derive(Default)]
struct State {
    sample: u64,
    now: MonotonicMicros,
    times: Option<Past<MonotonicMicros>>,
    connections: HashMap<u64, Holder>,
    holders: HashMap<Name, Holder>,
}

impl Loads {
    /// Begins a new sample of all connections.
    pub fn begin_sample(&self, now: MonotonicMicros) {
        let state = &mut *self.0.lock();
        let (sample, before) = (state.sample + 1, state.now);
        state.sample = sample;
        state.now = now;
        let times = state
            .times
            .get_or_insert_with(|| Past::new(MonotonicMicros::NONE));
        times.record(sample, before);
        let all = state
            .connections
            .values_mut()
            .chain(state.holders.values_mut());
        all.for_each(|holder| holder.past.record(sample, holder.now));
        let connections = &mut state.connections;
        connections.retain(|_, holder| holder.moved_at + IDLE_MAX > sample);
        if connections.len() < connections.capacity() / 8 {
            connections.shrink_to(connections.len() * 2);
        }
    }

    /// Memory of the tables in bytes, and their number of entries.
    pub fn memory(&self) -> (usize, usize) {
        let state = self.0.lock();
        let slots = state.connections.capacity() * size_of::<(u64, Holder)>()
            + state.holders.capacity() * size_of::<(Name, Holder)>();
        let names = state.holders.keys();
        let names = names.map(|name| allocated(name.account.len()) + allocated(name.user.len()));
        // A hash table is full when seven eighths of its slots are used.
        let bytes = slots * 8 / 7 + names.sum::<usize>();
        (bytes, state.connections.len() + state.holders.len())
    }

    /// Counts a new connection.
    pub fn connect(&self, name: &Name) {
        let connect = TrafficDelta {
            connects: 1,
            ..TrafficDelta::default()
        };
        self.0.lock().add_to_holders(name, connect);
    }

    /// Connection `cid` had transferred `before` at the last sample, and `moved` since.
    pub fn add(&self, cid: u64, name: &Name, before: TrafficDelta, moved: TrafficDelta) {
        let state = &mut *self.0.lock();
        state.add_to_holders(name, moved);
        let sample = state.sample;
        if state.connections.len() < CONNECTIONS_MAX || state.connections.contains_key(&cid) {
            let holder = state
                .connections
                .entry(cid)
                .or_insert_with(|| Holder::new(before));
            holder.now = before;
            holder.now += moved;
            holder.moved_at = sample;
        }
    }

    /// Drops a connection that has ended.
    pub fn forget(&self, cid: u64) {
        self.0.lock().connections.remove(&cid);
    }

    /// Traffic of a connection in a window; not for [`Window::Start`].
    pub fn of_connection(&self, cid: u64, window: Window) -> TrafficDelta {
        let state = self.0.lock();
        let holder = state.connections.get(&cid);
        holder.map_or_else(TrafficDelta::default, |known| {
            known.within(state.sample, window)
        })
    }

    /// Traffic of all users and accounts.
    pub fn of_holders(&self, window: Window) -> Vec<(Name, TrafficDelta)> {
        let state = self.0.lock();
        let holders = state.holders.iter();
        holders
            .map(|(name, holder)| (name.clone(), holder.within(state.sample, window)))
            .collect()
    }

    /// Time since the last look.
    pub fn age(&self, now: MonotonicMicros) -> Duration {
        Duration::from_micros(self.0.lock().now.micros_until(now))
    }

    /// Seconds that a window covers now.
    pub fn seconds(&self, window: Window) -> f64 {
        let state = self.0.lock();
        let before = state.times.map_or(MonotonicMicros::NONE, |times| {
            times.before(state.sample, window, MonotonicMicros::NONE)
        });
        before.micros_until(state.now) as f64 / 1e6
    }
}

impl State {
    /// Adds traffic to the user and to the account.
    fn add_to_holders(&mut self, name: &Name, moved: TrafficDelta) {
        let account = Name {
            user: String::new(),
            ..name.clone()
        };
        self.holder(&account).now += moved;
        if !name.user.is_empty() {
            self.holder(name).now += moved;
        }
    }

    fn holder(&mut self, name: &Name) -> &mut Holder {
        let mut name = name.clone();
        let is_full = self.holders.len() >= 2 * HOLDERS_MAX;
        let is_long = name.user.len() > NAME_LEN_MAX;
        if is_long || is_full && !self.holders.contains_key(&name) {
            name = match name.user.is_empty() {
                true => Name {
                    account: OTHERS.into(),
                    user: String::new(),
                },
                false => Name {
                    account: String::new(),
                    user: OTHERS.into(),
                },
            };
        }
        let holders = self.holders.entry(name);
        holders.or_insert_with(|| Holder::new(TrafficDelta::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msgs(in_msgs: u64) -> TrafficDelta {
        TrafficDelta {
            in_msgs,
            ..TrafficDelta::default()
        }
    }

    #[test]
    fn windows_advance_with_the_samples() {
        let loads = Loads::default();
        let name = Name {
            account: "A".into(),
            user: "u".into(),
        };
        for second in 1..=400 {
            loads.begin_sample(MonotonicMicros(second * 1_000_000));
            // Ten messages a second, and a burst in second 100.
            let moved = msgs(if second == 100 { 1010 } else { 10 });
            let before = msgs((second - 1) * 10 + if second > 100 { 1000 } else { 0 });
            loads.add(7, &name, before, moved);
            let of = |window| loads.of_connection(7, window).in_msgs;
            match second {
                99 => assert_eq!(of(Window::Second), 10),
                100 => assert_eq!(of(Window::Second), 1010),
                140 => assert!(of(Window::Minute) > 1500, "{}", of(Window::Minute)),
                200 => assert!(of(Window::Minute) <= 610 && of(Window::FiveMinutes) > 2000),
                _ => {}
            }
        }
        assert!(loads.seconds(Window::Minute) >= 50.0 && loads.seconds(Window::Minute) <= 61.0);
        let all = loads.of_holders(Window::Start);
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|(_, moved)| moved.in_msgs == 5000));
        loads.forget(7);
        assert_eq!(
            loads.of_connection(7, Window::Minute),
            TrafficDelta::default()
        );
        assert_eq!(loads.of_holders(Window::Start).len(), 2);
    }

    #[test]
    fn users_beyond_the_limit_are_counted_together() {
        let loads = Loads::default();
        for user in 0..3 * HOLDERS_MAX {
            loads.connect(&Name {
                account: "A".into(),
                user: user.to_string(),
            });
        }
        let all = loads.of_holders(Window::Start);
        assert_eq!(all.len(), 2 * HOLDERS_MAX + 1);
        let connects: u64 = all.iter().map(|(_, moved)| moved.connects).sum();
        assert_eq!(connects, 2 * 3 * HOLDERS_MAX as u64);
    }
}
