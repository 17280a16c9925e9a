//! TLS handshakes: from a socket to [`Tls`], without holding others up.
//!
//! A handshake costs milliseconds of pure computation, so it is done by threads
//! of its own ([`threads`]). In between, a task waits for the peer. What waits is
//! bounded: the peer's time by `patience`, its bytes by [`INCOMING_LEN_MAX`] and
//! [`RECEIVED_MAX`], the steps by [`STEPS_MAX`], the number of unfinished handshakes
//! by the places before the login (and by [`UNFINISHED_MAX`], should those fail), and
//! that of the long ones among them by [`LONG_MAX`].
//!
//! Where more peers begin than can be served, [`waiting`] decides who is, so that few
//! signatures are wasted on peers that give up before they have them.

mod attempt;
mod patience;
#[cfg(test)]
mod simulation;
mod threads;
mod unfinished;
mod waiting;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use once_cell::sync::OnceCell;
use rustls::{
    ClientConfig, ServerConfig, client::UnbufferedClientConnection, pki_types::ServerName,
    server::UnbufferedServerConnection,
};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};

pub(super) use self::threads::Turn;
use self::{
    attempt::{Attempt, has_left, leaves},
    threads::Threads,
    unfinished::{Place, Unfinished},
};
use super::{
    admission::{self, Places, Source},
    transport::{Progress, Session, Tls},
};
use crate::security::failure::{Cause, Failure};

/// Bytes that a peer may send before its handshake is done.
const INCOMING_LEN_MAX: usize = 64 * 1024;

/// Bytes that a peer may send in a whole handshake, and the pieces in which they
/// may come: one that keeps sending never runs out of `patience`.
const RECEIVED_MAX: usize = 2 * INCOMING_LEN_MAX;
const STEPS_MAX: usize = 1024;

/// Bytes of one read: a peer's flight with a chain of RSA certificates fits.
const READ_LEN: usize = 8 * 1024;

/// The first byte of a TLS record that is part of a handshake.
const HANDSHAKE: u8 = 22;

/// Handshakes under way at a time: more than there are places before the login.
pub const UNFINISHED_MAX: usize = 10_000;

/// Handshakes at a time that hold more than [`READ_LEN`], which most never need:
/// together 32 MiB.
const LONG_MAX: usize = 512;

/// The longest that one of them may take; other bounds come first.
const LONG_HOLD: Duration = Duration::from_secs(3600);

/// The error for a peer that does not continue in time.
const TIMEOUT: &str = "TLS handshake timeout";

/// The same of one that never began.
const NOTHING_CAME: &str = "TLS handshake timeout: the client sent nothing since it connected; it \
                            may not understand INFO, or wait for something else";

/// The threads that compute handshakes, and how many peers wait for them.
pub struct Handshakers {
    threads: Arc<Threads>,
    unfinished: Arc<Unfinished>,
    /// The places of the long ones.
    long: Arc<Places>,
}

/// The unfinished handshakes of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnfinishedHandshakes {
    /// How many there are.
    pub count: usize,
    /// Bytes that they hold; an estimate.
    pub held: usize,
}

/// A place among the long handshakes, and word that it is taken away.
type LongPlace = (admission::Place, oneshot::Receiver<()>);

/// A handshake between two steps.
struct Step {
    session: Session,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    plain: Vec<u8>,
    result: Result<Progress, Failure>,
}

/// The threads of this process, once it has any.
static SHARED: OnceCell<Arc<Handshakers>> = OnceCell::new();

impl Handshakers {
    /// The threads that all listeners share: one for each processor, started
    /// with the first call.
    ///
    /// # Errors
    ///
    /// The threads cannot be had.
    pub fn shared() -> io::Result<Arc<Self>> {
        SHARED
            .get_or_try_init(|| Self::start().map(Arc::new))
            .cloned()
    }

    fn start() -> io::Result<Self> {
        Ok(Self {
            threads: Threads::start()?,
            unfinished: Arc::default(),
            long: Places::new("long_handshake", LONG_MAX, 0),
        })
    }

    /// Peers are expected to leave after this time, as long as nothing else is known: the longest
    /// of all listeners, which share what is known.
    pub fn expect(timeout: Duration) {
        if let Some(shared) = SHARED.get() {
            shared.threads.learn(|known| known.expect(timeout));
        }
    }

    /// Handshakes under way.
    pub fn unfinished(&self) -> usize {
        self.unfinished.count()
    }

