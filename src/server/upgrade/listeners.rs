//! The listening sockets that the old process of an upgrade offers. `prepare::prepare` collects them,
//! `hand_over` sends copies to the new process, and `lifecycle::run` closes them.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::server::inherited::Role;

/// Second descriptors of the listening sockets, in addition to those of the accept loops. Clones
/// share them. As long as one is open, the system completes connections to it, which nobody serves:
/// so whoever ends the accept loops has to close these as well ([`Self::close`]).
#[derive(Clone, Default)]
pub struct Listeners(Arc<Mutex<Vec<(Role, OwnedFd)>>>);

impl Listeners {
    /// Adds one.
    ///
    ///  # Errors
    ///
    /// There is no free descriptor.
    pub fn add(&self, role: Role, listener: &impl AsFd) -> io::Result<()> {
        let descriptor = listener.as_fd().try_clone_to_owned()?;
        self.0.lock().push((role, descriptor));
        Ok(())
    }

    /// Closes all of them: this process accepts nothing more.
    pub fn close(&self) {
        let descriptors = std::mem::take(&mut *self.0.lock());
        drop(descriptors);
    }

    /// Copies for another process.
    pub(super) fn copies(&self) -> io::Result<Vec<(Role, OwnedFd)>> {
        let descriptors = self.0.lock();
        let copies = descriptors
            .iter()
            .map(|(role, socket)| Ok((*role, socket.try_clone()?)));
        copies.collect()
    }
}
