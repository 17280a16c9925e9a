//! The `<Plugin nats>` block: what is wrong in it costs the instance that it is in, and neither the
//! other instances nor collectd, which would not start if a plugin refused its configuration.

use crate::{
    broker::Broker,
    collectd::{Collectd, Setup, block, instance},
};

/// The default place is polled, whether a broker listens there or not.
#[test]
fn without_instances_the_usual_place_is_polled() {
    for blocks in ["", "<Plugin nats>\n</Plugin>\n"] {
        let up = "test/nats-local/bool-up";
        let (status, lines) = Collectd::run_for(&Setup::new(blocks), &[up]);
        assert!(status.success(), "{lines:#?}");
        let log = lines.log();
        assert!(
            log[0].contains("instance \"local\"")
                && ["http://127.0.0.1:8222", "unix:/run/midge/monitor.sock"]
                    .iter()
                    .any(|place| log[0].contains(place)),
            "{log:#?}"
        );
    }
}

/// An `<Instance>` with this error is not polled; all others are.
const ERRORS: &[(&str, &str)] = &[
    (
        "URL \"ftp://127.0.0.1:8222\"",
        "URL: \"ftp://127.0.0.1:8222\": must begin with http:// or https://",
    ),
    (
        "URL \"http://ops:canary@h:1\"",
        "URL: \"http://…@h:1\": the URL must have no user and password",
    ),
    ("Timeout 300 400", "Timeout: takes exactly one value"),
    (
        "<Timeout 300>\nSeconds 1\n</Timeout>",
        "Timeout: takes exactly one value",
    ),
    (
        "Timeout 2000",
        "Timeout: 2000 ms is more than half the interval (500 ms)",
    ),
    ("Timeout 0", "Timeout: 0 is not a number from 1 to 3600000"),
    (
        "Interval \"often\"",
        "Interval: \"often\" is not a number from 0.1 to 86400",
    ),
    (
        "Interval true",
        "Interval: true is not a number from 0.1 to 86400",
    ),
    (
        "TopConnections 101",
        "TopConnections: 101 is not a number from 0 to 100",
    ),
    (
        "ReportLimits maybe",
        "ReportLimits: \"maybe\" is neither true nor false",
    ),
    ("Host \"a/b\"", "Host: \"a/b\" holds a slash or a control"),
    (
        "User \"ops\"\nPassword 12345678901234567890",
        "Password: write a text in quotes",
    ),
    ("User \"ops\"", "User needs PasswordFile or Password"),
    (
        "URL \"http://h:1\"\nCACert \"/f\"",
        "CACert has no effect here: URL must begin with https://",
    ),
    (
        "URL \"unix:/s\"\nSocket \"/s\"",
        "URL unix:… and Socket mean the same",
    ),
];

/// All of them in one collectd, before and behind instances that are right.
#[test]
fn an_error_costs_its_instance_only() {
    let broker = Broker::start();
    let mut blocks = instance("first", &broker.url(), "");
    for (index, (options, _)) in ERRORS.iter().enumerate() {
        blocks += &block(&format!("bad{index}"), options);
    }
    blocks += &instance("first", &broker.url(), "");
    blocks += &instance("", &broker.url(), "");
    blocks += "<Plugin nats>\n<Instance>\nTimeout 300\n</Instance>\n</Plugin>\n";
    blocks += &instance("last", &broker.url(), "");
    let up = ["first", "last"].map(|name| format!("test/nats-{name}/bool-up"));
    let setup = Setup::new(&blocks);
    let (status, lines) = Collectd::run_for(&setup, &up.each_ref().map(String::as_str));
    assert!(status.success(), "{lines:#?}");
    for up in &up {
        assert_eq!(lines.values(up)[0], [1.0], "{lines:#?}");
    }
    let refused = lines.with(" is not polled: ");
    let bad = ERRORS.iter().enumerate().map(|(index, (_, reason))| {
        format!("[error] nats plugin: instance \"bad{index}\" is not polled: {reason}")
    });
    let others = [
        "[error] nats plugin: instance \"first\" is not polled: there is another one of this name",
        "[error] nats plugin: an instance is not polled: Instance: the name is empty",
        "[error] nats plugin: an instance is not polled: Instance: write one name",
    ];
    let expected: Vec<String> = bad.chain(others.map(str::to_owned)).collect();
    assert_eq!(refused.len(), expected.len(), "{refused:#?}");
    for (line, expected) in refused.iter().zip(&expected) {
        assert!(line.contains(expected), "{line}: not {expected}");
    }
    assert!(lines.with("test/nats-bad").is_empty(), "{lines:#?}");
    for secret in ["canary", "12345"] {
        assert!(lines.with(secret).is_empty(), "{lines:#?}");
    }
}

/// Nothing else is polled in place of what has an error.
#[test]
fn with_errors_alone_nothing_is_polled() {
    let setup = Setup::new(&block("a", "Timeout 0"));
    let (status, lines) = Collectd::test_configuration(&setup);
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.log().len(), 2, "{lines:#?}");
    assert!(lines.log()[1].contains("[error] nats plugin: no broker is polled"));
    assert!(lines.with("PUTVAL").is_empty(), "{lines:#?}");
}

/// What cannot be meant otherwise is logged, and the instance is polled.
#[test]
fn what_is_unknown_or_doubled_is_a_warning() {
    let broker = Broker::start();
    let options = format!("Colour \"red\"\nTimeout 400\nURL \"{}\"", broker.url());
    let blocks = "<Plugin nats>\nURL \"http://h:1\"\n</Plugin>\n".to_owned()
        + &instance("a", "http://127.0.0.1:1", &options);
    let up = "test/nats-a/bool-up";
    let (status, lines) = Collectd::run_for(&Setup::new(&blocks), &[up]);
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.values(up)[0], [1.0], "{lines:#?}");
    for warning in [
        "[warning] nats plugin: URL is ignored here: put it into an <Instance \"name\"> block",
        "[warning] nats plugin: instance \"a\": unknown option Colour is ignored",
        "[warning] nats plugin: instance \"a\": URL stands there twice: the last one counts",
    ] {
        assert_eq!(lines.with(warning).len(), 1, "{warning}: {lines:#?}");
    }
}

/// The name of this host is the default of `Host`, which is not known before all is read.
#[test]
fn instances_of_the_same_values_are_one() {
    let broker = Broker::start();
    let blocks = instance("nats", &broker.url(), "")
        + &instance("nats", &broker.url(), "Host \"test\"")
        + &instance("other", &broker.url(), "");
    let up = ["nats", "other"].map(|name| format!("test/nats-{name}/bool-up"));
    let setup = Setup::new(&blocks);
    let (status, lines) = Collectd::run_for(&setup, &up.each_ref().map(String::as_str));
    assert!(status.success(), "{lines:#?}");
    let refused =
        lines.with("[error] nats plugin: instance \"nats\" of host \"test\" is not polled");
    assert_eq!(refused.len(), 1, "{lines:#?}");
    assert!(refused[0].contains("is there another instance of this name and host?"));
}
