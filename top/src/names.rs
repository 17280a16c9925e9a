//! Names of addresses, looked up on a thread of its own: DNS may take its time.

use std::{
    net::IpAddr,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use crate::clean;

/// Addresses that may wait to be looked up.
pub(crate) const WAITING_MAX: usize = 1000;

/// Starts the thread: addresses go in; the address and its name come out, an empty
/// name where there is none. It ends when nobody asks any more.
pub(crate) fn start(
    mut found: impl FnMut(String, String) -> bool + Send + 'static,
) -> Sender<String> {
    let (sender, asked): (_, Receiver<String>) = channel();
    thread::spawn(move || {
        for address in asked {
            let name = address
                .parse::<IpAddr>()
                .ok()
                .and_then(|ip| dns_lookup::lookup_addr(&ip).ok());
            // Whoever owns the address chose the name.
            let name = name
                .filter(|name| *name != address)
                .map(|name| clean::text(&name));
            if !found(address, name.unwrap_or_default()) {
                return;
            }
        }
    });
    sender
}
