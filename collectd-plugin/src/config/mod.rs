//! The `<Plugin nats>` block: converts a tree of items to a list of [`Instance`]s.
//!
//! [`options`] is the table of an instance's options, [`item`] the tree.

mod item;
mod options;
#[cfg(test)]
mod tests;

use std::time::Duration;

use monitor_client::{Access, Client, Error, OptionNames};

pub(crate) use self::item::{Item, Scalar};
#[cfg(test)]
pub(crate) use self::options::OPTIONS;
use crate::daemon::{Daemon, Level};

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
            access: Access::default(),
            timeout: None,
            interval: None,
            host: None,
            report_notifications: true,
            report_limits: false,
            legacy_names: false,
        }
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
            let text = if options::find(key).is_some() {
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
        let Some(option) = options::find(key) else {
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
    let label = instance.label();
    match instance.client(daemon) {
        Ok(_) => Ok(instance),
        Err(error @ Error::InvalidUrl { .. }) => Err(format!("{label}: URL: {error}")),
        Err(error) => Err(format!("{label}: {error}")),
    }
}

fn check_timeout(instance: &Instance, daemon: &dyn Daemon) -> Result<(), String> {
    let limit = instance.timeout_limit(daemon);
    match instance.timeout {
        Some(timeout) if timeout > limit => Err(format!(
            "{}: Timeout: {} ms is more than half the interval ({} ms), which a poll may not exceed",
            instance.label(),
            timeout.as_millis(),
            limit.as_millis()
        )),
        _ => Ok(()),
    }
}

/// Instances of one host must differ in their names, and one of them may have the old ones.
fn check_unique(instance: &Instance, others: &[Instance]) -> Result<(), String> {
    let label = instance.label();
    for other in others.iter().filter(|other| other.host == instance.host) {
        if other.name == instance.name {
            return Err(format!(
                "{label}: there are two of this name: rename one, or give it another Host"
            ));
        }
        if instance.legacy_names && other.legacy_names {
            return Err(format!(
                "{label}: LegacyNames: {} reports the same names for the same host: give one of \
                 them another Host",
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
