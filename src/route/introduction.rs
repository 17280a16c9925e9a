//! How brokers introduce themselves: our CONNECT and INFO, and what we make of
//! theirs.

use std::{net::IpAddr, sync::Arc};

use memchr::memmem;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    cluster::{Cluster, ClusterName, Route},
    membership::address,
};
use crate::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION,
    config::options::{
        advertise,
        cluster::{ClusterOptions, RouteUrl},
    },
    connection::{CloseReason, Connection},
    protocol::route::{LINE_MAX, RouteConnect, RouteInfo},
    security::{
        mapping::names_user,
        permissions::{Pattern, SubjectRules},
        refusal,
    },
};

/// The protocol of servers that is spoken: routes with accounts in their lines.
const PROTO: i64 = 1;

/// Why a peer is not let in.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The reason that monitoring shows.
    pub(super) reason: CloseReason,
    /// What the peer is told; `None` closes without a word.
    pub(super) error: Option<String>,
    /// For the log.
    pub(super) detail: String,
    /// Why a login was refused, as counters name it.
    pub(super) login: Option<&'static str>,
    /// Whether a healthy cluster does so all the time: nobody is told of it.
    pub(super) is_usual: bool,
}

impl Refusal {
    pub(super) fn silent(reason: CloseReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            error: None,
            detail: detail.into(),
            login: None,
            is_usual: false,
        }
    }

    pub(super) fn told(reason: CloseReason, error: impl Into<String>) -> Self {
        let error = error.into();
        Self {
            reason,
            detail: error.clone(),
            error: Some(error),
            login: None,
            is_usual: false,
        }
    }

    /// The same with more for the log than the peer is told.
    pub(super) fn with(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// The same as what is neither told of nor counted.
    pub(super) fn usual(self) -> Self {
        Self {
            login: None,
            is_usual: true,
            ..self
        }
    }

    /// The same as a login that is refused.
    pub(super) fn of_login(self, why: &refusal::Refusal) -> Self {
        Self {
            login: Some(why.name()),
            ..self
        }
    }
}

/// Whether the certificate of the other side is the cluster user's.
fn names_cluster_user(options: &ClusterOptions, connection: &Connection) -> bool {
    let shown = connection.certificate.get();
    shown
        .zip(options.user.as_deref())
        .is_some_and(|(certificate, user)| names_user(certificate, user))
}

/// Why a connection ends whose peer said so with this text.
pub(super) fn reason_told(text: &[u8]) -> CloseReason {
    const KNOWN: [(&[u8], CloseReason); 8] = [
        (
            b"authorization violation",
            CloseReason::AuthenticationFailure,
        ),
        (
            b"authentication timeout",
            CloseReason::AuthenticationTimeout,
        ),
        // A nats-server tries one for its system account with everybody, and gives
        // it up when it learns that we have none.
        (
            b"not possible to have a dedicated route",
            CloseReason::DuplicateRoute,
        ),
        (b"cluster name", CloseReason::ClusterNameConflict),
        (b"attempted to connect to", CloseReason::IncorrectPort),
        (b"maximum control line", CloseReason::MaxControlLine),
        (b"maximum payload", CloseReason::MaxPayload),
        (b"stale connection", CloseReason::StaleConnection),
    ];
    let text = text.to_ascii_lowercase();
    let known = KNOWN
        .iter()
        .find(|(words, _)| memmem::find(&text, words).is_some());
    known.map_or(CloseReason::ParseError, |(_, reason)| *reason)
}

impl Cluster {
    /// Our INFO for a peer.
    pub(super) fn info_for(&self, connection: &Connection, gossip_mode: u8) -> RouteInfo {
        let (host, port) = self.address_for(connection);
        let name = self.name();
        let options = self.options();
        let info = self.context.info.read();
        let advertised = !options.no_advertise && !self.is_leaving();
        RouteInfo {
            server_id: self.node.server_id.clone(),
            server_name: self.node.server_name.clone(),
            version: COMPATIBLE_VERSION.into(),
            proto: PROTO,
            git_commit: GIT_COMMIT.into(),
            go: info.go.clone(),
            ip: match options.advertise {
                Some(_) => format!("nats-route://{}/", with_port(&host, port)),
                None => String::new(),
            },
            host,
            port,
            headers: info.headers,
            auth_required: options.user.is_some(),
            tls_required: self.tls().is_some(),
            tls_verify: self.tls().is_some(),
            max_payload: info.max_payload,
            cluster: name.text,
            cluster_dynamic: name.dynamic,
            connect_urls: match advertised {
                true => self.client_urls(),
                false => Vec::new(),
            },
            gossip_mode,
            max_line: LINE_MAX,
            midge: VERSION.into(),
            import: permissions_told(&options.permissions.publish),
            export: permissions_told(&options.permissions.subscribe),
            ldm: self.is_leaving(),
            ..RouteInfo::default()
        }
    }

