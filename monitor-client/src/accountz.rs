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
    /// Whether its validity is over.
    pub expired: bool,
    /// Whether all that it imports is known.
    pub complete: bool,
    /// Whether it has JetStream.
    pub jetstream_enabled: bool,
    /// Leafnode connections in it.
    pub leafnode_connections: i64,
    /// Client connections in it.
    pub client_connections: i64,
    /// Those at the other members of the cluster, which count for its limit; only
    /// where there is one, and only midge tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_elsewhere: Option<u64>,
    /// Subscriptions in it.
    pub subscriptions: u64,
    /// What becomes of subjects that its clients publish to, by the subject.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, Vec<MappingDestination>>,
    /// What it offers to other accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<AccountExport>,
    /// What it takes from other accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<AccountImport>,
    /// Display name, its name if it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_tag: String,
    /// Figures of its subscription index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sublist_stats: Option<SublistStats>,
}

/// One way that messages of a mapping go.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MappingDestination {
    /// What becomes of the subject.
    pub subject: String,
    /// Messages of a hundred.
    pub weight: u8,
}

/// What an account offers to others.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountExport {
    /// The subject, wildcards included.
    pub subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Singleton` or `Streamed`, of a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub response_type: String,
    /// Who may import it; absent when everybody may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved_accounts: Vec<String>,
}

/// What an account takes from another.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountImport {
    /// The subject there, wildcards included.
    pub subject: String,
    /// Who offers it.
    pub account: String,
    /// The subject here, of a service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// The subject here.
    pub local_subject: String,
    /// `stream` or `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is not in force.
    pub invalid: bool,
    /// Whether the responder is told all about who asks.
    pub share: bool,
    /// Whether its latency is sampled.
    pub tracking: bool,
}

/// Figures of one subscription index, as in `/subsz`.
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
