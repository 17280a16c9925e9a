//! The first lines on a new connection between brokers, until both sides know
//! each other.
//!
//! Who dialled sends CONNECT and PING. Who was dialled answers with INFO when that
//! CONNECT was good: a nats-server that reads an INFO and is then refused would
//! dial back at once and for ever. Who says nothing, as clients do that came to
//! the wrong port, hears INFO all the same; where members come from, only when it is
//! nearly too late: a nats-server ends its good route to us for a second one on which
//! it has read our id, whoever let it in. When the PONG shows that the CONNECT was
//! good, the dialling side sends its own INFO: a route that is refused never stands.
//! Neither offers pools nor compression, so that one plain connection carries
//! everything. What the other side says, and how much of it, is judged by
//! [`BeforeLogin`].

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};
use tracing::debug;

use super::{
    cluster::Cluster,
    introduction::Refusal,
    log_prefix,
    no_line::{NoLine, is_end, read_json},
};
use crate::{
    config::options::cluster::{ClusterOptions, RouteUrl},
    connection::{
        CloseReason, Connection, admission::Place, buffers::with_buffers, reading::read_some,
        turned_away,
    },
    protocol::{
        PING, PONG,
        before_login::{BeforeLogin, BeforeLoginError, Expected, Step},
        route::{INTRODUCTION_MAX, RouteConnect, RouteInfo},
    },
    security,
};

/// How long a broker whose login was refused is kept waiting for the answer: it
/// tries again as soon as it has it.
const REFUSED_HOLD: Duration = Duration::from_secs(1);

/// How long the other side's INFO may take after the login.
const INFO_TIMEOUT: Duration = Duration::from_secs(5);

/// How long CONNECT is waited for before INFO: whoever dials says it at once.
const SILENCE: Duration = Duration::from_millis(300);

/// The same where members come from, as a part of the time for the login: a CONNECT
/// that is lost on its way and sent again is not later than that.
const SILENCE_OF_MEMBERS: f64 = 0.75;

/// How long the answer to PING is waited for. A broker that gives none is believed
/// to have let us in.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// How a peer introduced itself.
pub(super) struct Introduced {
    /// Its INFO.
    pub(super) info: RouteInfo,
    /// What was read behind it.
    pub(super) rest: Vec<u8>,
    /// Whether it takes messages back that it sent: who dials says so in CONNECT.
    pub(super) takes_back: bool,
    /// The settings by which it was let in.
    pub(super) options: Arc<ClusterOptions>,
}

/// Why dialling came to nothing, and who was there, if that is known.
pub(super) struct DialRefusal {
    pub(super) refusal: Refusal,
    pub(super) remote_id: Option<String>,
}

