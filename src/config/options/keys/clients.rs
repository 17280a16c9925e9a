//! Keys of the client listener, of limits and of connections.

use std::time::Duration;

use super::{
    ANY, FIT_32_BITS, LISTENS, NOT_NEGATIVE, client_port, non_empty, or_default, or_default_time,
    or_zero, set_host,
};
use crate::{
    config::options::{
        Options, advertise,
        authorization::{self, AUTHORIZATION_ACCESS, AUTHORIZATION_BLOCK},
        reading::PORTS,
        table::{Key, Kind, Reload, Usual, field},
        users::read_sources,
    },
    protocol::is_word,
};

/// Where clients connect to.
pub(super) const LISTENER: &[Key<Options>] = &[
    Key {
        name: "listen",
        aliases: &[],
        kind: Kind::Address(|options, host, port| {
            if let Some(host) = host {
                set_host(options, &host);
            }
            options.port = client_port(port);
        }),
        usual: Usual::Default("\"0.0.0.0:4222\""),
        doc: "Address of the client listener: PORT or HOST:PORT, in place of `host` and `port`.",
        reload: Reload::As("host"),
    },
    Key {
        name: "host",
        aliases: &["net"],
        kind: Kind::Text(|options, text| {
            set_host(options, text);
            Ok(())
        }),
        usual: Usual::Default("\"0.0.0.0\""),
        doc: "Address on which the client listener binds. Without a configuration file: 127.0.0.1.",
        reload: Reload::Restart(LISTENS, field!(host)),
    },
    Key {
        name: "port",
        aliases: &[],
        kind: Kind::Integer(PORTS, |options, port| options.port = client_port(port)),
        usual: Usual::Default("4222"),
        doc: "Port of the client listener; -1: any free one.",
        reload: Reload::Restart(LISTENS, field!(port)),
    },
    Key {
        name: "allowed_sources",
        aliases: &[],
        kind: Kind::Structure {
            form: "string or list of strings",
            read: |options, entry, problems| {
                let nobody = "no client could connect";
                options.allowed_sources = read_sources(entry, nobody, problems);
            },
            blocks: &[],
        },
        usual: Usual::Example("[\"192.0.2.0/24\", \"2001:db8::/32\"]"),
        doc: "Addresses and networks from which clients may connect; all if not set. Connections \
              from elsewhere are closed at once. A user's `allowed_sources` narrow it further.",
        reload: Reload::Live(field!(hidden allowed_sources)),
    },
    Key {
        name: "client_advertise",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.client_advertise = advertise::read(text)?;
            Ok(())
        }),
        usual: Usual::Example("\"broker.example.net:4222\""),
        doc: "HOST or HOST:PORT that clients should connect to.",
        reload: Reload::Live(field!(client_advertise)),
    },
    Key {
        name: "server_name",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.server_name = non_empty(text);
            if !options.server_name.as_deref().is_none_or(is_word) {
                return Err("a server's name must not contain blanks or control characters".into());
            }
            Ok(())
        }),
        usual: Usual::Example("\"broker1\""),
        doc: "Name of this broker; its id if there is none.",
        reload: Reload::Restart(
            "clients and other brokers know the broker by this name",
            field!(server_name),
        ),
    },
];

