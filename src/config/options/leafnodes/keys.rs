//! The tables of the keys in `leafnodes`.

use std::time::Duration;

use super::{
    LeafnodesOptions, Version,
    read::{Written, WrittenUser, read_authorization, read_compression_of, read_tls, read_users},
    remotes::{REMOTE, read_remotes},
    same_remotes,
};
use crate::{
    config::options::{
        advertise,
        cluster::listen_port,
        reading::PORTS,
        table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual, field},
        tls::TLS_BLOCK,
        unsupported::{WRITE_TIMEOUT, is_false, no_effect, refused, unsupported},
        users::{password_key, user_key},
    },
    protocol::nkey::UserKey,
};

/// The keys of the block.
pub(in crate::config) static LEAFNODES: Block<LeafnodesOptions> = Block {
    name: "leafnodes",
    title: "In `leafnodes`",
    place: "\"leafnodes\"",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "listen",
                aliases: &[],
                kind: Kind::Address(|leafnodes, host, port| {
                    if let Some(host) = host.filter(|host| !host.is_empty()) {
                        leafnodes.host = host;
                    }
                    leafnodes.port = listen_port(port);
                }),
                usual: Usual::Example("\"0.0.0.0:7422\""),
                doc: "Address that leafnodes connect to: PORT or HOST:PORT, in place of `host` and \
                      `port`. Without a port no leafnodes are served.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "host",
                aliases: &["net"],
                kind: Kind::Text(|leafnodes, text| {
                    leafnodes.host = text.to_owned();
                    Ok(())
                }),
                usual: Usual::Default("\"0.0.0.0\""),
                doc: "Address on which the port for leafnodes listens.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "port",
                aliases: &[],
                kind: Kind::Integer(PORTS, |leafnodes, port| leafnodes.port = listen_port(port)),
                usual: Usual::Example("7422"),
                doc: "Port that leafnodes connect to; -1 is any free one, 0 serves none.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "authorization",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: read_authorization,
                    blocks: &[&AUTHORIZATION],
                },
                usual: Usual::Example("{ user: site, password: \"CHANGE-ME\", account: SITES }"),
                doc: "The login of leafnodes. Without users in it they log in as users of clients: \
                      they are in the account of their user, with its permissions.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "tls",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: read_tls,
                    blocks: &[&TLS_BLOCK],
                },
                usual: Usual::Example("{ puppet: true }"),
                doc: "TLS of the port for leafnodes.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "advertise",
                aliases: &[],
                kind: Kind::Text(|leafnodes, text| {
                    leafnodes.advertise = advertise::read(text)?;
                    Ok(())
                }),
                usual: Usual::Example("\"nats1.example.net:7422\""),
                doc: "HOST or HOST:PORT that leafnodes should dial, if they cannot reach the address \
                      that the port listens on.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "no_advertise",
                aliases: &[],
                kind: Kind::Bool(|leafnodes, value| leafnodes.no_advertise = value),
                usual: Usual::Default("false"),
                doc: "`true`: do not announce the address of the port to leafnodes.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "min_version",
                aliases: &["minimum_version"],
                kind: Kind::Text(|leafnodes, text| {
                    let version = Version::parse(text);
                    if version.is_none() && !text.is_empty() {
                        return Err(format!("\"min_version\" is no version: {text:?}"));
                    }
                    leafnodes.min_version = version;
                    Ok(())
                }),
                usual: Usual::Example("\"2.10.0\""),
                doc: "The oldest version of nats-server that a leafnode may have; midge counts as the \
                      one it is compatible with.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "isolate_leafnode_interest",
                aliases: &["isolate"],
                kind: Kind::Bool(|leafnodes, value| leafnodes.isolates = value),
                usual: Usual::Default("false"),
                doc: "`true`: do not tell leafnodes what other leafnodes subscribe to, so that they \
                      exchange messages with this broker and its cluster alone.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "write_deadline",
                aliases: &[],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |leafnodes, time| {
                        leafnodes.write_deadline = Some(time).filter(|time| !time.is_zero());
                    },
                },
                usual: Usual::Example("\"10s\""),
                doc: "Time for which a leafnode may take nothing before it is closed; by default as \
                      for clients.",
                reload: Reload::WithBlock,
            },
            no_effect("write_timeout", &[], WRITE_TIMEOUT),
            Key {
                name: "compression",
                aliases: &[],
                kind: Kind::Structure {
                    form: "boolean, mode or block",
                    read: |_, entry, problems| read_compression_of(entry, problems),
                    blocks: &[],
                },
                usual: Usual::Default("\"off\""),
                doc: "leafnode connections are not compressed; midge agrees on that with every peer",
                reload: Reload::Nothing,
            },
            Key {
                name: "remotes",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of blocks",
                    read: read_remotes,
                    blocks: &[&REMOTE],
                },
                usual: Usual::Example(
                    "[{ url: \"nats-leaf://site:PASSWORD@hub.example.net:7422\", account: SITES }]",
                ),
                doc: "The hubs whose leafnode this broker is: it connects to them, and an account \
                      here joins one of theirs.",
                reload: Reload::Live(FieldAccess {
                    same: same_remotes,
                    copy: |to, from| to.remotes.clone_from(&from.remotes),
                    written: None,
                }),
            },
            Key {
                name: "reconnect",
                aliases: &["reconnect_delay", "reconnect_interval"],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |leafnodes, time| {
                        if !time.is_zero() {
                            leafnodes.reconnect = time;
                        }
                    },
                },
                usual: Usual::Default("\"1s\""),
                doc: "Pause before a hub is dialled again; after a failure up to twice as long, at \
                      random, and longer while it refuses the login.",
                reload: Reload::Live(field!(reconnect)),
            },
            Key {
                name: "dial_timeout",
                aliases: &[],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |leafnodes, time| {
                        if !time.is_zero() {
                            leafnodes.dial_timeout = time;
                        }
                    },
                },
                usual: Usual::Default("\"1s\""),
                doc: "Time for connecting to a hub.",
                reload: Reload::Live(field!(dial_timeout)),
            },
        ],
    }],
};

