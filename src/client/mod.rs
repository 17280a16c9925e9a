//! A client's session: what a client may say and what it does.
//!
//! The server spawns one task per client ([`serve`]). It waits for the socket
//! without holding a buffer and reads a batch ([`batch`]); the session acts on
//! its verbs ([`session`]), lets it in ([`unauthenticated`], [`login`]; passwords that take
//! long to compare wait in [`password_queue`]), takes over what a reload puts in
//! force ([`changed`]), gathers publishes into subject batches ([`publish`]), takes them to
//! their targets ([`routing`]). A publisher that outruns its readers is paused here
//! ([`back_pressure`]).

mod back_pressure;
mod batch;
mod changed;
mod connection_events;
mod end;
mod limits;
mod login;
mod member;
mod password_queue;
pub mod permission_cache;
mod publish;
mod routing;
mod service;
mod session;
pub mod system;
mod tls_upgrade;
mod trace;
mod unauthenticated;
mod untrusted;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::RwLock;
use tokio::net::TcpStream;
use tracing::{debug, info};

use crate::{
    account::{Account, Accounts},
    connection::{
        CloseReason, Connection, Subscription, Wake,
        admission::{Admission, Lost, Place, QUEUE_TIME, Source},
        buffers::{READ_BUFFER_LEN, ThreadBuffers, give_way, with_buffers},
        congested::Congested,
        reading,
        registry::Registry,
        tls_listener::TlsListener,
        turned_away,
    },
    protocol::info::Info,
    security::authentication::Authentication,
    telemetry::{Telemetry, slow::Incident},
};
use batch::Held;
pub use changed::{cut_plain, keep_account_limits, keep_limits, notify_all};
pub use limits::{Limits, LimitsInForce};
pub use password_queue::{PasswordQueue, PasswordQueueState};
use session::Session;
use trace::Trace;

/// Subscriptions of one who leaves that end before others have their turn.
const LEAVING_AT_ONCE: usize = 2048;
pub use untrusted::close_untrusted;

/// What all clients share.
pub struct Context {
    /// The subject spaces.
    pub accounts: Accounts,
    /// What happens, for those who watch.
    pub telemetry: Telemetry,
    /// Where the room `system` gets its work from.
    pub system: system::SystemQueue,
    /// Who is connected.
    pub registry: Registry,
    /// Who is let in.
    pub authentication: RwLock<Arc<Authentication>>,
    /// Logins whose passwords take long to compare.
    pub passwords: PasswordQueue,
    /// The places of those who have not logged in, of all ports.
    pub admission: Admission,
    /// The limits in force.
    pub limits: LimitsInForce,
    /// INFO as every client gets it; the client's own fields are filled in.
    pub info: RwLock<Info>,
    /// TLS for clients; `None` for none.
    pub tls: RwLock<Option<Arc<TlsListener>>>,
    /// Whether clients may do without it.
    pub allow_non_tls: bool,
}

/// Serves one client until its connection has ended.
pub async fn serve(context: Arc<Context>, connection: Arc<Connection>, stream: Arc<TcpStream>) {
    debug!("{} - Client connection created", log_prefix(&connection));
    let mut session = Session::new(context.clone(), connection.clone());
    let (admitted, tls) = {
        // One look: a reload that switches TLS on cuts those who are in by then.
        let tls = context.tls.read();
        let admitted = admit(&session);
        (admitted, tls.clone().filter(|_| admitted))
    };
    match tls {
        // Boxed: what a handshake needs is gone when it is done.
        Some(tls) => {
            let place = take_place(&session, tls.store.current().options.timeout);
            Box::pin(tls_upgrade::begin(&mut session, &stream, &tls)).await;
            place.heard();
            // What the handshake took, much of it perhaps waiting for others', does
            // not count.
            session.begin_login(Some(place));
        }
        None => {
            if admitted && session.unauthenticated.is_some() {
                let place = take_place(&session, Duration::ZERO);
                session.begin_login(Some(place));
            }
            with_buffers(|buffers| {
                session.introduce(buffers);
                if !admitted {
                    session.refuse_for_max_connections(buffers);
                }
                buffers.flush_touched();
            });
        }
    }
    drive(&mut session, &stream).await;
    finish(&mut session, &stream).await;
}

/// Registers a client within `max_connections`. Who has not logged in makes way: it
/// takes nobody's place who would. Another newcomer may take what came free, so
/// that more than one may have to.
fn admit(session: &Session) -> bool {
    let context = &session.context;
    let max = || context.limits.current().max_connections;
    while !context.registry.insert(&session.connection, max()) {
        if !context.admission.clients.make_room() {
            return false;
        }
    }
    // A reload that lowered the limit meanwhile may have counted before.
    context.registry.open_count() <= max()
}

