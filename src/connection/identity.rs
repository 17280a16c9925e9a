//! The identity of a peer, and its name: findings, events, answers and the log use the
//! certname of its certificate where it presented one, since many clients may give
//! themselves the same name.

use std::net::SocketAddr;

use super::{CloseReason, Connection, Kind};
use crate::{
    log::{About, Ended, Subject},
    telemetry::{
        MonotonicMillis,
        pool::{allocated, shorten},
    },
};

/// What a peer states about itself in CONNECT.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The client's own name.
    pub name: String,
    /// The common name of its certificate; empty without one.
    pub certname: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// User name.
    pub user: String,
    /// Name of the account it is in; empty before CONNECT.
    pub account: String,
    /// What proved it, as a number; see [`crate::security::verdict::Login::proof`].
    pub proof: u64,
}

impl Identity {
    /// Bytes of its texts.
    pub fn memory(&self) -> usize {
        let texts = [
            &self.name,
            &self.certname,
            &self.lang,
            &self.version,
            &self.user,
            &self.account,
        ];
        texts.map(|text| allocated(text.capacity())).iter().sum()
    }

    /// As it is remembered when its connection has ended: long texts are cut.
    pub fn remembered(&self) -> Self {
        let cut = |text: &str| shorten(text).into_owned();
        Self {
            name: cut(&self.name),
            certname: cut(&self.certname),
            lang: cut(&self.lang),
            version: cut(&self.version),
            user: cut(&self.user),
            account: self.account.clone(),
            proof: self.proof,
        }
    }
}

impl Identity {
    /// Certname and own name in one text; empty if there is neither.
    pub fn label(&self) -> String {
        match (&*self.certname, &*self.name) {
            ("", name) => name.to_owned(),
            (certname, name) if name.is_empty() || name == certname => certname.to_owned(),
            (certname, name) => format!("{certname} ({name})"),
        }
    }

    /// Its name in a few words: its certname and its name, else its user, else its address.
    pub fn who(&self, peer: SocketAddr) -> String {
        match (self.label(), &*self.user) {
            (label, _) if !label.is_empty() => label,
            (_, "") => peer.to_string(),
            (_, user) => user.to_owned(),
        }
    }
}

impl Connection {
    /// The certname in the peer's certificate; empty if there is none.
    pub fn certname(&self) -> &str {
        let certificate = self.certificate.get();
        certificate.map_or("", |certificate| certificate.certname())
    }

    /// Whom log lines about this peer name, with an identity that may be merely claimed.
    fn subject_as(&self, identity: &Identity) -> Subject {
        Subject {
            kind: match self.kind {
                Kind::Client if self.is_websocket() => "websocket",
                Kind::Client => "client",
                Kind::Router => "route",
                Kind::Leafnode => "leafnode",
            },
            cid: self.cid,
            peer: self.peer,
            name: identity.name.clone(),
            lang: identity.lang.clone(),
            version: identity.version.clone(),
            certname: self.certname().to_owned(),
            account: identity.account.clone(),
            user: identity.user.clone(),
        }
    }

    /// What it moved and how long it lasted, at its end.
    pub fn ended(&self, reason: CloseReason) -> Ended {
        let traffic = self.traffic();
        let time = self.start.millis().until(MonotonicMillis::now());
        Ended {
            reason: reason.name(),
            seconds: time.as_secs_f64(),
            in_msgs: traffic.in_msgs,
            in_bytes: traffic.in_bytes,
            out_msgs: traffic.out_msgs,
            out_bytes: traffic.out_bytes,
        }
    }
}

impl About for Connection {
    fn subject(&self) -> Subject {
        self.subject_as(&self.identity.lock())
    }
}

/// A connection whose peer claims an identity that is not accepted, or not yet.
pub struct Claimed<'a>(pub &'a Connection, pub &'a Identity);

impl About for Claimed<'_> {
    fn subject(&self) -> Subject {
        self.0.subject_as(self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certname_comes_before_the_name() {
        let peer = ([127, 0, 0, 1], 7).into();
        for (certname, name, user, who) in [
            ("", "", "", "127.0.0.1:7"),
            ("", "", "u", "u"),
            ("", "n", "u", "n"),
            ("c", "", "u", "c"),
            ("c", "n", "u", "c (n)"),
            ("c", "c", "", "c"),
        ] {
            let identity = Identity {
                certname: certname.into(),
                name: name.into(),
                user: user.into(),
                ..Identity::default()
            };
            assert_eq!(identity.who(peer), who);
        }
    }
}
