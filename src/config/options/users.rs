//! Lists of users, in `authorization` and in accounts.

use super::{
    permissions::{PERMISSIONS, parse_permissions},
    problems::Problems,
    table::{Block, Described, Key, Kind, Read, Reload, Section, Usual},
    unsupported::{is_false, refused, unsupported},
};
use crate::{
    config::syntax::{Entry, Node},
    protocol::nkey::UserKey,
    security::{
        certname_pattern::CertnamePattern,
        permissions::Rules,
        secret::Secret,
        sources::Network,
        users::{ConnectionType, Proof, User},
    },
};

/// A user as the file has it.
#[derive(Default)]
pub(in crate::config) struct Written {
    name: Option<String>,
    nkey: Option<(String, UserKey)>,
    certificate: Option<CertnamePattern>,
    password: Option<Secret>,
    connection_types: Vec<ConnectionType>,
    sources: Vec<Network>,
    permissions: Option<Rules>,
}

// A function cannot take a reference to a static by itself.
const USER_BLOCK: &[&dyn Described] = &[&USER];
const PERMISSIONS_BLOCK: &[&dyn Described] = &[&PERMISSIONS];

/// The row of the name in a login, in whichever block that is.
pub(in crate::config) const fn user_key<T>(
    example: &'static str,
    doc: &'static str,
    set: fn(&mut T, &str) -> Result<(), String>,
) -> Key<T> {
    Key {
        name: "user",
        aliases: &["username"],
        kind: Kind::Text(set),
        usual: Usual::Example(example),
        doc,
        reload: Reload::WithBlock,
    }
}

/// The row of the password in a login.
pub(in crate::config) const fn password_key<T>(
    example: &'static str,
    doc: &'static str,
    set: fn(&mut T, Secret),
) -> Key<T> {
    Key {
        name: "password",
        aliases: &["pass"],
        kind: Kind::Secret(set),
        usual: Usual::Example(example),
        doc,
        reload: Reload::WithBlock,
    }
}

/// The row of a list of users.
pub(in crate::config) const fn users_key<T>(doc: &'static str, read: Read<T>) -> Key<T> {
    Key {
        name: "users",
        aliases: &[],
        kind: Kind::Structure {
            form: "list of blocks",
            read,
            blocks: USER_BLOCK,
        },
        usual: Usual::Example("[{ user: derek, password: \"s3cret\" }]"),
        doc,
        reload: Reload::WithBlock,
    }
}

/// The row of the permissions of those users in a list that have none of their own.
pub(in crate::config) const fn default_permissions_key<T>(
    doc: &'static str,
    read: Read<T>,
) -> Key<T> {
    Key {
        name: "default_permissions",
        aliases: &["default_permission", "permissions"],
        ..permissions_key(doc, read)
    }
}

const fn permissions_key<T>(doc: &'static str, read: Read<T>) -> Key<T> {
    Key {
        name: "permissions",
        aliases: &["permission", "authorization"],
        kind: Kind::Structure {
            form: "block",
            read,
            blocks: PERMISSIONS_BLOCK,
        },
        usual: Usual::Example("{ publish: \"a.>\", subscribe: \"b.>\" }"),
        doc,
        reload: Reload::WithBlock,
    }
}

