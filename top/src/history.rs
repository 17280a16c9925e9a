//! Data of the last minutes: rates computed from totals, and the series of the plots. It starts
//! again when the broker restarts.

use std::collections::{HashMap, VecDeque};

use monitor_client::{ConnInfo, Connz, EventInfo, Eventsz, Varz};

use crate::{
    feed::Answers,
    sort::{Rates, Row},
    text::seconds_between,
};

/// Samples of a series: five minutes at one per second, wider than most terminals.
const SAMPLES: usize = 300;

/// Limit of events.
const EVENTS: usize = 2000;

/// Values over time, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Series(VecDeque<f64>);

impl Series {
    fn push(&mut self, value: f64) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The latest value.
    pub(crate) fn last(&self) -> Option<f64> {
        self.0.back().copied()
    }

    /// The latest `count` values, the oldest first.
    pub(crate) fn tail(&self, count: usize) -> impl Iterator<Item = f64> {
        self.0
            .iter()
            .skip(self.0.len().saturating_sub(count))
            .copied()
    }
}

/// An entry of the event list.
#[derive(Debug)]
pub(crate) enum Entry {
    /// An event.
    Event(EventInfo),
    /// This many events were dropped before they were read.
    Gap(u64),
}

/// Data of one broker since its start.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Its id.
    pub(crate) server_id: String,
    last: Option<Varz>,
    /// Messages received per second.
    pub(crate) in_msgs: Series,
    /// Messages delivered per second.
    pub(crate) out_msgs: Series,
    /// Bytes received per second.
    pub(crate) in_bytes: Series,
    /// Bytes delivered per second.
    pub(crate) out_bytes: Series,
    /// 99th percentile of the last minute's latency, in seconds.
    pub(crate) latency: Series,
    /// Bytes queued in all queues.
    pub(crate) waiting: Series,
    /// Totals of each connection in the previous round.
    totals: HashMap<u64, ConnInfo>,
    totals_time: String,
    /// The same for routes.
    routes: HashMap<u64, (i64, i64)>,
    routes_time: String,
    /// The events, the latest last.
    pub(crate) events: VecDeque<Entry>,
}

impl History {
    /// Adds the answers of a round.
    pub(crate) fn add(&mut self, answers: &Answers) {
        let varz = &answers.varz;
        if self.server_id != varz.server_id {
            let events = std::mem::take(&mut self.events);
            *self = Self {
                server_id: varz.server_id.clone(),
                events,
                ..Self::default()
            };
        }
        if let Some(last) = self.last.take()
            && let Some(seconds) = seconds_between(&last.now, &varz.now).filter(|span| *span > 0.0)
        {
            let rate = |before: i64, after: i64| (after - before).max(0) as f64 / seconds;
            self.in_msgs.push(rate(last.in_msgs, varz.in_msgs));
            self.out_msgs.push(rate(last.out_msgs, varz.out_msgs));
            self.in_bytes.push(rate(last.in_bytes, varz.in_bytes));
            self.out_bytes.push(rate(last.out_bytes, varz.out_bytes));
        }
        self.last = Some(varz.clone());
        if let Some(latencyz) = &answers.latencyz {
            self.latency.push(latencyz.total.last_minute.p99);
        }
        let ceilings = answers.memz.iter().flat_map(|memz| &memz.ceilings);
        if let Some(queues) = ceilings
            .into_iter()
            .find(|ceiling| ceiling.name == "queues")
        {
            self.waiting.push(queues.used);
        }
        if let Some(events) = &answers.events {
            self.add_events(events);
        }
    }

    fn add_events(&mut self, answer: &Eventsz) {
        let known = !self.events.is_empty();
        if answer.missed > 0 && known {
            self.events.push_back(Entry::Gap(answer.missed));
        }
        let events = answer.events.iter().cloned().map(Entry::Event);
        self.events.extend(events);
        let excess = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..excess);
    }

    /// The connections of an answer with their rates since the previous one.
    pub(crate) fn rows(&mut self, connz: &Connz) -> Vec<Row> {
        let seconds =
            seconds_between(&self.totals_time, &connz.now).filter(|seconds| *seconds > 0.0);
        let before = std::mem::take(&mut self.totals);
        let rows = connz
            .connections
            .iter()
            .map(|info| {
                let pair = seconds.zip(before.get(&info.cid));
                Row {
                    info: info.clone(),
                    rates: pair.map(|(seconds, before)| rates(before, info, seconds)),
                }
            })
            .collect();
        self.totals = connz
            .connections
            .iter()
            .map(|info| (info.cid, totals(info)))
            .collect();
        self.totals_time.clone_from(&connz.now);
        rows
    }

    /// Messages in and out per second by route id; empty in the first round.
    pub(crate) fn route_rates(
        &mut self,
        routez: &monitor_client::Routez,
    ) -> HashMap<u64, (f64, f64)> {
        let seconds =
            seconds_between(&self.routes_time, &routez.now).filter(|seconds| *seconds > 0.0);
        let before = std::mem::take(&mut self.routes);
        let mut rates = HashMap::new();
        for route in &routez.routes {
            if let Some((seconds, (in_msgs, out_msgs))) = seconds.zip(before.get(&route.rid)) {
                let rate = |before: i64, after: i64| (after - before).max(0) as f64 / seconds;
                let pair = (
                    rate(*in_msgs, route.in_msgs),
                    rate(*out_msgs, route.out_msgs),
                );
                rates.insert(route.rid, pair);
            }
            self.routes
                .insert(route.rid, (route.in_msgs, route.out_msgs));
        }
        self.routes_time.clone_from(&routez.now);
        rates
    }
}

/// The values that rates are computed from, without texts.
fn totals(info: &ConnInfo) -> ConnInfo {
    ConnInfo {
        cid: info.cid,
        in_msgs: info.in_msgs,
        out_msgs: info.out_msgs,
        in_bytes: info.in_bytes,
        out_bytes: info.out_bytes,
        ..ConnInfo::default()
    }
}

fn rates(before: &ConnInfo, now: &ConnInfo, seconds: f64) -> Rates {
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    Rates {
        in_msgs: rate(before.in_msgs, now.in_msgs),
        out_msgs: rate(before.out_msgs, now.out_msgs),
        in_bytes: rate(before.in_bytes, now.in_bytes),
        out_bytes: rate(before.out_bytes, now.out_bytes),
    }
}
