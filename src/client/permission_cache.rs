//! Permissions of a session's user: verdicts on its publishes and subscriptions,
//! kept so that a subject is judged once.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{
    security::{
        delivery_filter::DeliveryFilter,
        permissions::{Permissions, SubscribeDecision},
        responses::Grants,
    },
    telemetry::{
        MonotonicMillis,
        pool::{Pool, Share, allocated},
    },
};

/// Subjects whose verdicts are kept; with more all are forgotten.
const KNOWN_MAX: usize = 512;

/// Bytes of a subject whose verdict is kept; longer ones are judged each time.
const KNOWN_LEN_MAX: usize = 512;

/// Bytes of all kept verdicts of all sessions.
pub static POOL: Pool = Pool::new(32 * 1024 * 1024);

/// Bytes of a verdict besides its subject: its place in a table that is half full to
/// full.
const VERDICT_LEN: usize = (size_of::<(Box<[u8]>, bool)>() + 1) * 3 / 2;

/// The permissions of one session.
pub(super) struct PermissionCache {
    guard: Arc<DeliveryFilter>,
    known: HashMap<Box<[u8]>, bool>,
    share: Share,
}

impl PermissionCache {
    /// For a user with these permissions. What the one `before` was asked for may
    /// still be answered where as much may be answered now.
    pub(super) fn new(permissions: Arc<Permissions>, before: Option<&Self>) -> Self {
        let same = before.filter(|it| it.permissions().responses() == permissions.responses());
        let grants = match same {
            Some(before) => before.guard.grants.clone(),
            None => permissions.responses().map(|it| Arc::new(Grants::new(it))),
        };
        Self {
            guard: Arc::new(DeliveryFilter {
                permissions,
                grants,
            }),
            known: HashMap::new(),
            share: Share::new(&POOL),
        }
    }

    /// The session has ended.
    pub(super) fn clear(&self) {
        if let Some(grants) = &self.guard.grants {
            grants.clear();
        }
    }

    /// The permissions it applies.
    pub(super) fn permissions(&self) -> &Permissions {
        &self.guard.permissions
    }

    /// The filter for deliveries.
    pub(super) fn guard(&self) -> &Arc<DeliveryFilter> {
        &self.guard
    }

    /// Whether each publish counts, also one to the subject of the one before.
    pub(super) fn counts_publishes(&self) -> bool {
        self.guard.grants.is_some()
    }

    /// Whether the user may publish to `subject` without having been asked.
    pub(super) fn may_publish_unasked(&self, subject: &[u8]) -> bool {
        let permissions = self.permissions();
        !permissions.restricts_publishing() || permissions.may_publish(subject)
    }

    /// Whether a message may be published to `subject`; a response that is
    /// permitted is used up.
    pub(super) fn may_publish(&mut self, subject: &[u8]) -> bool {
        if !self.permissions().restricts_publishing() {
            return true;
        }
        let permitted = match self.known.get(subject) {
            Some(permitted) => *permitted,
            None => {
                let permitted = self.permissions().may_publish(subject);
                // Reply subjects come once: they are not worth a place.
                if permitted || self.guard.grants.is_none() {
                    self.keep(subject, permitted);
                }
                permitted
            }
        };
        let grants = self.guard.grants.as_ref();
        permitted || grants.is_some_and(|grants| grants.take(subject, MonotonicMillis::now()))
    }

    fn keep(&mut self, subject: &[u8], permitted: bool) {
        if subject.len() > KNOWN_LEN_MAX {
            return;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
            self.share.release_all();
        }
        if self.share.reserve(VERDICT_LEN + allocated(subject.len())) {
            self.known.insert(subject.into(), permitted);
        }
    }

    /// Whether deliveries to a subscription to `subject` are to be judged;
    /// `Err`: it is not permitted.
    pub(super) fn judges(&self, subject: &[u8], queue: Option<&[u8]>) -> Result<bool, ()> {
        match self.permissions().check_subscription(subject, queue) {
            SubscribeDecision::Allow => Ok(self.guard.grants.is_some()),
            SubscribeDecision::AllowFiltered => Ok(true),
            SubscribeDecision::Deny => Err(()),
        }
    }
}
