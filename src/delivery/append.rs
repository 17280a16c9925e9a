//! Appending one message to a queue.

use bytes::Bytes;

use super::SubjectBatch;
use crate::{
    connection::{buffers::ThreadBuffers, outbound::Appender},
    protocol::{CRLF, encode::plain_line, message::Message},
};

/// Appends a message as it came but for its head: `prefix`, then `tail`, which
/// is the message's own or a part of it. Returns the bytes of headers and
/// payload; `None` if the connection is now ending.
#[inline]
pub(super) fn append_whole(
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
pub(super) fn append_bare(
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
