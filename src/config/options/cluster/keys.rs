//! The table of the keys in `cluster`.

use std::time::Duration;

use super::{
    ClusterOptions, QueuePolicy,
    read::{read_compression, read_login_permissions, read_permissions, read_routes, read_tls},
};
use crate::{
    config::{
        options::{
            advertise,
            keys::non_empty,
            permissions::PERMISSIONS,
            reading::PORTS,
            srv::{self, SrvUrl},
            table::{Block, FieldAccess, Key, Kind, NoEffect, Reload, Section, Usual, field},
            tls::{TLS_BLOCK, same_tls},
            unsupported::{WRITE_TIMEOUT, is_integer, never, no_effect, refused},
            users::{password_key, user_key},
        },
        syntax::{Node, Value},
    },
    protocol::is_word,
};

/// The shortest time for a login; shorter ones fail on a busy machine. The
/// legacy Puppet module writes 0.75 s.
const AUTH_TIMEOUT_MIN: Duration = Duration::from_millis(100);

pub(super) const LISTENS: &str = "the port for routes is opened at the start";

/// The keys of the block.
pub(in crate::config) static CLUSTER: Block<ClusterOptions> = Block {
    name: "cluster",
    title: "In `cluster`",
    place: "\"cluster\"",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "name",
                aliases: &[],
                kind: Kind::Text(|cluster, text| {
                    cluster.name = Some(text.to_owned()).filter(|text| !text.is_empty());
                    match cluster.name.as_deref().is_none_or(is_word) {
                        true => Ok(()),
                        false => Err("a cluster's name must not be empty or contain blanks or \
                                      control characters"
                            .into()),
                    }
                }),
                usual: Usual::Example("\"fleet\""),
                doc: "Name of the cluster, the same at every member. Without one, each member \
                      makes a name up, and all use the one that comes last in the alphabet.",
                reload: Reload::Restart("the other members know the cluster by it", field!(name)),
            },
            Key {
                name: "listen",
                aliases: &[],
                kind: Kind::Address(|cluster, host, port| {
                    if let Some(host) = host.filter(|host| !host.is_empty()) {
                        cluster.host = host;
                    }
                    cluster.port = listen_port(port);
                }),
                usual: Usual::Example("\"0.0.0.0:4223\""),
                doc: "Address that the other members connect to: PORT or HOST:PORT, in place of \
                      `host` and `port`. Without a port there is no cluster.",
                reload: Reload::As("host"),
            },
            Key {
                name: "host",
                aliases: &["net"],
                kind: Kind::Text(|cluster, text| {
                    cluster.host = text.to_owned();
                    Ok(())
                }),
                usual: Usual::Default("\"0.0.0.0\""),
                doc: "Address on which the port for routes listens.",
                reload: Reload::Restart(LISTENS, field!(host)),
            },
            Key {
                name: "port",
                aliases: &[],
                kind: Kind::Integer(PORTS, |cluster, port| cluster.port = listen_port(port)),
                usual: Usual::Example("4223"),
                doc: "Port that the other members connect to; -1 is any free one, 0 is no cluster.",
                reload: Reload::Restart(LISTENS, field!(port)),
            },
            Key {
                name: "authorization",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: |cluster, entry, problems| {
                        LOGIN.read_node(cluster, &entry.node, &entry.key, problems);
                    },
                    blocks: &[&LOGIN],
                },
                usual: Usual::Example("{ user: routes, password: \"CHANGE-ME\" }"),
                doc: "The login of the other members.",
                reload: Reload::Live(FieldAccess {
                    same: |one, other| {
                        let login = |it: &ClusterOptions| {
                            (it.user.clone(), it.password.clone(), it.auth_timeout)
                        };
                        login(one) == login(other)
                    },
                    copy: |to, from| {
                        to.user.clone_from(&from.user);
                        to.password.clone_from(&from.password);
                        to.auth_timeout = from.auth_timeout;
                    },
                    written: None,
                }),
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
                doc: "TLS between the members. Both sides show a certificate, whatever `verify` \
                      says. The same at every member.",
                reload: Reload::Live(FieldAccess {
                    same: |one, other| same_tls(one.tls.as_ref(), other.tls.as_ref()),
                    ..field!(hidden tls)
                }),
            },
            Key {
                name: "routes",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of URLs",
                    read: read_routes,
                    blocks: &[],
                },
                usual: Usual::Example("[\"nats-route://routes:CHANGE-ME@nats2.example.net:4223\"]"),
                doc: "The members that are dialled until they answer. Special characters in a \
                      password may be percent-encoded. srv://RECORD, or \
                      srv://USER:PASSWORD@RECORD, stands for all members that a DNS SRV record \
                      lists with their ports for routes; without a login the one in \
                      `authorization` is used.",
                reload: Reload::Live(FieldAccess {
                    same: |one, other| {
                        (&one.routes, &one.srv_routes) == (&other.routes, &other.srv_routes)
                    },
                    copy: |to, from| {
                        to.routes.clone_from(&from.routes);
                        to.srv_routes.clone_from(&from.srv_routes);
                    },
                    written: None,
                }),
            },
            Key {
                name: "srv_domain",
                aliases: &[],
                kind: Kind::Text(|cluster, text| {
                    cluster.srv_domain = non_empty(text);
                    let domain = cluster.srv_domain.as_deref();
                    domain.map_or(Ok(()), |domain| SrvUrl::of_peers(domain).map(|_| ()))
                }),
                usual: Usual::Example("\"example.net\""),
                doc: "Domain whose members are found by DNS, with no list of them: all that the \
                      SRV record _mcollective-broker._tcp of the domain lists are dialled. It is \
                      asked again as often as its TTL says, so that members may come and go. \
                      Without `port` the broker listens for routes on port 4223.",
                reload: Reload::Live(field!(srv_domain)),
            },
            Key {
                name: "nameserver",
                aliases: &[],
                kind: Kind::Text(|cluster, text| {
                    cluster.nameserver = srv::read_nameserver(text)?;
                    Ok(())
                }),
                usual: Usual::Example("\"127.0.0.1:8600\""),
                doc: "ADDRESS or ADDRESS:PORT of the name server that is asked for SRV records, in \
                      place of those in /etc/resolv.conf.",
                reload: Reload::Live(field!(nameserver)),
            },
            Key {
                name: "permissions",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: read_permissions,
                    blocks: &[&PERMISSIONS],
                },
                usual: Usual::Example("{ import: { deny: [\"local.>\"] } }"),
                doc: "Which local subscriptions are sent to the others (`import`), and which of \
                      theirs count here (`export`). Everything by default.",
                reload: Reload::Live(field!(hidden permissions)),
            },
            Key {
                name: "advertise",
                aliases: &["cluster_advertise"],
                kind: Kind::Text(|cluster, text| {
                    cluster.advertise = advertise::read(text)?;
                    Ok(())
                }),
                usual: Usual::Example("\"nats1.example.net:4223\""),
                doc: "HOST or HOST:PORT that the other members should dial, if they cannot reach \
                      the address that this one listens on.",
                reload: Reload::Live(field!(advertise)),
            },
            Key {
                name: "no_advertise",
                aliases: &[],
                kind: Kind::Bool(|cluster, value| cluster.no_advertise = value),
                usual: Usual::Default("false"),
                doc: "`true`: do not announce the other members to clients, nor this one to their \
                      clients. By default clients know all members, and reconnect to another one \
                      when theirs is gone.",
                reload: Reload::Live(field!(no_advertise)),
            },
            Key {
                name: "connect_retries",
                aliases: &[],
                kind: Kind::Integer(COUNT, |cluster, count| {
                    cluster.connect_retries = u32::try_from(count).unwrap_or(0);
                }),
                usual: Usual::Default("0"),
                doc: "How often a member that only other members named is dialled again.",
                reload: Reload::Live(field!(connect_retries)),
            },
            Key {
                name: "connect_backoff",
                aliases: &[],
                kind: Kind::Bool(|cluster, value| cluster.connect_backoff = value),
                usual: Usual::Default("false"),
                doc: "Whether the time between two attempts to dial a member grows, from one \
                      second to thirty.",
                reload: Reload::Live(field!(connect_backoff)),
            },
            Key {
                name: "queue_policy",
                aliases: &[],
                kind: Kind::Text(|cluster, text| {
                    cluster.queue_policy = QueuePolicy::parse(text)?;
                    Ok(())
                }),
                usual: Usual::Default("weighted"),
                doc: "Which members of a queue group get what is published here. \"weighted\": all \
                      members in the cluster alike; \"local\": members at this broker as long as \
                      there are any, which saves network traffic.",
                reload: Reload::Live(field!(queue_policy)),
            },
            Key {
                name: "ping_interval",
                aliases: &[],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |cluster, time| cluster.ping_interval = unless_zero(time),
                },
                usual: Usual::Example("\"30s\""),
                doc: "Time between the pings of an idle route, 30 seconds at most; by default as \
                      for clients.",
                reload: Reload::Live(field!(ping_interval)),
            },
            Key {
                name: "ping_max",
                aliases: &[],
                kind: Kind::Integer(COUNT, |cluster, count| {
                    cluster.ping_max = u32::try_from(count).ok().filter(|count| *count > 0);
                }),
                usual: Usual::Example("2"),
                doc: "Unanswered pings before a route is closed; by default as for clients.",
                reload: Reload::Live(field!(ping_max)),
            },
            Key {
                name: "write_deadline",
                aliases: &[],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |cluster, time| cluster.write_deadline = unless_zero(time),
                },
                usual: Usual::Example("\"10s\""),
                doc: "Time for which a route may take nothing before it is closed; by default as \
                      for clients.",
                reload: Reload::Live(field!(write_deadline)),
            },
            no_effect("write_timeout", &[], WRITE_TIMEOUT),
            no_effect(
                "pool_size",
                &[],
                NoEffect {
                    expected: "a whole number, without quotes",
                    accepts: is_integer,
                    asks_for_nothing: always,
                    reason: AGREED,
                },
            ),
            no_effect(
                "accounts",
                &[],
                NoEffect {
                    expected: "a list of names",
                    accepts: is_names,
                    asks_for_nothing: always,
                    reason: AGREED,
                },
            ),
            Key {
                name: "compression",
                aliases: &[],
                kind: Kind::Structure {
                    form: "boolean, mode or block",
                    read: read_compression,
                    blocks: &[&COMPRESSION],
                },
                usual: Usual::Default("\"off\""),
                doc: "routes are not compressed; midge agrees on that with every peer",
                reload: Reload::Nothing,
            },
        ],
    }],
};