/// Takes one of the places of those who have not logged in. It is held for what
/// the handshake and the login may take, and for the broker's own queues.
fn take_place(session: &Session, handshake: Duration) -> Place {
    let connection = Arc::downgrade(&session.connection);
    let context = session.context.clone();
    let cut = move |why| {
        let Some(connection) = connection.upgrade() else {
            return;
        };
        if why == Lost::Late {
            connection.close(CloseReason::AuthenticationTimeout);
        } else if connection.close(CloseReason::TooManyBeforeLogin) {
            // At once, so that its room is there for who needs it. It is counted
            // with the places: a crowd of such is not remembered in the place of
            // clients. Who logged in at this moment is.
            if connection.identity.lock().account.is_empty() {
                context.registry.forget(&connection);
            }
        }
    };
    let source = Source::of(session.connection.peer.ip());
    let hold = handshake + session.limits.auth_timeout + QUEUE_TIME;
    let places = &session.context.admission.clients;
    places.take(source, false, hold, cut)
}

/// Sends INFO as it is now to a client that takes it at any time.
pub fn notify_info(context: &Context, connection: &Arc<Connection>) {
    send_info(connection, &session::info_for(context, connection));
}

/// Tells one client that the broker is about to leave, so that it looks for
/// another one; whether it takes INFO at any time.
pub fn send_away(context: &Context, connection: &Arc<Connection>) -> bool {
    let mut info = session::info_for(context, connection);
    info.ldm = true;
    send_info(connection, &info)
}

fn send_info(connection: &Arc<Connection>, info: &Info) -> bool {
    let takes_info = connection.takes_info.load(Ordering::Relaxed);
    if takes_info {
        with_buffers(|buffers| {
            connection.send(buffers, &info.line());
            buffers.flush_touched();
        });
    }
    takes_info
}

/// Reads, writes and keeps time until the connection is to end.
async fn drive(session: &mut Session, stream: &TcpStream) {
    let connection = session.connection.clone();
    let deadline = session.next_deadline();
    let timer = tokio::time::sleep_until(deadline);
    tokio::pin!(timer);
    timer.as_mut().reset(deadline);
    // What came with the end of a handshake is not announced by the socket.
    let mut unread = connection.tls().is_some();
    loop {
        let wake = connection.wake(stream, timer.as_mut(), &mut unread).await;
        if session.is_out_of_date() {
            with_buffers(|buffers| session.keep_up_to_date(buffers));
            if session.pending_login.is_some() {
                // Boxed: seldom, and it would make every client's task larger.
                Box::pin(finish_turns(session, Turn::default())).await;
            }
            if connection.is_closing() {
                continue;
            }
        }
        session.trace = Trace::of(&connection, session.limits.trace);
        session.trace.tell_deliverers(&connection, &session.limits);
        match wake {
            Wake::Closing => return,
            // Taken over by now, or only the time to the next is another.
            Wake::Changed | Wake::Stuck => {}
            Wake::Writable => with_buffers(|buffers| connection.flush_blocked(buffers)),
            // Only routes are told what is wanted.
            Wake::Owing => connection.begin_telling(),
            Wake::Readable => {
                let turn = match session.held {
                    Held::No => read_turn(session, stream),
                    Held::ForOthers | Held::ForPeers => resume_turn(session),
                };
                finish_turns(session, turn).await;
            }
            Wake::Timer => with_buffers(|buffers| {
                session.keep_alive(buffers);
                buffers.flush_touched();
            }),
        }
        // What is held for the turns of others goes on as if it were read then.
        unread |= session.held != Held::No;
        let deadline = session.next_deadline();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
    }
}

/// Does what a turn of reading leads to: a login is decided, readers are waited
/// for, and a batch that is held for them goes on, each piece of it a turn of its own.
async fn finish_turns(session: &mut Session, mut turn: Turn) {
    loop {
        if session.pending_login.is_some() {
            // Apart: what it needs would make every client's task larger.
            turn = Box::pin(login::settle(session)).await;
        }
        if session.connection.is_closing() {
            return;
        }
        let paused = !turn.congested.is_empty() && back_pressure::pause(session, &turn).await;
        if !paused && (turn.more || session.held != Held::No) {
            // A busy publisher lets others, and the socket events that wake them,
            // have their turn.
            tokio::task::yield_now().await;
        }
        if session.held != Held::ForPeers || session.connection.is_closing() {
            return;
        }
        if session.is_out_of_date() {
            // Nothing goes on by settings that are no longer in force.
            with_buffers(|buffers| session.keep_up_to_date(buffers));
        } else {
            turn = resume_turn(session);
        }
    }
}

