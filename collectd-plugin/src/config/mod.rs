//! The `<Plugin nats>` block: converts a tree of items to a list of [`Instance`]s.
//!
//! [`options`] is the table of an instance's options, [`item`] the tree.

mod item;
mod options;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use monitor_client::{Access, Client, Error, OptionNames};

pub(crate) use self::item::{Item, Scalar};
#[cfg(test)]
pub(crate) use self::options::OPTIONS;
use crate::{
    daemon::{Daemon, Level},
    metrics::Group,
};

/// Name of the instance that is polled if none is configured.
pub(crate) const DEFAULT_NAME: &str = "local";
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(2000);

/// A poll may take this part of the interval, so that the next one begins in time.
const POLL_SHARE: u32 = 2;

/// Limit of names in collectd, in bytes.
const NAME_LIMIT: usize = 127;

/// The options' names in errors of the client.
const NAMES: OptionNames = OptionNames {
    url: "URL",
    socket: "Socket",
    user: "User",
    password: "Password",
    password_file: "PasswordFile",
    token: "TokenFile",
    token_file: "TokenFile",
    ca: "CACert",
    certificate: "CertificateFile",
    key: "CertificateKey",
    insecure: "VerifyPeer false",
};

/// A broker to poll.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instance {
    /// The plugin instance of all its values; unique for its host.
    pub(crate) name: String,
    /// How to reach the monitoring port; validated.
    pub(crate) access: Access,
    /// Time limit of a poll; `None` for the default.
    pub(crate) timeout: Option<Duration>,
    /// Time between polls; `None` for collectd's.
    pub(crate) interval: Option<Duration>,
    /// Reported host; `None` for collectd's.
    pub(crate) host: Option<String>,
    /// Whether changes of its condition are notified.
    pub(crate) report_notifications: bool,
    /// The groups of metrics that are dispatched.
    pub(crate) groups: BTreeSet<Group>,
    /// Connections whose queues are dispatched, those with the longest.
    pub(crate) top_connections: usize,
}

impl Instance {
    /// An instance with the defaults of all options.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            access: Access::default(),
            timeout: None,
            interval: None,
            host: None,
            report_notifications: true,
            groups: Group::DEFAULT.into(),
            top_connections: 3,
        }
    }

    /// Whether this group of metrics is dispatched.
    pub(crate) fn reports(&self, group: Group) -> bool {
        self.groups.contains(&group)
    }

    /// What it is called in log lines: names need only differ on one host.
    pub(crate) fn label(&self) -> String {
        match &self.host {
            Some(host) => format!("instance \"{}\" of host \"{host}\"", self.name),
            None => format!("instance \"{}\"", self.name),
        }
    }

    /// The client of its broker, which takes the time of a whole poll for one request.
    ///
    ///  # Errors
    ///
    /// Its settings do not go together, or the URL cannot be used.
    pub(crate) fn client(&self, daemon: &dyn Daemon) -> Result<Client, Error> {
        Client::with_access(self.access.clone(), &NAMES, self.timeout(daemon))
    }

    /// Upper limit of [`Self::timeout`], from the interval of the instance or of the `daemon`.
    pub(crate) fn timeout_limit(&self, daemon: &dyn Daemon) -> Duration {
        self.interval.unwrap_or_else(|| daemon.interval()) / POLL_SHARE
    }

    /// Time limit of a poll, at most [`Self::timeout_limit`].
    pub(crate) fn timeout(&self, daemon: &dyn Daemon) -> Duration {
        let limit = self.timeout_limit(daemon);
        self.timeout.unwrap_or(DEFAULT_TIMEOUT).min(limit)
    }
}

/// The instances of all `<Plugin nats>` blocks.
///
/// collectd ends at its start if the configuration of one plugin is refused, and with it the
/// monitoring of everything else. So what is wrong here is logged, and costs the instance that it
/// is in only.
#[derive(Debug)]
pub(crate) struct Instances {
    good: Vec<Instance>,
    has_refused: bool,
}

impl Instances {
    /// Before the first block.
    pub(crate) const fn new() -> Self {
        Self {
            good: Vec::new(),
            has_refused: false,
        }
    }

