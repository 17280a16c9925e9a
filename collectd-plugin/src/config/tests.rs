//! Tests of the configuration.

use monitor_client::{Secret, Tls};

use super::*;
use crate::daemon::fake::Fake;

fn text(value: &str) -> Scalar {
    Scalar::Text(value.to_owned())
}

fn item(key: &str, value: Scalar) -> Item {
    Item {
        key: key.to_owned(),
        values: vec![value],
        children: Vec::new(),
    }
}

fn instance(name: &str, children: Vec<Item>) -> Item {
    Item {
        children,
        ..item("iNsTaNcE", text(name))
    }
}

fn block(children: Vec<Item>) -> Item {
    Item {
        key: "Plugin".to_owned(),
        values: vec![text("nats")],
        children,
    }
}

/// The instances that are polled, and what is logged.
fn read(children: Vec<Item>) -> (Vec<Instance>, Vec<(Level, String)>) {
    let daemon = Fake::default();
    let mut instances = Instances::new();
    instances.add_block(&block(children), &daemon);
    let good = instances.good;
    (good, daemon.lines.into_inner())
}

/// The error about an instance, beside which another one is polled.
fn refused(bad: Item) -> String {
    let well = instance("well", Vec::new());
    let (good, lines) = read(vec![bad, well]);
    assert_eq!(good, [Instance::new("well")]);
    let [(Level::Error, line)] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    line.clone()
}

fn refusal(option: &str, value: Scalar) -> String {
    refused(instance("a", vec![item(option, value)]))
}

#[test]
fn options_are_read_in_any_case_and_quoting() {
    let plain = vec![
        item("url", text("http://127.0.0.1:1/x")),
        item("TIMEOUT", Scalar::Number(300.0)),
        item("interval", Scalar::Number(2.5)),
        item("hOst", text("h")),
        item("reportnotifications", Scalar::Boolean(false)),
        item("ReportFindings", Scalar::Boolean(false)),
        item("reportlatency", Scalar::Boolean(false)),
        item("ReportRoutes", Scalar::Boolean(true)),
        item("ReportCeilings", Scalar::Boolean(false)),
        item("TopConnections", Scalar::Number(7.0)),
        item("ReportAccounts", Scalar::Boolean(true)),
        item("ReportMemory", Scalar::Boolean(true)),
        item("ReportLimits", Scalar::Boolean(true)),
        item("LegacyNames", Scalar::Boolean(true)),
    ];
    let quoted = vec![
        item("URL", text("http://127.0.0.1:1/x")),
        item("Timeout", text("300")),
        item("Interval", text(" 2.5")),
        item("Host", text("h")),
        item("ReportNotifications", text("Off")),
        item("ReportFindings", text("no")),
        item("ReportLatency", text("false")),
        item("ReportRoutes", text("on")),
        item("ReportCeilings", text("off")),
        item("TopConnections", text("7")),
        item("ReportAccounts", text("on")),
        item("ReportMemory", text("yes")),
        item("ReportLimits", text("yes")),
        item("LegacyNames", text("TRUE")),
    ];
    assert_eq!(plain.len() + ACCESS_OPTIONS.len(), OPTIONS.len());
    let expected = Instance {
        name: "a".to_owned(),
        access: Access {
            url: Some("http://127.0.0.1:1/x".to_owned()),
            ..Access::default()
        },
        timeout: Some(Duration::from_millis(300)),
        interval: Some(Duration::from_millis(2500)),
        host: Some("h".to_owned()),
        report_notifications: false,
        groups: [
            Group::Basic,
            Group::Routes,
            Group::Connections,
            Group::Accounts,
            Group::Memory,
            Group::Limits,
            Group::Legacy,
        ]
        .into(),
        top_connections: 7,
    };
    for children in [plain, quoted] {
        let (good, lines) = read(vec![instance("a", children)]);
        assert_eq!(good, std::slice::from_ref(&expected));
        assert!(lines.is_empty(), "{lines:?}");
    }
}

/// Options of the way to the broker, besides `URL`; not all of them go together.
const ACCESS_OPTIONS: [&str; 9] = [
    "Socket",
    "User",
    "Password",
    "PasswordFile",
    "TokenFile",
    "CACert",
    "CertificateFile",
    "CertificateKey",
    "VerifyPeer",
];

