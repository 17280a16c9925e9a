//! Dials brokers that peers announced (gossip): a few times for each announcement.
//!
//! Announcements are stored by address; a newer one replaces an older one. User and password are
//! not stored: each attempt uses those of the present settings, so that a route can be established
//! again when the cluster's password changes, in whatever order its members are reloaded.

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
    dial::{dial, jitter, note_failure, pause},
};
use crate::{
    broker::dialling::Failures, config::options::cluster::RouteUrl, connection::CloseReason,
    telemetry::log_throttle::LogThrottle,
};

/// Number of attempts after a route was lost: a short interruption of the network must not split
/// the cluster for good.
const RETRIES_AFTER_LOSS: u32 = 30;

/// Limit of brokers that are dialled, or have a route because of it.
const DISCOVERED_MAX: usize = 512;

/// Added to the error if a refused login has this cause.
const ONLY_HASH_REMARK: &str = "; the cluster's password is a hash and no route of the configuration has \
                          the plain one, so none could be sent to a broker that only other members \
                          named";

/// The latest announcement of a broker.
pub(super) struct Announcement {
    /// The address of its route listener.
    pub(super) url: RouteUrl,
    /// Whether it requires user and password.
    pub(super) asks_for_login: bool,
    /// How the route to it is announced further.
    pub(super) gossip_mode: u8,
}

/// The brokers by address. Each has a task.
#[derive(Default)]
pub(super) struct Discovered {
    candidates: Mutex<BTreeMap<String, Candidate>>,
    /// Limits log lines about failures, since peers choose the addresses.
    throttle: LogThrottle,
}

struct Candidate {
    announcement: Announcement,
    /// Whether it was announced since the last attempt.
    is_new: bool,
    announced: Arc<Notify>,
}

/// The parameters of an attempt.
struct Attempt {
    url: RouteUrl,
    gossip_mode: u8,
    /// Explains why the login may be refused.
    remark: &'static str,
}

/// Dials a broker that a peer announced; if it is being dialled already, that continues with the
/// new announcement.
pub(super) fn dial_discovered(cluster: &Arc<Cluster>, announcement: Announcement) {
    let address = announcement.url.to_string();
    let announced = {
        let mut candidates = cluster.discovered.candidates.lock();
        if let Some(known) = candidates.get_mut(&address) {
            known.announcement = announcement;
            known.is_new = true;
            known.announced.notify_one();
            return;
        }
        if candidates.len() >= DISCOVERED_MAX {
            debug!(
                "A peer named {address}, which is not dialled: too many brokers are being \
                    dialled already"
            );
            return;
        }
        let announced = Arc::new(Notify::new());
        let candidate = Candidate {
            announcement,
            is_new: true,
            announced: announced.clone(),
        };
        candidates.insert(address.clone(), candidate);
        announced
    };
    tokio::spawn(keep_trying(cluster.clone(), address, announced));
}

/// Tries to establish a route to a broker until every announcement was tried.
async fn keep_trying(cluster: Arc<Cluster>, address: String, announced: Arc<Notify>) {
    let mut failures = Failures::default();
    let mut tries_left = cluster.options().connect_retries;
    while let Some(next) = cluster.next_attempt(&address) {
        let ended = dial(&cluster, &next.url, Origin::Discovered, next.gossip_mode).await;
        let is_retried = match ended {
            Ended::Lost {
                reason: CloseReason::RouteRemoved,
                ..
            } => return cluster.discovered.forget(&address),
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
                let (why, throttle) = (format!("{why}{remark}"), &cluster.discovered.throttle);
                note_failure(&mut failures, &cluster, &next.url, &why, Some(throttle));
                let had_tries = tries_left > 0;
                tries_left = tries_left.saturating_sub(1);
                had_tries
            }
        };
        let longest = match is_retried {
            true => pause(cluster.options().connect_backoff, failures.count),
            // It keeps its entry for a moment: this limits how many invented brokers a peer can
            // have dialled per second.
            false => Duration::ZERO,
        };
        wait_for_announcement(longest, &announced).await;
        if !is_retried && cluster.remove_if_tried(&address) {
            return;
        }
    }
}

/// Waits this long, or until there is an announcement, but at least the shortest pause.
async fn wait_for_announcement(longest: Duration, announced: &Notify) {
    let start = Instant::now();
    sleep(pause(false, 0)).await;
    // Both outcomes are fine.
    let _ = timeout(
        longest.saturating_sub(start.elapsed()),
        announced.notified(),
    )
    .await;
}

impl Discovered {
    fn forget(&self, address: &str) {
        self.candidates.lock().remove(address);
    }
}

impl Cluster {
    /// The parameters for dialling `address` according to the present settings and the latest
    /// announcement; `None` if it is not to be dialled.
    fn next_attempt(&self, address: &str) -> Option<Attempt> {
        let mut candidates = self.discovered.candidates.lock();
        if self.is_stopping() {
            candidates.remove(address);
            return None;
        }
        let candidate = candidates.get_mut(address)?;
        candidate.is_new = false;
        let (mut url, gossip_mode) = (
            candidate.announcement.url.clone(),
            candidate.announcement.gossip_mode,
        );
        let mut remark = "";
        if candidate.announcement.asks_for_login {
            let options = self.options();
            if let Some(user) = &options.user {
                url.user.clone_from(user);
                url.password = options.password_for_others();
            }
            if options.lacks_plain_password() {
                remark = ONLY_HASH_REMARK;
            }
        }
        Some(Attempt {
            url,
            gossip_mode,
            remark,
        })
    }

    /// Removes the broker at `address`, unless there is an announcement that was not tried.
    fn remove_if_tried(&self, address: &str) -> bool {
        let mut candidates = self.discovered.candidates.lock();
        let is_new = candidates.get(address).is_some_and(|it| it.is_new);
        if !is_new {
            candidates.remove(address);
        }
        !is_new
    }
}
