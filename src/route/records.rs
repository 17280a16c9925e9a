//! Members that DNS lists: SRV records of the configuration, each asked again as often as its
//! answer says, and soon after a broker that it lists could not be reached.
//!
//! What a record lists is dialled like a broker of `routes` ([`super::dial`]), priority and weight
//! aside: a mesh needs a route to every member. They only decide what is left out of a record that
//! is too long. A record that cannot be had, or lists nothing, changes nothing: its last answer
//! stays in force, so that a fault of the DNS ends no route and stops no dialling. A broker that a
//! record no longer lists keeps its route, but is not dialled again, and is not missed once it has
//! gone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use monitor_client::text::plural;
use parking_lot::Mutex;
use srv_records::{Answer, Listed};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use super::{cluster::Cluster, introduction::with_port};
use crate::{
    broker::resolve::look_up_srv,
    config::options::{cluster::RouteUrl, srv::SrvUrl},
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Brokers of one record that are dialled.
pub const LISTED_MAX: usize = 64;

/// The shortest and the longest time between two questions, whatever the TTL.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(5);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(300);

/// The pause after a first failure; it doubles up to the longest.
const FAILED: Duration = Duration::from_secs(2);
const FAILED_MAX: Duration = Duration::from_secs(30);

/// The random part of every pause, as a fraction.
const JITTER: f64 = 0.1;

/// The records by their names.
#[derive(Default)]
pub(super) struct Records(Mutex<BTreeMap<String, Record>>);

/// What is known of one record.
#[derive(Clone, Default)]
pub struct Record {
    /// Its full name.
    pub name: String,
    /// What it listed last, by host and port.
    pub listed: Vec<Listed>,
    /// How many more it listed than are dialled.
    pub left_out: usize,
    /// When it was last answered.
    pub answered_at: Option<MonotonicMillis>,
    /// How long that answer may be kept.
    pub ttl: Duration,
    /// When it is asked again.
    pub next: MonotonicMillis,
    /// Since when there has been no answer, if so.
    pub failing_since: Option<MonotonicMillis>,
    /// Questions without an answer since then.
    pub failures: u32,
    /// Why the last one had none.
    pub error: String,
    wake: Arc<Notify>,
}

impl Record {
    fn lists(&self, host: &str, port: u16) -> bool {
        let is = |it: &Listed| it.host.eq_ignore_ascii_case(host) && it.port == port;
        self.listed.iter().any(is)
    }

    /// Takes an answer. Returns whether it lists other brokers than before, or leaves out others.
    fn answered(&mut self, answer: Answer) -> bool {
        let Answer { mut listed, ttl } = answer;
        let before = (std::mem::take(&mut self.listed), self.left_out);
        self.left_out = listed.len().saturating_sub(LISTED_MAX);
        if self.left_out > 0 {
            listed.sort_by_key(|it| it.priority);
            listed.truncate(LISTED_MAX);
            listed.sort();
        }
        self.listed = listed;
        self.ttl = ttl;
        self.answered_at = Some(MonotonicMillis::now());
        self.failing_since = None;
        self.failures = 0;
        self.error.clear();
        let places = |listed: &[Listed]| -> Vec<(String, u16)> {
            let places = listed.iter().map(|it| (it.host.clone(), it.port));
            places.collect()
        };
        (places(&before.0), before.1) != (places(&self.listed), self.left_out)
    }

    /// Takes a failure. Returns whether it is the first one, or has another reason than the last.
    fn failed(&mut self, why: String) -> bool {
        self.failing_since.get_or_insert_with(MonotonicMillis::now);
        self.failures += 1;
        let is_new = self.error != why;
        self.error = why;
        is_new
    }

    /// What the last failure means.
    fn failure(&self) -> String {
        match self.listed.is_empty() {
            true => format!("The cluster finds no brokers by DNS: {}", self.error),
            false => format!(
                "SRV record {:?} has no answer, its last one stays in use ({}): {}",
                self.name,
                self.text(),
                self.error
            ),
        }
    }

    /// How long until the next question.
    fn pause(&self) -> Duration {
        let pause = match self.failures {
            0 => self.ttl.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX),
            failures => FAILED
                .saturating_mul(1 << (failures - 1).min(10))
                .min(FAILED_MAX),
        };
        pause.mul_f64(1.0 + JITTER * fastrand::f64())
    }

    /// The listed brokers, as `host:port`.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        self.listed.iter().map(|it| with_port(&it.host, it.port))
    }

    fn text(&self) -> String {
        let listed: Vec<String> = self.addresses().collect();
        listed.join(", ")
    }
}