#[test]
fn the_way_to_the_broker_is_read() {
    for name in ACCESS_OPTIONS {
        assert!(options::find(name).is_some(), "{name}");
    }
    let url = || item("URL", text("https://h:1"));
    for (children, expected) in [
        (
            vec![
                url(),
                item("User", text("u")),
                item("Password", text("p")),
                item("CACert", text("/ca")),
                item("CertificateFile", text("/cert")),
                item("CertificateKey", text("/key")),
                item("VerifyPeer", Scalar::Boolean(false)),
            ],
            Access {
                url: Some("https://h:1".to_owned()),
                user: Some("u".to_owned()),
                password: Some(Secret::new("p")),
                tls: Tls {
                    ca: Some("/ca".into()),
                    certificate: Some("/cert".into()),
                    key: Some("/key".into()),
                    insecure: true,
                    ..Tls::default()
                },
                ..Access::default()
            },
        ),
        (
            vec![
                item("Socket", text("/s")),
                item("User", text("u")),
                item("PasswordFile", text("/p")),
            ],
            Access {
                socket: Some("/s".into()),
                user: Some("u".to_owned()),
                password_file: Some("/p".into()),
                ..Access::default()
            },
        ),
        (
            vec![url(), item("TokenFile", text("/t"))],
            Access {
                url: Some("https://h:1".to_owned()),
                token_file: Some("/t".into()),
                ..Access::default()
            },
        ),
    ] {
        let (good, lines) = read(vec![instance("a", children)]);
        assert!(lines.is_empty(), "{lines:?}");
        assert_eq!(good[0].access, expected);
    }
}

