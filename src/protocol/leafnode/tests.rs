use proptest::prelude::*;

use super::*;

const MAX: usize = 4096;

fn op(line: &str) -> LeafOp<'_> {
    match parse(line.as_bytes(), MAX) {
        Ok(Parsed::Op(op, len)) => {
            assert_eq!(len, line.len());
            op
        }
        other => panic!("{line:?}: {other:?}"),
    }
}

fn message(line: &str) -> RouteMessage<'_> {
    match op(line) {
        LeafOp::Message(message) => message,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn messages_in_all_forms() {
    for (line, reply, queues, header_len, canonical) in [
        ("LMSG a.b 5\r\n", "", "", None, true),
        ("LMSG a.b r 5\r\n", "r", "", None, true),
        ("LMSG a.b | q 5\r\n", "", "q", None, true),
        ("LMSG a.b | q1 q2 5\r\n", "", "q1 q2", None, true),
        ("LMSG a.b + r q1 q2 5\r\n", "r", "q1 q2", None, false),
        ("HMSG a.b 3 5\r\n", "", "", Some(3), true),
        ("HMSG a.b r 3 5\r\n", "r", "", Some(3), true),
        ("HMSG a.b + r q 3 5\r\n", "r", "q", Some(3), false),
        ("lmsg a.b\t5\r\n", "", "", None, true),
        ("LMSG a.b 5\n", "", "", None, false),
    ] {
        let message = message(line);
        assert_eq!(message.account, b"");
        assert_eq!(message.subject, b"a.b", "{line:?}");
        assert_eq!(
            message.reply.unwrap_or_default(),
            reply.as_bytes(),
            "{line:?}"
        );
        assert_eq!(message.queues, queues.as_bytes(), "{line:?}");
        assert_eq!((message.header_len, message.total_len), (header_len, 5));
        assert_eq!(message.canonical, canonical, "{line:?}");
    }
    for line in [
        "LMSG a\r\n",
        "LMSG 5\r\n",
        "LMSG a x\r\n",
        "LMSG a + r 5\r\n",
        "LMSG a r r 5\r\n",
        "HMSG a 5\r\n",
        "HMSG a 6 5\r\n",
    ] {
        assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
    }
}

#[test]
fn interest_with_and_without_queue_groups() {
    let interest = |queue| LeafOp::Interest {
        subject: b"a.*",
        queue,
    };
    assert_eq!(op("LS+ a.*\r\n"), interest(None));
    assert_eq!(op("LS+ a.* q 3\r\n"), interest(Some((&b"q"[..], 3))));
    let ended = |queue| LeafOp::NoInterest {
        subject: b"a.*",
        queue,
    };
    assert_eq!(op("LS- a.*\r\n"), ended(None));
    assert_eq!(op("LS- a.* q\r\n"), ended(Some(b"q")));
    for line in [
        "LS+\r\n",
        "LS+ a q\r\n",
        "LS+ a q x\r\n",
        "LS+ a q 1 2\r\n",
        "LS-\r\n",
        "LS- a q 1\r\n",
    ] {
        assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
    }
}

#[test]
fn lines_are_limited_and_verbs_of_routes_are_unknown() {
    assert_eq!(parse(b"LS+ a", 5), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"LS+ aa", 5), Err(ParseError::ControlLine));
    for line in ["RS+ $G a\r\n", "RMSG $G a 1\r\n", "SUB a 1\r\n", "A+ x\r\n"] {
        let parsed = parse(line.as_bytes(), MAX);
        assert_eq!(parsed, Err(ParseError::UnknownOperation), "{line:?}");
    }
}