/// Asks for each record of the configuration in a task of its own, including those configured
/// later.
pub(super) fn ask_for_all(cluster: &Arc<Cluster>) {
    for url in cluster.options().records() {
        let name = url.record.name().to_owned();
        let mut records = cluster.records.0.lock();
        if records.contains_key(&name) {
            continue;
        }
        let record = Record {
            name: name.clone(),
            ..Record::default()
        };
        let wake = record.wake.clone();
        records.insert(name.clone(), record);
        drop(records);
        tokio::spawn(keep_asking(cluster.clone(), name, wake));
    }
}

/// Asks for a record as long as it is configured.
async fn keep_asking(cluster: Arc<Cluster>, name: String, wake: Arc<Notify>) {
    while let Some(url) = cluster.next_to_ask(&name, &wake) {
        let begin = Instant::now();
        let calls = &cluster.broker.telemetry.calls;
        let pause = match look_up_srv(calls, &url.record).await {
            Ok(answer) => cluster.record_answered(&name, answer),
            Err(why) => cluster.record_failed(&name, why),
        };
        // An earlier wish to ask again has been fulfilled.
        let _ = timeout_at(begin + pause, wake.notified()).await;
        sleep(ASK_AGAIN_MIN.min(pause).saturating_sub(begin.elapsed())).await;
    }
}

impl Cluster {
    /// The brokers that are dialled until they answer: those of `routes`, and those that records
    /// list.
    pub fn wanted_routes(&self) -> Vec<RouteUrl> {
        let options = self.options();
        let mut wanted = options.routes.clone();
        for url in options.records() {
            let records = self.records.0.lock();
            let listed = records.get(url.record.name()).into_iter();
            for listed in listed.flat_map(|record| &record.listed) {
                let route = options.listed(&url, &listed.host, listed.port);
                let is = |it: &RouteUrl| it.host == route.host && it.port == route.port;
                // A port of zero cannot be dialled.
                if listed.port > 0 && !wanted.iter().any(is) {
                    wanted.push(route);
                }
            }
        }
        wanted
    }

    /// What is known of the records, by their names.
    pub fn records(&self) -> Vec<Record> {
        self.records.0.lock().values().cloned().collect()
    }

    /// The record that lists this `host:port`.
    pub(super) fn record_of(&self, address: &str) -> Option<String> {
        let url = RouteUrl::parse(address).ok()?;
        let records = self.records.0.lock();
        let record = records.values().find(|it| it.lists(&url.host, url.port));
        record.map(|record| record.name.clone())
    }

    /// This broker could not be reached: if a record lists it, that is asked again soon.
    pub(super) fn ask_again_for(&self, url: &RouteUrl) {
        let records = self.records.0.lock();
        let lists = |record: &&Record| record.lists(&url.host, url.port);
        for record in records.values().filter(lists) {
            record.wake.notify_one();
        }
    }

    /// Asks for all records at once, as their name server may be another one now.
    pub(super) fn ask_again_for_all(&self) {
        for record in self.records.0.lock().values() {
            record.wake.notify_one();
        }
    }

    /// Forgets at once what records listed that are no longer configured, so that no certificate is
    /// accepted for it; those who ask for them end.
    pub(super) fn forget_removed_records(&self) {
        let configured = self.options().records();
        let is_configured = |name: &str| configured.iter().any(|url| url.record.name() == name);
        self.records.0.lock().retain(|name, record| {
            let stays = is_configured(name);
            if !stays {
                record.wake.notify_one();
            }
            stays
        });
    }

    /// The record as it is configured now; `None` if it is not any more, and then it is forgotten,
    /// or if another task asks for it since it was configured again.
    fn next_to_ask(&self, name: &str, wake: &Arc<Notify>) -> Option<SrvUrl> {
        let is_own = |record: &Record| Arc::ptr_eq(&record.wake, wake);
        if !self.records.0.lock().get(name).is_some_and(is_own) {
            return None;
        }
        let mut configured = self.options().records().into_iter();
        let url = configured.find(|url| !self.is_stopping() && url.record.name() == name);
        if url.is_none() {
            self.records.0.lock().remove(name);
            self.found_others(&[]);
        }
        url
    }

    /// Returns how long until the next question.
    fn record_answered(&self, name: &str, answer: Answer) -> Duration {
        let before = self.wanted_routes();
        let (record, has_changed, was_failing) = {
            let mut records = self.records.0.lock();
            let Some(record) = records.get_mut(name) else {
                return Duration::ZERO;
            };
            let was_failing = record.failing_since.is_some();
            let has_changed = record.answered(answer);
            (record.clone(), has_changed, was_failing)
        };
        if has_changed || was_failing {
            let text = format!(
                "SRV record {name:?} lists {}: {}",
                plural(record.listed.len(), "broker"),
                record.text()
            );
            info!("{text}");
            self.note_event(name, &text);
        }
        if has_changed && record.left_out > 0 {
            warn!(
                "SRV record {name:?} lists {} more, which are not dialled: {LISTED_MAX} are the \
                 most",
                plural(record.left_out, "broker")
            );
        }
        if has_changed {
            self.found_others(&before);
        }
        self.next_question(name)
    }

