//! Requests that change something: closing a client, tracing one, reading the
//! configuration again, forgetting a member of the cluster or a node. Only by POST on the Unix socket; see
//! [`crate::monitor::http::service`], which asks for both.

use std::{pin::Pin, sync::Arc, time::Duration};

use hyper::StatusCode;
use monitor_client::{
    control::{Chosen, Forgotten, Kicked, Rebalanced, Reloaded, Traced},
    text::plural,
};
use tokio::{sync::oneshot, time::timeout};
use tracing::info;

use super::{super::Monitor, query::Query, refusal::Refusal, time_text::rfc3339};
use crate::{
    connection::{CloseReason, Connection, Kind},
    log,
    server::{
        rebalance::{Progress, RATE, RATE_MAX},
        reload::{Outcome, Purpose},
    },
    telemetry::MonotonicMillis,
};

/// Default and maximum of the seconds that a client is traced.
const TRACE_SECONDS: (u64, u64) = (10, 600);

/// Lines that are logged for it.
const TRACE_LINES: (u64, u64) = (1_000, 100_000);

/// How long an answer waits for a reload.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A reload that runs without blocking other requests.
pub(in crate::monitor) type Reloading =
    Pin<Box<dyn Future<Output = Result<Reloaded, Refusal>> + Send>>;

/// `/kick`: closes the clients that `cid`, `name` and `user` choose.
pub(in crate::monitor) fn kick(monitor: &Monitor, query: &Query) -> Result<Kicked, Refusal> {
    let chosen = choose(monitor, query)?;
    for connection in &chosen {
        log::about(connection).info(format_args!("Kicked through the monitoring socket"));
        connection.close(CloseReason::Kicked);
    }
    Ok(Kicked {
        kicked: chosen
            .iter()
            .map(|connection| chosen_client(connection))
            .collect(),
    })
}

/// `/trace`: logs what the clients send that `cid`, `name` and `user` choose,
/// for `seconds` and at most `lines` lines each.
pub(in crate::monitor) fn trace(monitor: &Monitor, query: &Query) -> Result<Traced, Refusal> {
    let seconds = bounded(query, "seconds", TRACE_SECONDS)?;
    let lines = bounded(query, "lines", TRACE_LINES)?;
    let chosen = choose(monitor, query)?;
    let until = MonotonicMillis(
        MonotonicMillis::now()
            .0
            .saturating_add(seconds.saturating_mul(1000)),
    );
    for connection in &chosen {
        log::about(connection).info(format_args!(
            "Traced for {:?} or {}",
            Duration::from_secs(seconds),
            plural(lines, "line"),
        ));
        // The bound is far below.
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        connection.trace.give(lines, until);
    }
    Ok(Traced {
        traced: chosen
            .iter()
            .map(|connection| chosen_client(connection))
            .collect(),
        seconds,
        lines,
    })
}

/// `/reload`: reads the configuration again; `dry_run=1` only shows what that
/// would change, and with `file` what another file would. Files may hang, and other requests do
/// not wait for them.
pub(in crate::monitor) fn reload(monitor: &Monitor, query: &Query) -> Result<Reloading, Refusal> {
    let dry_run = query.boolean("dry_run")?;
    let file = Some(query.text("file")).filter(|file| !file.is_empty());
    let purpose = match (dry_run, file) {
        (true, file) => Purpose::Try(file.map(|file| file.into_owned().into())),
        (false, None) => Purpose::Apply,
        (false, Some(_)) => {
            let text =
                "Another file is only compared: write dry_run=1, or replace the broker's own.";
            return Err(Refusal::bad_request(text.into()));
        }
    };
    let (sender, outcome) = oneshot::channel();
    monitor.server.reload(purpose, |outcome| {
        // The client may have gone.
        let _ = sender.send(outcome);
    });
    Ok(Box::pin(async move {
        let refused = |status, message: String| Err(Refusal { status, message });
        match timeout(RELOAD_TIMEOUT, outcome).await {
            Ok(Ok(Outcome {
                error: Some(error), ..
            })) => refused(StatusCode::UNPROCESSABLE_ENTITY, error),
            Ok(Ok(outcome)) => Ok(outcome.answer(dry_run)),
            Ok(Err(_)) => refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The reload ended early; see the log.".into(),
            ),
            Err(_) => refused(
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "The reload is still under way after {RELOAD_TIMEOUT:?}: it waits for a file, \
                     see /explainz. Its result will be in the log."
                ),
            ),
        }
    }))
}

