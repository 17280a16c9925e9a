//! The block `permissions` of a user, and default permissions.

use std::time::Duration;

use super::{block::Problems, duration::parse_duration};
use crate::{
    config::syntax::{Entry, Node, Value},
    security::permissions::{Pattern, Responses, Rules, SubjectRules},
};

/// Reads what a user may publish and subscribe to.
pub fn parse_permissions(node: &Node, problems: &mut Problems) -> Option<Rules> {
    let map = problems.map(node, "permissions")?;
    let mut rules = Rules::default();
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "publish" | "pub" | "import" => {
                rules.publish = parse_subjects(entry, false, problems);
            }
            "subscribe" | "sub" | "export" => {
                rules.subscribe = parse_subjects(entry, true, problems);
            }
            "allow_responses" | "publish_allow_responses" => {
                rules.responses = parse_responses(entry, problems);
            }
            _ => problems.unknown_key(entry, "permissions"),
        }
    }
    Some(rules)
}

/// A string or a list, or a block with `allow` and `deny`.
fn parse_subjects(entry: &Entry, with_queue: bool, problems: &mut Problems) -> SubjectRules {
    let Value::Map(map) = &entry.node.value else {
        return SubjectRules {
            allow: parse_patterns(entry, with_queue, problems),
            deny: Vec::new(),
        };
    };
    let mut rules = SubjectRules::default();
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "allow" => rules.allow = parse_patterns(entry, with_queue, problems),
            "deny" => rules.deny = parse_patterns(entry, with_queue, problems).unwrap_or_default(),
            _ => problems.unknown_key(entry, "permissions: only allow and deny can stand here"),
        }
    }
    rules
}

fn parse_patterns(
    entry: &Entry,
    with_queue: bool,
    problems: &mut Problems,
) -> Option<Vec<Pattern>> {
    let texts = problems.texts(&entry.node, &entry.key)?;
    let patterns = texts
        .into_iter()
        .filter_map(|(text, position)| problems.noted(position, Pattern::parse(text, with_queue)));
    let patterns: Vec<Pattern> = patterns.collect();
    if patterns.is_empty() && !entry.key.eq_ignore_ascii_case("deny") {
        // As nats-server has it.
        problems.warn(
            &entry.position,
            "an empty list of subjects permits everything: to permit nothing, deny \">\"",
        );
        return None;
    }
    Some(patterns)
}

/// `true`, or a block with `max` and `expires`.
fn parse_responses(entry: &Entry, problems: &mut Problems) -> Option<Responses> {
    let map = match &entry.node.value {
        Value::Bool(permitted) => return permitted.then(Responses::default),
        Value::Map(map) => map,
        value => {
            let found = value.type_name();
            let text = format!(
                "{:?} must be true, false or a block, not {found}",
                entry.key
            );
            problems.error(&entry.position, text);
            return None;
        }
    };
    let mut responses = Responses::default();
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "max" | "max_msgs" | "max_messages" | "max_responses" => {
                match problems.integer(entry) {
                    Some(0) | None => {}
                    // What is negative is unlimited, and so is what nobody reaches.
                    Some(max) => responses.max = u32::try_from(max).ok(),
                }
            }
            "expires" | "expiration" | "ttl" => {
                if let Some(expires) = parse_expiry(entry, problems) {
                    responses.expires = expires;
                }
            }
            _ => problems.unknown_key(entry, "allow_responses"),
        }
    }
    Some(responses)
}

/// The time of a grant: negative is unlimited, nought the default, which is
/// `None` here.
fn parse_expiry(entry: &Entry, problems: &mut Problems) -> Option<Option<Duration>> {
    let text = problems.text(entry)?;
    if let Some(positive) = text.strip_prefix('-') {
        let checked = parse_duration(positive);
        return problems.noted(&entry.position, checked).map(|_| None);
    }
    match problems.noted(&entry.position, parse_duration(text))? {
        Duration::ZERO => None,
        expires => Some(Some(expires)),
    }
}
