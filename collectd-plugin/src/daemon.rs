//! The parts of collectd's interface that the plugin uses, in safe types.
//!
//! [`crate::ffi`] implements it with the real collectd, the tests with a fake that records the
//! calls.

use std::time::{Duration, SystemTime};

/// The interface to collectd. All texts may come from the network: the implementation converts them
/// to a single line and shortens them.
pub(crate) trait Daemon {
    /// Writes a line to collectd's log.
    fn log(&self, level: Level, text: &str);

    /// Queues values for collectd's writers; `false` if collectd refused them.
    fn dispatch(&self, list: &ValueList<'_>) -> bool;

    /// Sends a notification to the plugins that handle them.
    fn notify(&self, notification: &Notification<'_>);

    /// Time between two polls, unless an instance has its own.
    fn interval(&self) -> Duration;
}

/// Level of a log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// Values are missing.
    Error,
    /// A problem, but values are dispatched.
    Warning,
    /// An important change.
    Notice,
    /// For completeness.
    Info,
}

/// Severity of a notification; the worst comes last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Severity {
    /// There are no problems, or none any more.
    Okay,
    /// The broker answers, but has problems.
    Warning,
    /// The broker does not answer, or does not do its work.
    Failure,
}

/// The values of one identifier at one time.
#[derive(Debug)]
pub(crate) struct ValueList<'a> {
    /// Reported host; `None` for collectd's own name.
    pub(crate) host: Option<&'a str>,
    /// `nats`, or the plugin of an old identifier.
    pub(crate) plugin: &'a str,
    /// Name of the instance.
    pub(crate) plugin_instance: &'a str,
    /// A type of collectd's types.db.
    pub(crate) kind: &'a str,
    /// Which value of that type.
    pub(crate) type_instance: &'a str,
    /// One value per data source of the type, in its order.
    pub(crate) values: &'a [Value],
    /// Start of the poll.
    pub(crate) time: SystemTime,
}

/// One value, of the kind that its data source has in types.db.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// A running total; collectd assumes a wraparound when it falls.
    Counter(u64),
    /// A running total that restarts from zero with the broker.
    Derive(i64),
    /// A current value. One that is not known is not dispatched: collectd takes NaN for "within
    /// range".
    Gauge(f64),
}

/// Something that happened, or how it is now.
#[derive(Debug)]
pub(crate) struct Notification<'a> {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Reported host; `None` for collectd's own name.
    pub(crate) host: Option<&'a str>,
    /// Name of the instance.
    pub(crate) plugin_instance: &'a str,
    /// Type and type instance of the value that it is about. They are part of the name of a passive
    /// service: `nats-INSTANCE/TYPE-TYPEINSTANCE`.
    pub(crate) kind: &'a str,
    pub(crate) type_instance: &'a str,
    /// The event.
    pub(crate) message: &'a str,
    /// More about it, as names and values.
    pub(crate) metadata: &'a [(&'a str, String)],
    /// Start of the poll that noticed it.
    pub(crate) time: SystemTime,
}

/// A daemon that records the calls.
#[cfg(test)]
pub(crate) mod fake {
    use std::cell::RefCell;

    use super::*;

    /// Its interval is 10 s.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(crate) lines: RefCell<Vec<(Level, String)>>,
        /// `plugin-instance/type-instance` with its values.
        pub(crate) values: RefCell<Vec<(String, Vec<Value>)>>,
        pub(crate) notifications: RefCell<Vec<Sent>>,
    }

    /// A notification.
    #[derive(Clone, Debug)]
    pub(crate) struct Sent {
        pub(crate) severity: Severity,
        /// `type-typeinstance`.
        pub(crate) name: String,
        pub(crate) message: String,
        pub(crate) metadata: Vec<(String, String)>,
    }

    impl Daemon for Fake {
        fn log(&self, level: Level, text: &str) {
            self.lines.borrow_mut().push((level, text.to_owned()));
        }

        fn dispatch(&self, list: &ValueList<'_>) -> bool {
            let instance = list.plugin_instance;
            let mut name = format!("{}-{instance}/{}", list.plugin, list.kind);
            if !list.type_instance.is_empty() {
                name = format!("{name}-{}", list.type_instance);
            }
            self.values.borrow_mut().push((name, list.values.to_vec()));
            true
        }

        fn notify(&self, notification: &Notification<'_>) {
            let Notification {
                kind,
                type_instance,
                ..
            } = notification;
            let metadata = notification.metadata.iter();
            self.notifications.borrow_mut().push(Sent {
                severity: notification.severity,
                name: format!("{kind}-{type_instance}"),
                message: notification.message.to_owned(),
                metadata: metadata
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
            });
        }

        fn interval(&self) -> Duration {
            Duration::from_secs(10)
        }
    }

    impl Fake {
        pub(crate) fn value(&self, name: &str) -> Option<Vec<Value>> {
            let values = self.values.borrow();
            let found = values.iter().find(|(known, _)| known == name);
            found.map(|(_, values)| values.clone())
        }
    }
}