/// `/rebalance`: sends clients to other members of the cluster, `rate` a second: those beyond an even
/// share, or `count` of them; with `force=1` even if most cannot be moved. `stop=1` ends that,
/// `progress=1` shows how far it is.
pub(in crate::monitor) fn rebalance(
    monitor: &Monitor,
    query: &Query,
) -> Result<Rebalanced, Refusal> {
    let server = &monitor.server;
    let rate = bounded(query, "rate", (RATE, RATE_MAX))?;
    let count = Some(query.unsigned("count")?).filter(|count| *count > 0);
    if query.boolean("stop")? {
        server.rebalancing.stop();
    } else if !query.boolean("progress")? {
        let begun = server.rebalance(count, rate, query.boolean("force")?);
        begun.map_err(|message| Refusal {
            status: StatusCode::CONFLICT,
            message,
        })?;
    }
    let progress = server.rebalancing.progress();
    Ok(progress.map_or_else(Rebalanced::default, rebalanced))
}

fn rebalanced(progress: Progress) -> Rebalanced {
    Rebalanced {
        running: progress.running,
        since: rfc3339(progress.since.time_of_day()),
        to_move: progress.to_move,
        moved: progress.moved,
        immovable: progress.immovable,
        rate: progress.rate,
        ended: progress.ended,
    }
}

/// `/forget`: the `member` of the cluster is no longer expected, whose route is
/// gone and which the configuration does not name; or the `node`, which was learned and is gone.
pub(in crate::monitor) fn forget(monitor: &Monitor, query: &Query) -> Result<Forgotten, Refusal> {
    let (member, node) = (query.text("member"), query.text("node"));
    if member.is_empty() == node.is_empty() {
        let text = "Name the member: member=NAME, its id or its host:port; or a node: node=NAME.";
        return Err(Refusal::bad_request(text.into()));
    }
    if !node.is_empty() {
        let forgotten = monitor.server.broker.nodes.forget(&node);
        forgotten.map_err(|message| Refusal {
            status: StatusCode::CONFLICT,
            message,
        })?;
        info!("Node forgotten through the monitoring socket: {node}");
        return Ok(Forgotten {
            forgotten: vec![node.into_owned()],
        });
    }
    let Some(cluster) = &monitor.server.cluster else {
        return Err(Refusal::bad_request("This broker is in no cluster.".into()));
    };
    let forgotten = cluster.forget(&member).map_err(|message| Refusal {
        status: StatusCode::CONFLICT,
        message,
    })?;
    info!(
        "Forgotten through the monitoring socket: {}",
        forgotten.join(", ")
    );
    Ok(Forgotten { forgotten })
}

/// The open clients that fit every one of `cid`, `name` and `user` that is
/// there.
fn choose(monitor: &Monitor, query: &Query) -> Result<Vec<Arc<Connection>>, Refusal> {
    let cid = query.unsigned("cid")?;
    let (name, user) = (query.text("name"), query.text("user"));
    if cid == 0 && name.is_empty() && user.is_empty() {
        return Err(Refusal::bad_request(
            "Name the client: cid=, name= or user=.".into(),
        ));
    }
    let mut chosen = monitor.server.broker.registry.open(Kind::Client);
    chosen.retain(|connection| {
        let identity = connection.identity.lock();
        (cid == 0 || connection.cid == cid)
            && (name.is_empty() || identity.name == name || identity.certname == name)
            && (user.is_empty() || identity.user == user)
    });
    if chosen.is_empty() {
        return Err(Refusal {
            status: StatusCode::NOT_FOUND,
            message: "No connected client matches; see /connz.".into(),
        });
    }
    chosen.sort_unstable_by_key(|connection| connection.cid);
    Ok(chosen)
}

/// A number of at least 1 with its default and its bound.
fn bounded(query: &Query, name: &str, (default, max): (u64, u64)) -> Result<u64, Refusal> {
    match query.unsigned(name)? {
        0 => Ok(default),
        number if number <= max => Ok(number),
        number => Err(Refusal::bad_request(format!(
            "{name} must be from 1 to {max}, not {number}"
        ))),
    }
}

fn chosen_client(connection: &Connection) -> Chosen {
    let identity = connection.identity.lock();
    Chosen {
        cid: connection.cid,
        name: identity.label(),
        address: connection.peer.to_string(),
    }
}
