//! Where a request goes: the URL or socket of an operator, checked.

use std::path::PathBuf;

use rustls::pki_types::ServerName;
use ureq::http::Uri;

use crate::{
    Error,
    access::{DEFAULT_SOCKET, DEFAULT_URL},
    text::without_login,
};

/// Where requests go, as the operator wrote it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// The broker on this host: [`DEFAULT_SOCKET`] if it can be opened, else [`DEFAULT_URL`].
    ThisHost,
    /// The one that was named.
    Named(Target),
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A Unix socket.
    Unix {
        /// Its path.
        socket: PathBuf,
        /// The URL that is sent over it, without a final slash.
        url: String,
    },
    /// A TCP port.
    Tcp(TcpTarget),
}

/// A TCP port.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TcpTarget {
    /// The URL as it was written, without a final slash.
    pub(crate) shown: String,
    /// The same without the zone of an IPv6 address, which has no place in a request.
    pub(crate) url: String,
    /// A name or an address, IPv6 without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// For https, the name that the broker's certificate must have.
    pub(crate) tls_name: Option<ServerName<'static>>,
}

const EXAMPLE: &str = "not a URL: write it like http://127.0.0.1:8222";
const HAS_LOGIN: &str =
    "the URL must have no user and password: remove them, there are options for a login";
const NO_HOST: &str = "no host: write it like http://127.0.0.1:8222";

impl Place {
    /// Whether requests are sent over TLS.
    pub(crate) fn is_https(&self) -> bool {
        matches!(self, Self::Named(Target::Tcp(target)) if target.tls_name.is_some())
    }

    /// The place in texts.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::ThisHost => format!("unix:{DEFAULT_SOCKET} or {DEFAULT_URL}"),
            Self::Named(target) => target.shown(),
        }
    }
}

impl TcpTarget {
    /// The port that a URL names.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`]
    pub(crate) fn of_url(text: &str) -> Result<Self, Error> {
        // A password must not get into a log.
        let fail = |reason| Error::InvalidUrl {
            url: without_login(text),
            reason,
        };
        if text.contains('@') {
            return Err(fail(HAS_LOGIN));
        }
        let (url, zone) = split_zone(text);
        let uri: Uri = url.parse().map_err(|_| fail(EXAMPLE))?;
        let authority = uri.authority().ok_or_else(|| fail(NO_HOST))?;
        let (default_port, is_https) = match uri.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => return Err(fail("must begin with http:// or https://")),
        };
        let bare = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if bare.is_empty() {
            return Err(fail(NO_HOST));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.host() == authority.as_str() => default_port,
            None => 0,
        };
        if port == 0 {
            return Err(fail("the port must be a number from 1 to 65535"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(fail("must end with the host, the port or a path prefix"));
        }
        let name = || ServerName::try_from(bare.to_owned());
        let tls_name = match is_https {
            true => Some(name().map_err(|_| fail("no certificate can have this host name"))?),
            false => None,
        };
        let host = format!("{bare}{zone}");
        let without_slash = |url: &str| url.trim_end_matches('/').to_owned();
        Ok(Self {
            shown: without_slash(text),
            url: without_slash(&url),
            host,
            port,
            tls_name,
        })
    }
}

impl Target {
    /// A socket; of the URL the path prefix counts.
    ///
    ///  # Errors
    ///
    /// [`Error::InvalidUrl`]
    pub(crate) fn of_socket(socket: PathBuf, url: &str) -> Result<Self, Error> {
        let path = TcpTarget::of_url(url)?.url.parse::<Uri>().ok();
        let prefix = path.as_ref().map_or("", |uri| uri.path());
        let url = format!("http://localhost{}", prefix.trim_end_matches('/'));
        Ok(Self::Unix { socket, url })
    }

    /// The target in texts.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Unix { socket, .. } => format!("unix:{}", socket.display()),
            Self::Tcp(target) => target.shown.clone(),
        }
    }
}

/// The URL without the zone of an IPv6 address (`%eth0` in `[fe80::1%eth0]`), and the zone.
fn split_zone(url: &str) -> (String, String) {
    let parts = url
        .find('[')
        .and_then(|open| Some((open, open + url[open..].find(']')?)))
        .and_then(|(open, close)| Some((open + url[open..close].find('%')?, close)));
    match parts {
        Some((percent, close)) => {
            let zone = &url[percent + 1..close];
            // The percent sign itself may be written as %25.
            let zone = zone.strip_prefix("25").unwrap_or(zone);
            let without = format!("{}{}", &url[..percent], &url[close..]);
            (without, format!("%{zone}"))
        }
        None => (url.to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, is_https) in [
            ("http://127.0.0.1:8222", "127.0.0.1", 8222, false),
            ("http://broker/a/b/", "broker", 80, false),
            ("https://broker:8443", "broker", 8443, true),
            ("https://[::1]", "::1", 443, true),
        ] {
            let place = TcpTarget::of_url(url).expect(url);
            assert_eq!((place.host.as_str(), place.port), (host, port), "{url}");
            assert_eq!(place.tls_name.is_some(), is_https, "{url}");
            assert_eq!(place.url, url.trim_end_matches('/'));
        }
    }

    #[test]
    fn the_zone_of_an_address_is_for_the_system_only() {
        for url in [
            "http://[fe80::1%eth0]:8222/p",
            "http://[fe80::1%25eth0]:8222/p",
        ] {
            let place = TcpTarget::of_url(url).expect(url);
            assert_eq!(place.host, "fe80::1%eth0");
            assert_eq!(place.url, "http://[fe80::1]:8222/p");
            assert_eq!(place.shown, url);
        }
    }

    #[test]
    fn a_socket_takes_the_path_prefix_of_the_url() {
        for (url, sent) in [
            ("http://127.0.0.1:8222", "http://localhost"),
            ("https://broker/nats/", "http://localhost/nats"),
        ] {
            let place = Target::of_socket("/s".into(), url).expect(url);
            let Target::Unix { url, .. } = &place else {
                panic!("{place:?}");
            };
            assert_eq!(url, sent);
            assert_eq!(place.shown(), "unix:/s");
            assert!(!Place::Named(place).is_https());
        }
    }
}
