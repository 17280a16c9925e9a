//! The route between two processes of one broker, while the new one takes over from the old one
//! (`server::upgrade`): without it, clients of the one could not reach those of the other.
//!
//! Both ends of its connection were made by the old process, and both INFOs are exchanged over the
//! channel of the upgrade, so neither handshake nor login nor TLS is needed. Both brokers have the
//! same name and the same addresses, which is no conflict here; no setting ends this route, gossip
//! does not mention it, and it is not missed when it has ended.
//!
//! A broker without a cluster has a cluster of these two alone ([`Cluster::of_siblings`]), which
//! nothing shows. In a mesh, the new process also dials all the old one's peers
//! ([`Cluster::dial_peers`]), and serves once it has the interest of all ([`Cluster::learn_interest`]).

use std::{net, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{
    client_urls::ClientUrls,
    cluster::{Cluster, Node, Origin},
    discovered::{Announcement, dial_discovered},
    handshake::Introduced,
    serve,
};
use crate::{
    broker::Broker,
    config::options::cluster::{ClusterOptions, RouteUrl},
    connection::{Connection, accepting::OpenSocket},
    protocol::route::RouteInfo,
    telemetry::MonotonicMillis,
};

/// How often members are asked.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// A peer of the old process.
#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub struct PeerAddress {
    /// Its id.
    pub id: String,
    /// `host:port` of its route listener.
    pub address: String,
}

/// One end of the route to the other process, not served yet.
pub struct Sibling {
    cluster: Arc<Cluster>,
    connection: Arc<Connection>,
    stream: Arc<TcpStream>,
}

impl Sibling {
    /// The end that is `stream`. To be called in the runtime.
    ///
    ///  # Errors
    ///
    /// The socket cannot be used.
    pub fn new(cluster: Arc<Cluster>, stream: net::TcpStream) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        let peer = stream.peer_addr()?;
        let stream = Arc::new(TcpStream::from_std(stream)?);
        let connection = cluster.connection(&stream, peer);
        Ok(Self {
            cluster,
            connection,
            stream,
        })
    }

    /// What the other process is to know of this one.
    pub fn info(&self) -> RouteInfo {
        self.cluster.info_for(&self.connection, 0)
    }

    /// Serves the route until it ends; `info` is what the other process said.
    pub async fn serve(self, info: RouteInfo) {
        let _open = OpenSocket::new();
        let introduced = Introduced {
            info,
            rest: Vec::new(),
            accepts_own_messages: true,
            options: self.cluster.options(),
        };
        let (cluster, connection) = (&self.cluster, &self.connection);
        serve(
            cluster,
            connection,
            &self.stream,
            introduced,
            Origin::Sibling,
            None,
        )
        .await;
        connection.outbound().release();
    }
}

impl Cluster {
    /// The cluster of the two processes of a broker that is in none.
    pub fn of_siblings(broker: Arc<Broker>, node: Node) -> Arc<Self> {
        let options = ClusterOptions {
            // The name of a broker without a cluster.
            name: Some(String::new()),
            // Its clients know the address that they have used.
            no_advertise: true,
            ..ClusterOptions::default()
        };
        Self::new(broker, options, node, None, ClientUrls::default())
    }

    /// Whether the broker with this id is the other process of this one.
    pub(super) fn is_sibling(&self, id: &str) -> bool {
        self.route(id)
            .is_some_and(|route| route.origin == Origin::Sibling)
    }

    /// Whether there is a route to another process of this broker.
    pub fn has_sibling(&self) -> bool {
        let routes = self.routes();
        routes.iter().any(|route| route.origin == Origin::Sibling)
    }

    /// The peers, for the process that takes over.
    pub fn peers(&self) -> Vec<PeerAddress> {
        let routes = self.routes().into_iter();
        let others = routes.filter(|route| route.origin != Origin::Sibling);
        others
            .map(|route| PeerAddress {
                id: route.remote_id.clone(),
                address: route.address.clone(),
            })
            .collect()
    }

    /// Takes over the generated name of the cluster from the other process.
    pub fn adopt_generated_name(&self, name: String) {
        let mut own = self.name.write();
        if own.dynamic {
            self.broker.info.write().cluster.clone_from(&name);
            own.text = name;
        }
    }

    /// Dials the peers of the other process, also those that the configuration does not name.
    pub fn dial_peers(self: &Arc<Self>, peers: &[PeerAddress]) {
        let options = self.options();
        for peer in peers {
            // What is no address was not dialled by the other process either.
            if let Ok(url) = RouteUrl::parse(&peer.address)
                && !options
                    .routes
                    .iter()
                    .any(|it| it.host == url.host && it.port == url.port)
            {
                let announcement = Announcement {
                    url,
                    asks_for_login: options.user.is_some(),
                    gossip_mode: 0,
                };
                dial_discovered(self, announcement);
            }
        }
    }

    /// Waits until all interest is known that the brokers with these ids have now: until each has
    /// answered a question, as no message precedes its interest. Returns those of which it is not
    /// known after `timeout`.
    pub async fn learn_interest<'a>(
        &self,
        mut ids: Vec<&'a str>,
        timeout: Duration,
    ) -> Vec<&'a str> {
        let begin = MonotonicMillis::now();
        let deadline = Instant::now() + timeout;
        loop {
            let snapshot = self.snapshot();
            ids.retain(|id| {
                let view = snapshot.member(id).and_then(|it| it.view.as_ref());
                !view.is_some_and(|view| view.was_asked_after(begin))
            });
            if ids.is_empty() || Instant::now() >= deadline {
                return ids;
            }
            self.request_views();
            sleep(ASK_EVERY).await;
        }
    }
}
