//! Handing a connected client over to another process of the broker, and taking one over
//! (`server::upgrade`, which has all clients halt at the same moment: `broker::halt`).
//!
//! The state of a session is what its client has said: CONNECT, subscriptions, what is not handled
//! yet; and what is queued for it. The process that takes it over identifies the client anew, by
//! its own configuration, as a reload does; what was proved before is not proved again if its
//! secret is the same. A client that it would not let in gets the error and is closed.

use std::{future::ready, io, net::TcpStream, sync::Arc, time::Duration};

use data_encoding::BASE64;
use tokio::time::sleep;

use super::{
    ClientListener,
    active::{Active, LEAVING_AT_ONCE, Standing, leave},
    base::{log_end, refused},
    greeting::{Begun, Greeting},
    run,
};
use crate::{
    account::Account,
    broker::{
        Broker,
        halt::{ClientState, Leaving},
        info,
    },
    connection::{
        Connection, Kind,
        accepting::{OpenSocket, as_shown},
        buffers::{ThreadBuffers, give_way, with_buffers},
        reading::Reader,
    },
    peer::{End, HeldFor},
    protocol::{connect::ConnectOptions, json_fault},
    security::{
        refusal::Refusal,
        verdict::{Login, Verdict},
    },
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// Bytes of each part of a state that are handed over; a client with more stays.
const PART_MAX: usize = 160 * 1024;

/// How often it is tried to have the queue, which another task may be writing, and the pause in
/// between.
const FREEZE_TRIES: usize = 100;
const FREEZE_PAUSE: Duration = Duration::from_millis(2);

impl Active {
    /// Waits until all clients have halted, exports the state, and waits for the verdict. Returns
    /// whether another process has the connection, which is closing then.
    pub(super) async fn halt_and_export(&mut self) -> bool {
        let (broker, connection) = (self.base.broker.clone(), self.base.connection.clone());
        if !broker.halt.wait(&connection).await {
            return false;
        }
        let turn = broker.halt.turn().await;
        let output = freeze(&connection).await;
        let is_frozen = output.is_some();
        let state = output.and_then(|output| self.export(&output));
        let exported = state.map(|state| turn.exported(state));
        let is_moved = match broker.halt.hand(&connection, exported).await {
            Some(leaving) => self.withdraw(leaving).await,
            None => false,
        };
        connection.set_halted(false);
        if is_moved {
            connection.close_handed_over();
        } else if is_frozen {
            with_buffers(|buffers| connection.unfreeze(buffers));
        }
        is_moved
    }

    /// Ends the subscriptions here, which another process has, and waits for the final verdict.
    /// Without it the client stays, and subscribes again.
    async fn withdraw(&mut self, leaving: Leaving) -> bool {
        let connection = self.base.connection.clone();
        let subscriptions = connection.subscriptions.lock().drain();
        leave(&self.account, &subscriptions).await;
        if leaving.withdrawn.send(()).is_ok() && leaving.moved.await.is_ok() {
            return true;
        }
        for part in subscriptions.chunks(LEAVING_AT_ONCE) {
            with_buffers(|buffers| {
                for subscription in part {
                    let again = Arc::new(subscription.moved());
                    connection.subscriptions.lock().insert(again.clone());
                    self.account.subscribe(buffers, again);
                }
                buffers.flush_touched();
            });
            give_way().await;
        }
        // Nobody publishes before all have subscribed again.
        connection.set_halted(false);
        self.base.broker.halt.over().await;
        false
    }

    /// The state; `None` if it cannot be handed over.
    fn export(&self, output: &[u8]) -> Option<ClientState> {
        let (connect, pinged) = match &self.standing {
            Standing::Member { pinged, .. } => (Some(self.options.json()), *pinged),
            Standing::Silent { tried: None, .. } => (None, false),
            Standing::Silent { .. } | Standing::MustLogIn { .. } => return None,
        };
        let input = self.base.link.input.unhandled();
        let (mut subscriptions, mut delivered) = (Vec::new(), Vec::new());
        for subscription in self.base.connection.subscriptions.lock().iter() {
            let (subject, sid) = (subscription.subject(), subscription.sid());
            let line = match subscription.queue() {
                Some(queue) => [b"SUB ", subject, b" ", queue, b" ", sid, b"\r\n"].concat(),
                None => [b"SUB ", subject, b" ", sid, b"\r\n"].concat(),
            };
            subscriptions.extend_from_slice(&line);
            if subscriptions.len() > PART_MAX {
                return None;
            }
            // One that has had all its messages is about to end.
            let (max, had) = (subscription.max(), subscription.delivered.value());
            if max > 0 {
                let line = [b"UNSUB ", sid, b" ", max.to_string().as_bytes(), b"\r\n"].concat();
                subscriptions.extend_from_slice(&line);
            }
            let had = match max {
                0 => had,
                max => had.min(max - 1),
            };
            if had > 0 {
                delivered
                    .extend_from_slice(&[sid, b" ", had.to_string().as_bytes(), b"\n"].concat());
            }
        }
        let guard = self.permission_cache.as_ref().map(|it| it.guard());
        let grants = guard.and_then(|guard| guard.grants.as_ref());
        let replies = match grants {
            Some(grants) => grants.open(MonotonicMillis::now(), PART_MAX)?,
            None => Vec::new(),
        };
        let connect_len = connect.as_ref().map_or(0, String::len);
        let lens = [
            subscriptions.len(),
            delivered.len(),
            replies.len(),
            input.len(),
            connect_len,
        ];
        if lens.into_iter().any(|len| len > PART_MAX) {
            return None;
        }
        Some(ClientState {
            cid: self.base.connection.cid,
            peer: Some(self.base.connection.peer),
            connect,
            nonce: self.base.nonce.to_string(),
            proof: self.base.connection.identity.lock().proof,
            pinged,
            subscriptions: BASE64.encode(&subscriptions),
            delivered: BASE64.encode(&delivered),
            replies: BASE64.encode(&replies),
            input: BASE64.encode(&input),
            output: BASE64.encode(output),
        })
    }
}

/// Freezes the outbound queue once what the socket accepts is written.
async fn freeze(connection: &Arc<Connection>) -> Option<Vec<u8>> {
    if connection.tls().is_some() || connection.websocket().is_some() {
        return None;
    }
    for _ in 0..FREEZE_TRIES {
        with_buffers(|buffers| connection.flush(buffers));
        if let Some(output) = connection.freeze(PART_MAX) {
            return Some(output);
        }
        if connection.outbound().backlog().pending > PART_MAX {
            return None;
        }
        sleep(FREEZE_PAUSE).await;
    }
    None
}

/// A client that was taken over and is not served yet.
pub struct Taken {
    active: Box<Active>,
    stream: Arc<tokio::net::TcpStream>,
    open: OpenSocket,
}

/// Takes over a client, of which nothing is read and to which nothing is written before
/// [`Taken::serve`]: until then the other process may still have it back. To be called in the
/// runtime, while the thread's buffers are not in use.
///
///  # Errors
///
/// The socket or the state cannot be used.
pub fn take_over(
    broker: &Arc<Broker>,
    listener: &Arc<ClientListener>,
    stream: TcpStream,
    state: &ClientState,
) -> io::Result<Taken> {
    let decode = |text: &str| {
        let decoded = BASE64.decode(text.as_bytes());
        decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let (subscriptions, replies) = (decode(&state.subscriptions)?, decode(&state.replies)?);
    let (input, output) = (decode(&state.input)?, decode(&state.output)?);
    let delivered = decode(&state.delivered)?;
    let options = match &state.connect {
        Some(json) => {
            let merged = ConnectOptions::default().merge(json.as_bytes());
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, json_fault(&error));
            Some(merged.map_err(invalid)?)
        }
        None => None,
    };
    let peer = match state.peer {
        Some(peer) => peer,
        None => as_shown(stream.peer_addr()?),
    };
    stream.set_nonblocking(true)?;
    let stream = Arc::new(tokio::net::TcpStream::from_std(stream)?);
    let connection = Arc::new(Connection::new(
        Kind::Client,
        state.cid,
        peer,
        stream.clone(),
        broker.limits.current().max_pending,
        broker.registry.budget.clone(),
    ));
    // The queue of a new connection is free and empty.
    let _nothing = connection.freeze(0);
    let greeting = Greeting::new(broker.clone(), listener.clone(), connection.clone());
    // All of them were connected already.
    broker.registry.insert(&connection, usize::MAX);
    let base = greeting.done(Begun {
        nonce: state.nonce.as_str().into(),
        cookies: None,
    });
    let mut active = Box::new(Active::silent(base));
    with_buffers(|buffers| {
        connection.send(buffers, &output);
        match active.take_up(buffers, options, state) {
            Ok(()) => {
                active.replay(buffers, &subscriptions);
                connection.restore_delivered(&delivered);
                active.permit_replies(&replies);
                active.base.link.input.keep(&input);
                if !input.is_empty() {
                    active.base.link.held = HeldFor::Others;
                }
            }
            Err(end) => {
                log_end(broker, &connection, &end, None, None);
                active.base.conclude(buffers, &end);
            }
        }
        buffers.flush_touched();
    });
    Ok(Taken {
        active,
        stream,
        open: OpenSocket::new(),
    })
}

impl Taken {
    /// Serves it from now on.
    pub fn serve(self) {
        let Self {
            active,
            stream,
            open,
        } = self;
        with_buffers(|buffers| active.base.connection.unfreeze(buffers));
        // It is told of the other limits and the other id.
        info::notify_info(&active.base.broker, &active.base.connection);
        tokio::spawn(async move {
            let _open = open;
            run(ready(Some(active)), stream).await;
        });
    }
}

impl Connection {
    /// Restores how many messages its subscriptions have had: a line `sid count` for each.
    fn restore_delivered(&self, lines: &[u8]) {
        // The counts are written under the lock of the queue.
        let Some(_appender) = self.append() else {
            return;
        };
        let subscriptions = self.subscriptions.lock();
        for line in lines.split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ');
            let (Some(sid), Some(count)) = (words.next(), words.next()) else {
                continue;
            };
            let count = std::str::from_utf8(count)
                .ok()
                .and_then(|it| it.parse().ok());
            if let (Some(subscription), Some(count)) = (subscriptions.get(sid), count) {
                subscription.delivered.add(count);
            }
        }
    }
}

