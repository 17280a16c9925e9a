//! Reports clients that connect and disconnect, with a bounded number of events.
//!
//! `client` reports every login and close here. Ordinary ones become events of their own. Many in a
//! short time are a storm, which becomes a single event when it ends. Connections that end without
//! a byte of protocol, such as the probes of load balancers, become no events: they are counted,
//! and logged once per source address and interval.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use monitor_client::text::plural;
use parking_lot::Mutex;
use tracing::info;

use super::{
    MonotonicMillis,
    event::{EventKind, EventLog},
};

/// Source addresses that are counted separately, for storms and for probe connections; further ones
/// only count in the totals.
const SOURCES_MAX: usize = 1024;

/// A storm ends when its rate has been below half of the threshold for this long.
const STORM_QUIET: Duration = Duration::from_secs(2);

/// A storm that lasts is reported at this interval.
const STORM_LEN_MAX: Duration = Duration::from_secs(60);

/// Of clients that come back, at least so many stay for each one that leaves.
const RETURN_RATIO: u64 = 4;

/// Who disconnects after reading INFO.
const PROBE_DESCRIPTION: &str = "a probe, or a client that cannot read INFO";

/// Time between two log lines about the probes of one source.
const PROBE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Counts connects and disconnects.
pub struct ConnectionChurn {
    state: Mutex<State>,
    probes: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Changes (connects and closes) per second above which there is a storm.
    storm_rate: u64,
    /// Start of the second that is being counted.
    second: Option<MonotonicMillis>,
    changes: u64,
    storm: Option<Storm>,
    probes: HashMap<IpAddr, ProbeSource>,
}

/// Many connects and closes in a short time.
#[derive(Clone, Debug)]
pub struct Storm {
    /// When it began.
    pub start: MonotonicMillis,
    /// When its rate was last above half of the threshold.
    pub last_busy: MonotonicMillis,
    /// Clients that logged in.
    pub connected: u64,
    /// Clients that disconnected.
    pub closed: u64,
    /// Whether it continues one that was reported for its length.
    continues: bool,
    /// Changes by source address.
    sources: HashMap<IpAddr, u64>,
}

struct ProbeSource {
    logged: MonotonicMillis,
    since_logged: u64,
}

/// What a client did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It logged in.
    Connected,
    /// Its connection ended.
    Closed,
}

impl ConnectionChurn {
    /// `storm_rate` is the number of changes per second above which there is a storm.
    pub fn new(storm_rate: u64) -> Self {
        let state = State {
            storm_rate,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            probes: AtomicU64::new(0),
        }
    }

    /// Sets another rate above which there is a storm.
    pub fn set_storm_rate(&self, storm_rate: u64) {
        self.state.lock().storm_rate = storm_rate;
    }

    /// Counts a change at `now`. Returns whether it becomes an event of its own.
    pub fn count(&self, change: Change, source: IpAddr, now: MonotonicMillis) -> bool {
        let state = &mut *self.state.lock();
        let second = state.second.get_or_insert(now);
        if second.until(now) >= Duration::from_secs(1) {
            *second = now;
            state.changes = 0;
        }
        state.changes += 1;
        if state.storm.is_none() && state.changes > state.storm_rate {
            state.storm = Some(Storm::begin(now));
        }
        let Some(storm) = &mut state.storm else {
            return true;
        };
        if state.changes > state.storm_rate / 2 {
            storm.last_busy = now;
        }
        storm.count(change, source);
        false
    }

    /// Counts a connection that ended without a byte of protocol.
    pub fn count_probe(&self, source: IpAddr, now: MonotonicMillis) {
        self.probes.fetch_add(1, Ordering::Relaxed);
        let sources = &mut self.state.lock().probes;
        if let Some(known) = sources.get_mut(&source) {
            known.since_logged += 1;
        } else if sources.len() < SOURCES_MAX {
            let new = ProbeSource {
                logged: now,
                since_logged: 0,
            };
            sources.insert(source, new);
            info!(
                ip = %source,
                "Connected and left without sending anything: {PROBE_DESCRIPTION}"
            );
        }
    }

    /// Connections so far that ended without a byte of protocol.
    pub fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// The present storm, if there is one.
    pub fn storm(&self) -> Option<Storm> {
        self.state.lock().storm.clone()
    }

    /// Records the event of a storm that is over and logs repeated probes. Called about once a
    /// second.
    pub fn tick(&self, events: &EventLog, now: MonotonicMillis) {
        let (storm, probes) = {
            let mut state = self.state.lock();
            (state.take_storm(now), state.take_probes(now))
        };
        if let Some(storm) = storm {
            events.record(EventKind::Storm, 0, &storm.main_source(), &storm.text());
        }
        for (source, count) in probes {
            info!(
                ip = %source,
                "Connected {} within {PROBE_LOG_INTERVAL:?} and left without sending anything: \
                 {PROBE_DESCRIPTION}",
                plural(count, "more time")
            );
        }
    }
}

impl State {
    /// Takes the storm if it is over or is due for a report.
    fn take_storm(&mut self, now: MonotonicMillis) -> Option<Storm> {
        let storm = self.storm.as_ref()?;
        if storm.last_busy.until(now) >= STORM_QUIET {
            return self.storm.take();
        }
        if storm.start.until(now) >= STORM_LEN_MAX {
            let rest = Storm {
                continues: true,
                ..Storm::begin(now)
            };
            return self.storm.replace(rest);
        }
        None
    }

