//! Decides who a peer is; nothing else does.
//!
//! A session passes what its peer sent ([`LoginAttempt`]) and gets a [`Login`], a [`Refusal`], or a
//! [`PasswordCheck`](super::verdict::PasswordCheck) that takes too long for a thread that serves
//! connections.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use super::{
    certificate::PeerCertificate,
    certname_pattern::CertificateRules,
    guest::Guest,
    mapping::Mapping,
    permissions::TemplateValues,
    refusal::Refusal,
    secret::Secret,
    sources::is_within,
    users::{Authorization, ConnectionType, GLOBAL_ACCOUNT, Proof, SoleLogin, User},
    verdict::{Login, Verdict, compare},
};
use crate::protocol::connect::Credentials;

/// Everything a peer sent to log in.
#[derive(Clone, Copy, Debug)]
pub struct LoginAttempt<'a> {
    /// The credentials in CONNECT.
    pub credentials: &'a Credentials,
    /// How it is connected.
    pub connection_type: ConnectionType,
    /// Its address.
    pub source: IpAddr,
    /// Its certificate, if the handshake verified one.
    pub certificate: Option<&'a PeerCertificate>,
    /// The nonce it had to sign; empty if there was none.
    pub nonce: &'a str,
    /// The [`Login::proof`] of its present login, when a reload checks it again; 0 at the first
    /// login. What was proved before is not compared again.
    pub proved: u64,
}

/// The users and other logins that are configured, indexed for look-up.
pub struct Authentication {
    users: HashMap<String, User>,
    sole: Option<SoleLogin>,
    no_auth_user: Option<String>,
    admits_unauthenticated: bool,
    /// Whether some users have keys.
    has_keys: bool,
    /// Finds users by certificate, if `verify_and_map` is set.
    mapping: Option<Mapping>,
    /// The users with a pattern of certnames.
    by_certname: CertificateRules,
    /// Whether some user's password is a hash, so that comparing takes long.
    has_hashes: bool,
}

impl Authentication {
    /// Indexes the configured users. Their names must be unique.
    pub fn new(authorization: &Authorization) -> Self {
        let users = &authorization.users;
        let maps = authorization.maps_certificates;
        let with_password = || users.iter().filter(|user| user.password().is_some());
        let by_certname = CertificateRules::new(users.iter().filter_map(User::certnames));
        // With nothing but keys, nats-server does not map certificates.
        let mapping = (maps && (with_password().next().is_some() || !by_certname.is_empty()))
            .then(|| Mapping::new(with_password().map(|user| &*user.name)));
        Self {
            admits_unauthenticated: authorization.admits_unauthenticated,
            users: users
                .iter()
                .map(|user| (user.name.clone(), user.clone()))
                .collect(),
            sole: authorization.sole.clone(),
            no_auth_user: authorization.no_auth_user.clone(),
            has_keys: users.iter().any(User::has_key),
            mapping,
            by_certname,
            has_hashes: users
                .iter()
                .any(|user| user.password().is_some_and(Secret::is_hash)),
        }
    }

    /// Whether clients must log in.
    pub fn is_required(&self) -> bool {
        !self.users.is_empty() || self.sole.is_some()
    }

    /// Whether clients get a nonce to sign.
    pub fn needs_nonce(&self) -> bool {
        self.has_keys
    }

    /// Whether INFO says that a login is required: not if clients without credentials become a
    /// user.
    pub fn asks_for_login(&self) -> bool {
        self.is_required() && self.no_auth_user.is_none()
    }

    /// What a client without credentials may do; `None` if it is refused, or identified by its
    /// certificate.
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

    /// Whether a client without credentials is accepted.
    pub fn admits_without_credentials(&self) -> bool {
        !self.is_required() || self.no_auth_user.is_some() || self.admits_unauthenticated
    }

