//! Reading a queue's pieces back: which messages wait in them.
//!
//! Only for queues that do not flow, never on the way of a message: when a loss
//! is counted and when an incident is looked at.

use memchr::memmem;

use crate::connection::Kind;
use crate::protocol::{
    CRLF,
    encode::{read_client_head, read_leaf_head, read_route_head},
};

/// A message that begins in a piece of a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct QueuedMessage<'a> {
    /// Subject.
    pub(super) subject: &'a [u8],
    /// Bytes of all of it: head, headers, payload.
    pub(super) len: usize,
    /// Where it ends, counted from the beginning of the piece; behind the end of
    /// the piece if its payload is in the next one.
    pub(super) end: usize,
}

/// The messages to a peer of this kind that begin in `piece`, which begins with
/// the head of one or with a line of the protocol.
pub(super) fn messages(piece: &[u8], kind: Kind) -> impl Iterator<Item = QueuedMessage<'_>> {
    let read_head = match kind {
        Kind::Client => read_client_head,
        Kind::Router => read_route_head,
        Kind::Leafnode => read_leaf_head,
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = piece.get(at..)?;
            let line_len = memmem::find(rest, CRLF)?;
            let line = &rest[..line_len];
            let head_len = line_len + CRLF.len();
            let Some((subject, size)) = read_head(line) else {
                at += head_len;
                continue;
            };
            let len = head_len + size + CRLF.len();
            at += len;
            return Some(QueuedMessage {
                subject,
                len,
                end: at,
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_between_other_lines() {
        let piece = b"PING\r\nMSG a 1 3\r\nabc\r\n+OK\r\nHMSG b.c 2 reply 12 14\r\n\
                      NATS/1.0\r\n\r\nxx\r\nMSG shared 1 9000\r\n";
        let found: Vec<_> = messages(piece, Kind::Client).collect();
        let subjects: Vec<_> = found.iter().map(|message| message.subject).collect();
        assert_eq!(subjects, [&b"a"[..], b"b.c", b"shared"]);
        assert_eq!((found[0].len, found[0].end), (16, 22));
        assert!(found[1].end < piece.len());
        assert_eq!(found[2].end, piece.len() + 9002);
    }

    #[test]
    fn what_is_no_message_yields_nothing() {
        for piece in [
            &b""[..],
            b"PING\r\n",
            b"MSG a\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 3",
        ] {
            for kind in [Kind::Client, Kind::Router] {
                assert_eq!(messages(piece, kind).count(), 0);
            }
        }
    }

    #[test]
    fn messages_to_a_broker_are_named_by_subject_and_not_by_account() {
        let piece = b"RS+ $G x q 1\r\nRMSG $G a 3\r\nabc\r\nHMSG $G b.c + r q1 q2 12 14\r\n\
                      NATS/1.0\r\n\r\nxx\r\nRMSG $G d | q 9000\r\n";
        let found: Vec<_> = messages(piece, Kind::Router).collect();
        let subjects: Vec<_> = found.iter().map(|message| message.subject).collect();
        assert_eq!(subjects, [&b"a"[..], b"b.c", b"d"]);
        assert_eq!((found[0].len, found[0].end), (18, 32));
    }
}
