//! What the broker at the other end of a leafnode connection is to this one, as far as it decides
//! which messages and which interest go there.
//!
//! One end of each leafnode connection is the *hub* and the other a *spoke*; usually the one that
//! dials is the spoke. A spoke is told of all interest here but its own. A hub is told of the interest
//! of subscribers and spokes here alone: for each member of its cluster a spoke keeps a connection of
//! its own, and what comes from a hub stays with the subscribers and spokes here. `leafnode` makes a
//! [`LeafSide`] for each connection; `account` and `interest` look at it.

use std::sync::Arc;

use crate::{
    protocol::leafnode::UNJUDGED,
    security::permissions::{Permissions, SubscribeDecision},
};

/// The other side of a leafnode connection.
pub struct LeafSide {
    /// The cluster of the other side, or, if it is in none, a text of its own that begins with a blank. Nothing goes from one
    /// member of a cluster to another one by way of this broker: they have routes for that.
    pub origin: Arc<str>,
    /// Whether the other side is a hub of this broker, and not a spoke.
    pub is_hub: bool,
    /// Whether it is not told of the interest of other leafnodes.
    pub is_isolated: bool,
    /// What may be sent to it, as the rules of a subscriber; `None` for everything.
    pub receives: Option<Arc<Permissions>>,
    /// Which interest it may be told of, as the rules of a subscriber: a hub closes the connection of a
    /// spoke that wants what it may not have. `None` for all.
    pub announces: Option<Arc<Permissions>>,
}

/// Where a message comes from, as far as that decides to which leafnodes it goes.
#[derive(Clone, Copy, Default)]
pub enum Source<'a> {
    /// From a client, or from the broker itself.
    #[default]
    Here,
    /// From a peer of the cluster, which may have it from a leafnode of the cluster of that name. Only
    /// the broker where a message is published sends it to a hub.
    Route(Option<&'a [u8]>),
    /// From a leafnode.
    Leafnode(&'a LeafSide),
}

impl Source<'_> {
    /// Whether peers of the cluster get the message.
    pub fn reaches_routes(self) -> bool {
        match self {
            Self::Here => true,
            Self::Route(_) => false,
            Self::Leafnode(side) => !side.is_hub,
        }
    }
}

impl LeafSide {
    /// The name of its cluster, if it is in one.
    pub fn cluster(&self) -> Option<&str> {
        (!self.origin.starts_with(' ')).then_some(&*self.origin)
    }

    /// Whether the other side gets a message to `subject` for its members of `queue`, or for its
    /// subscribers outside of queue groups.
    pub fn gets(&self, subject: &[u8], queue: Option<&[u8]>, from: Source<'_>) -> bool {
        let is_on_the_way = match from {
            Source::Here => true,
            Source::Route(origin) => {
                !self.is_hub && origin.is_none_or(|origin| *origin != *self.origin.as_bytes())
            }
            Source::Leafnode(other) => {
                other.origin != self.origin && !(other.is_hub && self.is_hub)
            }
        };
        is_on_the_way && self.may_receive(subject, queue)
    }

    /// Whether it may be told of interest in a key: a subject, followed by a queue group if there is
    /// one.
    pub fn may_be_told(&self, key: &[u8]) -> bool {
        let Some(permissions) = &self.announces else {
            return true;
        };
        let mut parts = key.split(|byte| *byte == b' ');
        let subject = parts.next().unwrap_or(key);
        UNJUDGED.iter().any(|prefix| subject.starts_with(prefix))
            || permissions.check_subscription(subject, parts.next()) != SubscribeDecision::Deny
    }

    /// Whether a message to a subject without wildcards may be sent to it.
    pub fn may_receive(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.receives.as_ref().is_none_or(|permissions| {
            permissions.check_subscription(subject, queue) != SubscribeDecision::Deny
        })
    }
}
