//! Who a peer is: the one place where that is decided.
//!
//! A session offers what its peer showed ([`Offer`]) and gets a [`Login`], a
//! [`Refusal`], or a [`PasswordCheck`] that takes too long for a thread that
//! serves others.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    secret::Secret,
    users::{Authorization, ConnectionType, GLOBAL_ACCOUNT, Proof, SoleLogin, User},
};
use crate::protocol::connect::Credentials;

/// All that a peer offers for a login.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// What it said in CONNECT.
    pub credentials: &'a Credentials,
    /// How it is connected.
    pub connection_type: ConnectionType,
}

/// Who a peer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The user as monitoring and logs show it; empty if nobody asked.
    pub user: String,
    /// The account.
    pub account: String,
    /// What the operator wrote that let the peer in, as a number: another one
    /// once any of it is changed. 0 if nobody had to log in.
    pub rule: u64,
}

/// Why a peer was not let in. The texts are for the operator: the peer is told
/// none of them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// The user may not connect in this way.
    ConnectionType,
    /// It asked for an account, which only the operator gives.
    ForeignAccount,
    /// It showed nothing.
    NoCredentials,
    /// It did something else before it logged in.
    NotLoggedIn,
    /// The operator changed the rules while it logged in.
    RulesChanged,
    /// It did not log in in time.
    Timeout,
    /// The user's account does not exist.
    UnknownAccount,
    /// There is no such user.
    UnknownUser,
    /// The password is not the user's.
    WrongPassword,
    /// The token is not the one.
    WrongToken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionType => "the user may not connect in this way",
            Self::ForeignAccount => "the client asked for an account",
            Self::NoCredentials => "no credentials",
            Self::NotLoggedIn => "the first operation was not CONNECT",
            Self::RulesChanged => "the rules were changed meanwhile",
            Self::Timeout => "no CONNECT in time",
            Self::UnknownAccount => "the account of the user does not exist",
            Self::UnknownUser => "unknown user",
            Self::WrongPassword => "wrong password",
            Self::WrongToken => "wrong token",
        })
    }
}

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
        match self.secret.is(&self.offered) {
            true => self.outcome,
            false => Err(self.wrong),
        }
    }
}

/// Whom the operator lets in, ready to be asked.
pub struct Authentication {
    users: HashMap<String, User>,
    sole: Option<SoleLogin>,
    no_auth_user: Option<String>,
    /// Some user's password is a hash, so that comparing takes long.
    has_hashes: bool,
    /// All rules there are.
    rules: HashSet<u64>,
}

impl Authentication {
    /// Lets in whom the operator wrote down. User names must be unique.
    pub fn new(authorization: &Authorization) -> Self {
        let users = &authorization.users;
        let rules = users.iter().map(number);
        Self {
            rules: rules.chain(authorization.sole.iter().map(number)).collect(),
            users: users
                .iter()
                .map(|user| (user.name.clone(), user.clone()))
                .collect(),
            sole: authorization.sole.clone(),
            no_auth_user: authorization.no_auth_user.clone(),
            has_hashes: users.iter().any(|user| {
                let Proof::Password(secret) = &user.proof;
                secret.is_hash()
            }),
        }
    }

    /// Whether somebody who was let in by this rule still would be.
    pub fn still_admits(&self, rule: u64) -> bool {
        !self.is_required() || self.rules.contains(&rule)
    }

    /// Whether anybody has to log in.
    pub fn is_required(&self) -> bool {
        !self.users.is_empty() || self.sole.is_some()
    }

    /// Whether a client without credentials gets in nevertheless.
    pub fn admits_without_credentials(&self) -> bool {
        !self.is_required() || self.no_auth_user.is_some()
    }

