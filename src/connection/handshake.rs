//! Shaking hands: from a socket to [`Tls`], without holding others up.
//!
//! A handshake costs milliseconds of pure computation, so it is done by threads
//! of its own ([`Handshakers`]) that the system runs after those that deliver
//! messages. In between, a task waits for the peer. What waits is bounded: the
//! peer's time by `patience`, its bytes by [`INCOMING_LEN_MAX`], the number of
//! unfinished handshakes by [`UNFINISHED_MAX`], and what the long ones among
//! them have sent by [`LONG_MAX`].

use std::{
    collections::VecDeque,
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex};
use rustls::{
    ClientConfig, ServerConfig, client::UnbufferedClientConnection, pki_types::ServerName,
    server::UnbufferedServerConnection,
};
use socket2::SockRef;
use tokio::{net::TcpStream, sync::oneshot, time::timeout};

use super::transport::{Progress, Session, Tls};
use crate::security::failure::{Cause, Failure};

/// Bytes that a peer may send before its handshake is done.
const INCOMING_LEN_MAX: usize = 64 * 1024;

/// Bytes read at once: a peer's flight with a chain of RSA certificates fits.
const READ_LEN: usize = 8 * 1024;

/// What a TLS record begins with that is part of a handshake.
const HANDSHAKE: u8 = 22;

/// Handshakes under way at a time. More than the threads get done within any
/// client's patience.
pub const UNFINISHED_MAX: usize = 8192;

/// Bytes that an unfinished handshake holds beside what is beyond [`READ_LEN`]:
/// what has come, the session, the flight to be sent. An estimate.
const UNFINISHED_LEN: usize = 16 * 1024;

/// Bytes beyond [`READ_LEN`] that all unfinished handshakes together may hold:
/// most never need them.
const LONG_MAX: usize = 32 * 1024 * 1024;

/// Stack of a thread that shakes hands.
const STACK_LEN: usize = 512 * 1024;

/// How much the threads that deliver messages come first.
const NICE: i32 = 10;

/// Nanoseconds that a thread that shakes hands would like to run at a stretch;
/// the longest that Linux takes. Whoever wants less interrupts it as soon as
/// there is something to do, where otherwise it would wait for the end of a
/// stretch of some milliseconds. Kernels before 6.12 do not look at it.
const STRETCH_NS: u64 = 100_000_000;

/// The threads that shake hands, and how many peers wait for them.
pub struct Handshakers {
    work: Arc<Work>,
    unfinished: Arc<Unfinished>,
}

/// Handshakes under way.
#[derive(Default)]
struct Unfinished {
    count: AtomicUsize,
    /// What they hold beyond [`READ_LEN`] each.
    long: AtomicUsize,
    /// The most that they have held since [`Handshakers::look`].
    most: AtomicUsize,
}

/// The unfinished handshakes of the process, as those who watch see them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HandshakeLook {
    /// How many there are.
    pub count: usize,
    /// Bytes that they hold; an estimate.
    pub held: usize,
    /// The most that they have held since the look before.
    pub most: usize,
}

impl Unfinished {
    /// Bytes that they hold.
    fn held(&self) -> usize {
        let long = self.long.load(Ordering::Relaxed);
        self.count.load(Ordering::Relaxed) * UNFINISHED_LEN + long
    }
}

#[derive(Default)]
struct Work {
    queue: Mutex<VecDeque<Job>>,
    arrived: Condvar,
}

