//! Who a peer is: the one place where that is decided.
//!
//! A session offers what its peer showed ([`LoginAttempt`]) and gets a [`Login`], a
//! [`Refusal`], or a [`PasswordCheck`](super::verdict::PasswordCheck) that takes too long for a thread that
//! serves others.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    certificate::PeerCertificate,
    guest::Guest,
    mapping::Mapping,
    permissions::Names,
    refusal::Refusal,
    secret::Secret,
    users::{Authorization, ConnectionType, GLOBAL_ACCOUNT, Proof, SoleLogin, User},
    verdict::{Login, Verdict, compare},
};
use crate::protocol::connect::Credentials;

/// All that a peer offers for a login.
#[derive(Clone, Copy, Debug)]
pub struct LoginAttempt<'a> {
    /// What it said in CONNECT.
    pub credentials: &'a Credentials,
    /// How it is connected.
    pub connection_type: ConnectionType,
    /// Its certificate, if the handshake verified one.
    pub certificate: Option<&'a PeerCertificate>,
    /// What it was given to sign; empty if nothing.
    pub nonce: &'a str,
    /// The [`Login::proof`] that it was let in with, when it is asked again who
    /// it is; 0 before. What was proved once is not compared again.
    pub proved: u64,
}

/// Whom the operator lets in, ready to be asked.
pub struct Authentication {
    users: HashMap<String, User>,
    sole: Option<SoleLogin>,
    no_auth_user: Option<String>,
    admits_strangers: bool,
    /// Some users have keys.
    has_keys: bool,
    /// Finds users by their certificates, where these tell who they are.
    mapping: Option<Mapping>,
    /// Some user's password is a hash, so that comparing takes long.
    has_hashes: bool,
}

impl Authentication {
    /// Lets in whom the operator wrote down. User names must be unique.
    pub fn new(authorization: &Authorization) -> Self {
        let users = &authorization.users;
        let maps = authorization.maps_certificates;
        let with_password = || users.iter().filter(|user| user.password().is_some());
        // Without such users nats-server does not look at certificates.
        let mapping = (maps && with_password().next().is_some())
            .then(|| Mapping::new(with_password().map(|user| &*user.name)));
        Self {
            admits_strangers: authorization.admits_strangers,
            users: users
                .iter()
                .map(|user| (user.name.clone(), user.clone()))
                .collect(),
            sole: authorization.sole.clone(),
            no_auth_user: authorization.no_auth_user.clone(),
            has_keys: users.iter().any(|user| user.password().is_none()),
            mapping,
            has_hashes: users
                .iter()
                .any(|user| user.password().is_some_and(Secret::is_hash)),
        }
    }

    /// Whether anybody has to log in.
    pub fn is_required(&self) -> bool {
        !self.users.is_empty() || self.sole.is_some()
    }

    /// Whether clients are given a nonce to sign.
    pub fn needs_nonce(&self) -> bool {
        self.has_keys
    }

    /// Whether INFO asks clients for a login: not where they are taken for a user
    /// who show nothing.
    pub fn asks_for_login(&self) -> bool {
        self.is_required() && self.no_auth_user.is_none()
    }

    /// What a client may do that shows nothing; `None` if it is not let in, or only
    /// by a certificate that tells who it is.
    pub fn guest(&self) -> Option<Guest> {
        let user = self.no_auth_user.as_ref();
        if let Some(user) = user.and_then(|name| self.users.get(name)) {
            let is_mapped = self.mapping.is_some() && user.password().is_some();
            return (!is_mapped).then(|| Guest {
                user: Some(user.name.clone()),
                account: user.account.clone(),
                rules: user.permissions.clone(),
            });
        }
        self.admits_without_credentials().then(|| Guest {
            user: None,
            account: GLOBAL_ACCOUNT.to_owned(),
            rules: None,
        })
    }

    /// Whether a client without credentials gets in nevertheless.
    pub fn admits_without_credentials(&self) -> bool {
        !self.is_required() || self.no_auth_user.is_some() || self.admits_strangers
    }

    /// Who the peer is that offers this. Nothing else decides that.
    pub fn identify(&self, attempt: &LoginAttempt<'_>) -> Verdict {
        let credentials = attempt.credentials;
        if !self.is_required() {
            return Verdict::Accept(Login {
                user: credentials.shown_user().to_owned(),
                account: GLOBAL_ACCOUNT.to_owned(),
                proof: 0,
                permissions: None,
            });
        }
        let no_auth_user = self.no_auth_user.as_ref();
        let no_auth_user = no_auth_user
            .and_then(|name| self.users.get(name))
            .filter(|_| credentials.are_empty());
        if self.has_keys && !credentials.nkey.is_empty() {
            return self.identify_key(attempt);
        }
        if let Some(user) = no_auth_user.filter(|user| user.password().is_none()) {
            return self.admitted_as_guest(user, attempt);
        }
        if let Some(mapping) = &self.mapping {
            return self.identify_certificate(mapping, attempt);
        }
        if let Some(user) = no_auth_user {
            return self.admitted_as_guest(user, attempt);
        }
        if credentials.are_empty() && self.admits_strangers {
            return Verdict::Accept(Login {
                user: String::new(),
                account: GLOBAL_ACCOUNT.to_owned(),
                proof: 0,
                permissions: None,
            });
        }
        if !self.users.is_empty() && !credentials.user.is_empty() {
            let user = self.users.get(&credentials.user);
            return self.identify_user(user, attempt);
        }
        self.identify_sole(attempt)
    }

