//! `CONNECT`: how a client introduces itself.

use std::fmt;

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::nkey::UserKey;

/// The fields of CONNECT that midge acts on or shows; others are ignored. Keys
/// match in any case, as Go's JSON decoder has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectOptions {
    /// `+OK` after each operation.
    pub verbose: bool,
    /// Check the subjects of publishes.
    pub pedantic: bool,
    /// Deliver the client's own messages to it.
    pub echo: bool,
    /// 1: the client takes INFO at any time.
    pub protocol: i64,
    /// The client understands headers.
    pub headers: bool,
    /// Tell the client when a request reaches nobody.
    pub no_responders: bool,
    /// What the client shows to be let in.
    pub credentials: Credentials,
    /// The client's own name.
    pub name: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// Refused when not empty: clients do not choose accounts.
    pub account: String,
    /// Refused when true.
    pub new_account: bool,
}

/// What a peer shows to be let in. Never shown: not by `Debug` either.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Token.
    pub token: String,
    /// Public key of an nkey.
    pub nkey: String,
    /// The nonce of INFO, signed with it.
    pub signature: String,
    /// Whether there was a JWT. Nobody looks at it.
    pub has_jwt: bool,
}

impl Credentials {
    /// How a login with these is called in monitoring and logs.
    pub fn shown_user(&self) -> &str {
        match self {
            // Whoever takes a seed for the key to send should not find it in a log.
            Self { nkey, .. } if UserKey::parse(nkey).is_ok() => nkey,
            Self { nkey, .. } if !nkey.is_empty() => "[REDACTED]",
            Self { user, .. } if !user.is_empty() => user,
            Self { token, .. } if !token.is_empty() => "[REDACTED]",
            _ => "",
        }
    }

    /// Whether there is neither user, password nor token.
    pub fn are_empty(&self) -> bool {
        self.user.is_empty() && self.password.is_empty() && self.token.is_empty()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.shown_user())
    }
}

impl Default for ConnectOptions {
    /// What holds for a client that never sent CONNECT.
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            protocol: 0,
            headers: false,
            no_responders: false,
            credentials: Credentials::default(),
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            account: String::new(),
            new_account: false,
        }
    }
}

impl ConnectOptions {
    /// These options with those of a CONNECT laid over them: a field that the
    /// JSON does not name keeps its value. As tolerant as Go's decoder: bytes
    /// that are no UTF-8 are replaced, `null` is nothing given, the last of
    /// several equal keys counts. Only half of a surrogate pair is refused,
    /// which Go replaces.
    ///
    /// # Errors
    ///
    /// The JSON's fault: it is not an object, or a field has the wrong type.
    pub fn merge(&self, json: &[u8]) -> Result<Self, serde_json::Error> {
        let text = String::from_utf8_lossy(json);
        let mut options = self.clone();
        let mut decoder = serde_json::Deserializer::from_str(&text);
        decoder.deserialize_any(Overlay(&mut options))?;
        decoder.end()?;
        Ok(options)
    }
}

/// Lays the fields of one CONNECT over options.
struct Overlay<'a>(&'a mut ConnectOptions);

impl<'de> Visitor<'de> for Overlay<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a CONNECT")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let options = self.0;
        while let Some(key) = map.next_key::<String>()? {
            match key.to_ascii_lowercase().as_str() {
                "verbose" => lay(&mut options.verbose, &mut map)?,
                "pedantic" => lay(&mut options.pedantic, &mut map)?,
                "echo" => lay(&mut options.echo, &mut map)?,
                "protocol" => lay(&mut options.protocol, &mut map)?,
                "headers" => lay(&mut options.headers, &mut map)?,
                "no_responders" => lay(&mut options.no_responders, &mut map)?,
                "user" => lay(&mut options.credentials.user, &mut map)?,
                "pass" => lay(&mut options.credentials.password, &mut map)?,
                "auth_token" => lay(&mut options.credentials.token, &mut map)?,
                "nkey" => lay(&mut options.credentials.nkey, &mut map)?,
                "sig" => lay(&mut options.credentials.signature, &mut map)?,
                "name" => lay(&mut options.name, &mut map)?,
                "lang" => lay(&mut options.lang, &mut map)?,
                "version" => lay(&mut options.version, &mut map)?,
                "account" => lay(&mut options.account, &mut map)?,
                "new_account" => lay(&mut options.new_account, &mut map)?,
                "jwt" => {
                    if let Some(jwt) = map.next_value::<Option<String>>()? {
                        options.credentials.has_jwt = !jwt.is_empty();
                    }
                }
                // Nobody is asked for these; their types are checked all the same.
                "proxy_sig" => {
                    map.next_value::<Option<String>>()?;
                }
                "tls_required" => {
                    map.next_value::<Option<bool>>()?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Takes the next value into a field; `null` leaves it.
fn lay<'de, T, M>(field: &mut T, map: &mut M) -> Result<(), M::Error>
where
    T: serde::Deserialize<'de>,
    M: MapAccess<'de>,
{
    if let Some(value) = map.next_value()? {
        *field = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_keeps_its_value() {
        let first = ConnectOptions::default()
            .merge(br#"{"Verbose":false,"name":"a","unknown":[1]}"#)
            .unwrap();
        assert!(!first.verbose && first.pedantic && first.echo);
        let second = first.merge(br#"{"echo":false}"#).unwrap();
        assert!(!second.verbose && !second.echo);
        assert_eq!(second.name, "a");
    }

    #[test]
    fn wrong_types_are_refused() {
        for json in [
            &br#"{"protocol":"1"}"#[..],
            br#"{"verbose":1}"#,
            br#"{"pass":1}"#,
            b"[]",
            b"",
            b"{",
        ] {
            assert!(ConnectOptions::default().merge(json).is_err(), "{json:?}");
        }
    }
}
