//! Ceilings: everything that has an end, how much of it is used, and when it
//! is used up if it grows on as it does.

use super::trend::Trend;
use chrono::Utc;

use crate::{
    broker::memory,
    config::Diagnosis,
    observe::sample::Sample,
    security::validity::{Validity, ValidityPeriod},
    server::Server,
    telemetry::process,
};

/// Share of the limit that a value must have risen by before a time to
/// exhaustion is given.
const RISE_MIN: f64 = 0.02;

/// Something that has an end, at one moment.
#[derive(Clone, Debug)]
pub struct Ceiling {
    /// What it is.
    pub kind: CeilingKind,
    /// The used amount, in the unit of its kind.
    pub used: f64,
    /// Where it ends.
    pub limit: f64,
    /// Growth per second; 0 while it is not known.
    pub growth: f64,
    /// Seconds until the limit at that growth, if it grows for real.
    pub exhausted_in: Option<f64>,
    /// The largest user of it, if there is one; else empty.
    pub holder: String,
    /// That one's connection; 0 for none.
    pub cid: u64,
}

/// The kinds of ceilings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CeilingKind {
    /// Open client connections against `max_connections`.
    Connections,
    /// Open file descriptors against the process's limit.
    Files,
    /// Resident memory against what the process may use.
    Memory,
    /// The longest queue against `max_pending`.
    Pending,
    /// All outbound queues that cannot be written against `max_memory`.
    Queues,
    /// The most subscriptions of a connection against `max_subscriptions`.
    Subscriptions,
    /// Time passed since the own certificate began, against its validity.
    Certificate,
    /// The same of the CA that ends first.
    Ca,
    /// The same of the CRL whose successor is due first.
    Crl,
}

impl CeilingKind {
    /// Its name in answers: stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Files => "fds",
            Self::Memory => "memory",
            Self::Pending => "pending",
            Self::Queues => "queues",
            Self::Subscriptions => "subscriptions",
            Self::Certificate => "certificate",
            Self::Ca => "ca",
            Self::Crl => "crl",
        }
    }

    /// `count`, `bytes` or `seconds`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Connections | Self::Files | Self::Subscriptions => "count",
            Self::Memory | Self::Pending | Self::Queues => "bytes",
            Self::Certificate | Self::Ca | Self::Crl => "seconds",
        }
    }
}

/// The ceilings with their recent courses.
pub(super) struct Ceilings {
    /// Of each of [`MEASURES`].
    trends: Vec<Trend>,
    /// Bytes of memory that the process may use.
    memory_max: Option<usize>,
}

/// Used, limit and largest user.
struct Reading {
    used: f64,
    limit: f64,
    holder: Option<(String, u64)>,
}

type Measure = fn(&Ceilings, &Server, &Sample) -> Option<Reading>;

const MEASURES: [(CeilingKind, Measure); 9] = [
    (CeilingKind::Files, |_, _, sample| {
        Reading::of(sample.files? as f64, process::open_files_max()? as f64)
    }),
    (CeilingKind::Connections, |_, server, sample| {
        let limit = server.broker.limits.current().max_connections;
        Reading::of(sample.connections as f64, limit as f64)
    }),
    (CeilingKind::Subscriptions, |_, server, sample| {
        let limit = server.broker.limits.current().max_subscriptions;
        let most = sample.by_subscriptions.first();
        let used = most.map_or(0, |most| most.subscriptions);
        let reading = Reading::of(used as f64, limit? as f64)?;
        let holder = most.map(|most| (most.connection.who(), most.connection.cid));
        Some(Reading { holder, ..reading })
    }),
    (CeilingKind::Queues, |_, server, _| {
        let budget = &server.broker.registry.budget;
        Reading::of(budget.used() as f64, budget.limit() as f64)
    }),
    (CeilingKind::Memory, |ceilings, _, sample| {
        Reading::of(sample.process?.resident as f64, ceilings.memory_max? as f64)
    }),
    (CeilingKind::Pending, |_, server, sample| {
        let limit = server.broker.limits.current().max_pending;
        let longest = sample.by_pending.first();
        let used = longest.map_or(0, |longest| longest.backlog.pending);
        let reading = Reading::of(used as f64, limit as f64)?;
        let holder = longest.map(|longest| (longest.connection.who(), longest.connection.cid));
        Some(Reading { holder, ..reading })
    }),
    (CeilingKind::Certificate, |_, server, _| {
        validity(server, |validity| &validity.certificate)
    }),
    (CeilingKind::Ca, |_, server, _| {
        validity(server, |validity| &validity.ca)
    }),
    (CeilingKind::Crl, |_, server, _| {
        validity(server, |validity| &validity.crl)
    }),
];

