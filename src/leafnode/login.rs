//! Who is let in as a leafnode: the checks of its CONNECT, its login, and its place in its account.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{LEAFNODES_MAX, Leafnode, Leafnodes, Shown, handshake::Introduced};
use crate::{
    account::Account,
    broker::system_queue::Notice,
    config::options::leafnodes::Version,
    connection::{CloseReason, Connection, Identity, Kind},
    delivery::leaf_side::LeafSide,
    log,
    peer::End,
    protocol::{
        error::{ClientError, error_line, quoted},
        leafnode::LeafConnect,
        route::TRACING_PROTO,
    },
    security::{
        authentication::{Authentication, LoginAttempt},
        delivery_filter::DeliveryFilter,
        permissions::{Pattern, Permissions},
        refusal::Refusal,
        responses::Grants,
        users::ConnectionType,
        verdict::{Login, Verdict},
    },
    telemetry::{MonotonicMillis, event::EventKind, metrics, pool::shorten, threads},
};

/// How long the answer to a refused login takes: the other side tries again as soon as it has it.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// The text by which the other side knows that a leafnode is replaced by a newer connection.
const DUPLICATE: &str = "Duplicate Remote LeafNode Connection";

/// The result of a login.
pub(super) struct Accepted {
    pub(super) login: Login,
    pub(super) account: Arc<Account>,
}

/// What is known of the broker at the other end.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) headers: bool,
    pub(super) protocol: i64,
    /// As whom one side is logged in at the other.
    pub(super) user: String,
    pub(super) proof: u64,
}

/// What tells the members of a cluster from all others; of a broker in none that is its connection.
pub(super) fn origin(cluster: &str, connection: &Connection) -> Arc<str> {
    match cluster.is_empty() {
        // No name of a cluster contains a blank.
        true => format!(" {}", connection.cid).into(),
        false => shorten(cluster).as_ref().into(),
    }
}

impl Leafnodes {
    /// Whether a CONNECT is that of a leafnode at all.
    pub(super) fn check(&self, connect: &LeafConnect) -> Result<(), End> {
        if !connect.lang.is_empty() {
            return Err(End::with_error(
                CloseReason::IncorrectPort,
                "attempted to connect to leaf node port",
            ));
        }
        if !connect.gateway.is_empty() {
            let gateway = connect.gateway.escape_debug();
            let text =
                format!("Rejecting connection from gateway \"{gateway}\" on the leafnode port");
            return Err(End::with_error(CloseReason::IncorrectPort, text));
        }
        Ok(())
    }

    /// Logs a leafnode in.
    pub(super) async fn log_in(
        &self,
        connect: &LeafConnect,
        nonce: &str,
        connection: &Arc<Connection>,
    ) -> Result<Accepted, End> {
        let credentials = connect.credentials();
        let source = connection.peer.ip();
        let verdict = self.authentication().identify(&LoginAttempt {
            credentials: &credentials,
            connection_type: ConnectionType::Leafnode,
            source,
            certificate: connection.certificate.get().map(|known| &**known),
            nonce,
            proved: 0,
        });
        let login = match verdict {
            Verdict::Accept(login) => Ok(login),
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Check(check) => {
                let turn = self.passwords.turn(source).await;
                let checked = threads::run("password", move || {
                    let outcome = check.run();
                    drop(turn);
                    outcome
                });
                checked.await.unwrap_or_else(|error| {
                    log::about(connection)
                        .error(format_args!("The password could not be checked: {error}"));
                    Err(Refusal::WrongPassword)
                })
            }
        };
        let accepted = login.and_then(|login| {
            let account = self.broker.accounts.find(&login.account);
            let account = account.ok_or(Refusal::UnknownAccount)?;
            Ok(Accepted { login, account })
        });
        match accepted {
            Ok(accepted) => {
                let logins = &self.broker.telemetry.logins;
                logins.record_success(source, MonotonicMillis::now());
                self.check_cluster(connect)?;
                self.check_version(connect, connection, &accepted.account)?;
                Ok(accepted)
            }
            Err(refusal) => {
                tokio::time::sleep(REFUSAL_DELAY).await;
                let (reason, error) = (
                    CloseReason::AuthenticationFailure,
                    ClientError::AuthorizationViolation,
                );
                let name = quoted(shorten(&connect.name).as_bytes());
                let detail = format!("leafnode {name}: {refusal}");
                Err(End::with_error(reason, error)
                    .with(detail)
                    .for_login(&refusal))
            }
        }
    }

