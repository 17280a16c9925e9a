use std::time::Duration;

use super::*;

const MAX: usize = 4096;

fn begin(expected: Expected) -> (BeforeLogin, Instant) {
    let now = Instant::now();
    (
        BeforeLogin::new(expected, MAX, now + Duration::from_secs(2)),
        now,
    )
}

/// Feeds these bytes in pieces of `piece` bytes.
fn feed(
    expected: Expected,
    bytes: &[u8],
    piece: usize,
) -> (Vec<Step>, Option<BeforeLoginError>, BeforeLogin) {
    let (mut peer, now) = begin(expected);
    let mut steps = Vec::new();
    for piece in bytes.chunks(piece) {
        peer.buffer().extend_from_slice(piece);
        loop {
            match peer.step(now) {
                Ok(Step::Wait) => break,
                Ok(step) => steps.push(step),
                Err(error) => return (steps, Some(error), peer),
            }
        }
    }
    (steps, None, peer)
}

#[test]
fn only_the_expected_operation_is_accepted() {
    let others = [
        "PING\r\n",
        "PONG\r\n",
        "+OK\r\n",
        "RS+ $G a\r\n",
        "RMSG $G a 0\r\n\r\n",
        "A+ x\r\n",
    ];
    for other in others {
        for expected in [Expected::ClientConnect, Expected::RouteConnect] {
            let (steps, error, _) = feed(expected, other.as_bytes(), 1);
            assert_eq!(
                (steps, error),
                (vec![], Some(BeforeLoginError::Unexpected)),
                "{expected:?} {other}"
            );
        }
    }
    for line in ["CONNECT {}\r\n", "connect\t{}\n"] {
        for expected in [Expected::ClientConnect, Expected::RouteConnect] {
            let (steps, error, _) = feed(expected, line.as_bytes(), 1);
            assert_eq!((steps, error), (vec![Step::Connect(b"{}".into())], None));
        }
    }
    let (_, error, _) = feed(Expected::RouteConnect, b"INFO {}\r\n", 9);
    assert_eq!(error, Some(BeforeLoginError::Info));
    let (_, error, _) = feed(Expected::RouteInfo, b"CONNECT {}\r\n", 9);
    assert_eq!(error, Some(BeforeLoginError::Connect));
    let (_, error, _) = feed(Expected::RouteInfo, b"-ERR 'x'\r\n", 9);
    assert_eq!(error, Some(BeforeLoginError::Error(b"'x'".into())));
}

#[test]
fn bytes_that_cannot_become_connect_are_refused_immediately() {
    let (_, error, _) = feed(Expected::ClientConnect, b"CONNEKT", 1);
    assert_eq!(
        error,
        Some(BeforeLoginError::Parse(ParseError::UnknownOperation))
    );
}

#[test]
fn a_limited_number_of_pings_may_precede_info() {
    for piece in [1, 7, 4096] {
        let flood = "PING\r\n+OK\r\n".repeat(100);
        let (steps, error, _) = feed(Expected::RouteInfo, flood.as_bytes(), piece);
        assert_eq!(steps, vec![Step::Ping; IDLE_LINES_MAX / 2]);
        assert_eq!(error, Some(BeforeLoginError::Idle));
        let few = "PING\r\n".repeat(IDLE_LINES_MAX) + "INFO {}\r\n";
        let (steps, error, _) = feed(Expected::RouteInfo, few.as_bytes(), piece);
        assert_eq!(steps.last(), Some(&Step::Info(b"{}".into())));
        assert_eq!(error, None);
    }
}

/// What a broker sends between CONNECT and INFO is kept in order, up to the limit of one line,
/// however it is split.
#[test]
fn operations_before_info_are_kept() {
    let (first, last) = ("RS+ $G a\r\nRMSG $G a 5\r\nPING\n\r\n", "RS- $G a\r\n");
    for piece in [1, 7, 4096] {
        let feed = |bytes: &str| {
            let (mut peer, now) = begin(Expected::RouteInfo);
            peer.keep_early();
            let mut steps = Vec::new();
            for piece in bytes.as_bytes().chunks(piece) {
                peer.buffer().extend_from_slice(piece);
                loop {
                    match peer.step(now) {
                        Ok(Step::Wait) => break,
                        Ok(step) => steps.push(step),
                        Err(error) => return (steps, Some(error), peer),
                    }
                }
            }
            (steps, None, peer)
        };
        let (steps, error, mut peer) = feed(&format!("{first}PING\r\n{last}INFO {{}}\r\n"));
        assert_eq!(steps, vec![Step::Ping, Step::Info(b"{}".into())]);
        assert_eq!(error, None);
        assert_eq!(peer.take_rest(), format!("{first}{last}").as_bytes());
        for flood in ["RS+ $G a\r\n".repeat(MAX), format!("RMSG $G a {MAX}\r\n")] {
            let (steps, error, peer) = feed(&flood);
            assert_eq!(
                (steps, error),
                (vec![], Some(BeforeLoginError::EarlyDataTooLong))
            );
            assert!(peer.early.len() <= MAX);
        }
    }
    let (_, error, _) = feed(Expected::RouteInfo, b"RS+ $G a\r\n", 1);
    assert_eq!(
        error,
        Some(BeforeLoginError::Unexpected),
        "of a dialled broker"
    );
}

