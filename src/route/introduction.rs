//! The content of the handshake: our CONNECT and INFO, and the checks of the peer's.

use std::{net::IpAddr, sync::Arc};

use memchr::memmem;

use super::{
    client_urls::ClientUrls,
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
    log,
    peer::End,
    protocol::route::{LINE_MAX, RouteConnect, RouteInfo, TRACING_PROTO},
    security::{mapping::names_user, refusal},
    telemetry::threads,
};

/// The version of the protocol between servers: messages are traced.
const PROTO: i64 = TRACING_PROTO;

/// Whether the certificate of the other side is the cluster user's.
fn names_cluster_user(options: &ClusterOptions, connection: &Connection) -> bool {
    let shown = connection.certificate.get();
    shown
        .zip(options.user.as_deref())
        .is_some_and(|(certificate, user)| names_user(certificate, user))
}

/// The reason for a connection whose peer ended it with this error.
pub(super) fn reason_of_error(text: &[u8]) -> CloseReason {
    const KNOWN: [(&[u8], CloseReason); 8] = [
        (
            b"authorization violation",
            CloseReason::AuthenticationFailure,
        ),
        (
            b"authentication timeout",
            CloseReason::AuthenticationTimeout,
        ),
        // A nats-server tries a dedicated route for its system account with every peer, and gives
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
        let info = self.broker.info.read();
        let mut urls = match self.is_leaving() {
            true => ClientUrls::default(),
            false => self.client_urls(),
        };
        if options.no_advertise {
            (urls.plain, urls.websocket) = Default::default();
        }
        // A nats-server looks at the address of a peer that names exactly one.
        urls.leafnodes.truncate(1);
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
            connect_urls: urls.plain,
            ws_connect_urls: urls.websocket,
            leafnode_urls: urls.leafnodes,
            gossip_mode,
            max_line: LINE_MAX,
            queues_only: true,
            lnoc: true,
            lnocu: true,
            called: match self.node.server_name == self.node.server_id {
                true => self.node.called.clone(),
                false => String::new(),
            },
            midge: VERSION.into(),
            import: options.permissions.publish.json(),
            export: options.permissions.subscribe.json(),
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
            headers: self.broker.info.read().headers,
            name: self.node.server_id.clone(),
            cluster: name.text,
            cluster_dynamic: name.dynamic,
            ..RouteConnect::default()
        }
    }

    /// The address at which a peer can dial us: the advertised one, otherwise the listener's. For a
    /// wildcard address, our address on this connection.
    fn address_for(&self, connection: &Connection) -> (String, u16) {
        let own = self.node.address;
        let options = self.options();
        // The value was validated when the configuration was read.
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

    /// Checks the CONNECT of a dialling peer before its login.
    pub(super) fn check_kind(&self, connect: &RouteConnect) -> Result<(), End> {
        if !connect.lang.is_empty() {
            return Err(End::with_error(
                CloseReason::IncorrectPort,
                "attempted to connect to route port",
            ));
        }
        if !connect.gateway.is_empty() {
            return Err(End::with_error(
                CloseReason::IncorrectPort,
                format!(
                    "Rejecting connection from gateway \"{}\" on the Route port",
                    connect.gateway.escape_debug()
                ),
            ));
        }
        Ok(())
    }

    /// Whether user and password are those of the cluster. With `verify_and_map` the certificate
    /// must name the user, and no password is needed.
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
        // Comparing takes long: it is queued with the others of this port, members first, and not
        // after clients; otherwise the other broker might give up meanwhile.
        let source = connection.peer.ip();
        let turn = match self.member_addresses.contains(source) {
            true => self.passwords.turn_of_member(source).await,
            false => self.passwords.turn(source).await,
        };
        let (secret, offered) = (options.password.clone(), connect.pass.clone());
        let compared = threads::run("password", move || {
            let is_password = secret.is(offered.as_bytes());
            drop(turn);
            is_password
        });
        let is_password = compared.await.unwrap_or_else(|error| {
            log::about(connection)
                .error(format_args!("The password could not be checked: {error}"));
            false
        });
        is_password & is_user
    }

    /// Why the login failed, for counters and as text.
    pub(super) fn login_failure(
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

    /// The name of the cluster after a route to a peer that calls it `remote_name`: a configured
    /// name replaces a generated one; of two generated ones the greater wins. Changes nothing.
    pub(super) fn agree_on_name(
        &self,
        remote_name: &str,
        dynamic: bool,
    ) -> Result<ClusterName, End> {
        let own = self.name();
        if own.text == remote_name {
            return Ok(own);
        }
        if own.dynamic && !remote_name.is_empty() {
            return Ok(match !dynamic || *own.text < *remote_name {
                true => ClusterName {
                    text: remote_name.to_owned(),
                    dynamic,
                },
                false => own,
            });
        }
        // The peer has a generated name and adopts ours.
        if dynamic {
            return Ok(own);
        }
        Err(End::with_error(
            CloseReason::ClusterNameConflict,
            format!(
                "Rejecting connection, cluster name \"{}\" does not match \"{}\"",
                remote_name.escape_debug(),
                own.text
            ),
        ))
    }

    /// Checks that the INFO, received from this address, is that of another broker with a unique
    /// name.
    pub(super) fn check_info(&self, info: &RouteInfo, from: IpAddr) -> Result<(), End> {
        if info.server_id.is_empty() || info.server_id.contains(char::is_whitespace) {
            return Err(End::without_error(
                CloseReason::ProtocolViolation,
                "INFO without a server id",
            ));
        }
        if info.server_id == self.node.server_id {
            return Err(End::without_error(
                CloseReason::DuplicateRoute,
                "a route to ourselves",
            ));
        }
        let has_same_name = |known: &Arc<Route>| known.uses_name_of(info, from);
        let is_taken =
            || info.server_name == self.node.server_name || self.routes().iter().any(has_same_name);
        if !self.is_sibling(&info.server_id) && is_taken() {
            return Err(duplicate_name(&info.server_name));
        }
        if !info.route_account.is_empty() {
            return Err(End::with_error(
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
    /// Whether another broker uses the name of this route's peer. One at the same address was
    /// restarted: the route just has not ended yet.
    fn uses_name_of(&self, other: &RouteInfo, from: IpAddr) -> bool {
        let info = self.info.lock();
        info.configured_name()
            .is_some_and(|name| other.configured_name() == Some(name))
            && self.remote_id != other.server_id
            && self.address != address(other, from)
    }
}

/// Another broker uses the name of this one, or of the peer of a route.
fn duplicate_name(name: &str) -> End {
    let name = name.escape_debug();
    let error = format!("Remote server has a duplicate name: \"{name}\"");
    let detail = format!("{error}; give every broker of the cluster a server_name of its own");
    End::with_error(CloseReason::DuplicateServerName, error).with(detail)
}

/// `host:port`, with brackets if they are needed.
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