    /// Adds the instances of one block. One that cannot be polled is logged as an error with the
    /// option and the reason; what is unknown is logged and ignored.
    pub(crate) fn add_block(&mut self, block: &Item, daemon: &dyn Daemon) {
        for item in &block.children {
            let key = &item.key;
            if key.eq_ignore_ascii_case("Instance") {
                self.add_instance(item, daemon);
                continue;
            }
            let text = if options::find(key).is_some() {
                format!("{key} is ignored here: put it into an <Instance \"name\"> block")
            } else {
                format!("unknown option {key} is ignored")
            };
            daemon.log(Level::Warning, &text);
        }
    }

    /// Those that are to be polled: the usual place if no block names another one.
    pub(crate) fn finish(self, daemon: &dyn Daemon) -> Vec<Instance> {
        match (self.good.is_empty(), self.has_refused) {
            (true, true) => daemon.log(Level::Error, "no broker is polled"),
            (true, false) => return vec![Instance::new(DEFAULT_NAME)],
            (false, _) => {}
        }
        self.good
    }

    fn add_instance(&mut self, item: &Item, daemon: &dyn Daemon) {
        let mut instance = match read_name(item) {
            Ok(name) => Instance::new(&name),
            Err(reason) => return self.refuse("an instance", &reason, daemon),
        };
        let checked = set_options(&mut instance, item, daemon)
            .and_then(|()| check_timeout(&instance, daemon))
            .and_then(|()| check_unique(&instance, &self.good))
            .and_then(|()| check_access(&instance, daemon));
        match checked {
            Ok(()) => self.good.push(instance),
            Err(reason) => self.refuse(&instance.label(), &reason, daemon),
        }
    }

    fn refuse(&mut self, label: &str, reason: &str, daemon: &dyn Daemon) {
        self.has_refused = true;
        refuse(label, reason, daemon);
    }
}

/// Logs that an instance is not polled, and why.
pub(crate) fn refuse(label: &str, reason: &str, daemon: &dyn Daemon) {
    daemon.log(Level::Error, &format!("{label} is not polled: {reason}"));
}

fn read_name(item: &Item) -> Result<String, String> {
    match item.values.as_slice() {
        [name] => name.text().and_then(|name| check_name(&name)),
        _ => Err("write one name, as in <Instance \"name\">".to_owned()),
    }
    .map_err(|reason| format!("Instance: {reason}"))
}

fn set_options(instance: &mut Instance, item: &Item, daemon: &dyn Daemon) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let warn = |instance: &Instance, text: String| {
        daemon.log(Level::Warning, &format!("{}: {text}", instance.label()));
    };
    for child in &item.children {
        let key = &child.key;
        let Some(option) = options::find(key) else {
            warn(instance, format!("unknown option {key} is ignored"));
            continue;
        };
        let set = match child.values.as_slice() {
            [value] if child.children.is_empty() => (option.set)(instance, value),
            _ => Err("takes exactly one value".to_owned()),
        };
        set.map_err(|reason| format!("{}: {reason}", option.name))?;
        if !seen.insert(option.name) {
            let text = format!("{} stands there twice: the last one counts", option.name);
            warn(instance, text);
        }
    }
    Ok(())
}

fn check_access(instance: &Instance, daemon: &dyn Daemon) -> Result<(), String> {
    match instance.client(daemon) {
        Ok(_) => Ok(()),
        Err(error @ Error::InvalidUrl { .. }) => Err(format!("URL: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

fn check_timeout(instance: &Instance, daemon: &dyn Daemon) -> Result<(), String> {
    let limit = instance.timeout_limit(daemon);
    match instance.timeout {
        Some(timeout) if timeout > limit => Err(format!(
            "Timeout: {} ms is more than half the interval ({} ms), which a poll may not exceed",
            timeout.as_millis(),
            limit.as_millis()
        )),
        _ => Ok(()),
    }
}

/// Instances of one host must differ in their names, and one of them may have the old ones.
fn check_unique(instance: &Instance, others: &[Instance]) -> Result<(), String> {
    for other in others.iter().filter(|other| other.host == instance.host) {
        if other.name == instance.name {
            return Err(
                "there is another one of this name: rename it, or give it another Host".to_owned(),
            );
        }
        if [instance, other]
            .iter()
            .all(|one| one.reports(Group::Legacy))
        {
            return Err(format!(
                "LegacyNames: {} reports the same names for the same host: give one of them \
                 another Host",
                other.label()
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
