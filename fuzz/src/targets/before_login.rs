//! Input before login, in pieces and with pauses: memory, work, answers and time are bounded in any
//! case.

use std::time::{Duration, Instant};

use midge::protocol::before_login::{
    BeforeLogin, BeforeLoginError, Expected, IDLE_LINES_MAX, Step,
};

/// Limit of a line in bytes.
const LINE_MAX: usize = 64;

/// Bytes of a line that the limit does not count.
const EXTRA: usize = 16;

/// Time limit of the login, and then of INFO.
const TIME: Duration = Duration::from_secs(2);

/// The client port.
pub fn client_before_login(bytes: &[u8]) {
    run(Expected::ClientConnect, bytes);
}

/// The route port: CONNECT, then INFO.
pub fn route_before_login(bytes: &[u8]) {
    run(Expected::RouteConnect, bytes);
}

/// Splits `bytes` into pieces: a byte for the length, a byte for the pause before it, then the
/// data.
fn pieces(mut bytes: &[u8]) -> Vec<(Duration, &[u8])> {
    let mut pieces = Vec::new();
    while let [len, pause, rest @ ..] = bytes {
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        pieces.push((Duration::from_millis(u64::from(*pause)), piece));
        bytes = rest;
    }
    pieces
}

fn run(expected: Expected, bytes: &[u8]) {
    let pieces = pieces(bytes);
    let timed = follow(expected, &pieces);
    if timed.ended == Some(BeforeLoginError::Timeout) {
        return;
    }
    // The result does not depend on how the input is split.
    let all: Vec<u8> = pieces
        .iter()
        .flat_map(|(_, piece)| *piece)
        .copied()
        .collect();
    let whole = follow(expected, &[(Duration::ZERO, &all)]);
    assert_eq!(timed.steps, whole.steps);
    assert_eq!(timed.ended.is_some(), whole.ended.is_some());
}

struct Outcome {
    steps: Vec<Step>,
    ended: Option<BeforeLoginError>,
}

fn follow(expected: Expected, pieces: &[(Duration, &[u8])]) -> Outcome {
    let mut now = Instant::now();
    let mut deadline = now + TIME;
    let mut peer = BeforeLogin::new(expected, LINE_MAX, deadline);
    let mut steps = Vec::new();
    let mut fed = 0;
    let mut longest = 0;
    for (pause, piece) in pieces {
        now += *pause;
        fed += piece.len();
        longest = longest.max(piece.len());
        peer.buffer().extend_from_slice(piece);
        loop {
            match peer.step(now) {
                Ok(Step::Wait) => break,
                Ok(step) => {
                    let is_connect = matches!(step, Step::Connect(_));
                    steps.push(step);
                    if is_connect && expected == Expected::RouteConnect {
                        deadline = now + TIME;
                        peer.expect(Expected::RouteInfo, LINE_MAX, deadline);
                    } else if steps.last() != Some(&Step::Ping) {
                        return Outcome { steps, ended: None };
                    }
                }
                Err(error) => {
                    assert_eq!(error == BeforeLoginError::Timeout, now >= deadline);
                    let ended = Some(error);
                    return Outcome { steps, ended };
                }
            }
        }
        assert!(now < deadline);
        // CONNECT, INFO, and the lines between them.
        let lines_max = IDLE_LINES_MAX + 2;
        assert!(steps.len() <= lines_max);
        assert!(peer.buffer().len() <= LINE_MAX + EXTRA);
        assert!(peer.work() <= fed + lines_max * (LINE_MAX + EXTRA + longest));
    }
    assert_eq!(peer.step(deadline), Err(BeforeLoginError::Timeout));
    Outcome { steps, ended: None }
}
