//! Resolves addresses to names on a thread of its own, because DNS may be slow.

use std::{
    io,
    net::IpAddr,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use crate::clean;

/// Limit of queued addresses.
pub(crate) const WAITING_MAX: usize = 1000;

/// Starts the thread. It receives addresses and passes each with its name to `found`, with an empty
/// name if there is none. It ends when the sender is dropped.
///
/// # Errors
///
/// The system gives no thread.
pub(crate) fn start(
    mut found: impl FnMut(String, String) -> bool + Send + 'static,
) -> io::Result<Sender<String>> {
    let (sender, addresses): (_, Receiver<String>) = channel();
    thread::Builder::new().spawn(move || {
        for address in addresses {
            let name = address
                .parse::<IpAddr>()
                .ok()
                .and_then(|ip| dns_lookup::lookup_addr(&ip).ok());
            // The owner of the address chose the name.
            let name = name
                .filter(|name| *name != address)
                .map(|name| clean::text(&name));
            if !found(address, name.unwrap_or_default()) {
                return;
            }
        }
    })?;
    Ok(sender)
}
