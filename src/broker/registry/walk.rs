//! Going through all connections without waiting for the memory of each.
//!
//! Every connection lies in memory of its own. When there are ten thousand of them
//! no cache holds it, and a sum over them that takes one after the other is little
//! but waiting: most of a page's time went there. Reads that do not depend on each
//! other wait together, so the memory of a few connections is touched before they
//! are visited.

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
        // What comes of it does not matter, only that it is read.
        black_box(near.iter().fold(0, |sum, known| sum ^ touch(known)));
        near.drain(..).for_each(&mut visit);
    }
}

/// Reads something of each part that a visit asks for.
fn touch(connection: &Arc<Connection>) -> u64 {
    let count = Arc::strong_count(connection) as u64;
    count ^ connection.in_msgs.value() ^ connection.outbound().delivered_msgs()
}
