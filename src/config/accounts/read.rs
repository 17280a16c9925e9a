//! From the block `accounts` to definitions.

use std::collections::HashSet;

use super::{
    AccountConfig, AccountLimits, DEFAULT_SYSTEM_ACCOUNT, GLOBAL_ACCOUNT, Mapping, MessageTracing,
    check,
    mapping::{self, MAPPING},
    sharing::{self, EXPORT, IMPORT},
};
use crate::{
    config::{
        options::{
            Options,
            permissions::parse_permissions,
            problems::Problems,
            table::{Block, Key, Kind, NoEffect, Reload, Section, Usual},
            unsupported::{JETSTREAM, never, no_effect},
            users::{default_permissions_key, parse_users, users_key, with_permissions},
        },
        syntax::{Entry, Map, Node, Position, Value},
    },
    protocol::{is_word, nkey::is_account_key},
    security::{permissions::Rules, users::User},
    subject::is_publishable,
};

/// Reads the value of `accounts` into the options.
pub fn read(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let node = &entry.node;
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
pub fn read_global_mappings(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    options.mappings = read_mappings(&entry.node, problems);
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

/// An account as the file has it.
pub struct WrittenAccount {
    account: AccountConfig,
    users: Vec<User>,
    default_permissions: Option<Rules>,
}

/// The keys of an account.
pub static ACCOUNT: Block<WrittenAccount> = Block {
    name: "account",
    title: "In an account",
    place: "an account",
    sections: &[Section {
        title: "",
        keys: &[
            users_key("The users of the account.", |it, entry, problems| {
                it.users = parse_users(&entry.node, &it.account.name, problems)
            }),
            default_permissions_key(
                "Permissions of those of its users that have none of their own.",
                |it, entry, problems| {
                    it.default_permissions = parse_permissions(&entry.node, problems)
                },
            ),
            Key {
                name: "limits",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: |it, entry, problems| {
                        LIMITS.read_node(&mut it.account.limits, &entry.node, "limits", problems);
                    },
                    blocks: &[&LIMITS],
                },
                usual: Usual::Example("{ max_connections: 100 }"),
                doc: "Limits of its connections.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "exports",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of blocks",
                    read: |it, entry, problems| {
                        it.account.exports = sharing::read_exports(&entry.node, problems)
                    },
                    blocks: &[&EXPORT],
                },
                usual: Usual::Example("[{ stream: \"a.>\" }]"),
                doc: "Streams and services that other accounts may import.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "imports",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of blocks",
                    read: |it, entry, problems| {
                        it.account.imports = sharing::read_imports(&entry.node, problems)
                    },
                    blocks: &[&IMPORT],
                },
                usual: Usual::Example("[{ stream: { account: A, subject: \"a.>\" } }]"),
                doc: "Streams and services of other accounts that it uses.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "mappings",
                aliases: &["maps"],
                kind: Kind::Structure {
                    form: "block of subjects",
                    read: |it, entry, problems| {
                        it.account.mappings = read_mappings(&entry.node, problems)
                    },
                    blocks: &[&MAPPING],
                },
                usual: Usual::Example("{ \"old.*\": \"new.$1\" }"),
                doc: "Destinations of subjects that its clients publish to.",
                reload: Reload::WithBlock,
            },
            no_effect("jetstream", &[], JETSTREAM),
            no_effect(
                "nkey",
                &[],
                NoEffect {
                    expected: "a public key of an account: A and 55 more characters",
                    accepts: |value| matches!(value, Value::String(text) if is_account_key(text)),
                    asks_for_nothing: never,
                    reason: "operator mode (JWT) is not served",
                },
            ),
            Key {
                name: "msg_trace",
                aliases: &["trace_dest"],
                kind: Kind::Structure {
                    form: "subject or block",
                    read: |it, entry, problems| it.account.tracing = read_tracing(entry, problems),
                    blocks: &[&TRACING],
                },
                usual: Usual::Example("{ dest: \"traces\", sampling: \"10%\" }"),
                doc: "Traces messages of its clients that have a header `traceparent` with the flag \"sampled\": where the trace events are published.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// The keys of `limits`.
static LIMITS: Block<AccountLimits> = Block {
    name: "limits",
    title: "In `limits` of an account",
    place: "limits",
    sections: &[Section {
        title: "",
        keys: &[
            limit(
                "max_connections",
                &["max_conn"],
                "Connections of clients; negative is unlimited, 0 allows none.",
                |limits, number| limits.max_connections = usize::try_from(number).ok(),
            ),
            limit(
                "max_subscriptions",
                &["max_subs"],
                "Subscriptions of one connection; negative is unlimited, 0 allows none.",
                |limits, number| limits.max_subscriptions = usize::try_from(number).ok(),
            ),
            limit(
                "max_payload",
                &["max_pay"],
                "Bytes of one message; negative is unlimited.",
                |limits, number| limits.max_payload = usize::try_from(number).ok(),
            ),
            limit(
                "max_leafnodes",
                &["max_leafs"],
                "Leafnode connections to this broker; negative is unlimited, 0 allows none.",
                |limits, number| limits.max_leafs = usize::try_from(number).ok(),
            ),
        ],
    }],
};

/// Negative is unlimited, zero allows nothing.
const fn limit(
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
    set: fn(&mut AccountLimits, i64),
) -> Key<AccountLimits> {
    Key {
        name,
        aliases,
        kind: Kind::Integer(i64::MIN..=i64::MAX, set),
        usual: Usual::Default("-1"),
        doc,
        reload: Reload::WithBlock,
    }
}

/// `msg_trace` as the file has it.
#[derive(Default)]
struct WrittenTracing {
    dest: Option<String>,
    sampling: Option<u8>,
}

/// The keys of `msg_trace`.
static TRACING: Block<WrittenTracing> = Block {
    name: "msg_trace",
    title: "In `msg_trace` of an account",
    place: "msg_trace",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "dest",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.dest = Some(trace_dest(text)?);
                    Ok(())
                }),
                usual: Usual::Example("\"traces\""),
                doc: "The subject of the trace events.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "sampling",
                aliases: &[],
                kind: Kind::Structure {
                    form: "percentage",
                    read: |it, entry, problems| {
                        let sampling = sampling_of(&entry.node.value);
                        it.sampling = problems.noted(&entry.node.position, sampling);
                    },
                    blocks: &[],
                },
                usual: Usual::Default("\"100%\""),
                doc: "How many of these messages are traced, 1 to 100 percent.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

fn read_tracing(entry: &Entry, problems: &mut Problems) -> Option<MessageTracing> {
    let mut written = WrittenTracing::default();
    match &entry.node.value {
        Value::String(text) => {
            written.dest = problems.noted(&entry.node.position, trace_dest(text));
        }
        _ => {
            TRACING.read_node(&mut written, &entry.node, &entry.key, problems)?;
            if written.dest.is_none() && written.sampling.is_some() {
                let why = "\"sampling\" has no effect without \"dest\", the subject of the events";
                problems.warn(&entry.position, why);
            }
        }
    }
    Some(MessageTracing {
        dest: written.dest?,
        sampling: written.sampling.unwrap_or(100),
    })
}

fn trace_dest(text: &str) -> Result<String, String> {
    match is_publishable(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not a subject that can be published to"
        )),
    }
}

fn sampling_of(value: &Value) -> Result<u8, String> {
    let percent = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => text.trim_end_matches('%').parse().ok(),
        _ => None,
    };
    percent
        .and_then(|percent| u8::try_from(percent).ok())
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| "\"sampling\" must be a percentage from 1 to 100".to_owned())
}

fn read_account(
    entry: &Entry,
    users: &mut Vec<User>,
    problems: &mut Problems,
) -> Option<AccountConfig> {
    if !is_usable(problems, &entry.position, &entry.key) {
        return None;
    }
    let mut written = WrittenAccount {
        account: named(&entry.key),
        users: Vec::new(),
        default_permissions: None,
    };
    ACCOUNT.read_node(&mut written, &entry.node, &entry.key, problems)?;
    let default = written.default_permissions.as_ref();
    users.extend(with_permissions(written.users, default));
    Some(written.account)
}

fn named(name: &str) -> AccountConfig {
    AccountConfig {
        name: name.to_owned(),
        ..AccountConfig::default()
    }
}

/// Whether an account may have this name, which is used in the protocol lines of routes and
/// in subjects of the system account.
fn is_usable(problems: &mut Problems, position: &Position, name: &str) -> bool {
    let why = if name == GLOBAL_ACCOUNT {
        "is the account of all clients without one"
    } else if is_word(name) {
        return true;
    } else {
        "cannot be the name of an account: it must not be empty or contain blanks or control \
         characters"
    };
    problems.error(position, format!("{name:?} {why}; choose another name"));
    false
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