    /// Our CONNECT for a broker that we dial.
    pub(super) fn connect_for(&self, url: &RouteUrl) -> RouteConnect {
        let name = self.name();
        RouteConnect {
            echo: true,
            user: url.user.clone(),
            pass: url.password.reveal().to_owned(),
            tls_required: self.tls().is_some(),
            headers: self.context.info.read().headers,
            name: self.node.server_id.clone(),
            cluster: name.text,
            cluster_dynamic: name.dynamic,
            ..RouteConnect::default()
        }
    }

    /// Where a peer can dial us: as advertised, else where we listen. If that
    /// is everywhere, the peer knows the address at our end of this connection.
    fn address_for(&self, connection: &Connection) -> (String, u16) {
        let own = self.node.address;
        let options = self.options();
        // It was looked at when it was read.
        if let Some(advertise) = &options.advertise
            && let Ok((host, port)) = advertise::split(advertise)
        {
            return (host.to_owned(), port.unwrap_or(own.port()));
        }
        if options.host.parse::<IpAddr>().is_err() {
            return (options.host.clone(), own.port());
        }
        let ip = match own.ip().is_unspecified() {
            true => connection.outbound().local_ip().unwrap_or(own.ip()),
            false => own.ip(),
        };
        (canonical(ip).to_string(), own.port())
    }

    /// Checks what a dialling broker says of itself before its login.
    pub(super) fn check_kind(&self, connect: &RouteConnect) -> Result<(), Refusal> {
        if !connect.lang.is_empty() {
            return Err(Refusal::told(
                CloseReason::IncorrectPort,
                "attempted to connect to route port",
            ));
        }
        if !connect.gateway.is_empty() {
            return Err(Refusal::told(
                CloseReason::IncorrectPort,
                format!(
                    "Rejecting connection from gateway \"{}\" on the Route port",
                    connect.gateway.escape_debug()
                ),
            ));
        }
        Ok(())
    }

