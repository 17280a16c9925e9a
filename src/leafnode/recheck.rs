//! A reload: leafnodes that would not be let in any more, or otherwise, are closed. They connect again
//! by themselves.

use std::sync::Arc;

use super::{Leafnode, Leafnodes};
use crate::{
    connection::CloseReason,
    log,
    security::{
        authentication::{Authentication, LoginAttempt},
        users::{Authorization, ConnectionType},
        verdict::Verdict,
    },
    telemetry::event::EventKind,
};

impl Leafnodes {
    /// Applies a reload: accounts are defined anew by now, and `clients` is how clients log in. To be
    /// called after both.
    pub fn recheck(&self, clients: &Authorization) {
        let authentication = Authentication::new(&self.options.authorization(clients));
        *self.authentication.write() = Arc::new(authentication);
        for leaf in self.all() {
            if let Some(why) = self.why_ended(&leaf) {
                log::about(&leaf.connection)
                    .code(EventKind::Leafnode.name())
                    .info(format_args!("Leafnode {:?} ends: {why}", leaf.name));
                leaf.connection.close(CloseReason::AuthenticationFailure);
                continue;
            }
            leaf.connection
                .outbound()
                .set_max_pending(self.max_pending());
            leaf.connection.notify_changed();
        }
    }

    /// Why a leafnode would not be let in as it is now; `None` if it would.
    fn why_ended(&self, leaf: &Leafnode) -> Option<&'static str> {
        let known = self.broker.accounts.find(&leaf.account.name);
        if !known.is_some_and(|known| Arc::ptr_eq(&known, &leaf.account)) {
            return Some("its account is no longer defined");
        }
        // Who is let in at a hub is up to that.
        let shown = leaf.shown.as_ref()?;
        let connection = &leaf.connection;
        let proved = connection.identity.lock().proof;
        let verdict = self.authentication().identify(&LoginAttempt {
            credentials: &shown.credentials,
            connection_type: ConnectionType::Leafnode,
            source: connection.peer.ip(),
            certificate: connection.certificate.get().map(|known| &**known),
            nonce: &shown.nonce,
            proved,
        });
        match verdict {
            Verdict::Accept(login) if login.account != leaf.account.name => {
                Some("its user is in another account")
            }
            Verdict::Accept(login) if login.permissions != shown.permissions => {
                Some("its permissions have changed")
            }
            Verdict::Accept(_) => None,
            Verdict::Check(_) => Some("its password has changed"),
            Verdict::Refuse(_) => Some("its login is no longer valid"),
        }
    }
}
