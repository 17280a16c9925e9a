//! Upgrade without a gap: a new process takes over from the running one, and no connection is
//! refused meanwhile.
//!
//! # Who does what
//!
//! `midge --signal upgrade` asks the running broker for it ([`request`]). The **old process** starts
//! the program that it was started as, by the same name and with the same arguments, as its child
//! ([`hand_over`]): so the new one has the same user, limits, sandbox and control group, and whoever
//! may not start a program as this user cannot have one started. The **new process** finds the
//! other end of a channel as its standard input ([`take_over`], [`channel`]). They agree step by
//! step:
//!
//! 1. The old process sends an `Offer`: its listening sockets (client port, route port, monitoring
//!    port and Unix socket) and one end of a connection between the two.
//! 2. The new process reads its configuration, uses the sockets that this names, opens what is
//!    missing, loads its certificates, and reports `Ready`. Nothing of it is active yet.
//! 3. The old process says `Go`. The new one opens the route to the old one and, in a mesh, routes
//!    to all of its peers, and waits until it knows the interest of all, for a few seconds at most.
//!    Then it reports `Joined`.
//! 4. The old process accepts nothing more. If it has no routes, it hands its clients over
//!    ([`move_clients`]): `Client` each, and `NoMore`. The new one subscribes for them, reads and
//!    writes nothing, and answers `Taken`. The old one waits until it knows this interest, and
//!    withdraws the same subscriptions on its side. It says `Serve`; the new one waits until it
//!    knows what the old one is still interested in, and reports `Serving`. Only then it reads, and
//!    accepts connections.
//! 5. For a moment the old process keeps its listening sockets: if the new one ends, or does not
//!    report `Steady`, it accepts again. Then the new one is on its own: the old one tells the
//!    service manager ([`supervision`]), closes its listening sockets, and moves the clients that it
//!    still has in lame duck mode, at the pace of `lame_duck_duration`. It ends with the last of
//!    them.
//!
//! If anything fails before that, the old process ends the new one and serves on. The report
//! `Serving` decides whose the clients are. If the old one does not get it in time, it ends the new
//! one, which has read nothing, and the clients go on as if nothing had happened. From that report on
//! they are the new one's alone: if it fails in the moment after that, they are closed with it, and
//! connect again to the old one. If one of the two is asked to stop before the new one is on its own,
//! both stop: whoever stopped it meant the broker ([`pending`]).
//! Each step has a time limit. The sockets are shared the whole time, so that a client that connects
//! is always in the queue of one of the two.
//!
//! # Each message once
//!
//! While clients are handed over nothing is published: those of the old process have halted, and the
//! new one reads from none. When the first of them goes on, each subscription is at one process
//! alone, and each process knows exactly what the other one is interested in. So a message goes to
//! each plain subscriber and to one member of each queue group, as between any two members of a
//! mesh. When the last member of a group leaves the old process later, what is on its way to it
//! goes back for that group alone (`delivery::remotes`).
//!
//! # Two processes of one broker
//!
//! For a while, two processes have the same name, configuration and addresses, but different ids.
//! Clients of both must reach each other and the rest of the mesh, and a message goes over one route
//! at most. So the old and the new process are two full members of the mesh, joined by a route to
//! each other ([`crate::route::Sibling`]), also if the broker is in no cluster. Peers accept the new
//! one beside the old one, since its name and its address are the same
//! (`route::introduction`, `Route::uses_name_of`); when the old one leaves, they forget it
//! (`route::membership`). nats-servers accept both.
//!
//! # What is not handed over
//!
//! Clients of a broker with routes, those with TLS, and those with much that waits stay with the old
//! process until it closes them. What the broker itself publishes for a client (events of the system
//! account, message traces) between the export of its state and the end of its connection here is
//! lost. Counters, events, incidents and findings stay with it: the new
//! process begins with none. A second upgrade waits until the first has ended.
//!
//! Everything here runs on threads of its own; the threads that serve connections never wait for
//! the other process.

mod channel;
mod hand_over;
mod listeners;
mod move_clients;
mod pending;
pub mod request;
mod successor;
mod supervision;
pub mod take_over;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::sleep;

use super::Server;
use crate::route::{Cluster, Node};
pub(super) use hand_over::{HandOver, Handed, WATCHED_FOR};
pub(super) use listeners::Listeners;
use pending::Pending;

/// How often it is looked whether replies are outstanding.
const REPLIES_POLL: Duration = Duration::from_millis(50);

/// What a server knows about its upgrades.
#[derive(Default)]
pub struct Upgrades {
    /// The cluster of the two processes, of a broker that is in none.
    link: OnceLock<Arc<Cluster>>,
    /// Id of the process that this one has taken over from.
    taken_over_from: OnceLock<u32>,
    /// The new process, before it is on its own.
    pub(super) pending: Pending,
}

/// Waits until no reply is outstanding that this process alone can bring to its requester in
/// another account. Those that do not come expire.
pub(super) async fn wait_for_replies(server: &Server) {
    let accounts = || server.broker.accounts.all().into_iter();
    while accounts().any(|account| !account.replies.is_empty()) {
        sleep(REPLIES_POLL).await;
    }
}

impl Server {
    /// The cluster that has a route to the other process of this broker, if there is or was one.
    pub(super) fn cluster_or_link(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref().or_else(|| self.upgrades.link.get())
    }

    /// The cluster for a route to the other process of this broker.
    fn link(&self) -> Arc<Cluster> {
        let link = || {
            let node = Node {
                server_id: self.id.clone(),
                server_name: self.name.clone(),
                called: self.called.clone(),
                address: self.client_address,
            };
            Cluster::of_siblings(self.broker.clone(), node)
        };
        match &self.cluster {
            Some(cluster) => cluster.clone(),
            None => self.upgrades.link.get_or_init(link).clone(),
        }
    }

    /// Id of the process that this one has taken over from, if it has.
    pub fn taken_over_from(&self) -> Option<u32> {
        self.upgrades.taken_over_from.get().copied()
    }
}
