//! The tickets by which clients take their sessions up again.
//!
//! [`super::tls`] hands them to rustls. A client is told nothing when the
//! certificate of its earlier session is no longer good, since the handshake is
//! over by then, and may come with the same session again and again, also once
//! it has another certificate. So all tickets are void then: everybody shakes
//! hands in full once.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::{Error, crypto::aws_lc_rs::Ticketer, server::ProducesTickets};

/// Tickets that can be made void.
#[derive(Debug)]
pub(super) struct Tickets(RwLock<Arc<dyn ProducesTickets>>);

impl Tickets {
    /// With new keys.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self(RwLock::new(Ticketer::new()?)))
    }

    /// Makes all tickets void that were given so far.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub(super) fn renew(&self) -> Result<(), Error> {
        *self.0.write() = Ticketer::new()?;
        Ok(())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.read().lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.read().encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.read().decrypt(cipher)
    }
}
