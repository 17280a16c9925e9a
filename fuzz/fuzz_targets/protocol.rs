//! The parser of what a client sends: any bytes, cut anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::protocol::parse::{Op, Parsed, parse, parse_repeated_publish};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut subject: &[u8] = b"";
    while let Ok(Parsed::Op(op, len)) = parse(rest, 4096) {
        assert!(0 < len && len <= rest.len());
        // A shorter piece of an operation is never another operation.
        assert_eq!(parse(&rest[..len - 1], 4096), Ok(Parsed::Incomplete));
        let mut whole = len;
        if let Op::Publish(publish) = op {
            if let Some(short) = parse_repeated_publish(rest, subject) {
                assert_eq!(short, publish);
            }
            assert_eq!(publish.line_len, len);
            assert!(publish.header_len.is_none_or(|headers| headers <= publish.total_len));
            subject = publish.subject;
            whole = publish.whole_len();
        }
        match rest.get(whole..) {
            Some(after) => rest = after,
            None => break,
        }
    }
});
