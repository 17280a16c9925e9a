//! Accepting monitoring connections, and the bounds of each.

use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, warn};

use super::{
    Monitor, door::Door, process::SAMPLE_INTERVAL, service, slot::Slot, stream::BoundedStream,
};
use crate::telemetry::Clock;

/// Monitoring connections at a time and listener. Pollers and open browsers are
/// a handful; each connection may hold an answer in memory.
const CONNECTIONS_MAX: usize = 64;

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

/// Waits after a failed accept: doubled from the first to the last.
const ACCEPT_RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What a connection beyond [`CONNECTIONS_MAX`] gets.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\
    Content-Length: 58\r\n\
    \r\n\
    Too many monitoring connections are open; try again later.";

/// Accepts connections and measures the processor use, for ever.
pub(super) async fn run(
    monitor: Arc<Monitor>,
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
) {
    tokio::join!(
        accept_if_there(&monitor, tcp),
        accept_if_there(&monitor, unix),
        measure(&monitor)
    );
}

async fn accept_if_there<L: Listener>(monitor: &Arc<Monitor>, listener: Option<L>) {
    if let Some(listener) = listener {
        accept(monitor, &listener).await;
    }
}

/// A listening socket: what differs between the monitoring port and the Unix
/// socket.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, and where its requests come in.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Door)>>;

    /// Says why it is refused, as far as the fresh socket takes it at once.
    fn refuse(stream: &Self::Stream) -> io::Result<usize>;

    /// Answers its requests until it ends.
    fn serve(
        monitor: Arc<Monitor>,
        stream: Self::Stream,
        door: Door,
        slot: Slot,
    ) -> impl Future<Output = ()> + Send + 'static;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Door)> {
        let (stream, peer) = self.accept().await?;
        let local = stream.local_addr()?;
        Ok((stream, Door::Tcp { local, peer }))
    }

    fn refuse(stream: &TcpStream) -> io::Result<usize> {
        // Unread bytes would turn the close into a reset that may destroy the
        // refusal on its way; what has not come yet cannot be helped.
        let _ = stream.try_read(&mut [0; 4096]);
        stream.try_write(BUSY)
    }

    fn serve(
        monitor: Arc<Monitor>,
        stream: TcpStream,
        door: Door,
        slot: Slot,
    ) -> impl Future<Output = ()> + Send + 'static {
        serve_tcp(monitor, stream, door, slot)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Door)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, Door::Unix))
    }

    fn refuse(stream: &UnixStream) -> io::Result<usize> {
        let _ = stream.try_read(&mut [0; 4096]);
        stream.try_write(BUSY)
    }

    fn serve(
        monitor: Arc<Monitor>,
        stream: UnixStream,
        door: Door,
        slot: Slot,
    ) -> impl Future<Output = ()> + Send + 'static {
        drive(monitor, stream, door, slot)
    }
}

async fn measure(monitor: &Monitor) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    // A process that was stopped for a while takes one sample, not all missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        monitor.cpu.sample();
    }
}

async fn accept<L: Listener>(monitor: &Arc<Monitor>, listener: &L) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut retry = ACCEPT_RETRY.0;
    loop {
        match listener.next().await {
            Ok((stream, door)) => {
                retry = ACCEPT_RETRY.0;
                match Slot::take(&open, CONNECTIONS_MAX) {
                    Some(slot) => {
                        tokio::spawn(L::serve(monitor.clone(), stream, door, slot));
                    }
                    None => {
                        let text =
                            format!("More than {CONNECTIONS_MAX} monitoring connections: refused");
                        tell(monitor, door, text);
                        if let Err(error) = L::refuse(&stream) {
                            debug!("{door} - Refused without a word: {error}");
                        }
                    }
                }
            }
            Err(error) => {
                // Most likely the descriptors are used up: wait for some to
                // come free instead of spinning.
                error!("Accept error on the monitor port: {error}; next try in {retry:?}");
                sleep(retry).await;
                retry = (retry * 2).min(ACCEPT_RETRY.1);
            }
        }
    }
}

/// Serves a connection to the port, with TLS if it is an https port.
async fn serve_tcp(monitor: Arc<Monitor>, stream: TcpStream, door: Door, slot: Slot) {
    let Some(config) = monitor.tls_config() else {
        return drive(monitor, stream, door, slot).await;
    };
    let accepting = TlsAcceptor::from(config).accept(stream);
    match timeout(HANDSHAKE_TIMEOUT, accepting).await {
        Ok(Ok(stream)) => drive(monitor, stream, door, slot).await,
        // It left; if that was without a word, it was a probe.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            debug!("{door} - Left the monitor port before the TLS handshake was done");
        }
        Ok(Err(error)) => {
            let text = format!("TLS handshake error on the monitor port: {error}");
            tell(&monitor, door, text);
        }
        Err(_) => tell(
            &monitor,
            door,
            "TLS handshake timeout on the monitor port".into(),
        ),
    }
}

/// Tells of a connection that was sent away, unless there are many of them.
fn tell(monitor: &Monitor, door: Door, text: String) {
    let told = monitor.sent_away.tell(Clock::now(), text, "connections");
    if let Some(text) = told {
        warn!("{door} - {text}");
    }
}

async fn drive<S>(monitor: Arc<Monitor>, stream: S, door: Door, _slot: Slot)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let response = service::respond(&monitor, &request, door);
        async { Ok::<_, Infallible>(response) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_header_size(HEADER_LEN_MAX)
        .max_buf_size(HEADER_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(BoundedStream::new(stream, ANSWER_TIMEOUT)),
            answer,
        );
    let Err(error) = (&mut connection).await else {
        return;
    };
    let has_begun = !connection.into_parts().read_buf.is_empty();
    if error.is_timeout() && has_begun {
        let text = format!("A request was not finished within {HEADER_READ_TIMEOUT:?}");
        tell(&monitor, door, text);
    } else if error.is_parse() {
        tell(&monitor, door, format!("What came is no request: {error}"));
    } else {
        // It left, or was idle for long.
        debug!("{door} - A monitoring connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_states_its_length() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
