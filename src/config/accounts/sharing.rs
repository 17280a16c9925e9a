//! From `exports` and `imports` of an account to what they mean.

use std::time::Duration;

use super::{Export, ExportKind, Import, ImportKind, RESPONSE_THRESHOLD, ResponseKind};
use crate::{
    config::{
        options::block::Problems,
        syntax::{Entry, Map, Node, Value},
    },
    subject::{
        is_valid, is_wildcard,
        transform::{Renaming, Transform, TransformError},
    },
};

/// The list of exports.
pub(super) fn read_exports(node: &Node, problems: &mut Problems) -> Vec<Export> {
    let items = problems.list(node, "exports").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| read_export(item, problems))
        .collect()
}

/// The list of imports.
pub(super) fn read_imports(node: &Node, problems: &mut Problems) -> Vec<Import> {
    let items = problems.list(node, "imports").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| read_import(item, problems))
        .collect()
}

fn read_export(node: &Node, problems: &mut Problems) -> Option<Export> {
    let map = problems.map(node, "export")?;
    let (mut stream, mut service) = (None, None);
    let (mut response, mut threshold) = (None, None);
    let (mut accounts, mut position) = (Vec::new(), 0);
    for entry in map.entries_as_written() {
        let node = &entry.node;
        match &*entry.key.to_ascii_lowercase() {
            "stream" => stream = Some(problems.text(entry)?),
            "service" => service = Some(problems.text(entry)?),
            "response" | "response_type" => response = Some(read_response(entry, problems)?),
            "threshold" | "response_threshold" | "response_max_time" | "response_time" => {
                threshold = Some(read_threshold(entry, problems)?);
            }
            "accounts" => {
                let names = problems.texts(node, "accounts")?.into_iter();
                accounts = names.map(|(name, _)| name.to_owned()).collect();
            }
            "account_token_position" => {
                let number = problems.integer(entry)?;
                position = usize::try_from(number).unwrap_or(0);
            }
            "latency" if map.get("stream").is_some() => {
                let text = "\"latency\" belongs to services, not to streams";
                problems.error(&entry.position, text);
            }
            "latency" => {
                let subject = match &node.value {
                    Value::Map(map) => map.get("subject").map(|entry| &entry.node.value),
                    value => Some(value),
                };
                let is_subject =
                    matches!(subject, Some(Value::String(text)) if is_valid(text.as_bytes()));
                match is_subject {
                    true => problems.warn(
                        &entry.position,
                        "\"latency\" has no effect: services are not sampled",
                    ),
                    false => problems.error(
                        &entry.position,
                        "\"latency\" must be a subject or a block with one",
                    ),
                }
            }
            "allow_trace" => read_allow_trace(entry, problems),
            _ => problems.unknown_key(entry, "an export"),
        }
    }
    let (subject, kind) = match (stream, service) {
        (Some(subject), None) if response.is_none() && threshold.is_none() => {
            (subject, ExportKind::Stream)
        }
        (Some(_), None) => {
            let text = "\"response\" and \"threshold\" belong to services, not to streams";
            problems.error(&node.position, text);
            return None;
        }
        (None, Some(subject)) => {
            let kind = ExportKind::Service {
                response: response.unwrap_or(ResponseKind::Singleton),
                threshold: threshold.unwrap_or(RESPONSE_THRESHOLD),
            };
            (subject, kind)
        }
        _ => {
            let text = "an export needs either \"stream\" or \"service\"";
            problems.error(&node.position, text);
            return None;
        }
    };
    if !is_valid(subject.as_bytes()) {
        problems.error(
            &node.position,
            format!("{subject:?} is not a valid subject"),
        );
        return None;
    }
    let token = subject.split('.').nth(position.wrapping_sub(1));
    if position > 0 && token != Some("*") {
        let text = format!("\"account_token_position\" {position} is no \"*\" of {subject:?}");
        problems.error(&node.position, text);
        return None;
    }
    Some(Export {
        position: node.position.clone(),
        subject: subject.to_owned(),
        kind,
        accounts,
        account_token_position: position,
    })
}

fn read_response(entry: &Entry, problems: &mut Problems) -> Option<ResponseKind> {
    let text = problems.text(entry)?;
    match &*text.to_ascii_lowercase() {
        "single" | "singleton" => Some(ResponseKind::Singleton),
        "stream" | "chunk" | "chunked" => Some(ResponseKind::Stream),
        _ => {
            let text = format!("\"response\" must be singleton, stream or chunked, not {text:?}");
            problems.error(&entry.position, text);
            None
        }
    }
}

