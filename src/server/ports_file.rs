//! The ports file, by which tools find the addresses of a broker that uses free ports.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use serde_json::json;

use super::Server;

/// A ports file, removed when the broker ends.
pub(super) struct PortsFile(PathBuf);

impl PortsFile {
    /// Writes `<directory>/<program>_<pid>.ports`.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(super) fn write(directory: &Path, program: &str, server: &Server) -> io::Result<Self> {
        let path = directory.join(format!("{program}_{}.ports", process::id()));
        let mut ports = json!({ "nats": [format!("nats://{}", server.client_address)] });
        let scheme = if server.options().https {
            "https"
        } else {
            "http"
        };
        if let Some(address) = server.monitor_address {
            ports["monitoring"] = json!([format!("{scheme}://{address}")]);
        }
        if let Some(websocket) = &server.websocket {
            let has_tls = websocket.listener.tls.read().is_some();
            let scheme = if has_tls { "wss" } else { "ws" };
            ports["websocket"] = json!([format!("{scheme}://{}", websocket.address)]);
        }
        if let Some(cluster) = &server.cluster {
            ports["cluster"] = json!([format!("nats://{}", cluster.node.address)]);
        }
        if let Some(address) = server.leafnodes.node.address {
            ports["leafnodes"] = json!([format!("nats://{address}")]);
        }
        // Written under another name first, so that no reader sees a part of it.
        let unfinished = path.with_extension("ports.tmp");
        fs::write(&unfinished, ports.to_string())?;
        fs::rename(&unfinished, &path)?;
        Ok(Self(path))
    }
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(
                "Ports file {} could not be removed: {error}",
                self.0.display()
            );
        }
    }
}
