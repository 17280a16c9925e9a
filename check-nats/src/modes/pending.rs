//! Mode `pending`: bytes that wait because a client reads too slowly.

use monitor_client::Kind;

use super::{
    Check, Failure,
    connection::List,
    limit,
    need::{Need, must, of},
};
use crate::{
    deadline::Step,
    metric::{PENDING_MAX, PENDING_TOTAL},
    text::bytes,
};

/// The largest first; the others are for the sum.
const LARGEST: List = List {
    query: "/connz?sort=pending",
    entries_max: 1024,
};

/// Clients that `-v` names.
const NAMED_MAX: usize = 5;

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            // The second is gnatsd's.
            must("max_pending|max_pending_size", Kind::Count),
        ],
    ),
    of(
        "/connz",
        Step::Connz,
        &[
            must("now", Kind::Text),
            must("num_connections", Kind::Count),
            must("connections", Kind::List),
            must("connections.*.cid", Kind::Count),
            must("connections.*.pending_bytes", Kind::Count),
        ],
    ),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let read = LARGEST.read(check, |connection| connection.pending_bytes > 0)?;
    let waiting = &read.connections;
    for connection in waiting.iter().take(NAMED_MAX) {
        let pending = bytes(connection.pending_bytes as f64);
        check
            .report
            .detail(1, &format!("{}: {pending} pending", connection.who()));
    }
    // Of equal ones the first.
    let biggest = waiting
        .iter()
        .rev()
        .max_by_key(|connection| connection.pending_bytes);
    let (max, phrase) = match biggest {
        None => (0.0, "no bytes pending".to_owned()),
        Some(biggest) => {
            let max = biggest.pending_bytes as f64;
            (max, format!("{} pending for {}", bytes(max), biggest.who()))
        }
    };
    check
        .report
        .state(PENDING_MAX.label, max, limit(varz.max_pending), &phrase);
    let total: f64 = waiting
        .iter()
        .map(|connection| connection.pending_bytes as f64)
        .sum();
    let phrase = format!("{} pending in all", bytes(total));
    check
        .report
        .watch(PENDING_TOTAL.label, total, None, &phrase);
    read.say_gap(check);
    Ok(())
}
