//! Imports and mappings of an account, built from the validated configuration.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Account,
    latency::{LatencyLog, LatencyTerms},
};
use crate::{
    config::accounts::{
        AccountConfig, Destination, ExportKind, Import, ImportKind, RESPONSE_THRESHOLD,
        ResponseKind,
    },
    subject::{
        is_subset, is_wildcard, matches,
        transform::{Renaming, Transform},
    },
};

/// How long a server with JetStream may take to answer.
const JETSTREAM_THRESHOLD: Duration = Duration::from_secs(60);

/// The imports and mappings of one account.
pub struct Imports {
    /// Imported streams.
    pub(super) streams: Vec<StreamImport>,
    services: Vec<Arc<ServiceImport>>,
    mappings: Vec<Arc<Mapping>>,
}

/// A stream of another account that clients of this one may subscribe to.
pub(super) struct StreamImport {
    pub(super) account: Arc<Account>,
    pub(super) subjects: Arc<Renaming>,
    /// Whether traces of a message go on in the importing account.
    pub(super) allow_trace: bool,
}

/// A service of another account that requests of this account go to.
pub struct ServiceImport {
    /// The account of the service.
    pub account: Arc<Account>,
    /// Whether the responder gets the full description of the requester.
    pub share: bool,
    /// How many replies a request may have.
    pub response: ResponseKind,
    /// How long a reply may take.
    pub threshold: Duration,
    /// Whether traces of a message go on in the exporting account.
    pub allow_trace: bool,
    /// How its latency is measured, if it is.
    pub latency: Option<Arc<LatencyTerms>>,
    /// The subject in this account, which may have wildcards.
    pub local_subject: String,
    /// Transforms the subject; `None` if it stays the same.
    request: Option<Transform>,
}

impl ServiceImport {
    /// The JetStream API. Servers with JetStream receive its requests in the system account,
    /// whatever account they come from.
    pub(super) fn of_streams(system: &Arc<Account>) -> Self {
        Self {
            account: system.clone(),
            share: true,
            response: ResponseKind::Singleton,
            threshold: JETSTREAM_THRESHOLD,
            allow_trace: false,
            latency: None,
            local_subject: "$JS.API.>".into(),
            request: None,
        }
    }

    /// The subject in the exporting account for a request to `subject`.
    pub fn request_subject(&self, subject: &[u8]) -> Vec<u8> {
        match &self.request {
            Some(request) => request.applied(subject),
            None => subject.to_vec(),
        }
    }
}

impl Imports {
    /// The subjects in this account of imported services and of mappings.
    pub(super) fn wanted_subjects(&self) -> Vec<String> {
        let services = self.services.iter().map(|it| it.local_subject.clone());
        let mapped = self.mappings.iter().map(|it| it.subject.clone());
        services.chain(mapped).collect()
    }
}

/// The mapping of a published subject.
pub struct Mapping {
    subject: String,
    is_wildcard: bool,
    destinations: Vec<Destination>,
}

impl Mapping {
    /// The transform, if it is the same for all messages.
    pub fn constant(&self) -> Option<&Transform> {
        match &*self.destinations {
            [only] if only.weight == 100 && only.transform.is_constant() => Some(&only.transform),
            _ => None,
        }
    }

    /// Chooses a destination by weight; `None` if the message is dropped.
    pub fn choose(&self) -> Option<&Transform> {
        let mut number = fastrand::u8(..100);
        for destination in &self.destinations {
            match number.checked_sub(destination.weight) {
                Some(rest) => number = rest,
                None => return Some(&destination.transform),
            }
        }
        None
    }
}

/// A destination of a mapping, as a survey goes there.
pub(super) struct MappedWay<'a> {
    /// Messages of a hundred.
    pub(super) weight: u8,
    /// The transform; `None` drops the message.
    pub(super) transform: Option<&'a Transform>,
    /// The mapping in words.
    pub(super) rule: String,
}

impl Mapping {
    /// All that [`Mapping::choose`] may choose.
    pub(super) fn ways(&self) -> impl Iterator<Item = MappedWay<'_>> {
        let sum: u8 = self.destinations.iter().map(|it| it.weight).sum();
        let dropped = MappedWay {
            weight: 100_u8.saturating_sub(sum),
            transform: None,
            rule: format!("mapping {}: dropped", self.subject),
        };
        let chosen = self.destinations.iter().map(|it| MappedWay {
            weight: it.weight,
            transform: Some(&it.transform),
            rule: format!("mapping {} to {}", self.subject, it.subject),
        });
        chosen.chain([dropped]).filter(|way| way.weight > 0)
    }
}

