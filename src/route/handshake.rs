//! The handshake of a route, until both brokers know each other.
//!
//! The dialling side sends CONNECT and PING. The other side answers with INFO once that CONNECT is
//! valid: a nats-server that gets INFO and is refused afterwards would dial back immediately and
//! forever. A peer that sends nothing, such as a client on the wrong port, gets INFO all the same;
//! from addresses of members only shortly before the deadline, because a nats-server that reads our
//! id on a second connection closes its good route to us, whether the second one is accepted or
//! not. When the PONG shows that the CONNECT was accepted, the dialling side sends its own INFO, so
//! that a refused route never becomes active. Neither side offers pools or compression: one plain
//! connection carries everything. [`BeforeLogin`] parses and limits the other side's input.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{
    cluster::Cluster,
    handshake_error::{HandshakeError, is_end, read_json},
};
use crate::{
    broker::turned_away,
    config::options::cluster::{ClusterOptions, RouteUrl},
    connection::{CloseReason, Connection, admission::Place, reading::read_some},
    log,
    peer::End,
    protocol::{
        PING, PONG,
        before_login::{BeforeLogin, BeforeLoginError, Expected, Step},
        route::{INTRODUCTION_MAX, RouteConnect, RouteInfo},
    },
    security,
};

/// Delay of the answer to a refused login, because the other broker tries again as soon as it has
/// the answer.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// How long the other side's INFO may take after the login.
const INFO_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for CONNECT before INFO is sent: a dialling broker sends it immediately.
const CONNECT_WAIT: Duration = Duration::from_millis(300);

/// The same for addresses of members, as a fraction of the time for the login: enough for a CONNECT
/// that was lost and retransmitted.
const CONNECT_WAIT_OF_MEMBERS: f64 = 0.75;

/// How long to wait for the answer to PING. A broker that gives none is assumed to have accepted
/// us.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of a handshake.
pub(super) struct Introduced {
    /// The peer's INFO.
    pub(super) info: RouteInfo,
    /// What was received after it.
    pub(super) rest: Vec<u8>,
    /// Whether the peer accepts its own messages back, as the dialling side says in CONNECT.
    pub(super) accepts_own_messages: bool,
    /// The settings by which it was accepted.
    pub(super) options: Arc<ClusterOptions>,
}

/// Why dialling failed, and which broker answered, if known.
pub(super) struct NotDialled {
    pub(super) end: End,
    pub(super) remote_id: Option<String>,
}

