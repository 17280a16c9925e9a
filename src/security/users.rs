//! Users as configured.

use super::{
    certname_pattern::CertnamePattern, permissions::Rules, secret::Secret, sources::Network,
};
use crate::protocol::nkey::UserKey;

/// The account of users that are in no other one.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// The ways to connect that a user can be restricted to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ConnectionType {
    /// A leafnode.
    Leafnode,
    /// A leafnode over websocket.
    LeafnodeWebsocket,
    /// MQTT.
    Mqtt,
    /// MQTT over websocket.
    MqttWebsocket,
    /// The client port.
    Standard,
    /// Within the broker's process.
    InProcess,
    /// Websocket.
    Websocket,
}

impl ConnectionType {
    /// The type of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match &*name.to_ascii_uppercase() {
            "IN_PROCESS" => Self::InProcess,
            "LEAFNODE" => Self::Leafnode,
            "LEAFNODE_WS" => Self::LeafnodeWebsocket,
            "MQTT" => Self::Mqtt,
            "MQTT_WS" => Self::MqttWebsocket,
            "STANDARD" => Self::Standard,
            "WEBSOCKET" => Self::Websocket,
            _ => return None,
        })
    }
}

/// A user that may log in.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct User {
    /// The name, unique among all users: of a user by certificate its pattern.
    pub name: String,
    /// What proves that a client is this user.
    pub proof: Proof,
    /// The user's account.
    pub account: String,
    /// How the user may connect; empty for any way.
    pub connection_types: Vec<ConnectionType>,
    /// Where from; empty for anywhere.
    pub sources: Vec<Network>,
    /// What the user may do; `None` permits everything.
    pub permissions: Option<Rules>,
}

/// What proves that a client is a user.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Proof {
    /// Its password.
    Password(Secret),
    /// A signature by the key whose public part is the user's name.
    Key(UserKey),
    /// A certificate whose certname matches.
    Certificate(CertnamePattern),
}

impl User {
    /// The password; `None` if the user has a key, or is known by its certificate.
    pub fn password(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Password(secret) => Some(secret),
            Proof::Key(_) | Proof::Certificate(_) => None,
        }
    }

    /// The certnames it is for; `None` for a user with a password or a key.
    pub fn certnames(&self) -> Option<&CertnamePattern> {
        match &self.proof {
            Proof::Certificate(pattern) => Some(pattern),
            Proof::Password(_) | Proof::Key(_) => None,
        }
    }

    /// Whether a signature proves it.
    pub fn has_key(&self) -> bool {
        matches!(self.proof, Proof::Key(_))
    }
}

/// The single login of `authorization { user, password }` or `authorization { token }`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SoleLogin {
    /// Every client that knows this token.
    Token(Secret),
    /// A single user.
    User {
        /// The name.
        name: String,
        /// The password.
        password: Secret,
    },
}

/// Who may log in; the default accepts everybody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Authorization {
    /// All users, of `authorization` and of accounts.
    pub users: Vec<User>,
    /// The single user, or the token.
    pub sole: Option<SoleLogin>,
    /// The user that clients without credentials become.
    pub no_auth_user: Option<String>,
    /// Whether clients without credentials get into the global account, as no user. This is so if
    /// only the system account has users.
    pub admits_unauthenticated: bool,
    /// Whether a client's certificate says which of the users with passwords it is:
    /// `verify_and_map`.
    pub maps_certificates: bool,
}

impl Authorization {
    /// Whether some password or token is configured as plain text.
    pub fn has_plain_secrets(&self) -> bool {
        let is_plain = |secret: &Secret| !secret.is_hash();
        let sole = match &self.sole {
            Some(
                SoleLogin::Token(secret)
                | SoleLogin::User {
                    password: secret, ..
                },
            ) => is_plain(secret),
            None => false,
        };
        // A user that is identified by its certificate may have no password.
        let is_optional = |secret: &Secret| self.maps_certificates && secret.is_empty();
        let mut passwords = self.users.iter().filter_map(User::password);
        sole || passwords.any(|secret| is_plain(secret) && !is_optional(secret))
    }
}
