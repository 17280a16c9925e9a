//! The parser of the protocol of leafnode connections.

use midge::protocol::{
    leafnode::{LeafConnect, LeafInfo, LeafOp, Parsed, parse},
    route::parse_repeated_message,
};

use super::routes::{check_field, check_tail};

/// Limit of a line in bytes.
const LINE_MAX: usize = 4096;

/// Any bytes, cut anywhere.
pub fn leafnodes(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Parsed::Op(op, len)) = parse(rest, LINE_MAX) {
        assert!(0 < len && len <= rest.len() && len <= LINE_MAX + 1);
        // A prefix of an operation is incomplete, never another operation.
        assert_eq!(parse(&rest[..len - 1], LINE_MAX), Ok(Parsed::Incomplete));
        let mut whole = len;
        match op {
            LeafOp::Message(message) => {
                [Some(message.subject), message.reply]
                    .into_iter()
                    .flatten()
                    .for_each(check_field);
                assert!(message.account.is_empty());
                assert!(message.header_len.unwrap_or(0) <= message.total_len);
                assert_eq!(message.line_len, len);
                if let Some(head) = check_tail(&message, rest) {
                    let expected = Some((message.total_len, message.sizes.len()));
                    assert_eq!(parse_repeated_message(rest, head), expected);
                }
                whole = message.whole_len();
            }
            LeafOp::Interest { subject, queue } => {
                check_field(subject);
                queue.into_iter().for_each(|(queue, _)| check_field(queue));
            }
            LeafOp::NoInterest { subject, queue } => {
                [Some(subject), queue]
                    .into_iter()
                    .flatten()
                    .for_each(check_field);
            }
            LeafOp::Info(json) => check_info(json),
            LeafOp::Connect(json) => {
                // Whatever it is, it is read without a panic, and shows no secret.
                if let Ok(connect) = serde_json::from_slice::<LeafConnect>(json) {
                    let _ = connect.credentials();
                    let _ = format!("{connect:?}");
                }
            }
            LeafOp::Err(_) | LeafOp::Ignored | LeafOp::Ping | LeafOp::Pong => {}
        }
        match rest.get(whole..) {
            Some(after) => rest = after,
            None => break,
        }
    }
}

/// Parsing what was serialised gives the same result.
fn check_info(json: &[u8]) {
    let Ok(info) = serde_json::from_slice::<LeafInfo>(json) else {
        return;
    };
    let line = info.line();
    let Ok(Parsed::Op(LeafOp::Info(json), len)) = parse(&line, usize::MAX / 2) else {
        panic!("its own INFO is not understood");
    };
    assert_eq!(len, line.len());
    let again: LeafInfo = serde_json::from_slice(json).expect("its own INFO");
    assert_eq!(again.line(), line);
}
