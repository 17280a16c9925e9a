//! Accepting monitoring connections, and the bounds of each.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{debug, error, warn};

use super::{Monitor, process::SAMPLE_INTERVAL, service, slot::Slot, stream::BoundedStream};

/// Monitoring connections at a time. Pollers and open browsers are a handful;
/// each connection may hold an answer in memory.
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
pub(super) async fn run(monitor: Arc<Monitor>, listener: TcpListener) {
    tokio::join!(accept(monitor.clone(), listener), measure(monitor));
}

async fn measure(monitor: Arc<Monitor>) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    // A process that was stopped for a while takes one sample, not all missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        monitor.cpu.sample();
    }
}

async fn accept(monitor: Arc<Monitor>, listener: TcpListener) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut retry = ACCEPT_RETRY.0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                retry = ACCEPT_RETRY.0;
                match (Slot::take(&open, CONNECTIONS_MAX), stream.local_addr()) {
                    (Some(slot), Ok(local)) => {
                        tokio::spawn(drive(monitor.clone(), stream, local, slot));
                    }
                    (Some(_), Err(error)) => debug!("{peer} - Monitoring connection lost: {error}"),
                    (None, _) => {
                        warn!(
                            "{peer} - More than {CONNECTIONS_MAX} monitoring connections: refused"
                        );
                        refuse(&stream);
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

/// Says why, as far as the fresh socket takes it at once.
fn refuse(stream: &TcpStream) {
    // Unread bytes would turn the close into a reset that may destroy the
    // refusal on its way; what has not come yet cannot be helped.
    let _ = stream.try_read(&mut [0; 4096]);
    if let Err(error) = stream.try_write(BUSY) {
        debug!("A monitoring connection was refused without a word: {error}");
    }
}

async fn drive(monitor: Arc<Monitor>, stream: TcpStream, local: SocketAddr, _slot: Slot) {
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let response = service::respond(&monitor, &request, local);
        async { Ok::<_, Infallible>(response) }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_header_size(HEADER_LEN_MAX)
        .max_buf_size(HEADER_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(
            TokioIo::new(BoundedStream::new(stream, ANSWER_TIMEOUT)),
            answer,
        )
        .await;
    if let Err(error) = result {
        debug!("A monitoring connection ended: {error}");
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
