//! What the plugin asks of collectd, in safe types.
//!
//! [`crate::ffi`] fulfils it with the real collectd, the tests with a fake one
//! that writes down what it is given.

use std::time::{Duration, SystemTime};

/// collectd as its plugin sees it. All texts may come from the network: the
/// implementation makes them one line and cuts them to what fits.
pub(crate) trait Daemon {
    /// Writes one line to collectd's log.
    fn log(&self, level: Level, text: &str);

    /// Queues values for collectd's writers; false when collectd took them not.
    fn dispatch(&self, list: &ValueList<'_>) -> bool;

    /// Sends a notification to whatever plugins take one.
    fn notify(&self, notification: &Notification<'_>);

    /// Time between two polls, unless an instance has its own.
    fn interval(&self) -> Duration;
}

/// Weight of a log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// Figures are missing, or collectd cannot start.
    Error,
    /// Something is not as it should be; figures arrive.
    Warning,
    /// A change worth knowing.
    Notice,
    /// For completeness.
    Info,
}

/// Weight of a notification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Severity {
    /// The broker does not serve.
    Failure,
    /// The broker serves, with reservations.
    Warning,
    /// All is well again.
    Okay,
}

/// The values of one identifier at one time.
#[derive(Debug)]
pub(crate) struct ValueList<'a> {
    /// Reported host; none for collectd's own name.
    pub(crate) host: Option<&'a str>,
    /// `nats`, or what an old identifier demands.
    pub(crate) plugin: &'a str,
    /// Name of the instance.
    pub(crate) plugin_instance: &'a str,
    /// A type of collectd's types.db.
    pub(crate) kind: &'a str,
    /// Which figure of that type.
    pub(crate) type_instance: &'a str,
    /// As many as the type has data sources, in its order.
    pub(crate) values: &'a [Value],
    /// When the poll began.
    pub(crate) time: SystemTime,
}

/// One value, in the form its data source has in types.db.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// A running total that collectd may take for wrapped when it falls.
    Counter(u64),
    /// A running total that restarts from zero with the broker.
    Derive(i64),
    /// A level; NaN for "not known".
    Gauge(f64),
}

/// A change of an instance's condition.
#[derive(Debug)]
pub(crate) struct Notification<'a> {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Reported host; none for collectd's own name.
    pub(crate) host: Option<&'a str>,
    /// Name of the instance.
    pub(crate) plugin_instance: &'a str,
    /// What happened.
    pub(crate) message: &'a str,
    /// When the poll that saw it began.
    pub(crate) time: SystemTime,
}

/// A daemon that writes down what it is given.
#[cfg(test)]
pub(crate) mod fake {
    use std::cell::RefCell;

    use super::*;

    /// Polls every 10 s.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(crate) lines: RefCell<Vec<(Level, String)>>,
        /// `plugin-instance/type-instance` with its values.
        pub(crate) values: RefCell<Vec<(String, Vec<Value>)>>,
        pub(crate) notifications: RefCell<Vec<(Severity, String)>>,
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
            self.notifications
                .borrow_mut()
                .push((notification.severity, notification.message.to_owned()));
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
