//! What only the broker that this one dialled says once it has let it in: errors that say how long to
//! wait before the next attempt, and other addresses of its cluster.

use std::time::Duration;

use super::{Leafnodes, remote::Remote, session::Session};
use crate::{
    connection::CloseReason,
    peer::End,
    protocol::{
        error::quoted,
        json_fault,
        leafnode::{HubInfo, LOOP_DETECTED},
    },
};

/// The shortest pause after a circle was found.
const LOOP_DELAY: Duration = Duration::from_secs(30);

/// The pause after the other side has sent what it may not.
pub(super) const VIOLATION_DELAY: Duration = Duration::from_secs(30);

/// What errors of a hub contain, and the pause that each asks for.
const DELAYS: [(&str, Duration); 4] = [
    (
        "remote leafnode has same cluster name",
        Duration::from_secs(30),
    ),
    (LOOP_DETECTED, LOOP_DELAY),
    ("minimum version required", Duration::from_secs(5)),
    // Another process of the same name is connected: the two would replace each other for ever.
    (
        "Duplicate Remote LeafNode Connection",
        Duration::from_secs(5),
    ),
];

/// The pause after a circle was found. Those who are refused are not to come back all at once.
pub(super) fn loop_delay() -> Duration {
    LOOP_DELAY + LOOP_DELAY.mul_f64(fastrand::f64())
}

impl Remote {
    /// Sets the pause that an error of the hub asks for.
    pub(super) fn heed_error(&self, text: &str) {
        let asked = DELAYS.iter().find(|(words, _)| text.contains(words));
        match asked {
            Some((LOOP_DETECTED, _)) => self.delay_next(loop_delay()),
            Some((_, delay)) => self.delay_next(*delay),
            None => {}
        }
    }

    /// Takes the addresses in the hub's INFO.
    pub(super) fn take_urls(&self, info: &HubInfo) {
        if let Some(urls) = info.leafnode_urls.as_ref().filter(|urls| !urls.is_empty()) {
            self.learn(urls);
        }
    }
}

impl Session {
    /// Takes an error of the hub, which then closes the connection.
    pub(super) fn take_error(&mut self, text: &[u8]) {
        let Some(remote) = self.leaf.remote.clone() else {
            return;
        };
        self.warn(format!("Leafnode Error {}", quoted(text)));
        let text = String::from_utf8_lossy(text);
        let text = text.trim_matches('\'');
        remote.note_error(text);
        remote.heed_error(text);
        if text.contains(LOOP_DETECTED) {
            self.leaf.connection.close(CloseReason::ProtocolViolation);
        }
    }

    /// Takes an INFO of the hub: it tells of its cluster whenever that changes.
    pub(super) fn take_info(&mut self, json: &[u8]) -> Result<(), End> {
        let Some(remote) = &self.leaf.remote else {
            return Ok(());
        };
        let info: HubInfo = serde_json::from_slice(json)
            .map_err(|error| End::violation(format!("bad INFO: {}", json_fault(&error))))?;
        remote.take_urls(&info);
        let has_rules = info.import.is_some() || info.export.is_some();
        let rules = Leafnodes::rules_of(remote, &info);
        if has_rules && rules != self.hub_rules {
            // They are in force from the beginning of a connection on.
            let detail = "the hub has other permissions for this broker";
            return Err(End::without_error(CloseReason::ClientClosed, detail));
        }
        Ok(())
    }

    /// Sets the pause before the next attempt, if this broker dials.
    pub(super) fn delay_next(&self, time: Duration) {
        if let Some(remote) = &self.leaf.remote {
            remote.delay_next(time);
        }
    }

    /// Notes an error of the connection for the watchers, if this broker dialled.
    pub(super) fn note_error(&self, text: &str) {
        if let Some(remote) = &self.leaf.remote {
            remote.note_error(text);
        }
    }
}