    /// Two parts of a cluster of one name are no hub and leafnode.
    fn check_cluster(&self, connect: &LeafConnect) -> Result<(), End> {
        let cluster = &connect.cluster;
        if !is_cluster_name(cluster) {
            let error = "cluster name cannot contain spaces";
            return Err(End::with_error(CloseReason::ProtocolViolation, error));
        }
        if !cluster.is_empty() && *cluster == self.broker.info.read().cluster {
            let error = "remote leafnode has same cluster name";
            return Err(End::with_error(CloseReason::ClusterNameConflict, error));
        }
        Ok(())
    }

    /// Whether its version is the oldest that is let in, or a newer one.
    fn check_version(
        &self,
        connect: &LeafConnect,
        connection: &Arc<Connection>,
        account: &Account,
    ) -> Result<(), End> {
        let Some(min) = self.options.min_version else {
            return Ok(());
        };
        if Version::parse(&connect.version).is_some_and(|version| version >= min) {
            return Ok(());
        }
        // It waits for this INFO, and looks at the error only then.
        let info = self.info_on_connect(connection, account, None, None);
        connection.send_now(&info.line());
        let error = format!("connection rejected since minimum version required is \"{min}\"");
        let version = quoted(shorten(&connect.version).as_bytes());
        let detail = format!("{error}; the leafnode has {version}");
        Err(End::with_error(CloseReason::MinimumVersionRequired, error).with(detail))
    }

    /// Adds a leafnode that has logged in. Returns it with what was received behind its CONNECT.
    pub(super) fn register(
        &self,
        connection: &Arc<Connection>,
        introduced: Introduced,
    ) -> Result<(Arc<Leafnode>, Vec<u8>), End> {
        let Introduced {
            connect,
            accepted: Accepted { login, account },
            nonce,
            rest,
        } = introduced;
        let receives = receives(login.permissions.as_ref(), &connect);
        let name = match connect.name.is_empty() {
            true => &connect.server_id,
            false => &connect.name,
        };
        let known = Known {
            name: shorten(name).into_owned(),
            version: shorten(&connect.version).into_owned(),
            headers: connect.headers,
            protocol: connect.protocol,
            user: login.user.clone(),
            proof: login.proof,
        };
        let sends = login.permissions.clone();
        if let Some(permissions) = &login.permissions
            && let Some(responses) = permissions.responses()
        {
            *connection.guard.lock() = Some(Arc::new(DeliveryFilter {
                permissions: permissions.clone(),
                grants: Some(Arc::new(Grants::new(responses))),
            }));
        }
        let leaf = Arc::new(Leafnode {
            connection: connection.clone(),
            name: known.name.clone(),
            server_id: shorten(&connect.server_id).into_owned(),
            is_midge: !connect.midge.is_empty(),
            remote_account: shorten(&connect.remote_account).into_owned(),
            side: Arc::new(LeafSide {
                origin: origin(&connect.cluster, connection),
                is_hub: connect.is_hub,
                is_isolated: self.options.isolates || connect.isolate,
                receives,
                announces: None,
            }),
            interest: Default::default(),
            sends: sends.filter(|it| it.restricts_publishing()),
            remote: None,
            is_introduced: AtomicBool::new(false),
            shown: Some(Shown {
                credentials: connect.credentials(),
                nonce,
                permissions: login.permissions,
            }),
            account,
        });
        self.enter(&leaf, known)?;
        Ok((leaf, rest))
    }

