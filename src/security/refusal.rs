//! Why a peer was not let in: for counters and the log. The peer itself is told
//! none of it. [`super::authentication`] decides; the client's login counts and
//! logs it.

use std::fmt;

/// Why a peer was not let in. The texts are for the operator: the peer is told
/// none of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The user may not connect in this way.
    ConnectionType,
    /// It asked for an account, which only the operator gives.
    ForeignAccount,
    /// It showed no certificate, and users are known by theirs.
    NoCertificate,
    /// Its certificate names no user: the certificate's subject.
    UnmappedCertificate(String),
    /// No user has that key.
    UnknownKey,
    /// It did not sign with the key, or there was nothing to sign.
    NoSignature,
    /// The signature is not that of the key.
    WrongSignature,
    /// A name of it cannot stand in its permissions: what is wrong with it.
    Name(String),
    /// It showed a JWT and nothing else; operator mode is not served.
    Jwt,
    /// It showed nothing.
    NoCredentials,
    /// It did something else before it logged in.
    NotLoggedIn,
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

impl Refusal {
    /// The reason as counters name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConnectionType => "connection_type",
            Self::ForeignAccount => "foreign_account",
            Self::Jwt => "jwt",
            Self::Name(_) => "name_unfit",
            Self::NoCertificate => "no_certificate",
            Self::NoCredentials => "no_credentials",
            Self::NoSignature => "no_signature",
            Self::NotLoggedIn => "not_logged_in",
            Self::Timeout => "timeout",
            Self::UnknownAccount => "unknown_account",
            Self::UnknownKey => "unknown_nkey",
            Self::UnknownUser => "unknown_user",
            Self::UnmappedCertificate(_) => "unmapped_certificate",
            Self::WrongPassword => "wrong_password",
            Self::WrongSignature => "wrong_signature",
            Self::WrongToken => "wrong_token",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(text) => text,
            Self::NoCertificate => "no certificate, which verify_and_map requires",
            Self::UnmappedCertificate(subject) => {
                return write!(f, "the certificate names no user: {subject:?}");
            }
            Self::UnknownKey => "unknown nkey",
            Self::NoSignature => "no signature of the nonce",
            Self::WrongSignature => "wrong signature",
            Self::ConnectionType => {
                "the user may not use this kind of connection: it is not in its \
                 allowed_connection_types"
            }
            Self::ForeignAccount => "the client asked for an account",
            Self::Jwt => {
                "it logs in with a JWT (a .creds file), but operator mode is not served: give it a \
                 user with a password or an nkey"
            }
            Self::NoCredentials => "no credentials",
            Self::NotLoggedIn => "the first operation was not CONNECT",
            Self::Timeout => "no CONNECT in time",
            Self::UnknownAccount => "the account of the user does not exist",
            Self::UnknownUser => "unknown user",
            Self::WrongPassword => "wrong password",
            Self::WrongToken => "wrong token",
        })
    }
}
