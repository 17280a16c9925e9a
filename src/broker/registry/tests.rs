//! Which connections are cut for the memory of all queues, pages of connections, and cached
//! totals.

use super::*;
use crate::connection::{
    buffers::with_buffers,
    test_support::{LIMIT, connection, fall_behind, runtime},
};

#[test]
fn a_refused_connection_does_not_affect_others() {
    let runtime = runtime();
    let registry = Registry::new(0, LIMIT);
    let (known, _peer) = connection(&runtime, 1, registry.budget.clone());
    registry.insert(&known, 10);
    with_buffers(|buffers| {
        known.send(buffers, &[b'x'; 8 * 1024]);
        buffers.touched.clear();
    });
    let (unauthenticated, _peer) = connection(&runtime, 2, Budget::own());
    fall_behind(&unauthenticated);
    assert!(registry.keep_budget().is_empty());
    assert!(known.outbound().close_reason().is_none());
    // Once it is in, it is the one that holds most.
    unauthenticated
        .outbound()
        .admit(usize::MAX, registry.budget.clone());
    registry.insert(&unauthenticated, 10);
    let cut: Vec<_> = registry
        .keep_budget()
        .iter()
        .map(|cut| cut.connection.cid)
        .collect();
    assert_eq!(cut, [2]);
    assert_eq!(registry.budget.used(), 0);
}

#[test]
fn a_reader_that_keeps_up_is_not_cut_for_other_queues() {
    let runtime = runtime();
    let registry = Registry::new(0, LIMIT);
    let (behind, _peer) = connection(&runtime, 1, registry.budget.clone());
    let (busy, _peer) = connection(&runtime, 2, registry.budget.clone());
    registry.insert(&behind, 10);
    registry.insert(&busy, 10);
    fall_behind(&behind);
    // More waits for it, but it is on its way.
    with_buffers(|buffers| {
        busy.send(buffers, &vec![b'x'; 16 * LIMIT]);
        buffers.touched.clear();
    });
    let cut: Vec<_> = registry
        .keep_budget()
        .iter()
        .map(|cut| cut.connection.cid)
        .collect();
    assert_eq!(cut, [1]);
}

#[test]
fn a_page_is_the_same_as_of_a_sorted_list() {
    let mixed: Vec<u64> = (0..1000).map(|n| n * 7919 % 1009).collect();
    let mut sorted = mixed.clone();
    sorted.sort_unstable();
    for offset in [0, 1, 17, 500, 999, 1000, 1001, usize::MAX] {
        for limit in [0, 1, 17, 500, 999, 1000, 1001, usize::MAX] {
            let page: Vec<u64> = sorted.iter().skip(offset).take(limit).copied().collect();
            assert_eq!(
                smallest(&mut mixed.clone(), offset, limit),
                page,
                "{offset} {limit}"
            );
        }
    }
}

#[test]
fn totals_are_kept_and_what_moved_is_taken_once() {
    let runtime = runtime();
    let registry = Registry::new(0, LIMIT);
    let (one, _peer) = connection(&runtime, 1, registry.budget.clone());
    let (other, _peer) = connection(&runtime, 2, registry.budget.clone());
    let count = |connection: &Connection, msgs| {
        connection.in_msgs.add(msgs);
        connection.note_moved();
    };
    // Before it is registered as well.
    count(&one, 1);
    registry.insert(&one, 10);
    registry.insert(&other, 10);
    count(&other, 10);
    assert_eq!(registry.totals().traffic().in_msgs, 11);
    assert_eq!(registry.take_moved().len(), 2);
    count(&one, 100);
    assert_eq!(registry.totals().traffic().in_msgs, 111);
    assert_eq!(registry.totals().traffic().in_msgs, 111);
    assert_eq!(registry.take_moved().len(), 1);
    assert!(registry.take_moved().is_empty());
    // A count that was not visible yet when the connection was read.
    count(&one, 0);
    registry.totals();
    one.in_msgs.add(1000);
    assert_eq!(registry.totals().traffic().in_msgs, 1111);
    // One that ends is counted to the end, and once.
    count(&other, 10_000);
    assert!(registry.take_moved_of(&other).is_some());
    count(&other, 100_000);
    registry.close(&other, &[], CloseReason::ClientClosed);
    for _ in 0..3 {
        let totals = registry.totals();
        assert_eq!(totals.traffic().in_msgs, 111_111);
        assert_eq!(registry.snapshot().totals().traffic(), totals.traffic());
    }
}
