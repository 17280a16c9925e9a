//! The block `authorization`: users and passwords of clients.

use std::time::Duration;

use super::{
    Options,
    permissions::parse_permissions,
    problems::Problems,
    reading::entry_of,
    table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual},
    unsupported::{is_false, never, refused, unsupported},
    users::{
        default_permissions_key, parse_users, password_key, user_key, users_key, with_permissions,
    },
};
use crate::{
    config::syntax::{Entry, Position},
    security::{
        permissions::Rules,
        secret::Secret,
        users::{GLOBAL_ACCOUNT, SoleLogin, User},
    },
};

/// A time to log in above this is likely a mistake.
const HIGH_TIMEOUT: Duration = Duration::from_secs(60);

/// What a reload compares: what is read from this block alone.
pub(super) const AUTHORIZATION_ACCESS: FieldAccess<Options> = FieldAccess {
    same: |one, other| {
        let sole = |it: &Options| (it.authorization.sole.clone(), it.auth_timeout);
        sole(one) == sole(other) && users(one) == users(other)
    },
    copy: |to, from| {
        to.authorization.clone_from(&from.authorization);
        to.auth_timeout = from.auth_timeout;
    },
    written: None,
};

fn users(options: &Options) -> Vec<&User> {
    let users = options.authorization.users.iter();
    users
        .filter(|user| user.account == GLOBAL_ACCOUNT)
        .collect()
}

/// The keys of the block.
pub(super) static AUTHORIZATION_BLOCK: Block<Written> = Block {
    name: "authorization",
    title: "In `authorization`",
    place: "authorization",
    sections: &[Section {
        title: "",
        keys: &[
            user_key("derek", "The only user.", |it, user| {
                it.user = Some(user.to_owned());
                Ok(())
            }),
            password_key(
                "\"s3cret\"",
                "The password of that user, plain or a bcrypt hash.",
                |it, password| it.password = Some(password),
            ),
            Key {
                name: "token",
                aliases: &[],
                kind: Kind::Secret(|it, token| it.token = Some(token)),
                usual: Usual::Example("\"s3cret\""),
                doc: "A token for all clients instead, plain or a bcrypt hash.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "timeout",
                aliases: &[],
                kind: Kind::Seconds(|it, time| it.timeout = Some(time)),
                usual: Usual::Default("2"),
                doc: "Time to log in. With TLS: one second more than the handshake may take.",
                reload: Reload::WithBlock,
            },
            users_key("Several users instead.", read_users),
            default_permissions_key(
                "Permissions of those `users` that have none of their own.",
                |it, entry, problems| it.permissions = parse_permissions(&entry.node, problems),
            ),
            refused(
                "auth_callout",
                &["auth_hook"],
                never,
                unsupported!("list the users in the file"),
            ),
            refused(
                "proxy_required",
                &[],
                is_false,
                unsupported!("nobody could log in"),
            ),
        ],
    }],
};

/// Reads the block into `options`.
pub(super) fn read(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let mut written = Written::default();
    let name = "authorization";
    let Some(map) = AUTHORIZATION_BLOCK.read_node(&mut written, &entry.node, name, problems) else {
        return;
    };
    if let Some(timeout) = written.timeout {
        if timeout > HIGH_TIMEOUT
            && let Some(entry) = entry_of(map, &["timeout"])
        {
            let text = format!(
                "a timeout of {timeout:?} is high: without quotes, 1m means a million; \
                         write \"1m\""
            );
            problems.warn(&entry.position, text);
        }
        options.auth_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
    }
    let users = written.users.take();
    written.has_users = users.is_some();
    let users = users.unwrap_or_default();
    options
        .authorization
        .users
        .extend(with_permissions(users, written.permissions.as_ref()));
    options.authorization.sole = written.sole(&entry.node.position, problems);
}

fn read_users(written: &mut Written, entry: &Entry, problems: &mut Problems) {
    let users = parse_users(&entry.node, GLOBAL_ACCOUNT, problems);
    if users.is_empty() {
        problems.warn(
            &entry.position,
            "the list of users is empty: if there are no other users, clients need no login",
        );
    }
    written.users = Some(users);
}

/// The values of the block.
#[derive(Default)]
pub(super) struct Written {
    user: Option<String>,
    password: Option<Secret>,
    token: Option<Secret>,
    timeout: Option<Duration>,
    users: Option<Vec<User>>,
    has_users: bool,
    permissions: Option<Rules>,
}

impl Written {
    fn sole(self, position: &Position, problems: &mut Problems) -> Option<SoleLogin> {
        let user = self.user.filter(|name| !name.is_empty());
        let token = self.token.filter(|token| !token.is_empty());
        let clash = match (user.is_some(), token.is_some(), self.has_users) {
            (true, true, _) => Some("a user and a token"),
            (true, _, true) => Some("a user and a list of users"),
            (_, true, true) => Some("a token and a list of users"),
            _ => None,
        };
        if let Some(clash) = clash {
            problems.error(position, format!("authorization cannot have {clash}"));
            return None;
        }
        if self.permissions.is_some() && !self.has_users {
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
                if has_password && !self.has_users {
                    problems.error(
                        position,
                        "a password without a user lets no client in: add \
                                              user",
                    );
                }
                None
            }
        }
    }
}
