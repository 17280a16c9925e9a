//! From the entries of `cluster` to its options: the readers of keys with rules of
//! their own, rules over more than one key, and what a reload changes.

use super::{
    ClusterOptions, PING_INTERVAL_MAX,
    keys::{CLUSTER, COMPRESSION, LISTENS, NOT_COMPRESSED},
    routes::add_route,
};
use crate::{
    config::{
        options::{
            Options,
            permissions::parse_permissions,
            plan::Plan,
            problems::{Problems, wrong_type},
            reading::entry_of,
            tls::read_block,
            written::Written,
        },
        syntax::{Entry, Value},
    },
    security::{options::TlsOptions, permissions::Rules},
};

/// What a reload changes in the block; adding or removing the block needs a restart.
pub(in crate::config::options) fn plan(plan: &mut Plan<'_, Options>) {
    let (old, new) = (plan.old, plan.new);
    if let (Some(old), Some(new)) = (&old.cluster, &new.cluster) {
        plan.merged.cluster = Some(plan.inner("cluster", &CLUSTER, old, new));
    } else if old.cluster.is_some() != new.cluster.is_some() {
        let there = |options: &Options| match &options.cluster {
            Some(_) => "there".to_owned(),
            None => "not there".to_owned(),
        };
        plan.waits("cluster", LISTENS, (there(old), there(new)));
        plan.merged.cluster.clone_from(&old.cluster);
    }
}

/// Reads the block.
pub(in crate::config::options) fn read(
    options: &mut Options,
    entry: &Entry,
    problems: &mut Problems,
) {
    let cluster = options.cluster_mut();
    let Some(block) = CLUSTER.read_node(cluster, &entry.node, "cluster", problems) else {
        return;
    };
    if let Some(interval) = cluster.ping_interval
        && interval > PING_INTERVAL_MAX
        && let Some(entry) = entry_of(block, &["ping_interval"])
    {
        let most = PING_INTERVAL_MAX.written();
        let text = format!(
            "{:?} of routes is {most} at most; midge uses {most}",
            entry.key
        );
        problems.warn(&entry.position, text);
    }
    if cluster.maps_certificates()
        && cluster.user.is_none()
        && let Some(entry) = entry_of(block, &["tls"])
    {
        let text = "\"verify_and_map\" lets no broker in without a user in \"authorization\": the \
             certificates of the brokers must name that user"
            .to_owned();
        problems.warn(&entry.position, text);
    }
    if cluster.lacks_plain_password()
        && let Some(entry) = entry_of(block, &["authorization"])
    {
        let text = "the password is a hash, and no route has the user with the plain password: \
                    this broker cannot log in to brokers that only other members name, and the \
                    mesh may stay incomplete; write the plain password, or name every broker in \
                    \"routes\""
            .to_owned();
        problems.warn(&entry.position, text);
    }
    cluster.settle();
    if cluster.port.is_none()
        && !(cluster.routes.is_empty() && cluster.srv_routes.is_empty())
        && let Some(entry) = entry_of(block, &["routes"])
    {
        let text = "the cluster needs a port: set \"listen\" or \"port\" in it";
        problems.error(&entry.position, text);
    }
}

pub(super) fn read_compression(_: &mut ClusterOptions, entry: &Entry, problems: &mut Problems) {
    match &entry.node.value {
        Value::Bool(false) => {}
        Value::String(mode) if matches!(&**mode, "off" | "disabled" | "accept") => {}
        value => {
            if let Value::Map(map) = value {
                COMPRESSION.read(&mut (), map, problems);
            }
            match value {
                Value::Bool(_) | Value::Map(_) | Value::String(_) => {
                    problems.warn(&entry.position, NOT_COMPRESSED);
                }
                other => {
                    let text = wrong_type(&entry.key, "a boolean, a mode or a block", other);
                    problems.error(&entry.position, text);
                }
            }
        }
    }
}

pub(super) fn read_permissions(
    cluster: &mut ClusterOptions,
    entry: &Entry,
    problems: &mut Problems,
) {
    if let Some(rules) = checked_permissions(entry, problems) {
        cluster.permissions = rules;
    }
}

/// In the place that older files have; those of the block `cluster` itself have precedence.
pub(super) fn read_login_permissions(
    cluster: &mut ClusterOptions,
    entry: &Entry,
    problems: &mut Problems,
) {
    let text = format!("{:?} belongs into the block \"cluster\" itself", entry.key);
    problems.warn(&entry.position, text);
    if let Some(rules) = checked_permissions(entry, problems)
        && cluster.permissions == Rules::default()
    {
        cluster.permissions = rules;
    }
}

fn checked_permissions(entry: &Entry, problems: &mut Problems) -> Option<Rules> {
    let rules = parse_permissions(&entry.node, problems)?;
    if rules.responses.is_some() {
        let text = "a cluster's permissions have no \"allow_responses\"";
        problems.error(&entry.position, text);
    }
    let patterns = [&rules.publish, &rules.subscribe];
    let has_queue = patterns.iter().any(|rules| {
        let allow = rules.allow.iter().flatten();
        allow
            .chain(&rules.deny)
            .any(|pattern| pattern.queue.is_some())
    });
    if has_queue {
        let text = "a cluster's permissions are subjects without queue groups";
        problems.error(&entry.position, text);
    }
    if rules.has_templates() {
        let text = "a cluster's permissions have no templates: brokers are not users";
        problems.error(&entry.position, text);
    }
    Some(rules)
}

/// Both sides of a route present a certificate, whatever the block says.
pub(super) fn read_tls(cluster: &mut ClusterOptions, entry: &Entry, problems: &mut Problems) {
    let node = &entry.node;
    cluster.tls = problems.map(node, "tls").map(|map| TlsOptions {
        verify: true,
        ..read_block(map, &node.position, problems)
    });
}

pub(super) fn read_routes(cluster: &mut ClusterOptions, entry: &Entry, problems: &mut Problems) {
    let urls = problems.texts(&entry.node, "routes").unwrap_or_default();
    cluster.routes.clear();
    cluster.srv_routes.clear();
    for (url, position) in urls {
        if url.trim_end_matches('/').ends_with(":0") {
            let text = "a route to port 0 is not possible: it is ignored";
            problems.warn(position, text);
            continue;
        }
        problems.noted(position, add_route(cluster, url));
    }
}
