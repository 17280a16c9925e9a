//! The block `permissions` of a user, and default permissions.

use std::time::Duration;

use super::{
    duration::parse_duration,
    problems::{Problems, wrong_type},
    table::{Block, Key, Kind, Reload, Section, Usual},
};
use crate::{
    config::syntax::{Entry, Node, Value},
    security::permissions::{Pattern, Responses, Rules, SubjectRules},
};

/// The keys of `permissions`.
pub(in crate::config) static PERMISSIONS: Block<Rules> = Block {
    name: "permissions",
    title: "In `permissions`",
    place: "permissions",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "publish",
                aliases: &["pub", "import"],
                kind: Kind::Structure {
                    form: "string, list or block",
                    read: |rules, entry, problems| {
                        rules.publish = parse_subjects(entry, false, problems)
                    },
                    blocks: &[&SUBJECTS],
                },
                usual: Usual::Example("\"a.>\""),
                doc: "Subjects that the user may publish to: a list, or a block with `allow` and `deny`; all if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "subscribe",
                aliases: &["sub", "export"],
                kind: Kind::Structure {
                    form: "string, list or block",
                    read: |rules, entry, problems| {
                        rules.subscribe = parse_subjects(entry, true, problems)
                    },
                    blocks: &[&SUBJECTS],
                },
                usual: Usual::Example("\"a.>\""),
                doc: "Subjects that the user may subscribe to, in the same form; `subject queue` for one queue group; all if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "allow_responses",
                aliases: &["publish_allow_responses"],
                kind: Kind::Structure {
                    form: "boolean or block",
                    read: read_responses,
                    blocks: &[&RESPONSES],
                },
                usual: Usual::Default("false"),
                doc: "Whether the user may also publish to the reply subjects of messages that it received.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// The keys of `publish` and `subscribe`.
static SUBJECTS: Block<Subjects> = Block {
    name: "publish",
    title: "In `publish` and `subscribe` of `permissions`",
    place: "permissions",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "allow",
                aliases: &[],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: |it, entry, problems| {
                        it.rules.allow = parse_patterns(entry, it.with_queue, problems)
                    },
                    blocks: &[],
                },
                usual: Usual::Example("\"a.>\""),
                doc: "Permitted subjects; all if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "deny",
                aliases: &[],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: |it, entry, problems| {
                        it.rules.deny =
                            parse_patterns(entry, it.with_queue, problems).unwrap_or_default()
                    },
                    blocks: &[],
                },
                usual: Usual::Example("\"a.secret\""),
                doc: "Forbidden subjects; they have precedence over `allow`.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// The keys of `allow_responses`.
static RESPONSES: Block<Responses> = Block {
    name: "allow_responses",
    title: "In `allow_responses` of `permissions`",
    place: "allow_responses",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "max",
                aliases: &["max_msgs", "max_messages", "max_responses"],
                kind: Kind::Integer(i64::MIN..=i64::MAX, |it, max| {
                    // Negative values are unlimited, and so are unreachable ones.
                    if max != 0 {
                        it.max = u32::try_from(max).ok();
                    }
                }),
                usual: Usual::Default("1"),
                doc: "Replies that one message permits; negative is unlimited.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "expires",
                aliases: &["expiration", "ttl"],
                kind: Kind::Text(read_expiry),
                usual: Usual::Default("\"2m\""),
                doc: "How long it permits them; negative: forever.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// Reads what a user may publish and subscribe to.
pub(in crate::config) fn parse_permissions(node: &Node, problems: &mut Problems) -> Option<Rules> {
    let mut rules = Rules::default();
    PERMISSIONS.read_node(&mut rules, node, "permissions", problems)?;
    Some(rules)
}

/// Rules of subjects that are being read.
struct Subjects {
    rules: SubjectRules,
    /// Whether a queue group may follow a subject.
    with_queue: bool,
}

/// A string or a list, or a block with `allow` and `deny`.
fn parse_subjects(entry: &Entry, with_queue: bool, problems: &mut Problems) -> SubjectRules {
    let mut subjects = Subjects {
        rules: SubjectRules::default(),
        with_queue,
    };
    match &entry.node.value {
        Value::Map(map) => SUBJECTS.read(&mut subjects, map, problems),
        _ => subjects.rules.allow = parse_patterns(entry, with_queue, problems),
    }
    subjects.rules
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
fn read_responses(rules: &mut Rules, entry: &Entry, problems: &mut Problems) {
    rules.responses = match &entry.node.value {
        Value::Bool(permitted) => permitted.then(Responses::default),
        Value::Map(map) => {
            let mut responses = Responses::default();
            RESPONSES.read(&mut responses, map, problems);
            Some(responses)
        }
        value => {
            let text = wrong_type(&entry.key, "true, false or a block", value);
            problems.error(&entry.position, text);
            None
        }
    };
}

/// The time of a grant: negative is unlimited, zero the default.
fn read_expiry(responses: &mut Responses, text: &str) -> Result<(), String> {
    if let Some(positive) = text.strip_prefix('-') {
        parse_duration(positive)?;
        responses.expires = None;
        return Ok(());
    }
    match parse_duration(text)? {
        Duration::ZERO => {}
        expires => responses.expires = Some(expires),
    }
    Ok(())
}
