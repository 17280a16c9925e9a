//! `CONNECT`, which a client sends to introduce itself.

use std::fmt;

use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{choria_token::is_choria_token, nkey::UserKey};

/// The fields of CONNECT that midge uses or shows; others are ignored. Keys match in any case, as
/// in Go's JSON decoder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectOptions {
    /// Answer each operation with `+OK`.
    pub verbose: bool,
    /// Check the subjects of publishes.
    pub pedantic: bool,
    /// Deliver the client's own messages to it.
    pub echo: bool,
    /// 1: the client accepts INFO at any time.
    pub protocol: i64,
    /// The client understands headers.
    pub headers: bool,
    /// Answer requests that no subscription matches (status 503).
    pub no_responders: bool,
    /// The credentials.
    pub credentials: Credentials,
    /// The name that the client gives itself.
    pub name: String,
    /// Language of the client library.
    pub lang: String,
    /// Version of the client library.
    pub version: String,
    /// The account it asks for. Refused unless empty: clients do not choose accounts.
    pub account: String,
    /// Refused when true.
    pub new_account: bool,
}

/// The credentials of a peer. `Debug` does not show secrets.
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
    /// The nonce of INFO, signed with that key.
    pub signature: String,
    /// Whether there was a JWT. It is not evaluated.
    pub has_jwt: bool,
    /// Whether that was a token of Choria.
    pub jwt_is_chorias: bool,
}

impl Credentials {
    /// The user of a login with these credentials, for monitoring and logs.
    pub fn display_user(&self) -> &str {
        match self {
            // A client may send its seed by mistake; that must not get into a log.
            Self { nkey, .. } if UserKey::parse(nkey).is_ok() => nkey,
            Self { nkey, .. } if !nkey.is_empty() => "[REDACTED]",
            // A leafnode that has a token sends it as its user, too.
            Self { user, token, .. } if !user.is_empty() && user != token => user,
            Self { token, .. } if !token.is_empty() => "[REDACTED]",
            _ => "",
        }
    }

    /// Whether a token of Choria was shown.
    pub fn has_choria_token(&self) -> bool {
        self.jwt_is_chorias || is_choria_token(&self.token)
    }

    /// Whether there is neither user, password nor token.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.password.is_empty() && self.token.is_empty()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.display_user())
    }
}

impl Default for ConnectOptions {
    /// The options of a client that sent no CONNECT.
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
    /// The JSON of a CONNECT with these options, for another process of this broker. It holds
    /// secrets.
    pub fn json(&self) -> String {
        let credentials = &self.credentials;
        let mut json = serde_json::json!({
            "verbose": self.verbose,
            "pedantic": self.pedantic,
            "echo": self.echo,
            "protocol": self.protocol,
            "headers": self.headers,
            "no_responders": self.no_responders,
            "user": credentials.user,
            "pass": credentials.password,
            "auth_token": credentials.token,
            "nkey": credentials.nkey,
            "sig": credentials.signature,
            "name": self.name,
            "lang": self.lang,
            "version": self.version,
        });
        if credentials.has_jwt {
            // Only whether there was one matters.
            json["jwt"] = "-".into();
        }
        json.to_string()
    }

    /// These options, overridden by the fields of a CONNECT: a field that the JSON does not have
    /// keeps its value. As tolerant as Go's decoder: invalid UTF-8 is replaced, `null` leaves a
    /// field unchanged, the last of several equal keys wins. Only an unpaired surrogate is refused,
    /// which Go replaces.
    ///
    ///  # Errors
    ///
    /// The JSON is not an object, or a field has the wrong type.
    pub fn merge(&self, json: &[u8]) -> Result<Self, serde_json::Error> {
        let text = String::from_utf8_lossy(json);
        let mut options = self.clone();
        let mut decoder = serde_json::Deserializer::from_str(&text);
        decoder.deserialize_any(Overlay(&mut options))?;
        decoder.end()?;
        Ok(options)
    }
}

/// Overrides options with the fields of a CONNECT.
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
                "verbose" => set(&mut options.verbose, &mut map)?,
                "pedantic" => set(&mut options.pedantic, &mut map)?,
                "echo" => set(&mut options.echo, &mut map)?,
                "protocol" => set(&mut options.protocol, &mut map)?,
                "headers" => set(&mut options.headers, &mut map)?,
                "no_responders" => set(&mut options.no_responders, &mut map)?,
                "user" => set(&mut options.credentials.user, &mut map)?,
                "pass" => set(&mut options.credentials.password, &mut map)?,
                "auth_token" => set(&mut options.credentials.token, &mut map)?,
                "nkey" => set(&mut options.credentials.nkey, &mut map)?,
                "sig" => set(&mut options.credentials.signature, &mut map)?,
                "name" => set(&mut options.name, &mut map)?,
                "lang" => set(&mut options.lang, &mut map)?,
                "version" => set(&mut options.version, &mut map)?,
                "account" => set(&mut options.account, &mut map)?,
                "new_account" => set(&mut options.new_account, &mut map)?,
                "jwt" => {
                    if let Some(jwt) = map.next_value::<Option<String>>()? {
                        options.credentials.has_jwt = !jwt.is_empty();
                        options.credentials.jwt_is_chorias = is_choria_token(&jwt);
                    }
                }
                // These are not used, but their types are checked.
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

/// Sets a field to the next value; `null` leaves it unchanged.
fn set<'de, T, M>(field: &mut T, map: &mut M) -> Result<(), M::Error>
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
    fn absent_fields_keep_their_values() {
        let first = ConnectOptions::default()
            .merge(br#"{"Verbose":false,"name":"a","unknown":[1]}"#)
            .unwrap();
        assert!(!first.verbose && first.pedantic && first.echo);
        let second = first.merge(br#"{"echo":false}"#).unwrap();
        assert!(!second.verbose && !second.echo);
        assert_eq!(second.name, "a");
    }

    #[test]
    fn options_survive_their_own_json() {
        let json = br#"{"verbose":false,"echo":false,"protocol":1,"headers":true,"user":"u",
            "pass":"\"p\n","auth_token":"t","nkey":"k","sig":"s","jwt":"j","name":"n","lang":"l",
            "version":"v","no_responders":true,"pedantic":false}"#;
        let options = ConnectOptions::default().merge(json).unwrap();
        let again = ConnectOptions::default()
            .merge(options.json().as_bytes())
            .unwrap();
        assert_eq!(options, again);
    }

    #[test]
    fn fields_of_the_wrong_type_are_rejected() {
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
