//! The leafnodes of a running broker, and the hubs whose leafnode it is: made at the start, checked
//! again by a reload.

use std::{net::SocketAddr, sync::Arc};

use super::{Server, advertised, prepare::StartError, tls};
use crate::{
    broker::Broker,
    config::{Options, options::leafnodes::LeafnodesOptions},
    connection::tls_listener::TlsListener,
    leafnode::{
        Leafnodes, Node,
        remote::{Remote, Remotes, Settings},
    },
};

/// This broker as leafnodes see it.
pub(super) fn node(options: &Options, id: &str, name: &str, address: Option<SocketAddr>) -> Node {
    let urls = address.map(|address| urls(options, address));
    Node {
        server_id: id.to_owned(),
        server_name: name.to_owned(),
        address,
        urls: urls.unwrap_or_default(),
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

/// The leafnodes that the options ask for.
pub(super) fn new(
    broker: &Arc<Broker>,
    options: &Options,
    node: Node,
    tls: Option<Arc<TlsListener>>,
    remotes: PreparedRemotes,
) -> Arc<Leafnodes> {
    let block = options.leafnodes.clone().unwrap_or_default();
    let is_clustered = options.cluster.is_some();
    let leafnodes = Leafnodes::new(
        broker.clone(),
        block,
        node,
        tls,
        &options.authorization,
        is_clustered,
    );
    remotes.apply(&leafnodes.remotes);
    leafnodes
}

/// The hubs of new options, with their TLS files loaded.
#[derive(Default)]
pub struct PreparedRemotes {
    list: Vec<Arc<Remote>>,
    settings: Settings,
}

impl PreparedRemotes {
    /// Prepares them; those that are there already stay as they are.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn load(options: &Options, current: Option<&Remotes>) -> Result<Self, StartError> {
        let usual = LeafnodesOptions::default();
        let block = options.leafnodes.as_ref().unwrap_or(&usual);
        let list = block.remotes.iter().map(|options| {
            if let Some(known) = current.and_then(|current| current.find(options)) {
                return Ok(known);
            }
            let tls = options.tls().as_ref().map(tls::open).transpose()?;
            Ok(Arc::new(Remote::new(options.clone(), tls)))
        });
        Ok(Self {
            list: list.collect::<Result<_, StartError>>()?,
            settings: Settings {
                reconnect: block.reconnect,
                dial_timeout: block.dial_timeout,
            },
        })
    }

    /// Puts them in force.
    pub(super) fn apply(self, remotes: &Remotes) {
        remotes.set(self.list, self.settings);
    }
}

impl Server {
    /// Checks the leafnodes by what a reload has put in force.
    pub(super) fn recheck_leafnodes(&self, options: &Options) {
        self.leafnodes.recheck(&options.authorization);
    }
}
