//! What several connections do to each other: who is cut for the memory of all,
//! and what a turn within a turn leaves behind.

use std::{io::Read, net, panic, sync::Arc, time::Duration};

use tokio::{net::TcpStream, runtime::Runtime};

use super::{Connection, Kind, budget::Budget, registry::Registry, worker::with_worker};

const LIMIT: usize = 1024 * 1024;

/// A connection that books on `budget`, and its peer.
fn connection(
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
    let connection = Connection::new(Kind::Client, cid, from, stream, usize::MAX, budget);
    (Arc::new(connection), peer)
}

/// Sends until much more waits than the socket takes, and is booked.
fn fall_behind(connection: &Arc<Connection>) {
    with_worker(|worker| {
        while connection.outbound().booked() < 2 * LIMIT {
            connection.send(worker, &[b'x'; 128 * 1024]);
            worker.flush_touched();
        }
    });
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

#[test]
fn who_is_not_let_in_is_nobody_elses_matter() {
    let runtime = runtime();
    let registry = Registry::new(0, LIMIT);
    let (known, _peer) = connection(&runtime, 1, registry.budget.clone());
    registry.insert(&known, 10);
    with_worker(|worker| {
        known.send(worker, &[b'x'; 8 * 1024]);
        worker.touched.clear();
    });
    let (stranger, _peer) = connection(&runtime, 2, Budget::own());
    fall_behind(&stranger);
    assert!(registry.keep_budget().is_empty());
    assert!(known.outbound().close_reason().is_none());
    // Once it is in, it is the one that holds most.
    stranger
        .outbound()
        .admit(usize::MAX, registry.budget.clone());
    registry.insert(&stranger, 10);
    let cut: Vec<_> = registry
        .keep_budget()
        .iter()
        .map(|cut| cut.connection.cid)
        .collect();
    assert_eq!(cut, [2]);
    assert_eq!(registry.budget.used(), 0);
}

#[test]
fn who_keeps_up_is_not_cut_for_what_others_hold() {
    let runtime = runtime();
    let registry = Registry::new(0, LIMIT);
    let (behind, _peer) = connection(&runtime, 1, registry.budget.clone());
    let (busy, _peer) = connection(&runtime, 2, registry.budget.clone());
    registry.insert(&behind, 10);
    registry.insert(&busy, 10);
    fall_behind(&behind);
    // More waits for it, but it is on its way.
    with_worker(|worker| {
        busy.send(worker, &vec![b'x'; 16 * LIMIT]);
        worker.touched.clear();
    });
    let cut: Vec<_> = registry
        .keep_budget()
        .iter()
        .map(|cut| cut.connection.cid)
        .collect();
    assert_eq!(cut, [1]);
}

/// What the inner turn has put into a queue goes out in any case; where mistakes
/// are looked for, this one is told.
#[test]
fn a_turn_within_a_turn_is_found_and_loses_nothing() {
    let runtime = runtime();
    let (known, mut peer) = connection(&runtime, 1, Budget::own());
    let nested = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        with_worker(|_| with_worker(|worker| known.send(worker, b"PING\r\n")));
    }));
    assert_eq!(nested.is_err(), cfg!(debug_assertions));
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a bound");
    let mut told = [0; 6];
    peer.read_exact(&mut told).expect("it was flushed");
    assert_eq!(&told, b"PING\r\n");
}