/// A reader of the log must not learn it.
#[test]
fn a_secret_is_not_in_an_error() {
    for (value, reason) in [
        (Scalar::Number(4711.0), "in quotes"),
        (text(""), "in quotes"),
        (Scalar::NotUtf8, "not UTF-8"),
    ] {
        let error = refusal("Password", value);
        assert!(error.contains(reason) && !error.contains("4711"), "{error}");
    }
    let error = refusal("Password", text("canary"));
    assert!(error.contains("a password needs User"), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn unknown_keys_only_cause_a_warning() {
    let (good, lines) = read(vec![
        item("URL", text("http://127.0.0.1:1")),
        item("Colour", text("red")),
        instance("a", vec![item("Port", Scalar::Number(8222.0))]),
    ]);
    assert_eq!(good, [Instance::new("a")]);
    assert_eq!(lines.len(), 3);
    for (line, part) in lines.iter().zip(["put it into", "Colour", "option Port"]) {
        assert_eq!(line.0, Level::Warning);
        assert!(line.1.contains(part), "{}", line.1);
    }
}

#[test]
fn bad_values_are_rejected_with_instance_and_option() {
    for (option, value, reason) in [
        ("URL", text("localhost"), "must begin with http://"),
        ("url", text("https://x:0"), "the port must be a number"),
        ("VerifyPeer", text("off"), "must begin with https://"),
        ("Timeout", text("soon"), "\"soon\" is not a number from 1"),
        ("Timeout", Scalar::Number(0.0), "0 is not a number from 1"),
        ("Timeout", Scalar::Number(f64::NAN), "not a number"),
        (
            "Timeout",
            Scalar::Number(5001.0),
            "half the interval (5000 ms)",
        ),
        ("Interval", Scalar::Number(0.05), "from 0.1 to 86400"),
        ("Interval", Scalar::Number(1e300), "from 0.1 to 86400"),
        ("Interval", Scalar::Boolean(true), "true is not a number"),
        ("Host", text(""), "the name is empty"),
        (
            "TopConnections",
            Scalar::Number(101.0),
            "not a number from 0 to 100",
        ),
        ("TopConnections", Scalar::Number(2.5), "not a whole number"),
        ("ReportMemory", text("maybe"), "neither true nor false"),
        ("Host", text("a/b"), "slash"),
        (
            "LegacyNames",
            Scalar::Number(2.0),
            "2 is neither true nor false",
        ),
    ] {
        let named = option.eq_ignore_ascii_case("url").then_some("URL");
        let named = named.unwrap_or(option);
        let error = refusal(option, value);
        let begin = "instance \"a\" is not polled: ";
        let rest = error
            .strip_prefix(begin)
            .unwrap_or_else(|| panic!("{error}"));
        assert!(rest.contains(named) && rest.contains(reason), "{error}");
    }
    let long = refusal("Host", text(&"x".repeat(128)));
    assert!(long.contains("longer than 127"), "{long}");
    let without_name = || Item {
        key: "Instance".to_owned(),
        ..Item::default()
    };
    for (bad, reason) in [
        (without_name(), "write one name"),
        (instance("", Vec::new()), "the name is empty"),
        (
            Item {
                values: vec![Scalar::NotUtf8],
                ..without_name()
            },
            "not UTF-8",
        ),
    ] {
        let error = refused(bad);
        assert!(
            error.starts_with("an instance is not polled: Instance: ") && error.contains(reason),
            "{error}"
        );
    }
}

/// Whatever the option: a missing value, too many, and a block are refused with its name; one that
/// stands there twice is logged.
#[test]
fn each_option_takes_one_value_once() {
    for option in OPTIONS {
        let of_values = |values: Vec<Scalar>| Item {
            key: option.name.to_owned(),
            values,
            children: Vec::new(),
        };
        let nested = Item {
            children: vec![item("a", text("b"))],
            ..of_values(vec![text("1")])
        };
        for wrong in [
            of_values(Vec::new()),
            of_values(vec![text("1"), text("2")]),
            nested,
        ] {
            let error = refused(instance("a", vec![wrong]));
            let reason = format!("{}: takes exactly one value", option.name);
            assert!(error.ends_with(&reason), "{error}");
        }
        let error = refusal(option.name, Scalar::NotUtf8);
        assert!(error.contains(option.name), "{error}");
    }
    let interval = |seconds| item("Interval", Scalar::Number(seconds));
    let (good, lines) = read(vec![instance("a", vec![interval(20.0), interval(30.0)])]);
    assert_eq!(good[0].interval, Some(Duration::from_secs(30)));
    let [(Level::Warning, line)] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let text = "instance \"a\": Interval stands there twice: the last one counts";
    assert_eq!(line, text);
}

/// The usual place is polled if none is named, and not in place of one that has errors.
#[test]
fn the_usual_place_is_for_those_who_name_none() {
    let bad = || instance("a", vec![item("Timeout", Scalar::Number(0.0))]);
    for (children, expected) in [
        (Vec::new(), vec![Instance::new(DEFAULT_NAME)]),
        (vec![bad()], Vec::new()),
        (
            vec![bad(), instance("b", Vec::new())],
            vec![Instance::new("b")],
        ),
    ] {
        let daemon = Fake::default();
        let mut instances = Instances::new();
        instances.add_block(&block(children), &daemon);
        assert_eq!(instances.finish(&daemon), expected);
    }
}

#[test]
fn blocks_are_combined_and_names_must_be_unique() {
    let daemon = Fake::default();
    let mut instances = Instances::new();
    for (name, options) in [
        ("a", Vec::new()),
        ("b", Vec::new()),
        ("a", vec![item("Host", text("other"))]),
        ("a", Vec::new()),
    ] {
        instances.add_block(&block(vec![instance(name, options)]), &daemon);
    }
    assert_eq!(instances.good.len(), 3);
    let lines = daemon.lines.borrow();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].1.contains("another one of this name"), "{lines:?}");
}

#[test]
fn only_one_instance_per_host_may_have_legacy_names() {
    let legacy = || item("LegacyNames", Scalar::Boolean(true));
    let (good, lines) = read(vec![
        instance("a", vec![legacy()]),
        instance("b", vec![legacy()]),
    ]);
    assert_eq!(good.len(), 1);
    let error = &lines[0].1;
    assert!(
        error.starts_with("instance \"b\" is not polled: LegacyNames: instance \"a\" reports the"),
        "{error}"
    );
    let (good, _) = read(vec![
        instance("a", vec![legacy()]),
        instance("b", vec![legacy(), item("Host", text("other"))]),
    ]);
    assert_eq!(good.len(), 2);
}

#[test]
fn the_timeout_is_at_most_half_the_interval() {
    let daemon = Fake::default();
    let mut instance = Instance::new("a");
    assert_eq!(instance.timeout(&daemon), DEFAULT_TIMEOUT);
    instance.interval = Some(Duration::from_millis(500));
    assert_eq!(instance.timeout(&daemon), Duration::from_millis(250));
    instance.timeout = Some(Duration::from_millis(100));
    assert_eq!(instance.timeout(&daemon), Duration::from_millis(100));
}
