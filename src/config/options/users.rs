//! Lists of users, in `authorization` and in accounts.

use super::block::Problems;
use crate::{
    config::syntax::{Entry, Map, Node},
    security::{
        secret::Secret,
        users::{ConnectionType, Proof, User},
    },
};

/// Reads `users = [ { user, password, … } … ]`: the users of one account. What
/// is wrong is noted in `problems`; a user with an error is left out.
pub fn parse_users(list: &Node, account: &str, problems: &mut Problems) -> Vec<User> {
    let items = problems.list(list, "users").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| {
            let map = problems.map(item, "user")?;
            parse_user(item, map, account, problems)
        })
        .collect()
}

fn parse_user(node: &Node, map: &Map, account: &str, problems: &mut Problems) -> Option<User> {
    let mut name = None;
    let mut password = None;
    let mut connection_types = Vec::new();
    let errors_before = problems.errors.len();
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "user" | "username" => name = problems.text(entry),
            "pass" | "password" => password = parse_secret(entry, problems),
            "allowed_connection_types" | "connection_types" | "clients" => {
                connection_types = parse_connection_types(entry, problems);
            }
            "proxy_required" => {
                if problems.boolean(entry) == Some(true) {
                    problems.error(
                        &entry.position,
                        "\"proxy_required\" is not supported by this version of midge: nobody \
                         could log in as this user",
                    );
                }
            }
            _ => problems.unknown_key(entry, "a user"),
        }
    }
    if errors_before < problems.errors.len() {
        return None;
    }
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        problems.error(&node.position, "a user needs a name: write user: \"…\"");
        return None;
    };
    Some(User {
        name: name.to_owned(),
        proof: Proof::Password(password.unwrap_or_default()),
        account: account.to_owned(),
        connection_types,
    })
}

/// A password or token.
pub(super) fn parse_secret(entry: &Entry, problems: &mut Problems) -> Option<Secret> {
    let text = problems.text(entry)?;
    let secret = Secret::new(text).map_err(|why| format!("{:?} {why}", entry.key));
    problems.noted(&entry.position, secret)
}

fn parse_connection_types(entry: &Entry, problems: &mut Problems) -> Vec<ConnectionType> {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    texts
        .into_iter()
        .filter_map(|(text, position)| {
            let found = ConnectionType::from_name(text);
            problems.noted(
                position,
                found.ok_or_else(|| {
                    format!(
                        "unknown connection type {text:?}; known are STANDARD, WEBSOCKET, \
                         LEAFNODE, LEAFNODE_WS, MQTT, MQTT_WS, IN_PROCESS"
                    )
                }),
            )
        })
        .collect()
}
