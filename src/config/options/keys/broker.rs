//! Keys of monitoring, the cluster, TLS, accounts, and of how the broker stops.

use std::time::Duration;

use super::{MONITORS, non_empty, or_default_time};
use crate::config::{
    accounts::{self, ACCOUNTS_ACCESS, MAPPINGS_ACCESS},
    options::{
        HttpPort, Options,
        cluster::{self, CLUSTER},
        describe,
        diagnosis::DIAGNOSIS,
        federation::{self, FEDERATION, FEDERATION_ACCESS},
        leafnodes::{self, LEAFNODES},
        monitor::MONITOR,
        nodes::{self, NODES, NODES_ACCESS},
        reading::PORTS,
        table::{FieldAccess, Key, Kind, Reload, Usual, field},
        tls::{TLS_ACCESS, TLS_BLOCK, read_tls},
        websocket::{self, WEBSOCKET},
        written::{self, UNSET},
    },
};

/// Monitoring.
pub(super) const MONITORING: &[Key<Options>] = &[
    Key {
        name: "http",
        aliases: &[],
        kind: Kind::Address(|options, host, port| {
            if let Some(host) = host {
                options.http_host = non_empty(&host);
            }
            options.http_port = http_port(port);
            options.https = false;
        }),
        usual: Usual::Default("\"127.0.0.1:8222\""),
        doc: "Address of the monitoring listener: PORT or HOST:PORT. The only way to open it to \
              other machines.",
        reload: Reload::Restart(MONITORS, HTTP),
    },
    Key {
        name: "http_port",
        aliases: &["monitor_port"],
        kind: Kind::Integer(PORTS, |options, port| {
            options.http_port = http_port(port);
            options.https = false;
        }),
        usual: Usual::Default("8222"),
        doc: "Port of the monitoring listener, on 127.0.0.1 unless `http` names a host; -1 is \
              any free one, 0 turns monitoring off.",
        reload: Reload::As("http"),
    },
    Key {
        name: "https",
        aliases: &[],
        kind: Kind::Address(|options, host, port| {
            if let Some(host) = host {
                options.http_host = non_empty(&host);
            }
            options.http_port = http_port(port);
            options.https = true;
        }),
        usual: Usual::Example("\"127.0.0.1:8222\""),
        doc: "The same as `http`, over TLS with the certificate of `tls`. Clients need no \
              certificate.",
        reload: Reload::Restart(MONITORS, HTTPS),
    },
    Key {
        name: "https_port",
        aliases: &[],
        kind: Kind::Integer(PORTS, |options, port| {
            options.http_port = http_port(port);
            options.https = true;
        }),
        usual: Usual::Example("8222"),
        doc: "The same as `http_port`, over TLS with the certificate of `tls`.",
        reload: Reload::As("https"),
    },
    Key {
        name: "http_base_path",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            let parts = text.split('/').filter(|part| !part.is_empty());
            options.http_base_path = format!("/{}", parts.collect::<Vec<_>>().join("/"));
            Ok(())
        }),
        usual: Usual::Default("\"/\""),
        doc: "Path prefix of all monitoring endpoints.",
        reload: Reload::Restart(MONITORS, field!(http_base_path)),
    },
    Key {
        name: "monitor",
        aliases: &[],
        kind: Kind::Block(&MONITOR),
        usual: Usual::Default("{}"),
        doc: "Access to the monitoring port. Users who may open the Unix socket need no login \
              there, and may kick and trace clients and reload. A port that other machines can \
              reach should have a token, or a user and a password. The login can be changed while \
              midge runs.",
        reload: Reload::PerKey(|plan| plan.block("monitor", &MONITOR)),
    },
];

/// The cluster.
pub(super) const MESH: &[Key<Options>] = &[Key {
    name: "cluster",
    aliases: &[],
    kind: Kind::Structure {
        form: "block",
        read: cluster::read,
        blocks: &[&CLUSTER],
    },
    usual: Usual::Example(
        "{ name: \"fleet\", listen: \"0.0.0.0:4223\", routes: [\"nats-route://routes:PASSWORD@nats2.example.net:4223\"] }",
    ),
    doc: "The other brokers of the cluster; cluster.conf shows the block in full.",
    reload: Reload::PerKey(cluster::plan),
}];

