//! Dials the hubs whose leafnode this broker is, repeatedly and without end, and serves each connection.
//! Called by `server::lifecycle`.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};
use tracing::{debug, error};

use super::{
    Leafnodes, PENDING_BEFORE_LOGIN,
    remote::Remote,
    session::Session,
    solicit::{Joined, NotJoined, Solicitation},
};
use crate::{
    broker::{
        dialling::{self, Failures, growing_pause},
        resolve::resolve,
    },
    config::options::leafnodes::remotes::RemoteUrl,
    connection::{
        CloseReason, Connection, Kind, accepting::OpenSocket, budget::Budget, buffers::with_buffers,
    },
    peer::{self, certificates::close_if_untrusted},
    telemetry::event::EventKind,
};

/// A connection that lasted less counts as refused: a hub may let this broker in and end the connection
/// at once, again and again.
const LASTING: Duration = Duration::from_secs(10);

/// How an attempt ended.
enum Ended {
    /// It is to begin again, with other settings, or the remote is over.
    Woken,
    /// There was a connection, for so long.
    Lost(Duration),
    /// There was none.
    Failed(NotJoined),
}

/// Dials every hub in a task of its own, including later ones.
pub async fn dial_remotes(leafnodes: Arc<Leafnodes>) {
    while !leafnodes.is_stopping() {
        for remote in leafnodes.remotes.all() {
            if !remote.options.disabled && !remote.has_begun.swap(true, Ordering::SeqCst) {
                tokio::spawn(keep(leafnodes.clone(), remote));
            }
        }
        leafnodes.remotes.changed.notified().await;
    }
}

/// Keeps a connection to a hub as long as it is configured.
async fn keep(leafnodes: Arc<Leafnodes>, remote: Arc<Remote>) {
    let mut failures = Failures::default();
    // Attempts in a row that the hub refused, or connections that it ended soon.
    let mut refusals = 0_u32;
    while !remote.is_over()
        && !leafnodes.is_stopping()
        && let Some(url) = remote.next_url()
    {
        let ended = attempt(&leafnodes, &remote, &url).await;
        if remote.is_over() {
            return;
        }
        let first = leafnodes.remotes.settings().reconnect;
        let pause = match ended {
            Ended::Woken => continue,
            Ended::Lost(time) => {
                failures = Failures::default();
                refusals = match time >= LASTING {
                    true => 0,
                    false => refusals.saturating_add(1),
                };
                growing_pause(first, refusals)
            }
            Ended::Failed(NotJoined { why, is_refused }) => {
                remote.note_failure(&why);
                report(&leafnodes, &mut failures, &url, &why);
                refusals = match is_refused {
                    true => refusals.saturating_add(1),
                    false => 0,
                };
                let pause = growing_pause(first, refusals);
                // So that the leafnodes of a hub do not all come at the same moment.
                pause + first.mul_f64(fastrand::f64())
            }
        };
        remote.pause(remote.take_delay().unwrap_or(pause)).await;
    }
}

/// Logs a failure if it is due.
fn report(leafnodes: &Leafnodes, failures: &mut Failures, url: &RemoteUrl, why: &str) {
    let is_due = failures.add(why);
    let url = url.url.to_string();
    let text = format!(
        "Error trying to connect as leafnode to remote server {url:?} (attempt {}): {why}",
        failures.count
    );
    match is_due {
        true => {
            error!(code = EventKind::Leafnode.name(), "{text}");
            let events = &leafnodes.broker.telemetry.events;
            events.record(EventKind::Leafnode, 0, &url, &text);
        }
        false => debug!("{text}"),
    }
}

/// Dials once, and serves the connection until it ends.
async fn attempt(leafnodes: &Arc<Leafnodes>, remote: &Arc<Remote>, url: &RemoteUrl) -> Ended {
    let connected = tokio::select! {
        connected = connect(leafnodes, remote, url) => connected,
        () = remote.until_woken() => return Ended::Woken,
    };
    let (stream, peer) = match connected {
        Ok(connected) => connected,
        Err(error) => return Ended::Failed(error.to_string().into()),
    };
    let _open = OpenSocket::new();
    if let Err(error) = stream.set_nodelay(true) {
        debug!("{peer} - TCP_NODELAY could not be set: {error}");
    }
    let stream = Arc::new(stream);
    let connection = Arc::new(Connection::new(
        Kind::Leafnode,
        leafnodes.broker.registry.next_cid(),
        peer,
        stream.clone(),
        PENDING_BEFORE_LOGIN,
        // Until the hub has let us in, what is pending is in no shared budget.
        Budget::own(),
    ));
    let join = Solicitation::new(leafnodes, remote, url, &connection, &stream).join();
    let joined = tokio::select! {
        joined = Box::pin(join) => Some(joined),
        () = remote.until_woken() => None,
    };
    let ended = match joined {
        Some(Ok(joined)) => serve(leafnodes, remote, url, (&connection, &stream), joined).await,
        Some(Err(failed)) => Ended::Failed(failed),
        None => Ended::Woken,
    };
    if !matches!(ended, Ended::Lost(_)) {
        connection.close(CloseReason::ClientClosed);
        connection.drain_and_close(&stream).await;
    }
    connection.outbound().release();
    ended
}

async fn connect(
    leafnodes: &Leafnodes,
    remote: &Remote,
    url: &RemoteUrl,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    let calls = &leafnodes.broker.telemetry.calls;
    let addresses = resolve(calls, &url.url.host, url.url.port).await?;
    let usual = leafnodes.remotes.settings().dial_timeout;
    dialling::connect(addresses, remote.options.dial_timeout.unwrap_or(usual)).await
}

/// Serves a connection to a hub that has let us in.
async fn serve(
    leafnodes: &Arc<Leafnodes>,
    remote: &Arc<Remote>,
    url: &RemoteUrl,
    (connection, stream): (&Arc<Connection>, &Arc<TcpStream>),
    joined: Joined,
) -> Ended {
    let leaf = match leafnodes.register_hub(remote, url, connection, &joined) {
        Ok(leaf) => leaf,
        Err(failed) => return Ended::Failed(failed),
    };
    remote.forget_error();
    let begin = Instant::now();
    if !remote.note_connected(connection, &leaf.name) {
        connection.close(CloseReason::RemoteRemoved);
    }
    let mut session = Session::new(leafnodes.clone(), leaf);
    session.hub_rules = joined.rules;
    with_buffers(|buffers| {
        session.begin(buffers, &joined.rest);
        buffers.flush_touched();
    });
    // The certificate files may have been replaced since the handshake checked them; from here on, a
    // reload of them checks this connection.
    if let Some(tls) = remote.tls() {
        close_if_untrusted(&leafnodes.broker, &tls, connection);
    }
    peer::drive(&mut session, stream).await;
    peer::finish(session, connection, stream).await;
    Ended::Lost(begin.elapsed())
}
