//! Addresses of other brokers: URLs in `routes` and in flags.

use std::fmt;

use monitor_client::text::without_login;

use super::{ClusterOptions, keys::listen_port};
use crate::{
    config::options::{
        Options,
        reading::{parse_address, port_in_range},
        srv::SrvUrl,
    },
    security::secret::Secret,
};

/// Where another broker listens for routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User to log in as.
    pub user: String,
    /// The password that goes with it.
    pub password: Secret,
}

/// Without user and password, which are secret.
impl fmt::Display for RouteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl RouteUrl {
    /// Reads `scheme://user:password@host:port`. A password need not be encoded: the last
    /// `@` ends it. Percent-encoded characters are decoded.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong and contains no secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, "write routes as nats-route://host:port")
    }

    /// The same, of an address that need not have a port.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn parse_with_port(text: &str, usual: u16, form: &str) -> Result<Self, String> {
        let address = text.trim_end_matches('/');
        let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
        let host = host.split_once("://").map_or(host, |(_, host)| host);
        // The last colon of an IPv6 address is within its brackets.
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        match has_port {
            true => Self::parse_with(address, form),
            false => Self::parse_with(&format!("{address}:{usual}"), form),
        }
    }

    /// The same, of an address that is no route; `form` says how it is written.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn parse_with(text: &str, form: &str) -> Result<Self, String> {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (login, address) = match rest.rsplit_once('@') {
            Some((login, address)) => (login, address),
            None => ("", rest),
        };
        let address = address.trim_end_matches('/');
        let shown = without_login(address);
        let (host, port) =
            parse_address(address).map_err(|_| format!("{shown:?} is not HOST:PORT: {form}"))?;
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let (Some(port), false) = (port, host.is_empty()) else {
            return Err(format!("{shown:?} is not HOST:PORT of another broker"));
        };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Ok(Self {
            host,
            port,
            user: percent_decoded(user),
            password: secret(&percent_decoded(password))?,
        })
    }
}

/// A password that this broker sends, so that it must be plain.
fn secret(text: &str) -> Result<Secret, String> {
    let why = "the password in a URL is sent to the other broker, so it must be the plain text, \
               not a bcrypt hash";
    Secret::plain(text).map_err(|_| why.to_owned())
}

/// Invalid escapes stay unchanged.
pub(in crate::config) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// `HOST:PORT`, or a URL that may hold user and password, as the flags
/// `--cluster` and `--cluster_listen` have it.
pub(in crate::config) fn set_listen_url(options: &mut Options, text: &str) -> Result<(), String> {
    let cluster = options.cluster_mut();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let address = match rest.rsplit_once('@') {
        Some((login, address)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            cluster.user = Some(percent_decoded(user));
            cluster.password = Secret::new(&percent_decoded(password))
                .map_err(|why| format!("the password {why}"))?;
            address
        }
        None => rest,
    };
    let port = match address.parse() {
        Ok(port) => port_in_range(port)?,
        Err(_) => {
            let (host, port) = parse_address(address.trim_end_matches('/'))?;
            if !host.is_empty() {
                cluster.host = host;
            }
            port
        }
    };
    cluster.port = listen_port(port);
    Ok(())
}

/// Routes as the flag has them: URLs with commas between.
pub(in crate::config) fn set_routes(options: &mut Options, text: &str) -> Result<(), String> {
    let cluster = options.cluster_mut();
    cluster.routes.clear();
    cluster.srv_routes.clear();
    let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    for url in urls {
        add_route(cluster, url)?;
    }
    Ok(())
}

/// Adds one route: the address of a broker, or an SRV record that lists some.
///
/// # Errors
///
/// What is wrong, without a secret.
pub(super) fn add_route(cluster: &mut ClusterOptions, url: &str) -> Result<(), String> {
    match SrvUrl::parse(url) {
        Some(record) => cluster.srv_routes.push(record?),
        None => cluster.routes.push(RouteUrl::parse(url)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> (String, u16, String, String) {
        let url = RouteUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (
            url.host,
            url.port,
            url.user,
            url.password.reveal().to_owned(),
        )
    }

    #[test]
    fn routes_as_people_write_them() {
        let expect = |host: &str, port, user: &str, password: &str| {
            (host.to_owned(), port, user.to_owned(), password.to_owned())
        };
        assert_eq!(
            url("nats-route://routes:s3cret@nats1.example.net:4223"),
            expect("nats1.example.net", 4223, "routes", "s3cret")
        );
        assert_eq!(url("nats://[::1]:6222/"), expect("::1", 6222, "", ""));
        assert_eq!(url("host:1"), expect("host", 1, "", ""));
        assert_eq!(url("tls://u:p%40x@h:1"), expect("h", 1, "u", "p@x"));
        assert_eq!(
            url("nats://u:a@b:c/d%@h:1"),
            expect("h", 1, "u", "a@b:c/d%")
        );
        for bad in ["", "host", "nats://:1", "host:0", "host:x", "host:70000"] {
            assert!(RouteUrl::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let url = RouteUrl::parse("nats://u:geheim@h:1").expect("it is a URL");
        assert!(!format!("{url:?} {url}").contains("geheim"));
        for wrong in ["nats://u:geheim@h", "nats://u:geheim", "u:geheim@h:geheim"] {
            let error = RouteUrl::parse(wrong).expect_err("no port");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