/// Other sites, and the nodes of the fleet.
pub(super) const SITES: &[Key<Options>] = &[
    Key {
        name: "leafnodes",
        aliases: &["leaf"],
        kind: Kind::Structure {
            form: "block",
            read: leafnodes::read,
            blocks: &[&LEAFNODES],
        },
        usual: Usual::Example("{ listen: \"0.0.0.0:7422\" }"),
        doc: "Leafnodes: brokers of other sites that connect to this one and join one of its \
              accounts, and `remotes`, the brokers that this one joins so. Their clients and those \
              here exchange messages as if they were connected to one broker.",
        reload: Reload::PerKey(leafnodes::plan),
    },
    Key {
        name: "federation",
        aliases: &[],
        kind: Kind::Structure {
            form: "block",
            read: federation::read,
            blocks: &[&FEDERATION],
        },
        usual: Usual::Example(
            "{ name: \"prod\", upstream: [\"tls://central1.example.net:4222\"], tls { puppet: true } }",
        ),
        doc: "This broker as the federation broker of its Choria or MCollective site: it passes \
          requests of clients at the upstream brokers on to the nodes here, and their replies \
          back.",
        reload: Reload::Live(FEDERATION_ACCESS),
    },
    Key {
        name: "nodes",
        aliases: &[],
        kind: Kind::Structure {
            form: "block",
            read: nodes::read,
            blocks: &[&NODES],
        },
        usual: Usual::Example("{ file: \"/etc/midge/nodes\", missing_after: \"5m\" }"),
        doc: "Which nodes should be connected to this broker or to another member of the cluster: \
              those that are not are listed by /nodesz and are a finding.",
        reload: Reload::Live(NODES_ACCESS),
    },
];

/// The port for WebSockets.
pub(super) const WEB: &[Key<Options>] = &[Key {
    name: "websocket",
    aliases: &["ws"],
    kind: Kind::Structure {
        form: "block",
        read: websocket::read,
        blocks: &[&WEBSOCKET],
    },
    usual: Usual::Example(
        "{ port: 8443, tls { cert_file: \"/etc/midge/cert.pem\", key_file: \"/etc/midge/key.pem\" } }",
    ),
    doc: "A port where clients connect by WebSocket, as browsers do. They are clients like all \
          others; only its TLS can be changed while midge runs.",
    reload: Reload::PerKey(websocket::plan),
}];

/// TLS.
pub(super) const SECURED: &[Key<Options>] = &[
    Key {
        name: "tls",
        aliases: &[],
        kind: Kind::Structure {
            form: "block",
            read: read_tls,
            blocks: &[&TLS_BLOCK],
        },
        usual: Usual::Example("{ puppet: true }"),
        doc: "TLS for clients. On a host with a Puppet agent `puppet: true` is enough: only \
              clients with certificates of the Puppet CA can connect. Otherwise: `cert_file`, \
              `key_file`, `ca_file`, `crl_file`, and `verify: true` to require certificates of \
              clients.",
        reload: Reload::Live(TLS_ACCESS),
    },
    Key {
        name: "allow_non_tls",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.allow_non_tls = value),
        usual: Usual::Default("false"),
        doc: "Whether clients may connect without TLS although there is `tls`.",
        reload: Reload::Restart(
            "clients learn from the first INFO whether TLS is required",
            field!(allow_non_tls),
        ),
    },
];

/// Lame duck mode.
pub(super) const LAME_DUCK: &[Key<Options>] = &[
    Key {
        name: "lame_duck_duration",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::from_secs(30),
            seconds: false,
            set: |options, time| options.lame_duck_duration = time,
        },
        usual: Usual::Default("\"2m\""),
        doc: "Time over which lame duck mode closes the connections; at least 30s.",
        reload: Reload::Live(field!(lame_duck_duration)),
    },
    Key {
        name: "lame_duck_grace_period",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: false,
            set: |options, time| {
                options.lame_duck_grace_period =
                    or_default_time(time, |default| default.lame_duck_grace_period);
            },
        },
        usual: Usual::Default("\"10s\""),
        doc: "Time before lame duck mode closes the first connection; shorter than \
              `lame_duck_duration`.",
        reload: Reload::Live(field!(lame_duck_grace_period)),
    },
];

