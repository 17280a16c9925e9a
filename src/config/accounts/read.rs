//! From the block `accounts` to definitions.

use super::{
    AccountConfig, AccountLimits, DEFAULT_SYSTEM_ACCOUNT, GLOBAL_ACCOUNT, Mapping, check,
    entry::Complaints, mapping, sharing,
};
use crate::config::{
    options::{Diagnostic, Options},
    syntax::{Entry, Map, Node, Value},
};

/// Reads the value of `accounts` into the options. What is wrong and what is
/// worth a warning is added to the lists.
pub fn read(
    options: &mut Options,
    node: &Node,
    errors: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut complaints = Complaints::default();
    options.accounts = match &node.value {
        Value::Array(names) => names
            .iter()
            .filter_map(|name| {
                let text = complaints.text(name, "an account's name")?;
                (!is_reserved(&mut complaints, name, text)).then(|| named(text))
            })
            .collect(),
        _ => match complaints.map(node, "\"accounts\"") {
            Some(map) => read_all(map, &mut complaints),
            None => Vec::new(),
        },
    };
    if complaints.errors.is_empty() {
        complaints.errors = check(&options.accounts);
    }
    errors.append(&mut complaints.errors);
    warnings.append(&mut complaints.warnings);
}

/// Reads `mappings` at the top level: those of the global account.
pub fn read_global_mappings(
    options: &mut Options,
    node: &Node,
    errors: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut complaints = Complaints::default();
    options.mappings = read_mappings(node, &mut complaints);
    errors.append(&mut complaints.errors);
    warnings.append(&mut complaints.warnings);
}

/// Checks that the system account is one of those that exist.
pub fn check_system_account(options: &Options) -> Result<(), String> {
    let name = &options.system_account;
    let known = name == DEFAULT_SYSTEM_ACCOUNT
        || options.accounts.iter().any(|account| account.name == *name);
    match known {
        true => Ok(()),
        false => Err(format!(
            "system_account {name:?} is not defined: add it to \"accounts\""
        )),
    }
}

fn read_all(map: &Map, complaints: &mut Complaints) -> Vec<AccountConfig> {
    let entries = map.entries_as_written();
    let accounts = entries.into_iter().filter(|entry| !entry.used);
    accounts
        .filter_map(|entry| read_account(entry, complaints))
        .collect()
}

fn read_account(entry: &Entry, complaints: &mut Complaints) -> Option<AccountConfig> {
    if is_reserved(complaints, &entry.node, &entry.key) {
        return None;
    }
    let place = format!("account {:?}", entry.key);
    let map = complaints.map(&entry.node, &place)?;
    let mut account = named(&entry.key);
    for entry in map.entries_as_written() {
        let node = &entry.node;
        match &*entry.key.to_ascii_lowercase() {
            "users" => {}
            "limits" => account.limits = read_limits(node, complaints),
            "exports" => account.exports = sharing::read_exports(node, complaints),
            "imports" => account.imports = sharing::read_imports(node, complaints),
            "mappings" | "maps" => account.mappings = read_mappings(node, complaints),
            "jetstream" => complaints.warn(
                &entry.position,
                "\"jetstream\" has no effect: streams are not served",
            ),
            "nkey" | "msg_trace" | "trace_dest" => complaints.error(
                &entry.position,
                format!(
                    "{:?} of an account is not supported by this version of midge",
                    entry.key
                ),
            ),
            _ => complaints.unknown(entry, &place),
        }
    }
    Some(account)
}

fn named(name: &str) -> AccountConfig {
    AccountConfig {
        name: name.to_owned(),
        ..AccountConfig::default()
    }
}

fn is_reserved(complaints: &mut Complaints, node: &Node, name: &str) -> bool {
    if name != GLOBAL_ACCOUNT {
        return false;
    }
    let text = format!("{name:?} is the account of clients without one; choose another name");
    complaints.error(&node.position, text);
    true
}

fn read_limits(node: &Node, complaints: &mut Complaints) -> AccountLimits {
    let mut limits = AccountLimits::default();
    let Some(map) = complaints.map(node, "\"limits\"") else {
        return limits;
    };
    for entry in map.entries_as_written() {
        let name = entry.key.to_ascii_lowercase();
        let limit = match &*name {
            "max_connections" | "max_conn" => &mut limits.max_connections,
            "max_subscriptions" | "max_subs" => &mut limits.max_subscriptions,
            "max_payload" | "max_pay" => &mut limits.max_payload,
            "max_leafnodes" | "max_leafs" => {
                complaints.warn(&entry.position, format!("{name:?} has no effect: leafnodes are not served"));
                continue;
            }
            _ => {
                complaints.unknown(entry, "\"limits\"");
                continue;
            }
        };
        // Negative is unlimited, nought allows nothing.
        if let Some(number) = complaints.integer(&entry.node, &format!("{name:?}")) {
            *limit = usize::try_from(number).ok();
        }
    }
    limits
}

fn read_mappings(node: &Node, complaints: &mut Complaints) -> Vec<Mapping> {
    let Some(map) = complaints.map(node, "\"mappings\"") else {
        return Vec::new();
    };
    let entries = map.entries_as_written();
    let mappings = entries.into_iter().filter(|entry| !entry.used);
    mappings
        .filter_map(|entry| mapping::read(entry, complaints))
        .collect()
}
