//! A host and a port, in the forms that people write after `-H`.

use std::{
    fmt,
    net::{IpAddr, UdpSocket},
};

use monitor_client::text::without_login;

use crate::text::quoted;

/// Longest host name in bytes, as in the DNS.
const HOST_BYTES_MAX: usize = 253;

/// Longest name of a network interface in bytes, as in Linux.
const ZONE_BYTES_MAX: usize = 15;

/// A host, and a port if one was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// A name or an address without brackets; an IPv6 address may have a zone: `fe80::1%eth0`.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What was written after `-H`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Written {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// `tls://`
    pub(super) tls: bool,
}

impl Address {
    /// Whether it is an IPv6 address with a zone, which no URL can hold.
    pub fn has_zone(&self) -> bool {
        self.host.contains('%')
    }

    /// Whether the host is an address and not a name.
    pub fn is_ip(&self) -> bool {
        self.ip().is_some()
    }

    /// Whether only this host has it.
    pub fn is_loopback(&self) -> bool {
        let name = self.host.eq_ignore_ascii_case("localhost");
        name || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether it is an address of this host: the system lets a socket have it.
    pub fn is_of_this_host(&self) -> bool {
        let is_own = |ip| UdpSocket::bind((ip, 0)).is_ok();
        self.is_loopback() || self.ip().is_some_and(is_own)
    }

    /// Whether it stands for all addresses of a host, as `0.0.0.0` does.
    pub fn is_unspecified(&self) -> bool {
        self.host.is_empty() || self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// The address without its zone, if the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        let ip = self.host.split('%').next().unwrap_or_default();
        ip.parse().ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Written {
    /// Reads `HOST`, `HOST:PORT`, `nats://HOST:PORT` or `tls://HOST:PORT`; an IPv6 address has
    /// brackets if a port follows.
    ///
    /// # Errors
    /// What is wrong and what to write, to be put after the option's name. A password in the text
    /// is not quoted.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => (String::new(), text),
        };
        if rest.contains('@') {
            return Err(
                "holds a user or a password: leave them out, and give the login with \
                        --user and --password-file, --token-file, --nkey-file or --creds"
                    .into(),
            );
        }
        let tls = match &*scheme {
            "tls" => true,
            "" | "nats" => false,
            "http" | "https" | "unix" => {
                return Err(format!(
                    "{}: this is a monitoring port: give it with -u",
                    quoted(&without_login(text))
                ));
            }
            _ => {
                return Err(format!(
                    "{}: only nats:// and tls:// are a client port",
                    quoted(&without_login(text))
                ));
            }
        };
        let (host, port) = match scheme.is_empty() {
            true => split(rest)?,
            false => {
                let (host, port) = split(rest.strip_suffix('/').unwrap_or(rest))?;
                // URLs write a zone so.
                (host.replacen("%25", "%", 1), port)
            }
        };
        check_host(&host)?;
        Ok(Self { host, port, tls })
    }
}

/// Divides host and port.
fn split(text: &str) -> Result<(String, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or_else(|| format!("{}: the bracket is not closed", quoted(text)))?;
        if !host.contains(':') {
            return Err(format!(
                "{}: only IPv6 addresses have brackets",
                quoted(text)
            ));
        }
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((host.to_owned(), None)),
            (_, Some(port)) => Ok((host.to_owned(), Some(parse_port(port, text)?))),
            _ => Err(format!("{}: write it as [ADDRESS]:PORT", quoted(text))),
        };
    }
    match (text.matches(':').count(), text.split_once(':')) {
        (1, Some((host, port))) => Ok((host.to_owned(), Some(parse_port(port, text)?))),
        _ => Ok((text.to_owned(), None)),
    }
}

