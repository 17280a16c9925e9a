//! The upstream side: connecting to a broker as one of its clients, and logging in.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Federation,
    pool::Address,
    server_protocol::{Op, parse},
    session::PENDING_MAX,
};
use crate::{
    VERSION,
    broker::{dialling, resolve::resolve},
    connection::{
        CloseReason, Connection, Identity, Kind, accepting::OpenSocket, budget::Budget,
        reading::read_some,
    },
    protocol::{PING, PONG, info::Info},
    security::options::HandshakeFirst,
};

/// Time limit of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of all that precedes the first message, beside the TLS handshake.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The subscription's id.
pub(super) const SID: &str = "1";

/// A broker that has let us in and serves our subscription.
pub(super) struct Server {
    pub(super) connection: Arc<Connection>,
    pub(super) stream: Arc<TcpStream>,
    /// Where it was reached.
    pub(super) address: String,
    /// What it last said about itself.
    pub(super) info: Info,
    /// What was read and not handled yet.
    pub(super) unread: Vec<u8>,
    _open: OpenSocket,
}

impl Server {
    /// Connects to a broker, logs in and subscribes.
    ///
    /// # Errors
    ///
    /// Why that was not possible, and what to do.
    pub(super) async fn reach(federation: &Federation, address: &Address) -> Result<Self, String> {
        let (stream, peer) = connect(federation, address)
            .await
            .map_err(|error| error.to_string())?;
        let open = OpenSocket::new();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("{peer} - TCP_NODELAY could not be set: {error}");
        }
        let stream = Arc::new(stream);
        let broker = &federation.broker;
        // The session bounds what waits, and counts what it drops.
        let connection = Arc::new(Connection::new(
            Kind::Client,
            broker.registry.next_cid(),
            peer,
            stream.clone(),
            usize::MAX,
            Budget::own(),
        ));
        *connection.identity.lock() = Identity {
            name: "federation".to_owned(),
            ..Identity::default()
        };
        let mut server = Self {
            connection,
            stream,
            address: address.to_string(),
            info: Info::default(),
            unread: Vec::new(),
            _open: open,
        };
        match server.log_in(federation, address).await {
            Ok(()) => Ok(server),
            Err(why) => {
                server.end();
                Err(why)
            }
        }
    }

    /// Closes the connection.
    pub(super) fn end(&self) {
        self.connection.close(CloseReason::ServerShutdown);
        self.connection.outbound().release();
    }

    async fn log_in(&mut self, federation: &Federation, address: &Address) -> Result<(), String> {
        let deadline = Instant::now() + LOGIN_TIMEOUT;
        let tls = federation.tls.as_ref();
        let first = tls.map(|tls| tls.store.current().options.handshake_first);
        let is_first = first == Some(HandshakeFirst::Yes);
        if is_first {
            self.secure(federation, address).await?;
        }
        self.info = self.await_info(deadline).await?;
        let server_id = &self.info.server_id;
        if *server_id == federation.server_id {
            return Err(
                "that is this broker itself: \"upstream\" must name the brokers that the clients \
                 of all sites connect to"
                    .to_owned(),
            );
        }
        match tls {
            Some(_) if is_first => {}
            Some(_) if self.info.tls_required || self.info.tls_available => {
                self.secure(federation, address).await?;
            }
            Some(_) => {
                return Err(
                    "it does not offer TLS: configure TLS there, or remove \"tls\" from \
                     \"federation\""
                        .to_owned(),
                );
            }
            None if self.info.tls_required => {
                return Err("it requires TLS: write tls { … } in \"federation\"".to_owned());
            }
            None => {}
        }
        let deadline = Instant::now() + LOGIN_TIMEOUT;
        let (subject, queue) = federation.request_group();
        let subscribe = format!("SUB {subject} {queue} {SID}\r\n");
        let mut lines = connect_line(federation, address);
        lines.extend_from_slice(subscribe.as_bytes());
        lines.extend_from_slice(PING);
        let begin = Instant::now();
        self.connection.send_now(&lines);
        self.await_pong(deadline).await?;
        self.connection.set_rtt(begin.elapsed());
        Ok(())
    }

    async fn secure(&self, federation: &Federation, address: &Address) -> Result<(), String> {
        if let Some(tls) = &federation.tls {
            let secured = tls.connect(&self.stream, &address.host).await;
            let secured = secured.map_err(|failure| format!("TLS handshake error: {failure}"))?;
            secured.adopt(&self.connection, true);
        }
        Ok(())
    }

    async fn await_info(&mut self, deadline: Instant) -> Result<Info, String> {
        loop {
            // Before the login there are no messages.
            if let Some((op, len)) = parse(&self.unread, 0)? {
                let info = match op {
                    Op::Info(json) => read_info(json)?,
                    Op::Error(text) => return Err(format!("it refuses: {text}")),
                    _ => return Err("it begins with something else than INFO".to_owned()),
                };
                self.unread.drain(..len);
                return Ok(info);
            }
            self.read(deadline, "INFO").await?;
        }
    }

    /// Waits for the answer to our first PING, which follows the subscription. What comes after it
    /// stays unread.
    async fn await_pong(&mut self, deadline: Instant) -> Result<(), String> {
        loop {
            let mut at = 0;
            while let Some((op, len)) = parse(&self.unread[at..], PENDING_MAX)? {
                let is_answer = op == Op::Pong;
                match op {
                    Op::Pong => {}
                    Op::Error(text) => return Err(format!("it refuses the federation: {text}")),
                    Op::Ping => self.connection.send_now(PONG),
                    Op::Info(json) => self.info = read_info(json)?,
                    Op::Ok => {}
                    // The first request; it is handled when the site's side is ready.
                    Op::Message(_) => {
                        at += len;
                        continue;
                    }
                }
                self.unread.drain(at..at + len);
                if is_answer {
                    return Ok(());
                }
            }
            self.read(deadline, "an answer to PING").await?;
        }
    }

    async fn read(&mut self, deadline: Instant, what: &str) -> Result<(), String> {
        let read = read_some(&self.connection, &self.stream, &mut self.unread);
        match timeout_at(deadline, read).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(format!("it closed the connection before {what}"))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no {what} within {LOGIN_TIMEOUT:?}")),
        }
    }
}

/// Reads the JSON of INFO.
///
/// # Errors
///
/// It is none.
pub(super) fn read_info(json: &[u8]) -> Result<Info, String> {
    let info = serde_json::from_slice(json);
    info.map_err(|error| format!("its INFO is {}", crate::protocol::json_fault(&error)))
}

fn connect_line(federation: &Federation, address: &Address) -> Vec<u8> {
    let mut connect = json!({
        "verbose": false,
        "pedantic": false,
        "tls_required": federation.tls.is_some(),
        "name": format!("federation {} of {}", federation.options.name, federation.server_name),
        "lang": "midge",
        "version": VERSION,
        "protocol": 1,
        // What is published here must not come back.
        "echo": false,
        "headers": false,
        "no_responders": false,
    });
    if !address.user.is_empty() {
        connect["user"] = json!(address.user);
        connect["pass"] = json!(address.password.reveal());
    }
    format!("CONNECT {connect}\r\n").into_bytes()
}

/// Connects to one of the addresses of a host.
async fn connect(
    federation: &Federation,
    address: &Address,
) -> io::Result<(TcpStream, SocketAddr)> {
    let calls = &federation.broker.telemetry.calls;
    let addresses = resolve(calls, &address.host, address.port).await?;
    dialling::connect(addresses, CONNECT_TIMEOUT).await
}
