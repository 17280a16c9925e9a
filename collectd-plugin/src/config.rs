//! The `<Plugin nats>` block: converts a tree of items to a list of [`Instance`]s.
//!
//! [`OPTIONS`] is the table of an instance's options; the parser and the manual page are made from
//! it.

use std::time::Duration;

use monitor_client::Client;

use crate::daemon::{Daemon, Level};

/// Name of the instance that is polled if none is configured.
pub(crate) const DEFAULT_NAME: &str = "local";
const DEFAULT_URL: &str = "http://127.0.0.1:8222";
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(2000);

/// A poll makes this many requests in a row and must end before the next poll.
const REQUESTS_PER_POLL: u32 = 2;

/// Limit of names in collectd, in bytes.
const NAME_LIMIT: usize = 127;

const SECONDS_MIN: f64 = 0.1;
const SECONDS_MAX: f64 = 86_400.0;
const MILLISECONDS_MAX: f64 = 3_600_000.0;

/// A broker to poll.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instance {
    /// Unique; the plugin instance of all its values.
    pub(crate) name: String,
    /// The monitoring port; validated.
    pub(crate) url: String,
    /// Time limit of one request; `None` for the default.
    pub(crate) timeout: Option<Duration>,
    /// Time between polls; `None` for collectd's.
    pub(crate) interval: Option<Duration>,
    /// Reported host; `None` for collectd's.
    pub(crate) host: Option<String>,
    /// Whether changes of its condition are notified.
    pub(crate) report_notifications: bool,
    /// Whether the broker's limits are dispatched.
    pub(crate) report_limits: bool,
    /// Whether the identifiers of an old curl_json configuration are dispatched as well.
    pub(crate) legacy_names: bool,
}

impl Instance {
    /// An instance with the defaults of all options.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: DEFAULT_URL.to_owned(),
            timeout: None,
            interval: None,
            host: None,
            report_notifications: true,
            report_limits: false,
            legacy_names: false,
        }
    }

    /// Upper limit of [`Self::timeout`], from the interval of the instance or of the `daemon`.
    pub(crate) fn timeout_limit(&self, daemon: &dyn Daemon) -> Duration {
        self.interval.unwrap_or_else(|| daemon.interval()) / REQUESTS_PER_POLL
    }

    /// Time limit of one request, at most [`Self::timeout_limit`].
    pub(crate) fn timeout(&self, daemon: &dyn Daemon) -> Duration {
        let limit = self.timeout_limit(daemon);
        self.timeout.unwrap_or(DEFAULT_TIMEOUT).min(limit)
    }
}

/// One option of an `<Instance>` block.
pub(crate) struct InstanceOption {
    /// Key, in any case.
    pub(crate) name: &'static str,
    /// The argument, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) argument: &'static str,
    /// The default, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) default: &'static str,
    /// Meaning and unit, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) doc: &'static str,
    set: fn(&mut Instance, &Scalar) -> Result<(), String>,
}