    /// The unfinished handshakes of all listeners.
    pub fn all_unfinished() -> UnfinishedHandshakes {
        SHARED
            .get()
            .map_or_else(UnfinishedHandshakes::default, |shared| {
                UnfinishedHandshakes {
                    count: shared.unfinished(),
                    held: shared.unfinished.held(),
                }
            })
    }

    /// The most bytes that they have held since the last call, of which there is one
    /// caller: housekeeping.
    pub fn take_most_held() -> usize {
        SHARED
            .get()
            .map_or(0, |shared| shared.unfinished.take_most())
    }

    /// The places of long handshakes, of all listeners, if there are any.
    pub fn long_places() -> Option<Arc<Places>> {
        Some(SHARED.get()?.long.clone())
    }

    /// Shakes hands with a peer that begins. `patience` is the time that the
    /// peer may keep us waiting; the time it waits for us does not count.
    ///
    /// # Errors
    ///
    /// Why it failed; the peer got the alert that TLS has for it.
    pub async fn accept(
        &self,
        stream: &Arc<TcpStream>,
        config: Arc<ServerConfig>,
        patience: Duration,
    ) -> Result<Tls, Failure> {
        let session = UnbufferedServerConnection::new(config);
        let session = session.map_err(|error| Failure::of(&error))?;
        let session = Session::Server(Box::new(session));
        let attempt = Arc::new(Attempt::default());
        let result = self.shake(stream, session, patience, Some(&attempt)).await;
        self.threads.learn(|known| attempt.tell(known, &result));
        result
    }

    /// Shakes hands with a server: we begin.
    ///
    /// # Errors
    ///
    /// Why it failed; the peer got the alert that TLS has for it.
    pub async fn connect(
        &self,
        stream: &Arc<TcpStream>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        patience: Duration,
    ) -> Result<Tls, Failure> {
        let session = UnbufferedClientConnection::new(config, name);
        let session = session.map_err(|error| Failure::of(&error))?;
        let session = Session::Client(Box::new(session));
        self.shake(stream, session, patience, None).await
    }

    /// `attempt` is that of a peer that begins. Handshakes that we begin are few, and do not
    /// wait.
    async fn shake(
        &self,
        stream: &Arc<TcpStream>,
        session: Session,
        patience: Duration,
        attempt: Option<&Arc<Attempt>>,
    ) -> Result<Tls, Failure> {
        let mut place = Place::take(&self.unfinished).ok_or_else(|| {
            let text = format!("{UNFINISHED_MAX} handshakes are under way already");
            Failure::new(Cause::TooMany, text)
        })?;
        let mut long = None;
        let mut left = patience;
        let mut beginning = attempt;
        let mut step = Step {
            session,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            plain: Vec::new(),
            result: Ok(Progress::Blocked),
        };
        let mut read = attempt.is_some();
        let mut bytes = 0;
        for _ in 0..STEPS_MAX {
            if read {
                let held = step.incoming.len();
                let received = tokio::select! {
                    biased;
                    () = is_cut(&mut long) => {
                        let text = "too many long handshakes are under way";
                        return Err(Failure::new(Cause::TooMany, text));
                    }
                    received = wait(&mut left, receive(stream, &mut step.incoming)) => received,
                };
                received.map_err(|failure| match failure.cause {
                    Cause::Closed if bytes == 0 && attempt.is_some() => Failure {
                        cause: Cause::Silent,
                        ..failure
                    },
                    Cause::Timeout if bytes == 0 && attempt.is_some() => {
                        Failure::new(Cause::Timeout, NOTHING_CAME)
                    }
                    _ => failure,
                })?;
                bytes += step.incoming.len() - held;
                if bytes > RECEIVED_MAX {
                    break;
                }
                place.hold(step.incoming.len());
                match &long {
                    _ if step.incoming.len() <= READ_LEN => long = None,
                    Some((place, _)) => place.mark_active(),
                    None => long = self.take_long(stream),
                }
            }
            if attempt.is_some() && begins_http(&step.incoming) {
                return Err(Failure {
                    is_http: true,
                    ..Failure::new(Cause::NotTls, "the peer sent an HTTP request without TLS")
                });
            }
            step = self.advance(stream, step, beginning).await?;
            read = true;
            if !step.outgoing.is_empty() {
                beginning = None;
                wait(&mut left, send(stream, &mut step.outgoing)).await?;
            }
            match step.result? {
                Progress::Blocked => step.result = Ok(Progress::Blocked),
                Progress::Established => {
                    return Ok(Tls::new(step.session, step.incoming, step.plain));
                }
                Progress::Ended => return Err(closed()),
            }
        }
        Err(Failure::new(Cause::NotTls, "an endless handshake"))
    }

