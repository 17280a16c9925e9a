//! Users as the operator wrote them.

use super::secret::Secret;

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
}

/// What proves that somebody is a user.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Proof {
    /// The password.
    Password(Secret),
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
        let users = self.users.iter().any(|user| {
            let Proof::Password(secret) = &user.proof;
            is_plain(secret)
        });
        sole || users
    }
}
