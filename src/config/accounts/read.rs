//! From the block `accounts` to definitions.

use std::collections::HashSet;

use super::{
    AccountConfig, AccountLimits, DEFAULT_SYSTEM_ACCOUNT, GLOBAL_ACCOUNT, Mapping, check, mapping,
    sharing,
};
use crate::{
    config::{
        options::{
            Options,
            block::Problems,
            unsupported::{is_jetstream, is_jetstream_off},
            users::{DEFAULT_PERMISSIONS, parse_default_permissions, parse_users},
        },
        syntax::{Entry, Map, Node, Position, Value},
    },
    protocol::{is_word, nkey::is_account_key},
    security::users::User,
    subject::is_valid,
};

/// Reads the value of `accounts` into the options.
pub fn read(options: &mut Options, node: &Node, problems: &mut Problems) {
    let before = problems.errors.len();
    options.accounts = match &node.value {
        Value::Array(_) => {
            let names = problems.texts(node, "accounts").unwrap_or_default();
            let mut seen = HashSet::new();
            for (name, position) in &names {
                if !seen.insert(*name) {
                    problems.error(position, format!("the account {name:?} is written twice"));
                }
            }
            names
                .into_iter()
                .filter(|(name, position)| is_usable(problems, position, name))
                .map(|(name, _)| named(name))
                .collect()
        }
        _ => match problems.map(node, "accounts") {
            Some(map) => read_all(map, &mut options.authorization.users, problems),
            None => Vec::new(),
        },
    };
    if problems.errors.len() == before {
        check(&options.accounts, problems);
    }
}

/// Reads `mappings` at the top level: those of the global account.
pub fn read_global_mappings(options: &mut Options, node: &Node, problems: &mut Problems) {
    options.mappings = read_mappings(node, problems);
}

/// Checks that the system account is one of those that exist.
pub fn check_system_account(options: &Options) -> Result<(), String> {
    let name = &options.system_account;
    let known = name == DEFAULT_SYSTEM_ACCOUNT
        || options.accounts.iter().any(|account| account.name == *name);
    match known {
        true => Ok(()),
        false if is_account_key(name) => Err(format!(
            "system_account {name:?} is the key of an account, and operator mode (JWT) is not \
             served: write the name of one in \"accounts\""
        )),
        false => Err(format!(
            "system_account {name:?} is not defined: add it to \"accounts\""
        )),
    }
}

fn read_all(map: &Map, users: &mut Vec<User>, problems: &mut Problems) -> Vec<AccountConfig> {
    let entries = map.entries_as_written();
    let accounts = entries.into_iter().filter(|entry| !entry.used);
    accounts
        .filter_map(|entry| read_account(entry, users, problems))
        .collect()
}

fn read_account(
    entry: &Entry,
    users: &mut Vec<User>,
    problems: &mut Problems,
) -> Option<AccountConfig> {
    if !is_usable(problems, &entry.position, &entry.key) {
        return None;
    }
    let place = format!("account {:?}", entry.key);
    let map = problems.map(&entry.node, &entry.key)?;
    let mut account = named(&entry.key);
    let default_permissions = parse_default_permissions(map, problems);
    for entry in map.entries_as_written() {
        let node = &entry.node;
        match &*entry.key.to_ascii_lowercase() {
            "users" => users.extend(parse_users(
                node,
                &account.name,
                default_permissions.as_ref(),
                problems,
            )),
            key if DEFAULT_PERMISSIONS.contains(&key) => {}
            "limits" => account.limits = read_limits(node, problems),
            "exports" => account.exports = sharing::read_exports(node, problems),
            "imports" => account.imports = sharing::read_imports(node, problems),
            "mappings" | "maps" => account.mappings = read_mappings(node, problems),
            "jetstream" if is_jetstream(&node.value) => {
                if !is_jetstream_off(&node.value) {
                    let text = "\"jetstream\" has no effect: streams are not served";
                    problems.warn(&entry.position, text);
                }
            }
            "jetstream" => problems.error(
                &entry.position,
                "\"jetstream\" must be a boolean, a block or \"enabled\"",
            ),
            "nkey" => read_account_key(entry, problems),
            "msg_trace" | "trace_dest" => {
                let is_asked = match &node.value {
                    Value::String(text) => is_valid(text.as_bytes()),
                    Value::Map(_) => true,
                    _ => false,
                };
                let text = format!("{:?} must be a subject or a block", entry.key);
                match is_asked {
                    true => {
                        let why = "messages are not traced on their way";
                        let text = format!("{:?} has no effect: {why}", entry.key);
                        problems.warn(&entry.position, text);
                    }
                    false => problems.error(&entry.position, text),
                }
            }
            _ => problems.unknown_key(entry, &place),
        }
    }
    Some(account)
}

/// The public key of an account means something in operator mode alone.
fn read_account_key(entry: &Entry, problems: &mut Problems) {
    let Some(text) = problems.text(entry) else {
        return;
    };
    match is_account_key(text) {
        true => problems.warn(
            &entry.position,
            "\"nkey\" of an account has no effect: operator mode (JWT) is not served",
        ),
        false => problems.error(
            &entry.position,
            "\"nkey\" of an account must be its public key: A and 55 more characters",
        ),
    }
}

fn named(name: &str) -> AccountConfig {
    AccountConfig {
        name: name.to_owned(),
        ..AccountConfig::default()
    }
}

/// Whether an account may have this name, which stands in the lines of routes and
/// in subjects of the system account.
fn is_usable(problems: &mut Problems, position: &Position, name: &str) -> bool {
    let why = if name == GLOBAL_ACCOUNT {
        "is the account of clients without one"
    } else if is_word(name) {
        return true;
    } else {
        "cannot be the name of an account: it must not be empty or contain blanks or control \
         characters"
    };
    problems.error(position, format!("{name:?} {why}; choose another name"));
    false
}

fn read_limits(node: &Node, problems: &mut Problems) -> AccountLimits {
    let mut limits = AccountLimits::default();
    let Some(map) = problems.map(node, "limits") else {
        return limits;
    };
    for entry in map.entries_as_written() {
        let name = entry.key.to_ascii_lowercase();
        let limit = match &*name {
            "max_connections" | "max_conn" => &mut limits.max_connections,
            "max_subscriptions" | "max_subs" => &mut limits.max_subscriptions,
            "max_payload" | "max_pay" => &mut limits.max_payload,
            "max_leafnodes" | "max_leafs" => {
                if problems.integer(entry).is_some() {
                    let text = format!("{name:?} has no effect: leafnodes are not served");
                    problems.warn(&entry.position, text);
                }
                continue;
            }
            _ => {
                problems.unknown_key(entry, "limits");
                continue;
            }
        };
        // Negative is unlimited, nought allows nothing.
        if let Some(number) = problems.integer(entry) {
            *limit = usize::try_from(number).ok();
        }
    }
    limits
}

fn read_mappings(node: &Node, problems: &mut Problems) -> Vec<Mapping> {
    let Some(map) = problems.map(node, "mappings") else {
        return Vec::new();
    };
    let entries = map.entries_as_written();
    let mappings = entries.into_iter().filter(|entry| !entry.used);
    mappings
        .filter_map(|entry| mapping::read(entry, problems))
        .collect()
}
