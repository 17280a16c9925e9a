//! The table of modes: what `check_nats` can check. Help, manual, threshold
//! options, dispatch and tests are made from it.

mod ceilings;
mod cert;
mod cluster;
mod config;
mod connect;
mod connection;
mod connections;
mod counted;
mod culprit;
mod explain;
mod federation;
mod health;
mod lameduck;
mod latency;
mod leafnodes;
mod logins;
mod losses;
pub mod need;
mod nodes;
pub mod path;
mod pending;
mod recent_events;
mod resources;
mod restarts;
mod roundtrip;
mod since;
mod slow;
#[cfg(test)]
mod tests;
mod times;
mod traffic;
mod uptime;
mod varz;

pub use self::cluster::Member;
use self::need::Need;
pub(super) use self::times::{seconds_between, uptime_of};
use super::{
    brokers::Shared,
    metric::{self, Metric},
    report::Report,
    run::Check,
    status::{Failure, Status},
};

/// One way to check a broker.
#[derive(Debug)]
pub struct Mode {
    /// Value of `--mode`.
    pub name: &'static str,
    /// What it checks, in a sentence.
    pub help: &'static str,
    /// Its metrics; the first is the main metric, to which `-w` and `-c` apply.
    pub metrics: &'static [&'static Metric],
    /// What it needs of which answers of the monitoring port; nothing if it asks
    /// the client port alone.
    pub needs: &'static [Need],
    /// What it compares with the last run.
    pub compares: Compares,
    /// Fills the report about one broker. What was found before a failure stays in it.
    pub run: fn(&mut Check) -> Result<(), Failure>,
    /// What is compared between several brokers.
    pub joint: Option<Joint>,
}

/// The comparison of several brokers.
#[derive(Debug)]
pub struct Joint {
    /// What it checks, in a sentence.
    pub help: &'static str,
    /// Its metrics, of all brokers together.
    pub metrics: &'static [&'static Metric],
    /// Adds to the report about all of them; called when each check has ended.
    pub compare: fn(&Shared, &mut Report),
}

/// What a mode compares with the last run, or with a second sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compares {
    /// Counts of what happened: an alert can be held.
    Events,
    /// Nothing.
    Nothing,
    /// Amounts per second.
    Rates,
}

