//! The block `monitor`: access to port 8222, and the additional Unix socket.

use std::path::PathBuf;

use super::{
    Options,
    keys::non_empty,
    table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual, field},
    written::Written,
};
use crate::security::secret::Secret;

/// The Unix socket, and names of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Where the Unix socket is; `None` for none.
    pub unix: Option<PathBuf>,
    /// Permissions of the Unix socket.
    pub unix_mode: u32,
    /// Names of this machine that requests may be addressed to, in lower case.
    pub hosts: Vec<String>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            unix: None,
            unix_mode: 0o660,
            hosts: Vec::new(),
        }
    }
}

impl Monitor {
    /// What to do about the folder of the Unix socket if it does not exist: the broker
    /// does not start without it. A test of the file warns of it, since an init system may
    /// make the folder right before the start.
    pub fn missing_folder(&self) -> Option<String> {
        let socket = self.unix.as_deref()?;
        let folder = socket.parent()?;
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return None;
        }
        let folder = folder.display();
        Some(format!(
            "the folder {folder} of the monitoring socket does not exist: make it before the \
             broker starts (mkdir {folder}, or RuntimeDirectory= in a systemd unit)"
        ))
    }
}

/// The credentials of a request over TCP; none if all is empty. Requests through the Unix
/// socket need none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorLogin {
    /// A bearer token.
    pub token: Option<Secret>,
    /// A user name.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

impl MonitorLogin {
    /// Whether a request has to bring anything.
    pub fn is_required(&self) -> bool {
        self.token.is_some() || self.user.is_some()
    }

    /// Whether only one of user and password is there.
    pub(super) fn is_half(&self) -> bool {
        self.user.is_some() != self.password.is_some()
    }
}

/// The keys of the block.
pub(super) static MONITOR: Block<Options> = Block {
    name: "monitor",
    title: "In `monitor`",
    place: "\"monitor\"",
    sections: &[Section {
        title: "",
        keys: &[
            text(
                "unix",
                "\"\"",
                "Path of a Unix socket with the same answers as the monitoring port. It needs no \
                 login, and it alone accepts requests that change something.",
                |options, path| {
                    options.monitor.unix = non_empty(path).map(Into::into);
                    Ok(())
                },
                Reload::Restart(OPENED, field!(monitor.unix)),
            ),
            text(
                "unix_mode",
                "\"0660\"",
                "Permissions of the socket: with 0660, owner and group may use it.",
                |options, mode| {
                    let digits = mode.strip_prefix("0o").unwrap_or(mode);
                    options.monitor.unix_mode = u32::from_str_radix(digits, 8)
                        .ok()
                        .filter(|mode| mode & !0o666 == 0)
                        .ok_or("must be octal digits up to 0666, such as \"0660\"")?;
                    Ok(())
                },
                Reload::Restart(
                    OPENED,
                    FieldAccess {
                        written: Some(|options| {
                            format!("{:04o}", options.monitor.unix_mode).written()
                        }),
                        ..field!(monitor.unix_mode)
                    },
                ),
            ),
            text(
                "hosts",
                "\"\"",
                "More names of this machine, separated by commas, that requests may be addressed \
                 to.",
                |options, names| {
                    let names = names
                        .split(',')
                        .map(|name| name.trim().to_ascii_lowercase());
                    options.monitor.hosts = names.filter(|name| !name.is_empty()).collect();
                    Ok(())
                },
                Reload::Restart(
                    "the monitoring port is opened for them at the start",
                    FieldAccess {
                        written: Some(|options| options.monitor.hosts.join(",").written()),
                        ..field!(monitor.hosts)
                    },
                ),
            ),
            text(
                "token",
                "\"\"",
                "Bearer token that requests over TCP must have.",
                |options, token| {
                    options.monitor_login.token = secret(token)?;
                    Ok(())
                },
                Reload::Live(field!(hidden monitor_login.token)),
            ),
            text(
                "user",
                "\"\"",
                "User name that requests over TCP must have (basic authentication).",
                |options, user| {
                    if user.contains(':') {
                        return Err("a user name must not contain a colon".into());
                    }
                    options.monitor_login.user = non_empty(user);
                    Ok(())
                },
                Reload::Live(field!(monitor_login.user)),
            ),
            text(
                "password",
                "\"\"",
                "Password of that user.",
                |options, password| {
                    options.monitor_login.password = secret(password)?;
                    Ok(())
                },
                Reload::Live(field!(hidden monitor_login.password)),
            ),
        ],
    }],
};

const OPENED: &str = "the socket is opened at the start";

fn secret(text: &str) -> Result<Option<Secret>, String> {
    Ok(Some(Secret::plain(text)?).filter(|secret| !secret.is_empty()))
}

const fn text(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, &str) -> Result<(), String>,
    reload: Reload<Options>,
) -> Key<Options> {
    Key {
        name,
        aliases: &[],
        kind: Kind::Text(set),
        usual: Usual::Default(default),
        doc,
        reload,
    }
}
