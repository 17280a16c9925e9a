//! The block `cluster`: how this broker meets the others of its cluster.
//!
//! The table of its keys is in [`keys`], their readers in [`read`](mod@read), addresses of
//! other brokers in [`routes`].

mod keys;
mod read;
mod routes;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use monitor_client::text::without_login;

use super::srv::SrvUrl;
use crate::security::{
    options::TlsOptions,
    permissions::{Permissions, Rules, TemplateValues},
    secret::Secret,
};
pub(in crate::config) use keys::CLUSTER;
pub(super) use keys::listen_port;
pub(super) use read::{plan, read};
pub use routes::RouteUrl;
pub(in crate::config) use routes::{percent_decoded, set_listen_url, set_routes};

/// The longest time between two pings of a route.
pub const PING_INTERVAL_MAX: Duration = Duration::from_secs(30);

/// How long a dialling broker may take to log in, without TLS.
const AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The port for routes of a broker that is found by DNS, if none is written.
const DEFAULT_ROUTE_PORT: u16 = 4223;

/// What it may take more than the handshake, with TLS.
pub(super) const AUTH_TIMEOUT_BEYOND_TLS: Duration = Duration::from_secs(1);

/// The other brokers and the way to them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterOptions {
    /// Name of the cluster; `None` generates one, which gives way to the name of an
    /// existing cluster.
    pub name: Option<String>,
    /// Host the listener for routes binds to.
    pub host: String,
    /// Its port, 0 being any free one; `None`: no cluster.
    pub port: Option<u16>,
    /// User that dialling brokers must name; `None` asks for nothing.
    pub user: Option<String>,
    /// The password that goes with it.
    pub password: Secret,
    /// How long a dialling broker may take to log in, if that is set.
    pub auth_timeout: Option<Duration>,
    /// TLS on routes; `None` for none.
    pub tls: Option<TlsOptions>,
    /// What interest goes out to the others (import, as publishing) and is taken
    /// from them (export, as subscribing).
    pub permissions: Rules,
    /// Brokers that are dialled until they answer.
    pub routes: Vec<RouteUrl>,
    /// SRV records of `routes` that list further ones.
    pub srv_routes: Vec<SrvUrl>,
    /// The domain whose record of brokers lists further ones.
    pub srv_domain: Option<String>,
    /// The name server that is asked for these records; `None` for those of the system.
    pub nameserver: Option<SocketAddr>,
    /// `HOST` or `HOST:PORT` announced to other brokers instead of the listener's own.
    pub advertise: Option<String>,
    /// Whether the addresses of other brokers are withheld from clients, and ours from
    /// theirs.
    pub no_advertise: bool,
    /// How often a broker known only from other members is dialled again.
    pub connect_retries: u32,
    /// Whether the time between two tries grows.
    pub connect_backoff: bool,
    /// Time between the pings of a route; `None` is that of clients. At most 30 s.
    pub ping_interval: Option<Duration>,
    /// Unanswered pings before a route is stale; `None` is that of clients.
    pub ping_max: Option<u32>,
    /// How long a route may take nothing; `None` is that of clients.
    pub write_deadline: Option<Duration>,
    /// Which members of a queue group serve what is published here.
    pub queue_policy: QueuePolicy,
}

/// Which members of a queue group serve what is published at this broker, if there
/// are some here and some at other brokers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum QueuePolicy {
    /// All alike, wherever they are.
    #[default]
    Weighted,
    /// The local members, as long as one of them accepts messages.
    Local,
}

impl QueuePolicy {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "weighted" => Ok(Self::Weighted),
            "local" => Ok(Self::Local),
            _ => Err(format!(
                "\"queue_policy\" must be \"weighted\" or \"local\", not {:?}",
                without_login(text)
            )),
        }
    }
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: None,
            host: super::ANY_HOST.into(),
            port: None,
            user: None,
            password: Secret::default(),
            auth_timeout: None,
            tls: None,
            permissions: Rules::default(),
            routes: Vec::new(),
            srv_routes: Vec::new(),
            srv_domain: None,
            nameserver: None,
            advertise: None,
            no_advertise: false,
            connect_retries: 0,
            connect_backoff: false,
            ping_interval: None,
            ping_max: None,
            write_deadline: None,
            queue_policy: QueuePolicy::default(),
        }
    }
}

