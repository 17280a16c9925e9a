use proptest::prelude::*;

use super::*;

const MAX: usize = 64 * 1024;

/// A line may have exactly the permitted length, and as many fields as fit.
#[test]
fn only_the_bytes_of_a_line_are_limited() {
    for groups in [1, 1019, 1020, 5000] {
        let line = format!("RMSG $G a | {}5\r\n", "q ".repeat(groups));
        assert_eq!(message(&line).queues.len(), 2 * groups - 1);
        let parsed = |max| parse(line.as_bytes(), max);
        assert!(matches!(parsed(line.len() - 1), Ok(Parsed::Op(..))));
        assert_eq!(parsed(line.len() - 2), Err(ParseError::ControlLine));
        let begin = &line.as_bytes()[..line.len() - 1];
        assert_eq!(parse(begin, line.len()), Ok(Parsed::Incomplete));
    }
    let nonsense = format!("RS+ {}\r\n", "x ".repeat(30_000));
    match parse(nonsense.as_bytes(), MAX) {
        Err(ParseError::Arguments(text)) => assert!(text.len() < 1000, "{text}"),
        other => panic!("{other:?}"),
    }
}

/// Optional entries are left out of an INFO so that every broker accepts it.
#[test]
fn an_info_never_exceeds_the_limit_of_a_line() {
    for urls in [0, 1, 2000, 3000, 100_000] {
        for subjects in [0, 1, 20_000] {
            let rules = vec!["some.subject"; subjects];
            let import = serde_json::json!({ "allow": rules });
            let info = RouteInfo {
                server_id: "ID".into(),
                connect_urls: vec!["192.168.100.100:4222".into(); urls / 2],
                ws_connect_urls: vec!["192.168.100.100:8443".into(); urls - urls / 2],
                max_line: LINE_MAX,
                import: serde_json::value::to_raw_value(&import).ok(),
                ..RouteInfo::default()
            };
            let line = info.line();
            assert!(line.len() <= INTRODUCTION_MAX, "{urls} {subjects}");
            let Ok(Parsed::Op(RouteOp::Info(json), _)) = parse(&line, MAX) else {
                panic!("{urls} {subjects}");
            };
            let back: RouteInfo = serde_json::from_slice(json).unwrap();
            assert_eq!((&*back.server_id, back.max_line), ("ID", LINE_MAX));
            let is_short = urls < 2500;
            let kept = back.connect_urls.len() + back.ws_connect_urls.len();
            assert_eq!(kept == urls, is_short, "{urls}");
        }
    }
}

fn op(line: &str) -> RouteOp<'_> {
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
        RouteOp::Message(message) => message,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn the_four_forms_of_a_message() {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (line, reply, queues, header_len, canonical) in [
        ("RMSG $G a 5\r\n", None, "", None, true),
        ("RMSG $G a rep 5\r\n", Some("rep"), "", None, true),
        ("RMSG $G a | q2 q1 5\r\n", None, "q2 q1", None, true),
        (
            "RMSG $G a + rep q2 q1 5\r\n",
            Some("rep"),
            "q2 q1",
            None,
            false,
        ),
        ("HMSG $G a 2 5\r\n", None, "", Some(2), true),
        ("HMSG $G a rep 2 5\r\n", Some("rep"), "", Some(2), true),
        ("HMSG $G a | q 2 5\r\n", None, "q", Some(2), true),
        (
            "hmsg $G a + rep q 2 5\r\n",
            Some("rep"),
            "q",
            Some(2),
            false,
        ),
        ("RMSG $G a || 5\r\n", Some("||"), "", None, true),
        ("HMSG $G a ++ 2 5\r\n", Some("++"), "", Some(2), true),
        ("RMSG $G a rep  5\r\n", Some("rep"), "", None, false),
        ("RMSG $G a 5\n", None, "", None, false),
    ] {
        let found = message(line);
        assert_eq!(
            (text(found.account), text(found.subject)),
            ("$G".into(), "a".into())
        );
        assert_eq!(found.reply.map(text).as_deref(), reply, "{line:?}");
        assert_eq!(text(found.queues), queues, "{line:?}");
        assert_eq!(
            (found.header_len, found.total_len),
            (header_len, 5),
            "{line:?}"
        );
        assert_eq!(found.canonical, canonical, "{line:?}");
    }
}