/// Descriptions that distinguish brokers.
pub(super) const DESCRIBED: &[Key<Options>] = &[
    Key {
        name: "server_tags",
        aliases: &[],
        kind: Kind::Structure {
            form: "string or list of strings",
            read: describe::read_tags,
            blocks: &[],
        },
        usual: Usual::Default("[]"),
        doc: "Words that describe this broker. They appear in /varz, in the system account and as \
              labels of a metric.",
        reload: Reload::Live(field!(server_tags)),
    },
    Key {
        name: "server_metadata",
        aliases: &[],
        kind: Kind::Structure {
            form: "block of strings",
            read: describe::read_metadata,
            blocks: &[],
        },
        usual: Usual::Default("{}"),
        doc: "The same, as pairs of a name and a text.",
        reload: Reload::Live(field!(server_metadata)),
    },
];

/// Accounts.
pub(super) const ACCOUNTS: &[Key<Options>] = &[
    Key {
        name: "accounts",
        aliases: &[],
        kind: Kind::Structure {
            form: "block of accounts, or list of names",
            read: accounts::read,
            blocks: &[&accounts::ACCOUNT],
        },
        usual: Usual::Example("{ A { limits { max_connections: 100 } }, B {} }"),
        doc: "Separate subject spaces, each with users, limits, exports and imports. The \
              connections of an account count over all members of the cluster. Those at a member \
              whose route is lost still count for 150 s, or until it is back.",
        reload: Reload::Live(ACCOUNTS_ACCESS),
    },
    Key {
        name: "mappings",
        aliases: &["maps"],
        kind: Kind::Structure {
            form: "block of subjects",
            read: accounts::read_global_mappings,
            blocks: &[&accounts::MAPPING],
        },
        usual: Usual::Example("{ \"old.*\": \"new.$1\" }"),
        doc: "Rewrites subjects that clients without an account publish to.",
        reload: Reload::Live(MAPPINGS_ACCESS),
    },
    Key {
        name: "system_account",
        aliases: &["system"],
        kind: Kind::Text(|options, text| {
            options.system_account = match text {
                "" => Options::default().system_account,
                text => text.to_owned(),
            };
            Ok(())
        }),
        usual: Usual::Default("\"$SYS\""),
        doc: "The account in which the broker publishes events and answers requests.",
        reload: Reload::Restart(SYSTEM_ACCOUNT, field!(system_account)),
    },
    Key {
        name: "no_system_account",
        aliases: &["no_system", "no_sys_acc"],
        kind: Kind::Bool(|options, value| options.no_system_account = value),
        usual: Usual::Default("false"),
        doc: "`true`: there is no such account.",
        reload: Reload::Restart(SYSTEM_ACCOUNT, field!(no_system_account)),
    },
];

/// The diagnosis.
pub(super) const DIAGNOSED: &[Key<Options>] = &[Key {
    name: "diagnosis",
    aliases: &[],
    kind: Kind::Block(&DIAGNOSIS),
    usual: Usual::Default("{}"),
    doc: "Thresholds of the findings; docs/findings.md explains them.",
    reload: Reload::PerKey(|plan| plan.block("diagnosis", &DIAGNOSIS)),
}];

const SYSTEM_ACCOUNT: &str = "the broker's own events and services begin with the account";

/// Where monitoring listens, if it does without TLS.
const HTTP: FieldAccess<Options> = FieldAccess {
    same: |one, other| http_written(one, false) == http_written(other, false),
    copy: copy_http,
    written: Some(|options| http_written(options, false)),
};

/// Where monitoring listens, if it does with TLS.
const HTTPS: FieldAccess<Options> = FieldAccess {
    same: |one, other| http_written(one, true) == http_written(other, true),
    copy: copy_http,
    written: Some(|options| http_written(options, true)),
};

fn copy_http(to: &mut Options, from: &Options) {
    to.http_host.clone_from(&from.http_host);
    to.http_port = from.http_port;
    to.https = from.https;
}

fn http_written(options: &Options, https: bool) -> String {
    if options.https != https {
        return UNSET.into();
    }
    match options.http_listen() {
        Some((host, port)) => written::address(host, port),
        None => "0".into(),
    }
}

fn http_port(port: i64) -> HttpPort {
    match port {
        0 => HttpPort::Off,
        port => HttpPort::Listen(u16::try_from(port).unwrap_or(0)),
    }
}
