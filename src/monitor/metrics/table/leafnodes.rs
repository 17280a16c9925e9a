//! The leafnodes of this broker, and the hubs whose leafnode it is.

use monitor_client::LeafRemote;

use super::{Metric, counter, gauge};
use crate::monitor::metrics::{sample::Labels, snapshot::Snapshot};

/// Hubs with series of their own; the first ones of the configuration.
const HUBS_MAX: usize = 100;

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_leafnodes",
        "",
        "Leafnode connections, to leafnodes and to hubs.",
        |now, to| to.add(now.varz.leafnodes),
    ),
    gauge(
        "midge_hub_up",
        "",
        "1 while the hub is connected, else 0, by its first configured address and the account here.",
        |now, to| {
            for hub in hubs(now) {
                to.add_labelled(labels(hub), hub.connected);
            }
        },
    ),
    counter(
        "midge_hub_connects",
        "",
        "How often the hub was reached.",
        |now, to| {
            for hub in hubs(now) {
                to.add_labelled(labels(hub), hub.connects);
            }
        },
    ),
    gauge(
        "midge_hub_rtt_seconds",
        "seconds",
        "Last measured round trip to the hub; absent while there is none.",
        |now, to| {
            for hub in hubs(now) {
                if let Some(rtt) = hub.rtt {
                    to.add_labelled(labels(hub), rtt);
                }
            }
        },
    ),
];

fn hubs(now: &Snapshot) -> impl Iterator<Item = &LeafRemote> {
    let enabled = now.leafz.remotes.iter().filter(|hub| !hub.disabled);
    enabled.take(HUBS_MAX)
}

fn labels(hub: &LeafRemote) -> Labels {
    vec![
        ("hub", hub.urls.first().cloned().unwrap_or_default()),
        ("account", hub.account.clone()),
    ]
}
