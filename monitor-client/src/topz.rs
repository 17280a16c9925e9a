//! `/topz`: the connections, users, accounts and subjects with the highest load. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/topz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Topz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// What the lists are sorted by: `msgs`, `bytes`, `pending`, `subs`,
    /// `connects` or `latency`.
    pub sort: String,
    /// The time that rates cover: `1s`, `1m`, `5m` or `start`.
    pub window: String,
    /// Seconds that the window actually covers.
    pub seconds: f64,
    /// Seconds since the sample that the window ends with.
    pub age: f64,
    /// Connections.
    pub connections: Vec<Load>,
    /// Users; those without a login have no entry.
    pub users: Vec<Load>,
    /// Accounts.
    pub accounts: Vec<Load>,
    /// Subjects that messages were published to; estimates of a bounded sketch.
    pub subjects: Vec<SubjectLoad>,
    /// Subjects that were published to without a subscriber.
    pub no_interest: Vec<SubjectLoad>,
}

/// The load of a connection, a user or an account in the window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Load {
    /// Connection id; 0 for users and accounts.
    pub cid: u64,
    /// The connection's name or address, the user, the account.
    pub name: String,
    /// Account.
    pub account: String,
    /// Messages received from it.
    pub in_msgs: u64,
    /// Bytes received from it.
    pub in_bytes: u64,
    /// Messages delivered to it.
    pub out_msgs: u64,
    /// Bytes delivered to it.
    pub out_bytes: u64,
    /// Bytes queued for it now.
    pub pending_bytes: usize,
    /// Its subscriptions now.
    pub subscriptions: usize,
    /// Connections opened; 1 or 0 for a connection.
    pub connects: u64,
    /// Longest time a message to it stayed in the broker in the last minute,
    /// seconds.
    pub latency: f64,
}

/// A subject's load in the window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SubjectLoad {
    /// Subject; of a row that stands for several, with `*` where they differ.
    pub subject: String,
    /// How many subjects it stands for; there may have been more, which were not counted one by one.
    pub subjects: usize,
    /// Account.
    pub account: String,
    /// Messages; the true number is between `msgs - error` and `msgs`.
    pub msgs: u64,
    /// Bytes published, estimated.
    pub bytes: u64,
    /// How much `msgs` may be too high.
    pub error: u64,
    /// Connection id of a publisher of it.
    pub publisher_cid: u64,
    /// That publisher's name, user or address.
    pub publisher: String,
}