    /// Takes the sources that probed again, with their counts.
    fn take_probes(&mut self, now: MonotonicMillis) -> Vec<(IpAddr, u64)> {
        let mut again = Vec::new();
        self.probes.retain(|source, known| {
            if known.logged.until(now) < PROBE_LOG_INTERVAL {
                return true;
            }
            if known.since_logged == 0 {
                return false;
            }
            again.push((*source, known.since_logged));
            known.logged = now;
            known.since_logged = 0;
            true
        });
        again
    }
}

impl Storm {
    fn begin(now: MonotonicMillis) -> Self {
        Self {
            start: now,
            last_busy: now,
            connected: 0,
            closed: 0,
            continues: false,
            sources: HashMap::new(),
        }
    }

    fn count(&mut self, change: Change, source: IpAddr) {
        match change {
            Change::Connected => self.connected += 1,
            Change::Closed => self.closed += 1,
        }
        if let Some(known) = self.sources.get_mut(&source) {
            *known += 1;
        } else if self.sources.len() < SOURCES_MAX {
            self.sources.insert(source, 1);
        }
    }

    /// Whether it is clients that come back, as after a start: most of them stay, and it is over
    /// soon.
    pub fn is_return(&self) -> bool {
        !self.continues && self.closed.saturating_mul(RETURN_RATIO) <= self.connected
    }

    /// The address with the most changes; empty if there are none.
    pub fn main_source(&self) -> String {
        let most = self.sources.iter().max_by_key(|(_, count)| **count);
        most.map_or_else(String::new, |(source, _)| source.to_string())
    }

    /// Describes the storm so far in a sentence.
    pub fn text(&self) -> String {
        let seconds = self.start.until(self.last_busy).as_secs_f64();
        let at_least = match self.sources.len() {
            SOURCES_MAX.. => "at least ",
            _ => "",
        };
        format!(
            "{} connected and {} left within {seconds:.1} s, from {at_least}{}, most of them from \
             {}",
            plural(self.connected, "client"),
            self.closed,
            plural(self.sources.len(), "address"),
            self.main_source(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_storm_becomes_one_event_and_ordinary_changes_one_each() {
        let (churn, events) = (ConnectionChurn::new(10), EventLog::default());
        let events_at = |at| {
            (0..50)
                .filter(|_| churn.count(Change::Connected, SOURCE, MonotonicMillis(at)))
                .count()
        };
        assert_eq!(events_at(0), 10);
        assert_eq!(events_at(1000), 0);
        churn.tick(&events, MonotonicMillis(1500));
        assert!(churn.storm().is_some());
        assert_eq!(events.last_id(), 0);
        churn.tick(&events, MonotonicMillis(3000));
        assert!(churn.storm().is_none());
        let storms = events.after(0);
        assert_eq!(storms.len(), 1);
        assert_eq!(storms[0].kind, EventKind::Storm);
        assert!(
            storms[0].text.starts_with("90 clients connected"),
            "{}",
            storms[0].text
        );
        assert!(churn.count(Change::Closed, SOURCE, MonotonicMillis(3001)));
    }

    #[test]
    fn a_storm_that_lasts_is_reported_at_intervals() {
        let (churn, events) = (ConnectionChurn::new(10), EventLog::default());
        for second in 0..150 {
            for _ in 0..20 {
                churn.count(Change::Connected, SOURCE, MonotonicMillis(second * 1000));
            }
            churn.tick(&events, MonotonicMillis(second * 1000));
        }
        assert_eq!(events.last_id(), 2);
    }

    #[test]
    fn clients_that_come_back_and_stay_are_a_return_for_a_minute() {
        let (churn, events) = (ConnectionChurn::new(10), EventLog::default());
        let changes = |change, times: u64, second: u64| {
            for _ in 0..times {
                churn.count(change, SOURCE, MonotonicMillis(second * 1000));
            }
            churn.tick(&events, MonotonicMillis(second * 1000));
            churn.storm().expect("a storm").is_return()
        };
        assert!(changes(Change::Connected, 200, 0));
        // Some fail once more.
        assert!(changes(Change::Closed, 40, 1));
        assert!(!changes(Change::Closed, 20, 2));
        assert!(changes(Change::Connected, 200, 3));
        for second in 4..60 {
            assert!(changes(Change::Connected, 20, second));
        }
        for second in 60..70 {
            assert!(!changes(Change::Connected, 20, second), "{second}");
        }
    }

    #[test]
    fn probes_are_counted_and_their_sources_are_bounded() {
        let (churn, events) = (ConnectionChurn::new(10), EventLog::default());
        for source in 0..5000 {
            let source = IpAddr::V4(std::net::Ipv4Addr::from_bits(source));
            churn.count_probe(source, MonotonicMillis(0));
            churn.count_probe(source, MonotonicMillis(0));
        }
        assert_eq!(churn.probes(), 10_000);
        let mut state = churn.state.lock();
        assert_eq!(state.probes.len(), SOURCES_MAX);
        assert_eq!(state.take_probes(MonotonicMillis(59_000)).len(), 0);
        assert_eq!(
            state.take_probes(MonotonicMillis(60_000)).len(),
            SOURCES_MAX
        );
        // It did not come again and is forgotten.
        assert_eq!(state.take_probes(MonotonicMillis(120_000)).len(), 0);
        assert_eq!(state.probes.len(), 0);
        assert_eq!(events.last_id(), 0);
    }
}