/// The keys of `authorization` in the block.
pub(super) static AUTHORIZATION: Block<Written> = Block {
    name: "leafnodes authorization",
    title: "In `authorization` of `leafnodes`",
    place: "authorization",
    sections: &[Section {
        title: "",
        keys: &[
            user_key(
                "site",
                "The only user that leafnodes log in as.",
                |it, user| {
                    it.one.name = Some(user.to_owned());
                    Ok(())
                },
            ),
            password_key(
                "\"CHANGE-ME\"",
                "The password of that user, plain or a bcrypt hash.",
                |it, password| it.one.password = Some(password),
            ),
            nkey_key(|it, text| it.one.set_nkey(text)),
            account_key(|it, text| {
                it.one.account = Some(text.to_owned());
                Ok(())
            }),
            Key {
                name: "timeout",
                aliases: &[],
                kind: Kind::Seconds(|it, time| it.timeout = Some(time)),
                usual: Usual::Default("2"),
                doc: "Time for a leafnode to log in. With TLS: one second more than the handshake may \
                      take.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "users",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of blocks",
                    read: read_users,
                    blocks: &[&USER],
                },
                usual: Usual::Example("[{ user: site, password: \"CHANGE-ME\", account: SITES }]"),
                doc: "Several users instead.",
                reload: Reload::WithBlock,
            },
            refused(
                "proxy_required",
                &[],
                is_false,
                unsupported!("no leafnode could log in"),
            ),
        ],
    }],
};

/// The keys of a user of leafnodes.
pub(super) static USER: Block<WrittenUser> = Block {
    name: "leafnodes user",
    title: "In an item of `users` of `leafnodes`",
    place: "a user",
    sections: &[Section {
        title: "",
        keys: &[
            user_key("site", "The name.", |it, user| {
                it.name = Some(user.to_owned());
                Ok(())
            }),
            password_key(
                "\"CHANGE-ME\"",
                "The password, plain or a bcrypt hash.",
                |it, password| it.password = Some(password),
            ),
            nkey_key(WrittenUser::set_nkey),
            account_key(|it, text| {
                it.account = Some(text.to_owned());
                Ok(())
            }),
            refused(
                "proxy_required",
                &[],
                is_false,
                unsupported!("nobody could log in as this user"),
            ),
        ],
    }],
};

const fn nkey_key<T>(set: fn(&mut T, &str) -> Result<(), String>) -> Key<T> {
    Key {
        name: "nkey",
        aliases: &[],
        kind: Kind::Text(set),
        usual: Usual::Example("UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6"),
        doc: "A public key in place of name and password; the leafnode signs with the private one.",
        reload: Reload::WithBlock,
    }
}

const fn account_key<T>(set: fn(&mut T, &str) -> Result<(), String>) -> Key<T> {
    Key {
        name: "account",
        aliases: &["acc"],
        kind: Kind::Text(set),
        usual: Usual::Example("SITES"),
        doc: "The account that the leafnode joins; without one that of clients without an account.",
        reload: Reload::WithBlock,
    }
}

impl WrittenUser {
    fn set_nkey(&mut self, text: &str) -> Result<(), String> {
        if !text.is_empty() {
            let key = UserKey::parse(text);
            let key = key.map_err(|why| format!("the value of \"nkey\" {why}"))?;
            self.nkey = Some((text.to_owned(), key));
        }
        Ok(())
    }
}