/// One route to each peer carries all accounts, whatever either side would like.
const AGREED: &str =
    "one route to each peer carries all accounts; midge agrees on that with every peer";

const COUNT: std::ops::RangeInclusive<i64> = 0..=u32::MAX as i64;

/// The keys of `authorization` in the block.
static LOGIN: Block<ClusterOptions> = Block {
    name: "cluster authorization",
    title: "In `authorization` of `cluster`",
    place: "authorization",
    sections: &[Section {
        title: "",
        keys: &[
            user_key(
                "routes",
                "User name that the other members log in with.",
                |cluster, user| {
                    cluster.user = Some(user.to_owned());
                    Ok(())
                },
            ),
            password_key(
                "\"CHANGE-ME\"",
                "Its password. It may be a bcrypt hash if `routes` has the plain one, which is \
                 what is sent.",
                |cluster, password| cluster.password = password,
            ),
            Key {
                name: "timeout",
                aliases: &[],
                kind: Kind::Seconds(|cluster, time| {
                    cluster.auth_timeout = Some(time.max(AUTH_TIMEOUT_MIN));
                }),
                usual: Usual::Default("2"),
                doc: "Time for a connecting member to log in. With TLS: one second more than the \
                      handshake may take.",
                reload: Reload::WithBlock,
            },
            refused("token", &[], never, ONE_USER),
            refused("users", &[], never, ONE_USER),
            refused("auth_callout", &["auth_hook"], never, ONE_USER),
            refused("proxy_required", &[], never, ONE_USER),
            Key {
                name: "permissions",
                aliases: &["default_permission", "default_permissions"],
                kind: Kind::Structure {
                    form: "block",
                    read: read_login_permissions,
                    blocks: &[&PERMISSIONS],
                },
                usual: Usual::Example("{ import: { deny: [\"local.>\"] } }"),
                doc: "The old place of the cluster's `permissions`, which have precedence.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

const ONE_USER: &str = "is not possible here: routes log in with one user and password";

/// The keys of `compression`, which are not looked at.
pub(super) static COMPRESSION: Block<()> = Block {
    name: "compression",
    title: "In `compression` of `cluster`",
    place: "\"compression\"",
    sections: &[Section {
        title: "",
        keys: &[
            no_effect("mode", &[], UNCOMPRESSED),
            no_effect(
                "rtt_thresholds",
                &["thresholds", "rtts", "rtt"],
                UNCOMPRESSED,
            ),
        ],
    }],
};

const UNCOMPRESSED: NoEffect = NoEffect {
    expected: "a value",
    accepts: always,
    asks_for_nothing: always,
    reason: NOT_COMPRESSED,
};

pub(super) const NOT_COMPRESSED: &str = "routes are not compressed; midge agrees on that with \
                                         every peer";

fn always(_: &Value) -> bool {
    true
}

fn is_names(value: &Value) -> bool {
    let is_text = |item: &Node| matches!(item.value, Value::String(_));
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().all(is_text),
        _ => false,
    }
}

/// Port 0 is no cluster, -1 any free port.
pub(in crate::config::options) fn listen_port(port: i64) -> Option<u16> {
    (port != 0).then(|| u16::try_from(port).unwrap_or(0))
}

fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}
