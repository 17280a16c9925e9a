//! Accepting monitoring connections, and the bounds of each.

use std::{convert::Infallible, future::Future, io, os::fd::AsRawFd, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{debug, warn};

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_rustls::TlsAcceptor;

use super::{access::MonitorListener, service, stream::BoundedStream};
use crate::monitor::{Monitor, cpu::SAMPLE_INTERVAL};
use crate::{
    connection::{
        accepting::{AcceptFailures, OpenSocket, Port, as_shown},
        admission::{Place, Places, Source},
    },
    telemetry::MonotonicMillis,
};

/// Bytes of a request's line and headers, and headers of a request.
const HEADER_LEN_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Time for a request's headers, counted from the end of the request before:
/// it also ends idle connections. Not a usual polling interval, so that the
/// next poll does not meet the close.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(8);

/// Time a peer may take for one whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for the handshake of a connection to an https port.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the answers in hand may take when the broker has handed its ports over.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection may be open: one that follows the events stays. What it
/// does has bounds of its own.
const HOLD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Accepts connections, and measures the processor use as long as the process lives.
pub(in crate::monitor) async fn run(
    monitor: Arc<Monitor>,
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
) {
    let admission = &monitor.server.broker.admission;
    tokio::join!(
        accept_if_there(&monitor, tcp, &admission.monitor),
        accept_if_there(&monitor, unix, &admission.monitor_socket),
        measure(&monitor)
    );
}

async fn accept_if_there<L: Listener>(
    monitor: &Arc<Monitor>,
    listener: Option<L>,
    places: &Arc<Places>,
) {
    if let Some(listener) = listener {
        accept(monitor, &listener, places).await;
    }
}

/// A listening socket: what differs between the monitoring port and the Unix
/// socket.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + AsRawFd + Send + Unpin + 'static;

    /// The next connection, its source, and its listener.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Source, MonitorListener)>>;

    /// Answers its requests until it ends.
    fn serve(
        monitor: Arc<Monitor>,
        stream: Self::Stream,
        listener: MonitorListener,
        place: Place,
    ) -> impl Future<Output = ()> + Send + 'static;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Source, MonitorListener)> {
        let (stream, peer) = self.accept().await?;
        let (local, peer) = (as_shown(stream.local_addr()?), as_shown(peer));
        Ok((
            stream,
            Source::of(peer.ip()),
            MonitorListener::Tcp { local, peer },
        ))
    }

    fn serve(
        monitor: Arc<Monitor>,
        stream: TcpStream,
        listener: MonitorListener,
        place: Place,
    ) -> impl Future<Output = ()> + Send + 'static {
        serve_tcp(monitor, stream, listener, place)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Source, MonitorListener)> {
        let (stream, _) = self.accept().await?;
        let user = stream.peer_cred()?.uid();
        Ok((stream, Source::User(user), MonitorListener::Unix(user)))
    }

    fn serve(
        monitor: Arc<Monitor>,
        stream: UnixStream,
        listener: MonitorListener,
        place: Place,
    ) -> impl Future<Output = ()> + Send + 'static {
        drive(monitor, stream, listener, place)
    }
}

async fn measure(monitor: &Monitor) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    // A process that was stopped for a while makes up for one sample, not for all missed
    // ones.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        monitor.cpu.sample();
    }
}

async fn accept<L: Listener>(monitor: &Arc<Monitor>, listener: &L, places: &Arc<Places>) {
    tokio::spawn(places.clone().keep_time());
    let mut failures = AcceptFailures::new("the monitor port", places);
    while let Some(accepted) = monitor.server.broker.gate.next(|| listener.next()).await {
        match accepted {
            Ok((stream, source, listener)) => {
                failures.end();
                let open = OpenSocket::new();
                if !Port::Monitoring
                    .has_free_descriptor(&stream, &open, places)
                    .await
                {
                    places.refuse();
                    let text = "Refused a monitoring connection: no file descriptor is left";
                    warn_of(monitor, listener, text.into());
                    continue;
                }
                let (cut, lost) = oneshot::channel();
                let place = places.take(source, false, HOLD, move |_| {
                    // The connection may have ended meanwhile.
                    let _ = cut.send(());
                });
                let served = L::serve(monitor.clone(), stream, listener, place);
                let monitor = monitor.clone();
                tokio::spawn(async move {
                    let _open = open;
                    serve_while_open(monitor, listener, served, lost).await;
                });
            }
            Err(error) => failures.pause(&error).await,
        }
    }
}

/// Serves a connection until it ends or is cut for another one.
async fn serve_while_open(
    monitor: Arc<Monitor>,
    listener: MonitorListener,
    served: impl Future<Output = ()>,
    lost: oneshot::Receiver<()>,
) {
    tokio::select! {
        biased;
        () = served => {}
        Ok(()) = lost => {
            let text = "Closed a silent monitoring connection: there are too many";
            warn_of(&monitor, listener, text.into());
        }
    }
}

/// Serves a connection to the port, with TLS if it is an https port.
async fn serve_tcp(
    monitor: Arc<Monitor>,
    stream: TcpStream,
    listener: MonitorListener,
    place: Place,
) {
    let Some(config) = monitor.tls_config() else {
        return drive(monitor, stream, listener, place).await;
    };
    let accepting = TlsAcceptor::from(config).accept(stream);
    match timeout(HANDSHAKE_TIMEOUT, accepting).await {
        Ok(Ok(stream)) => drive(monitor, stream, listener, place).await,
        // It left; if it had sent nothing, it was a probe.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let (ip, port, text) =
                listener.line("Left the monitor port before the TLS handshake ended");
            debug!(ip, port, "{text}");
        }
        Ok(Err(error)) => {
            let text = format!("TLS handshake error on the monitor port: {error}");
            warn_of(&monitor, listener, text);
        }
        Err(_) => warn_of(
            &monitor,
            listener,
            "TLS handshake timeout on the monitor port".into(),
        ),
    }
}

/// Logs that a connection was closed early or a request refused, unless there are many of them.
pub(super) fn warn_of(monitor: &Monitor, listener: MonitorListener, text: String) {
    let text = monitor
        .sent_away
        .throttle(MonotonicMillis::now(), text, "connections");
    if let Some(text) = text {
        let (ip, port, text) = listener.line(&text);
        warn!(ip, port, "{text}");
    }
}

async fn drive<S>(monitor: Arc<Monitor>, stream: S, listener: MonitorListener, place: Place)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let response = service::respond(monitor.clone(), request, listener);
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_header_size(HEADER_LEN_MAX)
        .max_buf_size(HEADER_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(BoundedStream::new(stream, ANSWER_TIMEOUT, place)),
            answer,
        );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        // Who reads on connects again, and reaches the process that has the port now.
        () = monitor.server.broker.gate.shutting() => {
            Pin::new(&mut connection).graceful_shutdown();
            timeout(LAST_ANSWERS_TIMEOUT, &mut connection).await.unwrap_or(Ok(()))
        }
    };
    let Err(error) = ended else {
        return;
    };
    let has_begun = !connection.into_parts().read_buf.is_empty();
    if error.is_timeout() && has_begun {
        let text = format!("A request was not complete within {HEADER_READ_TIMEOUT:?}");
        warn_of(&monitor, listener, text);
    } else if error.is_parse() {
        warn_of(&monitor, listener, format!("Not an HTTP request: {error}"));
    } else {
        // It left, or was idle for long.
        let (ip, port, text) = listener.line(&format!("A monitoring connection ended: {error}"));
        debug!(ip, port, "{text}");
    }
}