    /// Who the peer is that offers this. Nothing else decides that.
    pub fn identify(&self, offer: &Offer<'_>) -> Verdict {
        let credentials = offer.credentials;
        if !self.is_required() {
            return Verdict::Accept(Login {
                user: credentials.shown_user().to_owned(),
                account: GLOBAL_ACCOUNT.to_owned(),
                rule: 0,
            });
        }
        let no_auth_user = self.no_auth_user.as_ref();
        if credentials.are_empty()
            && let Some(user) = no_auth_user.and_then(|name| self.users.get(name))
        {
            return match may_connect(user, offer.connection_type) {
                Ok(()) => Verdict::Accept(login_of(user)),
                Err(refusal) => Verdict::Refuse(refusal),
            };
        }
        if !self.users.is_empty() && !credentials.user.is_empty() {
            return self.identify_user(self.users.get(&credentials.user), offer);
        }
        self.identify_sole(credentials)
    }

    /// Somebody who says to be `user`, if there is such a user.
    fn identify_user(&self, user: Option<&User>, offer: &Offer<'_>) -> Verdict {
        let (secret, outcome) = match user {
            Some(user) => {
                let Proof::Password(secret) = &user.proof;
                let allowed = may_connect(user, offer.connection_type);
                (secret.clone(), allowed.map(|()| login_of(user)))
            }
            // As slow as with a user, so that guessing names pays nothing.
            None if self.has_hashes => (Secret::nobodys(), Err(Refusal::UnknownUser)),
            None => return Verdict::Refuse(Refusal::UnknownUser),
        };
        let wrong = match user {
            Some(_) => Refusal::WrongPassword,
            None => Refusal::UnknownUser,
        };
        compare(secret, &offer.credentials.password, outcome, wrong)
    }

    /// Somebody who is the one user, or knows the token.
    fn identify_sole(&self, credentials: &Credentials) -> Verdict {
        let Some(sole) = &self.sole else {
            return Verdict::Refuse(Refusal::NoCredentials);
        };
        let (secret, offered, wrong) = match sole {
            SoleLogin::Token(token) => (token, &credentials.token, Refusal::WrongToken),
            SoleLogin::User { name, password } if *name == credentials.user => {
                (password, &credentials.password, Refusal::WrongPassword)
            }
            SoleLogin::User { .. } if credentials.user.is_empty() => {
                return Verdict::Refuse(Refusal::NoCredentials);
            }
            SoleLogin::User { .. } => return Verdict::Refuse(Refusal::UnknownUser),
        };
        let wrong = match credentials.are_empty() {
            true => Refusal::NoCredentials,
            false => wrong,
        };
        let login = Login {
            user: credentials.shown_user().to_owned(),
            account: GLOBAL_ACCOUNT.to_owned(),
            rule: number(sole),
        };
        compare(secret.clone(), offered, Ok(login), wrong)
    }
}

fn login_of(user: &User) -> Login {
    Login {
        user: user.name.clone(),
        account: user.account.clone(),
        rule: number(user),
    }
}

/// What the operator wrote, as a number that is not 0.
fn number(written: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    written.hash(&mut hasher);
    hasher.finish().max(1)
}

fn may_connect(user: &User, connection_type: ConnectionType) -> Result<(), Refusal> {
    let types = &user.connection_types;
    match types.is_empty() || types.contains(&connection_type) {
        true => Ok(()),
        false => Err(Refusal::ConnectionType),
    }
}

