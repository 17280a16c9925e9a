//! The diagnosis: what is wrong with the broker, who, since when, why.
//!
//! `main` calls [`watch`] once. A thread of its own looks at the running broker
//! about once in a second. Nothing here is on the way of a message, and
//! nothing here knows how a finding is drawn.

use std::{io, sync::Arc, thread, time::Instant};

use crate::{server::Server, telemetry::Clock};

/// Bytes of the thread's stack. Nothing there recurses.
const STACK_LEN: usize = 256 * 1024;

/// Looks at the broker for ever, on a thread of its own.
///
/// # Errors
///
/// The thread cannot be had.
pub fn watch(server: Arc<Server>) -> io::Result<()> {
    thread::Builder::new()
        .name("diagnosis".into())
        .stack_size(STACK_LEN)
        .spawn(move || {
            let interval = server.options().diagnosis.interval;
            loop {
                let begin = Instant::now();
                look(&server);
                thread::sleep(interval.saturating_sub(begin.elapsed()));
            }
        })?;
    Ok(())
}

fn look(server: &Server) {
    let telemetry = &server.clients.telemetry;
    telemetry.crowd.tick(&telemetry.events, Clock::now());
    server.clients.registry.budget.give_back();
}
