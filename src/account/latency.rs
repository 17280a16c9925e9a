//! How long exported services take: what `latency` of an export asks to be measured and published,
//! with nats-server's names (`server/accounts.go`).
//!
//! A request to an imported service begins a [`Measured`] ([`LatencyTerms::begin`]), which stays
//! with the reply that is waited for and ends with an [`Outcome`]. `system` publishes it: what
//! happened is left in the [`LatencyLog`] of all accounts, which a session never waits for. If the
//! responder is connected to another broker, that broker measures too ([`halves`]).

mod asked;
mod figures;
mod halves;
mod sampling;

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::Account;
use crate::{
    config::accounts::ServiceLatency,
    telemetry::pool::{Pool, Share},
};
use asked::Asked;
pub use figures::{FIGURES_EVERY, ServiceFigures};
pub use halves::RemoteHalf;
use halves::{Halves, Tracked};

/// Memory of what is measured and no longer among the replies that are waited for: it waits to be
/// published, or for what another broker measures.
pub static MEASURED: Pool = Pool::new(16 * 1024 * 1024);

/// Events that may wait to be published.
const WAITING_MAX: usize = 4096;

/// The end of a reply subject whose latency the responder's broker is to measure.
pub const TRACKED_END: &[u8] = b".T";

/// Headers by their names.
pub type Headers = BTreeMap<String, Vec<String>>;

/// How the latency of one exported service is measured.
pub struct LatencyTerms {
    /// The account of the service.
    pub account: String,
    /// The exported subject, which may have wildcards.
    pub service: String,
    /// What is configured.
    pub config: ServiceLatency,
    log: Arc<LatencyLog>,
}

impl LatencyTerms {
    /// Those of a service of `account`.
    pub(super) fn new(
        account: &str,
        service: &str,
        config: &ServiceLatency,
        log: &Arc<LatencyLog>,
    ) -> Self {
        Self {
            account: account.to_owned(),
            service: service.to_owned(),
            config: config.clone(),
            log: log.clone(),
        }
    }

    /// Begins to measure a request with these headers, if it is to be measured. `describe` makes the
    /// requester's description, as JSON.
    #[cold]
    pub(super) fn begin(
        self: &Arc<Self>,
        headers: &[u8],
        describe: impl FnOnce() -> String,
    ) -> Option<Box<Measured>> {
        // Nobody publishes it.
        self.log.token()?;
        let headers = sampling::sample(self.config.sampling, headers)?;
        Some(Box::new(Measured {
            terms: self.clone(),
            requestor: describe(),
            headers,
            at: Utc::now(),
            begin: Instant::now(),
        }))
    }
}

/// Their bytes, about.
fn headers_memory(headers: &Headers) -> usize {
    let headers = headers.iter().flat_map(|(name, values)| {
        let values = values.iter().map(move |value| name.len() + value.len());
        values.map(|len| len + 2 * size_of::<String>())
    });
    headers.sum()
}

/// A request whose latency is measured.
#[derive(Clone)]
pub struct Measured {
    terms: Arc<LatencyTerms>,
    requestor: String,
    headers: Headers,
    at: DateTime<Utc>,
    begin: Instant,
}

impl Measured {
    /// Its bytes, about.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.requestor.len() + headers_memory(&self.headers)
    }

    /// The end of the reply subject by which the responder's broker finds this one.
    pub(super) fn reply_end(&self) -> String {
        let token = self.terms.log.token().unwrap_or_default();
        format!(".{token}.T")
    }

    /// A client of this broker has replied.
    pub(super) fn answered(self, responder: String) {
        let took = self.begin.elapsed();
        self.end(Outcome::Answered { took, responder });
    }

    /// Has it published with this outcome.
    pub(super) fn end(self, outcome: Outcome) {
        let log = self.terms.log.clone();
        log.leave(Logged::Event(LatencyEvent {
            terms: self.terms,
            requestor: self.requestor,
            headers: self.headers,
            at: self.at,
            outcome,
        }));
    }
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It had no reply subject: 400.
    BadRequest,
    /// Nobody waits for the reply any more: 408.
    RequestorLeft,
    /// Nobody serves it: 503.
    NoResponder,
    /// There was no reply in time: 504.
    Late,
    /// A client here replied after this time.
    Answered {
        /// From the request to the reply, the responder's round trip included.
        took: Duration,
        /// The responder, as JSON.
        responder: String,
    },
    /// A client of another broker replied after this time.
    AnsweredElsewhere {
        /// From the request to the reply.
        took: Duration,
        /// What the responder's broker measured.
        half: RemoteHalf,
    },
}

