//! `latency` of an exported service.

use super::{LatencySampling, ServiceLatency};
use crate::{
    config::{
        options::{
            problems::Problems,
            table::{Block, Key, Kind, Reload, Section, Usual},
        },
        syntax::{Entry, Value},
    },
    subject::is_publishable,
};

/// `latency` as the file has it.
#[derive(Default)]
pub(super) struct WrittenLatency {
    sampling: Option<LatencySampling>,
    subject: Option<String>,
}

/// The keys of `latency`.
pub(super) static LATENCY: Block<WrittenLatency> = Block {
    name: "latency",
    title: "In `latency` of an export",
    place: "latency",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "sampling",
                aliases: &[],
                kind: Kind::Structure {
                    form: "percentage or \"headers\"",
                    read: |it, entry, problems| {
                        let sampling = sampling_of(&entry.node.value);
                        it.sampling = problems.noted(&entry.node.position, sampling);
                    },
                    blocks: &[],
                },
                usual: Usual::Default("\"100%\""),
                doc: "How many requests are measured, 1 to 100 percent; headers: only those whose headers say that they are traced (`traceparent`, B3, Uber-Trace-Id), which are measured in any case.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "subject",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.subject = Some(subject_of(text)?);
                    Ok(())
                }),
                usual: Usual::Example("\"latency.help\""),
                doc: "The subject in this account that the measurements are published to.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// Reads a subject, or a block with one.
pub(super) fn read_latency(entry: &Entry, problems: &mut Problems) -> Option<ServiceLatency> {
    let mut written = WrittenLatency::default();
    match &entry.node.value {
        Value::String(text) => {
            written.subject = problems.noted(&entry.node.position, subject_of(text));
        }
        _ => {
            LATENCY.read_node(&mut written, &entry.node, &entry.key, problems)?;
            if written.subject.is_none() {
                let why = "\"latency\" needs \"subject\", where the measurements are published";
                problems.noted::<()>(&entry.position, Err(why.into()));
            }
        }
    }
    Some(ServiceLatency {
        subject: written.subject?,
        sampling: written.sampling.unwrap_or(LatencySampling::Percent(100)),
    })
}

fn subject_of(text: &str) -> Result<String, String> {
    match is_publishable(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not a subject that can be published to"
        )),
    }
}

fn sampling_of(value: &Value) -> Result<LatencySampling, String> {
    let percent = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) if text.trim().eq_ignore_ascii_case("headers") => {
            return Ok(LatencySampling::Headers);
        }
        Value::String(text) => text.trim_end_matches('%').parse().ok(),
        _ => None,
    };
    percent
        .and_then(|percent| u8::try_from(percent).ok())
        .filter(|percent| (1..=100).contains(percent))
        .map(LatencySampling::Percent)
        .ok_or_else(|| "\"sampling\" must be a percentage from 1 to 100, or headers".to_owned())
}