    /// Returns how long until the next question.
    fn record_failed(&self, name: &str, why: String) -> Duration {
        let new = {
            let mut records = self.records.0.lock();
            let record = records.get_mut(name);
            record.and_then(|record| record.failed(why).then(|| record.failure()))
        };
        if let Some(text) = new {
            warn!("{text}");
            self.note_event(name, &text);
        }
        self.next_question(name)
    }

    fn next_question(&self, name: &str) -> Duration {
        let mut records = self.records.0.lock();
        let Some(record) = records.get_mut(name) else {
            return Duration::ZERO;
        };
        let pause = record.pause();
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        record.next = MonotonicMillis(MonotonicMillis::now().0.saturating_add(millis));
        pause
    }

    /// The records list others than `before`: those are dialled, and those that are gone are not
    /// missed.
    fn found_others(&self, before: &[RouteUrl]) {
        let wanted = self.wanted_routes();
        let is_gone = |url: &&RouteUrl| !wanted.iter().any(|it| it.to_string() == url.to_string());
        for url in before.iter().filter(is_gone) {
            self.membership.forget_target(&url.to_string());
        }
        self.know_found_hosts();
        self.reconfigured.notify_one();
    }

    /// A member that is dialled by its address may have a certificate for a host that a record
    /// lists.
    pub(super) fn know_found_hosts(&self) {
        if let Some(tls) = self.tls() {
            let records = self.records();
            let hosts = records.iter().flat_map(|record| &record.listed);
            let found = &tls.store.current().options.found_hosts;
            found.set(hosts.map(|listed| &*listed.host));
        }
    }

    fn note_event(&self, name: &str, text: &str) {
        let events = &self.broker.telemetry.events;
        events.record(EventKind::Route, 0, name, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hosts: impl IntoIterator<Item = (String, u16)>, ttl: u64) -> Answer {
        let listed = hosts.into_iter().map(|(host, priority)| Listed {
            host,
            port: 4223,
            priority,
            weight: 0,
        });
        Answer {
            listed: listed.collect(),
            ttl: Duration::from_secs(ttl),
        }
    }

    #[test]
    fn questions_keep_to_the_ttl_and_failures_to_growing_pauses() {
        let mut record = Record::default();
        for (ttl, seconds) in [(0, 5), (60, 60), (86400, 300)] {
            record.answered(answer([("a".to_owned(), 0)], ttl));
            let least = Duration::from_secs(seconds);
            assert!(
                (least..=least.mul_f64(1.1)).contains(&record.pause()),
                "{ttl}"
            );
        }
        for seconds in [2, 4, 8, 16, 30, 30] {
            record.failed("no answer".to_owned());
            let least = Duration::from_secs(seconds);
            assert!(
                (least..=least.mul_f64(1.1)).contains(&record.pause()),
                "{seconds}"
            );
        }
        record.failures = u32::MAX;
        assert!(record.pause() >= FAILED_MAX);
    }

    #[test]
    fn a_failure_keeps_the_last_answer_and_is_new_once() {
        let mut record = Record::default();
        assert!(record.answered(answer([("a".to_owned(), 0)], 1)));
        assert!(
            !record.answered(answer([("a".to_owned(), 7)], 2)),
            "the same brokers"
        );
        assert!(record.failed("no answer".to_owned()));
        let since = record.failing_since;
        assert!(!record.failed("no answer".to_owned()));
        assert!(record.failed("there is none".to_owned()));
        let text = record.failure();
        assert!(
            text.contains("stays in use (a:4223): there is none"),
            "{text}"
        );
        assert_eq!((record.failing_since, record.failures), (since, 3));
        assert!(record.lists("A", 4223) && !record.lists("a", 1));
        record.answered(answer([("b".to_owned(), 0)], 1));
        assert_eq!((record.failing_since, record.failures), (None, 0));
        assert_eq!((&*record.error, &*record.text()), ("", "b:4223"));
    }

    /// Of too many those with the best priority are dialled.
    #[test]
    fn a_long_answer_is_cut_by_priority() {
        let hosts = |count: usize| {
            (0..count).map(|n| (format!("n{n:04}"), u16::try_from(2000 - n).unwrap_or(0)))
        };
        let mut record = Record::default();
        record.answered(answer(hosts(LISTED_MAX), 1));
        assert_eq!((record.listed.len(), record.left_out), (LISTED_MAX, 0));
        assert!(record.answered(answer(hosts(LISTED_MAX + 3), 1)));
        assert_eq!((record.listed.len(), record.left_out), (LISTED_MAX, 3));
        assert_eq!(record.listed[0].host, "n0003");
        assert!(record.answered(answer(hosts(LISTED_MAX + 4), 1)));
    }
}