/// What one turn of reading left behind.
#[derive(Default)]
struct Turn {
    /// Connections with long queues.
    congested: Congested,
    /// How often it delivered to a connection.
    reached: usize,
    /// The socket has more to read.
    more: bool,
}

/// Reads and handles what the socket has, for one turn.
fn read_turn(session: &mut Session, stream: &TcpStream) -> Turn {
    take_turn(session, |session, buffers| {
        reading::read_turn(session, buffers, stream)
    })
}

/// Goes on with a batch that was held.
fn resume_turn(session: &mut Session) -> Turn {
    take_turn(session, |session, buffers| {
        session.resume(buffers);
        buffers.finish_batch(READ_BUFFER_LEN);
        true
    })
}

fn take_turn(
    session: &mut Session,
    work: impl FnOnce(&mut Session, &mut ThreadBuffers) -> bool,
) -> Turn {
    with_buffers(|buffers| {
        let more = work(session, buffers);
        session.cache.end_turn();
        if !buffers.congested.is_empty() {
            session.context.registry.notice(buffers.congested.iter());
        }
        // Many queues of which none is long may hold too much together.
        session.keep_budget();
        Turn {
            congested: buffers.congested.take(),
            reached: buffers.reached,
            more,
        }
    })
}

/// Takes the connection out of everything, says the last words, closes.
async fn finish(session: &mut Session, stream: &TcpStream) {
    let (context, connection) = (session.context.clone(), session.connection.clone());
    let subscriptions = connection.subscriptions.lock().drain();
    leave(&session.account, &subscriptions).await;
    if let Some(permission_cache) = &session.permission_cache {
        permission_cache.clear();
    }
    let reason = connection
        .outbound()
        .close_reason()
        .unwrap_or(CloseReason::ClientClosed);

    let ended = connection.end(&context.telemetry, &context.registry, stream, reason);
    let incident = ended.await;
    // Before it is counted out: who sees that it has gone finds its place free.
    session.give_back_place();
    connection.tell_moved(&context.telemetry.loads);
    context.telemetry.loads.forget(connection.cid);
    // Only now: it is open no more.
    if let Some(tried) = &session.tried {
        connection.identity.lock().clone_from(tried);
    }
    if reason == CloseReason::TooManyBeforeLogin && !session.connected {
        // Forgotten when its place was taken away.
    } else if session.is_bare(reason) {
        turned_away::count_probe(&context.telemetry, connection.peer.ip());
        context.registry.close_bare(&connection, reason);
    } else {
        context.registry.close(&connection, &subscriptions, reason);
        // Behind it: who counts because of it counts it no more.
        connection_events::tell_closed(&context, &connection, subscriptions.len(), reason);
    }
    if reason.is_slow_consumer() {
        tell_slow_consumer(&context, &connection, reason, incident.as_deref());
    }
    debug!(
        "{} - Client connection closed: {reason}",
        log_prefix(&connection)
    );
}

/// Ends the subscriptions of who leaves, in parts between which others have their
/// turn.
async fn leave(account: &Account, subscriptions: &[Arc<Subscription>]) {
    let mut parts = subscriptions.chunks(LEAVING_AT_ONCE);
    while let Some(part) = parts.next() {
        with_buffers(|buffers| {
            account.unsubscribe(buffers, part);
            buffers.flush_touched();
        });
        if parts.len() > 0 {
            give_way().await;
        }
    }
}

/// Logs who was cut and why, in the words that log watchers know.
fn tell_slow_consumer(
    context: &Context,
    connection: &Connection,
    reason: CloseReason,
    incident: Option<&Incident>,
) {
    let prefix = log_prefix(connection);
    match reason {
        CloseReason::SlowConsumerWriteDeadline => info!(
            "{prefix} - Slow Consumer Detected: WriteDeadline of {:?} exceeded with {} total bytes.",
            context.limits.current().write_deadline,
            connection.outbound().traffic().loss.dropped().bytes
        ),
        // Told by who made room.
        CloseReason::SlowConsumerMemory => {}
        _ => info!(
            "{prefix} - Slow Consumer Detected: MaxPending of {} Exceeded",
            connection.outbound().backlog().max_pending
        ),
    }
    if let Some(incident) = incident {
        info!(
            "{prefix} - Slow Consumer: lost {} messages ({} bytes), most of subject {:?}; cause \
             {}: {}",
            incident.lost.msgs,
            incident.lost.bytes,
            incident.top_subject().unwrap_or_default(),
            incident.cause.name(),
            incident.evidence
        );
    }
}

/// How log lines name a client.
fn log_prefix(connection: &Connection) -> String {
    connection.log_prefix()
}
