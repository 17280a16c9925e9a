//! Closing slow consumers when all outbound queues together hold more than `max_memory`, or than
//! the process has left.
//!
//! The choice follows what the budget has booked, which is what is pending in queues that
//! cannot be written: a connection that keeps reading has nothing booked, however much
//! passes through its queue, and is never closed here. Called by sessions that have just
//! delivered.

use std::{cmp::Reverse, fmt, sync::Arc};

use crate::{
    broker::registry::Registry,
    connection::{Connection, budget::LimitedBy},
};

/// A connection that was cut, and why.
pub struct Cut {
    /// Which.
    pub connection: Arc<Connection>,
    /// Bytes that waited in its queue.
    held: usize,
    /// Bytes that waited in all queues together.
    used: usize,
    /// Bytes that may.
    limit: usize,
    /// Why no more.
    limited_by: LimitedBy,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            held,
            used,
            limit,
            limited_by,
            ..
        } = self;
        let what = match limited_by {
            LimitedBy::MaxMemory => format!("max_memory of {limit} bytes"),
            LimitedBy::Process { .. } => {
                format!("the {limit} bytes of memory that the process has left (see /memz)")
            }
        };
        write!(
            f,
            "Slow Consumer Detected: all queues together exceed {what} with {used}, this one held \
             most: {held} bytes"
        )
    }
}

impl Registry {
    /// Cuts the connections with most booked until the budget is kept. Returns them.
    pub fn keep_budget(&self) -> Vec<Cut> {
        if !self.budget.is_overdrawn() {
            return Vec::new();
        }
        // A second caller would cut one more connection for the same bytes.
        let Some(_cutting) = self.cutting.try_lock() else {
            return Vec::new();
        };
        let mut holders: Vec<(usize, Arc<Connection>)> = self
            .all_open()
            .into_iter()
            .map(|connection| (connection.outbound().booked(), connection))
            .filter(|(booked, _)| *booked > 0)
            .collect();
        holders.sort_unstable_by_key(|(booked, _)| Reverse(*booked));
        let mut cut = Vec::new();
        for (_, connection) in holders {
            let (used, limit) = (self.budget.used(), self.budget.limit());
            if used <= limit {
                break;
            }
            if let Some(held) = connection.close_for_memory() {
                cut.push(Cut {
                    connection,
                    held,
                    used,
                    limit,
                    limited_by: self.budget.limited_by(),
                });
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::connection::{CloseReason, Kind, buffers::with_buffers};

    /// A connection whose peer reads nothing.
    async fn connection(registry: &Registry, peers: &mut Vec<TcpStream>) -> Arc<Connection> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        peers.push(peer.unwrap());
        let (stream, address) = accepted.unwrap();
        let budget = registry.budget.clone();
        let cid = registry.accept();
        let connection = Connection::new(
            Kind::Client,
            cid,
            address,
            Arc::new(stream),
            1 << 30,
            budget,
        );
        let connection = Arc::new(connection);
        assert!(registry.insert(&connection, 10));
        connection
    }

    /// Appends this many bytes to the queue; `flush` is whether they are written.
    fn queue(connection: &Arc<Connection>, bytes: usize, flush: bool) {
        let piece = vec![b'x'; bytes];
        with_buffers(|buffers| {
            let mut appender = connection.append().unwrap();
            assert!(appender.reserve(bytes));
            appender.push(buffers, &piece, b"");
            drop(appender);
            if flush {
                connection.flush(buffers);
            }
        });
    }

    /// More passes through the queue of the reading connection than is pending in the stuck
    /// ones: when the budget is just exceeded, only the one with the most booked bytes is
    /// cut, and its close reason says why.
    #[tokio::test]
    async fn a_reading_connection_is_never_cut_for_a_stuck_one() {
        let registry = Registry::new(10, usize::MAX);
        let mut peers = Vec::new();
        let stuck = connection(&registry, &mut peers).await;
        let less_stuck = connection(&registry, &mut peers).await;
        let flowing = connection(&registry, &mut peers).await;
        queue(&stuck, 32 << 20, true);
        queue(&less_stuck, 16 << 20, true);
        queue(&flowing, 64 << 20, false);
        let booked = |known: &Arc<Connection>| known.outbound().booked();
        assert!(booked(&stuck) > booked(&less_stuck) && booked(&less_stuck) > 0);
        assert_eq!(booked(&flowing), 0);
        let used = registry.budget.used();
        assert_eq!(used, booked(&stuck) + booked(&less_stuck));

        registry.budget.set_limit(used);
        assert!(registry.keep_budget().is_empty());
        registry.budget.set_limit(used - 1);
        let held = booked(&stuck);
        let cut = registry.keep_budget();
        let cids: Vec<u64> = cut.iter().map(|cut| cut.connection.cid).collect();
        assert_eq!(cids, [stuck.cid]);
        let text = cut[0].to_string();
        let limit = used - 1;
        assert!(
            text.contains(&format!("max_memory of {limit} bytes with {used}")),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("held most: {held} bytes")),
            "{text}"
        );
        let max_memory = 1 << 30;
        let by_process = Cut {
            connection: stuck.clone(),
            held,
            used,
            limit,
            limited_by: LimitedBy::Process { max_memory },
        };
        assert!(
            !by_process.to_string().contains("max_memory"),
            "{by_process}"
        );
        let reason = stuck.outbound().close_reason();
        assert_eq!(reason, Some(CloseReason::SlowConsumerMemory));

        // Everything booked is cut before a connection that keeps reading; afterwards
        // nothing is.
        registry.budget.set_limit(0);
        assert_eq!(registry.keep_budget().len(), 1);
        assert_eq!(registry.budget.used(), 0);
        registry.budget.book(0, 1);
        assert!(registry.keep_budget().is_empty());
        assert_eq!(flowing.outbound().close_reason(), None);
    }
}