    /// Whether user and password are those of the cluster. With `verify_and_map` the
    /// certificate is to name the user, and no password is asked for.
    pub(super) async fn may_log_in(
        &self,
        options: &ClusterOptions,
        connect: &RouteConnect,
        connection: &Connection,
    ) -> bool {
        if options.maps_certificates() {
            return names_cluster_user(options, connection);
        }
        let Some(user) = &options.user else {
            return true;
        };
        let is_user = *user == connect.user;
        if !options.password.is_hash() {
            return is_user & options.password.is(connect.pass.as_bytes());
        }
        // Comparing takes long: in turn with the others of this port, members first, and
        // not behind a crowd of clients, whose brokers would give up meanwhile.
        let source = connection.peer.ip();
        let turn = match self.member_addresses.contains(source) {
            true => self.passwords.turn_of_member(source).await,
            false => self.passwords.turn(source).await,
        };
        let Some(turn) = turn else {
            return false;
        };
        let (secret, offered) = (options.password.clone(), connect.pass.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let is_password = secret.is(offered.as_bytes());
            drop(turn);
            is_password
        });
        compared.await.unwrap_or(false) & is_user
    }

    /// Why user and password are not those of the cluster, as counted and in words.
    pub(super) fn why_not(
        &self,
        connect: &RouteConnect,
        connection: &Connection,
    ) -> (refusal::Refusal, String) {
        let options = self.options();
        if options.maps_certificates() {
            let user = options.user.as_deref().unwrap_or_default();
            let shown = connection.certificate.get();
            let subject = shown.map_or("", |certificate| &certificate.subject);
            let text = format!("the certificate {subject:?} does not name the user {user:?}");
            return (refusal::Refusal::UnknownUser, text);
        }
        let text = format!("wrong user {:?} or wrong password", connect.user);
        let why = match &options.user {
            _ if connect.user.is_empty() && connect.pass.is_empty() => {
                refusal::Refusal::NoCredentials
            }
            Some(user) if *user == connect.user => refusal::Refusal::WrongPassword,
            _ => refusal::Refusal::UnknownUser,
        };
        (why, text)
    }

    /// The name that the cluster has once there is a route to a peer that calls it
    /// `theirs`: a made-up name gives way to a configured one, of two made-up ones
    /// the smaller to the greater. Changes nothing.
    pub(super) fn agree(&self, theirs: &str, dynamic: bool) -> Result<ClusterName, Refusal> {
        let ours = self.name();
        if ours.text == theirs {
            return Ok(ours);
        }
        if ours.dynamic && !theirs.is_empty() {
            return Ok(match !dynamic || *ours.text < *theirs {
                true => ClusterName {
                    text: theirs.to_owned(),
                    dynamic,
                },
                false => ours,
            });
        }
        // A peer that made its name up takes over ours.
        if dynamic {
            return Ok(ours);
        }
        Err(Refusal::told(
            CloseReason::ClusterNameConflict,
            format!(
                "Rejecting connection, cluster name \"{}\" does not match \"{}\"",
                theirs.escape_debug(),
                ours.text
            ),
        ))
    }

    /// Checks that the INFO, which came from this address, is that of another broker
    /// with a name of its own.
    pub(super) fn check_info(&self, info: &RouteInfo, from: IpAddr) -> Result<(), Refusal> {
        if info.server_id.is_empty() || info.server_id.contains(char::is_whitespace) {
            return Err(Refusal::silent(
                CloseReason::ProtocolViolation,
                "INFO without a server id",
            ));
        }
        if info.server_id == self.node.server_id {
            return Err(Refusal::silent(
                CloseReason::DuplicateRoute,
                "a route to ourselves",
            ));
        }
        let is_namesake = |known: &Arc<Route>| known.has_namesake(info, from);
        if info.server_name == self.node.server_name || self.routes().iter().any(is_namesake) {
            return Err(duplicate_name(&info.server_name));
        }
        if !info.route_account.is_empty() {
            return Err(Refusal::told(
                CloseReason::DuplicateRoute,
                format!(
                    "Not possible to have a dedicated route for account \"{}\" between those servers",
                    info.route_account.escape_debug()
                ),
            ));
        }
        Ok(())
    }
}

impl Route {
    /// Whether another broker than the one behind this route gives itself the name that
    /// this one has given itself. One at the same address was started anew: this route
    /// has not ended yet.
    fn has_namesake(&self, other: &RouteInfo, from: IpAddr) -> bool {
        let info = self.info.lock();
        info.configured_name()
            .is_some_and(|name| other.configured_name() == Some(name))
            && self.remote_id != other.server_id
            && self.address != address(other, from)
    }
}

/// Another broker has the name of this one, or of one that there is a route to.
fn duplicate_name(name: &str) -> Refusal {
    let name = name.escape_debug();
    Refusal {
        login: None,
        is_usual: false,
        reason: CloseReason::DuplicateServerName,
        error: Some(format!("Remote server has a duplicate name: \"{name}\"")),
        detail: format!(
            "Remote server has a duplicate name: \"{name}\"; give every broker of the cluster a \
             server_name of its own"
        ),
    }
}

/// `import` or `export` of our INFO; a list without an entry is left out.
pub fn permissions_told(rules: &SubjectRules) -> Option<Box<RawValue>> {
    if *rules == SubjectRules::default() {
        return None;
    }
    let mut block = serde_json::Map::new();
    let allow = rules.allow.as_deref().unwrap_or_default();
    for (name, patterns) in [("allow", allow), ("deny", &rules.deny)] {
        if !patterns.is_empty() {
            let texts = patterns.iter().map(|it: &Pattern| it.subject.clone());
            block.insert(name.to_owned(), texts.collect());
        }
    }
    // A block of texts always serialises.
    to_raw_value(&block).ok()
}

/// `host:port`, with brackets where they are needed.
pub(super) fn with_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => ip.to_canonical(),
        ip => ip,
    }
}
