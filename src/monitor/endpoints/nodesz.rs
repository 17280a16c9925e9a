//! `/nodesz`: which expected nodes are missing, since when, and where they were last.

use std::cmp::Reverse;

use monitor_client::{NodeInfo, NodesMember, Nodesz};

use super::{super::Monitor, page::Page, query::Query, refusal::Refusal, time_text::rfc3339};
use crate::{
    nodes::{NodeView, View},
    telemetry::MonotonicMillis,
};

/// The nodes that are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Selected {
    All,
    Missing,
    Present,
}

/// The answer: missing nodes with `state=missing`, which is the default, or those of another state.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Nodesz, Refusal> {
    let selected = match &*query.text("state") {
        "" | "missing" => Selected::Missing,
        "present" => Selected::Present,
        "all" | "any" => Selected::All,
        _ => {
            return Err(Refusal::bad_request(
                "'state' must be one of: missing, present, all".into(),
            ));
        }
    };
    let page = Page::parse(query)?;
    let server = &monitor.server;
    let view = server.broker.nodes.view();
    let mut nodes: Vec<&NodeView> = view.nodes.iter().filter(|it| selected.has(it)).collect();
    nodes.sort_by_key(|node| Reverse(node.absent));
    Ok(Nodesz {
        total: nodes.len(),
        offset: page.offset,
        limit: page.limit,
        nodes: page.cut(nodes).map(node).collect(),
        server_id: server.id.clone(),
        server_name: server.name.clone(),
        now: monitor.now_text(),
        ..summary(&view)
    })
}

/// All but the nodes and the broker.
fn summary(view: &View) -> Nodesz {
    let now = MonotonicMillis::now();
    let member = |(name, nodes, answered): &(String, usize, Option<MonotonicMillis>)| NodesMember {
        name: name.clone(),
        answered: answered.is_some(),
        age: answered.map_or(0.0, |at| at.until(now).as_secs_f64()),
        nodes: *nodes,
    };
    Nodesz {
        enabled: view.enabled,
        age: match view.enabled {
            true => view.at.until(now).as_secs_f64(),
            false => 0.0,
        },
        expected: view.nodes.len(),
        present: view.present,
        missing: view.missing,
        learned: view.learned,
        left_out: view.left_out,
        file_error: view.file_error.clone(),
        state_error: view.state_error.clone(),
        members: view.members.iter().map(member).collect(),
        ..Nodesz::default()
    }
}

impl Selected {
    fn has(self, node: &NodeView) -> bool {
        match self {
            Self::All => true,
            Self::Missing => node.missing,
            Self::Present => node.absent.is_none(),
        }
    }
}

fn node(node: &NodeView) -> NodeInfo {
    let state = match node.absent {
        None => "present",
        Some(_) if node.missing => "missing",
        Some(_) => "away",
    };
    let last = node.last.as_ref();
    NodeInfo {
        certname: node.name.to_string(),
        state: state.into(),
        learned: node.learned,
        absent: node.absent.unwrap_or_default().as_secs_f64(),
        last_seen: last.map_or_else(String::new, |last| rfc3339(last.at)),
        member: last.map_or_else(String::new, |last| last.member.to_string()),
        address: last.map_or_else(String::new, |last| last.address.to_string()),
    }
}
