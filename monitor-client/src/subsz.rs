//! `/subsz`: the subscription index.

use serde::{Deserialize, Serialize};

use crate::SubDetail;

/// The answer of `/subsz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Subsz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
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
    /// Maximum number of subscriptions that one subject matched.
    pub max_fanout: u64,
    /// Mean of the subscriptions that a subject matched.
    pub avg_fanout: f64,
    /// Entries on all pages; filled only with `subs=1`.
    pub total: usize,
    /// Entries skipped before this page.
    pub offset: usize,
    /// Maximum number of entries per page.
    pub limit: usize,
    /// The page; only with `subs=1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<SubDetail>,
}
