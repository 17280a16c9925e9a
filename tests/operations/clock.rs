//! The system clock is set while a broker runs: ages and uptimes do not change, and later
//! events have the new time.

use std::{fs, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use test_support::{Broker, RawClient, tools, wait_until};

#[test]
fn setting_the_clock_changes_no_age_and_misdates_no_event() {
    for hours in [-1, 1] {
        let folder = tempfile::tempdir().expect("a folder");
        let offset = folder.path().join("offset");
        fs::write(&offset, "+0").expect("written");
        let broker = Broker::midge()
            .config("diagnosis { interval: 50ms }")
            .env("LD_PRELOAD", tools::libfaketime().to_str().expect("a path"))
            .env("FAKETIME_TIMESTAMP_FILE", offset.to_str().expect("a path"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start();
        let _client = RawClient::connect(broker.client_addr());
        // Replaced atomically: a partial number must not be read.
        let new = folder.path().join("new");
        fs::write(&new, format!("{:+}", hours * 3600)).expect("written");
        fs::rename(&new, &offset).expect("it takes the name");
        let set = Utc::now() + TimeDelta::hours(hours);
        let is_now = |text: &Value| {
            let time: DateTime<Utc> = text.as_str().expect("a time").parse().expect("a time");
            (time - set).abs() < TimeDelta::minutes(2)
        };
        wait_until("the clock is set", || {
            is_now(&broker.get_json("/varz")["now"])
        });
        let varz = broker.get_json("/varz");
        assert!(is_now(&varz["start"]), "{varz}");
        is_short(&varz["uptime"]);
        let connz = broker.get_json("/connz");
        let client = &connz["connections"][0];
        is_short(&client["uptime"]);
        is_short(&client["idle"]);
        assert!(is_now(&client["start"]), "{client}");
        broker.signal(libc::SIGHUP);
        wait_until("an event has a time", || {
            let events = broker.get_json("/eventsz?type=reload");
            let last = events["events"].as_array().expect("events").last().cloned();
            last.is_some_and(|event| is_now(&event["time"]))
        });
        let explained = broker.get_json("/explainz");
        let age = Duration::from_secs_f64(explained["age"].as_f64().expect("an age"));
        assert!(
            age < test_support::PATIENCE && is_now(&explained["sampled"]),
            "{explained}"
        );
    }
}

/// Seconds, or one minute and seconds.
fn is_short(uptime: &Value) {
    let text = uptime.as_str().expect("a time");
    assert!(!text.contains(['-', 'h', 'd', 'y']), "{text}");
}
