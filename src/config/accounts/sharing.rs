//! From `exports` and `imports` of an account to what they mean.

use std::time::Duration;

use super::{
    Export, ExportKind, Import, ImportKind, RESPONSE_THRESHOLD, ResponseKind, entry::Complaints,
};
use crate::{
    config::{
        options::parse_duration,
        syntax::{Map, Node},
    },
    subject::{
        is_valid, is_wildcard,
        transform::{Renaming, Transform, TransformError},
    },
};

/// The list of exports.
pub(super) fn read_exports(node: &Node, complaints: &mut Complaints) -> Vec<Export> {
    let items = complaints.list(node, "\"exports\"").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| read_export(item, complaints))
        .collect()
}

/// The list of imports.
pub(super) fn read_imports(node: &Node, complaints: &mut Complaints) -> Vec<Import> {
    let items = complaints.list(node, "\"imports\"").unwrap_or_default();
    items
        .iter()
        .filter_map(|item| read_import(item, complaints))
        .collect()
}

fn read_export(node: &Node, complaints: &mut Complaints) -> Option<Export> {
    let map = complaints.map(node, "an export")?;
    let (mut stream, mut service) = (None, None);
    let (mut response, mut threshold) = (None, None);
    let (mut accounts, mut position) = (Vec::new(), 0);
    for entry in map.entries_as_written() {
        let node = &entry.node;
        match &*entry.key.to_ascii_lowercase() {
            "stream" => stream = Some(complaints.text(node, "\"stream\"")?),
            "service" => service = Some(complaints.text(node, "\"service\"")?),
            "response" | "response_type" => response = Some(read_response(node, complaints)?),
            "threshold" | "response_threshold" | "response_max_time" | "response_time" => {
                threshold = Some(read_threshold(node, complaints)?);
            }
            "accounts" => accounts = read_names(node, complaints)?,
            "account_token_position" => {
                let number = complaints.integer(node, "\"account_token_position\"")?;
                position = usize::try_from(number).unwrap_or(0);
            }
            "latency" | "allow_trace" => {
                let text = format!("{:?} has no effect: services are not sampled", entry.key);
                complaints.warn(&entry.position, text);
            }
            _ => complaints.unknown(entry, "an export"),
        }
    }
    let (subject, kind) = match (stream, service) {
        (Some(subject), None) if response.is_none() && threshold.is_none() => {
            (subject, ExportKind::Stream)
        }
        (Some(_), None) => {
            let text = "\"response\" and \"threshold\" belong to services, not to streams";
            complaints.error(&node.position, text);
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
            complaints.error(&node.position, text);
            return None;
        }
    };
    if !is_valid(subject.as_bytes()) {
        complaints.error(&node.position, format!("{subject:?} is not a valid subject"));
        return None;
    }
    let token = subject.split('.').nth(position.wrapping_sub(1));
    if position > 0 && token != Some("*") {
        let text = format!("\"account_token_position\" {position} is no \"*\" of {subject:?}");
        complaints.error(&node.position, text);
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

fn read_response(node: &Node, complaints: &mut Complaints) -> Option<ResponseKind> {
    let text = complaints.text(node, "\"response\"")?;
    match &*text.to_ascii_lowercase() {
        "single" | "singleton" => Some(ResponseKind::Singleton),
        "stream" | "chunk" | "chunked" => Some(ResponseKind::Stream),
        _ => {
            let text = format!("\"response\" must be singleton, stream or chunked, not {text:?}");
            complaints.error(&node.position, text);
            None
        }
    }
}

fn read_threshold(node: &Node, complaints: &mut Complaints) -> Option<Duration> {
    let text = complaints.text(node, "\"threshold\"")?;
    match parse_duration(text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            complaints.error(&node.position, error);
            None
        }
    }
}

fn read_names(node: &Node, complaints: &mut Complaints) -> Option<Vec<String>> {
    let items = complaints.list(node, "\"accounts\"")?;
    items
        .iter()
        .map(|item| Some(complaints.text(item, "an account's name")?.to_owned()))
        .collect()
}

fn read_import(node: &Node, complaints: &mut Complaints) -> Option<Import> {
    let map = complaints.map(node, "an import")?;
    let (mut stream, mut service) = (None, None);
    let (mut prefix, mut to, mut share) = (None, None, false);
    for entry in map.entries_as_written() {
        let node = &entry.node;
        match &*entry.key.to_ascii_lowercase() {
            "stream" => stream = Some(complaints.map(node, "\"stream\"")?),
            "service" => service = Some(complaints.map(node, "\"service\"")?),
            "prefix" => prefix = Some(complaints.text(node, "\"prefix\"")?),
            "to" => to = Some(complaints.text(node, "\"to\"")?),
            "share" => share = complaints.boolean(node, "\"share\"")?,
            "allow_trace" => {
                let text = "\"allow_trace\" has no effect: messages are not traced on their way";
                complaints.warn(&entry.position, text);
            }
            _ => complaints.unknown(entry, "an import"),
        }
    }
    let (is_stream, source) = match (stream, service) {
        (Some(source), None) => (true, source),
        (None, Some(source)) => (false, source),
        _ => {
            let text = "an import needs either \"stream\" or \"service\"";
            complaints.error(&node.position, text);
            return None;
        }
    };
    let (account, theirs) = read_source(node, source, complaints)?;
    let ours = match (prefix, to) {
        (Some(_), Some(_)) => {
            complaints.error(&node.position, "an import has either \"prefix\" or \"to\"");
            return None;
        }
        (Some(_), None) if !is_stream => {
            let text = "\"prefix\" belongs to streams; write \"to\" for a service";
            complaints.error(&node.position, text);
            return None;
        }
        (Some(prefix), None) => format!("{}.{theirs}", prefix.trim_end_matches('.')),
        (None, to) => to.unwrap_or(theirs).to_owned(),
    };
    match connect(theirs, &ours, is_stream, share) {
        Ok((kind, ours)) => Some(Import {
            position: node.position.clone(),
            kind,
            account: account.to_owned(),
            theirs: theirs.to_owned(),
            ours,
        }),
        Err(error) => {
            let text = format!("import of {theirs:?} from account {account:?}: {error}");
            complaints.error(&node.position, text);
            None
        }
    }
}

/// How the subjects of both accounts become each other's, and the subject here
/// with `*` for what stands for a wildcard there.
fn connect(
    theirs: &str,
    ours: &str,
    is_stream: bool,
    share: bool,
) -> Result<(ImportKind, String), TransformError> {
    if !is_stream && !is_wildcard(theirs.as_bytes()) {
        // Any request here is the same request there.
        let request = Transform::new(ours, theirs)?;
        return Ok((ImportKind::Service { request, share }, ours.to_owned()));
    }
    let subjects = Renaming::new(theirs, ours)?;
    let ours = subjects.ours.clone();
    let kind = match is_stream {
        true => ImportKind::Stream { subjects },
        false => ImportKind::Service {
            request: subjects.back,
            share,
        },
    };
    Ok((kind, ours))
}

/// Account and subject of what is imported.
fn read_source<'a>(
    node: &Node,
    map: &'a Map,
    complaints: &mut Complaints,
) -> Option<(&'a str, &'a str)> {
    let (mut account, mut subject) = (None, None);
    for entry in map.entries_as_written() {
        match &*entry.key.to_ascii_lowercase() {
            "account" => account = Some(complaints.text(&entry.node, "\"account\"")?),
            "subject" => subject = Some(complaints.text(&entry.node, "\"subject\"")?),
            _ => complaints.unknown(entry, "an import"),
        }
    }
    let found = account.zip(subject);
    if found.is_none() {
        complaints.error(&node.position, "an import needs \"account\" and \"subject\"");
    }
    found
}
