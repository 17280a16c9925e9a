use proptest::prelude::*;

use super::*;

fn op(bytes: &[u8]) -> Op<'_> {
    match parse(bytes, 4096) {
        Ok(Parsed::Op(op, len)) => {
            assert_eq!(len, bytes.len());
            op
        }
        other => panic!("{other:?}"),
    }
}

fn publish(bytes: &[u8]) -> Publish<'_> {
    match op(bytes) {
        Op::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn publishes() {
    let plain = publish(b"PUB a.b 5\r\n");
    assert_eq!(
        (plain.subject, plain.reply, plain.total_len),
        (&b"a.b"[..], None, 5)
    );
    assert!(plain.canonical);
    let reply = publish(b"pUb a inbox 001\r\n");
    assert_eq!(
        (reply.reply, reply.sizes),
        (Some(&b"inbox"[..]), &b"001"[..])
    );
    let headers = publish(b"HPUB a r 12 20\r\n");
    assert_eq!((headers.header_len, headers.total_len), (Some(12), 20));
    assert_eq!(headers.sizes, b"12 20");
    assert!(headers.canonical);
    for odd in [
        &b"PUB a  5\r\n"[..],
        b"PUB a 5\n",
        b"PUB a 5 \r\n",
        b"PUB\ta\t5\r\n",
    ] {
        assert!(!publish(odd).canonical, "{odd:?}");
    }
    assert!(publish(b"PUB  a 5\r\n").canonical);
}

#[test]
fn subscriptions() {
    assert_eq!(
        op(b"SUB a.* q foo-1\r\n"),
        Op::Subscribe {
            subject: b"a.*",
            queue: Some(b"q"),
            sid: b"foo-1"
        }
    );
    assert_eq!(
        op(b"SUB a\rb 12\r\n"),
        Op::Subscribe {
            subject: b"a",
            queue: Some(b"b"),
            sid: b"12"
        }
    );
    assert_eq!(
        op(b"UNSUB 1\n"),
        Op::Unsubscribe {
            sid: b"1",
            max: None
        }
    );
    assert_eq!(
        op(b"UNSUB 1 7\r\n"),
        Op::Unsubscribe {
            sid: b"1",
            max: Some(7)
        }
    );
    assert_eq!(
        op(b"UNSUB 1 -7\r\n"),
        Op::Unsubscribe {
            sid: b"1",
            max: None
        }
    );
}

#[test]
fn operations_without_arguments() {
    assert_eq!(op(b"PINGxyz\r\n"), Op::Ping);
    assert_eq!(op(b"pong\n"), Op::Pong);
    assert_eq!(op(b"+OK\r\n"), Op::Ok);
    assert_eq!(op(b"CONNECT{\"a\":1}\r\n"), Op::Connect(b"{\"a\":1}"));
    assert_eq!(op(b"-ERR 'x'\r\n"), Op::Err(b"'x'"));
}

#[test]
fn invalid_operations_are_rejected() {
    for bytes in [
        &b" PING\r\n"[..],
        b"\r\n",
        b"GET / HTTP/1.1\r\n",
        b"PUB\r\n",
        b"MSG a 1 1\r\n",
        b"X",
    ] {
        assert_eq!(
            parse(bytes, 4096),
            Err(ParseError::UnknownOperation),
            "{bytes:?}"
        );
    }
    for bytes in [
        &b"PUB a\r\n"[..],
        b"PUB a b c 1\r\n",
        b"PUB a +1\r\n",
        b"PUB a 1234567890\r\n",
        b"HPUB a 6 5\r\n",
        b"HPUB a 5\r\n",
        b"SUB a\r\n",
        b"UNSUB 1 2 3\r\n",
    ] {
        assert!(
            matches!(parse(bytes, 4096), Err(ParseError::Arguments(_))),
            "{bytes:?}"
        );
    }
}

#[test]
fn the_limit_of_the_control_line_excludes_its_end() {
    let line = |len: usize| [b"SUB ".as_slice(), &vec![b'a'; len - 2], b" 1\r\n"].concat();
    assert!(matches!(parse(&line(4096), 4096), Ok(Parsed::Op(..))));
    assert_eq!(parse(&line(4097), 4096), Err(ParseError::ControlLine));
    assert_eq!(
        parse(&line(5000)[..4200], 4096),
        Err(ParseError::ControlLine)
    );
}

#[test]
fn every_byte_before_the_end_of_a_line_is_limited() {
    let line = |verb: &str, fill: u8, len: usize, end: &str| {
        [verb.as_bytes(), &vec![fill; len], end.as_bytes()].concat()
    };
    for (verb, max) in [
        ("PING", IGNORED_LEN_MAX),
        ("PONG", IGNORED_LEN_MAX),
        ("+OK", IGNORED_LEN_MAX),
        ("CONNECT", 64),
        ("INFO", 64),
        ("SUB ", 64),
        ("PUB ", 64),
        ("-ERR ", 64),
    ] {
        let given = verb.matches(' ').count();
        for fill in [b' ', b'\t', b'x', b'\r'] {
            let is_blank = matches!(fill, b' ' | b'\t');
            let fits = max - if is_blank { given } else { 0 };
            let bytes = line(verb, fill, fits, "");
            assert_eq!(parse(&bytes, 64), Ok(Parsed::Incomplete), "{verb} {fill}");
            // The end of the line may have begun.
            for end in ["", "\n", "\r\n"] {
                let bytes = line(verb, fill, fits + 2, end);
                assert_eq!(
                    parse(&bytes, 64),
                    Err(ParseError::ControlLine),
                    "{verb} {fill} {end:?}"
                );
            }
        }
    }
    // Between CR and LF the result is the same as before CR.
    let bytes = line("SUB ", b'a', 62, " 1\r");
    assert_eq!(parse(&bytes, 64), Ok(Parsed::Incomplete));
}

proptest! {
    /// No input causes a panic, and a prefix of a valid operation is incomplete, never another
    /// operation or an error.
    #[test]
    fn a_prefix_is_incomplete(
        bytes in prop_oneof![
            "(PUB|hpub|SUB|UNSUB|PING|CONNECT|-ERR|\\+OK)[ \t]{0,2}[a-z.*>]{0,5} ?[0-9]{0,3} ?[0-9]{0,3}\r?\n",
            "\\PC{0,30}",
        ],
    ) {
        let bytes = bytes.as_bytes();
        if let Ok(Parsed::Op(_, len)) = parse(bytes, 64) {
            for cut in 0..len {
                prop_assert_eq!(parse(&bytes[..cut], 64), Ok(Parsed::Incomplete));
            }
        }
    }

    /// The fast path for repeated subjects equals the parser.
    #[test]
    fn repeated_publish_equals_publish(subject in "[a-c.]{1,4}", bytes in "PUB [a-c.]{1,4} ?[0-9]{0,11}\r?\n?") {
        if let Some(short) = parse_repeated_publish(bytes.as_bytes(), subject.as_bytes()) {
            match parse(bytes.as_bytes(), 4096) {
                Ok(Parsed::Op(Op::Publish(full), len)) => {
                    prop_assert_eq!(short, full);
                    prop_assert_eq!(len, short.line_len);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
