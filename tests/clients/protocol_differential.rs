//! The client protocol of midge compared with nats-server 2.15: both get the same bytes
//! and must give the same answers and close the connection in the same way.
//!
//! The comparison is tested too: nats-server must equal itself and must differ from an
//! old nats-server.

mod differential;

use differential::{
    Case, assert_alike, authentication, connect, differences, framing, keepalive, limits, splits,
    subjects, subscriptions, verbs,
};
use test_support::Broker;

/// Line ends, verbs, separators, sizes, control line limits, pipelining.
#[test]
fn midge_frames_like_nats_server() {
    assert_alike(&framing::cases(), Broker::midge, Broker::nats_server);
}

/// Verbs, their arguments, `+OK`, headers.
#[test]
fn midge_answers_verbs_like_nats_server() {
    assert_alike(&verbs::cases(), Broker::midge, Broker::nats_server);
}

/// INFO and every field of CONNECT.
#[test]
fn midge_connects_like_nats_server() {
    assert_alike(&connect::cases(), Broker::midge, Broker::nats_server);
}

/// Valid and invalid logins.
#[test]
fn midge_authenticates_like_nats_server() {
    assert_alike(&authentication::cases(), Broker::midge, Broker::nats_server);
}

/// Valid, invalid and reserved subjects; matching.
#[test]
fn midge_matches_subjects_like_nats_server() {
    assert_alike(&subjects::cases(), Broker::midge, Broker::nats_server);
}

/// Subscription ids, UNSUB, queue groups, echo, no responders.
#[test]
fn midge_subscribes_like_nats_server() {
    assert_alike(&subscriptions::cases(), Broker::midge, Broker::nats_server);
}

/// Limits and values around them.
#[test]
fn midge_limits_like_nats_server() {
    assert_alike(&limits::cases(), Broker::midge, Broker::nats_server);
}

/// The broker's PINGs and stale connections.
#[test]
fn midge_keeps_alive_like_nats_server() {
    assert_alike(&keepalive::cases(), Broker::midge, Broker::nats_server);
}

/// Splitting the bytes anywhere changes nothing.
#[test]
fn midge_accepts_bytes_in_any_pieces() {
    let (midge, nats_server) = (Broker::midge().start(), Broker::nats_server().start());
    for script in scripts() {
        let expected = splits::answers(&nats_server, script).swap_remove(0);
        for (run, answer) in splits::answers(&midge, script).into_iter().enumerate() {
            assert_eq!(answer, expected, "run {run} of {script:?}");
        }
    }
}

/// The comparison holds for two runs of the same broker: what it masks is enough.
#[test]
fn nats_server_equals_itself() {
    assert_alike(&all_cases(), Broker::nats_server, Broker::nats_server);
}

/// The splitting is harmless where it is known to be.
#[test]
fn nats_server_accepts_bytes_in_any_pieces() {
    let nats_server = Broker::nats_server().start();
    for script in scripts() {
        let answers = splits::answers(&nats_server, script);
        for (run, answer) in answers.iter().enumerate() {
            assert_eq!(*answer, answers[0], "run {run} of {script:?}");
        }
    }
}

/// The comparison can fail: an old nats-server is detected.
#[test]
fn old_nats_server_differs() {
    let found = differences(&all_cases(), Broker::nats_server_29, Broker::nats_server);
    for known in KNOWN_TO_DIFFER_IN_29 {
        assert!(found.contains_key(known), "equal in 2.9: {known}");
    }
    let alike = all_cases().len() - found.len();
    assert!(alike > 600, "only {alike} cases are alike: {found:#?}");
}

/// Cases whose answers changed between nats-server 2.9 and 2.15, one of each kind.
const KNOWN_TO_DIFFER_IN_29: [&str; 5] = [
    "INFO after the first PING only",
    "max_connections: zero refuses all",
    "no responders: plain inbox",
    "reserved: $NRG.x",
    "second CONNECT drops the subscriptions",
];

fn all_cases() -> Vec<Case> {
    [
        framing::cases(),
        verbs::cases(),
        authentication::cases(),
        connect::cases(),
        subjects::cases(),
        subscriptions::cases(),
        limits::cases(),
        keepalive::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn scripts() -> impl Iterator<Item = &'static str> {
    [splits::LONG_SCRIPT]
        .into_iter()
        .chain(splits::FATAL_SCRIPTS)
}