    /// Adds a leafnode, or a hub of this broker, to what is served.
    ///
    /// # Errors
    ///
    /// It is one too many, is connected already the other way round, or the broker stops.
    pub(super) fn enter(&self, leaf: &Arc<Leafnode>, known: Known) -> Result<(), End> {
        let Leafnode {
            connection,
            account,
            ..
        } = &**leaf;
        if self.is_stopping() {
            let reason = CloseReason::ServerShutdown;
            return Err(End::without_error(reason, "the broker stops"));
        }
        if account
            .limits()
            .max_leafs
            .is_some_and(|max| account.leafnodes_here() >= max)
        {
            let (reason, error) = (
                CloseReason::MaxAccountConnections,
                ClientError::MaxAccountConnections,
            );
            let detail = format!(
                "account {:?} has as many leafnodes as it may have",
                account.name
            );
            return Err(End::with_error(reason, error).with(detail));
        }
        let before = self.add(leaf)?;
        if !self.broker.registry.insert(connection, LEAFNODES_MAX) {
            self.remove(leaf);
            let (reason, error) = (CloseReason::MaxConnections, ClientError::MaxConnections);
            return Err(End::with_error(reason, error));
        }
        let headers = known.headers && self.limits().headers;
        connection.headers.store(headers, Ordering::Relaxed);
        if known.protocol >= TRACING_PROTO {
            connection.set_takes_traces();
        }
        let series = metrics::series_number(Kind::Leafnode, &account.name);
        connection.series.store(series, Ordering::Relaxed);
        *connection.identity.lock() = Identity {
            name: known.name,
            certname: connection.certname().to_owned(),
            version: known.version,
            user: known.user,
            account: account.name.clone(),
            proof: known.proof,
            ..Identity::default()
        };
        let budget = self.broker.registry.budget.clone();
        connection.outbound().admit(self.max_pending(), budget);
        if let Some(before) = before {
            log::about(connection).warn(format_args!("Replacing connection from same server"));
            let connection = &before.connection;
            connection.send_now(&error_line(DUPLICATE));
            connection.close(CloseReason::DuplicateLeafnode);
        }
        self.report_connected(leaf);
        Ok(())
    }

    /// Adds a leafnode to the list. Returns the one of the same broker and account that it replaces: a
    /// connection whose end was not noticed.
    ///
    /// # Errors
    ///
    /// The two are connected already, the other way round.
    fn add(&self, leaf: &Arc<Leafnode>) -> Result<Option<Arc<Leafnode>>, End> {
        let mut leafs = self.leafs.lock();
        self.check_mutual(leafs.values(), leaf)?;
        let is_same = |known: &&Arc<Leafnode>| {
            leaf.remote.is_none()
                && known.remote.is_none()
                && !leaf.remote_account.is_empty()
                && known.name == leaf.name
                && known.side.cluster() == leaf.side.cluster()
                && known.remote_account == leaf.remote_account
                && Arc::ptr_eq(&known.account, &leaf.account)
        };
        let before = leafs.values().find(is_same).cloned();
        leafs.insert(leaf.connection.cid, leaf.clone());
        leaf.account.leaf_count.fetch_add(1, Ordering::Relaxed);
        Ok(before)
    }

    /// Removes a leafnode whose connection has ended.
    pub(super) fn remove(&self, leaf: &Leafnode) {
        if self.leafs.lock().remove(&leaf.connection.cid).is_some() {
            leaf.account.leaf_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn report_connected(&self, leaf: &Leafnode) {
        let connection = &leaf.connection;
        let broker = &self.broker;
        broker.telemetry.loads.connect(&connection.holder());
        // As nats-server has it, the hub tells.
        if leaf.remote.is_none() || !leaf.side.is_hub {
            broker
                .system
                .leave(Notice::LeafnodeConnected(leaf.account.name.clone()));
        }
        broker.system.count(&leaf.account.name);
        let name = quoted(leaf.name.as_bytes());
        let text = match &leaf.remote {
            None => format!("Leafnode {name} connected, account {}", leaf.account.name),
            Some(_) => format!(
                "Connected as leafnode to {name}, account {}",
                leaf.account.name
            ),
        };
        log::about(connection)
            .code(EventKind::Leafnode.name())
            .info(format_args!("{text}"));
        let text = match &leaf.remote {
            None => format!("{text}, from {}", connection.peer),
            Some(_) => format!("{text}, at {}", connection.peer),
        };
        self.record(connection, &leaf.name, &text);
    }

    /// How leafnodes log in now.
    pub(super) fn authentication(&self) -> Arc<Authentication> {
        self.authentication.read().clone()
    }
}

/// What a leafnode may receive: what its user may, but for what it refuses itself.
fn receives(
    permissions: Option<&Arc<Permissions>>,
    connect: &LeafConnect,
) -> Option<Arc<Permissions>> {
    let refused = connect.deny_pub.iter();
    let refused: Vec<Pattern> = refused
        .filter_map(|subject| Pattern::parse(subject, false).ok())
        .collect();
    match refused.is_empty() {
        true => permissions.cloned(),
        false => {
            let permissions = permissions.map(|it| (**it).clone()).unwrap_or_default();
            Some(Arc::new(permissions.denying(refused)))
        }
    }
}

/// Whether a cluster may have this name, which becomes part of protocol lines on routes.
pub(super) fn is_cluster_name(name: &str) -> bool {
    !name.contains(|char: char| char.is_whitespace() || char.is_control())
}
