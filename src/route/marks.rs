//! Marks behind the interest that one process of a broker has announced to the other one, in an
//! upgrade (`server::upgrade`): whoever has seen a mark knows all interest before it. So the two
//! know when each of them has an exact view of the other, also without a system account, and however
//! much interest there is.
//!
//! A mark is an INFO with a number, which goes the same way as the lines of interest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Origin, Route};
use crate::protocol::route::RouteInfo;

/// How often it is looked whether there is nothing left to announce, and whether a mark has come.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The marks of one route.
#[derive(Default)]
pub(super) struct Marks {
    sent: AtomicU64,
    seen: AtomicU64,
}

impl Marks {
    /// A mark of the peer has come.
    pub(super) fn see(&self, mark: u64) {
        self.seen.fetch_max(mark, Ordering::AcqRel);
    }
}

impl Cluster {
    /// Sends a mark to the other process once all local interest has been put into the queue for it;
    /// returns its number. `None` if that takes longer than `timeout`, or if there is no route.
    pub async fn mark_interest(&self, timeout: Duration) -> Option<u64> {
        let deadline = Instant::now() + timeout;
        loop {
            let route = self.sibling()?;
            let accounts = self.broker.accounts.all();
            let mut interests = accounts.iter().map(|account| &account.interest);
            if interests.all(|interest| interest.is_announced_to(&route.connection)) {
                let mark = route.marks.sent.fetch_add(1, Ordering::AcqRel) + 1;
                let info = RouteInfo {
                    server_id: self.node.server_id.clone(),
                    mark,
                    ..RouteInfo::default()
                };
                route.connection.send_now(&info.line());
                return Some(mark);
            }
            if Instant::now() >= deadline {
                return None;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until this mark of the other process has come; `false` if it does not within `timeout`.
    pub async fn see_mark(&self, mark: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self
                .sibling()
                .map(|it| it.marks.seen.load(Ordering::Acquire));
            if seen.is_some_and(|seen| seen >= mark) {
                return true;
            }
            if seen.is_none() || Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The route to the other process of this broker.
    fn sibling(&self) -> Option<Arc<Route>> {
        let mut routes = self.routes().into_iter();
        routes.find(|route| route.origin == Origin::Sibling)
    }
}
