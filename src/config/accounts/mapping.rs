//! From one entry of `mappings` to what it means.

use super::{Destination, Mapping};
use crate::{
    config::{
        options::{
            problems::Problems,
            table::{Block, Key, Kind, Reload, Section, Usual},
        },
        syntax::{Entry, Node, Value},
    },
    subject::{is_valid, transform::Transform},
};

/// Messages of a hundred.
const ALL: u8 = 100;

/// One line of `mappings`: `"subject": "destination"`, or a list of
/// `{ destination, weight, cluster }`.
pub(super) fn read(entry: &Entry, problems: &mut Problems) -> Option<Mapping> {
    let subject = &entry.key;
    if !is_valid(subject.as_bytes()) {
        problems.error(
            &entry.position,
            format!("{subject:?} is not a valid subject"),
        );
        return None;
    }
    let written = match &entry.node.value {
        Value::String(destination) => vec![written(&entry.node, destination, ALL)],
        Value::Array(items) => items
            .iter()
            .map(|item| read_destination(item, problems))
            .collect::<Option<_>>()?,
        _ => vec![read_destination(&entry.node, problems)?],
    };
    let mut mapping = Mapping {
        position: entry.position.clone(),
        subject: subject.clone(),
        destinations: Vec::new(),
        clusters: Vec::new(),
    };
    let sent_back = written.iter().any(|written| written.subject == *subject);
    let mut is_right = true;
    for (at, destination) in written.iter().enumerate() {
        if written[..at]
            .iter()
            .any(|other| other.subject == destination.subject)
        {
            let text = format!("{:?} is twice among the destinations", destination.subject);
            problems.error(&destination.node.position, text);
            is_right = false;
        }
        match Transform::new(subject, &destination.subject) {
            Ok(transform) => mapping.add(destination, transform),
            Err(error) => {
                let text = format!("mapping of {subject:?}: {error}");
                problems.error(&destination.node.position, text);
                is_right = false;
            }
        }
    }
    let clusters = mapping.clusters.iter_mut().map(|(_, ways)| ways);
    for ways in std::iter::once(&mut mapping.destinations).chain(clusters) {
        let sum: u32 = ways.iter().map(|way| u32::from(way.weight)).sum();
        if sum > u32::from(ALL) {
            let text = format!("the weights of {subject:?} add up to {sum}: 100 at most");
            problems.error(&entry.position, text);
            is_right = false;
        } else if !sent_back {
            keep_rest(subject, ways);
        }
    }
    is_right.then_some(mapping)
}

/// A destination as it was written.
struct Written<'a> {
    node: &'a Node,
    subject: String,
    weight: u8,
    cluster: Option<String>,
}

fn written<'a>(node: &'a Node, subject: &str, weight: u8) -> Written<'a> {
    Written {
        node,
        subject: subject.to_owned(),
        weight,
        cluster: None,
    }
}

impl Mapping {
    fn add(&mut self, written: &Written<'_>, transform: Transform) {
        let destination = Destination {
            subject: written.subject.clone(),
            transform,
            weight: written.weight,
        };
        let Some(cluster) = &written.cluster else {
            return self.destinations.push(destination);
        };
        match self.clusters.iter_mut().find(|(name, _)| name == cluster) {
            Some((_, ways)) => ways.push(destination),
            None => self.clusters.push((cluster.clone(), vec![destination])),
        }
    }
}

/// The rest to 100 percent keeps the published subject.
fn keep_rest(subject: &str, ways: &mut Vec<Destination>) {
    let sum: u8 = ways.iter().map(|way| way.weight).sum();
    if sum == ALL {
        return;
    }
    let mut count = 0;
    let kept: Vec<String> = subject
        .split('.')
        .map(|token| match token {
            "*" => {
                count += 1;
                format!("${count}")
            }
            word => word.to_owned(),
        })
        .collect();
    let kept = kept.join(".");
    if let Ok(transform) = Transform::new(subject, &kept) {
        ways.push(Destination {
            subject: kept,
            transform,
            weight: ALL - sum,
        });
    }
}

/// The keys of a mapping's destination.
pub static MAPPING: Block<WrittenDestination> = Block {
    name: "mapping",
    title: "In a destination of `mappings`",
    place: "a mapping's destination",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "destination",
                aliases: &["dest"],
                kind: Kind::Text(|it, text| {
                    it.subject = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("\"new.$1\""),
                doc: "The subject that messages go to instead.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "weight",
                aliases: &[],
                kind: Kind::Structure {
                    form: "0 to 100",
                    read: read_weight,
                    blocks: &[],
                },
                usual: Usual::Example("100"),
                doc: "Messages of a hundred that go there, with or without %.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "cluster",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.cluster = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("fleet"),
                doc: "The cluster in which this destination counts; those without one count in all others.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// A mapping's destination as the file has it.
#[derive(Default)]
pub struct WrittenDestination {
    subject: Option<String>,
    weight: Option<u8>,
    cluster: Option<String>,
}

fn read_destination<'a>(node: &'a Node, problems: &mut Problems) -> Option<Written<'a>> {
    let destination = problems.unless_wrong(|problems| {
        let mut destination = WrittenDestination::default();
        MAPPING.read_node(&mut destination, node, "destination", problems);
        destination
    })?;
    let (Some(subject), Some(weight)) = (destination.subject, destination.weight) else {
        let text = "a mapping's destination needs \"destination\" and \"weight\"";
        problems.error(&node.position, text);
        return None;
    };
    Some(Written {
        cluster: destination.cluster,
        ..written(node, &subject, weight)
    })
}

fn read_weight(destination: &mut WrittenDestination, entry: &Entry, problems: &mut Problems) {
    let weight = match &entry.node.value {
        Value::Integer(number) => u8::try_from(*number).ok(),
        Value::String(text) => text.strip_suffix('%').unwrap_or(text).parse().ok(),
        _ => None,
    };
    destination.weight = weight.filter(|weight| *weight <= ALL);
    if destination.weight.is_none() {
        problems.error(
            &entry.node.position,
            "\"weight\" must be from 0 to 100, with or without %",
        );
    }
}
