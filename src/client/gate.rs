//! What a session's user may do: verdicts on its publishes and subscriptions,
//! kept so that a subject is judged once.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{
    security::{
        guard::{Guard, Responding},
        permissions::{Permissions, Subscribing},
        responses::Grants,
    },
    telemetry::Clock,
};

/// Subjects whose verdicts are kept; with more all are forgotten.
const KNOWN_MAX: usize = 512;

/// The permissions of one session.
pub(super) struct Gate {
    permissions: Arc<Permissions>,
    responding: Option<Arc<Responding>>,
    known: HashMap<Box<[u8]>, bool>,
}

impl Gate {
    /// For a user with these permissions.
    pub(super) fn new(permissions: Arc<Permissions>) -> Self {
        let responding = permissions.responses().map(|rules| {
            Arc::new(Responding {
                permissions: permissions.clone(),
                grants: Grants::new(rules),
            })
        });
        Self {
            permissions,
            responding,
            known: HashMap::new(),
        }
    }

    /// What it judges by.
    pub(super) fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Whether each publish counts, also one to the subject of the one before.
    pub(super) fn counts_publishes(&self) -> bool {
        self.responding.is_some()
    }

    /// Whether the user may publish to `subject` without having been asked.
    pub(super) fn may_publish_unasked(&self, subject: &[u8]) -> bool {
        !self.permissions.limit_publishing() || self.permissions.may_publish(subject)
    }

    /// Whether a message may be published to `subject`; a response that is
    /// permitted is used up.
    pub(super) fn may_publish(&mut self, subject: &[u8]) -> bool {
        if !self.permissions.limit_publishing() {
            return true;
        }
        let permitted = match self.known.get(subject) {
            Some(permitted) => *permitted,
            None => {
                let permitted = self.permissions.may_publish(subject);
                // Reply subjects come once: they are not worth a place.
                if permitted || self.responding.is_none() {
                    if self.known.len() >= KNOWN_MAX {
                        self.known.clear();
                    }
                    self.known.insert(subject.into(), permitted);
                }
                permitted
            }
        };
        let responding = self.responding.as_ref();
        permitted
            || responding.is_some_and(|responding| responding.grants.take(subject, Clock::now()))
    }

    /// What stands between deliveries and a subscription to `subject`; `Err`:
    /// it is not permitted.
    pub(super) fn guard(
        &self,
        subject: &[u8],
        queue: Option<&[u8]>,
    ) -> Result<Option<Arc<Guard>>, ()> {
        let denies = match self.permissions.judge_subscription(subject, queue) {
            Subscribing::Allow => None,
            Subscribing::AllowSome => Some(self.permissions.clone()),
            Subscribing::Deny => return Err(()),
        };
        let grants = self.responding.clone();
        let needed = denies.is_some() || grants.is_some();
        Ok(needed.then(|| Arc::new(Guard { denies, grants })))
    }
}
