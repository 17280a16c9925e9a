//! Lists of users, in `authorization` and in accounts.

use super::{block::Problems, permissions::parse_permissions};
use crate::{
    config::syntax::{Entry, Map, Node},
    protocol::nkey::UserKey,
    security::{
        permissions::Rules,
        secret::Secret,
        users::{ConnectionType, Proof, User},
    },
};

/// Names of the permissions of users that have none of their own.
pub const DEFAULT_PERMISSIONS: &[&str] =
    &["default_permission", "default_permissions", "permissions"];

/// Reads them from the block that the users stand in, wherever they stand there.
pub fn parse_default_permissions(map: &Map, problems: &mut Problems) -> Option<Rules> {
    map.entries_as_written().into_iter().find_map(|entry| {
        let is_default = DEFAULT_PERMISSIONS.contains(&&*entry.key.to_ascii_lowercase());
        is_default.then(|| parse_permissions(&entry.node, problems))?
    })
}

/// Reads `users = [ { user, password, … } … ]`: the users of one account. What
/// is wrong is noted in `problems`; a user with an error is left out. Users without
/// permissions of their own get the default ones.
pub fn parse_users(
    list: &Node,
    account: &str,
    default_permissions: Option<&Rules>,
    problems: &mut Problems,
) -> Vec<User> {
    let items = problems.list(list, "users").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| {
            let map = problems.map(item, "user")?;
            let user = parse_user(item, map, account, problems)?;
            Some(User {
                permissions: user.permissions.or_else(|| default_permissions.cloned()),
                ..user
            })
        })
        .collect()
}

fn parse_user(node: &Node, map: &Map, account: &str, problems: &mut Problems) -> Option<User> {
    let mut name = None;
    let mut nkey = None;
    let mut password = None;
    let mut connection_types = Vec::new();
    let mut permissions = None;
    let errors_before = problems.errors.len();
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "user" | "username" => name = problems.text(entry),
            "nkey" => nkey = parse_nkey(entry, problems),
            "pass" | "password" => password = parse_secret(entry, problems),
            "allowed_connection_types" | "connection_types" | "clients" => {
                connection_types = parse_connection_types(entry, problems);
            }
            "permission" | "permissions" | "authorization" => {
                permissions = parse_permissions(&entry.node, problems);
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
    let name = name.filter(|name| !name.is_empty());
    let (name, proof) = match (name, nkey) {
        (None, Some((text, key))) if password.is_none() => (text, Proof::Key(key)),
        (_, Some(_)) => {
            let text = "a user with an nkey has neither a name nor a password";
            problems.error(&node.position, text);
            return None;
        }
        (Some(name), None) => (name, Proof::Password(password.unwrap_or_default())),
        (None, None) => {
            let text = "a user needs a name: write user: \"…\", or nkey: \"U…\"";
            problems.error(&node.position, text);
            return None;
        }
    };
    Some(User {
        name: name.to_owned(),
        proof,
        account: account.to_owned(),
        connection_types,
        permissions,
    })
}

/// The public key of a user, and its text.
fn parse_nkey<'a>(entry: &'a Entry, problems: &mut Problems) -> Option<(&'a str, UserKey)> {
    let text = problems.text(entry).filter(|text| !text.is_empty())?;
    let key = UserKey::parse(text).map_err(|why| format!("the value of \"nkey\" {why}"));
    Some((text, problems.noted(&entry.position, key)?))
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
