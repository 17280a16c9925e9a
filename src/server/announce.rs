//! What the broker logs at its start: who it is, what its settings mean, where it serves.

use std::io;

use tracing::{info, warn};

use super::{Server, warnings};
use crate::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION, connection::accepting::Port,
    telemetry::process::open_files_max,
};

/// Logs the version, the id and warnings about the configuration.
pub fn announce(server: &Server, program: &str, files_before: &io::Result<u64>) {
    info!("Starting {program}");
    info!("  Version:  {COMPATIBLE_VERSION} (midge {VERSION})");
    if !GIT_COMMIT.is_empty() {
        info!("  Git:      [{GIT_COMMIT}]");
    }
    info!("  Name:     {}", server.name);
    info!("  ID:       {}", server.id);
    let options = server.options();
    if options.host_is_safe_default {
        info!(
            "Serving clients of this host only, because there is no configuration file, no address \
             and no login. To serve other hosts: -a 0.0.0.0"
        );
    }
    open_files(files_before);
    match server.guest() {
        Some(guest) if !guest.is_unlimited() => info!(
            "Anybody who can connect to {} {}, without a login",
            server.client_address,
            guest.text()
        ),
        // One without limits gets a warning instead.
        Some(_) | None => {}
    }
    for warning in warnings::active(server) {
        warn!("{warning}");
    }
    if let Some(file) = &options.config_file {
        info!(
            "Using configuration file: {} ({})",
            file.display(),
            options.config_digest
        );
    }
}

/// Logs how many files the process may open, since the limit at its start was raised.
fn open_files(before: &io::Result<u64>) {
    match (before, open_files_max()) {
        (_, None) => {}
        (Err(error), Some(max)) => {
            warn!("The limit of {max} open files could not be raised: {error}");
        }
        (Ok(before), Some(max)) => {
            let raised = match *before == max {
                true => String::new(),
                false => format!(" (raised from {before})"),
            };
            let clients = Port::Clients.share_of(max);
            info!("Open files: {max}{raised}, {clients} of them for clients");
        }
    }
}

/// Logs where monitoring is served.
pub(super) fn monitor_address(server: &Server) {
    let options = server.options();
    if let Some(path) = &options.monitor.unix {
        info!("Starting http monitor on {}", path.display());
    }
    if let Some(error) = &server.monitor_error {
        warn!(
            "{error}: this is the default port, so the broker continues without monitoring; choose \
             a port with http_port (-m), or 0 for none"
        );
    }
    let Some(address) = server.monitor_address else {
        return;
    };
    let scheme = if options.https { "https" } else { "http" };
    info!("Starting {scheme} monitor on {address}");
}
