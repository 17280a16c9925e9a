//! collectd's plugin threshold on the values of the plugin: a broker that is down is not within range.

use crate::{
    broker::{Broker, Ports},
    collectd::{Collectd, Lines, Setup, instance},
};

/// What an operator writes: the broker must be healthy, and its memory must be known.
const THRESHOLDS: &str = "PluginDir \"/usr/lib/collectd\"\nLoadPlugin threshold\n\
    <Plugin threshold>\n<Plugin \"nats\">\n\
    <Type \"bool\">\nInstance \"healthy\"\nFailureMin 1\n</Type>\n\
    <Type \"memory\">\nInstance \"rss\"\nFailureMax 100000000000\n</Type>\n\
    </Plugin>\n</Plugin>\n";

/// What threshold sent about a value: its notifications have the plugin's own form.
fn notified<'a>(lines: &'a Lines, name: &str) -> Vec<&'a str> {
    let (kind, type_instance) = name.split_once('-').expect("two parts");
    let about = format!("type = {kind}, type_instance = {type_instance}, message = ");
    lines.with(&about)
}

#[test]
fn a_broker_that_dies_is_a_failure_and_its_values_are_missing() {
    let ports = Ports::free();
    let broker = Broker::start_on(ports);
    let setup = Setup::new(&(instance("a", &ports.url(), "") + THRESHOLDS));
    let collectd = Collectd::start(&setup);
    let last = |lines: &Lines, name: &str, part: &str| {
        notified(lines, name)
            .last()
            .is_some_and(|line| line.contains(part))
    };
    collectd.wait_for("both within range", |lines| {
        last(lines, "bool-healthy", "severity = OKAY")
            && last(lines, "memory-rss", "severity = OKAY")
    });
    drop(broker);
    collectd.wait_for("an alarm", |lines| {
        last(lines, "bool-healthy", "severity = FAILURE")
            && last(lines, "memory-rss", "has not been updated")
    });
    let _broker = Broker::start_on(ports);
    collectd.wait_for("the end of both", |lines| {
        last(lines, "bool-healthy", "severity = OKAY")
            && last(lines, "memory-rss", "severity = OKAY")
    });
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    assert!(lines.with("nan").is_empty(), "{:#?}", lines.with("nan"));
    // One alarm and two times well, not one with each poll.
    assert_eq!(notified(&lines, "bool-healthy").len(), 3, "{lines:#?}");
}

#[test]
fn a_broker_that_was_never_there_is_a_failure() {
    let setup = Setup::new(&(instance("a", &Ports::free().url(), "") + THRESHOLDS));
    let collectd = Collectd::start(&setup);
    collectd.wait_for_lines("PUTVAL test/nats-a/bool-healthy", 4);
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let healthy = notified(&lines, "bool-healthy");
    assert_eq!(healthy.len(), 1, "{lines:#?}");
    assert!(healthy[0].contains("severity = FAILURE"), "{healthy:?}");
    assert!(lines.with("nan").is_empty(), "{:#?}", lines.with("nan"));
}
