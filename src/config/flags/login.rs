//! The flags `--user`, `--pass` and `--auth`: the one login there is.

use super::Options;
use crate::security::{secret::Secret, users::SoleLogin};

/// The setting of one of these flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginPart {
    Password,
    Token,
    User,
}

/// The given value.
#[derive(Default)]
pub(super) struct Login {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl Login {
    pub(super) fn set(&mut self, part: LoginPart, value: String) {
        let place = match part {
            LoginPart::Password => &mut self.password,
            LoginPart::Token => &mut self.token,
            LoginPart::User => &mut self.user,
        };
        *place = Some(value).filter(|value| !value.is_empty());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.user.is_none() && self.password.is_none() && self.token.is_none()
    }

    /// Applies the flags over the values of the file. The errors contain no secret.
    pub(super) fn apply(&self, options: &mut Options) -> Result<(), String> {
        if self.is_empty() {
            return Ok(());
        }
        if !options.authorization.users.is_empty() {
            return Err(
                "--user, --pass and --auth have no effect: the configuration file has a list of \
                 users"
                    .into(),
            );
        }
        let secret = |flag: &str, text: &str| {
            Secret::new(text).map_err(|why| format!("the value of {flag} {why}"))
        };
        if let Some(token) = &self.token {
            if self.user.is_some() || self.password.is_some() {
                return Err(
                    "--auth is a token and cannot be used together with --user and --pass".into(),
                );
            }
            options.authorization.sole = Some(SoleLogin::Token(secret("--auth", token)?));
            return Ok(());
        }
        let (name, password) = match options.authorization.sole.take() {
            Some(SoleLogin::User { name, password }) => (Some(name), password),
            _ => (None, Secret::default()),
        };
        let Some(name) = self.user.clone().or(name) else {
            return Err("--pass needs --user".into());
        };
        let password = match &self.password {
            Some(text) => secret("--pass", text)?,
            None => password,
        };
        options.authorization.sole = Some(SoleLogin::User { name, password });
        Ok(())
    }
}
