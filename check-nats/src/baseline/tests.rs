use super::*;

/// A look at a broker with this uptime, `at` seconds after the start of this host.
fn look(server_id: &str, name: &str, at: f64, uptime: f64, total: u64) -> Look {
    Look {
        server_id: server_id.into(),
        name: name.into(),
        at: Moment::of("boot", at, 1e9 + at),
        start: time(at - uptime),
        now: time(at),
        uptime,
        totals: BTreeMap::from([("x".to_owned(), total)]),
    }
}

/// The same by a broker whose wall clock is ahead by so many seconds.
fn ahead(look: Look, seconds: f64) -> Look {
    let shift = |time: &str| {
        let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
        (time + chrono::TimeDelta::seconds(seconds as i64)).to_rfc3339()
    };
    Look {
        start: shift(&look.start),
        now: shift(&look.now),
        ..look
    }
}

fn time(at: f64) -> String {
    let start = chrono::DateTime::from_timestamp(1_700_000_000 + at as i64, 0);
    start.unwrap().to_rfc3339()
}

fn state(looks: &[Look]) -> State {
    let mut state = State::default();
    for look in looks {
        state.remember(look.clone());
    }
    state
}

/// Whatever the broker's clock shows, in one run of it the uptime counts.
#[test]
fn a_clock_that_was_set_does_not_matter() {
    let then = look("N1", "", 1000.0, 300.0, 5);
    for clock in [0.0, 3600.0, -3600.0] {
        let now = ahead(look("N1", "", 1060.0, 360.0, 7), clock);
        let span = state(std::slice::from_ref(&then)).span(&now).unwrap();
        assert_eq!((span.seconds, span.new_of("x")), (60.0, 2));
        assert_eq!(span.to_string(), "in 60 s");
    }
}

/// A restart is found, with a name and without, whatever happened to the broker's clock.
#[test]
fn after_a_restart_the_total_is_the_difference() {
    for name in ["", "n1"] {
        for clock in [0.0, 86_400.0, -86_400.0] {
            let then = look("N1", name, 1000.0, 300.0, 50);
            let now = ahead(look("N2", name, 1060.0, 30.0, 7), clock);
            let mut state = state(&[then]);
            let span = state.span(&now).unwrap();
            assert!(span.restarted);
            assert_eq!((span.seconds, span.new_of("x")), (30.0, 7));
            assert_eq!(span.to_string(), "since its restart 30 s ago");
            // What is gone does not come back.
            state.remember(now);
            assert_eq!(state.looks.len(), 1);
        }
    }
}

/// Brokers that take turns behind one address are compared each with itself, whatever the
/// differences between their clocks.
#[test]
fn another_broker_is_no_restart() {
    for names in [["", ""], ["n1", "n2"]] {
        for clock in [0.0, 7200.0, -7200.0] {
            let first = look("N1", names[0], 1000.0, 300.0, 50);
            let second = |at, total| ahead(look("N2", names[1], at, at - 900.0, total), clock);
            let mut state = state(&[first]);
            let why = state.span(&second(1060.0, 1000)).unwrap_err();
            assert!(why.starts_with("another broker answers here"), "{why}");
            state.remember(second(1060.0, 1000));
            let again = look("N1", names[0], 1120.0, 420.0, 51);
            assert_eq!(state.span(&again).unwrap().new_of("x"), 1);
            state.remember(again);
            let span = state.span(&second(1180.0, 1002)).unwrap();
            assert_eq!((span.seconds, span.new_of("x")), (120.0, 2));
            // The first one is started again between two looks at the other one.
            let started = look("N3", names[0], 1240.0, 90.0, 3);
            state.remember(second(1180.0, 1002));
            let span = state.span(&started).unwrap();
            assert!(span.restarted && span.new_of("x") == 3);
            state.remember(started);
            assert_eq!(state.looks.len(), 2);
        }
    }
}

/// This host was started too: then its wall clock counts, and if that was set back as well, the
/// name.
#[test]
fn a_restart_of_this_host_hides_none_of_the_broker() {
    let at = |boot: &str, wall: f64, look: Look| Look {
        at: Moment::of(boot, 10.0, wall),
        ..look
    };
    let then = at("one", 1e9, look("N1", "n1", 1000.0, 300.0, 50));
    let now = |wall, name: &str| at("two", wall, look("N2", name, 1060.0, 30.0, 7));
    let restarted = |now: &Look| state(std::slice::from_ref(&then)).span(now).is_ok();
    assert!(restarted(&now(1e9 + 60.0, "n1")));
    assert!(restarted(&now(1e9 - 60.0, "n1")));
    assert!(!restarted(&now(1e9 + 20.0, "n2")));
}

