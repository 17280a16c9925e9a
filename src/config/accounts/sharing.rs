//! From `exports` and `imports` of an account to what they mean.

use std::time::Duration;

use super::{
    Export, ExportKind, Import, ImportKind, RESPONSE_THRESHOLD, ResponseKind, ServiceLatency,
    latency::{LATENCY, read_latency},
};
use crate::{
    config::{
        options::{
            problems::Problems,
            reading::entry_of,
            table::{Block, Key, Kind, Reload, Section, Usual},
        },
        syntax::{Entry, Map, Node},
    },
    subject::{
        is_valid, is_wildcard,
        transform::{Renaming, Transform, TransformError},
    },
};

/// An export as the file has it.
#[derive(Default)]
pub(super) struct WrittenExport {
    stream: Option<String>,
    service: Option<String>,
    response: Option<ResponseKind>,
    threshold: Option<Duration>,
    allow_trace: Option<bool>,
    latency: Option<ServiceLatency>,
    accounts: Vec<String>,
    position: usize,
}

/// The keys of an export.
pub(super) static EXPORT: Block<WrittenExport> = Block {
    name: "export",
    title: "In an item of `exports` of an account",
    place: "an export",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "stream",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.stream = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("\"a.>\""),
                doc: "Subjects whose messages other accounts may subscribe to.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "service",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.service = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("\"help.*\""),
                doc: "Subjects that other accounts may send requests to.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "response",
                aliases: &["response_type"],
                kind: Kind::Text(|it, text| {
                    it.response = Some(read_response(text)?);
                    Ok(())
                }),
                usual: Usual::Default("singleton"),
                doc: "For a service: the number of replies to a request: singleton (one), stream or chunked (any number).",
                reload: Reload::WithBlock,
            },
            Key {
                name: "threshold",
                aliases: &["response_threshold", "response_max_time", "response_time"],
                kind: Kind::Duration {
                    min: Duration::ZERO,
                    seconds: false,
                    set: |it, time| it.threshold = Some(time),
                },
                usual: Usual::Default("\"2m\""),
                doc: "For a service: how long a reply may take.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "accounts",
                aliases: &[],
                kind: Kind::Structure {
                    form: "string or list of strings",
                    read: |it, entry, problems| {
                        let names = problems.texts(&entry.node, "accounts").unwrap_or_default();
                        it.accounts = names.into_iter().map(|(name, _)| name.to_owned()).collect();
                    },
                    blocks: &[],
                },
                usual: Usual::Example("[B]"),
                doc: "Accounts that may import it; all if not set.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "account_token_position",
                aliases: &[],
                kind: Kind::Integer(i64::MIN..=i64::MAX, |it, number| {
                    it.position = usize::try_from(number).unwrap_or(0)
                }),
                usual: Usual::Default("0"),
                doc: "The token of the subject, counted from 1, that is a `*` and must be the name of the importing account; 0: none.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "latency",
                aliases: &[],
                kind: Kind::Structure {
                    form: "subject or block",
                    read: |it, entry, problems| it.latency = read_latency(entry, problems),
                    blocks: &[&LATENCY],
                },
                usual: Usual::Example("{ sampling: \"100%\", subject: \"latency.help\" }"),
                doc: "For a service with single replies: measures how long requests of other accounts take, and publishes it.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "allow_trace",
                aliases: &[],
                kind: Kind::Bool(|it, value| it.allow_trace = Some(value)),
                usual: Usual::Default("false"),
                doc: "For a service: whether the trace of a request goes on in this account. Otherwise it ends where the request enters it.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// An import as the file has it.
#[derive(Default)]
pub(super) struct WrittenImport {
    stream: Option<WrittenSource>,
    service: Option<WrittenSource>,
    prefix: Option<String>,
    to: Option<String>,
    share: bool,
    allow_trace: Option<bool>,
}

/// Account and subject of what is imported.
#[derive(Default)]
pub(super) struct WrittenSource {
    account: Option<String>,
    subject: Option<String>,
}

/// The keys of an import.
pub(super) static IMPORT: Block<WrittenImport> = Block {
    name: "import",
    title: "In an item of `imports` of an account",
    place: "an import",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "stream",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: |it, entry, problems| it.stream = read_source(entry, problems),
                    blocks: &[&SOURCE],
                },
                usual: Usual::Example("{ account: A, subject: \"a.>\" }"),
                doc: "Messages of another account.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "service",
                aliases: &[],
                kind: Kind::Structure {
                    form: "block",
                    read: |it, entry, problems| it.service = read_source(entry, problems),
                    blocks: &[&SOURCE],
                },
                usual: Usual::Example("{ account: A, subject: \"help.B\" }"),
                doc: "Requests to another account.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "prefix",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.prefix = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("from.a"),
                doc: "For a stream: tokens that its subjects begin with in this account.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "to",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.to = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("\"help\""),
                doc: "The subject in this account, if it differs from the exported one.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "share",
                aliases: &[],
                kind: Kind::Bool(|it, value| it.share = value),
                usual: Usual::Default("false"),
                doc: "For a service: whether the responder gets the full description of the requester in the header `Nats-Request-Info`.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "allow_trace",
                aliases: &[],
                kind: Kind::Bool(|it, value| it.allow_trace = Some(value)),
                usual: Usual::Default("false"),
                doc: "For a stream: whether the trace of a message goes on in this account. Otherwise it ends where the message enters it.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

