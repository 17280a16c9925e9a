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

fn read(children: Vec<Item>) -> (Result<Vec<Instance>, String>, Fake) {
    let daemon = Fake::default();
    let mut instances = Vec::new();
    let block = Item {
        key: "Plugin".to_owned(),
        values: vec![text("nats")],
        children,
    };
    let result = add_block(&block, &mut instances, &daemon);
    (result.map(|()| instances), daemon)
}

fn refusal(option: &str, value: Scalar) -> String {
    let (result, _) = read(vec![instance("a", vec![item(option, value)])]);
    result.expect_err(option)
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
        let (result, daemon) = read(vec![instance("a", children)]);
        assert_eq!(result, Ok(vec![expected.clone()]));
        assert!(daemon.lines.borrow().is_empty());
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
        let (result, _) = read(vec![instance("a", children)]);
        let instances = result.expect("settings that go together");
        assert_eq!(instances[0].access, expected);
    }
}

/// A reader of the log must not learn it.
#[test]
fn a_secret_is_not_in_an_error() {
    for value in [Scalar::Number(4711.0), text("")] {
        let error = refusal("Password", value);
        assert!(
            error.contains("in quotes") && !error.contains("4711"),
            "{error}"
        );
    }
    let error = refusal("Password", text("canary"));
    assert!(error.contains("a password needs User"), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn unknown_keys_only_cause_a_warning() {
    let (result, daemon) = read(vec![
        item("URL", text("http://127.0.0.1:1")),
        item("Colour", text("red")),
        instance("a", vec![item("Port", Scalar::Number(8222.0))]),
    ]);
    assert_eq!(result, Ok(vec![Instance::new("a")]));
    let lines = daemon.lines.borrow();
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
        let error = refusal(option, value);
        assert!(error.starts_with("instance \"a\": "), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    let long = refusal("Host", text(&"x".repeat(128)));
    assert!(long.contains("longer than 127"), "{long}");
    let (result, _) = read(vec![instance(
        "a",
        vec![Item {
            key: "URL".to_owned(),
            ..Item::default()
        }],
    )]);
    assert!(result.expect_err("no value").contains("exactly one value"));
    let (result, _) = read(vec![Item {
        key: "Instance".to_owned(),
        ..Item::default()
    }]);
    assert!(result.expect_err("no name").contains("one name"));
}

#[test]
fn blocks_are_combined_and_names_must_be_unique() {
    let daemon = Fake::default();
    let mut instances = Vec::new();
    for name in ["a", "b"] {
        let block = Item {
            children: vec![instance(name, Vec::new())],
            ..Item::default()
        };
        add_block(&block, &mut instances, &daemon).expect(name);
    }
    let block = Item {
        children: vec![instance("a", vec![item("Host", text("other"))])],
        ..Item::default()
    };
    add_block(&block, &mut instances, &daemon).expect("another host");
    let block = Item {
        children: vec![instance("a", Vec::new())],
        ..Item::default()
    };
    let error = add_block(&block, &mut instances, &daemon).expect_err("a again");
    assert!(error.contains("two of this name"), "{error}");
    assert_eq!(instances.len(), 3);
}

#[test]
fn only_one_instance_per_host_may_have_legacy_names() {
    let legacy = || item("LegacyNames", Scalar::Boolean(true));
    let (result, _) = read(vec![
        instance("a", vec![legacy()]),
        instance("b", vec![legacy()]),
    ]);
    let error = result.expect_err("the same names");
    assert!(error.contains("instance \"a\" reports the same"), "{error}");
    let (result, _) = read(vec![
        instance("a", vec![legacy()]),
        instance("b", vec![legacy(), item("Host", text("other"))]),
    ]);
    assert_eq!(result.map(|instances| instances.len()), Ok(2));
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
