//! `server_tags` and `server_metadata`: descriptions by which an operator distinguishes
//! brokers. They have no effect.

use super::{Options, problems::Problems};
use crate::config::syntax::Entry;

/// Tags, and pairs of the metadata, at most: they are labels of a metric.
const COUNT_MAX: usize = 64;

/// Bytes of all of them at most.
const LEN_MAX: usize = 4096;

/// Reads a word or a list of words. As nats-server has it: in lower case,
/// without blanks around, each once.
pub(super) fn read_tags(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let Some(texts) = problems.texts(&entry.node, "server_tags") else {
        return;
    };
    let mut tags: Vec<String> = Vec::new();
    for (text, _) in texts {
        let tag = text.trim().to_lowercase();
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if is_too_much(tags.len(), tags.iter().map(String::len).sum()) {
        problems.error(&entry.node.position, too_much("server_tags"));
        return;
    }
    options.server_tags = tags;
}

/// Reads pairs of texts.
pub(super) fn read_metadata(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let Some(map) = problems.map(&entry.node, "server_metadata") else {
        return;
    };
    options.server_metadata.clear();
    for entry in map.entries_as_written() {
        if let Some(text) = problems.text(entry) {
            options
                .server_metadata
                .insert(entry.key.clone(), text.to_owned());
        }
    }
    let pairs = &options.server_metadata;
    let len = pairs.iter().map(|(key, text)| key.len() + text.len()).sum();
    if is_too_much(pairs.len(), len) {
        problems.error(&entry.node.position, too_much("server_metadata"));
    }
}

fn is_too_much(count: usize, len: usize) -> bool {
    count > COUNT_MAX || len > LEN_MAX
}

fn too_much(name: &str) -> String {
    format!("{name:?} may have {COUNT_MAX} entries and {LEN_MAX} bytes")
}
