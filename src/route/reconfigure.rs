//! Other settings for a running cluster: routes that are no longer wanted end,
//! new ones are dialled, the others are told.
//!
//! `server::reload` calls [`Cluster::reconfigure`]. As nats-server has it, a peer
//! that logged in with what counts no longer is cut; unlike there, routes made
//! without TLS do not outlive the moment that TLS is switched on.

use std::sync::Arc;

use tracing::info;

use super::{
    client_urls,
    cluster::{Cluster, Origin, Route},
};
use crate::{
    config::options::cluster::ClusterOptions,
    connection::{CloseReason, tls_listener::TlsListener},
};

impl Cluster {
    /// Puts other settings in force. Name and listening address must be the same
    /// as before. Limits that clients share must be in force already, and what
    /// [`Cluster::limit_interest`] does.
    pub fn reconfigure(
        &self,
        options: ClusterOptions,
        tls: Option<Arc<TlsListener>>,
        client_urls: Vec<String>,
    ) {
        let has_tls = tls.is_some();
        let (before, had_tls) = self.replace_settings(options, tls, client_urls);
        let now = self.options();
        for route in self.routes() {
            if let Some((reason, why)) = ends_by(&route, &before, &now, has_tls != had_tls) {
                end(&route, reason, why);
            }
        }
        if before.routes != now.routes {
            self.membership.forget_unnamed(&now.routes);
        }
        self.attach_accounts();
        for route in self.routes() {
            route.connection.tell_changed();
        }
        self.reconfigured.notify_one();
        client_urls::refresh(self);
        self.tell_routes();
    }

    /// Tells standing routes what accounts want that are new, and takes what
    /// the peers want in those.
    fn attach_accounts(&self) {
        let accounts = self.broker.accounts.all();
        for route in self.routes() {
            for account in &accounts {
                let interest = &account.interest;
                interest.attach(&route.connection, &account.sublist);
            }
            route.interest.settle(&self.broker.accounts);
        }
    }

    /// Tells a peer once more what is wanted here.
    pub(super) fn tell_interest_again(&self, route: &Route) {
        for account in self.broker.accounts.all() {
            account.interest.announce_again(&route.connection);
        }
    }
}

/// Why a route that came to be by the settings `before` ends by those of now, if it
/// does.
pub(super) fn ends_by(
    route: &Route,
    before: &ClusterOptions,
    now: &ClusterOptions,
    tls_switched: bool,
) -> Option<(CloseReason, &'static str)> {
    let login = |options: &ClusterOptions| {
        let password = options.password.clone();
        (options.user.clone(), password, options.maps_certificates())
    };
    let other_login = || login(before) != login(now);
    if tls_switched {
        Some((CloseReason::RouteRemoved, "TLS was switched on or off"))
    } else if route.origin == Origin::Accepted && other_login() {
        let reason = CloseReason::AuthenticationFailure;
        Some((reason, "user or password changed"))
    } else if was_removed(route, now) {
        let reason = CloseReason::RouteRemoved;
        Some((reason, "it is no longer in the configuration"))
    } else {
        None
    }
}

fn was_removed(route: &Route, now: &ClusterOptions) -> bool {
    let configured_as = route.configured_as.lock();
    let is_wanted = |address: &String| now.routes.iter().any(|url| url.to_string() == *address);
    configured_as
        .as_ref()
        .is_some_and(|address| !is_wanted(address))
}

fn end(route: &Route, reason: CloseReason, why: &str) {
    let prefix = route.connection.log_prefix();
    info!("{prefix} - Route to {} ends: {why}", route.remote_name);
    route.connection.close(reason);
}