impl Active {
    /// Identifies the client anew, and makes it a member of its account.
    fn take_up(
        &mut self,
        buffers: &mut ThreadBuffers,
        options: Option<ConnectOptions>,
        state: &ClientState,
    ) -> Result<(), End> {
        let said = options.clone().unwrap_or_default();
        let is_required = self.base.listener.authentication.read().is_required();
        let refuse = |refusal: &Refusal| End {
            // It did not guess.
            login: None,
            ..refused(&said.credentials, refusal)
        };
        if !self.base.limits.admits(self.base.connection.peer.ip()) {
            return Err(refuse(&Refusal::PortSource));
        }
        let Some(options) = options else {
            self.standing = Standing::Silent {
                spoke: true,
                tried: None,
            };
            return match is_required {
                true => Err(refuse(&Refusal::NotLoggedIn)),
                false => Ok(()),
            };
        };
        let login: Login = match self.base.identify(&said, state.proof) {
            Verdict::Accept(login) => login,
            // Its password is another one now, or is stored in another way.
            Verdict::Check(_) => return Err(refuse(&Refusal::WrongPassword)),
            Verdict::Refuse(refusal) => return Err(refuse(&refusal)),
        };
        let account = self.base.account_of(&login, &said.credentials)?;
        self.go_on_as(buffers, account, login, options, state.pinged);
        Ok(())
    }

