//! Effects of several connections on each other through a thread's buffers and the budget.

use std::{io::Read, panic, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Connection, Kind,
    budget::{BOOKED_STEP, Budget},
    buffers::{CHUNK_LEN, ThreadBuffers, with_buffers},
    outbound::CONGESTED_BYTES,
    test_support::{connection, connection_of, fall_behind, runtime},
};

/// What the inner turn has put into a queue goes out in any case; where mistakes
/// are looked for, this one is reported.
#[test]
fn a_turn_within_a_turn_is_found_and_loses_nothing() {
    let runtime = runtime();
    let (known, mut peer) = connection(&runtime, 1, Budget::own());
    let nested = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        with_buffers(|_| with_buffers(|buffers| known.send(buffers, b"PING\r\n")));
    }));
    assert_eq!(nested.is_err(), cfg!(debug_assertions));
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a bound");
    let mut received = [0; 6];
    peer.read_exact(&mut received).expect("it was flushed");
    assert_eq!(&received, b"PING\r\n");
}

/// Appends much without a flush, in pieces, and notes the long queue.
fn feed(buffers: &mut ThreadBuffers, connection: &Arc<Connection>) {
    for _ in 0..8 {
        let mut appender = connection.append().expect("it is open");
        let piece = [b'x'; CONGESTED_BYTES / 4];
        assert!(appender.reserve(piece.len()));
        appender.push(buffers, &piece, b"");
        buffers.congested.note(connection, &mut appender);
    }
}

/// A long queue is noted once in a turn, and what a turn leaves behind is not taken
/// for the next one's.
#[test]
fn a_reader_behind_is_noted_once_and_in_its_own_turn() {
    let runtime = runtime();
    let (reader, _peer) = connection(&runtime, 1, Budget::own());
    let (route, _peer) = connection_of(Kind::Router, &runtime, 2, Budget::own());
    with_buffers(|buffers| {
        feed(buffers, &reader);
        feed(buffers, &route);
        feed(buffers, &reader);
        assert_eq!(buffers.congested.len(), 2);
        assert_eq!(buffers.congested.peers().len(), 1);
        let taken = buffers.congested.take();
        assert_eq!((taken.len(), buffers.congested.len()), (2, 0));
        feed(buffers, &reader);
        assert_eq!(buffers.congested.len(), 1);
    });
    with_buffers(|buffers| {
        assert!(buffers.congested.is_empty());
        feed(buffers, &reader);
        assert_eq!(buffers.congested.len(), 1);
    });
}

/// The pending bytes of a stuck reader use about as much memory as there are bytes, however
/// they were split into pieces, and all of it is booked.
#[test]
fn a_queue_holds_what_waits_and_not_the_buffers_of_others() {
    const HEADS: usize = 500;
    let runtime = runtime();
    let budget = Arc::new(Budget::new(usize::MAX));
    let (stuck, _peer) = connection(&runtime, 1, budget.clone());
    fall_behind(&stuck);
    let payload = Bytes::from(vec![b'x'; 4200]);
    let head = [b'h'; 30];
    with_buffers(|buffers| {
        let before = stuck.outbound().backlog();
        assert!(before.held < before.pending * 5 / 4 + CHUNK_LEN);
        for _ in 0..HEADS {
            // Others give large pieces back all the time.
            buffers.give_chunk(Vec::with_capacity(2 * CHUNK_LEN));
            let mut appender = stuck.append().expect("it is open");
            assert!(appender.reserve(head.len() + payload.len()));
            appender.push(buffers, &head, b"");
            appender.push_shared(payload.clone());
            drop(appender);
            stuck.flush(buffers);
        }
        let after = stuck.outbound().backlog();
        let waiting = HEADS * (head.len() + payload.len());
        assert_eq!(after.pending - before.pending, waiting);
        assert!(after.held - before.held < waiting * 5 / 4, "{after:?}");
        assert!(budget.used().abs_diff(after.held) <= BOOKED_STEP);
    });
    // The same holds for a short line after them.
    let before = stuck.outbound().backlog();
    with_buffers(|buffers| {
        for _ in 0..3 {
            buffers.give_chunk(Vec::with_capacity(2 * CHUNK_LEN));
            stuck.send(buffers, b"PONG\r\n");
            stuck.flush(buffers);
        }
    });
    let after = stuck.outbound().backlog();
    assert!(after.held - before.held < 8 * 1024, "{after:?}");
}
