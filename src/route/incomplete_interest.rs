//! Renews routes whose peer's interest is incomplete.
//!
//! Some interest of a peer may have been dropped because a limit was reached. The protocol cannot
//! request it again: a peer announces all of its interest only when a route is established. So the
//! route is closed as soon as there is memory for it. If that happens repeatedly,
//! [`super::failing`] makes the pauses longer.

use tracing::warn;

use super::{cluster::Cluster, log_prefix};
use crate::connection::CloseReason;

impl Cluster {
    /// Closes the routes to peers with incomplete interest, once there is memory for it. Called
    /// from time to time.
    pub fn renew_incomplete_routes(&self) {
        for route in self.routes() {
            let connection = &route.connection;
            if route.interest.must_be_renewed() && connection.close(CloseReason::InterestForgotten)
            {
                warn!(
                    "{} - Some of what the peer wants was not kept, and there is room for it now: \
                     the route is made anew",
                    log_prefix(connection)
                );
            }
        }
    }
}