#[test]
fn an_error_or_any_other_operation_may_come_instead_of_pong() {
    for piece in [1, 4096] {
        let (steps, error, _) = feed(Expected::RouteAnswer, b"PING\r\nPONG\r\n", piece);
        assert_eq!((steps, error), (vec![Step::Ping, Step::Answered], None));
        let (steps, error, _) = feed(Expected::RouteAnswer, b"-ERR 'x'\r\nPONG\r\n", piece);
        assert_eq!(
            (steps, error),
            (vec![], Some(BeforeLoginError::Error(b"'x'".into())))
        );
        let (_, error, _) = feed(
            Expected::RouteAnswer,
            "PING\r\n".repeat(99).as_bytes(),
            piece,
        );
        assert_eq!(error, Some(BeforeLoginError::Idle));
    }
    let (mut peer, now) = begin(Expected::RouteAnswer);
    peer.buffer().extend(b"RS+ $G a\r\nPONG\r\n");
    assert_eq!(peer.step(now), Ok(Step::Answered));
    assert_eq!(peer.take_rest(), b"RS+ $G a\r\nPONG\r\n");
}

#[test]
fn lines_are_limited_and_each_byte_costs_the_same() {
    for expected in [
        Expected::ClientConnect,
        Expected::RouteConnect,
        Expected::RouteInfo,
    ] {
        for fill in [b' ', b'\t', b'x', b'\r'] {
            for piece in [1, 100, 4096] {
                let flood = [b"CONNECT ".as_slice(), &vec![fill; 4 * MAX]].concat();
                let (steps, error, mut peer) = feed(expected, &flood, piece);
                assert!(steps.is_empty());
                assert_eq!(
                    error,
                    Some(BeforeLoginError::Parse(ParseError::ControlLine))
                );
                assert!(peer.work() <= peer.buffer().len());
                assert!(peer.buffer().len() <= MAX + LINE_EXTRA + piece);
            }
        }
    }
}

#[test]
fn the_longest_line_is_accepted_however_it_is_split() {
    let line = |len: usize| {
        let json = format!("{{\"name\":\"{}\"}}", "x".repeat(len - 11));
        assert_eq!(json.len(), len);
        format!("CONNECT {json}\r\n")
    };
    for piece in [1, 100, 9000] {
        let (steps, error, _) = feed(Expected::ClientConnect, line(MAX).as_bytes(), piece);
        assert_eq!((steps.len(), error), (1, None));
        let (steps, error, _) = feed(Expected::ClientConnect, line(MAX + 1).as_bytes(), piece);
        let refused = Some(BeforeLoginError::Parse(ParseError::ControlLine));
        assert_eq!((steps.len(), error), (0, refused));
    }
}

#[test]
fn a_raised_limit_does_not_apply_before_login() {
    let now = Instant::now();
    let deadline = now + Duration::from_secs(2);
    for expected in [Expected::ClientConnect, Expected::RouteConnect] {
        let mut peer = BeforeLogin::new(expected, usize::MAX / 2, deadline);
        peer.buffer().extend(b"CONNECT ");
        peer.buffer().resize(CONNECT_LEN_MAX + 100, b'x');
        assert!(peer.step(now).is_err());
    }
}

#[test]
fn the_deadline_ends_the_wait_whatever_was_received() {
    let (mut peer, now) = begin(Expected::RouteConnect);
    peer.buffer().extend(b"CONNECT {}\r\n");
    assert_eq!(
        peer.step(now + Duration::from_secs(2)),
        Err(BeforeLoginError::Timeout)
    );
}

#[test]
fn bytes_after_connect_are_left_for_the_session() {
    let (mut peer, now) = begin(Expected::RouteConnect);
    peer.buffer()
        .extend(b"CONNECT {}\r\nINFO {}\r\nRS+ $G a\r\n");
    assert_eq!(peer.step(now), Ok(Step::Connect(b"{}".into())));
    peer.expect(Expected::RouteInfo, MAX, now + Duration::from_secs(5));
    assert_eq!(peer.step(now), Ok(Step::Info(b"{}".into())));
    assert_eq!(peer.take_rest(), b"RS+ $G a\r\n");
}