/// A measured request, to be published in the account of the service.
pub struct LatencyEvent {
    /// The service.
    pub terms: Arc<LatencyTerms>,
    /// The requester, as JSON.
    pub requestor: String,
    /// The headers that asked for it.
    pub headers: Headers,
    /// When the request arrived.
    pub at: DateTime<Utc>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What is to be published.
pub enum Logged {
    /// A measured request.
    Event(LatencyEvent),
    /// For the broker of the requester: what this one has measured.
    ForOther {
        /// The account of the service.
        account: String,
        /// The reply subject.
        reply: Vec<u8>,
        /// When the request arrived here.
        at: DateTime<Utc>,
        /// From the request to the reply.
        took: Duration,
        /// The responder, as JSON.
        responder: String,
    },
}

impl Logged {
    /// Its bytes, about.
    fn memory(&self) -> usize {
        let texts = match self {
            Self::Event(event) => {
                let responder = match &event.outcome {
                    Outcome::Answered { responder, .. } => responder.len(),
                    Outcome::AnsweredElsewhere { half, .. } => half.responder.len(),
                    Outcome::BadRequest
                    | Outcome::RequestorLeft
                    | Outcome::NoResponder
                    | Outcome::Late => 0,
                };
                event.requestor.len() + headers_memory(&event.headers) + responder
            }
            Self::ForOther {
                account,
                reply,
                responder,
                ..
            } => account.len() + reply.len() + responder.len(),
        };
        size_of::<Self>() + texts
    }
}

/// What waits to be published, of all accounts, and the figures by service.
pub struct LatencyLog {
    opened: OnceLock<Opened>,
    waiting: Mutex<Vec<Logged>>,
    /// The memory of what waits; changed while that is locked.
    share: Share,
    dropped: AtomicU64,
    figures: Mutex<BTreeMap<(String, String), ServiceFigures>>,
}

impl Default for LatencyLog {
    fn default() -> Self {
        Self {
            opened: OnceLock::new(),
            waiting: Mutex::default(),
            share: Share::new(&MEASURED),
            dropped: AtomicU64::new(0),
            figures: Mutex::default(),
        }
    }
}

struct Opened {
    token: String,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl LatencyLog {
    /// Requests are measured from now on. Other brokers find this one by `token`; `wake` is called
    /// when something waits to be taken. Opened once.
    pub fn open(&self, token: &str, wake: impl Fn() + Send + Sync + 'static) {
        self.opened.get_or_init(|| Opened {
            token: token.to_owned(),
            wake: Box::new(wake),
        });
    }

    fn token(&self) -> Option<&str> {
        self.opened.get().map(|opened| &*opened.token)
    }

    fn leave(&self, logged: Logged) {
        let Some(opened) = self.opened.get() else {
            return;
        };
        let is_first = {
            let mut waiting = self.waiting.lock();
            if waiting.len() == WAITING_MAX || !self.share.reserve(logged.memory()) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            waiting.push(logged);
            waiting.len() == 1
        };
        if is_first {
            (opened.wake)();
        }
    }

    /// Takes all that waits.
    pub fn take(&self) -> Vec<Logged> {
        let mut waiting = self.waiting.lock();
        self.share.release_all();
        mem::take(&mut *waiting)
    }

    /// Events that there was no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts a request to a service, which took so long if it was answered.
    pub fn count(&self, terms: &LatencyTerms, status: u16, service: Option<Duration>) {
        let name = (terms.account.clone(), terms.service.clone());
        let mut figures = self.figures.lock();
        figures.entry(name).or_default().count(status, service);
    }

    /// The figures by account and service.
    pub fn figures(&self) -> BTreeMap<(String, String), ServiceFigures> {
        self.figures.lock().clone()
    }

    /// Keeps a copy of the figures, for those of the last minute. To be called every
    /// [`FIGURES_EVERY`]. `is_measured` says whether a service still is; others are forgotten.
    pub fn take_snapshot(&self, is_measured: impl Fn(&str, &str) -> bool) {
        let mut figures = self.figures.lock();
        figures.retain(|(account, service), _| is_measured(account, service));
        figures.values_mut().for_each(ServiceFigures::take_snapshot);
    }
}

/// What one account has to do with latencies.
#[derive(Default)]
pub struct AccountLatency {
    /// Whether some service of it is measured.
    is_measured: AtomicBool,
    /// Its requests to measured services.
    asked: Asked,
    /// Requests from other brokers to its responders here.
    tracked: Mutex<Tracked>,
    /// Replies that one of two brokers has measured.
    halves: Mutex<Halves>,
    log: OnceLock<Arc<LatencyLog>>,
}

impl AccountLatency {
    /// Whether some service of the account is measured.
    #[inline]
    pub fn is_measured(&self) -> bool {
        self.is_measured.load(Ordering::Relaxed)
    }

