use std::time::Duration;

use super::{incident::CURVE_MAX, *};
use crate::telemetry::{Kind, MonotonicMillis};

#[test]
fn the_cause_follows_from_the_state_of_the_socket() {
    let late = Duration::from_secs(1);
    let stuck = SocketStats {
        not_sent: 4_000_000,
        busy: 4000,
        window_limited: 4000,
        send_window: 95_232,
        ..SocketStats::default()
    };
    let cause = |before, now, delay| find_cause(before, now, delay).0;
    assert_eq!(cause(None, Some(stuck), late), Cause::PeerNotReading);
    let lossy = SocketStats {
        retransmits: 9,
        unacked: 30,
        send_window: 60_000,
        ..SocketStats::default()
    };
    assert_eq!(cause(None, Some(lossy), late), Cause::Network);
    let open = SocketStats {
        send_window: 60_000,
        ..SocketStats::default()
    };
    assert_eq!(cause(None, Some(open), late), Cause::Midge);
    assert_eq!(cause(None, Some(open), Duration::ZERO), Cause::Unknown);
    assert_eq!(cause(None, None, late), Cause::Unknown);
    // What happened before the incident does not count.
    let healed = SocketStats {
        unacked: 0,
        ..lossy
    };
    assert_eq!(
        cause(Some(lossy), Some(healed), Duration::ZERO),
        Cause::Unknown
    );
}

#[test]
fn old_incidents_are_dropped_and_numbers_continue() {
    let log = SlowLog::default();
    let begin = |cid| {
        let reader = Reader {
            cid,
            kind: Kind::Client,
            who: String::new(),
            name: String::new(),
            user: String::new(),
            certificate: String::new(),
            address: String::new(),
            library: String::new(),
            account: String::new(),
        };
        Incident::begin(reader, MonotonicMillis(5), 100)
    };
    log.track(Incident {
        id: log.count(),
        ..begin(1)
    });
    for cid in 2..=300 {
        assert!(log.end(begin(cid)).is_some());
    }
    let (total, all) = log.all();
    assert_eq!((total, all.len()), (300, INCIDENTS_MAX + 1));
    let counts = log.counts();
    assert_eq!((counts.total, counts.ongoing), (300, 1));
    assert_eq!(counts.ended, [((State::Ongoing, Cause::Unknown), 299)]);
    assert_eq!((all[0].reader.cid, all[0].state), (1, State::Ongoing));
    assert_eq!(all[1].id, 300);
    let mut first = log.ongoing(1).unwrap();
    for tick in 0..1000 {
        first.record(MonotonicMillis(5 + tick), tick as usize, tick);
    }
    assert!(first.curve.len() <= CURVE_MAX && first.curve[0].pending == 0);
    assert!(log.end(first.clone()).is_some());
    assert!(log.end(first).is_none());
    assert!(log.ongoing_cids().is_empty());
}