/// Limits.
pub(super) const LIMITS: &[Key<Options>] = &[
    Key {
        name: "max_connections",
        aliases: &["max_conn"],
        kind: Kind::Integer(ANY, |options, count| options.max_connections = count),
        usual: Usual::Default("65536"),
        doc: "Maximum number of client connections; 0 or less allows none.",
        reload: Reload::Live(field!(max_connections)),
    },
    Key {
        name: "max_subscriptions",
        aliases: &["max_subs"],
        kind: Kind::Integer(ANY, |options, count| {
            options.max_subscriptions = or_zero(count);
        }),
        usual: Usual::Default("0"),
        doc: "Maximum number of subscriptions of one connection; 0: unlimited.",
        reload: Reload::Live(field!(max_subscriptions)),
    },
    Key {
        name: "max_sub_tokens",
        aliases: &["max_subscription_tokens"],
        kind: Kind::Integer(1..=255, |options, count| {
            options.max_sub_tokens = or_zero(count);
        }),
        usual: Usual::Example("16"),
        doc: "Maximum number of tokens in the subject of a subscription, 1 to 255; unlimited if \
              not set.",
        reload: Reload::Live(field!(max_sub_tokens)),
    },
    Key {
        name: "max_payload",
        aliases: &[],
        kind: Kind::Size(FIT_32_BITS, |options, bytes| {
            options.max_payload = or_default(bytes, |default| default.max_payload);
        }),
        usual: Usual::Default("1MB"),
        doc: "Maximum size of a message; not more than `max_pending`.",
        reload: Reload::Live(field!(bytes max_payload)),
    },
    Key {
        name: "max_pending",
        aliases: &["max_pending_size"],
        kind: Kind::Size(NOT_NEGATIVE, |options, bytes| {
            options.max_pending = or_default(bytes, |default| default.max_pending);
        }),
        usual: Usual::Default("64MB"),
        doc: "Bytes that may wait for one connection. Beyond that it is a slow consumer and is \
              closed.",
        reload: Reload::Live(field!(bytes max_pending)),
    },
    Key {
        name: "max_memory",
        aliases: &[],
        kind: Kind::Size(NOT_NEGATIVE, |options, bytes| {
            options.max_memory = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        }),
        usual: Usual::Default("0"),
        doc: "Bytes that may wait for all connections together. Beyond that, the connection with \
              the most is closed. 0: half of the memory that the process may use.",
        reload: Reload::Live(field!(bytes max_memory)),
    },
    Key {
        name: "max_control_line",
        aliases: &[],
        kind: Kind::Size(FIT_32_BITS, |options, bytes| {
            options.max_control_line = or_default(bytes, |default| default.max_control_line);
        }),
        usual: Usual::Default("4KB"),
        doc: "Maximum length of a protocol line; before the login 32 KB at most.",
        reload: Reload::Live(field!(bytes max_control_line)),
    },
    Key {
        name: "max_closed_clients",
        aliases: &[],
        kind: Kind::Integer(FIT_32_BITS, |options, count| {
            options.max_closed_clients = or_default(count, |default| default.max_closed_clients);
        }),
        usual: Usual::Default("10000"),
        doc: "Number of closed connections that monitoring keeps.",
        reload: Reload::Live(field!(max_closed_clients)),
    },
];

/// Logins of clients.
pub(super) const LOGINS: &[Key<Options>] = &[
    Key {
        name: "authorization",
        aliases: &[],
        kind: Kind::Structure {
            form: "block",
            read: authorization::read,
            blocks: &[&AUTHORIZATION_BLOCK],
        },
        usual: Usual::Example("{ user: \"derek\", password: \"s3cret\", timeout: 2 }"),
        doc: "Logins of clients: `user` and `password`, or `token`, or `users`, a list of blocks \
              with `user` and `password`, or `nkey`, each. Passwords and tokens may be bcrypt \
              hashes. `timeout` is the time to log in.",
        reload: Reload::Live(AUTHORIZATION_ACCESS),
    },
    Key {
        name: "no_auth_user",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.authorization.no_auth_user = non_empty(text);
            Ok(())
        }),
        usual: Usual::Example("\"\""),
        doc: "The user as which clients without credentials are logged in.",
        reload: Reload::Live(field!(authorization.no_auth_user)),
    },
    Key {
        name: "no_header_support",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.no_header_support = value),
        usual: Usual::Default("false"),
        doc: "`true`: refuse message headers.",
        reload: Reload::Restart(
            "clients and other brokers learned it when they connected",
            field!(no_header_support),
        ),
    },
];

/// How connections are watched.
pub(super) const CONNECTIONS: &[Key<Options>] = &[
    Key {
        name: "ping_interval",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: true,
            set: |options, time| {
                options.ping_interval = or_default_time(time, |default| default.ping_interval);
            },
        },
        usual: Usual::Default("\"2m\""),
        doc: "Time between the pings of an idle connection.",
        reload: Reload::Live(field!(ping_interval)),
    },
    Key {
        name: "ping_max",
        aliases: &[],
        kind: Kind::Integer(FIT_32_BITS, |options, count| {
            let count = u32::try_from(count).ok().filter(|count| *count > 0);
            options.ping_max = count.unwrap_or(Options::default().ping_max);
        }),
        usual: Usual::Default("2"),
        doc: "Unanswered pings before a connection is closed as stale.",
        reload: Reload::Live(field!(ping_max)),
    },
    Key {
        name: "write_deadline",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: true,
            set: |options, time| {
                options.write_deadline = or_default_time(time, |default| default.write_deadline);
            },
        },
        usual: Usual::Default("\"10s\""),
        doc: "Time for which a connection may take nothing before it is closed.",
        reload: Reload::Live(field!(write_deadline)),
    },
    Key {
        name: "no_fast_producer_stall",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.no_fast_producer_stall = value),
        usual: Usual::Default("false"),
        doc: "`true`: do not pause publishers for clients that are behind, so that these are \
              closed sooner. Publishers are still paused for brokers of the cluster that are \
              behind.",
        reload: Reload::Live(field!(no_fast_producer_stall)),
    },
];
