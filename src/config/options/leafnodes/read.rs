//! From the entries of `leafnodes` to its options: the readers of keys with rules of their own, and
//! the rules over more than one key.

use std::time::Duration;

use super::{
    LeafnodesOptions,
    keys::{AUTHORIZATION, LEAFNODES, USER},
};
use crate::{
    config::{
        options::{
            Options,
            problems::{Problems, wrong_type},
            tls::read_block,
        },
        syntax::{Entry, Value},
    },
    protocol::nkey::UserKey,
    security::{
        secret::Secret,
        users::{GLOBAL_ACCOUNT, Proof, User},
    },
};

/// Users of one block.
const USERS_MAX: usize = 1024;

const NOT_COMPRESSED: &str =
    "leafnode connections are not compressed; midge agrees on that with every peer";

/// The values of `authorization`.
#[derive(Default)]
pub(in crate::config) struct Written {
    pub(super) one: WrittenUser,
    pub(super) timeout: Option<Duration>,
    users: Vec<User>,
}

/// A user as the file has it.
#[derive(Default)]
pub(in crate::config) struct WrittenUser {
    pub(super) name: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) nkey: Option<(String, UserKey)>,
    pub(super) account: Option<String>,
}

impl WrittenUser {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.password.is_none() && self.nkey.is_none()
    }

    fn into_user(self) -> Result<User, String> {
        let name = self.name.filter(|name| !name.is_empty());
        let (name, proof) = match (name, self.nkey) {
            (None, Some((text, key))) if self.password.is_none() => (text, Proof::Key(key)),
            (_, Some(_)) => {
                return Err("a user with an nkey has neither a name nor a password".into());
            }
            (Some(name), None) => (name, Proof::Password(self.password.unwrap_or_default())),
            (None, None) => {
                return Err("a user needs a name: write user: \"…\" or nkey: \"U…\"".into());
            }
        };
        let account = self.account.filter(|name| !name.is_empty());
        Ok(User {
            name,
            proof,
            account: account.unwrap_or_else(|| GLOBAL_ACCOUNT.to_owned()),
            connection_types: Vec::new(),
            sources: Vec::new(),
            permissions: None,
        })
    }
}

/// Reads the block.
pub(in crate::config::options) fn read(
    options: &mut Options,
    entry: &Entry,
    problems: &mut Problems,
) {
    let mut leafnodes = LeafnodesOptions::default();
    let block = LEAFNODES.read_node(&mut leafnodes, &entry.node, "leafnodes", problems);
    if block.is_some() {
        options.leafnodes = Some(leafnodes);
    }
}

/// Rules over more than this block: the accounts of its users are there.
///
/// # Errors
///
/// What is wrong.
pub(in crate::config::options) fn check(options: &Options) -> Result<(), String> {
    let is_defined = |name: &str| {
        let is_system = !options.no_system_account && *name == options.system_account;
        name == GLOBAL_ACCOUNT
            || is_system
            || options.accounts.iter().any(|account| account.name == *name)
    };
    if let Some(block) = &options.leafnodes {
        if let Some(user) = block.users.iter().find(|it| !is_defined(&it.account)) {
            let name = &user.account;
            return Err(format!(
                "the account {name:?} of a user of \"leafnodes\" is not in \"accounts\""
            ));
        }
        if let Some(remote) = block.remotes.iter().find(|it| !is_defined(&it.account)) {
            let name = &remote.account;
            return Err(format!(
                "the account {name:?} of a remote of \"leafnodes\" is not in \"accounts\""
            ));
        }
    }
    Ok(())
}

pub(super) fn read_authorization(
    leafnodes: &mut LeafnodesOptions,
    entry: &Entry,
    problems: &mut Problems,
) {
    let mut written = Written::default();
    let node = &entry.node;
    let block = AUTHORIZATION.read_node(&mut written, node, &entry.key, problems);
    if block.is_none() {
        return;
    }
    let timeout = written.timeout.filter(|timeout| !timeout.is_zero());
    leafnodes.auth_timeout = timeout;
    let Written { one, mut users, .. } = written;
    if !one.is_empty() {
        if !users.is_empty() {
            let text = "authorization cannot have a user and a list of users";
            return problems.error(&entry.position, text);
        }
        users.extend(problems.noted(&entry.position, one.into_user()));
    }
    let mut names: Vec<&str> = users.iter().map(|user| &*user.name).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let text = format!("the user {name:?} of leafnodes is written twice");
        problems.error(&entry.position, text);
    }
    leafnodes.users = users;
}

pub(super) fn read_users(written: &mut Written, entry: &Entry, problems: &mut Problems) {
    let items = problems.list(&entry.node, "users").unwrap_or_default();
    if items.len() > USERS_MAX {
        let text = format!("\"users\" of leafnodes has more than {USERS_MAX} items");
        return problems.error(&entry.position, text);
    }
    for item in items {
        let user = problems.unless_wrong(|problems| {
            let mut user = WrittenUser::default();
            USER.read_node(&mut user, item, "user", problems);
            user
        });
        if let Some(user) = user {
            let user = problems.noted(&item.position, user.into_user());
            written.users.extend(user);
        }
    }
}

pub(super) fn read_tls(leafnodes: &mut LeafnodesOptions, entry: &Entry, problems: &mut Problems) {
    let node = &entry.node;
    let map = problems.map(node, "tls");
    leafnodes.tls = map.map(|map| read_block(map, &node.position, problems));
}

/// Compression is not served, whatever its settings are.
pub(super) fn read_compression_of(entry: &Entry, problems: &mut Problems) {
    match &entry.node.value {
        Value::Bool(false) => {}
        Value::String(mode) if matches!(&**mode, "off" | "disabled" | "accept") => {}
        Value::Bool(_) | Value::Map(_) | Value::String(_) => {
            problems.warn(&entry.position, NOT_COMPRESSED);
        }
        other => {
            let text = wrong_type(&entry.key, "a boolean, a mode or a block", other);
            problems.error(&entry.position, text);
        }
    }
}
