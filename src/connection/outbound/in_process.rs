//! The other end of a queue without a socket: a reader in this process takes the bytes.

use super::queue::Written;
use crate::{
    connection::{Connection, QUEUED},
    telemetry::MonotonicMillis,
};

impl Connection {
    /// Takes what is queued, to the end of `bytes`; for the reader of a connection that was
    /// made by [`Connection::in_process`].
    pub fn take_queued(&self, bytes: &mut Vec<u8>) {
        // Before the look, so that what is queued afterwards wakes the reader again.
        self.lower(QUEUED);
        let mut state = self.outbound.state.lock();
        let queue = std::mem::take(&mut state.queue);
        let written = Written {
            released: queue.len(),
            msgs: queue.msgs(state.kind),
            progressed: true,
            outcome: Ok(()),
        };
        state.note_written(&written, &self.outbound.sent);
        state.last_progress = MonotonicMillis::now();
        drop(state);
        queue.copy_to(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use tokio::time::timeout;

    use crate::connection::{Connection, buffers::with_buffers, test_support::runtime};

    #[test]
    fn what_is_queued_reaches_the_reader_once_and_in_order() {
        let connection = Arc::new(Connection::in_process(1, 64));
        let runtime = runtime();
        let mut bytes = Vec::new();
        for round in 0..3 {
            let queued = runtime
                .block_on(async { timeout(Duration::from_millis(1), connection.queued()).await });
            assert!(queued.is_err(), "nothing is queued");
            with_buffers(|buffers| {
                connection.send(buffers, format!("MSG a 1 2\r\n{round}1\r\n").as_bytes());
                let mut appender = connection.append().expect("it is open");
                assert!(appender.reserve(15));
                appender.push(buffers, b"MSG a 1 2\r\n", b"");
                appender.push_shared(Bytes::from_static(b"xy\r\n"));
                drop(appender);
                buffers.flush_touched();
            });
            assert!(runtime.block_on(connection.queued()));
            bytes.clear();
            connection.take_queued(&mut bytes);
            let expected = format!("MSG a 1 2\r\n{round}1\r\nMSG a 1 2\r\nxy\r\n");
            assert_eq!(bytes, expected.as_bytes());
            assert_eq!(connection.outbound().backlog().pending, 0);
        }
        // The others are lines of the protocol.
        assert_eq!(connection.traffic().written_msgs, 3);
        assert_eq!(connection.traffic().written_bytes, 3 * 30);
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told() {
        let connection = Arc::new(Connection::in_process(1, 64));
        with_buffers(|buffers| {
            for _ in 0..5 {
                connection.send(buffers, b"MSG a 1 2\r\n12\r\n");
            }
            buffers.flush_touched();
        });
        assert!(!runtime().block_on(connection.queued()));
    }
}
