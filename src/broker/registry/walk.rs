//! Iteration over all connections without a cache miss at a time.
//!
//! Every connection has memory of its own. With ten thousand of them no cache holds it, and
//! a sum over them that reads one after the other spends its time waiting for memory: most
//! of the time for a page was that. Independent reads wait together, so the memory of a few
//! connections is touched before they are visited.

use std::{hint::black_box, sync::Arc};

use crate::connection::Connection;

/// Connections that are touched together: more reads than that under way at a time
/// no processor has.
const TOGETHER: usize = 32;

/// Visits all of them, in their order.
pub(super) fn walk<'a>(
    connections: impl IntoIterator<Item = &'a Arc<Connection>>,
    mut visit: impl FnMut(&'a Arc<Connection>),
) {
    let mut connections = connections.into_iter();
    let mut near = Vec::with_capacity(TOGETHER);
    loop {
        near.extend(connections.by_ref().take(TOGETHER));
        if near.is_empty() {
            return;
        }
        // The result is irrelevant; only the reads matter.
        black_box(near.iter().fold(0, |sum, known| sum ^ touch(known)));
        near.drain(..).for_each(&mut visit);
    }
}

/// Reads something of each part that a visit asks for.
fn touch(connection: &Arc<Connection>) -> u64 {
    let count = Arc::strong_count(connection) as u64;
    count ^ connection.in_msgs.value() ^ connection.outbound().delivered_msgs()
}
