//! Values that a broker sends and that make no sense, or only just.

use super::{
    bad_peers::{answers, says},
    plugin::{PluginOutput, check_ports},
};

/// A broker that answers every request with the same object.
fn broker_with(fields: &str, arguments: &[&str]) -> PluginOutput {
    let varz = format!(r#"{{"server_id":"N1","connections":1,"max_connections":9,{fields}}}"#);
    check_ports(says(""), answers("200 OK", &varz), arguments)
}

#[test]
fn large_totals_are_exact() {
    let totals = r#""in_msgs":9223372036854775807,"total_connections":18446744073709551615"#;
    for (figure, value) in [
        ("in_msgs", "9223372036854775807c"),
        ("total_connections", "18446744073709551615c"),
    ] {
        let result = broker_with(totals, &["--mode", "varz", "--figure", figure]);
        result.expect(0, &format!("{figure} {}", value.trim_end_matches('c')));
        assert_eq!(result.value(figure), value);
    }
    let result = broker_with(totals, &["--mode", "connections"]);
    assert_eq!(result.value("total_connections"), "18446744073709551615c");
    let result = broker_with(totals, &[]);
    assert_eq!(result.value("in_msgs"), "9223372036854775807c");
}

/// The wall clock of the broker's machine was set back.
#[test]
fn a_clock_behind_the_start_makes_no_negative_age() {
    let times = r#""start":"2026-01-01T00:01:00Z","now":"2026-01-01T00:00:00Z",
        "config_load_time":"2026-01-01T00:01:00Z""#;
    let result = broker_with(times, &["--mode", "uptime", "-w", "0:"]);
    result.expect(3, "the broker's times make no uptime");
    assert_eq!(result.value("uptime"), "U");
    assert_eq!(broker_with(times, &[]).value("uptime"), "U");
    let explainz = r#""findings":[]"#;
    let result = broker_with(&format!("{times},{explainz}"), &["--mode", "config"]);
    result.expect(0, "no digest");
    assert_eq!(result.value("config_age"), "U");
    // What a broker says of its uptime comes from a clock that is never set.
    let uptime = format!(r#"{times},"uptime":"1d2h""#);
    let result = broker_with(&uptime, &["--mode", "uptime"]);
    result.expect(0, "up 26h 0m");
    assert_eq!(result.value("uptime"), "93600s");
}

/// A number of hundreds of digits is no measurement.
#[test]
fn absurd_numbers_are_unknown() {
    let result = broker_with(
        r#""cpu":1e300,"mem":1,"subscriptions":0"#,
        &["--mode", "resources"],
    );
    assert_eq!(result.value("cpu"), "U");
    assert_eq!(result.value("mem"), "1B");
}
