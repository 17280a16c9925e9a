//! The leafnodes of a running broker: made at the start, checked again by a reload.

use std::{net::SocketAddr, sync::Arc};

use super::{Server, advertised};
use crate::{
    broker::Broker,
    config::Options,
    connection::tls_listener::TlsListener,
    leafnode::{Leafnodes, Node},
};

/// This broker as leafnodes see it.
pub(super) fn node(options: &Options, id: &str, name: &str, address: SocketAddr) -> Node {
    Node {
        server_id: id.to_owned(),
        server_name: name.to_owned(),
        address,
        urls: urls(options, address),
    }
}

/// The addresses that are announced to leafnodes.
pub(super) fn urls(options: &Options, address: SocketAddr) -> Vec<String> {
    let block = options.leafnodes.as_ref();
    match block.filter(|block| !block.no_advertise) {
        Some(block) => advertised::urls_of(block.advertise.as_deref(), &block.host, address),
        None => Vec::new(),
    }
}

/// The leafnodes that the options ask for; `None` if they ask for none.
pub(super) fn new(
    broker: &Arc<Broker>,
    options: &Options,
    node: Node,
    tls: Option<Arc<TlsListener>>,
) -> Option<Arc<Leafnodes>> {
    let block = options.leafnodes.clone()?;
    let is_clustered = options.cluster.is_some();
    Some(Leafnodes::new(
        broker.clone(),
        block,
        node,
        tls,
        &options.authorization,
        is_clustered,
    ))
}

impl Server {
    /// Checks the leafnodes by what a reload has put in force.
    pub(super) fn recheck_leafnodes(&self, options: &Options) {
        if let Some(leafnodes) = &self.leafnodes {
            leafnodes.recheck(&options.authorization);
        }
    }
}
