//! Two brokers that are each other's leafnodes: one connection is kept, and the second one is refused.
//! Called by [`super::login`] when a connection is about to be added.
//!
//! Both connections would carry all messages twice, and the subject by which circles are found would
//! come back over each of the two, so that both ended. So the second one is refused before anything is
//! announced on it. One broker alone decides that, as the two may see them in different order: of two
//! midges the one of the smaller id, else the midge, as a nats-server knows nothing of it.

use std::sync::Arc;

use super::{Leafnode, Leafnodes};
use crate::{
    connection::CloseReason,
    peer::End,
    protocol::leafnode::{IS_MUTUAL, LOOP_DETECTED},
};

impl Leafnodes {
    /// Whether a new connection may be added to these, as far as this broker decides that.
    ///
    /// # Errors
    ///
    /// The two are connected already, the other way round.
    pub(super) fn check_mutual<'a>(
        &self,
        mut known: impl Iterator<Item = &'a Arc<Leafnode>>,
        leaf: &Leafnode,
    ) -> Result<(), End> {
        let decides = !leaf.is_midge || self.node.server_id < leaf.server_id;
        if !decides || !known.any(|known| leaf.reverses(known)) {
            return Ok(());
        }
        if leaf.remote.is_none() {
            let loops = &self.broker.telemetry.leafnode_loops;
            loops.count(leaf.name.as_bytes(), 0, leaf.connection.cid);
        }
        // The other side looks for the first two words, and waits.
        let error = format!(
            "{LOOP_DETECTED}: {IS_MUTUAL}: remove this remote. Leafnode account=\"{}\". Delaying \
             attempt to reconnect for 30s",
            leaf.account.name.escape_debug()
        );
        Err(End::with_error(CloseReason::ProtocolViolation, error))
    }
}

impl Leafnode {
    /// Whether another connection joins the same two accounts of the same two brokers, and the other
    /// side dialled it.
    fn reverses(&self, other: &Self) -> bool {
        self.remote.is_some() != other.remote.is_some()
            && !self.server_id.is_empty()
            && self.server_id == other.server_id
            && self.remote_account == other.remote_account
            && Arc::ptr_eq(&self.account, &other.account)
            && !other.connection.is_closing()
    }
}
