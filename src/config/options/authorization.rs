//! The block `authorization`: who may log in.

use std::time::Duration;

use super::{
    Options,
    block::Problems,
    users::{DEFAULT_PERMISSIONS, parse_default_permissions, parse_secret, parse_users},
};
use crate::{
    config::syntax::{Node, Position},
    security::{
        secret::Secret,
        users::{GLOBAL_ACCOUNT, SoleLogin},
    },
};

/// A time to log in above this is likely a mistake.
const HIGH_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the block into `options`.
pub(super) fn parse_authorization(options: &mut Options, node: &Node, problems: &mut Problems) {
    let Some(map) = problems.map(node, "authorization") else {
        return;
    };
    // Read before the users who get them, wherever they stand.
    let mut written = Written::default();
    let default_permissions = parse_default_permissions(map, problems);
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "user" | "username" => written.user = problems.text(entry).map(str::to_owned),
            "pass" | "password" => written.password = parse_secret(entry, problems),
            "token" => written.token = parse_secret(entry, problems),
            "timeout" => {
                if let Some(timeout) = problems.seconds(entry) {
                    if timeout > HIGH_TIMEOUT {
                        let text = format!(
                            "a timeout of {timeout:?} is high: without quotes, 1m means a million"
                        );
                        problems.warn(&entry.position, text);
                    }
                    options.auth_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
                }
            }
            "users" => {
                let users = parse_users(
                    &entry.node,
                    GLOBAL_ACCOUNT,
                    default_permissions.as_ref(),
                    problems,
                );
                if users.is_empty() {
                    problems.warn(
                        &entry.position,
                        "the list of users is empty: without other users nobody has to log in",
                    );
                }
                options.authorization.users.extend(users);
                written.users = true;
            }
            key if DEFAULT_PERMISSIONS.contains(&key) => written.permissions = true,
            "auth_callout" | "auth_hook" => {
                let text = format!(
                    "{:?} is not supported by this version of midge: write the users down",
                    entry.key
                );
                problems.error(&entry.position, text);
            }
            "proxy_required" => {
                if problems.boolean(entry) == Some(true) {
                    problems.error(
                        &entry.position,
                        "\"proxy_required\" is not supported by this version of midge: nobody \
                         could log in",
                    );
                }
            }
            _ => problems.unknown_key(entry, "authorization"),
        }
    }
    options.authorization.sole = written.sole(&node.position, problems);
}

/// What the block says of a login without a list of users.
#[derive(Default)]
struct Written {
    user: Option<String>,
    password: Option<Secret>,
    token: Option<Secret>,
    users: bool,
    permissions: bool,
}

impl Written {
    fn sole(self, position: &Position, problems: &mut Problems) -> Option<SoleLogin> {
        let user = self.user.filter(|name| !name.is_empty());
        let token = self.token.filter(|token| !token.is_empty());
        let clash = match (user.is_some(), token.is_some(), self.users) {
            (true, true, _) => Some("a user and a token"),
            (true, _, true) => Some("a user and a list of users"),
            (_, true, true) => Some("a token and a list of users"),
            _ => None,
        };
        if let Some(clash) = clash {
            problems.error(position, format!("authorization cannot have {clash}"));
            return None;
        }
        if self.permissions && !self.users {
            problems.warn(
                position,
                "default permissions are for a list of users: they have no effect on one user or \
                 a token",
            );
        }
        if let Some(token) = token {
            return Some(SoleLogin::Token(token));
        }
        match user {
            Some(name) => Some(SoleLogin::User {
                name,
                password: self.password.unwrap_or_default(),
            }),
            None => {
                let has_password = self.password.is_some_and(|password| !password.is_empty());
                // Beside a list of users it may be there for a variable.
                if has_password && !self.users {
                    problems.error(position, "a password without a user lets nobody in");
                }
                None
            }
        }
    }
}
