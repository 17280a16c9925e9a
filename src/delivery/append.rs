//! Appending one message to a queue.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::SubjectBatch;
use crate::{
    connection::{Connection, buffers::ThreadBuffers, outbound::Appender},
    protocol::{CRLF, encode::plain_line, message::Message},
    telemetry::MonotonicMillis,
};

/// Bytes appended in one batch after which everything touched is flushed:
/// bounds what a batch times its fan-out can hold.
const APPENDED_MAX: usize = 16 * 1024 * 1024;

/// Ends what a batch appends to one queue: notes the connection for the flush of all
/// if `must_flush`, and the data for its incident.
#[inline]
pub(super) fn end_append(
    connection: &Arc<Connection>,
    appender: &mut Appender<'_>,
    buffers: &mut ThreadBuffers,
    must_flush: bool,
) {
    if must_flush && appender.touch(buffers.read_batch) {
        buffers.touched.push(connection.clone());
    }
    appender.note_producer(buffers.publisher);
    buffers.congested.note(connection, appender);
}

/// Counts a connection that received something, and writes to its socket immediately if
/// `flush`.
#[inline]
pub(super) fn end_delivery(
    connection: &Arc<Connection>,
    buffers: &mut ThreadBuffers,
    now: MonotonicMillis,
    flush: bool,
) {
    buffers.reached += 1;
    connection.active(now);
    if flush {
        connection.flush(buffers);
    } else if buffers.appended > APPENDED_MAX {
        buffers.flush_touched();
    }
}

/// Appends a message unchanged except for its head: `prefix`, then `tail`, which is the
/// message's own or a part of it. Returns the bytes of headers and payload; `None` if the
/// connection is now ending.
#[inline]
pub(super) fn append_as_it_came(
    appender: &mut Appender<'_>,
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    message: &Message,
    prefix: &[u8],
    tail: &[u8],
) -> Option<usize> {
    let shared_len = batch.shared.map_or(0, Bytes::len);
    let len = prefix.len() + tail.len() + shared_len;
    if !appender.reserve(len) {
        return None;
    }
    buffers.appended += len;
    appender.push(buffers, prefix, tail);
    match batch.shared {
        Some(shared) => appender.push_shared(shared.clone()),
        None => appender.end_message(),
    }
    Some(message.total_len as usize)
}

/// Appends a message whose header size is 0, or whose target does not
/// understand headers: the payload alone. `reply` is what of it is not in the
/// prefix.
pub(super) fn append_without_headers(
    appender: &mut Appender<'_>,
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    message: &Message,
    header_len: u32,
    prefix: &[u8],
    reply: Option<&[u8]>,
) -> Option<usize> {
    let payload = &batch.body(message)[header_len as usize..];
    let payload_len = payload.len() - CRLF.len();
    // In one piece: a piece of the queue begins with a message.
    let head = plain_line(prefix, reply, payload_len);
    let len = head.len() + payload.len();
    if !appender.reserve(len) {
        return None;
    }
    buffers.appended += len;
    match batch.shared {
        Some(shared) => {
            appender.push(buffers, &head, b"");
            appender.push_shared(shared.slice(header_len as usize..));
        }
        None => {
            appender.push(buffers, &head, payload);
            appender.end_message();
        }
    }
    Some(payload_len)
}
