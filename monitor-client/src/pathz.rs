//! `/pathz`: who would get a message to a subject, and who would not, and why. Nothing is sent. Only
//! midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/pathz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Pathz {
    /// Id of the answering broker, where the message would be published.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// The subject that was asked about.
    pub subject: String,
    /// The account of the publisher.
    pub account: String,
    /// The user, if one was asked about or the connection is one's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The connection that was asked about; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub cid: u64,
    /// Whether the publisher may publish to the subject. If not, there are no ways.
    pub permitted: bool,
    /// What decides that, in words.
    pub permission: String,
    /// How many get the message: subscriptions here, queue groups (one member each), other brokers
    /// with interest outside of queue groups, and the broker itself. What is drawn by weight is
    /// counted with the least.
    pub receivers: u64,
    /// The same with the most.
    pub receivers_max: u64,
    /// The ways of the message: the subject in the publisher's account first, then where mappings
    /// and imports lead.
    pub ways: Vec<PathWay>,
    /// Rows that were counted but not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Whether there were more ways than are followed, so that the counts are too low.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// What else may explain the result, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A subject in an account where the message comes by.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PathWay {
    /// Its number, from 0.
    pub id: u64,
    /// The way that it comes from; none for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// `publish`, `mapping`, `service import` or `reply`.
    pub step: String,
    /// The mapping or import that leads here; empty for the first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Messages of a hundred that go here from where it comes from.
    pub weight: u64,
    /// The account.
    pub account: String,
    /// The subject there; empty if the message is dropped, as the weights of a mapping allow.
    pub subject: String,
    /// Whether the broker itself answers requests to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub served_by_broker: bool,
    /// Imports that are not followed, because the path would be endless or too long.
    #[serde(skip_serializing_if = "is_zero")]
    pub pruned: u64,
    /// Subscriptions outside of queue groups that get the message.
    pub delivered: u64,
    /// Those that do not.
    pub withheld: u64,
    /// The first of both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<PathSubscription>,
    /// Queue groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<PathQueue>,
    /// Other brokers of the cluster with interest outside of queue groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PathMember>,
}

/// A subscription that matches.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PathSubscription {
    /// The client's connection.
    pub cid: u64,
    /// Its name; empty if it has none.
    pub name: String,
    /// Its user; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The account it is in, if it imports the stream from this one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// What it subscribed to.
    pub subscribed: String,
    /// The client's id for the subscription.
    pub sid: String,
    /// The subject that it gets the message under.
    pub subject: String,
    /// Whether it gets the message, or as a member of a queue group may get it.
    pub gets: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A queue group: one member gets the message.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PathQueue {
    /// Its name.
    pub queue: String,
    /// How the one is chosen.
    pub rule: String,
    /// Members here that may get the message.
    pub candidates: u64,
    /// Members here that may not.
    pub withheld: u64,
    /// The first of both.
    pub members: Vec<PathSubscription>,
    /// Other brokers with members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PathPeer>,
}

/// A broker with members of a queue group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PathPeer {
    /// Its name.
    pub name: String,
    /// How many members it has, which is its weight.
    pub weight: u64,
    /// Whether it may get the message for one of them.
    pub candidate: bool,
}

/// Another broker of the cluster.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PathMember {
    /// Its name.
    pub name: String,
    /// The route's connection here.
    pub cid: u64,
    /// Whether it gets the message.
    pub gets: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
