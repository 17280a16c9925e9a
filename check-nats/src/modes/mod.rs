//! The table of modes: what `check_nats` can check. Help, manual, threshold
//! options, dispatch and tests are made from it.

mod ceilings;
mod cert;
mod cluster;
mod config;
mod connect;
mod connections;
mod explain;
mod health;
mod lameduck;
mod latency;
pub mod need;
mod pending;
mod resources;
mod roundtrip;
mod slow;
mod traffic;
mod uptime;
mod varz;

use monitor_client::Varz;
use serde::Deserialize;

pub use self::cluster::Member;
use self::need::Need;
use super::{
    baseline::{Snapshot, StateFile},
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
        run: health::run,
        joint: None,
    },
    Mode {
        name: "explain",
        help: "the broker's own findings: what is wrong, who, since when; -v adds why and what to \
               do",
        metrics: &[
            &metric::FINDINGS_CRITICAL,
            &metric::FINDINGS_WARNING,
            &metric::FINDINGS_INFO,
        ],
        needs: explain::NEEDS,
        run: explain::run,
        joint: None,
    },
    Mode {
        name: "connect",
        help: "a client can connect, and how fast the broker answers; needs no monitoring port",
        metrics: &[&metric::RTT, &metric::CONNECT_TIME],
        needs: &[],
        run: connect::run,
        joint: None,
    },
    Mode {
        name: "roundtrip",
        help: "a message published to the check's own inbox comes back; needs no monitoring port",
        metrics: &[&metric::REQUEST_TIME, &metric::CONNECT_TIME],
        needs: &[],
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
        run: connections::run,
        joint: None,
    },
    Mode {
        name: "slow",
        help: "slow consumers since the last run, and who they were",
        metrics: &[
            &metric::SLOW_NEW,
            &metric::SLOW_CONSUMERS,
            &metric::SLOW_CLIENTS,
            &metric::SLOW_ROUTES,
            &metric::SLOW_GATEWAYS,
            &metric::SLOW_LEAFS,
        ],
        needs: slow::NEEDS,
        run: slow::run,
        joint: None,
    },
    Mode {
        name: "pending",
        help: "bytes that wait for slow clients, and which clients these are",
        metrics: &[&metric::PENDING_MAX, &metric::PENDING_TOTAL],
        needs: pending::NEEDS,
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
        run: traffic::run,
        joint: None,
    },
    Mode {
        name: "cluster",
        help: "whether all members of the mesh are present (--expect says how many) and agree",
        metrics: &[
            &metric::MEMBERS,
            &metric::MEMBERS_MISSING,
            &metric::MESH_PROBLEMS,
        ],
        needs: cluster::NEEDS,
        run: cluster::run,
        joint: Some(Joint {
            help: "each has a route to each of the others, and all have the same version and the \
                   same configuration",
            metrics: &[&metric::ROUTES_MISSING, &metric::VERSIONS, &metric::CONFIGS],
            compare: cluster::compare,
        }),
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
        run: latency::run,
        joint: None,
    },
    Mode {
        name: "ceilings",
        help: "time until open files, connections, subscriptions, queues or memory reach their \
               limit at the present growth, and how close the nearest is; midge only",
        metrics: &[&metric::CEILING_TIME, &metric::CEILING_USED],
        needs: ceilings::NEEDS,
        run: ceilings::run,
        joint: None,
    },
    Mode {
        name: "resources",
        help: "memory, CPU and subscriptions",
        metrics: &[&metric::MEM, &metric::CPU, &metric::SUBSCRIPTIONS],
        needs: resources::NEEDS,
        run: resources::run,
        joint: None,
    },
    Mode {
        name: "uptime",
        help: "whether the broker was restarted recently",
        metrics: &[&metric::UPTIME_SHORT],
        needs: uptime::NEEDS,
        run: uptime::run,
        joint: None,
    },
    Mode {
        name: "lameduck",
        help: "whether the broker is in lame duck mode: it stops soon and accepts no new clients",
        metrics: &[&metric::LAME_DUCK],
        needs: lameduck::NEEDS,
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
        run: cert::run,
        joint: None,
    },
    Mode {
        name: "config",
        help: "whether the running configuration has the digest of --digest",
        metrics: &[&metric::CONFIG_AGE],
        needs: config::NEEDS,
        run: config::run,
        joint: None,
    },
    Mode {
        name: "varz",
        help: "any number in /varz, named by --figure",
        metrics: &[&metric::VARZ_FIGURE],
        needs: varz::NEEDS,
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

/// Two samples of the same run of a broker.
struct Compared {
    then: Snapshot,
    now: Snapshot,
    /// Time between the samples by the broker's uptime; more than 0.
    seconds: f64,
}

/// Reads `/varz` and compares it with the run before, or with a second sample after
/// `--sample`. `None`: there is nothing to compare with, which has been reported.
fn compare(check: &mut Check) -> Result<(Varz, Option<Compared>), Failure> {
    let mut varz = check.varz()?;
    let mut now = snapshot(&varz);
    let then = match check.options.sample {
        Some(time) => {
            check.sleep(time)?;
            let then = now;
            varz = check.varz()?;
            now = snapshot(&varz);
            Some(then)
        }
        None => exchange(check, &now)?,
    };
    let Some(then) = then else {
        return Ok((varz, None));
    };
    if !then.is_of_run_of(&now) {
        let text = format!("no baseline yet (broker restarted, started {})", varz.start);
        check.report.say(Status::Ok, &text);
        return Ok((varz, None));
    }
    match then.seconds_until(&now) {
        Some(seconds) if seconds > 0.0 => {
            let compared = Compared { then, now, seconds };
            Ok((varz, Some(compared)))
        }
        _ => {
            let text = "no baseline (the broker's uptime has not changed)";
            check.report.say(Status::Ok, text);
            Ok((varz, None))
        }
    }
}

/// Leaves this run's snapshot for the next one and returns that of the run before.
fn exchange(check: &mut Check, now: &Snapshot) -> Result<Option<Snapshot>, Failure> {
    check.begin_state_file()?;
    let file = StateFile::open(check.options, check.target).map_err(Failure::unknown)?;
    let then = match file.read() {
        Ok(Some(then)) => Some(then),
        Ok(None) => {
            check.report.say(Status::Ok, "no baseline yet (first run)");
            None
        }
        Err(why) => {
            check
                .report
                .say(Status::Ok, &format!("no baseline yet ({why})"));
            None
        }
    };
    // Without it no run would ever find anything out.
    file.write(now).map_err(Failure::unknown)?;
    Ok(then)
}

fn snapshot(varz: &Varz) -> Snapshot {
    Snapshot {
        server_id: varz.server_id.clone(),
        start: varz.start.clone(),
        now: varz.now.clone(),
        slow_consumers: varz.slow_consumers as f64,
        in_msgs: varz.in_msgs as f64,
        out_msgs: varz.out_msgs as f64,
        in_bytes: varz.in_bytes as f64,
        out_bytes: varz.out_bytes as f64,
    }
}

/// Seconds from one RFC 3339 time to another.
pub(super) fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let from = chrono::DateTime::parse_from_rfc3339(from).ok()?;
    let to = chrono::DateTime::parse_from_rfc3339(to).ok()?;
    Some((to - from).as_seconds_f64())
}

