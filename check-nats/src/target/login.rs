//! Where the login at the client port comes from. A secret is never an argument, which all users
//! of a host can see: it is in a file or in the environment.

use std::{fmt, path::PathBuf};

use clap::ArgMatches;
use monitor_client::Secret;

use super::{arguments::path, environment};
use crate::modes;

/// The login at the client port.
#[derive(Clone, Debug)]
pub enum LoginSource {
    /// None was given.
    None,
    /// A user and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: SecretSource,
    },
    /// A token.
    Token(SecretSource),
    /// The seed of an nkey.
    Nkey(SecretSource),
    /// The content of a credentials file: a JWT and the seed of its nkey.
    Credentials(SecretSource),
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// In a file.
    File {
        /// The option that names it, with its dashes.
        option: &'static str,
        /// Its path.
        path: PathBuf,
    },
    /// In the environment.
    Variable {
        /// The variable's name.
        name: &'static str,
        /// Its value.
        secret: Secret,
    },
}

/// A kind of login: its option, its variable, and how a source becomes a login.
struct Kind {
    /// With its dashes.
    option: &'static str,
    variable: &'static str,
    login: fn(SecretSource) -> LoginSource,
}

/// The kinds that need no user's name.
const KINDS: [Kind; 3] = [
    Kind {
        option: "--token-file",
        variable: "CHECK_NATS_TOKEN",
        login: LoginSource::Token,
    },
    Kind {
        option: "--nkey-file",
        variable: "CHECK_NATS_NKEY",
        login: LoginSource::Nkey,
    },
    Kind {
        option: "--creds",
        variable: "CHECK_NATS_CREDS",
        login: LoginSource::Credentials,
    },
];

const USER: &str = "CHECK_NATS_USER";
const PASSWORD: &str = "CHECK_NATS_PASSWORD";

impl LoginSource {
    /// The login of the options; if they give none, that of the environment.
    ///
    /// # Errors
    /// Half of a login, or more than one.
    pub(super) fn new(matches: &ArgMatches) -> Result<Self, String> {
        let typed = |name: &str| matches.get_one::<String>(name).cloned();
        let mut logins = Vec::new();
        for kind in &KINDS {
            if let Some(source) = in_file(matches, kind.option) {
                logins.push((kind.option, (kind.login)(source)));
            }
        }
        let password = in_file(matches, "--password-file");
        // That mode asks about the user, at the monitoring port.
        let mode = matches.try_get_one::<String>("mode").ok().flatten();
        let is_login = mode.is_none_or(|mode| mode != modes::path::NAME);
        if let Some(user) = typed("user").filter(|_| is_login) {
            let Some(password) = password.or_else(|| in_variable(PASSWORD)) else {
                return Err(format!(
                    "--user {user} needs --password-file FILE, or the password in ${PASSWORD}"
                ));
            };
            logins.push(("--user", Self::Password { user, password }));
        } else if let Some(password) = password {
            let Some(user) = environment(USER) else {
                return Err(format!("--password-file needs --user NAME, or ${USER}"));
            };
            logins.push(("--password-file", Self::Password { user, password }));
        }
        if logins.is_empty() {
            for kind in &KINDS {
                if let Some(source) = in_variable(kind.variable) {
                    logins.push((kind.variable, (kind.login)(source)));
                }
            }
            match (environment(USER), in_variable(PASSWORD)) {
                (Some(user), Some(password)) => {
                    logins.push((USER, Self::Password { user, password }));
                }
                (None, None) => (),
                (Some(_), None) => return Err(format!("${USER} needs ${PASSWORD}")),
                (None, Some(_)) => return Err(format!("${PASSWORD} needs ${USER} or --user NAME")),
            }
        }
        let names: Vec<&str> = logins.iter().map(|(name, _)| *name).collect();
        match logins.len() {
            0 | 1 => Ok(logins.pop().map_or(Self::None, |(_, login)| login)),
            _ => Err(format!("give only one of {}", names.join(", "))),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { option, path } => write!(f, "{option} {}", path.display()),
            Self::Variable { name, .. } => write!(f, "${name}"),
        }
    }
}

fn in_file(matches: &ArgMatches, option: &'static str) -> Option<SecretSource> {
    let path = path(matches, option.trim_start_matches('-'))?;
    Some(SecretSource::File { option, path })
}

fn in_variable(name: &'static str) -> Option<SecretSource> {
    let secret = Secret::new(environment(name)?);
    Some(SecretSource::Variable { name, secret })
}