    /// Reserves a place of the long handshakes. `None`: the peer has left.
    fn take_long(&self, stream: &TcpStream) -> Option<LongPlace> {
        let source = Source::of(stream.peer_addr().ok()?.ip());
        let (cut, lost) = oneshot::channel();
        // The peer's own patience, and the place before the login, bound the time.
        let place = self.long.take(source, false, LONG_HOLD, move |_| {
            // Fails if the owner has ended meanwhile.
            let _ = cut.send(());
        });
        Some((place, lost))
    }

    /// Runs one step of the computation, unless the peer leaves meanwhile: a ServerHello
    /// would be wasted then. `beginning`: the peer has had no answer yet.
    async fn advance(
        &self,
        stream: &Arc<TcpStream>,
        mut step: Step,
        beginning: Option<&Arc<Attempt>>,
    ) -> Result<Step, Failure> {
        let is_greeted = step.incoming.first() == Some(&HANDSHAKE);
        let turn = beginning.map_or(Turn::Next, |attempt| attempt.turn());
        let beginning = beginning.map(|attempt| (attempt.clone(), stream.clone()));
        let done = self.compute(turn, move || {
            if let Some((attempt, stream)) = beginning {
                // Its task may not have run since it left.
                if is_greeted && has_left(&stream) {
                    step.result = Err(closed());
                    return step;
                }
                attempt.begin();
            }
            step.compute();
            step
        });
        tokio::select! {
            biased;
            done = done => done,
            () = leaves(stream), if is_greeted => Err(closed()),
        }
    }

    /// Has something computed when it is its turn.
    ///
    /// # Errors
    ///
    /// There was an error in the broker.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        turn: Turn,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.threads.compute(turn, job).await;
        done.ok_or_else(|| Failure::new(Cause::Other, "the handshake was not finished"))
    }
}

impl Step {
    fn compute(&mut self) {
        let (handled, result) =
            self.session
                .advance(&mut self.incoming, &mut self.plain, &mut self.outgoing);
        self.incoming.drain(..handled);
        self.result = match result {
            Ok(_) if self.incoming.len() > INCOMING_LEN_MAX => {
                Err(Failure::new(Cause::NotTls, "an endless handshake message"))
            }
            Ok(progress) => Ok(progress),
            Err(error) => Err(Failure::of(&error)),
        };
    }
}

/// Waits for the peer as long as there is patience.
async fn wait(
    left: &mut Duration,
    what: impl Future<Output = io::Result<()>>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let result = timeout(*left, what).await;
    *left = left.saturating_sub(start.elapsed());
    match result {
        Err(_) => Err(Failure::new(Cause::Timeout, TIMEOUT)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(closed()),
        Ok(Err(error)) => Err(Failure::new(Cause::Closed, error.to_string())),
        Ok(Ok(())) => Ok(()),
    }
}

fn closed() -> Failure {
    Failure::new(Cause::Closed, "the peer closed the connection")
}

/// Whether these first bytes are those of an HTTP request. A TLS record begins with none of them.
fn begins_http(bytes: &[u8]) -> bool {
    let methods: [&[u8]; 4] = [b"GET ", b"HEAD ", b"POST ", b"OPTIONS "];
    methods.iter().any(|method| bytes.starts_with(method))
}

async fn receive(stream: &TcpStream, incoming: &mut Vec<u8>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        if incoming.capacity() - incoming.len() < READ_LEN / 2 {
            incoming.reserve_exact(READ_LEN);
        }
        match stream.try_read_buf(incoming) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(stream: &TcpStream, outgoing: &mut Vec<u8>) -> io::Result<()> {
    while !outgoing.is_empty() {
        match stream.try_write(outgoing) {
            Ok(written) => {
                outgoing.drain(..written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until the place of a long handshake is taken away; for ever without one.
async fn is_cut(long: &mut Option<LongPlace>) {
    let is_cut = match long {
        Some((_, lost)) => lost.await.is_ok(),
        None => false,
    };
    if !is_cut {
        std::future::pending().await
    }
}
