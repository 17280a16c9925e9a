//! Applies other settings to a running cluster: closes routes that are not wanted any more, dials
//! new ones, and informs the others.
//!
//! `server::reload` calls [`Cluster::reconfigure`]. As in nats-server, a peer whose login is no
//! longer valid is disconnected; in addition, routes without TLS are closed when TLS is switched
//! on.

use std::sync::Arc;

use super::{
    client_urls::{self, ClientUrls},
    cluster::{Cluster, Origin, Route},
};
use crate::{
    config::options::cluster::{ClusterOptions, RouteUrl},
    connection::{CloseReason, tls_listener::TlsListener},
    log,
    telemetry::event::EventKind,
};

impl Cluster {
    /// Applies other settings. Name and listening address must not change. The limits that clients
    /// share, and [`Cluster::limit_interest`], must have been applied before.
    pub fn reconfigure(
        &self,
        options: ClusterOptions,
        tls: Option<Arc<TlsListener>>,
        client_urls: ClientUrls,
    ) {
        let has_tls = tls.is_some();
        let wanted_before = self.wanted_routes();
        let (before, had_tls) = self.replace_settings(options, tls, client_urls);
        let (now, wanted) = (self.options(), self.wanted_routes());
        let settings_before = (&*before, &*wanted_before);
        let settings = (&*now, &*wanted);
        for route in self.routes() {
            let switched = has_tls != had_tls;
            if let Some((reason, why)) = end_reason(&route, settings_before, settings, switched) {
                end(&route, reason, why);
            }
        }
        if wanted_before != wanted {
            self.membership.forget_unnamed(&wanted);
        }
        if before.records() != now.records() {
            self.forget_removed_records();
            self.ask_again_for_all();
        }
        self.know_found_hosts();
        if before.nameserver != now.nameserver {
            self.ask_again_for_all();
        }
        self.attach_accounts();
        for route in self.routes() {
            route.connection.notify_changed();
        }
        self.reconfigured.notify_one();
        client_urls::refresh(self);
        self.send_info();
    }

    /// Announces the interest of new accounts to active routes, and attaches the peers' interest in
    /// them.
    fn attach_accounts(&self) {
        let accounts = self.broker.accounts.all();
        for route in self.routes() {
            for account in &accounts {
                let interest = &account.interest;
                interest.attach(&route.connection, &account.sublist);
            }
            route.interest.reattach(&self.broker.accounts);
        }
    }

    /// Announces all interest to a peer again.
    pub(super) fn resend_interest(&self, route: &Route) {
        for account in self.broker.accounts.all() {
            account.interest.announce_again(&route.connection);
        }
    }
}

/// Why a route that was established by the settings `before` must end with the present ones, if so.
/// Both come with the brokers that are dialled by them.
pub(super) fn end_reason(
    route: &Route,
    (before, wanted_before): (&ClusterOptions, &[RouteUrl]),
    (now, wanted): (&ClusterOptions, &[RouteUrl]),
    tls_switched: bool,
) -> Option<(CloseReason, &'static str)> {
    let login = |options: &ClusterOptions| {
        let password = options.password.clone();
        (options.user.clone(), password, options.maps_certificates())
    };
    let other_login = || login(before) != login(now);
    if route.origin == Origin::Sibling {
        None
    } else if tls_switched {
        Some((CloseReason::RouteRemoved, "TLS was switched on or off"))
    } else if route.origin == Origin::Accepted && other_login() {
        let reason = CloseReason::AuthenticationFailure;
        Some((reason, "user or password changed"))
    } else if is_named(route, wanted_before) && !is_named(route, wanted) {
        let reason = CloseReason::RouteRemoved;
        Some((reason, "it is no longer in the configuration"))
    } else {
        None
    }
}

/// Whether the broker is dialled under the address that its route has been given.
pub(super) fn is_named(route: &Route, wanted: &[RouteUrl]) -> bool {
    let configured_as = route.configured_as.lock();
    let address = configured_as.as_ref();
    address.is_some_and(|address| wanted.iter().any(|url| url.to_string() == *address))
}

fn end(route: &Route, reason: CloseReason, why: &str) {
    log::about(&route.connection)
        .code(EventKind::Route.name())
        .info(format_args!("Route to {} ends: {why}", route.remote_name));
    route.connection.close(reason);
}