    /// Makes its subscriptions again; it was confirmed that it has them.
    fn replay(&mut self, buffers: &mut ThreadBuffers, subscriptions: &[u8]) {
        let verbose = std::mem::replace(&mut self.options.verbose, false);
        self.handle_read_batch(buffers, subscriptions);
        self.options.verbose = verbose;
    }

    /// Lets it answer the requests that it has got.
    fn permit_replies(&self, replies: &[u8]) {
        let guard = self.permission_cache.as_ref().map(|it| it.guard());
        if let Some(grants) = guard.and_then(|guard| guard.grants.as_ref()) {
            grants.restore(replies, MonotonicMillis::now());
        }
    }

    /// Whether the session is to halt before its next turn.
    pub(super) fn has_to_halt(&self) -> bool {
        self.base.broker.halt.is_wanted()
            && self.unanswered.is_empty()
            && !self.base.connection.is_closing()
    }

    /// The client is the member of an account again.
    fn go_on_as(
        &mut self,
        buffers: &mut ThreadBuffers,
        account: Arc<Account>,
        mut login: Login,
        options: ConnectOptions,
        pinged: bool,
    ) {
        let membership = self.base.join_again(&account);
        self.standing = Standing::Member { membership, pinged };
        self.account = account;
        self.permit(login.permissions.take());
        self.base.note_identity(login, Some(&options));
        self.resume_options(buffers, options);
    }
}
