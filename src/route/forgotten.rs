//! Routes whose peer is to tell again what it wants.
//!
//! Of what a peer wants something may have found no room here. The protocol has
//! no question for it: the peer tells everything when a route is made, so the
//! route is ended as soon as there is room. That one that ends so again and again
//! is made with growing pauses is up to [`super::failing`].

use tracing::warn;

use super::cluster::Cluster;
use crate::connection::CloseReason;

impl Cluster {
    /// Ends the routes to peers of whose interest something was not kept, once
    /// there is room for it. To be called now and then.
    pub fn have_forgotten_told_anew(&self) {
        for route in self.routes() {
            let connection = &route.connection;
            if route.interest.is_to_be_told_anew()
                && connection.close(CloseReason::InterestForgotten)
            {
                warn!(
                    "{} - Some interest of the peer was not kept for lack of memory, which there \
                     is now: the route is closed and made again",
                    connection.log_prefix()
                );
            }
        }
    }
}
