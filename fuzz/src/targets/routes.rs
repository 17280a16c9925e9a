//! The parser of the route protocol.

use midge::protocol::route::{
    Parsed, RouteConnect, RouteInfo, RouteMessage, RouteOp, parse, parse_repeated_message,
};

/// Limit of a line in bytes.
const LINE_MAX: usize = 4096;

/// Any bytes, cut anywhere.
pub fn routes(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Parsed::Op(op, len)) = parse(rest, LINE_MAX) {
        assert!(0 < len && len <= rest.len() && len <= LINE_MAX + 1);
        // A prefix of an operation is incomplete, never another operation.
        assert_eq!(parse(&rest[..len - 1], LINE_MAX), Ok(Parsed::Incomplete));
        let mut whole = len;
        match op {
            RouteOp::Message(message) => {
                check_message(&message, rest);
                assert_eq!(message.line_len, len);
                whole = message.whole_len();
            }
            RouteOp::Interest {
                origin,
                account,
                subject,
                queue,
            } => {
                [account, subject].into_iter().for_each(check_field);
                (!origin.is_empty()).then(|| check_field(origin));
                queue.into_iter().for_each(|(queue, _)| check_field(queue));
            }
            RouteOp::NoInterest {
                origin,
                account,
                subject,
                queue,
            } => [
                Some(account),
                (!origin.is_empty()).then_some(origin),
                Some(subject),
                queue,
            ]
            .into_iter()
            .flatten()
            .for_each(check_field),
            RouteOp::Info(json) => check_info(json),
            RouteOp::Connect(json) => check_connect(json),
            RouteOp::Err(_) | RouteOp::Ignored | RouteOp::Ping | RouteOp::Pong => {}
        }
        match rest.get(whole..) {
            Some(after) => rest = after,
            None => break,
        }
    }
}

pub(super) fn check_field(field: &[u8]) {
    assert!(!field.is_empty());
    assert!(!field.iter().any(|byte| b" \t\r\n".contains(byte)));
}

fn check_message(message: &RouteMessage<'_>, rest: &[u8]) {
    [message.account, message.subject]
        .into_iter()
        .chain(message.reply)
        .for_each(check_field);
    assert!(message.header_len.unwrap_or(0) <= message.total_len);
    if let Some(head) = check_tail(message, rest) {
        assert_eq!(
            parse_repeated_message(rest, head),
            Some((message.total_len, message.sizes.len()))
        );
    }
}

/// The part of a message that is copied must have the form of a delivery. Returns the beginning of the
/// line if the fast path for repeated lines must equal the parser.
pub(super) fn check_tail<'a>(message: &RouteMessage<'_>, rest: &'a [u8]) -> Option<&'a [u8]> {
    let mut tail = [message.sizes, b"\r\n"].concat();
    if let Some(reply) = message.reply {
        tail = [reply, b" ", &tail].concat();
    }
    let line = &rest[..message.line_len];
    if message.canonical {
        assert!(
            line.ends_with(&tail),
            "{:?}",
            line.escape_ascii().to_string()
        );
    }
    let is_plain = message.header_len.is_none() && message.canonical;
    is_plain.then(|| &line[..line.len() - message.sizes.len() - 2])
}

/// Parsing what was serialised gives the same result.
fn check_info(json: &[u8]) {
    let Ok(info) = serde_json::from_slice::<RouteInfo>(json) else {
        return;
    };
    let line = info.line();
    let Ok(Parsed::Op(RouteOp::Info(json), len)) = parse(&line, usize::MAX / 2) else {
        panic!("its own INFO is not understood");
    };
    assert_eq!(len, line.len());
    let again: RouteInfo = serde_json::from_slice(json).expect("its own INFO");
    assert_eq!(again.line(), line);
}

fn check_connect(json: &[u8]) {
    if let Ok(connect) = serde_json::from_slice::<RouteConnect>(json) {
        let line = connect.line();
        assert!(matches!(
            parse(&line, usize::MAX / 2),
            Ok(Parsed::Op(RouteOp::Connect(_), _))
        ));
    }
}