/// All modes, the default first.
pub static MODES: &[Mode] = &[
    Mode {
        name: "health",
        help: "the client port answers a PING, /healthz is ok, connections are below their limit",
        metrics: &[
            &metric::RTT,
            &metric::CONNECT_TIME,
            &metric::CONNECTIONS,
            &metric::TOTAL_CONNECTIONS,
            &metric::SLOW_CONSUMERS,
            &metric::SUBSCRIPTIONS,
            &metric::MEM,
            &metric::CPU,
            &metric::IN_MSGS,
            &metric::OUT_MSGS,
            &metric::IN_BYTES,
            &metric::OUT_BYTES,
            &metric::UPTIME,
        ],
        needs: health::NEEDS,
        compares: Compares::Nothing,
        run: health::run,
        joint: None,
    },
    Mode {
        name: "explain",
        help: "the broker's own findings: what is wrong, who, since when, why and what to do",
        metrics: &[
            &metric::FINDINGS_CRITICAL,
            &metric::FINDINGS_WARNING,
            &metric::FINDINGS_INFO,
        ],
        needs: explain::NEEDS,
        compares: Compares::Nothing,
        run: explain::run,
        joint: None,
    },
    Mode {
        name: "connect",
        help: "a client can connect, and how fast the broker answers; needs no monitoring port",
        metrics: &[&metric::RTT, &metric::CONNECT_TIME],
        needs: &[],
        compares: Compares::Nothing,
        run: connect::run,
        joint: None,
    },
    Mode {
        name: "roundtrip",
        help: "a message published to the check's own inbox comes back; needs no monitoring port",
        metrics: &[&metric::REQUEST_TIME, &metric::CONNECT_TIME],
        needs: &[],
        compares: Compares::Nothing,
        run: roundtrip::run,
        joint: Some(Joint {
            help: "a message published at one arrives at each of the others, and a request to a \
                   queue group there is answered",
            metrics: &[&metric::MESH_TIME, &metric::MESH_LOST],
            compare: roundtrip::compare,
        }),
    },
    Mode {
        name: "connections",
        help: "client connections, also in percent of their limit",
        metrics: &[&metric::CONNECTIONS, &metric::TOTAL_CONNECTIONS],
        needs: connections::NEEDS,
        compares: Compares::Nothing,
        run: connections::run,
        joint: None,
    },
    Mode {
        name: "slow",
        help: "slow consumers since the last run, who they were and what waited for them",
        metrics: &[
            &metric::SLOW_NEW,
            &metric::SLOW_CONSUMERS,
            &metric::SLOW_CLIENTS,
            &metric::SLOW_ROUTES,
            &metric::SLOW_GATEWAYS,
            &metric::SLOW_LEAFS,
        ],
        needs: slow::NEEDS,
        compares: Compares::Events,
        run: slow::run,
        joint: None,
    },
    Mode {
        name: "losses",
        help: "messages lost since the last run by reason, and the connections that lost them; \
               midge only",
        metrics: &[
            &metric::LOST_NEW,
            &metric::LOST_CLOSED_NEW,
            &metric::LOST_BYTES_NEW,
            &metric::LOST_SLOW_CONSUMER,
            &metric::LOST_WRITE_ERROR,
            &metric::LOST_TOO_LONG,
            &metric::LOST_REPLIES_FULL,
            &metric::LOST_CLOSED,
        ],
        needs: losses::NEEDS,
        compares: Compares::Events,
        run: losses::run,
        joint: None,
    },
    Mode {
        name: "no-interest",
        help: "messages since the last run that no subscriber wanted, and their subjects; midge \
               only",
        metrics: &[&metric::NO_INTEREST_NEW, &metric::NO_INTEREST],
        needs: counted::NO_INTEREST_NEEDS,
        compares: Compares::Events,
        run: counted::no_interest,
        joint: None,
    },
    Mode {
        name: "logins",
        help: "logins refused and TLS handshakes failed since the last run, and from where; of midge \
               also handshakes of other brokers at its route port",
        metrics: &[
            &metric::LOGINS_REFUSED_NEW,
            &metric::TLS_FAILED_NEW,
            &metric::ROUTE_TLS_NEW,
            &metric::LOGINS_REFUSED,
            &metric::LOGINS_ACCEPTED,
            &metric::TLS_FAILED,
            &metric::ROUTE_TLS_FAILED,
        ],
        needs: logins::NEEDS,
        compares: Compares::Events,
        run: logins::run,
        joint: None,
    },
    Mode {
        name: "violations",
        help: "publishes and subscriptions refused since the last run for lack of a permission, \
               and whose; midge only",
        metrics: &[&metric::VIOLATIONS_NEW, &metric::VIOLATIONS],
        needs: counted::VIOLATIONS_NEEDS,
        compares: Compares::Events,
        run: counted::violations,
        joint: None,
    },
    Mode {
        name: "restarts",
        help: "whether the broker was restarted since the last run",
        metrics: &[&metric::RESTARTS_NEW, &metric::UPTIME],
        needs: restarts::NEEDS,
        compares: Compares::Events,
        run: restarts::run,
        joint: None,
    },
    Mode {
        name: "pending",
        help: "bytes that wait for slow clients, and which clients these are",
        metrics: &[&metric::PENDING_MAX, &metric::PENDING_TOTAL],
        needs: pending::NEEDS,
        compares: Compares::Nothing,
        run: pending::run,
        joint: None,
    },
    Mode {
        name: "traffic",
        help: "messages and bytes per second since the last run",
        metrics: &[
            &metric::IN_MSGS_RATE,
            &metric::OUT_MSGS_RATE,
            &metric::IN_BYTES_RATE,
            &metric::OUT_BYTES_RATE,
            &metric::IN_MSGS,
            &metric::OUT_MSGS,
            &metric::IN_BYTES,
            &metric::OUT_BYTES,
        ],
        needs: traffic::NEEDS,
        compares: Compares::Rates,
        run: traffic::run,
        joint: None,
    },
    Mode {
        name: "cluster",
        help: "whether all members of the mesh are present (--expect says how many) and agree; of a \
               nats-server, whether it has a route to each peer that its configuration names",
        metrics: &[
            &metric::MEMBERS,
            &metric::MEMBERS_MISSING,
            &metric::MESH_PROBLEMS,
        ],
        needs: cluster::NEEDS,
        compares: Compares::Nothing,
        run: cluster::run,
        joint: Some(Joint {
            help: "each has a route to each of the others, and all have the same version and the \
                   same configuration",
            metrics: &[&metric::ROUTES_MISSING, &metric::VERSIONS, &metric::CONFIGS],
            compare: cluster::compare,
        }),
    },
    Mode {
        name: "federation",
        help: "whether the federation broker of a Choria site is connected upstream, and what it \
               passes on; midge only",
        metrics: &[
            &metric::FEDERATION_UP,
            &metric::FEDERATION_PENDING,
            &metric::FEDERATION_RTT,
            &metric::FEDERATION_SILENT,
            &metric::FEDERATION_REQUESTS,
            &metric::FEDERATION_REPLIES,
            &metric::FEDERATION_REFUSED,
            &metric::FEDERATION_DROPPED,
        ],
        needs: federation::NEEDS,
        compares: Compares::Nothing,
        run: federation::run,
        joint: None,
    },
    Mode {
        name: "leafnodes",
        help: "whether the hubs whose leafnode the broker is are connected, and how many leafnodes \
               have joined it",
        metrics: &[
            &metric::HUBS_MISSING,
            &metric::LEAFNODES,
            &metric::LEAFNODE_RTT,
        ],
        needs: leafnodes::NEEDS,
        compares: Compares::Nothing,
        run: leafnodes::run,
        joint: None,
    },
    Mode {
        name: "nodes",
        help: "whether the nodes that should be connected are, to whichever member of the cluster, \
               and which are missing; midge only",
        metrics: &[
            &metric::NODES_MISSING,
            &metric::NODES_AGE,
            &metric::NODES_EXPECTED,
            &metric::NODES_PRESENT,
        ],
        needs: nodes::NEEDS,
        compares: Compares::Nothing,
        run: nodes::run,
        joint: None,
    },
    Mode {
        name: "latency",
        help: "how long messages of the last minute stayed in the broker, and how long its threads \
               were delayed; midge only",
        metrics: &[
            &metric::LATENCY_P99,
            &metric::LATENCY_P50,
            &metric::LATENCY_MAX,
            &metric::LATENCY_COUNT,
            &metric::SCHED_P99,
            &metric::SCHED_MAX,
        ],
        needs: latency::NEEDS,
        compares: Compares::Nothing,
        run: latency::run,
        joint: None,
    },
    Mode {
        name: path::NAME,
        help: "how many get a message to --subject from --user, or from anybody in --account, and \
               who does not and why (-v); --expect says how many must; nothing is sent; midge only",
        metrics: &[&metric::RECEIVERS],
        needs: path::NEEDS,
        compares: Compares::Nothing,
        run: path::run,
        joint: None,
    },
    Mode {
        name: "ceilings",
        help: "time until open files, connections, subscriptions, queues or memory reach their \
               limit at the present growth, and how close the nearest is; midge only",
        metrics: &[&metric::CEILING_TIME, &metric::CEILING_USED],
        needs: ceilings::NEEDS,
        compares: Compares::Nothing,
        run: ceilings::run,
        joint: None,
    },
    Mode {
        name: "resources",
        help: "memory, CPU and subscriptions",
        metrics: &[&metric::MEM, &metric::CPU, &metric::SUBSCRIPTIONS],
        needs: resources::NEEDS,
        compares: Compares::Nothing,
        run: resources::run,
        joint: None,
    },
    Mode {
        name: "uptime",
        help: "whether the broker was restarted recently",
        metrics: &[&metric::UPTIME_SHORT],
        needs: uptime::NEEDS,
        compares: Compares::Nothing,
        run: uptime::run,
        joint: None,
    },
    Mode {
        name: "lameduck",
        help: "whether the broker is in lame duck mode: it stops soon and accepts no new clients",
        metrics: &[&metric::LAME_DUCK],
        needs: lameduck::NEEDS,
        compares: Compares::Nothing,
        run: lameduck::run,
        joint: None,
    },
    Mode {
        name: "cert",
        help: "days until certificates, CAs and CRLs expire, for clients and for routes, and files \
               that do not fit together; if the broker does not report them, a TLS handshake reads \
               its certificate",
        metrics: &[
            &metric::CERT_DAYS,
            &metric::CA_DAYS,
            &metric::CRL_DAYS,
            &metric::ROUTE_CERT_DAYS,
            &metric::ROUTE_CA_DAYS,
            &metric::ROUTE_CRL_DAYS,
        ],
        needs: cert::NEEDS,
        compares: Compares::Nothing,
        run: cert::run,
        joint: None,
    },
    Mode {
        name: "config",
        help: "whether a reload failed, and whether the file on disk is what runs (midge), or is \
               newer (--file), or the digest is another one (--digest)",
        metrics: &[&metric::CONFIG_AGE],
        needs: config::NEEDS,
        compares: Compares::Nothing,
        run: config::run,
        joint: None,
    },
    Mode {
        name: "varz",
        help: "any number in /varz, named by --figure",
        metrics: &[&metric::VARZ_FIGURE],
        needs: varz::NEEDS,
        compares: Compares::Nothing,
        run: varz::run,
        joint: None,
    },
];

impl Mode {
    /// Its metrics, and those of several brokers together.
    pub fn all_metrics(&self) -> impl Iterator<Item = &'static Metric> {
        let joint = self.joint.iter().flat_map(|joint| joint.metrics);
        self.metrics.iter().chain(joint).copied()
    }

    /// What it needs of the answer at a path, which may carry a query.
    pub fn need(&self, path: &str) -> Option<&'static Need> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        self.needs.iter().find(|need| need.path == path)
    }
}

/// A limit that percent thresholds can refer to; 0 and below are none.
fn limit(value: i64) -> Option<f64> {
    (value > 0).then_some(value as f64)
}
