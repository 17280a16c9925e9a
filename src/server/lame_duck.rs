//! Lame duck mode: stopping without disconnecting all clients at the same time.
//!
//! New connections are refused, or are accepted by the process that has taken over
//! ([`super::upgrade`]). Clients get an INFO that lets them move to another broker. After a
//! grace period the remaining ones are closed one by one over the rest of the lame duck duration.

use std::{sync::atomic::Ordering, time::Duration};

use monitor_client::text::plural;
use tokio::time::sleep;
use tracing::info;

use super::Server;
use crate::{
    broker::{info, system_queue::Notice},
    connection::{CloseReason, Kind},
};

/// The longest pause between two closes.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Waits for the grace period and closes every client.
pub(super) async fn leave(server: &Server) {
    let options = server.options();
    info!(
        "Entering lame duck mode, stop accepting new clients; clients are closed within {:?}",
        options.lame_duck_duration
    );
    server.stopping.store(true, Ordering::Release);
    server.broker.info.write().ldm = true;
    if let Some(cluster) = server.cluster_or_link() {
        cluster.leave();
    }
    if let Some(federation) = server.federation() {
        federation.leave();
    }
    server.broker.system.leave(Notice::LameDuck);
    let clients = server.broker.registry.open(Kind::Client);
    for connection in &clients {
        info::notify_info(&server.broker, connection);
    }
    // Without clients there is nothing to wait for.
    if clients.is_empty() {
        return;
    }
    sleep(options.lame_duck_grace_period).await;
    let clients = server.broker.registry.open(Kind::Client);
    let time = options
        .lame_duck_duration
        .saturating_sub(options.lame_duck_grace_period);
    let count = u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
    let pause = (time / count).min(PAUSE_MAX);
    let closing = plural(clients.len(), "client");
    info!("Closing {closing}, one every {pause:?}");
    for connection in clients {
        connection.close(CloseReason::ServerShutdown);
        sleep(pause).await;
    }
}