impl Imports {
    /// Imports and mappings of an account; `None` if it has none. `accounts` contains all accounts
    /// it imports from; what is measured is left in `log`.
    pub(super) fn new(
        config: &AccountConfig,
        configs: &[&AccountConfig],
        accounts: &BTreeMap<String, Arc<Account>>,
        cluster: &str,
        log: &Arc<LatencyLog>,
    ) -> Option<Self> {
        let mut imports = Self {
            streams: Vec::new(),
            services: Vec::new(),
            mappings: config
                .mappings
                .iter()
                .map(|mapping| {
                    let of_cluster = mapping.clusters.iter().find(|(name, _)| name == cluster);
                    Arc::new(Mapping {
                        subject: mapping.subject.clone(),
                        is_wildcard: is_wildcard(mapping.subject.as_bytes()),
                        destinations: match of_cluster {
                            Some((_, destinations)) => destinations.clone(),
                            None => mapping.destinations.clone(),
                        },
                    })
                })
                .collect(),
        };
        for import in &config.imports {
            let Some(account) = accounts.get(&import.account).cloned() else {
                continue;
            };
            match &import.kind {
                ImportKind::Stream {
                    subjects,
                    allow_trace,
                } => imports.streams.push(StreamImport {
                    account,
                    subjects: Arc::new(subjects.clone()),
                    allow_trace: *allow_trace,
                }),
                ImportKind::Service { request, share } => {
                    let Terms {
                        response,
                        threshold,
                        allow_trace,
                        latency,
                    } = terms_of(configs, import, log);
                    imports.services.push(Arc::new(ServiceImport {
                        account,
                        share: *share,
                        response,
                        threshold,
                        allow_trace,
                        latency,
                        local_subject: import.local_subject.clone(),
                        request: Some(request.clone()),
                    }));
                }
            }
        }
        let is_empty = imports.streams.is_empty()
            && imports.services.is_empty()
            && imports.mappings.is_empty();
        (!is_empty).then_some(imports)
    }

    /// Under which subject clients of this account get messages to `subject` in another one that it
    /// imports them from, if they subscribe.
    pub fn imported_as(&self, from: &Arc<Account>, subject: &[u8]) -> Option<Vec<u8>> {
        let mut streams = self.streams.iter();
        let import = streams.find(|import| {
            let subjects = &import.subjects;
            Arc::ptr_eq(&import.account, from)
                && matches(subjects.export_subject.as_bytes(), subject)
        })?;
        Some(import.subjects.to_local.applied(subject))
    }

    /// The services that a message to `subject` is a request to.
    pub fn services<'a>(
        &'a self,
        subject: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<ServiceImport>> {
        let services = self.services.iter();
        services.filter(move |import| matches(import.local_subject.as_bytes(), subject))
    }

    /// The mapping for messages to `subject`: one for exactly this subject, otherwise the first
    /// with a matching pattern.
    pub fn mapping(&self, subject: &[u8]) -> Option<&Arc<Mapping>> {
        let exact =
            |mapping: &&Arc<Mapping>| !mapping.is_wildcard && mapping.subject.as_bytes() == subject;
        let matching = |mapping: &&Arc<Mapping>| {
            mapping.is_wildcard && matches(mapping.subject.as_bytes(), subject)
        };
        let found = self.mappings.iter().find(exact);
        found.or_else(|| self.mappings.iter().find(matching))
    }
}

/// What the export of a service says of requests.
struct Terms {
    response: ResponseKind,
    threshold: Duration,
    allow_trace: bool,
    latency: Option<Arc<LatencyTerms>>,
}

/// Those of the export that the import is from.
fn terms_of(configs: &[&AccountConfig], import: &Import, log: &Arc<LatencyLog>) -> Terms {
    let source = configs.iter().rfind(|config| config.name == import.account);
    let exports = source.map(|config| &*config.exports).unwrap_or_default();
    exports
        .iter()
        .filter(|export| is_subset(import.export_subject.as_bytes(), export.subject.as_bytes()))
        .find_map(|export| match &export.kind {
            ExportKind::Service {
                response,
                threshold,
                allow_trace,
                latency,
            } => Some(Terms {
                response: *response,
                threshold: *threshold,
                allow_trace: *allow_trace,
                latency: latency.as_ref().map(|latency| {
                    let terms = LatencyTerms::new(&import.account, &export.subject, latency, log);
                    Arc::new(terms)
                }),
            }),
            ExportKind::Stream => None,
        })
        .unwrap_or(Terms {
            response: ResponseKind::Singleton,
            threshold: RESPONSE_THRESHOLD,
            allow_trace: false,
            latency: None,
        })
}