impl ClusterOptions {
    /// How long a dialling broker may take to log in.
    pub fn auth_timeout(&self) -> Duration {
        let tls = self.tls.as_ref();
        let usual = tls.map(|tls| tls.timeout + AUTH_TIMEOUT_BEYOND_TLS);
        self.auth_timeout.or(usual).unwrap_or(AUTH_TIMEOUT)
    }

    /// Whether a dialling broker is let in by the user that its certificate names,
    /// without a password: `verify_and_map`.
    pub fn maps_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.map)
    }

    /// The password that is sent to brokers that the configuration does not name. Of a
    /// hash only the configured routes contain the plain password.
    pub fn password_for_others(&self) -> Secret {
        if !self.password.is_hash() {
            return self.password.clone();
        }
        let routes = self.routes.iter().map(|it| (&it.user, &it.password));
        let records = self.srv_routes.iter().map(|it| (&it.user, &it.password));
        let known = routes
            .chain(records)
            .find(|(user, _)| Some(*user) == self.user.as_ref());
        known.map_or_else(Secret::default, |(_, password)| password.clone())
    }

    /// The SRV records that list members, each once, with the name server to ask.
    pub fn records(&self) -> Vec<SrvUrl> {
        let of_domain = self.srv_domain.as_deref().map(SrvUrl::of_peers);
        // It was checked when it was read.
        let of_domain = of_domain.and_then(Result::ok);
        let mut records: Vec<SrvUrl> = Vec::new();
        for url in self.srv_routes.iter().cloned().chain(of_domain) {
            if !records
                .iter()
                .any(|known| known.record.name() == url.record.name())
            {
                let record = url.record.at(self.nameserver);
                records.push(SrvUrl { record, ..url });
            }
        }
        records
    }

    /// A broker that a record of `url` lists, with the login for it: the one of the record, or
    /// the cluster's own.
    pub fn listed(&self, url: &SrvUrl, host: &str, port: u16) -> RouteUrl {
        let (user, password) = match (&*url.user, &self.user) {
            ("", Some(user)) => (user.clone(), self.password_for_others()),
            _ => (url.user.clone(), url.password.clone()),
        };
        RouteUrl {
            host: host.to_owned(),
            port,
            user,
            password,
        }
    }

    /// A broker that is to be found by DNS needs a port for routes.
    pub(in crate::config) fn settle(&mut self) {
        if self.srv_domain.is_some() {
            self.port.get_or_insert(DEFAULT_ROUTE_PORT);
        }
    }

    /// Whether brokers that the configuration does not name cannot be logged in to, because
    /// the password is a hash and its plain text is not configured.
    pub fn lacks_plain_password(&self) -> bool {
        self.user.is_some()
            && self.password.is_hash()
            && !self.maps_certificates()
            && self.password_for_others().is_empty()
    }

    /// What interest goes over routes; `None` is all.
    pub fn permissions(&self) -> Option<Arc<Permissions>> {
        if self.permissions == Rules::default() {
            return None;
        }
        let nobody = TemplateValues {
            user: "",
            certname: "",
        };
        // Without templates it cannot fail; templates are refused when it is read.
        self.permissions.for_login(nobody).ok().map(Arc::new)
    }

    /// TLS on routes, with the hosts that the routes name.
    pub fn tls(&self) -> Option<TlsOptions> {
        let mut tls = self.tls.clone()?;
        tls.known_hosts = self.routes.iter().map(|url| url.host.clone()).collect();
        Some(tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_policies_by_name() {
        let parse = |text| QueuePolicy::parse(text);
        assert_eq!(parse("weighted"), Ok(QueuePolicy::Weighted));
        assert_eq!(parse("local"), Ok(QueuePolicy::Local));
        assert!(parse("Local").is_err_and(|error| error.contains("Local")));
    }
}
