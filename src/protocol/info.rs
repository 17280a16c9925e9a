//! `INFO`, which the broker sends to introduce itself.

use serde::{Deserialize, Serialize};

/// The fields of INFO. Source: nats-server 2.15 `server/server.go`, `Info`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Info {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Name of the broker.
    pub server_name: String,
    /// The nats-server version whose client features are supported.
    pub version: String,
    /// midge's own version.
    pub midge: String,
    /// Version of the protocol between servers.
    pub proto: i64,
    /// Commit of the build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler that the broker was built with.
    pub go: String,
    /// Host for clients.
    pub host: String,
    /// Port for clients.
    pub port: u16,
    /// Whether headers are supported.
    pub headers: bool,
    /// Largest payload in bytes.
    pub max_payload: i64,
    /// `host:port` of all brokers of the cluster that accept clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether clients have to log in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// Whether TLS is required.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether a client must show a certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// Whether TLS is possible.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_available: bool,
    /// The connection's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<u64>,
    /// The peer's address as the broker sees it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// What a client with an nkey must sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The broker is in lame duck mode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ldm: bool,
    /// Set in the INFO that follows a client's first PING.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub connect_info: bool,
    /// The connection's account; together with `connect_info`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Whether that is the system account; together with `connect_info`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub acc_is_sys: bool,
}

impl Info {
    /// The protocol line. Its only blank is the one before the JSON: very old clients split the
    /// line at blanks and use the second word, so blanks within texts are escaped.
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"INFO ".to_vec();
        // A struct of strings and numbers always serialises. Without indentation, blanks only occur
        // in its texts.
        let json = serde_json::to_string(self).unwrap_or_default();
        line.extend_from_slice(json.replace(' ', "\\u0020").as_bytes());
        line.extend_from_slice(b"\r\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_blank_precedes_the_json() {
        let odd = "a b\tc \\ \"d\" \u{a0}".to_owned();
        let info = Info {
            server_name: odd.clone(),
            cluster: odd.clone(),
            host: odd.clone(),
            go: odd.clone(),
            connect_urls: vec![odd.clone(), odd.clone()],
            remote_account: odd,
            ..Info::default()
        };
        let line = String::from_utf8(info.line()).expect("it is text");
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [verb, json] = words[..] else {
            panic!("{line}");
        };
        assert_eq!((verb, line.matches(' ').count()), ("INFO", 1));
        let read: Info = serde_json::from_str(json).expect("it is JSON");
        assert_eq!(read.server_name, info.server_name);
        assert_eq!(read.connect_urls, info.connect_urls);
    }
}