/// How much of the validity that ends first has passed.
fn validity(server: &Server, period: fn(&Validity) -> &Option<ValidityPeriod>) -> Option<Reading> {
    let listeners = server.tls_listeners().into_iter();
    let terms = listeners.filter_map(|(_, tls)| period(&tls.store.current().validity).clone());
    let period = terms.min_by_key(|period| period.until)?;
    let passed = (Utc::now() - period.from).as_seconds_f64();
    let reading = Reading::of(passed, (period.until - period.from).as_seconds_f64())?;
    let holder = Some((period.name, 0));
    Some(Reading { holder, ..reading })
}

impl Reading {
    /// `None` if there is no limit.
    fn of(used: f64, limit: f64) -> Option<Self> {
        (limit > 0.0).then_some(Self {
            used,
            limit,
            holder: None,
        })
    }
}

impl Ceilings {
    pub(super) fn new(thresholds: &Diagnosis) -> Self {
        let trend = |_| Trend::new(thresholds.growth_window, thresholds.interval);
        Self {
            trends: MEASURES.iter().map(trend).collect(),
            memory_max: memory::process_limit(),
        }
    }

    /// The ceilings of a sample. One without a limit is left out.
    pub(super) fn read(&mut self, server: &Server, sample: &Sample) -> Vec<Ceiling> {
        let mut ceilings = Vec::with_capacity(MEASURES.len());
        for (index, (kind, measure)) in MEASURES.iter().enumerate() {
            if let Some(reading) = measure(self, server, sample) {
                let trend = &mut self.trends[index];
                trend.add(sample.at, reading.used);
                ceilings.push(judge(*kind, reading, trend));
            }
        }
        ceilings
    }
}

fn judge(kind: CeilingKind, reading: Reading, trend: &Trend) -> Ceiling {
    let Reading {
        used,
        limit,
        holder,
    } = reading;
    let (growth, grows) = match kind.unit() {
        // Time passes, a second in each.
        "seconds" => (1.0, true),
        _ => {
            let growth = trend.slope().unwrap_or(0.0);
            (growth, growth > 0.0 && trend.rise() >= limit * RISE_MIN)
        }
    };
    let (holder, cid) = holder.unwrap_or_default();
    Ceiling {
        kind,
        used,
        limit,
        growth,
        exhausted_in: grows.then(|| (limit - used).max(0.0) / growth),
        holder,
        cid,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::MonotonicMillis;

    fn ceiling(seconds: u64, value: impl Fn(u64) -> f64) -> Ceiling {
        let mut trend = Trend::new(Duration::from_secs(300), Duration::from_secs(1));
        for second in 0..seconds {
            trend.add(MonotonicMillis(second * 1000), value(second));
        }
        let reading = Reading::of(value(seconds - 1), 60_000.0).unwrap();
        judge(CeilingKind::Subscriptions, reading, &trend)
    }

    #[test]
    fn the_time_to_exhaustion_is_known_early() {
        let growing = ceiling(30, |second| second as f64 * 100.0);
        let expected = (60_000.0 - 2_900.0) / 100.0;
        let exhausted_in = growing.exhausted_in.unwrap();
        assert!((exhausted_in - expected).abs() < 1.0, "{exhausted_in}");
    }

    #[test]
    fn what_hardly_grows_has_no_end() {
        assert_eq!(ceiling(300, |second| second as f64).exhausted_in, None);
        assert_eq!(ceiling(300, |_| 59_999.0).exhausted_in, None);
        assert_eq!(
            ceiling(300, |second| 50_000.0 - second as f64).exhausted_in,
            None
        );
        assert!(Reading::of(1.0, 0.0).is_none());
    }
}