/// The keys of a user.
pub(in crate::config) static USER: Block<Written> = Block {
    name: "user",
    title: "In an item of `users`",
    place: "a user",
    sections: &[Section {
        title: "",
        keys: &[
            user_key("derek", "The name.", |it, name| {
                it.name = Some(name.to_owned());
                Ok(())
            }),
            password_key(
                "\"s3cret\"",
                "The password, plain or a bcrypt hash.",
                |it, password| it.password = Some(password),
            ),
            Key {
                name: "nkey",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    if !text.is_empty() {
                        let key = UserKey::parse(text)
                            .map_err(|why| format!("the value of \"nkey\" {why}"))?;
                        it.nkey = Some((text.to_owned(), key));
                    }
                    Ok(())
                }),
                usual: Usual::Example("UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6"),
                doc: "A public key in place of name and password; the client signs with the private one.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "certificate",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    let pattern = CertnamePattern::parse(text);
                    it.certificate =
                        Some(pattern.map_err(|why| format!("the value of \"certificate\" {why}"))?);
                    Ok(())
                }),
                usual: Usual::Example("\"*.example.net\""),
                doc: "A certname in place of name and password, or a pattern: `*` is one or more characters. The user of all clients without credentials whose certificate has such a common name; of several patterns the one that names most characters counts.",
                reload: Reload::WithBlock,
            },
            permissions_key(
                "What the user may do; everything if there are neither these nor default permissions.",
                |it, entry, problems| it.permissions = parse_permissions(&entry.node, problems),
            ),
            Key {
                name: "allowed_connection_types",
                aliases: &["connection_types", "clients"],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: read_connection_types,
                    blocks: &[],
                },
                usual: Usual::Example("[STANDARD]"),
                doc: "Kinds of connections that the user may use; all if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "allowed_sources",
                aliases: &[],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: |it, entry, problems| {
                        let nobody = "nobody could log in as this user";
                        it.sources = read_sources(entry, nobody, problems);
                    },
                    blocks: &[],
                },
                usual: Usual::Example("[\"192.0.2.7\", \"2001:db8::/32\"]"),
                doc: "Addresses and networks that the user may log in from; all if not set.",
                reload: Reload::WithBlock,
            },
            refused(
                "proxy_required",
                &[],
                is_false,
                unsupported!("nobody could log in as this user"),
            ),
        ],
    }],
};

/// Reads `users = [ { user, password, … } … ]`: the users of one account. What
/// is wrong is noted in `problems`; a user with an error is left out.
pub(in crate::config) fn parse_users(
    list: &Node,
    account: &str,
    problems: &mut Problems,
) -> Vec<User> {
    let items = problems.list(list, "users").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| {
            let written = problems.unless_wrong(|problems| {
                let mut written = Written::default();
                USER.read_node(&mut written, item, "user", problems);
                written
            })?;
            problems.noted(&item.position, user(written, account))
        })
        .collect()
}

/// Users without permissions of their own get the default ones.
pub(in crate::config) fn with_permissions(
    users: Vec<User>,
    default: Option<&Rules>,
) -> impl Iterator<Item = User> {
    users.into_iter().map(move |user| User {
        permissions: user.permissions.or_else(|| default.cloned()),
        ..user
    })
}

fn user(written: Written, account: &str) -> Result<User, String> {
    let name = written.name.filter(|name| !name.is_empty());
    let has_credentials = name.is_some() || written.password.is_some() || written.nkey.is_some();
    let (name, proof) = match (name, written.nkey, written.certificate) {
        (_, _, Some(_)) if has_credentials => {
            return Err(
                "a user with a certificate has neither a name nor a password nor an nkey".into(),
            );
        }
        (_, _, Some(pattern)) => (pattern.text().to_owned(), Proof::Certificate(pattern)),
        (None, Some((text, key)), None) if written.password.is_none() => (text, Proof::Key(key)),
        (_, Some(_), None) => {
            return Err("a user with an nkey has neither a name nor a password".into());
        }
        (Some(name), None, None) => (name, Proof::Password(written.password.unwrap_or_default())),
        (None, None, None) => {
            return Err(
                "a user needs a name: write user: \"…\", nkey: \"U…\" or certificate: \"…\"".into(),
            );
        }
    };
    Ok(User {
        name,
        proof,
        account: account.to_owned(),
        connection_types: written.connection_types,
        sources: written.sources,
        permissions: written.permissions,
    })
}

/// Reads addresses and networks. `nobody` is what an empty list would mean, as a sentence.
pub(in crate::config) fn read_sources(
    entry: &Entry,
    nobody: &str,
    problems: &mut Problems,
) -> Vec<Network> {
    let Some(texts) = problems.texts(&entry.node, &entry.key) else {
        return Vec::new();
    };
    if texts.is_empty() {
        // Whoever writes an empty list does not mean that everybody is let in.
        let text = format!("{}: {nobody}", entry.key);
        problems.error(&entry.node.position, text);
    }
    let networks = texts
        .into_iter()
        .filter_map(|(text, position)| problems.noted(position, Network::parse(text)));
    networks.collect()
}

fn read_connection_types(written: &mut Written, entry: &Entry, problems: &mut Problems) {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    let types = texts.into_iter().filter_map(|(text, position)| {
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
    });
    written.connection_types = types.collect();
}
