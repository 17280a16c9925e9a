//! The nodes that are connected at the other members: each is asked for them over the system account.
//!
//! `server::nodes` has the questions sent ([`Cluster::ask_for_nodes`]); the answers are picked from a
//! route's messages ([`Cluster::handle_node_list`]) and left for its thread (`nodes::Nodes`).
//! nats-servers do not answer: their clients are not seen.

use std::sync::{Arc, atomic::Ordering};

use serde::Deserialize;
use serde_json::json;
use tracing::debug;

use super::cluster::{Cluster, Route};
use crate::{
    account::Account,
    delivery::SubjectBatch,
    nodes::{NodeList, Remotes},
    protocol::{CRLF, encode::route_message},
};

/// Limit of an answer that is parsed, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// The answer to `$SYS.REQ.SERVER.<id>.NODESZ`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Option<NodeList>,
}

impl Cluster {
    /// Notes which members there are, and asks each for its nodes. Called while the thread's buffers
    /// are not in use.
    pub fn ask_for_nodes(&self, remotes: &mut Remotes) {
        let routes = self.routes();
        let name = |route: &Arc<Route>| (route.remote_id.clone(), route.remote_name.clone());
        remotes.keep(&routes.iter().map(name).collect::<Vec<_>>());
        for route in routes {
            self.ask_member_for_nodes(&route, remotes);
        }
    }

    /// Asks one member, perhaps for the next part of its nodes.
    pub fn ask_again_for_nodes(&self, id: &str, remotes: &Remotes) {
        if let Some(route) = self.route(id) {
            self.ask_member_for_nodes(&route, remotes);
        }
    }

    fn ask_member_for_nodes(&self, route: &Route, remotes: &Remotes) {
        let Some(system) = self.broker.accounts.system() else {
            return;
        };
        let (since, after) = remotes.question(&route.remote_id);
        let body = json!({ "since": since, "after": after }).to_string();
        let subject = format!("$SYS.REQ.SERVER.{}.NODESZ", route.remote_id);
        let reply = subject_of_answers(&self.node.server_id);
        let request = route_message(&system.name, &subject, &reply, body.as_bytes());
        route.is_asked_for_nodes.store(true, Ordering::Release);
        route.connection.send_now(&request);
    }

    /// Picks members' nodes from the messages of the system account.
    pub(super) fn handle_node_list(
        &self,
        route: &Route,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
    ) {
        let own = batch.subject.strip_prefix(PREFIX.as_bytes());
        if !account.is_system || own != Some(self.node.server_id.as_bytes()) {
            return;
        }
        for message in batch.messages {
            let start = message.header_len.unwrap_or(0) as usize;
            let body = batch.body(message);
            let body = &body[start..body.len() - CRLF.len()];
            // One for each question, and none without the block `nodes`: nobody takes it then.
            if body.len() > ANSWER_MAX || !route.is_asked_for_nodes.swap(false, Ordering::AcqRel) {
                continue;
            }
            match serde_json::from_slice::<Answer>(body) {
                // A member can only report its own nodes.
                Ok(Answer { data: Some(list) }) if list.server_id == route.remote_id => {
                    self.broker.nodes.take_in(list);
                }
                Ok(_) => {}
                Err(error) => debug!(
                    "{} sent an invalid answer about its nodes: {error}",
                    route.remote_name
                ),
            }
        }
    }
}

/// What the subject of answers begins with.
const PREFIX: &str = "$SYS._NODES.";

/// The subject that members send their nodes to; it contains this broker's id.
pub(super) fn subject_of_answers(server_id: &str) -> String {
    format!("{PREFIX}{server_id}")
}