    /// Somebody who offers a key.
    fn identify_key(&self, attempt: &LoginAttempt<'_>) -> Verdict {
        let Credentials {
            nkey, signature, ..
        } = attempt.credentials;
        let user = self.users.get(nkey);
        let Some((user, Proof::Key(key))) = user.map(|user| (user, &user.proof)) else {
            return Verdict::Refuse(Refusal::UnknownKey);
        };
        // Whom everybody is needs to prove nothing.
        if self.no_auth_user.as_ref() == Some(nkey) {
            return self.admitted_as_guest(user, attempt);
        }
        if attempt.proved != number(&user.proof) {
            if signature.is_empty() || attempt.nonce.is_empty() {
                return Verdict::Refuse(Refusal::NoSignature);
            }
            if !key.signed(attempt.nonce.as_bytes(), signature) {
                return Verdict::Refuse(Refusal::WrongSignature);
            }
        }
        self.admitted(user, attempt)
    }

    /// Somebody whose certificate tells who it is. A user with a password has to
    /// know that too.
    fn identify_certificate(&self, mapping: &Mapping, attempt: &LoginAttempt<'_>) -> Verdict {
        let Some(certificate) = attempt.certificate else {
            return Verdict::Refuse(Refusal::NoCertificate);
        };
        let may_be = |name: &str| {
            let user = self.users.get(name);
            user.is_some_and(|user| user.password().is_some() && may_connect(user, attempt))
        };
        match mapping.find(certificate, may_be) {
            Some(name) => self.identify_user(self.users.get(&name), attempt),
            // It would be somebody if it had come in another way.
            None if mapping
                .find(certificate, |name| self.users.contains_key(name))
                .is_some() =>
            {
                Verdict::Refuse(Refusal::ConnectionType)
            }
            None => Verdict::Refuse(Refusal::UnmappedCertificate(certificate.subject.clone())),
        }
    }

    /// The login of somebody who is taken for a user and has proved nothing.
    fn admitted_as_guest(&self, user: &User, attempt: &LoginAttempt<'_>) -> Verdict {
        match self.admit(user, attempt) {
            Ok(login) => Verdict::Accept(Login { proof: 0, ..login }),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// The login of a user who has proved it.
    fn admitted(&self, user: &User, attempt: &LoginAttempt<'_>) -> Verdict {
        match self.admit(user, attempt) {
            Ok(login) => Verdict::Accept(login),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// Somebody who says to be `user`, if there is such a user.
    fn identify_user(&self, user: Option<&User>, attempt: &LoginAttempt<'_>) -> Verdict {
        let known = user.and_then(|user| Some((user, user.password()?)));
        let Some((user, secret)) = known else {
            return refuse_unknown(attempt.credentials, self.has_hashes);
        };
        if attempt.proved == number(&user.proof) {
            return self.admitted(user, attempt);
        }
        compare(
            secret.clone(),
            &attempt.credentials.password,
            self.admit(user, attempt),
            Refusal::WrongPassword,
        )
    }

    /// What becomes of the user once it is proved.
    fn admit(&self, user: &User, attempt: &LoginAttempt<'_>) -> Result<Login, Refusal> {
        if !may_connect(user, attempt) {
            return Err(Refusal::ConnectionType);
        }
        let names = Names {
            user: &user.name,
            certname: attempt
                .certificate
                .map_or("", |certificate| &certificate.common_name),
        };
        let permissions = user
            .permissions
            .as_ref()
            .map(|rules| rules.for_login(names));
        Ok(Login {
            user: user.name.clone(),
            account: user.account.clone(),
            proof: number(&user.proof),
            permissions: permissions
                .transpose()
                .map_err(Refusal::Name)?
                .map(Arc::new),
        })
    }

    /// Somebody who is the one user, or knows the token.
    fn identify_sole(&self, attempt: &LoginAttempt<'_>) -> Verdict {
        let credentials = attempt.credentials;
        let nothing = match credentials.has_jwt {
            true => Refusal::Jwt,
            false => Refusal::NoCredentials,
        };
        let Some(sole) = &self.sole else {
            return Verdict::Refuse(nothing);
        };
        let (secret, offered, wrong) = match sole {
            SoleLogin::Token(token) => (token, &credentials.token, Refusal::WrongToken),
            SoleLogin::User { name, password } if *name == credentials.user => {
                (password, &credentials.password, Refusal::WrongPassword)
            }
            SoleLogin::User { .. } if credentials.user.is_empty() => {
                return Verdict::Refuse(nothing);
            }
            SoleLogin::User { password, .. } => {
                return refuse_unknown(credentials, password.is_hash());
            }
        };
        let wrong = match credentials.are_empty() {
            true => nothing,
            false => wrong,
        };
        let user = match sole {
            SoleLogin::User { name, .. } => name,
            SoleLogin::Token(_) => credentials.shown_user(),
        };
        let login = Login {
            user: user.to_owned(),
            account: GLOBAL_ACCOUNT.to_owned(),
            proof: number(sole),
            permissions: None,
        };
        if attempt.proved == login.proof {
            return Verdict::Accept(login);
        }
        compare(secret.clone(), offered, Ok(login), wrong)
    }
}

/// There is no such user. Where there are hashes that takes as long as with a
/// user, so that guessing names pays nothing.
fn refuse_unknown(credentials: &Credentials, are_hashes: bool) -> Verdict {
    let (secret, refusal) = (Secret::nobodys(), Refusal::UnknownUser);
    match are_hashes {
        true => {
            let outcome = Err(refusal.clone());
            compare(secret, &credentials.password, outcome, refusal)
        }
        false => Verdict::Refuse(refusal),
    }
}

/// Whether the user may connect in this way.
fn may_connect(user: &User, attempt: &LoginAttempt<'_>) -> bool {
    let types = &user.connection_types;
    types.is_empty() || types.contains(&attempt.connection_type)
}

/// What the operator wrote, as a number that is not 0.
fn number(written: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    written.hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests;
