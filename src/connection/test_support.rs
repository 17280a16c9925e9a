//! Connections for unit tests, each with a peer that a test holds.

use std::{net, sync::Arc};

use tokio::{net::TcpStream, runtime::Runtime};

use super::{Connection, Kind, budget::Budget, buffers::with_buffers};

/// Bytes that [`fall_behind`] exceeds.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// A connection that books on `budget`, and its peer.
pub(crate) fn connection(
    runtime: &Runtime,
    cid: u64,
    budget: Arc<Budget>,
) -> (Arc<Connection>, net::TcpStream) {
    connection_of(Kind::Client, runtime, cid, budget)
}

pub(crate) fn connection_of(
    kind: Kind,
    runtime: &Runtime,
    cid: u64,
    budget: Arc<Budget>,
) -> (Arc<Connection>, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let peer = net::TcpStream::connect(address).expect("connect");
    let (accepted, from) = listener.accept().expect("accept");
    accepted.set_nonblocking(true).expect("a socket");
    let _inside = runtime.enter();
    let stream = Arc::new(TcpStream::from_std(accepted).expect("a stream"));
    runtime.block_on(stream.writable()).expect("it may write");
    let connection = Connection::new(kind, cid, from, stream, usize::MAX, budget);
    (Arc::new(connection), peer)
}

/// Sends until much more is pending than the socket accepts, and is booked.
pub(crate) fn fall_behind(connection: &Arc<Connection>) {
    with_buffers(|buffers| {
        while connection.outbound().booked() < 2 * LIMIT {
            connection.send(buffers, &[b'x'; 128 * 1024]);
            buffers.flush_touched();
        }
    });
}

pub(crate) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}