/// What comes from a leafnode of a cluster has that cluster's name, and always two sizes.
#[test]
fn messages_of_leafnodes_name_their_cluster() {
    for (line, reply, queues, header_len, canonical) in [
        ("LMSG site $G a 0 5\r\n", None, "", None, false),
        (
            "LMSG site $G a rep 0 5\r\n",
            Some(&b"rep"[..]),
            "",
            None,
            false,
        ),
        (
            "LMSG site $G a rep 2 5\r\n",
            Some(b"rep"),
            "",
            Some(2),
            true,
        ),
        ("LMSG site $G a | q p 2 5\r\n", None, "q p", Some(2), true),
        (
            "LMSG site $G a + rep q 0 5\r\n",
            Some(b"rep"),
            "q",
            None,
            false,
        ),
    ] {
        let found = message(line);
        assert_eq!(
            (found.origin, found.account, found.subject),
            (&b"site"[..], &b"$G"[..], &b"a"[..])
        );
        assert_eq!(found.reply, reply, "{line:?}");
        assert_eq!(found.queues, queues.as_bytes(), "{line:?}");
        assert_eq!((found.header_len, found.total_len), (header_len, 5));
        assert_eq!(found.canonical, canonical, "{line:?}");
    }
    for line in ["LMSG site $G a 5\r\n", "LMSG $G a 0 5\r\n"] {
        assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
    }
    assert_eq!(message("RMSG $G a 5\r\n").origin, b"");
    assert_eq!(
        op("LS+ site $G a.* q 3\r\n"),
        RouteOp::Interest {
            origin: b"site",
            account: b"$G",
            subject: b"a.*",
            queue: Some((b"q", 3)),
        }
    );
    assert_eq!(
        op("LS- site $G a.*\r\n"),
        RouteOp::NoInterest {
            origin: b"site",
            account: b"$G",
            subject: b"a.*",
            queue: None,
        }
    );
    for line in ["LS+ site $G\r\n", "LS+ site $G a q\r\n", "LS- site $G\r\n"] {
        assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
    }
}

#[test]
fn a_message_may_be_for_queue_groups_alone() {
    for (line, only, reply) in [
        ("RMSG $G a | q1 q2 5\r\n", false, None),
        ("RMSG $G a || q1 q2 5\r\n", true, None),
        ("HMSG $G a || q1 q2 2 5\r\n", true, None),
        ("RMSG $G a + r q1 q2 5\r\n", false, Some(&b"r"[..])),
        ("RMSG $G a ++ r q1 q2 5\r\n", true, Some(b"r")),
        ("HMSG $G a ++ r q1 q2 2 5\r\n", true, Some(b"r")),
    ] {
        let found = message(line);
        assert_eq!(found.queues_only, only, "{line:?}");
        assert_eq!(
            (found.queues, found.reply),
            (&b"q1 q2"[..], reply),
            "{line:?}"
        );
    }
}

#[test]
fn malformed_messages_are_rejected() {
    for line in [
        "RMSG $G 5\r\n",
        "RMSG $G a x\r\n",
        "RMSG $G a b c 5\r\n",
        "RMSG $G a + rep 5\r\n",
        "RMSG $G a ++ rep 5\r\n",
        "RMSG $G a 1234567890\r\n",
        "HMSG $G a 6 5\r\n",
        "HMSG $G 6 5\r\n",
    ] {
        assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
    }
}

#[test]
fn interest_with_and_without_queue_groups() {
    let interest = |queue| RouteOp::Interest {
        origin: b"",
        account: b"$G",
        subject: b"a.*",
        queue,
    };
    assert_eq!(op("RS+ $G a.*\r\n"), interest(None));
    assert_eq!(op("RS+ $G a.* q 3\r\n"), interest(Some((&b"q"[..], 3))));
    for line in [
        "RS+ $G\r\n",
        "RS+ $G a q\r\n",
        "RS- $G\r\n",
        "RS- $G a q 1\r\n",
    ] {
        assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
    }
    assert_eq!(
        op("RS- $G a.* q\r\n"),
        RouteOp::NoInterest {
            origin: b"",
            account: b"$G",
            subject: b"a.*",
            queue: Some(b"q"),
        }
    );
}

#[test]
fn lines_are_limited() {
    assert_eq!(parse(b"RS+ $G a", 8), Ok(Parsed::Incomplete));
    assert_eq!(parse(b"RS+ $G aa", 8), Err(ParseError::ControlLine));
    assert_eq!(parse(b"SUB a 1\r\n", 80), Err(ParseError::UnknownOperation));
}

/// Unknown fields are not kept: they could be anything, and brokers that receive the INFO by
/// gossip read the address to dial from it.
#[test]
fn an_info_keeps_permissions_unchanged_and_drops_unknown_fields() {
    let export = r#"{"allow":["a",  "b"]}"#;
    let json = format!(
        r#"{{"server_id":"A","port":1,"ip":"nats-route://h:1/","new_key":{{"x":1}},"export":{export}}}"#
    );
    let info: RouteInfo = serde_json::from_str(&json).expect("it is an INFO");
    let line = String::from_utf8(info.line()).expect("it is text");
    assert!(line.contains(&format!(r#""export":{export}"#)), "{line}");
    assert!(line.contains(r#""ip":"nats-route://h:1/""#), "{line}");
    assert!(!line.contains("new_key"), "{line}");
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, 64);
    }

    #[test]
    fn no_line_of_fields_causes_a_panic(
        line in "(RMSG|HMSG|RS\\+|RS-)( (\\$G|a|\\+\\+?|\\|\\|?|1|22|q)){0,9}( )?\r\n"
    ) {
        let _ = parse(line.as_bytes(), MAX);
    }
}