/// A limit that percent thresholds can refer to; 0 and below are none.
fn limit(value: i64) -> Option<f64> {
    (value > 0).then_some(value as f64)
}

/// A page of `/connz`, with what is read of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    connections: Vec<Connection>,
}

/// A connection, with what is read of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    cid: u64,
    name: String,
    ip: String,
    pending_bytes: u64,
    stop: Option<String>,
    reason: String,
}

/// A connection as people know it: its name, else its number, and its address.
fn who(connection: &Connection) -> String {
    let name = match connection.name.as_str() {
        "" => format!("cid {}", connection.cid),
        name => super::text::quoted(name),
    };
    match connection.ip.as_str() {
        "" => name,
        ip => format!("{name} {ip}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::range::Range;

    /// The tables are well formed: names and labels once each, labels fit for
    /// perfdata and graphs, defaults readable, thresholds only where one can be set.
    #[test]
    fn the_table_is_sound() {
        let names: BTreeSet<&str> = MODES.iter().map(|mode| mode.name).collect();
        assert_eq!(names.len(), MODES.len());
        for mode in MODES {
            assert!(
                !mode.help.is_empty() && !mode.metrics.is_empty(),
                "{}",
                mode.name
            );
            let labels: BTreeSet<&str> = mode.metrics.iter().map(|metric| metric.label).collect();
            assert_eq!(labels.len(), mode.metrics.len(), "{}", mode.name);
            for metric in mode.metrics {
                let fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
                assert!(metric.label.chars().all(fit), "{}", metric.label);
                assert!(metric.label.len() <= 19, "{}", metric.label);
                for default in [metric.warning, metric.critical] {
                    assert!(default.is_empty() || Range::parse(default, metric.unit).is_ok());
                    assert!(default.is_empty() || metric.option.is_some());
                }
            }
        }
    }
}
