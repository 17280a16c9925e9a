//! Metrics of the mesh, and of several brokers together.

use super::Metric;
use crate::range::Unit;

/// Of all brokers together, in each mode.
pub(crate) static BROKERS_ANSWERING: Metric = Metric {
    label: "brokers_answering",
    help: "brokers that answered; the limit is the number of brokers asked",
    ..Metric::PLAIN
};
pub(crate) static CONFIGS: Metric = Metric {
    label: "configs",
    help: "different configurations by their digests; equal files have the same digest, also in \
           midge and nats-server",
    option: Some("configs"),
    warning: "1",
    remedy: "compare the files of the brokers; if they differ on purpose, give --configs-warning \
             their number",
    ..Metric::PLAIN
};
pub(crate) static MEMBERS: Metric = Metric {
    label: "members",
    help: "members of the cluster, the broker itself included",
    option: Some("members"),
    ..Metric::PLAIN
};
pub(crate) static MEMBERS_MISSING: Metric = Metric {
    label: "members_missing",
    help: "members that should be present and are not",
    ..Metric::PLAIN
};
pub(crate) static MESH_LOST: Metric = Metric {
    label: "mesh_lost",
    help: "pairs of brokers between which a message or an answer did not arrive",
    ..Metric::PLAIN
};
pub(crate) static MESH_PROBLEMS: Metric = Metric {
    label: "mesh_problems",
    help: "findings about routes and members; midge only",
    ..Metric::PLAIN
};
pub(crate) static MESH_TIME: Metric = Metric {
    label: "mesh_time",
    unit: Unit::Seconds,
    help: "slowest request from one broker to another, until its answer is back",
    option: Some("mesh"),
    warning: "0.5",
    critical: "1",
    remedy: "look at the round trip times and pending bytes in /routez of the two brokers",
};
pub(crate) static ROUTES_MISSING: Metric = Metric {
    label: "routes_missing",
    help: "routes that are missing between the brokers that answered, each direction by itself",
    ..Metric::PLAIN
};
/// Of all brokers together.
pub(crate) static VERSIONS: Metric = Metric {
    label: "versions",
    help: "different versions of the same program, midge or nats-server",
    option: Some("versions"),
    warning: "1",
    remedy: "upgrade the older brokers; during an upgrade --versions-warning 2 is quiet",
    ..Metric::PLAIN
};
