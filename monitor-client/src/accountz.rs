//! `/accountz`: the accounts, or one in detail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `/accountz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Accountz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Name of the system account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_account: String,
    /// Names of all accounts; only without `acc`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// The account asked for; only with `acc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_detail: Option<AccountDetail>,
}

/// One account in detail.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountDetail {
    /// Its name.
    pub account_name: String,
    /// Time of its last change, RFC 3339.
    pub update_time: String,
    /// Whether it is the system account.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_system: bool,
    /// Whether it has expired.
    pub expired: bool,
    /// Whether all accounts that it imports from are known.
    pub complete: bool,
    /// Whether it has JetStream.
    pub jetstream_enabled: bool,
    /// Leafnode connections in it.
    pub leafnode_connections: i64,
    /// Client connections in it.
    pub client_connections: i64,
    /// Its connections at the other members of the cluster, which count for its limit; only if it
    /// has a limit, and only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_elsewhere: Option<u64>,
    /// Subscriptions in it.
    pub subscriptions: u64,
    /// Mappings of subjects that its clients publish to, by subject.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, Vec<MappingDestination>>,
    /// What it exports to other accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<AccountExport>,
    /// What it imports from other accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<AccountImport>,
    /// Display name, its name if it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_tag: String,
    /// Statistics of its subscription index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sublist_stats: Option<SublistStats>,
}

/// One destination of a mapping.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MappingDestination {
    /// The resulting subject.
    pub subject: String,
    /// Its share of the messages in percent.
    pub weight: u8,
}

/// An export of an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountExport {
    /// The subject, which may have wildcards.
    pub subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Singleton` or `Streamed`; only for a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub response_type: String,
    /// How its latency is measured, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<AccountLatency>,
    /// Accounts that may import it; absent if all may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved_accounts: Vec<String>,
}

/// An import of an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountImport {
    /// The subject in the exporting account, which may have wildcards.
    pub subject: String,
    /// The exporting account.
    pub account: String,
    /// The subject in this account; only for a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The subject in this account.
    pub local_subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is not in force.
    pub invalid: bool,
    /// Whether the responder gets the full description of the requester.
    pub share: bool,
    /// Whether its latency is sampled; of replies only, which are not listed.
    pub tracking: bool,
    /// How the latency of the service is measured, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<AccountLatency>,
}

/// How the latency of a service is measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountLatency {
    /// Which requests.
    pub sampling: SamplingRate,
    /// The subject that the measurements are published to.
    pub results: String,
}

/// Which requests are measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum SamplingRate {
    /// So many of a hundred.
    Percent(u8),
    /// `headers`: those whose headers ask for it.
    Named(String),
}

impl Default for SamplingRate {
    fn default() -> Self {
        Self::Percent(0)
    }
}

/// Statistics of one subscription index, as in `/subsz`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SublistStats {
    /// Subscriptions in the index.
    pub num_subscriptions: u64,
    /// Cached match results.
    pub num_cache: u64,
    /// Subscriptions inserted so far.
    pub num_inserts: u64,
    /// Subscriptions removed so far.
    pub num_removes: u64,
    /// Look-ups made so far.
    pub num_matches: u64,
    /// Share of look-ups that a cache answered, 0 to 1.
    pub cache_hit_rate: f64,
    /// Most subscriptions of one cached result.
    pub max_fanout: u64,
    /// Mean of the subscriptions of the cached results.
    pub avg_fanout: f64,
}