/// Compares now if that is quick.
fn compare(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> User {
        User {
            name: name.into(),
            proof: Proof::Password(Secret::new(password).expect("a password")),
            account: "A".into(),
            connection_types: Vec::new(),
        }
    }

    fn credentials(user: &str, password: &str, token: &str) -> Credentials {
        Credentials {
            user: user.into(),
            password: password.into(),
            token: token.into(),
        }
    }

    /// The decision on credentials of a client port, whether it takes long or not.
    fn decide(authorization: &Authorization, credentials: &Credentials) -> Result<Who, Refusal> {
        let authentication = Authentication::new(authorization);
        let verdict = authentication.identify(&Offer {
            credentials,
            connection_type: ConnectionType::Standard,
        });
        let login = match verdict {
            Verdict::Accept(login) => login,
            Verdict::Check(check) => check.run()?,
            Verdict::Refuse(refusal) => return Err(refusal),
        };
        assert!(authentication.still_admits(login.rule));
        Ok((login.user, login.account))
    }

    type Who = (String, String);

    fn login(user: &str, account: &str) -> Result<Who, Refusal> {
        Ok((user.into(), account.into()))
    }

    #[test]
    fn whose_user_was_changed_is_not_admitted_any_more() {
        let with = |users: &[User]| {
            Authentication::new(&Authorization {
                users: users.to_vec(),
                ..Authorization::default()
            })
        };
        let (a, b) = (user("a", "p"), user("b", "p"));
        let rule = login_of(&a).rule;
        let moved = User {
            account: "B".into(),
            ..a.clone()
        };
        assert!(with(&[b.clone(), a]).still_admits(rule));
        assert!(with(&[]).still_admits(rule));
        for others in [&[b][..], &[user("a", "q")], &[moved]] {
            assert!(!with(others).still_admits(rule));
            assert!(!with(others).still_admits(0));
        }
    }

    #[test]
    fn everybody_is_let_in_where_nobody_is_named() {
        let open = Authorization::default();
        assert!(!Authentication::new(&open).is_required());
        assert_eq!(decide(&open, &credentials("", "", "")), login("", "$G"));
        assert_eq!(decide(&open, &credentials("u", "x", "")), login("u", "$G"));
        let token = credentials("", "", "hidden");
        assert_eq!(decide(&open, &token), login("[REDACTED]", "$G"));
        assert!(!format!("{token:?}").contains("hidden"));
    }

    #[test]
    fn users_are_let_in_by_their_own_password() {
        let hash = bcrypt::hash("hashed", 4).expect("a hash");
        let authorization = Authorization {
            users: vec![user("a", "plain"), user("b", &hash), user("open", "")],
            ..Authorization::default()
        };
        let decide = |name, password| decide(&authorization, &credentials(name, password, ""));
        assert_eq!(decide("a", "plain"), login("a", "A"));
        assert_eq!(decide("b", "hashed"), login("b", "A"));
        assert_eq!(decide("open", ""), login("open", "A"));
        for (name, password, refusal) in [
            ("a", "hashed", Refusal::WrongPassword),
            ("a", "", Refusal::WrongPassword),
            ("b", "plain", Refusal::WrongPassword),
            ("b", &hash, Refusal::WrongPassword),
            ("open", "x", Refusal::WrongPassword),
            ("x", "plain", Refusal::UnknownUser),
            ("A", "plain", Refusal::UnknownUser),
            ("", "", Refusal::NoCredentials),
            ("", "plain", Refusal::NoCredentials),
        ] {
            assert_eq!(decide(name, password), Err(refusal), "{name} {password}");
        }
    }

    #[test]
    fn a_token_is_all_that_counts_where_there_is_one() {
        let token = Secret::new("t").expect("plain");
        let authorization = Authorization {
            sole: Some(SoleLogin::Token(token)),
            ..Authorization::default()
        };
        let decide = |user, token| decide(&authorization, &credentials(user, "", token));
        assert_eq!(decide("", "t"), login("[REDACTED]", "$G"));
        assert_eq!(decide("u", "t"), login("u", "$G"));
        assert_eq!(decide("t", ""), Err(Refusal::WrongToken));
        assert_eq!(decide("", "x"), Err(Refusal::WrongToken));
        assert_eq!(decide("", ""), Err(Refusal::NoCredentials));
    }

    #[test]
    fn silence_is_the_no_auth_user_and_nothing_else_is() {
        let mut authorization = Authorization {
            users: vec![user("u", "p")],
            no_auth_user: Some("u".into()),
            ..Authorization::default()
        };
        assert!(Authentication::new(&authorization).admits_without_credentials());
        let silence = credentials("", "", "");
        assert_eq!(decide(&authorization, &silence), login("u", "A"));
        for (user, password, token) in [("u", "", ""), ("", "p", ""), ("", "", "t")] {
            let shown = credentials(user, password, token);
            assert!(decide(&authorization, &shown).is_err(), "{shown:?}");
        }
        authorization.users[0].connection_types = vec![ConnectionType::Websocket];
        assert_eq!(
            decide(&authorization, &silence),
            Err(Refusal::ConnectionType)
        );
    }
}
