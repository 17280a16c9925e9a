//! Why a login was refused, for counters and the log. [`super::authentication`] decides; the
//! client's login counts and logs it.

use std::fmt;

/// Why a login was refused. The texts are for the operator: the peer sees none of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The client showed a token of Choria, which midge does not check.
    ChoriaToken,
    /// The user's `allowed_connection_types` do not include this way to connect.
    ConnectionType,
    /// The user's `allowed_sources` do not include the client's address.
    Source,
    /// The port's `allowed_sources` do not include the client's address.
    PortSource,
    /// The client asked for an account; only the configuration assigns accounts.
    ForeignAccount,
    /// The client sent no certificate, and users are identified by theirs.
    NoCertificate,
    /// The certificate names no user. Holds the certificate's subject.
    UnmappedCertificate(String),
    /// No user has this key.
    UnknownKey,
    /// The nonce was not signed, or there was none to sign.
    NoSignature,
    /// The signature was not made with the key.
    WrongSignature,
    /// A name of the client cannot be part of a subject in its permissions. Holds what is wrong.
    Name(String),
    /// The client sent a JWT and nothing else; operator mode is not supported.
    Jwt,
    /// The client sent no credentials.
    NoCredentials,
    /// The client sent another operation before it logged in.
    NotLoggedIn,
    /// The client did not log in in time.
    Timeout,
    /// The user's account does not exist.
    UnknownAccount,
    /// There is no user of this name.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The token is wrong.
    WrongToken,
}

impl Refusal {
    /// The name in counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ChoriaToken => "choria_token",
            Self::ConnectionType => "connection_type",
            Self::ForeignAccount => "foreign_account",
            Self::Jwt => "jwt",
            Self::Name(_) => "name_unfit",
            Self::NoCertificate => "no_certificate",
            Self::NoCredentials => "no_credentials",
            Self::NoSignature => "no_signature",
            Self::NotLoggedIn => "not_logged_in",
            Self::PortSource => "port_source",
            Self::Source => "source",
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
            Self::ChoriaToken => {
                "it shows a token of Choria, which midge does not check: let it connect with a \
                 certificate instead (plugin.security.provider = puppet), or as a user with a \
                 password; see docs/from-choria-broker.md"
            }
            Self::UnknownKey => "unknown nkey",
            Self::NoSignature => "no signature of the nonce",
            Self::WrongSignature => "wrong signature",
            Self::ConnectionType => {
                "the user may not use this kind of connection: it is not in its \
                 allowed_connection_types"
            }
            Self::Source => {
                "the user may not log in from this address: it is not in its allowed_sources"
            }
            Self::PortSource => {
                "no client may connect from this address: it is not in allowed_sources"
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
