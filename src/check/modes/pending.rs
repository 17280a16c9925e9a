//! Mode `pending`: bytes that wait because a client reads too slowly.

use super::{Check, Failure, limit, who};
use crate::check::{
    figure::{PENDING_MAX, PENDING_TOTAL},
    text::bytes,
};

/// The largest first; the rest of the page is for the sum.
const QUERY: &str = "sort=pending&limit=1024";

/// Clients that `-v` names.
const NAMED_MAX: usize = 5;

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let connections = check.connz(QUERY)?.connections;
    let waiting: Vec<_> = connections
        .iter()
        .filter(|connection| connection.pending_bytes > 0)
        .collect();
    for connection in waiting.iter().take(NAMED_MAX) {
        let pending = bytes(connection.pending_bytes as f64);
        check
            .report
            .detail(1, &format!("{}: {pending} pending", who(connection)));
    }
    let biggest = waiting
        .iter()
        .max_by_key(|connection| connection.pending_bytes);
    let (max, phrase) = match biggest {
        None => (0.0, "no bytes pending".to_owned()),
        Some(biggest) => {
            let max = biggest.pending_bytes as f64;
            (max, format!("{} pending for {}", bytes(max), who(biggest)))
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
    Ok(())
}
