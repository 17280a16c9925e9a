//! What came of a login: [`super::authentication`] says it, the client's login
//! acts on it.

use std::sync::Arc;

use super::{permissions::Permissions, refusal::Refusal, secret::Secret};

/// What came of an offer.
pub enum Verdict {
    /// The peer is in.
    Accept(Login),
    /// It depends on a password whose comparison takes long.
    Check(PasswordCheck),
    /// The peer is not let in.
    Refuse(Refusal),
}

/// A comparison with a hash: about a tenth of a second of computing.
pub struct PasswordCheck {
    secret: Secret,
    offered: String,
    outcome: Result<Login, Refusal>,
    wrong: Refusal,
}

impl PasswordCheck {
    /// Compares; to be called where nobody waits for the thread.
    ///
    /// # Errors
    ///
    /// The password is wrong, or the login is refused whatever it is.
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
    /// The user as monitoring and logs show it; empty if nobody asked.
    pub user: String,
    /// The account.
    pub account: String,
    /// What proved it, as a number: another one once the operator wrote another
    /// password, token or key. 0 if nothing had to be proved.
    pub proof: u64,
    /// What the peer may do; `None` is everything.
    pub permissions: Option<Arc<Permissions>>,
}

/// Compares now if that is quick.
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