    /// Where what is measured is left.
    pub(super) fn use_log(&self, log: &Arc<LatencyLog>) {
        self.log.get_or_init(|| log.clone());
    }

    pub(super) fn set_measured(&self, is_measured: bool) {
        self.is_measured.store(is_measured, Ordering::Relaxed);
    }

    /// The account's requests to measured services.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Notes a request of another broker that was delivered here, if its latency is to be measured.
    pub fn track(&self, reply: &[u8]) {
        if is_tracked(reply) {
            self.tracked.lock().note(reply);
        }
    }

    /// A client here, described by `describe`, replies to such a request.
    #[cold]
    pub(super) fn answered_here(
        &self,
        account: &Account,
        reply: &[u8],
        describe: impl FnOnce() -> String,
    ) {
        let tracked = self.tracked.lock().take(reply);
        let (Some((at, begin)), Some(log)) = (tracked, self.log.get()) else {
            return;
        };
        log.leave(Logged::ForOther {
            account: account.name.clone(),
            reply: reply.to_vec(),
            at,
            took: begin.elapsed(),
            responder: describe(),
        });
    }

    /// A reply to a measured request came from another broker, whose half may have come already.
    pub(super) fn answered_elsewhere(&self, token: u64, measured: Measured) {
        let took = measured.begin.elapsed();
        let half = self.halves.lock().reply(token, &measured, took);
        if let Some(half) = half {
            measured.end(Outcome::AnsweredElsewhere { took, half });
        }
    }

    /// Forgets what was kept long enough for another broker. Called from time to time.
    pub fn expire(&self, now: Instant) {
        self.tracked.lock().expire(now);
        self.halves.lock().expire(now);
    }

    /// Takes what another broker has measured of a reply.
    pub fn take_half(&self, token: u64, half: RemoteHalf) {
        let reply = self.halves.lock().half(token, half.clone());
        if let Some((measured, took)) = reply {
            measured.end(Outcome::AnsweredElsewhere { took, half });
        }
    }
}

/// Whether a reply subject asks the responder's broker to measure.
#[inline]
pub fn is_tracked(reply: &[u8]) -> bool {
    reply.ends_with(TRACKED_END) && reply.starts_with(super::replies::REPLY_PREFIX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::config::accounts::LatencySampling;

    fn terms(log: &Arc<LatencyLog>) -> Arc<LatencyTerms> {
        let config = ServiceLatency {
            sampling: LatencySampling::Percent(100),
            subject: "lat".into(),
        };
        Arc::new(LatencyTerms::new("A", "svc.*", &config, log))
    }

    #[test]
    fn events_wait_in_a_bounded_log() {
        let log = Arc::new(LatencyLog::default());
        let terms = terms(&log);
        assert!(terms.begin(b"", || "{}".into()).is_none(), "not open");
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = woken.clone();
        log.open("tok", move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        for _ in 0..WAITING_MAX + 10 {
            let measured = terms.begin(b"", || "{}".into()).expect("measured");
            assert_eq!(measured.reply_end(), ".tok.T");
            measured.end(Outcome::Late);
        }
        assert_eq!((log.take().len(), log.dropped()), (WAITING_MAX, 10));
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        // Long ones are fewer.
        for _ in 0..100 {
            let requestor = "x".repeat(1024 * 1024);
            let measured = terms.begin(b"", || requestor).expect("measured");
            measured.end(Outcome::Late);
        }
        assert!(log.share.bytes() <= MEASURED.limit());
        assert!((1..50).contains(&log.take().len()));
        assert_eq!(log.share.bytes(), 0);
    }

    #[test]
    fn both_halves_of_a_reply_are_put_together_whichever_comes_first() {
        let log = Arc::new(LatencyLog::default());
        log.open("tok", || ());
        let terms = terms(&log);
        let half = || RemoteHalf {
            responder: "{}".into(),
            service: Duration::from_millis(1),
        };
        let latency = AccountLatency::default();
        let begin = || *terms.begin(b"", || "{}".into()).expect("measured");
        latency.answered_elsewhere(1, begin());
        latency.take_half(2, half());
        assert!(log.take().is_empty());
        latency.take_half(1, half());
        latency.answered_elsewhere(2, begin());
        let events = log.take();
        assert_eq!(events.len(), 2);
        assert!(events.iter().all(|event| matches!(
            event,
            Logged::Event(LatencyEvent {
                outcome: Outcome::AnsweredElsewhere { .. },
                ..
            })
        )));
        latency.take_half(1, half());
        assert!(log.take().is_empty(), "only once");
    }
}