static SOURCE: Block<WrittenSource> = Block {
    name: "import source",
    title: "In `stream` and `service` of an import",
    place: "an import",
    sections: &[Section {
        title: "",
        keys: &[
            Key {
                name: "account",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.account = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("A"),
                doc: "The account that exports it.",
                reload: Reload::WithBlock,
            },
            Key {
                name: "subject",
                aliases: &[],
                kind: Kind::Text(|it, text| {
                    it.subject = Some(text.to_owned());
                    Ok(())
                }),
                usual: Usual::Example("\"a.>\""),
                doc: "The subject as it is exported.",
                reload: Reload::WithBlock,
            },
        ],
    }],
};

/// The list of exports.
pub(super) fn read_exports(node: &Node, problems: &mut Problems) -> Vec<Export> {
    let items = problems.list(node, "exports").unwrap_or_default();
    let read = |item| {
        let mut export = WrittenExport::default();
        let map = problems
            .unless_wrong(|problems| EXPORT.read_node(&mut export, item, "export", problems))??;
        problems.noted(&item.position, export.meant(item, map))
    };
    items.iter().filter_map(read).collect()
}

/// The list of imports.
pub(super) fn read_imports(node: &Node, problems: &mut Problems) -> Vec<Import> {
    let items = problems.list(node, "imports").unwrap_or_default();
    let read = |item: &Node| {
        let import = problems.unless_wrong(|problems| {
            let mut import = WrittenImport::default();
            IMPORT.read_node(&mut import, item, "import", problems);
            import
        })?;
        problems.noted(&item.position, import.meant(item))
    };
    items.iter().filter_map(read).collect()
}

impl WrittenExport {
    fn meant(self, node: &Node, map: &Map) -> Result<Export, String> {
        let (subject, kind) = match (self.stream, self.service) {
            (Some(subject), None) => {
                if self.response.is_some() || self.threshold.is_some() {
                    return Err(
                        "\"response\" and \"threshold\" belong to services, not to streams".into(),
                    );
                }
                if entry_of(map, &["latency"]).is_some() {
                    return Err("\"latency\" belongs to services, not to streams".into());
                }
                if self.allow_trace.is_some() {
                    return Err("\"allow_trace\" of an export belongs to services; for a stream write it into the import".into());
                }
                (subject, ExportKind::Stream)
            }
            (None, Some(_))
                if self.latency.is_some() && self.response == Some(ResponseKind::Stream) =>
            {
                return Err("\"latency\" needs a service with single replies".into());
            }
            (None, Some(subject)) => {
                let kind = ExportKind::Service {
                    response: self.response.unwrap_or(ResponseKind::Singleton),
                    threshold: self.threshold.unwrap_or(RESPONSE_THRESHOLD),
                    allow_trace: self.allow_trace.unwrap_or(false),
                    latency: self.latency,
                };
                (subject, kind)
            }
            _ => return Err("an export needs either \"stream\" or \"service\"".into()),
        };
        if !is_valid(subject.as_bytes()) {
            return Err(format!("{subject:?} is not a valid subject"));
        }
        let position = self.position;
        let token = subject.split('.').nth(position.wrapping_sub(1));
        if position > 0 && token != Some("*") {
            return Err(format!(
                "\"account_token_position\" {position} is no \"*\" of {subject:?}"
            ));
        }
        Ok(Export {
            position: node.position.clone(),
            subject,
            kind,
            accounts: self.accounts,
            account_token_position: position,
        })
    }
}

