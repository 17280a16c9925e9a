//! Users as the operator wrote them.

use super::{permissions::Rules, secret::Secret};
use crate::protocol::nkey::UserKey;

/// The account of users that were given no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// The ways to connect that a user can be limited to.
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

/// Somebody who may log in.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct User {
    /// The name, unique among all users.
    pub name: String,
    /// What proves it.
    pub proof: Proof,
    /// The account the user is in.
    pub account: String,
    /// How the user may connect; empty for every way.
    pub connection_types: Vec<ConnectionType>,
    /// What the user may do; `None` is everything.
    pub permissions: Option<Rules>,
}

/// What proves that somebody is a user.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Proof {
    /// The password.
    Password(Secret),
    /// The signature by the key that is the user's name.
    Key(UserKey),
}

impl User {
    /// The password, unless a key proves who the user is.
    pub fn password(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Password(secret) => Some(secret),
            Proof::Key(_) => None,
        }
    }
}

/// The one user of `authorization { user, password }`, or its token.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SoleLogin {
    /// Everybody who knows this token.
    Token(Secret),
    /// The one user.
    User {
        /// The name.
        name: String,
        /// The password.
        password: Secret,
    },
}

/// Whom the operator lets in; the default lets in everybody.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Authorization {
    /// All users, those of `authorization` and those of accounts.
    pub users: Vec<User>,
    /// The one user, or the token.
    pub sole: Option<SoleLogin>,
    /// The user that a client without credentials is.
    pub no_auth_user: Option<String>,
    /// Whether a client without credentials is in the global account, as no
    /// user at all: so it is when users were written down for the system
    /// account only.
    pub admits_strangers: bool,
    /// Whether a client's certificate tells which of the users with passwords
    /// it is: `verify_and_map`.
    pub maps_certificates: bool,
}

impl Authorization {
    /// Whether some password or token is written as it is.
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
        // Whom the certificate names may do without a password.
        let is_needless = |secret: &Secret| self.maps_certificates && secret.is_empty();
        let mut passwords = self.users.iter().filter_map(User::password);
        sole || passwords.any(|secret| is_plain(secret) && !is_needless(secret))
    }
}