/// What may be a user or a token is sent as both. It is never shown, as it may be a secret.
#[test]
fn credentials_are_those_of_a_client() {
    let connect = |json: &str| serde_json::from_str::<LeafConnect>(json).expect("a CONNECT");
    let credentials = connect(r#"{"user":"u","auth_token":"u"}"#).credentials();
    assert_eq!((&*credentials.user, &*credentials.token), ("u", "u"));
    assert_eq!(credentials.display_user(), "[REDACTED]");
    let credentials = connect(r#"{"auth_token":"t"}"#).credentials();
    assert_eq!((&*credentials.user, &*credentials.token), ("", "t"));
    let shown = format!("{:?}", connect(r#"{"name":"n","pass":"secret"}"#));
    assert!(!shown.contains("secret"), "{shown}");
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, 64);
    }

    #[test]
    fn no_line_of_fields_causes_a_panic(
        line in "(LMSG|HMSG|LS\\+|LS-)( (a|\\+\\+?|\\|\\|?|1|22|q)){0,9}( )?\r\n"
    ) {
        let _ = parse(line.as_bytes(), MAX);
    }

    /// A message that is written as nats-server writes it is read as it was meant, and what is copied
    /// of it has the form of a delivery.
    #[test]
    fn what_is_written_is_read(
        subject in "[a-z]{1,8}(\\.[a-z*>]{1,4}){0,3}",
        reply in proptest::option::of("_INBOX\\.[a-zA-Z0-9]{1,12}"),
        queues in proptest::collection::vec("[a-z]{1,6}", 0..4),
        payload_len in 0_usize..10_000,
        header_len in proptest::option::of(0_usize..500),
    ) {
        let mut line = match header_len {
            Some(_) => format!("HMSG {subject} "),
            None => format!("LMSG {subject} "),
        };
        match (&reply, queues.is_empty()) {
            (None, true) => {}
            (None, false) => line += &format!("| {} ", queues.join(" ")),
            (Some(reply), true) => line += &format!("{reply} "),
            (Some(reply), false) => line += &format!("+ {reply} {} ", queues.join(" ")),
        }
        if let Some(len) = header_len {
            line += &format!("{len} ");
        }
        let total_len = payload_len + header_len.unwrap_or(0);
        line += &format!("{total_len}\r\n");
        let read = message(&line);
        prop_assert_eq!(read.subject, subject.as_bytes());
        prop_assert_eq!(read.reply, reply.as_ref().map(|reply| reply.as_bytes()));
        let named = queues.join(" ");
        prop_assert_eq!(read.queues, named.as_bytes());
        prop_assert_eq!((read.header_len, read.total_len), (header_len, total_len));
        if read.canonical {
            let reply = reply.map_or_else(String::new, |reply| format!("{reply} "));
            let sizes = String::from_utf8_lossy(read.sizes);
            let tail = format!("{reply}{}\r\n", sizes);
            prop_assert!(line.ends_with(&tail));
        }
        // No part of the line is another operation.
        prop_assert_eq!(parse(&line.as_bytes()[..line.len() - 1], MAX), Ok(Parsed::Incomplete));
    }

    #[test]
    fn interest_that_is_written_is_read(
        subject in "[a-z]{1,8}(\\.[a-z*]{1,4}){0,3}",
        queue in proptest::option::of(("[a-z]{1,8}", 0_u32..100_000)),
    ) {
        let key = match &queue {
            Some((name, _)) => format!("{subject} {name}"),
            None => subject.clone(),
        };
        let mut lines = Vec::new();
        let members = queue.as_ref().map_or(1, |(_, members)| *members);
        crate::protocol::encode::push_leaf_interest(&mut lines, key.as_bytes(), members);
        let queue = queue.as_ref().map(|(name, members)| (name.as_bytes(), *members));
        let expected = LeafOp::Interest { subject: subject.as_bytes(), queue };
        let text = String::from_utf8(lines).expect("text");
        prop_assert_eq!(op(&text), expected);
        let mut lines = Vec::new();
        crate::protocol::encode::push_no_leaf_interest(&mut lines, key.as_bytes());
        let queue = queue.map(|(name, _)| name);
        let expected = LeafOp::NoInterest { subject: subject.as_bytes(), queue };
        let text = String::from_utf8(lines).expect("text");
        prop_assert_eq!(op(&text), expected);
    }
}
