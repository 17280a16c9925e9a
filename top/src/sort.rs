//! The sort orders of connections: one table for the command line, the request, the columns and the
//! help.

use std::cmp::Ordering;

use monitor_client::ConnInfo;

use crate::text::go_seconds;

/// A sort order.
#[derive(Debug)]
pub(crate) struct Sort {
    /// Its name; as in nats-server if it exists there.
    pub(crate) name: &'static str,
    /// The order to request from the broker, so that the first of very many connections are
    /// included.
    pub(crate) request: &'static str,
    /// Whether it only applies to closed connections.
    pub(crate) closed_only: bool,
    /// A short description.
    pub(crate) about: &'static str,
    compare: fn(&Row, &Row) -> Ordering,
}

/// A connection with its rates since the previous answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// The answer.
    pub(crate) info: ConnInfo,
    /// Rates; `None` if it was not in the previous answer.
    pub(crate) rates: Option<Rates>,
}

/// Rates per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// Messages received from it.
    pub(crate) in_msgs: f64,
    /// Messages delivered to it.
    pub(crate) out_msgs: f64,
    /// Bytes received from it.
    pub(crate) in_bytes: f64,
    /// Bytes delivered to it.
    pub(crate) out_bytes: f64,
}

impl Row {
    /// Name, otherwise user, otherwise address.
    pub(crate) fn who(&self) -> String {
        let ConnInfo {
            name,
            authorized_user,
            ..
        } = &self.info;
        match (name.is_empty(), authorized_user.is_empty()) {
            (false, _) => name.clone(),
            (true, false) => authorized_user.clone(),
            (true, true) => self.address(),
        }
    }

    /// Address and port.
    pub(crate) fn address(&self) -> String {
        let ConnInfo { ip, port, .. } = &self.info;
        match ip.contains(':') {
            true => format!("[{ip}]:{port}"),
            false => format!("{ip}:{port}"),
        }
    }

    /// Whether `needle`, in lower case, occurs in the texts that identify it.
    pub(crate) fn matches(&self, needle: &str) -> bool {
        let info = &self.info;
        let texts = [
            &info.name,
            &info.authorized_user,
            &info.account,
            &info.lang,
            &info.version,
            &info.reason,
        ];
        texts
            .iter()
            .any(|text| text.to_lowercase().contains(needle))
            || self.address().contains(needle)
            || info.cid.to_string() == needle
            || info
                .tls_peer_certs
                .iter()
                .any(|certificate| certificate.subject.to_lowercase().contains(needle))
    }
}

impl Sort {
    /// The order with this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SORTS.iter().find(|sort| sort.name == name)
    }

    /// The default: the largest queue first, or the latest closed first.
    pub(crate) fn default_of(closed: bool) -> &'static Self {
        let name = if closed { "stop" } else { "pending" };
        Self::find(name).unwrap_or(&SORTS[0])
    }

    /// Sorts the rows; equal ones by id.
    pub(crate) fn apply(&self, rows: &mut [Row], reversed: bool) {
        rows.sort_by(|a, b| {
            let order = (self.compare)(a, b);
            let order = if reversed { order.reverse() } else { order };
            order.then(a.info.cid.cmp(&b.info.cid))
        });
    }
}

/// All orders. The largest, latest and newest come first.
pub(crate) const SORTS: &[Sort] = &[
    sort("pending", "pending", "bytes waiting for it", |a, b| {
        b.info.pending_bytes.cmp(&a.info.pending_bytes)
    }),
    sort("msgs_to", "msgs_to", "messages delivered to it", |a, b| {
        rate_or(b, |r| r.out_msgs, b.info.out_msgs).total_cmp(&rate_or(
            a,
            |r| r.out_msgs,
            a.info.out_msgs,
        ))
    }),
    sort(
        "msgs_from",
        "msgs_from",
        "messages received from it",
        |a, b| {
            rate_or(b, |r| r.in_msgs, b.info.in_msgs).total_cmp(&rate_or(
                a,
                |r| r.in_msgs,
                a.info.in_msgs,
            ))
        },
    ),
    sort("bytes_to", "bytes_to", "bytes delivered to it", |a, b| {
        rate_or(b, |r| r.out_bytes, b.info.out_bytes).total_cmp(&rate_or(
            a,
            |r| r.out_bytes,
            a.info.out_bytes,
        ))
    }),
    sort(
        "bytes_from",
        "bytes_from",
        "bytes received from it",
        |a, b| {
            rate_or(b, |r| r.in_bytes, b.info.in_bytes).total_cmp(&rate_or(
                a,
                |r| r.in_bytes,
                a.info.in_bytes,
            ))
        },
    ),
    sort("subs", "subs", "subscriptions", |a, b| {
        b.info.subscriptions.cmp(&a.info.subscriptions)
    }),
    sort("rtt", "rtt", "round trip time", |a, b| {
        seconds(&b.info.rtt).total_cmp(&seconds(&a.info.rtt))
    }),
    sort("idle", "idle", "time since its last message", |a, b| {
        seconds(&b.info.idle).total_cmp(&seconds(&a.info.idle))
    }),
    sort("last", "last", "last activity", |a, b| {
        b.info.last_activity.cmp(&a.info.last_activity)
    }),
    sort("uptime", "uptime", "age", |a, b| {
        seconds(&b.info.uptime).total_cmp(&seconds(&a.info.uptime))
    }),
    sort("cid", "cid", "connection id", |a, b| {
        a.info.cid.cmp(&b.info.cid)
    }),
    sort("name", "cid", "name, user or address", |a, b| {
        a.who().cmp(&b.who())
    }),
    sort("user", "cid", "user name", |a, b| {
        a.info.authorized_user.cmp(&b.info.authorized_user)
    }),
    sort("address", "cid", "address", |a, b| {
        (&a.info.ip, a.info.port).cmp(&(&b.info.ip, b.info.port))
    }),
    sort(
        "library",
        "cid",
        "client library and its version",
        |a, b| (&a.info.lang, &a.info.version).cmp(&(&b.info.lang, &b.info.version)),
    ),
    sort("dropped", "cid", "bytes it lost", |a, b| {
        b.info.dropped_bytes.cmp(&a.info.dropped_bytes)
    }),
    Sort {
        closed_only: true,
        ..sort("stop", "stop", "when it was closed", |a, b| {
            b.info.stop.cmp(&a.info.stop)
        })
    },
    Sort {
        closed_only: true,
        ..sort("reason", "reason", "why it was closed", |a, b| {
            a.info.reason.cmp(&b.info.reason)
        })
    },
];

const fn sort(
    name: &'static str,
    request: &'static str,
    about: &'static str,
    compare: fn(&Row, &Row) -> Ordering,
) -> Sort {
    Sort {
        name,
        request,
        closed_only: false,
        about,
        compare,
    }
}

/// The rate if known, so that of the connections with the largest totals, which the broker returns,
/// the busiest come first.
fn rate_or(row: &Row, rate: fn(Rates) -> f64, total: u64) -> f64 {
    // A known rate of zero sorts below any other; totals only decide between equal rates.
    match row.rates {
        Some(rates) => rate(rates) + total as f64 * 1e-12,
        None => total as f64 * 1e-12,
    }
}

fn seconds(text: &str) -> f64 {
    go_seconds(text).unwrap_or(-1.0)
}