    /// Decides who the peer of this attempt is.
    pub fn identify(&self, attempt: &LoginAttempt<'_>) -> Verdict {
        let credentials = attempt.credentials;
        if !self.is_required() {
            return Verdict::Accept(Login {
                user: credentials.display_user().to_owned(),
                account: GLOBAL_ACCOUNT.to_owned(),
                proof: 0,
                permissions: None,
            });
        }
        let no_auth_user = self.no_auth_user.as_ref();
        let no_auth_user = no_auth_user
            .and_then(|name| self.users.get(name))
            .filter(|_| credentials.is_empty());
        if self.has_keys && !credentials.nkey.is_empty() {
            return self.identify_key(attempt);
        }
        let by_certname = self.user_by_certname(attempt);
        let is_guest = |user: &&User| user.has_key() && by_certname.is_none();
        if let Some(user) = no_auth_user.filter(is_guest) {
            return self.admitted_as_guest(user, attempt);
        }
        if let Some(mapping) = &self.mapping {
            return self.identify_certificate(mapping, by_certname, attempt);
        }
        // A client that says who it is, is that user or none.
        if let Some(user) = by_certname.filter(|_| credentials.is_empty()) {
            return self.admitted_as_guest(user, attempt);
        }
        if let Some(user) = no_auth_user {
            return self.admitted_as_guest(user, attempt);
        }
        if credentials.is_empty() && self.admits_unauthenticated {
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

    /// A client that sent a key.
    fn identify_key(&self, attempt: &LoginAttempt<'_>) -> Verdict {
        let Credentials {
            nkey, signature, ..
        } = attempt.credentials;
        let user = self.users.get(nkey);
        let Some((user, Proof::Key(key))) = user.map(|user| (user, &user.proof)) else {
            return Verdict::Refuse(Refusal::UnknownKey);
        };
        // The user that clients without credentials become needs no proof.
        if self.no_auth_user.as_ref() == Some(nkey) {
            return self.admitted_as_guest(user, attempt);
        }
        if attempt.proved != proof_number(&user.proof) {
            if signature.is_empty() || attempt.nonce.is_empty() {
                return Verdict::Refuse(Refusal::NoSignature);
            }
            if !key.verify(attempt.nonce.as_bytes(), signature) {
                return Verdict::Refuse(Refusal::WrongSignature);
            }
        }
        self.admitted(user, attempt)
    }

    /// The user whose pattern the certname matches. What it may do and where from has no say in
    /// that: who may not come in as this user does not become another one.
    fn user_by_certname(&self, attempt: &LoginAttempt<'_>) -> Option<&User> {
        let certname = attempt.certificate?.certname();
        self.users.get(self.by_certname.find(certname)?)
    }

    /// A client that is identified by its certificate: as the user that the certificate names, or
    /// as the one whose pattern it matches. If the user has a password, that is required as well.
    fn identify_certificate(
        &self,
        mapping: &Mapping,
        by_certname: Option<&User>,
        attempt: &LoginAttempt<'_>,
    ) -> Verdict {
        let Some(certificate) = attempt.certificate else {
            return Verdict::Refuse(Refusal::NoCertificate);
        };
        let is_allowed = |name: &str| {
            let user = self.users.get(name);
            user.is_some_and(|user| user.password().is_some() && may_connect(user, attempt).is_ok())
        };
        match mapping.find(certificate, is_allowed) {
            Some(name) => self.identify_user(self.users.get(&name), attempt),
            None => {
                // It might be a user if it had connected in another way.
                let has_name = |name: &str| {
                    let user = self.users.get(name);
                    user.is_some_and(|user| user.certnames().is_none())
                };
                let named = mapping.find(certificate, has_name);
                let user = named.and_then(|name| self.users.get(&name));
                if let Some(why) = user.and_then(|user| may_connect(user, attempt).err()) {
                    return Verdict::Refuse(why);
                }
                match by_certname {
                    Some(user) => self.admitted_as_guest(user, attempt),
                    None => Verdict::Refuse(unmapped(certificate)),
                }
            }
        }
    }

    /// The login of a client that counts as a user without credentials: it has proved nothing that
    /// would count if this user needed some.
    fn admitted_as_guest(&self, user: &User, attempt: &LoginAttempt<'_>) -> Verdict {
        match self.admit(user, attempt) {
            Ok(login) => Verdict::Accept(Login { proof: 0, ..login }),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// The login of a user that proved who it is.
    fn admitted(&self, user: &User, attempt: &LoginAttempt<'_>) -> Verdict {
        match self.admit(user, attempt) {
            Ok(login) => Verdict::Accept(login),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// A client that sent a user's name, whether that user exists or not.
    fn identify_user(&self, user: Option<&User>, attempt: &LoginAttempt<'_>) -> Verdict {
        let known = user.and_then(|user| Some((user, user.password()?)));
        let Some((user, secret)) = known else {
            return refuse_unknown(attempt.credentials, self.has_hashes);
        };
        if attempt.proved == proof_number(&user.proof) {
            return self.admitted(user, attempt);
        }
        compare(
            secret.clone(),
            &attempt.credentials.password,
            self.admit(user, attempt),
            Refusal::WrongPassword,
        )
    }

    /// The login of the user once it has proved who it is.
    fn admit(&self, user: &User, attempt: &LoginAttempt<'_>) -> Result<Login, Refusal> {
        may_connect(user, attempt)?;
        let names = TemplateValues {
            user: &user.name,
            // Without a common name only a pattern of the operator's makes a DNS name a certname.
            certname: attempt
                .certificate
                .map_or("", |certificate| match user.certnames() {
                    Some(_) => certificate.certname(),
                    None => &*certificate.common_name,
                }),
        };
        let permissions = user
            .permissions
            .as_ref()
            .map(|rules| rules.for_login(names));
        Ok(Login {
            user: user.name.clone(),
            account: user.account.clone(),
            proof: proof_number(&user.proof),
            permissions: permissions
                .transpose()
                .map_err(Refusal::Name)?
                .map(Arc::new),
        })
    }

    /// A client that sent the single user's name, or the token.
    fn identify_sole(&self, attempt: &LoginAttempt<'_>) -> Verdict {
        let credentials = attempt.credentials;
        let is_chorias = credentials.has_choria_token();
        let certificate = attempt.certificate.filter(|_| !self.by_certname.is_empty());
        let nothing = match (credentials.has_jwt, certificate) {
            _ if is_chorias => Refusal::ChoriaToken,
            (true, _) => Refusal::Jwt,
            (false, Some(certificate)) if credentials.is_empty() => unmapped(certificate),
            (false, _) => Refusal::NoCredentials,
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
        let wrong = match credentials.is_empty() || is_chorias {
            true => nothing,
            false => wrong,
        };
        let user = match sole {
            SoleLogin::User { name, .. } => name,
            SoleLogin::Token(_) => credentials.display_user(),
        };
        let login = Login {
            user: user.to_owned(),
            account: GLOBAL_ACCOUNT.to_owned(),
            proof: proof_number(sole),
            permissions: None,
        };
        if attempt.proved == login.proof {
            return Verdict::Accept(login);
        }
        compare(secret.clone(), offered, Ok(login), wrong)
    }
}

/// The refusal of a client whose certificate is no user's.
fn unmapped(certificate: &PeerCertificate) -> Refusal {
    Refusal::UnmappedCertificate(certificate.subject.clone())
}

/// Refuses an unknown user. If passwords are hashed, this takes as long as for a known user, so
/// that names cannot be guessed by time.
fn refuse_unknown(credentials: &Credentials, are_hashes: bool) -> Verdict {
    let (secret, refusal) = (Secret::dummy(), Refusal::UnknownUser);
    match are_hashes {
        true => {
            let outcome = Err(refusal.clone());
            compare(secret, &credentials.password, outcome, refusal)
        }
        false => Verdict::Refuse(refusal),
    }
}

/// Whether the user may connect in this way and from there.
fn may_connect(user: &User, attempt: &LoginAttempt<'_>) -> Result<(), Refusal> {
    let types = &user.connection_types;
    if !types.is_empty() && !types.contains(&attempt.connection_type) {
        return Err(Refusal::ConnectionType);
    }
    if !is_within(&user.sources, attempt.source) {
        return Err(Refusal::Source);
    }
    Ok(())
}

/// A number other than 0 that identifies a configured secret.
fn proof_number(written: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    written.hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests;