/// All options of an `<Instance>` block.
pub(crate) const OPTIONS: &[InstanceOption] = &[
    InstanceOption {
        name: "URL",
        argument: "URL",
        default: "\"http://127.0.0.1:8222\"",
        doc: "The broker's monitoring port, with the path prefix if the broker has one \
              (http_base_path). Only http is spoken, proxies are not used and redirects not \
              followed. Write 127.0.0.1 rather than localhost, which may mean ::1 first.",
        set: |instance, value| {
            let url = value.text();
            Client::new(&url, DEFAULT_TIMEOUT).map_err(|error| error.to_string())?;
            instance.url = url;
            Ok(())
        },
    },
    InstanceOption {
        name: "Timeout",
        argument: "Milliseconds",
        default: "2000, or half the interval if that is less",
        doc: "Time that one request may take. A poll makes two requests, so it may be half the \
              interval at most. Stopping collectd waits for a poll under way.",
        set: |instance, value| {
            let milliseconds = value.number(1.0, MILLISECONDS_MAX)?;
            instance.timeout = Some(Duration::from_secs_f64(milliseconds / 1000.0));
            Ok(())
        },
    },
    InstanceOption {
        name: "Interval",
        argument: "Seconds",
        default: "the interval of collectd or of the LoadPlugin block",
        doc: "Time between two polls of this broker, from 0.1 to 86400.",
        set: |instance, value| {
            let seconds = value.number(SECONDS_MIN, SECONDS_MAX)?;
            instance.interval = Some(Duration::from_secs_f64(seconds));
            Ok(())
        },
    },
    InstanceOption {
        name: "Host",
        argument: "Name",
        default: "the host name of collectd",
        doc: "Host that is reported with the values, for a broker on another machine.",
        set: |instance, value| {
            instance.host = Some(check_name(&value.text())?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportNotifications",
        argument: "true|false",
        default: "true",
        doc: "Send a notification when the broker's state changes: FAILURE when /varz cannot be \
              read, WARNING when /healthz reports trouble or cannot be read, OKAY when both are \
              well again.",
        set: |instance, value| {
            instance.report_notifications = value.boolean()?;
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportLimits",
        argument: "true|false",
        default: "false",
        doc: "Also dispatch the limits of the broker's configuration.",
        set: |instance, value| {
            instance.report_limits = value.boolean()?;
            Ok(())
        },
    },
    InstanceOption {
        name: "LegacyNames",
        argument: "true|false",
        default: "false",
        doc: "Dispatch the identifiers curl_json-gnatsd/… of the common curl_json configuration \
              for gnatsd as well, so that old data files are continued. Only one instance of a \
              host can have them.",
        set: |instance, value| {
            instance.legacy_names = value.boolean()?;
            Ok(())
        },
    },
];

/// A line or block of collectd's configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// The key.
    pub(crate) key: String,
    /// The values on the line.
    pub(crate) values: Vec<Scalar>,
    /// The content of a block.
    pub(crate) children: Vec<Item>,
}

/// A value, as collectd parsed it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// An unquoted `true`, `yes`, `on` or their opposites.
    Boolean(bool),
    /// An unquoted number.
    Number(f64),
    /// A quoted text or another unquoted word.
    Text(String),
}

impl Scalar {
    /// The value as text, nearly as it was written.
    fn text(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }

    /// A number from `min` to `max`, quoted or not.
    fn number(&self, min: f64, max: f64) -> Result<f64, String> {
        let number = match self {
            Self::Number(value) => Some(*value),
            Self::Text(value) => value.trim().parse().ok(),
            Self::Boolean(_) => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("{self} is not a number from {min} to {max}"))
    }

    /// A boolean, quoted or not.
    fn boolean(&self) -> Result<bool, String> {
        let text = self.text().to_ascii_lowercase();
        match text.as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(format!("{self} is neither true nor false")),
        }
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(value) => write!(f, "\"{value}\""),
            other => f.write_str(&other.text()),
        }
    }
}

/// Adds the instances of one `<Plugin nats>` block to those of earlier blocks. Unknown keys are
/// logged and ignored.
///
///  # Errors
///
/// Which instance and option is wrong, and why; collectd must not start then.
pub(crate) fn add_block(
    block: &Item,
    instances: &mut Vec<Instance>,
    daemon: &dyn Daemon,
) -> Result<(), String> {
    for item in &block.children {
        if !item.key.eq_ignore_ascii_case("Instance") {
            let key = &item.key;
            let text = if find_option(key).is_some() {
                format!("{key} is ignored here: put it into an <Instance \"name\"> block")
            } else {
                format!("unknown option {key} is ignored")
            };
            daemon.log(Level::Warning, &text);
            continue;
        }
        let instance = read_instance(item, daemon)?;
        check_unique(&instance, instances)?;
        instances.push(instance);
    }
    Ok(())
}

