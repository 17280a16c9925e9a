//! The block `nodes`: which nodes should be connected, to some member of the cluster.

use std::{path::PathBuf, time::Duration};

use super::{
    Options,
    problems::Problems,
    table::{Block, FieldAccess, Key, Kind, Reload, Section, Usual},
};
use crate::{
    config::syntax::Entry,
    nodes::{NODES_MAX, is_name, list},
    security::certname_pattern::CertnamePattern,
};

/// How long a node may be away if that is not configured.
const MISSING_AFTER: Duration = Duration::from_secs(5 * 60);

/// Patterns of learned nodes.
const PATTERNS_MAX: usize = 64;

/// Which nodes should be connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodesOptions {
    /// Their certnames.
    pub expected: Vec<String>,
    /// A file with more of them.
    pub file: Option<PathBuf>,
    /// How long nodes that were seen are expected afterwards; zero: none is learned.
    pub learn: Duration,
    /// The certnames of nodes that are learned.
    pub certificates: Vec<CertnamePattern>,
    /// How long a node may be away before it is missing.
    pub missing_after: Duration,
    /// Where it is kept which nodes were seen.
    pub state_file: Option<PathBuf>,
}

impl Default for NodesOptions {
    fn default() -> Self {
        Self {
            expected: Vec::new(),
            file: None,
            learn: Duration::ZERO,
            certificates: Vec::new(),
            missing_after: MISSING_AFTER,
            state_file: None,
        }
    }
}

impl NodesOptions {
    /// Reads the file that it names, to find out whether it can be used.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_file(&self) -> Result<(), String> {
        match &self.file {
            None => Ok(()),
            Some(file) => list::read(file).map(drop),
        }
    }
}

/// What a reload compares.
pub(super) const NODES_ACCESS: FieldAccess<Options> = FieldAccess {
    same: |one, other| one.nodes == other.nodes,
    copy: |to, from| to.nodes.clone_from(&from.nodes),
    written: None,
};

/// The keys of the block.
pub(super) static NODES: Block<NodesOptions> = Block {
    name: "nodes",
    title: "In `nodes`",
    place: "\"nodes\"",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "expected",
                aliases: &[],
                kind: Kind::Structure {
                    form: "list of certnames",
                    read: |nodes, entry, problems| nodes.expected = read_names(entry, problems),
                    blocks: &[],
                },
                usual: Usual::Example("[\"node1.example.net\"]"),
                doc: "Certnames of nodes that should be connected.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "file",
                aliases: &[],
                kind: Kind::Text(|nodes, text| {
                    nodes.file = Some(text).filter(|it| !it.is_empty()).map(PathBuf::from);
                    Ok(())
                }),
                usual: Usual::Example("\"/etc/midge/nodes\""),
                doc: "A file with more of them, one on each line; `#` begins a comment. It is read \
                      again when it has changed.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "learn",
                aliases: &[],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: true,
                    set: |nodes, time| nodes.learn = time,
                },
                usual: Usual::Default("\"0s\""),
                doc: "How long a node that was connected is expected after it was seen last. 0: \
                      only those that are named are expected.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "certificates",
                aliases: &[],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: read_patterns,
                    blocks: &[],
                },
                usual: Usual::Example("[\"*.example.net\"]"),
                doc: "Which clients `learn` takes for nodes: patterns of certnames, as in \
                      `certificate` of a user. Without operators, who come and go.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "missing_after",
                aliases: &[],
                kind: Kind::Duration {
                    min: Duration::from_secs(1),
                    seconds: true,
                    set: |nodes, time| nodes.missing_after = time,
                },
                usual: Usual::Default("\"5m\""),
                doc: "How long an expected node may be connected nowhere before it is missing.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "state_file",
                aliases: &[],
                kind: Kind::Text(|nodes, text| {
                    nodes.state_file = Some(text).filter(|it| !it.is_empty()).map(PathBuf::from);
                    Ok(())
                }),
                usual: Usual::Example("\"/var/lib/midge/nodes\""),
                doc: "File that midge writes: when and where each node was seen last. Without it a \
                      restart forgets learned nodes.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// Reads the block.
pub(super) fn read(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let mut nodes = NodesOptions::default();
    let before = problems.errors.len();
    let Some(_) = NODES.read_node(&mut nodes, &entry.node, "nodes", problems) else {
        return;
    };
    let is_sound = problems.errors.len() == before;
    let learns = !nodes.learn.is_zero();
    if is_sound && learns && nodes.certificates.is_empty() {
        let text = "\"learn\" needs \"certificates\", the certnames of your nodes: otherwise each \
                    operator who leaves would be a missing node";
        problems.error(&entry.position, text);
    }
    if is_sound && !learns && nodes.expected.is_empty() && nodes.file.is_none() {
        let text = "\"nodes\" expects no node: write \"expected\", \"file\" or \"learn\"";
        problems.error(&entry.position, text);
    }
    if is_sound && !learns && !nodes.certificates.is_empty() {
        let text = "\"certificates\" has no effect without \"learn\"";
        problems.warn(&entry.position, text);
    }
    options.nodes = Some(nodes);
}

fn read_names(entry: &Entry, problems: &mut Problems) -> Vec<String> {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    if texts.len() > NODES_MAX {
        let text = format!("{:?} names more than {NODES_MAX} nodes", entry.key);
        problems.error(&entry.position, text);
        return Vec::new();
    }
    let check = |name: &str| match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("{name:?} is no certname")),
    };
    let names = texts
        .into_iter()
        .filter_map(|(name, position)| problems.noted(position, check(name)));
    names.collect()
}

fn read_patterns(nodes: &mut NodesOptions, entry: &Entry, problems: &mut Problems) {
    let texts = problems.texts(&entry.node, &entry.key).unwrap_or_default();
    if texts.len() > PATTERNS_MAX {
        let text = format!("{:?} has more than {PATTERNS_MAX} patterns", entry.key);
        problems.error(&entry.position, text);
        return;
    }
    let patterns = texts
        .into_iter()
        .filter_map(|(text, position)| problems.noted(position, CertnamePattern::parse(text)));
    nodes.certificates = patterns.collect();
}