/// A new connection and what was read from it.
pub(super) struct Handshake<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) stream: &'a TcpStream,
    said: BeforeLogin,
    options: Arc<ClusterOptions>,
    /// Held until the other side is let in.
    place: Option<Place>,
    /// Whether anything came.
    heard: bool,
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
            said: BeforeLogin::new(
                Expected::RouteConnect,
                INTRODUCTION_MAX,
                deadline.into_std(),
            ),
            options,
            place: None,
            heard: false,
        }
    }

    /// The same with the place that the other side takes until it is let in.
    pub(super) fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The side that was dialled.
    pub(super) async fn accept(mut self) -> Result<Introduced, Refusal> {
        let cluster = self.cluster;
        let silence = Instant::now() + self.silence();
        let (line, introduced) = match timeout_at(silence, self.line()).await {
            Ok(line) => (line, false),
            Err(_) => {
                let own = cluster.info_for(self.connection, 0);
                self.connection.send_now(&own.line());
                (self.line().await, true)
            }
        };
        let connect = match line {
            Ok(json) => read_json::<RouteConnect>("CONNECT", &json)?,
            Err(NoLine::BeforeLoginError(BeforeLoginError::Info)) => {
                let why = security::refusal::Refusal::NotLoggedIn;
                return Err(self.refuse_login(&why, "INFO before CONNECT").await);
            }
            Err(NoLine::BeforeLoginError(BeforeLoginError::Timeout)) => {
                let late =
                    Refusal::told(CloseReason::AuthenticationTimeout, "Authentication Timeout");
                return Err(late.of_login(&security::refusal::Refusal::Timeout));
            }
            Err(no_line) => return Err(no_line.into()),
        };
        cluster.check_kind(&connect)?;
        // A broker that we have a route to gives up when it sees our id, also
        // if it came without credentials, as one that dials back does.
        let is_known = cluster.route(&connect.name).is_some();
        let may_log_in = cluster
            .may_log_in(&self.options, &connect, self.connection)
            .await;
        if !is_known && !may_log_in {
            let (why, text) = cluster.why_not(&connect, self.connection);
            let refusal = self.refuse_login(&why, &text).await;
            // A nats-server that was dialled dials back without any, after each cut.
            let is_usual = matches!(why, security::refusal::Refusal::NoCredentials)
                && (self.comes_from_member() || cluster.membership.knows(&connect.name));
            return Err(match is_usual {
                true => refusal.usual(),
                false => refusal,
            });
        }
        if !is_known {
            self.hold_while_failing(&connect.name).await?;
        }
        let mut own = cluster.info_for(self.connection, 0);
        if may_log_in {
            // Told as it will be once the route stands; nothing changes before.
            let agreed = cluster.agree(&connect.cluster, connect.cluster_dynamic)?;
            (own.cluster, own.cluster_dynamic) = (agreed.text, agreed.dynamic);
        }
        if !introduced {
            self.connection.send_now(&own.line());
        }
        if may_log_in {
            // It takes the PONG to its PING for the whole introduction.
            self.said.keep_early();
        }
        let mut introduced = self.info().await?;
        if !may_log_in {
            return Err(Refusal::silent(
                CloseReason::DuplicateRoute,
                "a second route",
            ));
        }
        introduced.takes_back = connect.echo;
        let info = &mut introduced.info;
        if info.server_id != connect.name {
            return Err(Refusal::silent(
                CloseReason::ProtocolViolation,
                "INFO has another id than CONNECT",
            ));
        }
        if info.cluster.is_empty() {
            (info.cluster, info.cluster_dynamic) = (connect.cluster, connect.cluster_dynamic);
        }
        Ok(introduced)
    }

    /// The side that dialled.
    pub(super) async fn dial(
        mut self,
        url: &RouteUrl,
        gossip_mode: u8,
    ) -> Result<Introduced, DialRefusal> {
        let cluster = self.cluster;
        self.connection.send_now(&cluster.connect_for(url).line());
        self.connection.send_now(PING);
        let introduced = match self.told().await {
            Ok(introduced) if introduced.info.server_id == cluster.node.server_id => {
                return Err(DialRefusal {
                    refusal: Refusal::silent(CloseReason::DuplicateRoute, "a route to ourselves"),
                    remote_id: Some(introduced.info.server_id),
                });
            }
            Ok(introduced) => {
                let from = self.connection.peer.ip();
                let checked = cluster.check_info(&introduced.info, from);
                checked.map(|()| introduced)
            }
            Err(refusal) => Err(refusal),
        };
        let mut introduced = match introduced {
            Ok(introduced) => introduced,
            Err(refusal) => {
                if refusal.reason == CloseReason::DuplicateServerName {
                    // So that the other side knows as well.
                    let own = cluster.info_for(self.connection, gossip_mode);
                    self.connection.send_now(&own.line());
                }
                return Err(DialRefusal {
                    remote_id: None,
                    refusal,
                });
            }
        };
        let second = |remote_id: &str| {
            cluster.route(remote_id).map(|_| DialRefusal {
                refusal: Refusal::silent(CloseReason::DuplicateRoute, "a second route"),
                remote_id: Some(remote_id.to_owned()),
            })
        };
        if let Some(second) = second(&introduced.info.server_id) {
            return Err(second);
        }
        if let Err(refusal) = self.be_let_in(&mut introduced).await {
            return Err(DialRefusal {
                refusal,
                remote_id: None,
            });
        }
        // While the answer was waited for the other of two may have become the route.
        if let Some(second) = second(&introduced.info.server_id) {
            return Err(second);
        }
        let own = cluster.info_for(self.connection, gossip_mode);
        self.connection.send_now(&own.line());
        Ok(introduced)
    }

    /// Waits until the other side has shown what it makes of our CONNECT.
    async fn be_let_in(&mut self, introduced: &mut Introduced) -> Result<(), Refusal> {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        *self.said.buffer() = std::mem::take(&mut introduced.rest);
        self.said
            .expect(Expected::RouteAnswer, INTRODUCTION_MAX, deadline.into_std());
        match self.line().await {
            Ok(_) | Err(NoLine::BeforeLoginError(BeforeLoginError::Timeout)) => {}
            Err(no_line) => return Err(no_line.into()),
        }
        introduced.rest = self.said.take_rest();
        Ok(())
    }

    /// The other side's INFO, checked.
    async fn info(&mut self) -> Result<Introduced, Refusal> {
        let introduced = self.told().await?;
        let from = self.connection.peer.ip();
        self.cluster.check_info(&introduced.info, from)?;
        Ok(introduced)
    }

    /// The other side's INFO as it came.
    async fn told(&mut self) -> Result<Introduced, Refusal> {
        // One that is silent for so long would be stale if it had been let in.
        let pings = self.cluster.ping_max().saturating_add(1);
        let stale_after = self.cluster.ping_interval().saturating_mul(pings);
        let patience = INFO_TIMEOUT.min(stale_after);
        let deadline = Instant::now() + patience;
        self.said
            .expect(Expected::RouteInfo, INTRODUCTION_MAX, deadline.into_std());
        let info = match self.line().await {
            Ok(json) => read_json::<RouteInfo>("INFO", &json)?,
            Err(NoLine::BeforeLoginError(BeforeLoginError::Timeout)) => {
                let reason = match patience < INFO_TIMEOUT {
                    true => CloseReason::StaleConnection,
                    false => CloseReason::AuthenticationTimeout,
                };
                return Err(Refusal::silent(
                    reason,
                    format!("no INFO within {patience:?}"),
                ));
            }
            Err(no_line) => return Err(no_line.into()),
        };
        Ok(Introduced {
            info,
            rest: self.said.take_rest(),
            takes_back: true,
            options: self.options.clone(),
        })
    }

    /// How long CONNECT is waited for before INFO.
    fn silence(&self) -> Duration {
        match self.comes_from_member() {
            true => self.options.auth_timeout().mul_f64(SILENCE_OF_MEMBERS),
            false => SILENCE,
        }
    }

    fn comes_from_member(&self) -> bool {
        let address = self.connection.peer.ip();
        self.cluster.member_addresses.contains(address)
    }

    /// The JSON of the line that is due; of an answer there is none.
    async fn line(&mut self) -> Result<Vec<u8>, NoLine> {
        loop {
            match self.said.step(Instant::now().into_std())? {
                Step::Wait => self.read().await?,
                Step::Ping => self.connection.send_now(PONG),
                Step::Connect(json) | Step::Info(json) => return Ok(json),
                Step::Answered => return Ok(Vec::new()),
            }
        }
    }

    /// Reads some bytes, within the time.
    async fn read(&mut self) -> Result<(), NoLine> {
        let deadline = Instant::from_std(self.said.deadline());
        let read = read_some(self.connection, self.stream, self.said.buffer());
        let read = timeout_at(deadline, read).await;
        let read = read.map_err(|_| NoLine::BeforeLoginError(BeforeLoginError::Timeout))?;
        read.map_err(|error| {
            if !is_end(error.kind()) {
                return NoLine::from(Refusal::silent(CloseReason::ReadError, error.to_string()));
            }
            if !self.heard && self.place.is_some() {
                let telemetry = &self.cluster.context.telemetry;
                turned_away::count_probe(telemetry, self.connection.peer.ip());
            }
            Refusal::silent(CloseReason::ClientClosed, "the other side closed").into()
        })?;
        self.heard = true;
        if let Some(place) = &self.place {
            place.heard();
        }
        Ok(())
    }

    /// Keeps a broker waiting whose routes fail again and again. What is left of
    /// a longer pause it has to wait for by itself.
    async fn hold_while_failing(&self, remote_id: &str) -> Result<(), Refusal> {
        let left = self.cluster.failing.pause_left(remote_id);
        sleep(left.min(REFUSED_HOLD)).await;
        match left > REFUSED_HOLD {
            false => Ok(()),
            true => Err(Refusal::silent(
                CloseReason::ClientClosed,
                "its routes fail again and again: it is not given one yet",
            )),
        }
    }

    async fn refuse_login(&self, why: &security::refusal::Refusal, detail: &str) -> Refusal {
        debug!("{} - {detail}", log_prefix(self.connection));
        sleep(REFUSED_HOLD).await;
        let refusal = Refusal::told(
            CloseReason::AuthenticationFailure,
            "Authorization Violation",
        );
        refusal.with(detail).of_login(why)
    }
}

impl Connection {
    /// Puts a line into the queue and writes it as far as the socket takes it.
    pub(super) fn send_now(self: &Arc<Self>, line: &[u8]) {
        with_buffers(|buffers| {
            self.send(buffers, line);
            buffers.flush_touched();
        });
    }
}