#[test]
fn events_belong_to_one_span() {
    let looks = [0.0, 60.0, 120.0].map(|at| look("N1", "", 1000.0 + at, 300.0 + at, 0));
    let first = state(&looks[..1]).span(&looks[1]).unwrap();
    let second = state(&looks[1..2]).span(&looks[2]).unwrap();
    for (at, spans) in [
        (999.0, [false, false]),
        (1030.0, [true, false]),
        // After the sample, before the request that lists it.
        (1061.0, [false, true]),
        (1121.0, [false, false]),
    ] {
        let time = time(at);
        assert_eq!([first.includes(&time), second.includes(&time)], spans);
    }
    assert!(!first.includes("nonsense"));
}

/// The clock was set back by an hour: what happened since has earlier times than the last look,
/// and what happened an hour before has not.
#[test]
fn events_after_a_clock_was_set_back_are_in_the_span() {
    let then = look("N1", "", 10_000.0, 9000.0, 0);
    let now = ahead(look("N1", "", 10_060.0, 9060.0, 0), -3600.0);
    let span = state(&[then]).span(&now).unwrap();
    assert!(span.includes(&time(10_050.0 - 3600.0)));
    assert!(!span.includes(&time(9990.0 - 3600.0)));
    assert!(!span.includes(&time(9990.0)));
}

#[test]
fn the_state_is_bounded() {
    let mut state = State::default();
    let statement = Statement {
        status: Status::Warning,
        text: "x".repeat(10_000),
        lines: Vec::new(),
        remedy: String::new(),
    };
    for number in 0..100 {
        // Each has run for longer than this host.
        state.remember(look(&number.to_string(), "", 1000.0, 1e6, 0));
        state.hold(1, [&statement]);
    }
    assert_eq!((state.looks.len(), state.held.len()), (LOOKS_MAX, HELD_MAX));
    assert_eq!(state.looks.last().unwrap().server_id, "99");
    let written = serde_json::to_vec(&state).unwrap();
    assert!(written.len() < 32 * 1024, "{}", written.len());
}

#[test]
fn what_was_forged_is_no_event() {
    let then = look("N1", "", 1000.0, 300.0, 50);
    let now = look("N1", "", 1060.0, 240.0, 7);
    let span = state(&[then]).span(&now).unwrap();
    assert_eq!(
        (span.seconds, span.new_of("x"), span.new_of("y")),
        (0.0, 0, 0)
    );
}

/// A state of a version that kept less is used.
#[test]
fn an_older_state_is_read() {
    let text = r#"{"looks":[{"server_id":"N1","start":"2026-01-01T00:00:00Z",
        "now":"2026-01-01T00:01:00Z","uptime":60.0,"totals":{"x":5}}],"held":[]}"#;
    let state: State = serde_json::from_str(text).unwrap();
    let again = look("N1", "n1", 1000.0, 120.0, 7);
    assert_eq!(state.span(&again).unwrap().new_of("x"), 2);
    assert!(
        state
            .span(&look("N2", "n1", 1000.0, 20.0, 7))
            .unwrap()
            .restarted
    );
}

#[test]
fn alerts_are_held_for_their_time() {
    let alert = |status, text: &str| Statement {
        status,
        text: text.into(),
        lines: Vec::new(),
        remedy: String::new(),
    };
    let statements = [
        alert(Status::Critical, "worst"),
        alert(Status::Unknown, "not known"),
        alert(Status::Ok, "fine"),
    ];
    let mut state = State::default();
    state.hold(1000, &statements);
    let hold = Duration::from_secs(60);
    let held = vec![(Status::Critical, "worst, 59 s ago".to_owned())];
    assert_eq!(state.clone().held(1059, hold), held);
    assert_eq!(state.clone().held(1060, hold), []);
    // The clock was set back: the time begins anew.
    assert_eq!(state.held(10, hold).len(), 1);
    assert_eq!(state.held(69, hold).len(), 1);
    assert_eq!(state.held(70, hold), []);
}
