//! Brokers that were only heard of: dialled a few times, and for as long as there is
//! news of them.
//!
//! What is said of a broker is kept by its address, and newer news takes the place
//! of older. User and password are no part of it: they are those of the settings at
//! each try, so that a route is made again when the cluster gets another password,
//! in whatever order its members learn of that.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    Ended,
    cluster::{Cluster, Origin},
    dial::{Failures, dial, jitter, pause},
};
use crate::{
    config::options::cluster::RouteUrl, connection::CloseReason,
    telemetry::log_throttle::LogThrottle,
};

/// How often a broker is dialled after its route was lost: a short cut of the network
/// must not tear the mesh for good.
const RETRIES_AFTER_LOSS: u32 = 30;

/// Brokers that are dialled, or have a route for it.
const HEARD_OF_MAX: usize = 512;

/// What is to be known of a login that is refused because of it.
const HASH_ALONE: &str = "; the cluster's password is a hash and no route of the configuration has \
                          the plain one, so none could be sent to a broker that only other members \
                          named";

/// What was said of a broker, at last.
pub(super) struct News {
    /// Where it takes routes.
    pub(super) url: RouteUrl,
    /// Whether it asks for user and password.
    pub(super) asks_for_login: bool,
    /// How news of the route to it spread.
    pub(super) gossip_mode: u8,
}

/// The brokers by their addresses. Each has a task.
#[derive(Default)]
pub(super) struct HeardOf {
    candidates: Mutex<BTreeMap<String, Candidate>>,
    /// Of failures to dial them: others say who they are.
    throttle: LogThrottle,
}

struct Candidate {
    news: News,
    /// Whether that came since the last try.
    is_fresh: bool,
    came: Arc<Notify>,
}

/// How a broker is dialled now.
struct Try {
    url: RouteUrl,
    gossip_mode: u8,
    /// Why a login that is refused may be no wonder.
    remark: &'static str,
}

/// Dials a broker that somebody told of; if that is being done, it is done by the
/// newer news from now on.
pub(super) fn dial_heard_of(cluster: &Arc<Cluster>, news: News) {
    let address = news.url.to_string();
    let came = {
        let mut candidates = cluster.heard_of.candidates.lock();
        if let Some(known) = candidates.get_mut(&address) {
            known.news = news;
            known.is_fresh = true;
            known.came.notify_one();
            return;
        }
        if candidates.len() >= HEARD_OF_MAX {
            debug!(
                "A peer named {address}, which is not dialled: too many brokers are being \
                    dialled already"
            );
            return;
        }
        let came = Arc::new(Notify::new());
        let candidate = Candidate {
            news,
            is_fresh: true,
            came: came.clone(),
        };
        candidates.insert(address.clone(), candidate);
        came
    };
    tokio::spawn(keep_trying(cluster.clone(), address, came));
}

/// Tries to get a route to a broker until there is no news of it that was not tried.
async fn keep_trying(cluster: Arc<Cluster>, address: String, came: Arc<Notify>) {
    let mut failures = Failures::default();
    let mut tries_left = cluster.options().connect_retries;
    while let Some(next) = cluster.next_try(&address) {
        let ended = dial(&cluster, &next.url, Origin::HeardOf, next.gossip_mode).await;
        let goes_on = match ended {
            Ended::Lost {
                reason: CloseReason::RouteRemoved,
                ..
            } => return cluster.heard_of.forget(&address),
            Ended::Lost { pause, .. } => {
                failures = Failures::default();
                tries_left = tries_left.max(RETRIES_AFTER_LOSS);
                sleep(pause + jitter()).await;
                continue;
            }
            Ended::Duplicate(_) | Ended::Ourselves => false,
            Ended::Failed(reason, why) => {
                let remark = match reason {
                    Some(CloseReason::AuthenticationFailure) => next.remark,
                    _ => "",
                };
                let (why, throttle) = (format!("{why}{remark}"), &cluster.heard_of.throttle);
                failures.add(&cluster, &next.url, &why, Some(throttle));
                let had_tries = tries_left > 0;
                tries_left = tries_left.saturating_sub(1);
                had_tries
            }
        };
        let longest = match goes_on {
            true => pause(cluster.options().connect_backoff, failures.count),
            // It keeps its place for a moment, so that a peer that invents brokers has no
            // more of them dialled than there are places each second.
            false => Duration::ZERO,
        };
        rest(longest, &came).await;
        if !goes_on && cluster.gives_up(&address) {
            return;
        }
    }
}

/// Waits for so long, or until there is news, but not less than without any failure.
async fn rest(longest: Duration, came: &Notify) {
    let start = Instant::now();
    sleep(pause(false, 0)).await;
    // Either is well.
    let _ = timeout(longest.saturating_sub(start.elapsed()), came.notified()).await;
}

impl HeardOf {
    fn forget(&self, address: &str) {
        self.candidates.lock().remove(address);
    }
}

impl Cluster {
    /// How the broker at `address` is dialled by the settings and the news of now;
    /// `None` if it is not.
    fn next_try(&self, address: &str) -> Option<Try> {
        let mut candidates = self.heard_of.candidates.lock();
        if self.is_stopping() {
            candidates.remove(address);
            return None;
        }
        let candidate = candidates.get_mut(address)?;
        candidate.is_fresh = false;
        let (mut url, gossip_mode) = (candidate.news.url.clone(), candidate.news.gossip_mode);
        let mut remark = "";
        if candidate.news.asks_for_login {
            let options = self.options();
            if let Some(user) = &options.user {
                url.user.clone_from(user);
                url.password = options.password_for_others();
            }
            if options.lacks_plain_password() {
                remark = HASH_ALONE;
            }
        }
        Some(Try {
            url,
            gossip_mode,
            remark,
        })
    }

    /// Forgets the broker at `address`, unless there is news of it that was not tried.
    fn gives_up(&self, address: &str) -> bool {
        let mut candidates = self.heard_of.candidates.lock();
        let is_fresh = candidates.get(address).is_some_and(|it| it.is_fresh);
        if !is_fresh {
            candidates.remove(address);
        }
        !is_fresh
    }
}
