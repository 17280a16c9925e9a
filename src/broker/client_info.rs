//! A client as responders in other accounts and readers of events see it, with
//! nats-server's names.

use serde::Serialize;

use super::Broker;
use crate::connection::Connection;

/// Identity of a client. Empty fields are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClientInfo {
    /// Time of the accept, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// The peer's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Connection id.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Its account.
    #[serde(rename = "acc", skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The account that passed its request on.
    #[serde(rename = "svc", skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The user that it is logged in as.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The client's own name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Language of the client library.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// Version of the client library.
    #[serde(rename = "ver", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Round trip time in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub rtt: u64,
    /// Name of the broker it is connected to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// Name of that broker's cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Time of the close, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop: String,
    /// Display name of the account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_tag: String,
    /// `Client`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `nats` or `websocket`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_type: String,
}

impl Connection {
    /// The client's identity at this moment; `server`, `cluster`, `service` and `stop` are
    /// left empty.
    pub fn client_info(&self) -> ClientInfo {
        let identity = self.identity.lock().clone();
        ClientInfo {
            start: self
                .start
                .time_of_day()
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            host: self.peer.ip().to_canonical().to_string(),
            id: self.cid,
            name_tag: identity.account.clone(),
            account: identity.account,
            user: identity.user,
            name: identity.name,
            lang: identity.lang,
            version: identity.version,
            rtt: self
                .rtt()
                .map_or(0, |rtt| u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX)),
            kind: self.kind.name().into(),
            client_type: self.client_type().into(),
            ..ClientInfo::default()
        }
    }
}

impl Broker {
    /// What a responder in another account learns about a requester: its account and round trip
    /// time, and all else with `share`. `via` is the account that forwarded the request.
    pub fn describe(&self, requester: &Connection, share: bool, via: Option<&str>) -> String {
        let mut info = requester.client_info();
        if share {
            let broker = self.info.read();
            info.server.clone_from(&broker.server_name);
            info.cluster.clone_from(&broker.cluster);
            // A name that its credentials give; there are none that do.
            info.name_tag.clear();
        } else {
            info = ClientInfo {
                account: info.account,
                rtt: info.rtt,
                ..ClientInfo::default()
            };
        }
        info.service = via.unwrap_or_default().to_owned();
        // A struct of strings and numbers always serialises.
        serde_json::to_string(&info).unwrap_or_default()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
