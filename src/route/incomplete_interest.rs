//! Renews routes whose peer's interest is incomplete.
//!
//! Some interest of a peer may have been dropped because a limit was reached. The protocol cannot
//! request it again: a peer announces all of its interest only when a route is established. So the
//! route is closed as soon as there is memory for it. If that happens repeatedly,
//! [`super::failing`] makes the pauses longer.

use super::cluster::Cluster;
use crate::{connection::CloseReason, log};

impl Cluster {
    /// Closes the routes to peers with incomplete interest, once there is memory for it. Called
    /// from time to time.
    pub fn renew_incomplete_routes(&self) {
        for route in self.routes() {
            let connection = &route.connection;
            if route.interest.must_be_renewed() && connection.close(CloseReason::InterestForgotten)
            {
                log::about(connection).warn(format_args!(
                    "Some interest of the peer was not kept for lack of memory, which there is \
                     now: the route is closed and made again"
                ));
            }
        }
    }
}
