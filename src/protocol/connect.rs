//! `CONNECT`: how a client introduces itself.

use serde::Deserialize;

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
    /// User name.
    pub user: String,
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
            user: String::new(),
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
    /// JSON does not name keeps its value.
    ///
    /// # Errors
    ///
    /// The JSON's fault: it is not an object, or a field has the wrong type.
    pub fn merge(&self, json: &[u8]) -> Result<Self, serde_json::Error> {
        let given: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
        let mut all = serde_json::Map::new();
        for (key, value) in given {
            // Go decodes null as "not given".
            if !value.is_null() {
                all.insert(key.to_ascii_lowercase(), value);
            }
        }
        let Overlay {
            verbose,
            pedantic,
            echo,
            protocol,
            headers,
            no_responders,
            user,
            name,
            lang,
            version,
            account,
            new_account,
        } = serde_json::from_value(serde_json::Value::Object(all))?;
        Ok(Self {
            verbose: verbose.unwrap_or(self.verbose),
            pedantic: pedantic.unwrap_or(self.pedantic),
            echo: echo.unwrap_or(self.echo),
            protocol: protocol.unwrap_or(self.protocol),
            headers: headers.unwrap_or(self.headers),
            no_responders: no_responders.unwrap_or(self.no_responders),
            user: user.unwrap_or_else(|| self.user.clone()),
            name: name.unwrap_or_else(|| self.name.clone()),
            lang: lang.unwrap_or_else(|| self.lang.clone()),
            version: version.unwrap_or_else(|| self.version.clone()),
            account: account.unwrap_or_else(|| self.account.clone()),
            new_account: new_account.unwrap_or(self.new_account),
        })
    }
}

/// The fields one CONNECT gave.
#[derive(Deserialize)]
struct Overlay {
    verbose: Option<bool>,
    pedantic: Option<bool>,
    echo: Option<bool>,
    protocol: Option<i64>,
    headers: Option<bool>,
    no_responders: Option<bool>,
    user: Option<String>,
    name: Option<String>,
    lang: Option<String>,
    version: Option<String>,
    account: Option<String>,
    new_account: Option<bool>,
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
            b"[]",
            b"",
            b"{",
        ] {
            assert!(ConnectOptions::default().merge(json).is_err(), "{json:?}");
        }
    }
}