/// The port of an address; what is no port may be a password, and is not quoted.
fn parse_port(port: &str, address: &str) -> Result<u16, String> {
    let port = port.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| {
        let shown = quoted(&without_login(address));
        format!("{shown}: the port is a number from 1 to 65535")
    })
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("holds no host: give a name or an address".into());
    }
    let (ip, zone) = match host.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (host, None),
    };
    if host.contains(':') {
        let is_ip = ip.parse::<std::net::Ipv6Addr>().is_ok();
        let is_zone = |zone: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
            (1..=ZONE_BYTES_MAX).contains(&zone.len()) && zone.chars().all(fits)
        };
        return match is_ip && zone.is_none_or(is_zone) {
            true => Ok(()),
            false => Err(format!(
                "{}: no IPv6 address; with a port it is [ADDRESS]:PORT, with a zone \
                 fe80::1%eth0",
                quoted(host)
            )),
        };
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match host.len() <= HOST_BYTES_MAX && host.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "{}: no name or address of a host: these have letters, digits, dots and hyphens",
            quoted(host)
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_usual_forms_are_read() {
        for (text, host, port, tls) in [
            ("broker", "broker", None, false),
            (
                "nats1.example.net:4333",
                "nats1.example.net",
                Some(4333),
                false,
            ),
            ("127.0.0.1", "127.0.0.1", None, false),
            ("nats://10.0.0.1:4222", "10.0.0.1", Some(4222), false),
            ("NATS://broker/", "broker", None, false),
            ("tls://broker:1", "broker", Some(1), true),
            ("::1", "::1", None, false),
            ("[::1]", "::1", None, false),
            ("[::1]:4222", "::1", Some(4222), false),
            ("nats://[::1]:4222/", "::1", Some(4222), false),
            ("fe80::1%eth0", "fe80::1%eth0", None, false),
            ("[fe80::1%eth0]:4222", "fe80::1%eth0", Some(4222), false),
            ("nats://[fe80::1%25eth0]:1", "fe80::1%eth0", Some(1), false),
        ] {
            let read = Written::parse(text);
            let host = host.to_owned();
            assert_eq!(read, Ok(Written { host, port, tls }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("", "no host"),
            (":4222", "no host"),
            ("nats://", "no host"),
            ("broker:", "from 1 to 65535"),
            ("broker:0", "from 1 to 65535"),
            ("broker:65536", "from 1 to 65535"),
            ("broker:x", "from 1 to 65535"),
            ("http://broker:8222", "with -u"),
            ("ws://broker", "only nats:// and tls://"),
            ("1:2:3", "no IPv6 address"),
            ("[::1", "not closed"),
            ("[broker]:1", "only IPv6"),
            ("[::1]4222", "[ADDRESS]:PORT"),
            ("fe80::1%", "no IPv6 address"),
            ("fe80::1%e/0", "no IPv6 address"),
            ("broker%eth0", "no name or address"),
            ("bro ker", "no name or address"),
            ("nats://broker/x", "no name or address"),
            ("a,b", "no name or address"),
        ] {
            let why = Written::parse(text).expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
        }
        for text in ["nats://me:geheim@broker:4222", "me:a@geheim@broker"] {
            let why = Written::parse(text).expect_err("a password");
            assert!(why.contains("--password-file") && !why.contains("geheim"));
        }
        for text in [
            "me:geheim",
            "nats://me:geheim",
            "http://me:geheim",
            "x://me:geheim",
        ] {
            let why = Written::parse(text).expect_err("a password without a host");
            assert!(!why.contains("geheim"), "{why}");
        }
    }

    proptest! {
        /// What was read can be written and read again.
        #[test]
        fn addresses_survive(text in ".{0,40}|\\[?[0-9a-f:]{1,20}(%[a-z0-9]{1,20})?\\]?(:[0-9]{1,6})?") {
            if let Ok(Written { host, port, .. }) = Written::parse(&text) {
                let address = Address { host: host.clone(), port: port.unwrap_or(4222) };
                let again = Written::parse(&address.to_string()).expect("good");
                prop_assert_eq!((again.host, again.port), (host, Some(address.port)));
            }
        }
    }
}