type Job = Box<dyn FnOnce() + Send>;

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
        let work = Arc::new(Work::default());
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for number in 0..threads {
            let work = work.clone();
            thread::Builder::new()
                .name(format!("handshake-{number}"))
                .stack_size(STACK_LEN)
                .spawn(move || work.run())?;
        }
        Ok(Self {
            work,
            unfinished: Arc::default(),
        })
    }

    /// Handshakes under way.
    pub fn unfinished(&self) -> usize {
        self.unfinished.count.load(Ordering::Relaxed)
    }

    /// Looks at the unfinished handshakes of all listeners; whoever does owns the
    /// mark of the most that they have held.
    pub fn look() -> HandshakeLook {
        let Some(shared) = SHARED.get() else {
            return HandshakeLook::default();
        };
        let held = shared.unfinished.held();
        HandshakeLook {
            count: shared.unfinished(),
            held,
            most: shared.unfinished.most.swap(held, Ordering::Relaxed),
        }
    }

    /// Shakes hands with a peer that begins. `patience` is the time that the
    /// peer may keep us waiting; the time it waits for us does not count.
    ///
    /// # Errors
    ///
    /// Why it failed; the peer was told as far as TLS has it.
    pub async fn accept(
        &self,
        stream: &Arc<TcpStream>,
        config: Arc<ServerConfig>,
        patience: Duration,
    ) -> Result<Tls, Failure> {
        let session = UnbufferedServerConnection::new(config);
        let session = session.map_err(|error| Failure::of(&error))?;
        let session = Session::Server(Box::new(session));
        self.shake(stream, session, patience).await
    }

    /// Shakes hands with a server: we begin.
    ///
    /// # Errors
    ///
    /// Why it failed; the peer was told as far as TLS has it.
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
        self.shake(stream, session, patience).await
    }

    async fn shake(
        &self,
        stream: &Arc<TcpStream>,
        session: Session,
        patience: Duration,
    ) -> Result<Tls, Failure> {
        let mut place = Place::take(&self.unfinished).ok_or_else(|| {
            let text = format!("{UNFINISHED_MAX} handshakes are under way already");
            Failure::new(Cause::TooMany, text)
        })?;
        let mut left = patience;
        let begins = matches!(session, Session::Client(_));
        let mut step = Step {
            session,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            plain: Vec::new(),
            result: Ok(Progress::Blocked),
        };
        let mut read = !begins;
        let mut first = true;
        loop {
            if read {
                let received = wait(&mut left, receive(stream, &mut step.incoming)).await;
                received.map_err(|failure| match failure.cause {
                    Cause::Closed if first && !begins => Failure {
                        cause: Cause::Silent,
                        ..failure
                    },
                    _ => failure,
                })?;
                if !place.hold(step.incoming.len()) {
                    let text = "the handshakes under way hold too much already";
                    return Err(Failure::new(Cause::TooMany, text));
                }
            }
            step = self.advance(stream, step, first).await?;
            first = false;
            read = true;
            if !step.outgoing.is_empty() {
                wait(&mut left, send(stream, &mut step.outgoing)).await?;
            }
            match step.result? {
                Progress::Blocked => step.result = Ok(Progress::Blocked),
                Progress::Established => break,
                Progress::Ended => return Err(closed()),
            }
        }
        Ok(Tls::new(step.session, step.incoming, step.plain))
    }

    /// Has one step computed. Who is in the middle comes before who begins: a
    /// handshake that was paid for should not run out of time.
    async fn advance(
        &self,
        stream: &Arc<TcpStream>,
        mut step: Step,
        first: bool,
    ) -> Result<Step, Failure> {
        let stream = stream.clone();
        let job = move || {
            // To greet who has left meanwhile is not worth the computation. Any
            // other last words tell why it left.
            if step.incoming.first() == Some(&HANDSHAKE) && has_left(&stream) {
                step.result = Err(closed());
            } else {
                step.compute();
            }
            step
        };
        self.compute(job, first).await
    }

    /// Has something computed by a thread, after all else that waits if it is to
    /// be `behind`.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        behind: bool,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more: the connection was closed meanwhile.
            let _ = sender.send(job());
        });
        self.work.add(job, behind);
        let gone = |_| Failure::new(Cause::Other, "the handshake was not finished");
        receiver.await.map_err(gone)
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

impl Work {
    fn add(&self, job: Job, behind: bool) {
        let mut queue = self.queue.lock();
        match behind {
            true => queue.push_back(job),
            false => queue.push_front(job),
        }
        drop(queue);
        self.arrived.notify_one();
    }

    fn run(&self) {
        come_last();
        loop {
            let mut queue = self.queue.lock();
            let job = loop {
                match queue.pop_front() {
                    Some(job) => break job,
                    None => self.arrived.wait(&mut queue),
                }
            };
            drop(queue);
            // A job that panics fails its own handshake, not those to come.
            if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("A TLS handshake was given up for an error in the broker");
            }
        }
    }
}

/// Has the system run the calling thread after others. Where it refuses, the
/// thread stays as it is.
fn come_last() {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: NICE,
        sched_priority: 0,
        sched_runtime: STRETCH_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the call reads `size` bytes of `attributes`, which is of that size
    // and lives until it returns; thread 0 is the calling one, there are no flags.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
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
        Err(_) => Err(Failure::new(Cause::Timeout, "TLS handshake timeout")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(closed()),
        Ok(Err(error)) => Err(Failure::new(Cause::Closed, error.to_string())),
        Ok(Ok(())) => Ok(()),
    }
}

fn closed() -> Failure {
    Failure::new(Cause::Closed, "the peer closed the connection")
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

/// Whether the peer has closed its side.
fn has_left(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// One of [`UNFINISHED_MAX`] places, given back when dropped.
struct Place {
    of: Arc<Unfinished>,
    /// What it holds beyond [`READ_LEN`].
    long: usize,
}

impl Place {
    fn take(unfinished: &Arc<Unfinished>) -> Option<Self> {
        let place = Self {
            of: unfinished.clone(),
            long: 0,
        };
        let before = unfinished.count.fetch_add(1, Ordering::Relaxed);
        // Dropping gives a place back that was one too many.
        (before < UNFINISHED_MAX).then_some(place)
    }

    /// Whether it may hold so many bytes.
    fn hold(&mut self, len: usize) -> bool {
        let before = std::mem::replace(&mut self.long, len.saturating_sub(READ_LEN));
        self.of.long.fetch_sub(before, Ordering::Relaxed);
        let others = self.of.long.fetch_add(self.long, Ordering::Relaxed);
        self.of.most.fetch_max(self.of.held(), Ordering::Relaxed);
        self.long == 0 || others + self.long <= LONG_MAX
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.long.fetch_sub(self.long, Ordering::Relaxed);
        self.of.count.fetch_sub(1, Ordering::Relaxed);
    }
}
