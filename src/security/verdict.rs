//! The result of a login attempt: [`super::authentication`] makes it, the client's login acts on
//! it.

use std::sync::Arc;

use super::{permissions::Permissions, refusal::Refusal, secret::Secret};

/// The result of a login attempt.
pub enum Verdict {
    /// The peer is logged in.
    Accept(Login),
    /// It depends on a password comparison that takes long.
    Check(PasswordCheck),
    /// The login is refused.
    Refuse(Refusal),
}

/// A comparison with a bcrypt hash, which takes about 100 ms of CPU time.
pub struct PasswordCheck {
    secret: Secret,
    offered: String,
    outcome: Result<Login, Refusal>,
    wrong: Refusal,
}

impl PasswordCheck {
    /// Compares. Call it on a thread that serves no connections.
    ///
    ///  # Errors
    ///
    /// The password is wrong, or the login is refused whatever the password.
    pub fn run(self) -> Result<Login, Refusal> {
        match self.secret.is(self.offered.as_bytes()) {
            true => self.outcome,
            false => Err(self.wrong),
        }
    }
}

/// Who a peer is.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user as monitoring and logs show it; empty if no login is required.
    pub user: String,
    /// The account.
    pub account: String,
    /// Identifies what proved it: the number changes when the configured password, token or key
    /// changes. 0 if nothing had to be proved.
    pub proof: u64,
    /// What the peer may do; `None` permits everything.
    pub permissions: Option<Arc<Permissions>>,
}

/// Compares immediately if the secret is plain text.
pub(super) fn compare(
    secret: Secret,
    offered: &str,
    outcome: Result<Login, Refusal>,
    wrong: Refusal,
) -> Verdict {
    let is_hash = secret.is_hash();
    let check = PasswordCheck {
        secret,
        offered: offered.to_owned(),
        outcome,
        wrong,
    };
    if is_hash {
        return Verdict::Check(check);
    }
    match check.run() {
        Ok(login) => Verdict::Accept(login),
        Err(refusal) => Verdict::Refuse(refusal),
    }
}