fn read_instance(item: &Item, daemon: &dyn Daemon) -> Result<Instance, String> {
    let name = match item.values.as_slice() {
        [name] => check_name(&name.text()).map_err(|reason| format!("Instance: {reason}"))?,
        _ => return Err("Instance: write one name, as in <Instance \"name\">".to_owned()),
    };
    let mut instance = Instance::new(&name);
    for child in &item.children {
        let key = &child.key;
        let Some(option) = find_option(key) else {
            let text = format!("instance \"{name}\": unknown option {key} is ignored");
            daemon.log(Level::Warning, &text);
            continue;
        };
        let set = match child.values.as_slice() {
            [value] if child.children.is_empty() => (option.set)(&mut instance, value),
            _ => Err("takes exactly one value".to_owned()),
        };
        set.map_err(|reason| format!("instance \"{name}\": {}: {reason}", option.name))?;
    }
    check_timeout(&instance, daemon)?;
    Ok(instance)
}

fn find_option(key: &str) -> Option<&'static InstanceOption> {
    OPTIONS
        .iter()
        .find(|option| option.name.eq_ignore_ascii_case(key))
}

fn check_timeout(instance: &Instance, daemon: &dyn Daemon) -> Result<(), String> {
    let limit = instance.timeout_limit(daemon);
    match instance.timeout {
        Some(timeout) if timeout > limit => Err(format!(
            "instance \"{}\": Timeout: {} ms is more than half the interval ({} ms), \
             which a poll of two requests may not exceed",
            instance.name,
            timeout.as_millis(),
            limit.as_millis()
        )),
        _ => Ok(()),
    }
}

fn check_unique(instance: &Instance, others: &[Instance]) -> Result<(), String> {
    let name = &instance.name;
    for other in others {
        if other.name == *name {
            return Err(format!(
                "instance \"{name}\": there are two of this name: rename one"
            ));
        }
        if instance.legacy_names && other.legacy_names && instance.host == other.host {
            return Err(format!(
                "instance \"{name}\": LegacyNames: instance \"{}\" reports the same names for the \
                 same host: give one of them another Host",
                other.name
            ));
        }
    }
    Ok(())
}

/// Checks that collectd keeps the name unchanged.
fn check_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if name.len() > NAME_LIMIT {
        return Err(format!("the name is longer than {NAME_LIMIT} bytes"));
    }
    if name.contains(|c: char| c == '/' || c.is_control()) {
        return Err(format!("\"{name}\" holds a slash or a control character"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
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
            item("ReportLimits", Scalar::Boolean(true)),
            item("LegacyNames", Scalar::Boolean(true)),
        ];
        let quoted = vec![
            item("URL", text("http://127.0.0.1:1/x")),
            item("Timeout", text("300")),
            item("Interval", text(" 2.5")),
            item("Host", text("h")),
            item("ReportNotifications", text("Off")),
            item("ReportLimits", text("yes")),
            item("LegacyNames", text("TRUE")),
        ];
        assert_eq!(plain.len(), OPTIONS.len());
        let expected = Instance {
            name: "a".to_owned(),
            url: "http://127.0.0.1:1/x".to_owned(),
            timeout: Some(Duration::from_millis(300)),
            interval: Some(Duration::from_millis(2500)),
            host: Some("h".to_owned()),
            report_notifications: false,
            report_limits: true,
            legacy_names: true,
        };
        for children in [plain, quoted] {
            let (result, daemon) = read(vec![instance("a", children)]);
            assert_eq!(result, Ok(vec![expected.clone()]));
            assert!(daemon.lines.borrow().is_empty());
        }
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
            ("url", text("https://x"), "https is not supported"),
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
            children: vec![instance("a", Vec::new())],
            ..Item::default()
        };
        let error = add_block(&block, &mut instances, &daemon).expect_err("a again");
        assert!(error.contains("two of this name"), "{error}");
        assert_eq!(instances.len(), 2);
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
}
