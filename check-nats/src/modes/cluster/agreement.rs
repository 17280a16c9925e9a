//! Whether several brokers of one call are one cluster: each has a route to each of the others,
//! and all run the same version and the same configuration.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use monitor_client::{Routez, Varz, text::cut};

use crate::{
    brokers::{Shared, words},
    metric::{CONFIGS, ROUTES_MISSING, VERSIONS},
    report::Report,
    status::Status,
    text::quoted,
};

/// Bytes of a digest that are shown: enough to see which are equal.
const DIGEST_BYTES: usize = 12;

/// What to do about missing routes.
const NO_ROUTE: &str = "compare name, routes, login and TLS in the block cluster of both, and look \
                        for errors about routes in their logs";

/// Most bytes shown of a version.
const VERSION_BYTES_MAX: usize = 32;

/// Most brokers that one broker has routes to; the rest of a longer list is not kept.
const ROUTES_MAX: usize = 1024;

/// Members that were not asked, but are named.
const NOT_ASKED_MAX: usize = 8;

/// A broker as it describes itself.
#[derive(Debug)]
pub struct Member {
    id: String,
    version: Version,
    /// Of the loaded configuration; empty without a file, and from old brokers.
    digest: String,
    /// Name of its cluster; empty without one.
    cluster: String,
    /// The brokers that it has routes to: id and name.
    routes: BTreeMap<String, String>,
}

/// Versions are compared within a program: midge and nats-server may be in one cluster.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Version {
    program: &'static str,
    number: String,
}

impl Member {
    pub(super) fn new(varz: Varz, routez: Routez) -> Self {
        let version = match varz.midge {
            Some(number) => Version {
                program: "midge",
                number,
            },
            None => Version {
                program: "nats-server",
                number: varz.version,
            },
        };
        let routes = routez.routes.into_iter().take(ROUTES_MAX);
        Self {
            id: varz.server_id,
            version,
            digest: varz.config_digest,
            cluster: varz.cluster["name"].as_str().unwrap_or_default().to_owned(),
            routes: routes
                .map(|route| (route.remote_id, route.remote_name))
                .collect(),
        }
    }
}

/// Compares those that answered.
pub fn compare(shared: &Shared, report: &mut Report) {
    shared.with_members(|members| {
        let names = shared.names();
        let known: Vec<(usize, &Member)> = members
            .iter()
            .enumerate()
            .filter_map(|(number, member)| Some((number, member.as_ref()?)))
            .collect();
        if known.len() < 2 {
            report.say(Status::Ok, "fewer than two brokers to compare");
            return;
        }
        routes(&known, names, report);
        cluster_names(&known, names, report);
        versions(&known, names, report);
        digests(&known, names, report);
        not_asked(&known, report);
    });
}

/// Each must have a route to each of the others.
fn routes(known: &[(usize, &Member)], names: &[String], report: &mut Report) {
    let mut missing = Vec::new();
    for (from, member) in known {
        for (to, other) in known {
            if from < to && member.id == other.id {
                let text = format!("{} and {} are the same broker", names[*from], names[*to]);
                report.say(Status::Warning, &text);
            }
            if member.id != other.id && !member.routes.contains_key(&other.id) {
                missing.push((*from, *to));
            }
        }
    }
    report.total(ROUTES_MISSING.label, Some(missing.len() as f64));
    for pairs in words::pairs(&missing, names) {
        report.advise(Status::Critical, &format!("no route {pairs}"), NO_ROUTE);
    }
    if missing.is_empty() {
        let text = format!("{} brokers have routes to each other", known.len());
        report.say(Status::Ok, &text);
    }
}

/// Brokers of differently named clusters make no routes: the cause, if routes are missing.
fn cluster_names(known: &[(usize, &Member)], names: &[String], report: &mut Report) {
    let groups = group(known, |member| Some(&member.cluster));
    if groups.len() > 1 {
        let texts = groups.iter().map(|(cluster, at)| match cluster.is_empty() {
            true => format!("none at {}", named(at, names)),
            false => format!("{} at {}", quoted(cluster), named(at, names)),
        });
        let texts: Vec<String> = texts.collect();
        report.say(
            Status::Critical,
            &format!("different clusters: {}", texts.join(", ")),
        );
    }
}

fn versions(known: &[(usize, &Member)], names: &[String], report: &mut Report) {
    let groups = group(known, |member| Some(&member.version));
    let mut of_program: BTreeMap<&str, usize> = BTreeMap::new();
    for (version, _) in &groups {
        *of_program.entry(version.program).or_default() += 1;
    }
    let different = of_program.values().copied().max().unwrap_or_default();
    let texts = groups.iter().map(|(version, at)| {
        let Version { program, number } = version;
        format!(
            "{program} {} at {}",
            cut(number, VERSION_BYTES_MAX),
            named(at, names)
        )
    });
    let texts: Vec<String> = texts.collect();
    let phrase = match different {
        0 | 1 => "same version".to_owned(),
        _ => format!("different versions: {}", texts.join(", ")),
    };
    report.state(VERSIONS.label, different as f64, None, &phrase);
    report.detail(1, &texts.join(", "));
}

fn digests(known: &[(usize, &Member)], names: &[String], report: &mut Report) {
    let groups = group(known, |member| {
        Some(&member.digest).filter(|digest| !digest.is_empty())
    });
    if groups.is_empty() {
        return report.missing(
            CONFIGS.label,
            "no broker reports a digest of its configuration",
        );
    }
    let texts = groups.iter().map(|(digest, at)| {
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        format!("{} at {}", cut(digest, DIGEST_BYTES), named(at, names))
    });
    let texts: Vec<String> = texts.collect();
    let phrase = match groups.len() {
        1 => "same configuration".to_owned(),
        _ => format!("different configurations: {}", texts.join(", ")),
    };
    report.state(CONFIGS.label, groups.len() as f64, None, &phrase);
    report.detail(1, &format!("digests: {}", texts.join(", ")));
}

/// Members that the others have routes to, but that are not in the list of brokers.
fn not_asked(known: &[(usize, &Member)], report: &mut Report) {
    let asked: BTreeSet<&str> = known.iter().map(|(_, member)| member.id.as_str()).collect();
    let others: BTreeSet<(&String, &String)> = known
        .iter()
        .flat_map(|(_, member)| &member.routes)
        .filter(|(id, _)| !asked.contains(id.as_str()))
        .collect();
    let name = |(id, name): &(&String, &String)| match name.is_empty() {
        true => quoted(id),
        false => quoted(name),
    };
    for other in others.iter().take(NOT_ASKED_MAX) {
        report.detail(
            1,
            &format!("{} is in the cluster, but did not answer here", name(other)),
        );
    }
}

/// The brokers by what they have in common, the largest group first: who differs comes last.
fn group<'a, K: Ord>(
    known: &[(usize, &'a Member)],
    key: impl Fn(&'a Member) -> Option<&'a K>,
) -> Vec<(&'a K, Vec<usize>)> {
    let mut groups: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
    for (number, member) in known {
        if let Some(key) = key(member) {
            groups.entry(key).or_default().push(*number);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, at)| (Reverse(at.len()), at.first().copied()));
    groups
}

fn named(at: &[usize], names: &[String]) -> String {
    words::list(at.iter().map(|number| names[*number].as_str()))
}
