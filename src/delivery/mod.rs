//! Delivery: from a batch of messages to one subject to the outbound queues of its
//! receivers.
//!
//! A *subject batch* ([`SubjectBatch`]) is what a publisher sent to one subject in one read
//! batch. Delivering it to one target at a time, instead of one message to all targets,
//! locks each queue once per batch and keeps its end in the cache. The messages stay where
//! they were read: a delivery differs from a publish only in its head (`MSG subject sid `),
//! the rest is copied in one piece.
//!
//! The targets are subscriptions (`subscriber`), members of queue groups ([`queue_group`])
//! and other brokers ([`remotes`], which appends with `route`): peers of the cluster and leafnodes
//! ([`leaf_side`]); `message_trace` takes a traced message there.
//! [`account`](crate::account) determines them.

mod append;
mod batch;
pub mod leaf_side;
mod message_trace;
pub mod queue_group;
pub mod remote;
mod remote_choice;
pub mod remotes;
mod route;
mod subscriber;
pub mod trace_out;

pub use batch::{ComposedMessage, Pick, SubjectBatch};
pub use remote_choice::Share;
pub use route::{Appended, Routed, TooLong};
