//! Which web pages may connect: browsers name the origin of the page in the request that begins a
//! WebSocket. Rules and words are those of nats-server. Other clients name none, and are let in.

use std::fmt;

/// The origin of a page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    scheme: String,
    /// In lower case.
    host: String,
    port: u16,
}

/// The pages that may connect; by default all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origins {
    /// Whether a page must come from where it connects to.
    pub same: bool,
    /// The origins that pages must have; empty for any.
    pub allowed: Vec<Origin>,
}

impl Origin {
    /// Reads an origin as an operator writes it.
    ///
    /// # Errors
    ///
    /// It is none of a page.
    pub fn configured(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("unable to parse allowed origin {text:?}: {why}"));
        const NOT_HTTP: &str = "allowed origins must be absolute URLs with http or https scheme";
        if text == "*" || text.starts_with('/') {
            return wrong(NOT_HTTP);
        }
        let origin =
            Self::parse(text).map_err(|why| format!("unable to parse allowed origin: {why}"))?;
        match origin {
            Self { ref scheme, .. } if default_port(scheme).is_none() => wrong(NOT_HTTP),
            Self { ref host, .. } if host.is_empty() => wrong("host is required"),
            origin => Ok(origin),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("parse {text:?}: invalid URI for request");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let usual = default_port(&scheme).unwrap_or(0);
        let (host, port) = host_and_port(authority, usual).ok_or_else(wrong)?;
        match is_scheme {
            true => Ok(Self { scheme, host, port }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        let (open, close) = match host.contains(':') {
            true => ("[", "]"),
            false => ("", ""),
        };
        write!(f, "{scheme}://{open}{host}{close}")?;
        match default_port(scheme) == Some(*port) {
            true => Ok(()),
            false => write!(f, ":{port}"),
        }
    }
}

impl Origins {
    /// Checks the page that makes a request to `host`, on a port with or without TLS.
    ///
    /// # Errors
    ///
    /// Why it may not connect.
    pub fn check(&self, origin: Option<&str>, host: &str, has_tls: bool) -> Result<(), String> {
        let Some(origin) = origin else {
            return Ok(());
        };
        if !self.same && self.allowed.is_empty() {
            return Ok(());
        }
        let refused = |why: String| Err(format!("origin not allowed: {why}"));
        let origin = match Origin::parse(origin) {
            Ok(origin) => origin,
            Err(why) => return refused(why),
        };
        let scheme = if has_tls { "https" } else { "http" };
        let own = host_and_port(host, default_port(scheme).unwrap_or(0));
        let is_same = own.is_some_and(|(host, port)| {
            origin.scheme == scheme && origin.host == host && origin.port == port
        });
        if self.same && !is_same {
            return refused("not same origin".into());
        }
        if !self.allowed.is_empty() && !self.allowed.contains(&origin) {
            return refused("not in the allowed list".into());
        }
        Ok(())
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// The host in lower case and without brackets, and the port, or the usual one.
fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, ""),
    };
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let port = match port {
        "" => usual,
        port => port.parse().ok()?,
    };
    Some((bare.unwrap_or(host).to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_may_write() {
        for text in [
            "http://a.example",
            "HTTPS://A.example:8443/path?x",
            "http://[::1]:80",
        ] {
            assert!(Origin::configured(text).is_ok(), "{text}");
        }
        for (text, why) in [
            (
                "example.com",
                "unable to parse allowed origin: parse \"example.com\": invalid URI for request",
            ),
            (
                "ws://example.com",
                "unable to parse allowed origin \"ws://example.com\": allowed origins must be \
                 absolute URLs with http or https scheme",
            ),
            (
                "*",
                "unable to parse allowed origin \"*\": allowed origins must be absolute URLs with \
                 http or https scheme",
            ),
            (
                "http://",
                "unable to parse allowed origin \"http://\": host is required",
            ),
        ] {
            assert_eq!(Origin::configured(text), Err(why.to_owned()));
        }
        assert!(Origin::configured("http://a:b:c").is_err());
    }

    #[test]
    fn pages_that_may_connect() {
        let same = Origins {
            same: true,
            ..Origins::default()
        };
        let listed = Origins {
            same: false,
            allowed: vec![Origin::configured("https://a.example/x").unwrap()],
        };
        let both = Origins {
            same: true,
            ..listed.clone()
        };
        let any = Origins::default();
        let check = |origins: &Origins, origin, host, has_tls| {
            let result = origins.check(Some(origin), host, has_tls);
            result.map_err(|why| why.replace("origin not allowed: ", ""))
        };
        let not_same = Err("not same origin".to_owned());
        let not_listed = Err("not in the allowed list".to_owned());
        for (origins, origin, host, has_tls, expected) in [
            (&any, "null", "h", false, Ok(())),
            (&same, "http://h", "h", false, Ok(())),
            (&same, "http://H:80/x", "h:80", false, Ok(())),
            (&same, "https://h", "h:443", true, Ok(())),
            (&same, "https://h", "h", false, not_same.clone()),
            (&same, "http://h:81", "h", false, not_same.clone()),
            (&same, "http://[::1]:5", "[::1]:5", false, Ok(())),
            (&listed, "https://A.example:443", "h", false, Ok(())),
            (&listed, "http://a.example", "h", false, not_listed.clone()),
            (&listed, "https://b.a.example", "h", false, not_listed),
            (&both, "https://a.example", "h", true, not_same),
            (&both, "https://a.example", "a.example", true, Ok(())),
        ] {
            assert_eq!(
                check(origins, origin, host, has_tls),
                expected,
                "{origin} {host}"
            );
        }
        let wrong = "parse \"null\": invalid URI for request".to_owned();
        assert_eq!(check(&same, "null", "h", false), Err(wrong));
        assert_eq!(same.check(None, "h", false), Ok(()));
    }
}