fn read_response(text: &str) -> Result<ResponseKind, String> {
    match &*text.to_ascii_lowercase() {
        "single" | "singleton" => Ok(ResponseKind::Singleton),
        "stream" | "chunk" | "chunked" => Ok(ResponseKind::Stream),
        _ => Err(format!(
            "\"response\" must be singleton, stream or chunked, not {text:?}"
        )),
    }
}

impl WrittenImport {
    fn meant(self, node: &Node) -> Result<Import, String> {
        let (is_stream, source) = match (self.stream, self.service) {
            (Some(source), None) => (true, source),
            (None, Some(source)) => (false, source),
            _ => return Err("an import needs either \"stream\" or \"service\"".into()),
        };
        let (Some(account), Some(export_subject)) = (source.account, source.subject) else {
            return Err("an import needs \"account\" and \"subject\"".into());
        };
        let local_subject = match (self.prefix, self.to) {
            (Some(_), Some(_)) => {
                return Err("an import has either \"prefix\" or \"to\"".into());
            }
            (Some(_), None) if !is_stream => {
                return Err("\"prefix\" belongs to streams; write \"to\" for a service".into());
            }
            (Some(prefix), None) => format!("{}.{export_subject}", prefix.trim_end_matches('.')),
            (None, to) => to.unwrap_or_else(|| export_subject.clone()),
        };
        if !is_stream && self.allow_trace.is_some() {
            return Err("\"allow_trace\" of an import belongs to streams; for a service write it into the export".into());
        }
        let wrong = |error: TransformError| {
            format!("import of {export_subject:?} from account {account:?}: {error}")
        };
        let (kind, local_subject) = match is_stream {
            true => {
                let subjects = Renaming::new(&export_subject, &local_subject).map_err(wrong)?;
                let local_subject = subjects.local_subject.clone();
                let allow_trace = self.allow_trace.unwrap_or(false);
                (
                    ImportKind::Stream {
                        subjects,
                        allow_trace,
                    },
                    local_subject,
                )
            }
            false => {
                let (request, local_subject) =
                    request_of(&export_subject, &local_subject).map_err(wrong)?;
                let share = self.share;
                (ImportKind::Service { request, share }, local_subject)
            }
        };
        Ok(Import {
            position: node.position.clone(),
            kind,
            account,
            export_subject,
            local_subject,
        })
    }
}

/// The mapping of a request to the exported subject, and the local subject with `*` for each part
/// that replaces a wildcard.
fn request_of(
    export_subject: &str,
    local_subject: &str,
) -> Result<(Transform, String), TransformError> {
    if !is_wildcard(export_subject.as_bytes()) {
        // Any request here is the same request there.
        let request = Transform::new(local_subject, export_subject)?;
        return Ok((request, local_subject.to_owned()));
    }
    let subjects = Renaming::new(export_subject, local_subject)?;
    Ok((subjects.to_export, subjects.local_subject))
}

/// Account and subject of what is imported, also if one of them is missing.
fn read_source(entry: &Entry, problems: &mut Problems) -> Option<WrittenSource> {
    let mut source = WrittenSource::default();
    SOURCE.read_node(&mut source, &entry.node, &entry.key, problems)?;
    Some(source)
}