/// A new connection and what was received on it.
pub(super) struct Handshake<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) stream: &'a TcpStream,
    input: BeforeLogin,
    options: Arc<ClusterOptions>,
    /// The place for unauthenticated connections; held until the peer is accepted.
    place: Option<Place>,
    /// Whether anything was received.
    has_received: bool,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        connection: &'a Arc<Connection>,
        stream: &'a TcpStream,
    ) -> Self {
        let options = cluster.options();
        let deadline = Instant::now() + options.auth_timeout();
        Self {
            cluster,
            connection,
            stream,
            input: BeforeLogin::new(
                Expected::RouteConnect,
                INTRODUCTION_MAX,
                deadline.into_std(),
            ),
            options,
            place: None,
            has_received: false,
        }
    }

    /// Sets the place that the peer has until it is accepted.
    pub(super) fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The handshake of the accepting side.
    pub(super) async fn accept(mut self) -> Result<Introduced, End> {
        let cluster = self.cluster;
        let connect_wait = Instant::now() + self.connect_wait();
        let (line, introduced) = match timeout_at(connect_wait, self.next_line()).await {
            Ok(line) => (line, false),
            Err(_) => {
                let own = cluster.info_for(self.connection, 0);
                self.connection.send_now(&own.line());
                (self.next_line().await, true)
            }
        };
        let connect = match line {
            Ok(json) => read_json::<RouteConnect>("CONNECT", &json)?,
            Err(HandshakeError::Input(BeforeLoginError::Info)) => {
                let why = security::refusal::Refusal::NotLoggedIn;
                return Err(self.refuse_login(&why, "INFO before CONNECT").await);
            }
            Err(HandshakeError::Input(BeforeLoginError::Timeout)) => {
                let late =
                    End::with_error(CloseReason::AuthenticationTimeout, "Authentication Timeout");
                return Err(late.for_login(&security::refusal::Refusal::Timeout));
            }
            Err(error) => return Err(error.into()),
        };
        cluster.check_kind(&connect)?;
        // A broker with an existing route gives up when it sees our id. It gets INFO even if its
        // credentials are missing, as those of a nats-server that dials back are.
        let is_known = cluster.route(&connect.name).is_some();
        let may_log_in = cluster
            .may_log_in(&self.options, &connect, self.connection)
            .await;
        if !is_known && !may_log_in {
            let (why, text) = cluster.login_failure(&connect, self.connection);
            let end = self.refuse_login(&why, &text).await;
            // A nats-server that was dialled dials back without credentials after each
            // interruption.
            let is_expected = matches!(why, security::refusal::Refusal::NoCredentials)
                && (self.is_from_member() || cluster.membership.contains(&connect.name));
            return Err(match is_expected {
                true => end.usual(),
                false => end,
            });
        }
        if !is_known {
            self.delay_failing_broker(&connect.name).await?;
        }
        let mut own = cluster.info_for(self.connection, 0);
        if may_log_in {
            // Announces the name that the cluster will have with this route; nothing changes yet.
            let agreed = cluster.agree_on_name(&connect.cluster, connect.cluster_dynamic)?;
            (own.cluster, own.cluster_dynamic) = (agreed.text, agreed.dynamic);
        }
        if !introduced {
            self.connection.send_now(&own.line());
        }
        if may_log_in {
            // It takes the PONG that answers its PING for the end of the handshake.
            self.input.keep_early();
        }
        let mut introduced = self.receive_checked_info().await?;
        if !may_log_in {
            return Err(End::without_error(
                CloseReason::DuplicateRoute,
                "a second route",
            ));
        }
        introduced.accepts_own_messages = connect.echo;
        let info = &mut introduced.info;
        if info.server_id != connect.name {
            return Err(End::without_error(
                CloseReason::ProtocolViolation,
                "INFO has another id than CONNECT",
            ));
        }
        if info.cluster.is_empty() {
            (info.cluster, info.cluster_dynamic) = (connect.cluster, connect.cluster_dynamic);
        }
        Ok(introduced)
    }

    /// The handshake of the dialling side.
    pub(super) async fn dial(
        mut self,
        url: &RouteUrl,
        gossip_mode: u8,
    ) -> Result<Introduced, NotDialled> {
        let cluster = self.cluster;
        self.connection.send_now(&cluster.connect_for(url).line());
        self.connection.send_now(PING);
        let introduced = match self.receive_info().await {
            Ok(introduced) if introduced.info.server_id == cluster.node.server_id => {
                return Err(NotDialled {
                    end: End::without_error(CloseReason::DuplicateRoute, "a route to ourselves"),
                    remote_id: Some(introduced.info.server_id),
                });
            }
            Ok(introduced) => {
                let from = self.connection.peer.ip();
                let checked = cluster.check_info(&introduced.info, from);
                checked.map(|()| introduced)
            }
            Err(end) => Err(end),
        };
        let mut introduced = match introduced {
            Ok(introduced) => introduced,
            Err(end) => {
                if end.reason == CloseReason::DuplicateServerName {
                    // So that the other side sees the conflict as well.
                    let own = cluster.info_for(self.connection, gossip_mode);
                    self.connection.send_now(&own.line());
                }
                return Err(NotDialled {
                    remote_id: None,
                    end,
                });
            }
        };
        let second = |remote_id: &str| {
            cluster.route(remote_id).map(|_| NotDialled {
                end: End::without_error(CloseReason::DuplicateRoute, "a second route"),
                remote_id: Some(remote_id.to_owned()),
            })
        };
        if let Some(second) = second(&introduced.info.server_id) {
            return Err(second);
        }
        if let Err(end) = self.wait_for_answer(&mut introduced).await {
            return Err(NotDialled {
                end,
                remote_id: None,
            });
        }
        // While waiting for the answer, another connection may have become the route.
        if let Some(second) = second(&introduced.info.server_id) {
            return Err(second);
        }
        let own = cluster.info_for(self.connection, gossip_mode);
        self.connection.send_now(&own.line());
        Ok(introduced)
    }

    /// Waits until the other side has accepted or refused our CONNECT.
    async fn wait_for_answer(&mut self, introduced: &mut Introduced) -> Result<(), End> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        *self.input.buffer() = std::mem::take(&mut introduced.rest);
        self.input
            .expect(Expected::RouteAnswer, INTRODUCTION_MAX, deadline.into_std());
        match self.next_line().await {
            Ok(_) | Err(HandshakeError::Input(BeforeLoginError::Timeout)) => {}
            Err(error) => return Err(error.into()),
        }
        introduced.rest = self.input.take_rest();
        Ok(())
    }

    /// Receives the other side's INFO and checks it.
    async fn receive_checked_info(&mut self) -> Result<Introduced, End> {
        let introduced = self.receive_info().await?;
        let from = self.connection.peer.ip();
        self.cluster.check_info(&introduced.info, from)?;
        Ok(introduced)
    }

    /// Receives the other side's INFO.
    async fn receive_info(&mut self) -> Result<Introduced, End> {
        // An active route that is silent for this long would be stale.
        let pings = self.cluster.ping_max().saturating_add(1);
        let stale_after = self.cluster.ping_interval().saturating_mul(pings);
        let time = INFO_TIMEOUT.min(stale_after);
        let deadline = Instant::now() + time;
        self.input
            .expect(Expected::RouteInfo, INTRODUCTION_MAX, deadline.into_std());
        let info = match self.next_line().await {
            Ok(json) => read_json::<RouteInfo>("INFO", &json)?,
            Err(HandshakeError::Input(BeforeLoginError::Timeout)) => {
                let reason = match time < INFO_TIMEOUT {
                    true => CloseReason::StaleConnection,
                    false => CloseReason::AuthenticationTimeout,
                };
                return Err(End::without_error(
                    reason,
                    format!("no INFO within {time:?}"),
                ));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Introduced {
            info,
            rest: self.input.take_rest(),
            accepts_own_messages: true,
            options: self.options.clone(),
        })
    }

    /// How long to wait for CONNECT before INFO is sent.
    fn connect_wait(&self) -> Duration {
        match self.is_from_member() {
            true => self.options.auth_timeout().mul_f64(CONNECT_WAIT_OF_MEMBERS),
            false => CONNECT_WAIT,
        }
    }

    fn is_from_member(&self) -> bool {
        let address = self.connection.peer.ip();
        self.cluster.member_addresses.contains(address)
    }

    /// The JSON of the expected line; empty for an answer to PING.
    async fn next_line(&mut self) -> Result<Vec<u8>, HandshakeError> {
        loop {
            match self.input.step(Instant::now().into_std())? {
                Step::Wait => self.read().await?,
                Step::Ping => self.connection.send_now(PONG),
                Step::Connect(json) | Step::Info(json) => return Ok(json),
                Step::Answered => return Ok(Vec::new()),
            }
        }
    }

    /// Reads some bytes, until the deadline at most.
    async fn read(&mut self) -> Result<(), HandshakeError> {
        let deadline = Instant::from_std(self.input.deadline());
        let read = read_some(self.connection, self.stream, self.input.buffer());
        let read = timeout_at(deadline, read).await;
        let read = read.map_err(|_| HandshakeError::Input(BeforeLoginError::Timeout))?;
        read.map_err(|error| {
            if !is_end(error.kind()) {
                return HandshakeError::from(End::without_error(
                    CloseReason::ReadError,
                    error.to_string(),
                ));
            }
            if !self.has_received && self.place.is_some() {
                let telemetry = &self.cluster.broker.telemetry;
                turned_away::count_probe(telemetry, self.connection.peer.ip());
            }
            End::without_error(CloseReason::ClientClosed, "the other side closed").into()
        })?;
        self.has_received = true;
        if let Some(place) = &self.place {
            place.mark_active();
        }
        Ok(())
    }

    /// Delays a broker whose routes fail repeatedly. The rest of a longer pause is up to the
    /// broker.
    async fn delay_failing_broker(&self, remote_id: &str) -> Result<(), End> {
        let left = self.cluster.failing.pause_left(remote_id);
        sleep(left.min(REFUSAL_DELAY)).await;
        match left > REFUSAL_DELAY {
            false => Ok(()),
            true => Err(End::without_error(
                CloseReason::ClientClosed,
                "its routes fail again and again: it must wait for the next one",
            )),
        }
    }

    async fn refuse_login(&self, why: &security::refusal::Refusal, detail: &str) -> End {
        log::about(self.connection).debug(format_args!("{detail}"));
        sleep(REFUSAL_DELAY).await;
        let end = End::with_error(
            CloseReason::AuthenticationFailure,
            "Authorization Violation",
        );
        end.with(detail).for_login(why)
    }
}