fn read_threshold(entry: &Entry, problems: &mut Problems) -> Option<Duration> {
    match &entry.node.value {
        Value::String(_) => problems.seconds(entry),
        _ => {
            problems.error(
                &entry.position,
                "\"threshold\" must be a duration such as \"5s\"",
            );
            None
        }
    }
}

fn read_import(node: &Node, problems: &mut Problems) -> Option<Import> {
    let map = problems.map(node, "import")?;
    let (mut stream, mut service) = (None, None);
    let (mut prefix, mut to, mut share) = (None, None, false);
    for entry in map.entries_as_written() {
        let node = &entry.node;
        match &*entry.key.to_ascii_lowercase() {
            "stream" => stream = Some(problems.map(node, "stream")?),
            "service" => service = Some(problems.map(node, "service")?),
            "prefix" => prefix = Some(problems.text(entry)?),
            "to" => to = Some(problems.text(entry)?),
            "share" => share = problems.boolean(entry)?,
            "allow_trace" => read_allow_trace(entry, problems),
            _ => problems.unknown_key(entry, "an import"),
        }
    }
    let (is_stream, source) = match (stream, service) {
        (Some(source), None) => (true, source),
        (None, Some(source)) => (false, source),
        _ => {
            let text = "an import needs either \"stream\" or \"service\"";
            problems.error(&node.position, text);
            return None;
        }
    };
    let (account, export_subject) = read_source(node, source, problems)?;
    let local_subject = match (prefix, to) {
        (Some(_), Some(_)) => {
            problems.error(&node.position, "an import has either \"prefix\" or \"to\"");
            return None;
        }
        (Some(_), None) if !is_stream => {
            let text = "\"prefix\" belongs to streams; write \"to\" for a service";
            problems.error(&node.position, text);
            return None;
        }
        (Some(prefix), None) => format!("{}.{export_subject}", prefix.trim_end_matches('.')),
        (None, to) => to.unwrap_or(export_subject).to_owned(),
    };
    match connect(export_subject, &local_subject, is_stream, share) {
        Ok((kind, local_subject)) => Some(Import {
            position: node.position.clone(),
            kind,
            account: account.to_owned(),
            export_subject: export_subject.to_owned(),
            local_subject,
        }),
        Err(error) => {
            let text = format!("import of {export_subject:?} from account {account:?}: {error}");
            problems.error(&node.position, text);
            None
        }
    }
}

/// How the subjects of both accounts become each other's, and the subject here
/// with `*` for what stands for a wildcard there.
fn connect(
    export_subject: &str,
    local_subject: &str,
    is_stream: bool,
    share: bool,
) -> Result<(ImportKind, String), TransformError> {
    if !is_stream && !is_wildcard(export_subject.as_bytes()) {
        // Any request here is the same request there.
        let request = Transform::new(local_subject, export_subject)?;
        return Ok((
            ImportKind::Service { request, share },
            local_subject.to_owned(),
        ));
    }
    let subjects = Renaming::new(export_subject, local_subject)?;
    let local_subject = subjects.local_subject.clone();
    let kind = match is_stream {
        true => ImportKind::Stream { subjects },
        false => ImportKind::Service {
            request: subjects.to_export,
            share,
        },
    };
    Ok((kind, local_subject))
}

/// Account and subject of what is imported.
fn read_source<'a>(
    node: &Node,
    map: &'a Map,
    problems: &mut Problems,
) -> Option<(&'a str, &'a str)> {
    let (mut account, mut subject) = (None, None);
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "account" => account = Some(problems.text(entry)?),
            "subject" => subject = Some(problems.text(entry)?),
            _ => problems.unknown_key(entry, "an import"),
        }
    }
    let found = account.zip(subject);
    if found.is_none() {
        problems.error(
            &node.position,
            "an import needs \"account\" and \"subject\"",
        );
    }
    found
}

fn read_allow_trace(entry: &Entry, problems: &mut Problems) {
    if problems.boolean(entry) == Some(true) {
        let text = "\"allow_trace\" has no effect: messages are not traced on their way";
        problems.warn(&entry.position, text);
    }
}
